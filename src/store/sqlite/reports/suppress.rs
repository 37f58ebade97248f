//! Destinations that are not to be used: those the external check did not confirm, and those whose mail
//! fails.
//!
//! Owns the counting, and what a bounce does to its outbox entry; when to suppress, and for how long, is for
//! the caller to say.

use super::keep::host;
use super::{Reports, Undone, collect};
use crate::domain::DomainName;
use crate::store::error::ReportsError;
use crate::store::reports::{
    Checked, Consent, Failure, Noted, OutboxState, Suppression, Terms, Unconfirmed,
};
use crate::store::sqlite::rebuild::Trouble;
use crate::store::wire::read_domain;
use crate::time::Timestamp;
use rusqlite::{Connection, Row, params};

impl Reports {
    /// Notes a permanent failure of mail and what follows, all of it in one transaction: a bounce that is
    /// told again after trouble here counts once. A domain is suppressed with its address when `terms` say
    /// so for it, too, and no other address of it got its mail.
    pub fn fail(
        &self,
        failure: Failure<'_>,
        terms: &Terms<'_>,
        now: Timestamp,
    ) -> Result<Noted, ReportsError> {
        let reason = failure.reason;
        let address = failure.address.to_ascii_lowercase();
        self.write(|c| {
            if let Some(entry) = failure.returned
                && !note_returned(
                    c,
                    entry,
                    OutboxState::Refused,
                    &format!("bounced: {reason}"),
                )?
            {
                return Ok(Noted::Known);
            }
            if suppressed(c, &address, now)?.is_some() {
                return Ok(Noted::Suppressed);
            }
            let Some(of_address) = count(c, &address, reason, terms, now)? else {
                return Ok(Noted::Counted);
            };
            let domain = host(&address);
            if domain.is_empty() || gets_mail(c, &domain, &address)? {
                return Ok(Noted::Address(of_address));
            }
            let reason = format!("all of its addresses fail; the last one: {reason}");
            Ok(match count(c, &domain, &reason, terms, now)? {
                Some(of_domain) => Noted::Domain(of_domain),
                None => Noted::Address(of_address),
            })
        })
    }

    /// Notes that the mail of an outbox entry came back because its server could not be reached for too
    /// long: that says nothing against the address. False when it had not been sent, or came back before.
    pub fn note_given_up(&self, entry: i64, answer: &str) -> Result<bool, ReportsError> {
        self.write(|c| Ok(note_returned(c, entry, OutboxState::Expired, answer)?))
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
        self.write(|c| suppress(c, &who, until, reason, now))
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
        self.read(|c| suppressed(c, &address, now))
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

/// Counts a failure of `who`; `Some` when that suppresses it.
fn count(
    c: &Connection,
    who: &str,
    reason: &str,
    terms: &Terms<'_>,
    now: Timestamp,
) -> Result<Option<Suppression>, Undone> {
    c.prepare_cached(
        "INSERT INTO suppression (who, failures, times, since, until, reason)
         VALUES (?1, 1, 0, ?2, NULL, ?3)
         ON CONFLICT (who) DO UPDATE SET failures = failures + 1, since = excluded.since,
             reason = excluded.reason",
    )?
    .execute(params![who, now.micros(), reason])?;
    let stands = of(c, who)?;
    if stands.failures < terms.failures {
        return Ok(None);
    }
    let until = (terms.until)(stands.times.saturating_add(1));
    suppress(c, who, until, reason, now).map(Some)
}

fn suppress(
    c: &Connection,
    who: &str,
    until: Timestamp,
    reason: &str,
    now: Timestamp,
) -> Result<Suppression, Undone> {
    c.prepare_cached(
        "INSERT INTO suppression (who, failures, times, since, until, reason)
         VALUES (?1, 0, 1, ?2, ?3, ?4)
         ON CONFLICT (who) DO UPDATE SET failures = 0, times = times + 1,
             since = excluded.since, until = excluded.until, reason = excluded.reason",
    )?
    .execute(params![who, now.micros(), until.micros(), reason])?;
    of(c, who)
}

fn suppressed(
    c: &Connection,
    address: &str,
    now: Timestamp,
) -> Result<Option<Suppression>, Undone> {
    let found = collect(
        c,
        "SELECT * FROM suppression WHERE who IN (?1, ?2) AND until > ?3 ORDER BY until",
        params![address, host(address), now.micros()],
        read_suppression,
    )?;
    Ok(found.into_iter().next_back())
}

/// Whether mail to another address of a domain was sent and did not come back.
fn gets_mail(c: &Connection, domain: &str, but_for: &str) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM outbox o WHERE o.host = ?1 AND o.state = 'sent'
             AND lower(o.address) <> lower(?2)
             AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.who = lower(o.address)))",
    )?
    .query_row(params![domain, but_for], |row| row.get(0))
}

/// False when the mail had not been sent, or came back before.
fn note_returned(
    c: &Connection,
    entry: i64,
    state: OutboxState,
    answer: &str,
) -> rusqlite::Result<bool> {
    let noted = c
        .prepare_cached(
            "UPDATE outbox SET state = ?2, last_answer = ?3 WHERE number = ?1 AND state = 'sent'",
        )?
        .execute(params![entry, state.as_str(), answer])?;
    Ok(noted == 1)
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
