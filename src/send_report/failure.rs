//! Permanent failures of mail to an address: the second one suppresses it, and in the end its domain.
//!
//! Owns the thresholds and the terms. Nothing is suppressed for ever: addresses come back to life.

use super::delay::SUPPRESSION;
use crate::store::{Failure, Noted, Reports, ReportsError, Terms};
use crate::time::Timestamp;

/// Notes a permanent failure of mail. A domain is suppressed when `FAILURES` of its addresses were, or one so
/// often, and no other of them got its mail: one customer's dead address at a report processor must not end
/// everybody else's reports.
pub fn note_failure(
    reports: &Reports,
    failure: Failure<'_>,
    now: Timestamp,
) -> Result<Noted, ReportsError> {
    let terms = Terms {
        failures: FAILURES,
        until: &|nth| SUPPRESSION.after(nth, now),
    };
    reports.fail(failure, &terms, now)
}

/// Permanent failures that suppress.
const FAILURES: u32 = 2;
