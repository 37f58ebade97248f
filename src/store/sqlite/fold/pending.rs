//! Which days and which policy domains have outcomes that no report covers yet.
//!
//! Owns the walk along the index `outcome_day`, from domain to domain: a day of 100,000 domains takes
//! some 300,000 steps in it, however many messages it has.

use crate::outcome::OutcomeState;
use crate::store::error::ReadError;
use crate::store::fold::{CoveredTo, Numbered, Pending, PendingDomain};
use crate::store::sqlite::read::{Reader, collect};
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::store::wire::read_domain;
use crate::time::UtcDay;
use crate::verdict::VerdictId;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

impl Reader {
    /// The last number of the outcome table; 0 when it is empty.
    pub fn last_outcome(&self) -> Result<i64, ReadError> {
        self.sql(|c| {
            let last: Option<i64> =
                c.query_row("SELECT max(seq) FROM outcome", [], |row| row.get(0))?;
            Ok(last.unwrap_or(0))
        })
    }

    /// The outcomes of a message with their numbers, in order.
    pub fn numbered_outcomes(&self, id: VerdictId) -> Result<Vec<Numbered>, ReadError> {
        let number: Option<i64> = self.sql(|c| {
            c.prepare_cached("SELECT number FROM verdict WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        match number {
            Some(number) => self.translate(numbered(&self.connection, number)),
            None => Ok(Vec::new()),
        }
    }

    /// The days of the outcomes with numbers above `after` and not above `up_to` that a report could
    /// be about, each with the last such number. Looks at every one of them: at most 100,000 at a time.
    pub fn days_between(&self, after: i64, up_to: i64) -> Result<Vec<(UtcDay, i64)>, ReadError> {
        // Nearly always there is but one, and nothing to sort.
        let one = self.sql(|c| {
            let sql = "SELECT min(day), max(day), max(seq) FROM outcome NOT INDEXED
                       WHERE seq > ?1 AND seq <= ?2
                           AND policy_domain IS NOT NULL AND state <> 'answering'";
            c.prepare_cached(sql)?.query_row([after, up_to], |row| {
                let (first, last): (Option<i32>, Option<i32>) = (row.get(0)?, row.get(1)?);
                let seq: Option<i64> = row.get(2)?;
                let only = first.filter(|_| first == last).zip(seq);
                Ok(only.map(|(day, seq)| (UtcDay::from_number(day), seq)))
            })
        })?;
        if let Some(one) = one {
            return Ok(vec![one]);
        }
        self.rows(
            "SELECT day, max(seq) FROM outcome NOT INDEXED
             WHERE seq > ?1 AND seq <= ?2 AND policy_domain IS NOT NULL AND state <> 'answering'
             GROUP BY day",
            params![after, up_to],
            |row| Ok((UtcDay::from_number(row.get(0)?), row.get(1)?)),
        )
    }

    /// The domains of a day with outcomes beyond what is covered; `covered` says how far, by name.
    pub fn pending(
        &self,
        day: UtcDay,
        covered: &HashMap<String, CoveredTo>,
    ) -> Result<Pending, ReadError> {
        let up_to = self.last_outcome()?;
        let mut pending = Pending {
            day,
            up_to,
            above: up_to,
            domains: Vec::new(),
        };
        let mut id = 0;
        loop {
            let step = self.translate(step(&self.connection, day, id, up_to))?;
            let Some(step) = step else {
                let domains = &mut pending.domains;
                domains.sort_unstable_by(|one, other| one.policy_domain.cmp(&other.policy_domain));
                return Ok(pending);
            };
            id = step.id;
            let CoveredTo { up_to, reported } =
                covered.get(&step.name).copied().unwrap_or_default();
            let after = up_to;
            if step.last > after {
                pending.above = pending.above.min(step.first.max(after + 1) - 1);
                pending.domains.push(PendingDomain {
                    policy_domain: read_domain(&step.name)?,
                    after,
                    reported,
                    id,
                });
            }
        }
    }
}

impl Pending {
    /// One domain alone.
    pub fn only(&self, index: usize) -> Option<Self> {
        let domain = self.domains.get(index)?.clone();
        Some(Self {
            day: self.day,
            up_to: self.up_to,
            above: domain.after,
            domains: vec![domain],
        })
    }
}

/// The outcomes of a verdict, in order.
pub(super) fn numbered(c: &Connection, verdict: i64) -> Result<Vec<Numbered>, Trouble> {
    collect(
        c,
        "SELECT seq, state, day FROM outcome WHERE verdict = ?1 ORDER BY seq",
        [verdict],
        |row| {
            Ok(Numbered {
                seq: row.get(0)?,
                state: word(row, "state", OutcomeState::parse)?,
                day: UtcDay::from_number(row.get(2)?),
            })
        },
    )
}

/// A domain of the day: the first and the last of its outcomes.
struct Step {
    id: i64,
    name: String,
    first: i64,
    last: i64,
}

/// The domain behind `id`.
fn step(c: &Connection, day: UtcDay, id: i64, up_to: i64) -> Result<Option<Step>, Trouble> {
    let next: Option<(i64, i64)> = c
        .prepare_cached(
            "SELECT policy_domain, seq FROM outcome INDEXED BY outcome_day
             WHERE day = ?1 AND policy_domain > ?2
                 AND policy_domain IS NOT NULL AND state <> 'answering'
             ORDER BY policy_domain, seq LIMIT 1",
        )?
        .query_row(params![day.number(), id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((id, first)) = next else {
        return Ok(None);
    };
    let last: Option<i64> = c
        .prepare_cached(
            "SELECT seq FROM outcome INDEXED BY outcome_day
             WHERE day = ?1 AND policy_domain = ?2 AND seq <= ?3
                 AND policy_domain IS NOT NULL AND state <> 'answering'
             ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![day.number(), id, up_to], |row| row.get(0))
        .optional()?;
    let name = c
        .prepare_cached("SELECT name FROM name WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    Ok(Some(Step {
        id,
        name,
        first,
        last: last.unwrap_or(0),
    }))
}
