//! Where the reports of a day go, asked of live DNS while they are built.
//!
//! Owns the moment at which each mail goes out. The record and the check are `send_report`'s, RFC 9990 §4.

use crate::build_report::{Asked, Destinations};
use crate::dns::Resolver;
use crate::report::destination::named_address;
use crate::report::period::moment_within;
use crate::send_report::{Asker, destinations};
use crate::store::{Destination, Reports, Standing};
use crate::time::{Period, UtcDay};
use futures_util::stream::{self, StreamExt};
use tracing::warn;

/// Destinations of one day's reports, from live DNS.
pub struct LiveDestinations<'r, R> {
    pub resolver: &'r R,
    pub reports: &'r Reports,
    pub asker: Asker<'r>,
    /// What the reports are about.
    pub day: UtcDay,
    /// Over what their mails are spread.
    pub window: Period,
}

impl<R: Resolver> Destinations for LiveDestinations<'_, R> {
    async fn of(&self, asked: &[Asked]) -> Vec<Vec<Destination>> {
        // A list, not an iterator: rustc cannot tell that the latter's closure may cross threads.
        let each: Vec<_> = asked.iter().map(|asked| self.of_one(asked)).collect();
        stream::iter(each).buffered(AT_ONCE).collect().await
    }
}

impl<R: Resolver> LiveDestinations<'_, R> {
    async fn of_one(&self, asked: &Asked) -> Vec<Destination> {
        let domain = &asked.policy_domain;
        // The same place in the window for the same report, whoever builds it.
        let key = format!("{domain} {}", self.day);
        let send_at = moment_within(self.window, self.asker.now, &key);
        let last = (&asked.record.record, asked.method);
        let sources = (self.reports, self.resolver);
        let found = destinations(domain, last, send_at, self.asker, sources.0, sources.1).await;
        found.unwrap_or_else(|error| {
            warn!(%domain, %error, "what is known of its destinations cannot be read; asked again later");
            let uris = asked.record.record.rua.iter().take(self.asker.max_destinations);
            let later = uris.map(|uri| Destination {
                uri: uri.clone(),
                address: named_address(uri).map(|address| address.to_string()),
                standing: Standing::ToVerify(send_at),
            });
            later.collect()
        })
    }
}

/// Domains that are looked up side by side.
const AT_ONCE: usize = 32;
