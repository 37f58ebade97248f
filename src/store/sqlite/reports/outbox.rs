//! The outbox: report × destination, each with its own state, attempts and next try.
//!
//! Owns the moves `to_verify → queued → sent | refused | expired`, and the order in which entries are
//! taken: host by host, so that one in trouble never holds up another. Taking an entry puts its next
//! try off: whoever dies with it leaves it to be taken again, at once if `turn` knows that they did.

use super::keep::host;
use super::{Reports, Undone, collect};
use crate::store::error::ReportsError;
use crate::store::reports::{Attempt, OutboxCounts, OutboxEntry, OutboxState, ReportNumber};
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;

impl Reports {
    /// Takes entries that are due at `now`: at most `limit`, at most [`PER_HOST`] of one destination
    /// domain, the hosts in order from the one behind `after_host` on, and once around. Nobody else gets
    /// them for as long as `lease`, or before this one's [`Turn`](super::Turn) ended. Their attempts
    /// count this one.
    pub fn take_due(
        &self,
        after_host: &str,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<OutboxEntry>, ReportsError> {
        let until = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        let until = now.plus_micros(until);
        self.write(|c| {
            let mut numbers = due(c, after_host, None, limit, now)?;
            let rest = limit.saturating_sub(numbers.len());
            numbers.extend(due(c, "", Some(after_host), rest, now)?);
            let mut taken = Vec::with_capacity(numbers.len());
            for number in numbers {
                taken.extend(take(c, number, now, until)?);
            }
            Ok(taken)
        })
    }

    /// Records what came of an attempt at an entry that was taken. False, and nothing written, when it
    /// has been taken again since.
    pub fn record_attempt(
        &self,
        entry: &OutboxEntry,
        attempt: &Attempt,
    ) -> Result<bool, ReportsError> {
        self.write(|c| {
            let (first, more, at) = match attempt {
                Attempt::Verified { addresses, at } => match addresses.split_first() {
                    Some((first, more)) => (first.as_str(), more, *at),
                    None => return Ok(false),
                },
                Attempt::Sent { .. }
                | Attempt::Deferred { .. }
                | Attempt::Refused { .. }
                | Attempt::Expired { .. } => {
                    let same = entry.address.as_deref().unwrap_or_default();
                    (same, [].as_slice(), Timestamp::from_micros(0))
                }
            };
            let written = move_on(c, entry, attempt, first)?;
            if written {
                for address in more {
                    insert_beside(c, entry, address, at)?;
                }
            }
            Ok(written)
        })
    }

    /// Puts a report's entries back into the queue, to be sent at `now`: those that were sent, expired,
    /// or refused by a server. Tells how many.
    pub fn resend(&self, report: ReportNumber, now: Timestamp) -> Result<usize, ReportsError> {
        self.write(|c| {
            let queued = c.execute(
                "UPDATE outbox SET state = 'queued', next_try = ?2
                 WHERE report = ?1 AND (state IN ('sent', 'expired', 'queued')
                     OR (state = 'refused' AND attempts > 0)) AND address <> ''",
                params![report.0, now.micros()],
            )?;
            Ok(queued)
        })
    }

    /// Makes everything due at `now` that waits for its first try. Tells how much.
    pub fn hurry(&self, now: Timestamp) -> Result<usize, ReportsError> {
        self.write(|c| {
            let due = c.execute(
                "UPDATE outbox SET next_try = ?1
                 WHERE state IN ('to_verify', 'queued') AND attempts = 0 AND next_try > ?1",
                [now.micros()],
            )?;
            Ok(due)
        })
    }

    /// Notes that mail which was sent came back. False when it had not been sent, or came back before.
    pub fn note_bounce(&self, entry: i64, answer: &str) -> Result<bool, ReportsError> {
        self.write(|c| {
            let noted = c.execute(
                "UPDATE outbox SET state = 'refused', last_answer = ?2
                 WHERE number = ?1 AND state = 'sent'",
                params![entry, answer],
            )?;
            Ok(noted == 1)
        })
    }

    /// Whether mail to another address of a domain was sent and did not come back.
    pub fn gets_mail(&self, domain: &str, but_for: &str) -> Result<bool, ReportsError> {
        self.read(|c| {
            let sql = "SELECT EXISTS (SELECT 1 FROM outbox o WHERE o.host = ?1 AND o.state = 'sent'
                 AND lower(o.address) <> lower(?2)
                 AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.who = lower(o.address)))";
            Ok(c.query_row(sql, params![domain, but_for], |row| row.get(0))?)
        })
    }

    /// A report's entries, in the order of its `rua`.
    pub fn outbox_of(&self, report: ReportNumber) -> Result<Vec<OutboxEntry>, ReportsError> {
        let sql = "SELECT * FROM outbox WHERE report = ?1 ORDER BY position";
        self.read(|c| collect(c, sql, [report.0], read_entry))
    }

    /// One entry.
    pub fn outbox_entry(&self, number: i64) -> Result<Option<OutboxEntry>, ReportsError> {
        let sql = "SELECT * FROM outbox WHERE number = ?1";
        let mut found = self.read(|c| collect(c, sql, [number], read_entry))?;
        Ok(found.pop())
    }

    /// How many entries stand where; those sent are not counted.
    pub fn outbox_counts(&self) -> Result<OutboxCounts, ReportsError> {
        self.read(|c| {
            let mut counts = OutboxCounts {
                next_try: next_try(c)?,
                ..OutboxCounts::default()
            };
            let sql = "SELECT state, count(*) FROM outbox WHERE state <> 'sent' GROUP BY state";
            let found = collect(c, sql, [], |row| {
                let state = word(row, "state", OutboxState::parse)?;
                Ok((state, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            for (state, count) in found {
                match state {
                    OutboxState::ToVerify => counts.to_verify = count,
                    OutboxState::Queued => counts.queued = count,
                    OutboxState::Refused => counts.refused = count,
                    OutboxState::Expired => counts.expired = count,
                    OutboxState::Sent => {}
                }
            }
            Ok(counts)
        })
    }
}

/// Moves an entry on; false when it has been taken again since.
fn move_on(
    c: &Connection,
    entry: &OutboxEntry,
    attempt: &Attempt,
    address: &str,
) -> rusqlite::Result<bool> {
    let (state, next_try, answer) = match attempt {
        Attempt::Verified { at, .. } => (OutboxState::Queued, at.micros(), None),
        Attempt::Sent { answer } => (OutboxState::Sent, 0, Some(answer)),
        Attempt::Deferred { next_try, answer } => (entry.state, next_try.micros(), Some(answer)),
        Attempt::Refused { answer } => (OutboxState::Refused, 0, Some(answer)),
        Attempt::Expired { answer } => (OutboxState::Expired, 0, Some(answer)),
    };
    let written = c
        .prepare_cached(
            "UPDATE outbox SET state = ?4, next_try = ?5, last_answer = ?6, address = ?7, host = ?8,
                 in_hand = 0
             WHERE number = ?1 AND attempts = ?2 AND state = ?3",
        )?
        .execute(params![
            entry.number,
            entry.attempts,
            entry.state.as_str(),
            state.as_str(),
            next_try,
            answer,
            address,
            host(address),
        ])?;
    Ok(written == 1)
}

/// One more address that the receiver put in a URI's place.
fn insert_beside(
    c: &Connection,
    entry: &OutboxEntry,
    address: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO outbox (report, position, uri, address, host, state, attempts, next_try)
         VALUES (?1, (SELECT max(position) + 1 FROM outbox WHERE report = ?1), ?2, ?3, ?4, ?5, 0, ?6)",
    )?
    .execute(params![
        entry.report.0,
        entry.uri,
        address,
        host(address),
        OutboxState::Queued.as_str(),
        at.micros(),
    ])?;
    Ok(())
}

/// Numbers of due entries of hosts behind `after`, up to and including `last`.
fn due(
    c: &Connection,
    after: &str,
    last: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<i64>, Undone> {
    let mut numbers = Vec::new();
    let mut host = after.to_owned();
    while numbers.len() < limit {
        let next: Option<(String, i64)> = c
            .prepare_cached(
                "SELECT host, next_try FROM outbox
                 WHERE state IN ('to_verify', 'queued') AND host > ?1
                 ORDER BY host, next_try LIMIT 1",
            )?
            .query_row([&host], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((found, next_try)) = next else {
            break;
        };
        if last.is_some_and(|last| found.as_str() > last) {
            break;
        }
        host = found;
        if next_try > now.micros() {
            continue;
        }
        let wanted = PER_HOST.min(limit - numbers.len());
        let of_host = collect(
            c,
            "SELECT number FROM outbox
             WHERE state IN ('to_verify', 'queued') AND host = ?1 AND next_try <= ?2
             ORDER BY next_try, number LIMIT ?3",
            params![host, now.micros(), wanted as i64],
            |row| Ok(row.get::<_, i64>(0)?),
        )?;
        numbers.extend(of_host);
    }
    Ok(numbers)
}

fn take(
    c: &Connection,
    number: i64,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<OutboxEntry>, Undone> {
    c.prepare_cached(
        "UPDATE outbox SET attempts = attempts + 1, last_try = ?2, next_try = ?3, in_hand = 1
         WHERE number = ?1",
    )?
    .execute(params![number, now.micros(), until.micros()])?;
    let sql = "SELECT * FROM outbox WHERE number = ?1";
    Ok(collect(c, sql, [number], read_entry)?.pop())
}

fn next_try(c: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = c.query_row(
        "SELECT min(next_try) FROM outbox WHERE state IN ('to_verify', 'queued')",
        [],
        |row| row.get(0),
    )?;
    Ok(next.map(Timestamp::from_micros))
}

fn read_entry(row: &Row<'_>) -> Result<OutboxEntry, Trouble> {
    let state = word(row, "state", OutboxState::parse)?;
    let next_try = Timestamp::from_micros(row.get("next_try")?);
    let last_try: Option<i64> = row.get("last_try")?;
    let address: String = row.get("address")?;
    Ok(OutboxEntry {
        number: row.get("number")?,
        report: ReportNumber(row.get("report")?),
        uri: row.get("uri")?,
        address: (!address.is_empty()).then_some(address),
        state,
        attempts: row.get("attempts")?,
        next_try: state.waits().then_some(next_try),
        last_try: last_try.map(Timestamp::from_micros),
        last_answer: row.get("last_answer")?,
    })
}

/// Entries of one destination domain that are taken at a time.
pub const PER_HOST: usize = 5;
