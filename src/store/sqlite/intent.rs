//! Intents: what is about to be asked of the MTA for a held message.
//!
//! Owns their table. An intent is written before the MTA is asked and struck out with the outcome, so
//! that what was interrupted between the two can be finished. What it says is the caller's.

use crate::store::Intent;
use crate::store::error::ReadError;
use crate::store::sqlite::read::Reader;
use crate::store::sqlite::rebuild::Trouble;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Connection, Row, params};

/// Writes it down; a later one for the same message takes the place of the earlier.
pub(super) fn intend(c: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO intent (verdict, at, who, document) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        intent.verdict.as_bytes(),
        intent.at.micros(),
        intent.by,
        intent.document
    ])?;
    Ok(())
}

/// Whether there was one.
pub(super) fn strike_out(c: &Connection, verdict: VerdictId) -> rusqlite::Result<bool> {
    let struck = c
        .prepare_cached("DELETE FROM intent WHERE verdict = ?1")?
        .execute([verdict.as_bytes()])?;
    Ok(struck > 0)
}

/// Whether somebody is about to do something about this message.
pub(super) fn is_intended(c: &Connection, verdict: VerdictId) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM intent WHERE verdict = ?1")?
        .exists([verdict.as_bytes()])
}

impl Reader {
    /// Everything that was begun and not finished, the oldest first.
    pub fn intents(&self) -> Result<Vec<Intent>, ReadError> {
        let sql = "SELECT verdict, at, who, document FROM intent ORDER BY at, verdict";
        self.rows(sql, [], intent)
    }

    /// What was begun about this message and not finished.
    pub fn intent(&self, verdict: VerdictId) -> Result<Option<Intent>, ReadError> {
        let sql = "SELECT verdict, at, who, document FROM intent WHERE verdict = ?1";
        Ok(self.rows(sql, [verdict.as_bytes()], intent)?.pop())
    }
}

fn intent(row: &Row<'_>) -> Result<Intent, Trouble> {
    Ok(Intent {
        verdict: VerdictId::from_bytes(row.get(0)?),
        at: Timestamp::from_micros(row.get(1)?),
        by: row.get(2)?,
        document: row.get(3)?,
    })
}
