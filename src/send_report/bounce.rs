//! Mail that came back: whose it was, and what follows.
//!
//! Owns the one way a bounce gets effect: a return path that we signed, for an entry of our outbox, once.
//! Anything else does nothing, whoever sends it.

use super::failure::note_failure;
use crate::domain::DomainName;
use crate::message::dsn::{self, Notice};
use crate::message::parse::Message;
use crate::report::bounce::Claim;
use crate::report::destination::PlainAddress;
use crate::site_key::SiteKey;
use crate::store::{Failure, Noted, Reports, ReportsError};
use crate::time::Timestamp;

/// A message to our return path, as an entrance got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// Where it went, as far as anyone says: the first of these that is one of ours counts.
    pub recipients: Vec<String>,
    /// Header and body, the end cut off where it was long.
    pub message: Vec<u8>,
}

/// What a bounce came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Not to a return path that we gave out.
    NotOurs,
    /// Something else was sent to our return path.
    NotABounce,
    /// Late, or delivered: nothing follows.
    NoFailure,
    /// It bounced before.
    KnownAlready,
    /// A mail server on the way had only transient trouble with it, for too long. Nothing is held against the
    /// address, but the report did not arrive.
    GivenUp { domain: DomainName },
    /// A permanent failure of mail to this domain.
    Failed { domain: DomainName, noted: Noted },
}

/// Takes a bounce. Err: the store can't be written now; the same bounce can be taken again.
pub fn take_bounce(
    bounce: &Bounce,
    reports: &Reports,
    report_domain: &DomainName,
    key: &SiteKey,
    now: Timestamp,
) -> Result<Taken, ReportsError> {
    let mut found = None;
    for recipient in bounce.recipients.iter().take(MAX_RECIPIENTS) {
        let Some(claim) = Claim::read(recipient) else {
            continue;
        };
        if let Some(address) = known(&claim, reports, report_domain, key)? {
            found = Some((claim.entry, address));
            break;
        }
    }
    let Some((entry, address)) = found else {
        return Ok(Taken::NotOurs);
    };
    let domain = address.domain().clone();
    let said = match dsn::read(&Message::parse(&bounce.message)) {
        Notice::Permanent(said) => said,
        Notice::GivenUp(said) => {
            let answer = format!("given up by a mail server on the way: {said}");
            return Ok(match reports.note_given_up(entry, &answer)? {
                true => Taken::GivenUp { domain },
                false => Taken::KnownAlready,
            });
        }
        Notice::Temporary(_) | Notice::Delivered => return Ok(Taken::NoFailure),
        Notice::NotADsn => return Ok(Taken::NotABounce),
    };
    let failure = Failure {
        address: &address.to_string(),
        reason: &said,
        returned: Some(entry),
    };
    Ok(match note_failure(reports, failure, now)? {
        Noted::Known => Taken::KnownAlready,
        noted @ (Noted::Suppressed | Noted::Counted | Noted::Address(_) | Noted::Domain(_)) => {
            Taken::Failed { domain, noted }
        }
    })
}

fn known(
    claim: &Claim,
    reports: &Reports,
    report_domain: &DomainName,
    key: &SiteKey,
) -> Result<Option<PlainAddress>, ReportsError> {
    let Some(entry) = reports.outbox_entry(claim.entry)? else {
        return Ok(None);
    };
    let Some(report) = reports.find(entry.report)? else {
        return Ok(None);
    };
    let address = entry.address.as_deref().and_then(PlainAddress::parse);
    let unique = &report.head.id.unique;
    Ok(address.filter(|address| claim.is_ours(unique, address, report_domain, key)))
}

/// Octets of a bounce that are kept: all that it says stands before the mail that it returns.
pub const BOUNCE_OCTETS: usize = 64 * 1024;
/// Places where a recipient may be named.
const MAX_RECIPIENTS: usize = 20;
