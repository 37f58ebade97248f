//! The outbox: report × destination, each with its own state, attempts and next try.
//!
//! Owns the moves `to_verify → queued → sent | refused | expired`. What the external check (RFC 9990 §4) did
//! not confirm is never queued, whoever asks for it. Taking entries is `take`'s.

use super::keep::host;
use super::suppress::note_checks;
use super::{Reports, collect};
use crate::report::destination::Refusal;
use crate::store::error::ReportsError;
use crate::store::reports::{
    Attempt, Checked, OutboxCounts, OutboxEntry, OutboxState, ReportNumber,
};
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::time::Timestamp;
use rusqlite::{Connection, Row, params};

impl Reports {
    /// Records what came of an attempt at an entry that was taken. False, and nothing written, when it
    /// has been taken again since.
    pub fn record_attempt(
        &self,
        entry: &OutboxEntry,
        attempt: &Attempt,
    ) -> Result<bool, ReportsError> {
        self.write(|c| Ok(record(c, entry, attempt)?))
    }

    /// Records what came of several, and of the checks that decided it, in one transaction.
    pub fn record_attempts(
        &self,
        attempts: &[(OutboxEntry, Attempt)],
        checked: &[Checked],
        now: Timestamp,
    ) -> Result<(), ReportsError> {
        self.write(|c| {
            for (entry, attempt) in attempts {
                record(c, entry, attempt)?;
            }
            Ok(note_checks(c, checked, now)?)
        })
    }

    /// Puts a report's entries back on their way, to be tried at `now`: those that were sent, expired, or
    /// refused by a server are queued; those that were never verified are to be verified first. Tells how
    /// many. Their time and their tries count anew.
    pub fn resend(&self, report: ReportNumber, now: Timestamp) -> Result<usize, ReportsError> {
        self.write(|c| {
            // RFC 9990 §4: "Where the above algorithm fails to confirm that the external reporting was
            // authorized by the Report Consumer, the URI MUST be ignored". What is in hand is on its way.
            let queued = c.execute(
                "UPDATE outbox SET state = CASE verified WHEN 1 THEN 'queued' ELSE 'to_verify' END,
                     next_try = CASE WHEN in_hand = 1 AND state IN ('to_verify', 'queued')
                         THEN next_try ELSE ?2 END,
                     queued_at = ?2, tries_before = attempts
                 WHERE report = ?1 AND host <> ''
                     AND (state <> 'refused' OR attempts > 0)",
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

    /// A report's entries, in the order of its `rua`.
    pub fn outbox_of(&self, report: ReportNumber) -> Result<Vec<OutboxEntry>, ReportsError> {
        let sql = format!("{ENTRY} WHERE report = ?1 ORDER BY position");
        self.read(|c| collect(c, &sql, [report.0], read_entry))
    }

    /// One entry.
    pub fn outbox_entry(&self, number: i64) -> Result<Option<OutboxEntry>, ReportsError> {
        let sql = format!("{ENTRY} WHERE number = ?1");
        let mut found = self.read(|c| collect(c, &sql, [number], read_entry))?;
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

/// Writes down what came of an attempt; false when the entry has been taken again since.
fn record(c: &Connection, entry: &OutboxEntry, attempt: &Attempt) -> rusqlite::Result<bool> {
    let Attempt::Verified {
        addresses,
        most,
        at,
    } = attempt
    else {
        let same = entry.address.as_deref().unwrap_or_default();
        return move_on(c, entry, attempt, same);
    };
    let others: Vec<String> = c
        .prepare_cached(
            "SELECT address FROM outbox WHERE report = ?1 AND number <> ?2 AND verified = 1",
        )?
        .query_map(params![entry.report.0, entry.number], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let room = most.saturating_sub(others.len());
    let mut new: Vec<&String> = addresses.iter().filter(|a| !others.contains(a)).collect();
    // What it was called before, it stays.
    new.sort_by_key(|address| Some(address.as_str()) != entry.address.as_deref());
    let Some((first, more)) = new.get(..room.min(new.len())).and_then(<[_]>::split_first) else {
        let refusal = match new.is_empty() {
            true => Refusal::Twice,
            false => Refusal::OverLimit,
        };
        let same = entry.address.as_deref().unwrap_or_default();
        let answer = refusal.to_string();
        return move_on(c, entry, &Attempt::Refused { answer }, same);
    };
    let written = move_on(c, entry, attempt, first)?;
    if written {
        for address in more {
            insert_beside(c, entry, address, *at)?;
        }
    }
    Ok(written)
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
                 in_hand = 0, verified = max(verified, ?9)
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
            matches!(attempt, Attempt::Verified { .. }),
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
        "INSERT INTO outbox (report, position, uri, address, host, state, attempts, next_try, verified,
             queued_at)
         VALUES (?1, (SELECT max(position) + 1 FROM outbox WHERE report = ?1), ?2, ?3, ?4, ?5, 0, ?6, 1,
             (SELECT queued_at FROM outbox WHERE number = ?7))",
    )?
    .execute(params![
        entry.report.0,
        entry.uri,
        address,
        host(address),
        OutboxState::Queued.as_str(),
        at.micros(),
        entry.number,
    ])?;
    Ok(())
}

fn next_try(c: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = c.query_row(
        "SELECT min(earliest) FROM (
             SELECT min(next_try) AS earliest FROM outbox WHERE state = 'queued'
             UNION ALL SELECT min(next_try) FROM outbox WHERE state = 'to_verify')",
        [],
        |row| row.get(0),
    )?;
    Ok(next.map(Timestamp::from_micros))
}

pub(super) fn read_entry(row: &Row<'_>) -> Result<OutboxEntry, Trouble> {
    let state = word(row, "state", OutboxState::parse)?;
    let next_try = Timestamp::from_micros(row.get("next_try")?);
    let last_try: Option<i64> = row.get("last_try")?;
    let address: String = row.get("address")?;
    let attempts: u32 = row.get("attempts")?;
    let before: u32 = row.get("tries_before")?;
    Ok(OutboxEntry {
        number: row.get("number")?,
        report: ReportNumber(row.get("report")?),
        uri: row.get("uri")?,
        address: (!address.is_empty()).then_some(address),
        state,
        attempts,
        since: Timestamp::from_micros(row.get("since")?),
        tries: attempts.saturating_sub(before),
        next_try: state.waits().then_some(next_try),
        last_try: last_try.map(Timestamp::from_micros),
        last_answer: row.get("last_answer")?,
    })
}

/// What [`read_entry`] reads.
pub(super) const ENTRY: &str = "SELECT *, coalesce(queued_at,
     (SELECT built FROM report WHERE report.number = outbox.report), 0) AS since FROM outbox";
