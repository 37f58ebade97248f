//! Where the reports of a day go, asked of live DNS while they are built.
//!
//! Owns the moment at which each mail goes out. The record and the check are `send_report`'s, RFC 9990 §4.

use crate::build_report::{Asked, Destinations};
use crate::dns::Resolver;
use crate::report::destination::{Refusal, named_address};
use crate::report::period::moment_within;
use crate::resolver::Deadline;
use crate::send_report::{Asker, destinations};
use crate::store::{Checked, Destination, Reports, Standing};
use crate::time::{Period, Timestamp, UtcDay};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// Destinations of one day's reports, from live DNS.
pub struct LiveDestinations<'r, R> {
    pub resolver: &'r Arc<R>,
    pub reports: &'r Reports,
    pub asker: Asker<'r>,
    /// What the reports are about.
    pub day: UtcDay,
    /// Over what their mails are spread.
    pub window: Period,
    pub notes: Notes,
}

/// What the checks of many domains came to, to be written in few transactions. What a crash takes is
/// asked about again.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<Checked>>);

impl<R: Resolver> Destinations for LiveDestinations<'_, R> {
    async fn of(&self, asked: &Asked) -> Vec<Destination> {
        let domain = &asked.policy_domain;
        let sender = format!("{} {}", self.asker.report_domain, self.day);
        let keys = (sender.as_str(), domain.as_str());
        let send_at = moment_within(self.window, self.asker.now, asked.place, keys);
        let last = (&asked.record.record, asked.method);
        let resolver = Deadline::new(self.resolver.clone(), Instant::now() + LIMIT);
        let found = destinations(domain, last, send_at, self.asker, self.reports, &resolver).await;
        let found = found.map(|found| {
            self.note(found.checked);
            found.to
        });
        found.unwrap_or_else(|error| {
            warn!(%domain, %error, "what is known of its destinations cannot be read; asked again later");
            unverified(asked, self.asker.max_destinations, send_at)
        })
    }
}

impl<R> LiveDestinations<'_, R> {
    fn note(&self, checked: Vec<Checked>) {
        let mut notes = self.notes.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(checked);
        if notes.len() >= BATCH {
            let batch = std::mem::take(&mut *notes);
            drop(notes);
            self.write(&batch);
        }
    }

    fn write(&self, batch: &[Checked]) {
        if let Err(error) = self.reports.note_checks(batch, self.asker.now) {
            warn!(%error, "who doesn't agree to get reports cannot be noted; asked again");
        }
    }
}

impl<R> Drop for LiveDestinations<'_, R> {
    fn drop(&mut self) {
        let rest = self
            .notes
            .0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(rest);
        self.write(&rest);
    }
}

/// What the last record seen names: addresses, to be verified before they are used, and what mail can't go to.
fn unverified(asked: &Asked, most: usize, at: Timestamp) -> Vec<Destination> {
    let mut named = 0;
    let rua = asked.record.record.rua.iter();
    let standing = rua.map(|uri| {
        let address = named_address(uri).map(|address| address.to_string());
        named += usize::from(address.is_some());
        let standing = match &address {
            Some(_) if named <= most => Standing::ToVerify(at),
            Some(_) => Standing::Refused(Refusal::OverLimit.to_string()),
            None => Standing::Refused("not an address that mail is sent to".to_owned()),
        };
        Destination {
            uri: uri.clone(),
            address,
            standing,
        }
    });
    standing.collect()
}

/// How long the look-ups of one domain may take. After that its record as last seen holds, and what is
/// not verified by then is before it is sent, with more patience.
const LIMIT: Duration = Duration::from_secs(1);
/// Notes of one transaction.
const BATCH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::dmarc::{DiscoveryMethod, record};
    use crate::domain::DomainName;
    use crate::report::period::Place;
    use crate::store::LastRecord;

    #[test]
    fn what_cannot_be_checked_now_waits_only_where_it_has_an_address() {
        let rua = "mailto:a@x.example,https://x.example/,mailto:b@x.example,mailto:c@x.example";
        let text = format!("v=DMARC1; p=none; rua={rua}");
        let method = DiscoveryMethod::TreeWalk;
        let asked = Asked {
            policy_domain: DomainName::parse("x.example").unwrap(),
            record: LastRecord {
                record: record::parse(text.as_bytes()).unwrap(),
                method,
            },
            method,
            place: Place { nth: 0, of: 1 },
        };
        let found = unverified(&asked, 2, Timestamp::from_seconds(7));
        let found: Vec<String> = found
            .into_iter()
            .map(|to| match to.standing {
                Standing::ToVerify(_) => to.address.unwrap_or_default(),
                Standing::Verified(_) => "verified".to_owned(),
                Standing::Refused(reason) => reason,
            })
            .collect();
        let expected = [
            "a@x.example",
            "not an address that mail is sent to",
            "b@x.example",
            "more destinations than are tried",
        ];
        assert_eq!(found, expected);
    }
}
