//! How the way out stands as a whole: for gauges, and for who asks what needs a hand.
//!
//! Owns no judgement: what is a problem is for the caller to say.

use super::{Reports, collect};
use crate::store::error::ReportsError;
use crate::store::reports::{Expired, InVain, ReportNumber};
use crate::time::Timestamp;
use rusqlite::{OptionalExtension, params};

impl Reports {
    /// When the oldest report was built that waits for one of its destinations.
    pub fn oldest_waiting(&self) -> Result<Option<Timestamp>, ReportsError> {
        let sql = "SELECT built FROM report WHERE number = (SELECT min(report) FROM outbox
                       WHERE state IN ('to_verify', 'queued'))";
        self.read(|c| {
            let built: Option<i64> = c.query_row(sql, [], |row| row.get(0)).optional()?;
            Ok(built.map(Timestamp::from_micros))
        })
    }

    /// Mails that were tried and wait to be tried again; `None`: there are none. Of the last
    /// 100,000 entries, as is what was sent last.
    pub fn tried_in_vain(&self) -> Result<Option<InVain>, ReportsError> {
        let waiting =
            "SELECT count(*), min(r.built) FROM outbox o JOIN report r ON r.number = o.report
             WHERE o.state = 'queued' AND o.attempts > 0 AND o.in_hand = 0 AND o.number > ?1";
        let last = "SELECT last_try, last_answer FROM outbox
             WHERE state = 'queued' AND attempts > 0 AND in_hand = 0 AND number > ?1
             ORDER BY last_try DESC LIMIT 1";
        let sent = "SELECT max(last_try) FROM outbox WHERE state = 'sent' AND number > ?1";
        self.read(|c| {
            let newest: Option<i64> =
                c.query_row("SELECT max(number) FROM outbox", [], |row| row.get(0))?;
            let after = newest.unwrap_or(0).saturating_sub(RECENT);
            let last: Option<(i64, Option<String>)> = c
                .query_row(last, [after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((last_try, answer)) = last else {
                return Ok(None);
            };
            let (mails, oldest): (i64, i64) =
                c.query_row(waiting, [after], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let last_sent: Option<i64> = c.query_row(sent, [after], |row| row.get(0))?;
            Ok(Some(InVain {
                mails: mails.unsigned_abs(),
                last_try: Timestamp::from_micros(last_try),
                last_answer: answer.unwrap_or_default(),
                oldest: Timestamp::from_micros(oldest),
                last_sent: last_sent.map(Timestamp::from_micros),
            }))
        })
    }

    /// Mails that were given up since some time; `None`: there are none.
    pub fn expired_since(&self, since: Timestamp) -> Result<Option<Expired>, ReportsError> {
        let sql = "SELECT count(*), max(last_try), report, last_answer FROM outbox
             WHERE state = 'expired' AND last_try >= ?1";
        self.read(|c| {
            let mut found = collect(c, sql, params![since.micros()], |row| {
                let (mails, report): (i64, Option<i64>) = (row.get(0)?, row.get(2)?);
                let answer: Option<String> = row.get(3)?;
                Ok(report.map(|report| Expired {
                    mails: mails.unsigned_abs(),
                    last: ReportNumber(report),
                    last_answer: answer.unwrap_or_default(),
                }))
            })?;
            Ok(found.pop().flatten())
        })
    }
}

/// Entries that are looked at.
const RECENT: i64 = 100_000;
