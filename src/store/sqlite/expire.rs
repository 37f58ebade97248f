//! Retention: deletes what is older than the operator keeps, a slice at a time.
//!
//! Owns the order (verdicts with all that is theirs, then dictionary rows that none uses, then the
//! counts of skips) and the size of a slice, which keeps its transaction under 20 ms. Runs in the
//! writer's thread, between groups.

use crate::store::error::RecordError;
use crate::store::queue::Expiry;
use crate::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// One pass of retention, under way.
pub(super) struct Expiring {
    cutoff: Timestamp,
    stage: Stage,
    /// Rows looked at in one slice.
    slice: i64,
    deleted: u64,
    waiting: Vec<oneshot::Sender<Result<u64, RecordError>>>,
}

#[derive(Clone, Copy)]
enum Stage {
    Verdicts,
    /// Rows of the dictionary with this index, above this id, unused since before this day.
    Dictionary {
        index: usize,
        after: i64,
        before_day: i32,
    },
    Skips,
    Done,
}

/// Deletes at most ?2 ids above ?1 whose last day is before ?3; and the last of those ids.
const DICTIONARIES: [(&str, &str); 5] = [
    (
        "DELETE FROM name WHERE id > ?1 AND id <= ?2 AND last_day < ?3",
        "SELECT max(id) FROM name",
    ),
    (
        "DELETE FROM document WHERE id > ?1 AND id <= ?2 AND last_day < ?3",
        "SELECT max(id) FROM document",
    ),
    (
        "DELETE FROM dmarc_record WHERE id > ?1 AND id <= ?2 AND last_day < ?3",
        "SELECT max(id) FROM dmarc_record",
    ),
    (
        "DELETE FROM policy_published WHERE id > ?1 AND id <= ?2 AND last_day < ?3",
        "SELECT max(id) FROM policy_published",
    ),
    (
        "DELETE FROM policy_evaluated WHERE id > ?1 AND id <= ?2 AND last_day < ?3",
        "SELECT max(id) FROM policy_evaluated",
    ),
];

/// Bounds of a slice, and the time it should stay within.
const SMALLEST: i64 = 16;
const LARGEST: i64 = 4_096;
const SHORT: Duration = Duration::from_millis(4);
const LONG: Duration = Duration::from_millis(12);

impl Expiring {
    /// Begins a pass, or joins the one under way.
    pub fn add(current: &mut Option<Self>, expiry: Expiry, keep: Duration) {
        let kept = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let expiring = current.get_or_insert_with(|| Self {
            cutoff: expiry.now.plus_micros(kept.saturating_neg()),
            stage: Stage::Verdicts,
            slice: SMALLEST,
            deleted: 0,
            waiting: Vec::new(),
        });
        expiring.waiting.push(expiry.done);
    }

    /// Does one slice; true when nothing is left to do.
    pub fn slice(&mut self, connection: &mut Connection) -> rusqlite::Result<bool> {
        let started = Instant::now();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (next, deleted) = match self.stage {
            Stage::Verdicts => self.expire_verdicts(&transaction)?,
            Stage::Dictionary {
                index,
                after,
                before_day,
            } => (
                self.expire_dictionary(&transaction, index, after, before_day)?,
                0,
            ),
            Stage::Skips => (self.expire_skips(&transaction)?, 0),
            Stage::Done => return Ok(true),
        };
        transaction.commit()?;
        self.stage = next;
        self.deleted += deleted;
        let took = started.elapsed();
        if took < SHORT {
            self.slice = (self.slice * 2).min(LARGEST);
        } else if took > LONG {
            self.slice = (self.slice / 2).max(SMALLEST);
        }
        Ok(matches!(self.stage, Stage::Done))
    }

    /// Tells everybody who waits.
    pub fn end(self, result: Result<(), RecordError>) {
        for done in self.waiting {
            _ = done.send(result.clone().map(|()| self.deleted));
        }
    }

    /// Keeps what is awaited, but for replies: no MTA waits that long for one; and but for what another filter said
    /// that it holds: nobody tells when that ends. What became of a message counts from then on: it may be still
    /// to be reported. A crash, after which nothing is known of it, is nothing that became of it.
    fn expire_verdicts(&self, c: &Transaction<'_>) -> rusqlite::Result<(Stage, u64)> {
        let numbers: Vec<i64> = c
            .prepare_cached(
                "SELECT number FROM verdict
                 WHERE received < ?1
                     AND NOT EXISTS (SELECT 1 FROM awaiting a
                         WHERE a.verdict = number AND a.state <> 'answering'
                             AND NOT (a.state = 'held' AND 'operator' = (SELECT source FROM outcome
                                 WHERE verdict = a.verdict ORDER BY seq DESC LIMIT 1)))
                     AND NOT EXISTS (SELECT 1 FROM outcome WHERE verdict = number
                         AND at >= ?1 AND source <> 'restart')
                     AND id NOT IN (SELECT verdict FROM intent)
                 ORDER BY received LIMIT ?2",
            )?
            .query_map(params![self.cutoff.micros(), self.slice], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for number in &numbers {
            for sql in [
                "DELETE FROM awaiting WHERE verdict = ?1",
                "DELETE FROM outcome WHERE verdict = ?1",
                "DELETE FROM returned WHERE verdict = ?1",
                "DELETE FROM detail WHERE verdict = ?1",
                "DELETE FROM verdict WHERE number = ?1",
            ] {
                c.prepare_cached(sql)?.execute([number])?;
            }
        }
        let stage = if numbers.len() as i64 == self.slice {
            Stage::Verdicts
        } else {
            Stage::Dictionary {
                index: 0,
                after: 0,
                before_day: self.oldest_day_in_use(c)?,
            }
        };
        Ok((stage, numbers.len() as u64))
    }

    /// A kept verdict may be older than the cutoff: one whose outcome is awaited, or is young.
    fn oldest_day_in_use(&self, c: &Transaction<'_>) -> rusqlite::Result<i32> {
        let oldest: Option<i64> =
            c.query_row("SELECT min(received) FROM verdict", [], |row| row.get(0))?;
        let oldest = oldest.map_or(self.cutoff, Timestamp::from_micros);
        Ok(oldest.min(self.cutoff).day().number())
    }

    fn expire_dictionary(
        &self,
        c: &Transaction<'_>,
        index: usize,
        after: i64,
        before_day: i32,
    ) -> rusqlite::Result<Stage> {
        let Some((delete, last)) = DICTIONARIES.get(index) else {
            return Ok(Stage::Skips);
        };
        let last: Option<i64> = c.prepare_cached(last)?.query_row([], |row| row.get(0))?;
        let until = after.saturating_add(self.slice);
        c.prepare_cached(delete)?
            .execute(params![after, until, before_day])?;
        Ok(if last.is_some_and(|last| until < last) {
            Stage::Dictionary {
                index,
                after: until,
                before_day,
            }
        } else {
            Stage::Dictionary {
                index: index + 1,
                after: 0,
                before_day,
            }
        })
    }

    /// The pairs of a day are at most 20,000; slices of whole days would be too long.
    fn expire_skips(&self, c: &Transaction<'_>) -> rusqlite::Result<Stage> {
        let day = self.cutoff.day().number();
        let deleted = c
            .prepare_cached(
                "DELETE FROM skip_domain WHERE (day, author_domain, recipient_domain) IN
                     (SELECT day, author_domain, recipient_domain FROM skip_domain
                      WHERE day < ?1 LIMIT ?2)",
            )?
            .execute(params![day, self.slice])?;
        if deleted as i64 == self.slice {
            return Ok(Stage::Skips);
        }
        c.prepare_cached("DELETE FROM skip WHERE day < ?1")?
            .execute([day])?;
        Ok(Stage::Done)
    }
}
