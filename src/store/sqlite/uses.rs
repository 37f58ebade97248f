//! How often rules decided: counted with the verdicts, in the same transaction.
//!
//! Owns the table `rule_use`. A rule that decides about every message of a group costs it one statement.

use crate::policy::rules::RuleKey;
use crate::store::error::ReadError;
use crate::store::exception::RuleUses;
use crate::store::sqlite::read::Reader;
use crate::store::sqlite::rebuild::word;
use crate::time::Timestamp;
use crate::verdict::Verdict;
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// What a group of verdicts adds.
#[derive(Default)]
pub(super) struct Uses<'v>(HashMap<&'v RuleKey, RuleUses>);

impl<'v> Uses<'v> {
    /// Counts the rule that decided, if one did.
    pub fn count(&mut self, verdict: &'v Verdict) {
        let Some(rule) = verdict.decision.rule() else {
            return;
        };
        let at = verdict.received;
        let once = RuleUses {
            hits: 0,
            first: at,
            last: at,
        };
        let uses = self.0.entry(&rule.key).or_insert(once);
        uses.hits = uses.hits.saturating_add(1);
        uses.first = uses.first.min(at);
        uses.last = uses.last.max(at);
    }

    pub fn write(&self, c: &Connection) -> rusqlite::Result<()> {
        for (key, uses) in &self.0 {
            c.prepare_cached(
                "INSERT INTO rule_use (rule, hits, first, last) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (rule) DO UPDATE SET hits = hits + excluded.hits,
                     first = min(first, excluded.first), last = max(last, excluded.last)",
            )?
            .execute(params![
                key.as_str(),
                i64::try_from(uses.hits).unwrap_or(i64::MAX),
                uses.first.micros(),
                uses.last.micros(),
            ])?;
        }
        Ok(())
    }
}

impl Reader {
    /// How often rules decided, of the settings and of the store, by their keys; those used last, at most
    /// 200,000.
    pub fn rule_uses(&self) -> Result<HashMap<RuleKey, RuleUses>, ReadError> {
        let uses = self.rows(
            "SELECT rule, hits, first, last FROM rule_use ORDER BY last DESC LIMIT 200000",
            [],
            |row| {
                let uses = RuleUses {
                    hits: row.get::<_, i64>(1)?.unsigned_abs(),
                    first: Timestamp::from_micros(row.get(2)?),
                    last: Timestamp::from_micros(row.get(3)?),
                };
                Ok((word(row, "rule", RuleKey::parse)?, uses))
            },
        )?;
        Ok(uses.into_iter().collect())
    }
}
