//! Retention of reports: deletes what is older than the operator keeps, in transactions of a few.
//!
//! Owns the order: a report goes with its outbox entries and pieces, but never while it waits to be
//! sent. What is covered is known for as long as verdicts are kept, so that none is reported twice, and for as
//! long as there is a report of it.

use super::claim::release;
use super::{Reports, collect};
use crate::store::StoreSettings;
use crate::store::error::ReportsError;
use crate::store::reports::ReportsExpired;
use crate::time::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

impl Reports {
    /// Deletes reports older than `store.keep_reports` at `now`, and all that belongs to them. `oldest`: when
    /// the oldest verdict in the store was received ([`crate::store::Reader::oldest`]), if there is one.
    pub fn expire(
        &self,
        settings: &StoreSettings,
        now: Timestamp,
        oldest: Option<Timestamp>,
    ) -> Result<ReportsExpired, ReportsError> {
        let before = |kept: Duration| {
            let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            now.plus_micros(kept.saturating_neg())
        };
        let mut expired = ReportsExpired::default();
        loop {
            let slice = self.write(|c| Ok(expire_some(c, before(settings.keep_reports))?))?;
            expired.reports += slice;
            if slice < u64::from(SLICE) {
                break;
            }
        }
        // A day more: verdicts go by the time they were received, ranges by the day of the answer.
        let kept = settings.keep_reports.max(settings.keep_messages);
        let kept = oldest.map_or(before(kept), |oldest| before(kept).min(oldest));
        let day = kept.day().number().saturating_sub(1);
        self.write(|c| {
            let sql = "SELECT fence FROM claim WHERE expires < ?1 LIMIT 1000";
            let idle = before(settings.keep_reports.min(IDLE)).micros();
            for fence in collect(c, sql, [idle], |row| Ok(row.get::<_, i64>(0)?))? {
                release(c, fence)?;
            }
            c.execute("DELETE FROM open_day WHERE day < ?1", [day])?;
            c.execute(
                "DELETE FROM unconfirmed WHERE next_check < ?1",
                [before(settings.keep_reports).micros()],
            )?;
            c.execute(
                "DELETE FROM suppression WHERE since < ?1 AND coalesce(until, 0) < ?1",
                [before(settings.keep_reports).micros()],
            )?;
            Ok(())
        })?;
        loop {
            let deleted = self.write(|c| Ok(forget_covered(c, day)?))?;
            if deleted < u64::from(SLICE) {
                return Ok(expired);
            }
        }
    }
}

fn expire_some(c: &Connection, before: Timestamp) -> rusqlite::Result<u64> {
    let reports: Vec<(i64, i64, u8)> = c
        .prepare_cached(
            "SELECT number, fence, part FROM report r WHERE built < ?1 AND NOT EXISTS
                 (SELECT 1 FROM outbox o WHERE o.report = r.number
                      AND o.state IN ('to_verify', 'queued'))
             ORDER BY built LIMIT ?2",
        )?
        .query_map(params![before.micros(), SLICE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (number, fence, part) in &reports {
        c.prepare_cached("DELETE FROM outbox WHERE report = ?1")?
            .execute([number])?;
        c.prepare_cached("DELETE FROM piece WHERE fence = ?1 AND part = ?2")?
            .execute(params![fence, part])?;
        c.prepare_cached("DELETE FROM report WHERE number = ?1")?
            .execute([number])?;
    }
    Ok(reports.len() as u64)
}

fn forget_covered(c: &Connection, before_day: i32) -> rusqlite::Result<u64> {
    let deleted = c
        .prepare_cached(
            "DELETE FROM covered WHERE (day, policy_domain, up_to) IN
                 (SELECT day, policy_domain, up_to FROM covered c WHERE day < ?1 AND NOT EXISTS
                      (SELECT 1 FROM report r WHERE r.day = c.day
                           AND r.policy_domain = c.policy_domain AND r.up_to = c.up_to)
                  LIMIT ?2)",
        )?
        .execute(params![before_day, SLICE])?;
    Ok(deleted as u64)
}

/// Rows deleted in one transaction.
const SLICE: u32 = 50;

/// After this long nobody comes back for a lease.
const IDLE: Duration = Duration::from_secs(86_400);
