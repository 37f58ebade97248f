//! Taking from the outbox: what is due, host by host, so that one in trouble never holds up another.
//!
//! Owns the order. Taking an entry puts its next try off: whoever dies with it leaves it to be taken again,
//! at once if `turn` knows that they did. What is due is looked for outside of a transaction; the one that
//! takes it touches its rows alone (DESIGN §4: other writers wait for moments).

use super::outbox::{ENTRY, read_entry};
use super::{Reports, Undone, collect};
use crate::store::error::ReportsError;
use crate::store::reports::{OutboxEntry, OutboxState};
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

impl Reports {
    /// Takes mail that is due at `now`: at most `limit`, at most [`PER_HOST`] of one destination domain, the
    /// hosts in order from the one behind `after_host` on, and once around. Nobody else gets them for as
    /// long as `lease`, or before this one's [`Turn`](super::Turn) ended. Their attempts count this one.
    pub fn take_due(
        &self,
        after_host: &str,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<OutboxEntry>, ReportsError> {
        let look = |c: &Connection| due(c, after_host, limit, now);
        self.take_found(&look, OutboxState::Queued, now, lease)
    }

    /// Takes entries that are due to be verified at `now`, the longest waiting first. Like mail else.
    pub fn take_unverified(
        &self,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<OutboxEntry>, ReportsError> {
        let look = |c: &Connection| {
            collect(
                c,
                "SELECT number FROM outbox WHERE state = 'to_verify' AND next_try <= ?1
                 ORDER BY next_try, number LIMIT ?2",
                params![now.micros(), i64::try_from(limit).unwrap_or(i64::MAX)],
                |row| Ok(row.get::<_, i64>(0)?),
            )
        };
        self.take_found(&look, OutboxState::ToVerify, now, lease)
    }

    /// Takes what `look` finds. Others may be quicker; then it looks again.
    fn take_found(
        &self,
        look: &dyn Fn(&Connection) -> Result<Vec<i64>, Undone>,
        state: OutboxState,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<OutboxEntry>, ReportsError> {
        let until = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        let until = now.plus_micros(until);
        for _ in 0..LOOKS {
            let found = self.read(look)?;
            if found.is_empty() {
                break;
            }
            let taken = self.write(|c| {
                let mut taken = Vec::with_capacity(found.len());
                for number in found {
                    taken.extend(take(c, number, state, (now, until))?);
                }
                Ok(taken)
            })?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
        Ok(Vec::new())
    }
}

/// Numbers of mail that is due, in the order of their turns. Where little is due among much that waits it is
/// found by its time, where much is due by its host; never by walking through all that waits.
fn due(c: &Connection, after: &str, limit: usize, now: Timestamp) -> Result<Vec<i64>, Undone> {
    let oldest = collect(
        c,
        "SELECT host, number FROM outbox WHERE state = 'queued' AND next_try <= ?1
         ORDER BY next_try, number LIMIT ?2",
        params![now.micros(), MANY as i64],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if oldest.len() < MANY {
        return Ok(in_turn(oldest, after, limit));
    }
    let mut numbers = hosts_behind(c, after, None, limit, now)?;
    let rest = limit.saturating_sub(numbers.len());
    numbers.extend(hosts_behind(c, "", Some(after), rest, now)?);
    if numbers.is_empty() {
        return Ok(in_turn(oldest, after, limit));
    }
    Ok(numbers)
}

/// Host by host, from the one behind `after` on.
fn in_turn(mut due: Vec<(String, i64)>, after: &str, limit: usize) -> Vec<i64> {
    // Stable: of one host the oldest first.
    due.sort_by(|(a, _), (b, _)| (a.as_str() <= after, a).cmp(&(b.as_str() <= after, b)));
    let mut last: (Option<&str>, usize) = (None, 0);
    let fair = due.iter().filter(|(host, _)| {
        last = match last {
            (Some(same), of_host) if same == host => (last.0, of_host + 1),
            _ => (Some(host), 1),
        };
        last.1 <= PER_HOST
    });
    fair.take(limit).map(|(_, number)| *number).collect()
}

/// Numbers of due mail to hosts behind `after`, up to and including `last`; of so many hosts at most.
fn hosts_behind(
    c: &Connection,
    after: &str,
    last: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<i64>, Undone> {
    let mut numbers = Vec::new();
    let mut host = after.to_owned();
    for _ in 0..MANY {
        if numbers.len() >= limit {
            break;
        }
        let next: Option<(String, i64)> = c
            .prepare_cached(
                "SELECT host, next_try FROM outbox WHERE state = 'queued' AND host > ?1
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
            "SELECT number FROM outbox WHERE state = 'queued' AND host = ?1 AND next_try <= ?2
             ORDER BY next_try, number LIMIT ?3",
            params![host, now.micros(), wanted as i64],
            |row| Ok(row.get::<_, i64>(0)?),
        )?;
        numbers.extend(of_host);
    }
    Ok(numbers)
}

/// `None`: it is somebody else's by now, or done with.
fn take(
    c: &Connection,
    number: i64,
    state: OutboxState,
    (now, until): (Timestamp, Timestamp),
) -> Result<Option<OutboxEntry>, Undone> {
    let taken = c
        .prepare_cached(
            "UPDATE outbox SET attempts = attempts + 1, last_try = ?2, next_try = ?3, in_hand = 1
             WHERE number = ?1 AND state = ?4 AND next_try <= ?2",
        )?
        .execute(params![
            number,
            now.micros(),
            until.micros(),
            state.as_str()
        ])?;
    if taken == 0 {
        return Ok(None);
    }
    let sql = format!("{ENTRY} WHERE number = ?1");
    Ok(collect(c, &sql, [number], read_entry)?.pop())
}

/// Entries of one destination domain that are taken at a time.
pub const PER_HOST: usize = 5;
/// Entries, or hosts, that are looked at to find who is next: some milliseconds.
const MANY: usize = 1_000;
/// How often it looks, when others take what it found.
const LOOKS: usize = 5;
