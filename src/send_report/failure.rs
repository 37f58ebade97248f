//! Permanent failures of mail to an address: the second one suppresses it, and in the end its domain.
//!
//! Owns the thresholds and the terms. Nothing is suppressed for ever: addresses come back to life.

use super::delay::SUPPRESSION;
use crate::store::{Reports, ReportsError, Suppression};
use crate::time::Timestamp;

/// What a failure came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is the first.
    Counted,
    /// Nothing is sent there before this.
    Address(Suppression),
    /// Nor to any other address of the domain.
    Domain(Suppression),
}

/// Counts a permanent failure of mail to `address`. A domain is suppressed when `FAILURES` of its
/// addresses were, or one so often, and no other of them got its mail: one customer's dead address at a
/// report processor must not end everybody else's reports.
pub fn note_failure(
    reports: &Reports,
    address: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Noted, ReportsError> {
    let Some(suppressed) = count(reports, address, reason, now)? else {
        return Ok(Noted::Counted);
    };
    let Some((_, domain)) = address.rsplit_once('@') else {
        return Ok(Noted::Address(suppressed));
    };
    if reports.gets_mail(domain, address)? {
        return Ok(Noted::Address(suppressed));
    }
    let reason = format!("all of its addresses fail; the last one: {reason}");
    Ok(match count(reports, domain, &reason, now)? {
        Some(domain) => Noted::Domain(domain),
        None => Noted::Address(suppressed),
    })
}

fn count(
    reports: &Reports,
    who: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Suppression>, ReportsError> {
    let stands = reports.count_failure(who, reason, now)?;
    if stands.failures < FAILURES {
        return Ok(None);
    }
    let until = SUPPRESSION.after(stands.times.saturating_add(1), now);
    reports.suppress(who, until, reason, now).map(Some)
}

/// Permanent failures that suppress.
const FAILURES: u32 = 2;
