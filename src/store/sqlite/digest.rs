//! The daily digest of what is held: when the last one was due and sent, and what it announced to be deleted.
//!
//! Owns the table `digest` and the column `awaiting.announced`. The latter goes with its row when the message is
//! held no longer, so that what is held again must be announced again.

use crate::store::DigestMark;
use crate::store::error::ReadError;
use crate::store::sqlite::read::Reader;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Connection, OptionalExtension, params};

/// Takes the place of the one before.
pub(super) fn keep(c: &Connection, mark: DigestMark) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT OR REPLACE INTO digest (one, due, sent, messages) VALUES (1, ?1, ?2, ?3)",
    )?
    .execute(params![
        mark.due.micros(),
        mark.sent.map(Timestamp::micros),
        i64::try_from(mark.messages).unwrap_or(i64::MAX)
    ])?;
    Ok(())
}

/// Whether it is held and that is news.
pub(super) fn announce(
    c: &Connection,
    verdict: VerdictId,
    at: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let announced = c
        .prepare_cached(
            "UPDATE awaiting SET announced = ?2
             WHERE verdict = (SELECT number FROM verdict WHERE id = ?1)
                 AND state = 'held' AND announced IS NOT ?2",
        )?
        .execute(params![verdict.as_bytes(), at.map(Timestamp::micros)])?;
    Ok(announced > 0)
}

impl Reader {
    /// How far the daily digest is; `None`: there was none yet.
    pub fn digest(&self) -> Result<Option<DigestMark>, ReadError> {
        self.sql(|c| {
            c.query_row("SELECT due, sent, messages FROM digest", [], |row| {
                Ok(DigestMark {
                    due: Timestamp::from_micros(row.get(0)?),
                    sent: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
                    messages: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })
            .optional()
        })
    }

    /// How many held messages are announced to be deleted.
    pub fn announced(&self) -> Result<u64, ReadError> {
        self.sql(|c| {
            let sql = "SELECT count(*) FROM awaiting WHERE announced IS NOT NULL";
            c.query_row(sql, [], |row| row.get::<_, i64>(0))
                .map(i64::unsigned_abs)
        })
    }
}
