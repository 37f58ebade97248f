//! The destinations of a policy domain's reports, in the store's words: looked up again when a report is
//! built, verified, and what did not agree noted.
//!
//! DESIGN: the record as it is now decides; gone means not sent. A failure of DNS leaves the last record
//! seen, and what cannot be verified yet waits.

use super::delay::{CONSENT, RETRY};
use crate::auth::dmarc::discover::discover;
use crate::auth::dmarc::{DiscoveryMethod, Record};
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::report::destination::{self, List, Request};
use crate::store::{Checked, Consent, Destination, Reports, ReportsError, Standing, Unconfirmed};
use crate::time::Timestamp;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// `identity.report_domain`
    pub report_domain: &'a DomainName,
    /// `report.max_destinations`
    pub max_destinations: usize,
    pub now: Timestamp,
}

/// Where a domain's reports go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    pub to: Vec<Destination>,
    /// To be noted in the store.
    pub checked: Vec<Checked>,
}

/// Where reports about `policy_domain` go, from the time `send_at` on. Empty: its record is gone, or asks
/// for no reports any more. `last` is its record as last seen. What did not agree lately is not asked
/// again so soon. Blocks for the store, for moments.
pub async fn destinations(
    policy_domain: &DomainName,
    (last, method): (&Record, DiscoveryMethod),
    send_at: Timestamp,
    asker: Asker<'_>,
    reports: &Reports,
    resolver: &impl Resolver,
) -> Result<Destinations, ReportsError> {
    let found = discover(policy_domain, method, resolver).await;
    let rua = match found.policy {
        // A record above it is another policy domain's, which has its own reports.
        Ok(Some(policy)) if policy.domain == *policy_domain => policy.record.rua,
        Ok(_) => return Ok(Destinations::default()),
        Err(_) => last.rua.clone(),
    };
    let noted = reports.unconfirmed_of(policy_domain)?;
    let lately = |uri: &String| {
        noted
            .iter()
            .find(|n| n.uri == *uri && n.next_check > asker.now)
    };
    let asked: Vec<String> = rua
        .iter()
        .filter(|u| lately(u).is_none())
        .cloned()
        .collect();
    let request = request(policy_domain, method, asker);
    let mut all = Destinations::default();
    for found in destination::verify(&asked, &request, resolver).await {
        let checked = checked(&found, policy_domain, &noted, asker.now);
        all.checked.extend(checked);
        all.to.extend(in_store(found, send_at, asker.now));
    }
    all.to
        .extend(rua.iter().filter_map(lately).map(|noted| Destination {
            uri: noted.uri.clone(),
            address: None,
            standing: Standing::Refused(noted.reason.clone()),
        }));
    Ok(all)
}

/// What is to be noted: a receiver that does not agree, or that it does now.
fn checked(
    found: &destination::Destination,
    policy_domain: &DomainName,
    noted: &[Unconfirmed],
    now: Timestamp,
) -> Option<Checked> {
    let known = noted.iter().find(|noted| noted.uri == found.uri);
    let consent = match &found.standing {
        destination::Standing::Refused(refusal) if refusal.may_change() => Consent::Unconfirmed {
            reason: refusal.to_string(),
            next_check: CONSENT.after(known.map_or(0, |k| k.checks).saturating_add(1), now),
        },
        destination::Standing::Verified(_) if known.is_some() => Consent::Confirmed,
        destination::Standing::Verified(_)
        | destination::Standing::Refused(_)
        | destination::Standing::Later(_) => return None,
    };
    Some(Checked {
        policy_domain: policy_domain.clone(),
        uri: found.uri.clone(),
        consent,
    })
}

fn request<'a>(
    policy_domain: &'a DomainName,
    method: DiscoveryMethod,
    asker: Asker<'a>,
) -> Request<'a> {
    Request {
        policy_domain,
        method,
        list: List::Rua,
        max_destinations: asker.max_destinations,
        report_domain: Some(asker.report_domain),
    }
}

fn in_store(
    found: destination::Destination,
    send_at: Timestamp,
    now: Timestamp,
) -> Vec<Destination> {
    let uri = found.uri;
    let entry = |address: Option<String>, standing| Destination {
        uri: uri.clone(),
        address,
        standing,
    };
    match found.standing {
        destination::Standing::Verified(verified) => verified
            .iter()
            .map(|v| entry(Some(v.address().to_string()), Standing::Verified(send_at)))
            .collect(),
        destination::Standing::Refused(refusal) => {
            vec![entry(None, Standing::Refused(refusal.to_string()))]
        }
        destination::Standing::Later(_) => {
            let named = destination::named_address(&uri).map(|address| address.to_string());
            vec![entry(named, Standing::ToVerify(RETRY.after(1, now)))]
        }
    }
}

/// What one destination came to that could not be verified before.
pub(super) enum Verified {
    /// To these addresses.
    Yes(Vec<String>),
    No(String),
    Later(String),
}

/// Asks DNS about one URI of an outbox entry.
pub(super) async fn ask(
    uri: &str,
    policy_domain: &DomainName,
    method: DiscoveryMethod,
    asker: Asker<'_>,
    resolver: &impl Resolver,
) -> Option<destination::Destination> {
    let request = request(policy_domain, method, asker);
    let found = destination::verify(&[uri.to_owned()], &request, resolver).await;
    found.into_iter().next()
}

/// What the answer comes to, and what is to be noted of it. Reads the store.
pub(super) fn conclude(
    found: destination::Destination,
    policy_domain: &DomainName,
    reports: &Reports,
    now: Timestamp,
) -> Result<(Verified, Option<Checked>), ReportsError> {
    let noted = reports.unconfirmed_of(policy_domain)?;
    let checked = checked(&found, policy_domain, &noted, now);
    let verified = match found.standing {
        destination::Standing::Verified(verified) => {
            let addresses = verified.iter().map(|v| v.address().to_string());
            Verified::Yes(addresses.collect())
        }
        destination::Standing::Refused(refusal) => Verified::No(refusal.to_string()),
        destination::Standing::Later(error) => Verified::Later(error.to_string()),
    };
    Ok((verified, checked))
}
