//! Destinations that are not to be used: those the external check did not confirm, and those whose mail
//! fails.
//!
//! Owns the counting; when to suppress, and for how long, is for the caller to say.

use super::keep::host;
use super::{Reports, Undone, collect};
use crate::domain::DomainName;
use crate::store::error::ReportsError;
use crate::store::reports::{Checked, Consent, Suppression, Unconfirmed};
use crate::store::sqlite::rebuild::Trouble;
use crate::store::wire::read_domain;
use crate::time::Timestamp;
use rusqlite::{Connection, Row, params};

impl Reports {
    /// Counts a permanent failure of mail to an address, or to a domain, and tells how it stands.
    pub fn count_failure(
        &self,
        who: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Suppression, ReportsError> {
        let who = who.to_ascii_lowercase();
        self.write(|c| {
            c.execute(
                "INSERT INTO suppression (who, failures, times, since, until, reason)
                 VALUES (?1, 1, 0, ?2, NULL, ?3)
                 ON CONFLICT (who) DO UPDATE SET failures = failures + 1, since = excluded.since,
                     reason = excluded.reason",
                params![who, now.micros(), reason],
            )?;
            of(c, &who)
        })
    }

    /// Suppresses an address or a domain until some time, and starts to count its failures anew.
    pub fn suppress(
        &self,
        who: &str,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<Suppression, ReportsError> {
        let who = who.to_ascii_lowercase();
        self.write(|c| {
            c.execute(
                "INSERT INTO suppression (who, failures, times, since, until, reason)
                 VALUES (?1, 0, 1, ?2, ?3, ?4)
                 ON CONFLICT (who) DO UPDATE SET failures = 0, times = times + 1,
                     since = excluded.since, until = excluded.until, reason = excluded.reason",
                params![who, now.micros(), until.micros(), reason],
            )?;
            of(c, &who)
        })
    }

    /// Forgets all failures of an address or a domain; false when there were none.
    pub fn unsuppress(&self, who: &str) -> Result<bool, ReportsError> {
        let who = who.to_ascii_lowercase();
        self.write(|c| Ok(c.execute("DELETE FROM suppression WHERE who = ?1", [who])? == 1))
    }

    /// Why nothing is to be sent to this address at `now`: itself, or its domain.
    pub fn suppressed(
        &self,
        address: &str,
        now: Timestamp,
    ) -> Result<Option<Suppression>, ReportsError> {
        let address = address.to_ascii_lowercase();
        let found = self.read(|c| {
            collect(
                c,
                "SELECT * FROM suppression WHERE who IN (?1, ?2) AND until > ?3 ORDER BY until",
                params![address, host(&address), now.micros()],
                read_suppression,
            )
        })?;
        Ok(found.into_iter().next_back())
    }

    /// Addresses and domains whose mail fails, suppressed or not, by name; at most 10,000.
    pub fn suppressions(&self) -> Result<Vec<Suppression>, ReportsError> {
        let sql = "SELECT * FROM suppression ORDER BY who LIMIT 10000";
        self.read(|c| collect(c, sql, [], read_suppression))
    }

    /// Notes what the external check came to at `now`: who did not agree, and when to ask again; who does
    /// now is forgotten. One transaction.
    pub fn note_checks(&self, checked: &[Checked], now: Timestamp) -> Result<(), ReportsError> {
        if checked.is_empty() {
            return Ok(());
        }
        self.write(|c| Ok(note_checks(c, checked, now)?))
    }

    /// A domain's destinations that are not confirmed.
    pub fn unconfirmed_of(
        &self,
        policy_domain: &DomainName,
    ) -> Result<Vec<Unconfirmed>, ReportsError> {
        self.read(|c| {
            collect(
                c,
                "SELECT * FROM unconfirmed WHERE policy_domain = ?1 ORDER BY uri",
                [policy_domain.as_str()],
                read_unconfirmed,
            )
        })
    }

    /// All destinations that are not confirmed, by domain; at most 10,000.
    pub fn unconfirmed(&self) -> Result<Vec<Unconfirmed>, ReportsError> {
        let sql = "SELECT * FROM unconfirmed ORDER BY policy_domain, uri LIMIT 10000";
        self.read(|c| collect(c, sql, [], read_unconfirmed))
    }
}

/// The same, in a transaction that does more.
pub(super) fn note_checks(
    c: &Connection,
    checked: &[Checked],
    now: Timestamp,
) -> rusqlite::Result<()> {
    for one in checked {
        let (policy_domain, uri) = (one.policy_domain.as_str(), &one.uri);
        match &one.consent {
            Consent::Confirmed => {
                c.prepare_cached("DELETE FROM unconfirmed WHERE policy_domain = ?1 AND uri = ?2")?
                    .execute(params![policy_domain, uri])?
            }
            Consent::Unconfirmed { reason, next_check } => c
                .prepare_cached(
                    "INSERT INTO unconfirmed (policy_domain, uri, reason, since, checks, next_check)
                     VALUES (?1, ?2, ?3, ?4, 1, ?5)
                     ON CONFLICT (policy_domain, uri) DO UPDATE SET reason = excluded.reason,
                         checks = checks + 1, next_check = excluded.next_check",
                )?
                .execute(params![
                    policy_domain,
                    uri,
                    reason,
                    now.micros(),
                    next_check.micros()
                ])?,
        };
    }
    Ok(())
}

fn of(c: &Connection, who: &str) -> Result<Suppression, Undone> {
    let sql = "SELECT * FROM suppression WHERE who = ?1";
    let found = collect(c, sql, [who], read_suppression)?.pop();
    found.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

fn read_suppression(row: &Row<'_>) -> Result<Suppression, Trouble> {
    let until: Option<i64> = row.get("until")?;
    Ok(Suppression {
        who: row.get("who")?,
        failures: row.get("failures")?,
        times: row.get("times")?,
        since: Timestamp::from_micros(row.get("since")?),
        until: until.map(Timestamp::from_micros),
        reason: row.get("reason")?,
    })
}

fn read_unconfirmed(row: &Row<'_>) -> Result<Unconfirmed, Trouble> {
    Ok(Unconfirmed {
        policy_domain: read_domain(&row.get::<_, String>("policy_domain")?)?,
        uri: row.get("uri")?,
        reason: row.get("reason")?,
        since: Timestamp::from_micros(row.get("since")?),
        checks: row.get("checks")?,
        next_check: Timestamp::from_micros(row.get("next_check")?),
    })
}
