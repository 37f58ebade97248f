//! Leases: who builds which domain's day, and what of a day is covered.
//!
//! Owns the fence: a lease that expired is taken over with a new one, and what its first holder had
//! spooled goes. Covering is `keep`'s.

use super::{Reports, Undone, collect};
use crate::domain::DomainName;
use crate::store::error::ReportsError;
use crate::store::fold::{CoveredTo, Include};
use crate::store::give_way;
use crate::store::reports::{CameTo, Claimed, Covered, Lease, Range, Wanted};
use crate::store::sqlite::rebuild::{Trouble, word};
use crate::store::wire::read_domain;
use crate::time::{Timestamp, UtcDay};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::time::Duration;

impl Reports {
    /// Asks for leases until `expires`, of domains with what the asker knows to be covered. Answers in the
    /// same order, in one transaction: at most a few hundred.
    pub fn claim(
        &self,
        day: UtcDay,
        domains: &[Wanted],
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Vec<Claimed>, ReportsError> {
        // A crash of the machine ends the asker, too.
        self.write_unsynced(|c| {
            let mut claimed = Vec::with_capacity(domains.len());
            for wanted in domains {
                claimed.push(claim(c, day, wanted, now, expires)?);
                give_way();
            }
            Ok(claimed)
        })
    }

    /// Gives leases back unused, so that others need not wait for their end.
    pub fn give_back(&self, leases: &[Lease]) -> Result<(), ReportsError> {
        self.write(|c| {
            for lease in leases {
                release(c, lease.fence)?;
            }
            Ok(())
        })
    }

    /// How far a day is covered, by policy domain.
    pub fn covered_to(&self, day: UtcDay) -> Result<HashMap<String, CoveredTo>, ReportsError> {
        let sql = "SELECT policy_domain, max(up_to), max(came_to = 'reported') FROM covered
                   WHERE day = ?1 GROUP BY policy_domain";
        let read = |row: &Row<'_>| {
            let covered = CoveredTo {
                up_to: row.get(1)?,
                reported: row.get(2)?,
            };
            Ok((row.get(0)?, covered))
        };
        let found = self.read(|c| collect(c, sql, [day.number()], read))?;
        Ok(found.into_iter().collect())
    }

    /// What became of a domain's day so far, in order.
    pub fn covered(
        &self,
        day: UtcDay,
        policy_domain: &DomainName,
    ) -> Result<Vec<Covered>, ReportsError> {
        self.read(|c| {
            collect(
                c,
                "SELECT day, policy_domain, after_seq, up_to, came_to, include, messages, left_out
                 FROM covered WHERE day = ?1 AND policy_domain = ?2 ORDER BY up_to",
                params![day.number(), policy_domain.as_str()],
                read_covered,
            )
        })
    }

    /// What came to no report though there was something to report: the newest day first, its domains by
    /// name; of all days and domains, or of these, and at most so many.
    pub fn not_reported(
        &self,
        day: Option<UtcDay>,
        policy_domain: Option<&DomainName>,
        at_most: u32,
    ) -> Result<Vec<Covered>, ReportsError> {
        let day = day.map(UtcDay::number);
        let policy_domain = policy_domain.map(DomainName::as_str);
        self.read(|c| {
            collect(
                c,
                "SELECT day, policy_domain, after_seq, up_to, came_to, include, messages, left_out
                 FROM covered WHERE day BETWEEN coalesce(?1, -2147483648) AND coalesce(?1, 2147483647)
                     AND (?2 IS NULL OR policy_domain = ?2)
                     AND came_to NOT IN ('reported', 'nothing')
                 ORDER BY day DESC, policy_domain, up_to LIMIT ?3",
                params![day, policy_domain, at_most],
                read_covered,
            )
        })
    }

    /// Days with outcomes that may not be covered yet, oldest first, each with the last of their
    /// numbers that was seen; as [`Reports::note_days`] was told.
    pub fn open_days(&self) -> Result<Vec<(UtcDay, i64)>, ReportsError> {
        self.read(|c| {
            collect(
                c,
                "SELECT day, last_seq FROM open_day ORDER BY day",
                [],
                |row| Ok((UtcDay::from_number(row.get(0)?), row.get(1)?)),
            )
        })
    }

    /// How far the outcome table was looked through; `None`: never yet.
    pub fn looked_to(&self) -> Result<Option<i64>, ReportsError> {
        self.read(|c| {
            let sql = "SELECT up_to FROM looked WHERE one = 1";
            Ok(c.query_row(sql, [], |row| row.get(0)).optional()?)
        })
    }

    /// Notes days that have outcomes, each with the last number seen, and how far that look went.
    pub fn note_days(&self, days: &[(UtcDay, i64)], looked_to: i64) -> Result<(), ReportsError> {
        self.write(|c| {
            for (day, last_seq) in days {
                c.prepare_cached(
                    "INSERT INTO open_day (day, last_seq) VALUES (?1, ?2)
                     ON CONFLICT (day) DO UPDATE SET last_seq = max(last_seq, excluded.last_seq)",
                )?
                .execute(params![day.number(), last_seq])?;
            }
            c.execute(
                "INSERT INTO looked (one, up_to) VALUES (1, ?1)
                 ON CONFLICT (one) DO UPDATE SET up_to = excluded.up_to",
                [looked_to],
            )?;
            Ok(())
        })
    }

    /// Closes a day of which everything up to this number is dealt with. A day with later ones
    /// stays open.
    pub fn close_day(&self, day: UtcDay, up_to: i64) -> Result<(), ReportsError> {
        self.write(|c| {
            c.execute(
                "DELETE FROM open_day WHERE day = ?1 AND last_seq <= ?2",
                params![day.number(), up_to],
            )?;
            Ok(())
        })
    }
}

/// Extends a lease, if it is still the holder's.
pub(super) fn renew(c: &Connection, lease: &Lease, expires: Timestamp) -> Result<(), Undone> {
    let renewed = c
        .prepare_cached("UPDATE claim SET expires = max(expires, ?2) WHERE fence = ?1")?
        .execute(params![lease.fence, expires.micros()])?;
    if renewed == 1 {
        Ok(())
    } else {
        Err(Undone::Fenced)
    }
}

/// Ends a lease; false when it was not the holder's any more.
pub(super) fn end(c: &Connection, fence: i64) -> rusqlite::Result<bool> {
    let ended = c
        .prepare_cached("DELETE FROM claim WHERE fence = ?1")?
        .execute([fence])?;
    Ok(ended == 1)
}

/// Ends a lease and deletes what was spooled under it.
pub(super) fn release(c: &Connection, fence: i64) -> rusqlite::Result<()> {
    if end(c, fence)? {
        c.prepare_cached("DELETE FROM piece WHERE fence = ?1")?
            .execute([fence])?;
    }
    Ok(())
}

fn claim(
    c: &Connection,
    day: UtcDay,
    wanted: &Wanted,
    now: Timestamp,
    expires: Timestamp,
) -> Result<Claimed, Undone> {
    let domain = &wanted.policy_domain;
    let own = (day, wanted.after);
    for (day, after) in wanted.beside.iter().copied().chain([own]) {
        if let Some(refused) = refused(c, day, domain, after, now)? {
            return Ok(refused);
        }
    }
    c.prepare_cached("INSERT INTO claim (day, policy_domain, expires) VALUES (?1, ?2, ?3)")?
        .execute(params![day.number(), domain.as_str(), expires.micros()])?;
    Ok(Claimed::Lease(Lease {
        day,
        policy_domain: domain.clone(),
        after: wanted.after,
        fence: c.last_insert_rowid(),
    }))
}

/// Why a domain's day is not as the asker saw it, and nobody's. Takes an expired lease back.
fn refused(
    c: &Connection,
    day: UtcDay,
    domain: &DomainName,
    after: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<Claimed>> {
    let key = params![day.number(), domain.as_str()];
    let covered: Option<i64> = c
        .prepare_cached("SELECT max(up_to) FROM covered WHERE day = ?1 AND policy_domain = ?2")?
        .query_row(key, |row| row.get(0))?;
    if covered.unwrap_or(0) != after {
        return Ok(Some(Claimed::Covered));
    }
    let held: Option<(i64, i64)> = c
        .prepare_cached("SELECT fence, expires FROM claim WHERE day = ?1 AND policy_domain = ?2")?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match held {
        Some((_, until)) if until > now.micros() => {
            Ok(Some(Claimed::Taken(Timestamp::from_micros(until))))
        }
        Some((fence, _)) => {
            release(c, fence)?;
            Ok(None)
        }
        None => Ok(None),
    }
}

fn read_covered(row: &Row<'_>) -> Result<Covered, Trouble> {
    Ok(Covered {
        day: UtcDay::from_number(row.get("day")?),
        policy_domain: read_domain(&row.get::<_, String>("policy_domain")?)?,
        range: Range {
            after: row.get("after_seq")?,
            up_to: row.get("up_to")?,
        },
        came_to: word(row, "came_to", CameTo::parse)?,
        include: word(row, "include", Include::parse)?,
        messages: row.get::<_, i64>("messages")?.unsigned_abs(),
        left_out: row.get::<_, i64>("left_out")?.unsigned_abs(),
    })
}

/// How long a holder may go without a sign of life.
pub const LEASE: Duration = Duration::from_secs(900);
