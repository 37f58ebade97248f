//! Exceptions as they are read: what is in force, all of them, one with its history; and how often rules
//! were used.
//!
//! Owns those queries. Writing is `change`'s, counting the uses the writer's.

use crate::policy::rules::{Rule, RuleKey};
use crate::store::ExceptionId;
use crate::store::error::ReadError;
use crate::store::exception::{
    Event, EventKind, ExceptionFilter, History, RulesInForce, StoredException,
};
use crate::store::sqlite::read::Reader;
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Row, params};

impl Reader {
    /// The rules of the store that are in force at `now`, oldest first: what a milter decides by. One that
    /// cannot be read, because a later version wrote it, is left out and named.
    pub fn rules_in_force(&self, now: Timestamp) -> Result<RulesInForce, ReadError> {
        let stored: Vec<(i64, String)> = self.rows(
            "SELECT id, rule FROM exception
             WHERE removed IS NULL AND (expires IS NULL OR expires > ?1) ORDER BY id",
            [now.micros()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut in_force = RulesInForce::default();
        for (id, json) in stored {
            match Rule::parse_json(&json) {
                Ok(rule) => in_force.rules.push((RuleKey::stored(id), rule)),
                Err(_) => in_force.unreadable.push(ExceptionId(id)),
            }
        }
        Ok(in_force)
    }

    /// Exceptions of the store, newest first, at most 1,000: the next page is below the last of them.
    pub fn exceptions(&self, filter: &ExceptionFilter) -> Result<Vec<StoredException>, ReadError> {
        let below = filter.below.map_or(i64::MAX, |id| id.0);
        // Without a time all are wanted, the past ones too.
        let now = filter.in_force_at.map(Timestamp::micros);
        let sql = format!(
            "{SELECT} WHERE x.id < ?1 AND (?2 IS NULL OR
                 (x.removed IS NULL AND (x.expires IS NULL OR x.expires > ?2)))
             ORDER BY x.id DESC LIMIT ?3"
        );
        let limit = filter.limit.unwrap_or(PAGE).min(PAGE);
        self.rows(&sql, params![below, now, limit], stored)
    }

    /// One exception, and who did what to it, oldest first. That it expired before `now` is told, too.
    pub fn exception(&self, id: ExceptionId, now: Timestamp) -> Result<Option<History>, ReadError> {
        let sql = format!("{SELECT} WHERE x.id = ?1");
        let Some(exception) = self.rows(&sql, [id.0], stored)?.pop() else {
            return Ok(None);
        };
        let mut events = self.rows(
            "SELECT at, what, who, why FROM exception_event WHERE exception = ?1 ORDER BY id",
            [id.0],
            |row| {
                Ok(Event {
                    at: Timestamp::from_micros(row.get(0)?),
                    what: word(row, "what", EventKind::parse)?,
                    who: Some(row.get(2)?),
                    why: row.get(3)?,
                })
            },
        )?;
        if let Some(end) = exception.expires.filter(|end| *end <= now) {
            let expired = Event {
                at: end,
                what: EventKind::Expired,
                who: None,
                why: None,
            };
            let later = events.iter().position(|event| event.at > end);
            events.insert(later.unwrap_or(events.len()), expired);
        }
        Ok(Some(History { exception, events }))
    }

    /// Exceptions whose rule cannot be read, and why; past ones too.
    pub(super) fn unreadable_exceptions(&self) -> Result<Vec<(ExceptionId, String)>, ReadError> {
        let stored: Vec<(i64, String)> =
            self.rows("SELECT id, rule FROM exception ORDER BY id", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let unreadable = stored.into_iter().filter_map(|(id, json)| {
            let why = Rule::parse_json(&json).err()?;
            Some((ExceptionId(id), why.to_string()))
        });
        Ok(unreadable.collect())
    }
}

const SELECT: &str = "
    SELECT x.id, x.rule, x.created, x.expires, x.removed, x.from_verdict FROM exception x";

fn stored(row: &Row<'_>) -> Result<StoredException, Trouble> {
    let time = |column: &str| -> rusqlite::Result<Option<Timestamp>> {
        let micros: Option<i64> = row.get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    };
    let from: Option<[u8; 16]> = row.get("from_verdict")?;
    Ok(StoredException {
        id: ExceptionId(row.get("id")?),
        rule: Rule::parse_json(&row.get::<_, String>("rule")?).map_err(|error| error.to_string()),
        created: Timestamp::from_micros(row.get("created")?),
        expires: time("expires")?,
        removed: time("removed")?,
        from: from.map(VerdictId::from_bytes),
    })
}

/// Exceptions in one answer.
const PAGE: u32 = 1_000;
