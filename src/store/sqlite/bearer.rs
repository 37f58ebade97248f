//! Who bears a queue id: what whoever follows a mail log asks of the store, for every line.
//!
//! Owns that query. Reads the keys alone, no grounds: a burst of lines must not cost more than it is worth.

use super::read::Reader;
use super::rebuild::{Trouble, word};
use crate::outcome::OutcomeState;
use crate::store::Bearer;
use crate::store::error::ReadError;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Row, params};

impl Reader {
    /// The messages that bore this queue id, the newest first, at most 20: MTAs use their ids again.
    pub fn bearers(&self, queue_id: &str) -> Result<Vec<Bearer>, ReadError> {
        let sql = format!(
            "{SELECT} WHERE v.queue_id = ?1 ORDER BY v.received DESC, v.number DESC LIMIT 20"
        );
        self.rows(&sql, params![queue_id], bearer)
    }

    /// One message, as [`Self::bearers`] tells of it.
    pub fn bearer(&self, id: VerdictId) -> Result<Option<Bearer>, ReadError> {
        let sql = format!("{SELECT} WHERE v.id = ?1");
        Ok(self.rows(&sql, params![id.as_bytes()], bearer)?.pop())
    }
}

/// `unknown` is said after the fact, so it is no older or younger than what was known before.
const SELECT: &str = "SELECT v.id, v.received, o.state,
        CASE o.state WHEN 'unknown' THEN coalesce(
            (SELECT k.at FROM outcome k WHERE k.verdict = v.number AND k.state <> 'unknown'
                ORDER BY k.seq DESC LIMIT 1), o.at)
        ELSE o.at END AS at,
        EXISTS (SELECT 1 FROM intent i WHERE i.verdict = v.id) AS intended
    FROM verdict v JOIN outcome o
    ON o.seq = (SELECT max(n.seq) FROM outcome n WHERE n.verdict = v.number)";

fn bearer(row: &Row<'_>) -> Result<Bearer, Trouble> {
    Ok(Bearer {
        id: VerdictId::from_bytes(row.get("id")?),
        received: Timestamp::from_micros(row.get("received")?),
        state: word(row, "state", OutcomeState::parse)?,
        since: Timestamp::from_micros(row.get("at")?),
        intended: row.get("intended")?,
    })
}
