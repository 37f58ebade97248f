//! Keeping reports: pieces are spooled as they come, and one transaction makes a report of them.
//!
//! Owns that transaction: report, outbox, what is covered, end of the lease. Before it nothing of a
//! report is seen; after it the report is the same for ever.

use super::claim::{end, renew};
use super::{Reports, Undone, as_integer};
use crate::report::aggregate::{Head, NormalisedPolicy};
use crate::store::error::ReportsError;
use crate::store::give_way;
use crate::store::reports::{Destination, Finished, Lease, NewReport, OutboxState, Standing};
use crate::store::wire;
use crate::time::Timestamp;
use rusqlite::{Connection, params};

impl Reports {
    /// Spools one piece of a report's gzipped XML, and shows that the holder is alive: the lease lasts
    /// until `expires` at least.
    pub fn spool(
        &self,
        lease: &Lease,
        (part, nth): (u8, u32),
        octets: &[u8],
        expires: Timestamp,
    ) -> Result<(), ReportsError> {
        self.write_unsynced(|c| {
            renew(c, lease, expires)?;
            Ok(insert_piece(c, lease.fence, (part, nth), octets)?)
        })
    }

    /// Keeps what some leases came to: all of it in one transaction, so a few hundred small reports at
    /// most. Tells of each whether it was kept; one whose lease was taken over is not.
    pub fn keep(&self, finished: &[Finished], now: Timestamp) -> Result<Vec<bool>, ReportsError> {
        self.write_unsynced(|c| {
            let mut kept = Vec::with_capacity(finished.len());
            for one in finished {
                kept.push(keep(c, one, now)?);
                give_way();
            }
            Ok(kept)
        })
    }
}

fn keep(c: &Connection, finished: &Finished, now: Timestamp) -> Result<bool, Undone> {
    let lease = &finished.lease;
    if !end(c, lease.fence)? {
        return Ok(false);
    }
    let (day, domain) = (lease.day.number(), lease.policy_domain.as_str());
    c.prepare_cached(
        "INSERT INTO covered (day, policy_domain, up_to, after_seq, came_to, include, messages,
             left_out)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        day,
        domain,
        finished.up_to,
        lease.after,
        finished.came_to.as_str(),
        finished.include.as_str(),
        as_integer(finished.messages),
        as_integer(finished.left_out),
    ])?;
    for report in &finished.reports {
        let number = insert_report(c, finished, report, now)?;
        let last = (report.part, report.pieces);
        insert_piece(c, lease.fence, last, &report.last_piece)?;
        for (position, destination) in finished.destinations.iter().enumerate() {
            insert_destination(c, number, position, destination)?;
        }
    }
    Ok(true)
}

fn insert_piece(
    c: &Connection,
    fence: i64,
    (part, nth): (u8, u32),
    octets: &[u8],
) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO piece (fence, part, nth, octets) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![fence, part, nth, octets])?;
    Ok(())
}

fn insert_report(
    c: &Connection,
    finished: &Finished,
    report: &NewReport,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let Head {
        reporter,
        id,
        day,
        errors,
        policy_domain,
        policy,
    } = &report.head;
    let NormalisedPolicy {
        p,
        sp,
        np,
        adkim,
        aspf,
        fo,
        testing,
        psd,
        method,
    } = policy;
    c.prepare_cached(
        "INSERT INTO report (unique_id, report_domain, day, policy_domain, up_to, format, org_name,
             contact, errors, p, sp, np, adkim, aspf, fo, testing, psd, discovery_method, rows,
             messages, octets, built, fence, part)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19, ?20, ?21, ?22, ?23, ?24)",
    )?
    .execute(params![
        id.unique,
        id.domain.as_str(),
        day.number(),
        policy_domain.as_str(),
        finished.up_to,
        report.format.as_str(),
        reporter.org_name,
        reporter.contact,
        wire::write(errors),
        p.as_str(),
        sp.map(|p| p.as_str()),
        np.map(|p| p.as_str()),
        adkim.as_str(),
        aspf.as_str(),
        fo,
        testing,
        psd.as_str(),
        method.as_str(),
        as_integer(report.rows),
        as_integer(report.messages),
        as_integer(report.octets),
        now.micros(),
        finished.lease.fence,
        report.part,
    ])?;
    Ok(c.last_insert_rowid())
}

fn insert_destination(
    c: &Connection,
    report: i64,
    position: usize,
    destination: &Destination,
) -> rusqlite::Result<()> {
    let address = destination.address.as_deref().unwrap_or_default();
    let (state, next_try, answer) = match &destination.standing {
        // Nobody would ever take it.
        Standing::ToVerify(_) | Standing::Verified(_) if host(address).is_empty() => {
            (OutboxState::Refused, 0, Some(NO_ADDRESS))
        }
        Standing::ToVerify(at) => (OutboxState::ToVerify, at.micros(), None),
        Standing::Verified(at) => (OutboxState::Queued, at.micros(), None),
        Standing::Refused(reason) => (OutboxState::Refused, 0, Some(reason.as_str())),
    };
    c.prepare_cached(
        "INSERT INTO outbox (report, position, uri, address, host, state, attempts, next_try,
             last_answer, verified)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9)",
    )?
    .execute(params![
        report,
        as_integer(position as u64),
        destination.uri,
        address,
        host(address),
        state.as_str(),
        next_try,
        answer,
        state == OutboxState::Queued,
    ])?;
    Ok(())
}

/// What is behind the `@` of an address.
pub(super) fn host(address: &str) -> String {
    let (_, host) = address.rsplit_once('@').unwrap_or_default();
    host.to_ascii_lowercase()
}

/// Why a destination without an address is refused, where its owner gave no reason.
const NO_ADDRESS: &str = "not an address that mail is sent to";
