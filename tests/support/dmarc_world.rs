//! Random worlds for DMARC: few domains that meet often, records at some of them, one message.

use crate::candidates::candidates;
use crate::evidence::{Results, results};
use alignd::auth::dmarc::{DiscoveryMethod, Evaluation, evaluate, gather};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, QueryName, Resolver, TxtRecord};
use alignd::domain::DomainName;
use proptest::prelude::*;
use std::future::Future;
use std::task::{Context, Poll, Waker};

/// One random world: records by domain, names that fail, and a message.
#[derive(Debug, Clone)]
pub struct World {
    pub records: Vec<(String, &'static str)>,
    pub hosts: Vec<String>,
    pub failures: Vec<String>,
    pub author: String,
    pub results: String,
}

/// Few domains, so that they meet often: short ones, and two on either side of eight labels.
fn domains() -> impl Strategy<Value = String> {
    let short = vec!["com", "x.com", "a.x.com", "b.x.com", "a.b.x.com", "y.com"];
    let long = vec![
        "8.7.6.5.4.3.x.com",
        "9.8.7.6.5.4.3.x.com",
        "7.6.5.4.3.x.com",
        "a.8.7.6.5.4.3.x.com",
    ];
    prop_oneof![
        4 => proptest::sample::select(short),
        1 => proptest::sample::select(long),
    ]
    .prop_map(str::to_owned)
}

pub fn worlds(records: Vec<&'static str>) -> impl Strategy<Value = World> {
    let records = proptest::sample::select(records);
    let verdicts = vec!["pass", "pass", "pass", "fail", "temperror"];
    let identifier = (proptest::sample::select(verdicts), domains());
    (
        proptest::collection::vec((domains(), records), 0..7),
        proptest::collection::vec(domains(), 0..4),
        proptest::collection::vec((domains(), any::<bool>()), 0..4),
        domains(),
        proptest::collection::vec(identifier, 0..4),
    )
        .prop_map(|(records, hosts, failures, author, identifiers)| World {
            records,
            hosts,
            failures: failures
                .into_iter()
                .map(|(domain, policy)| {
                    if policy {
                        format!("_dmarc.{domain}")
                    } else {
                        domain
                    }
                })
                .collect(),
            author,
            results: identifiers
                .iter()
                .enumerate()
                .map(|(at, (result, domain))| {
                    let mechanism = if at == 0 { "spf" } else { "dkim" };
                    format!("{mechanism}={result}:{domain} ")
                })
                .collect(),
        })
}

impl World {
    pub fn zone(&self) -> Zone {
        let mut zone = Zone::new();
        for (domain, text) in &self.records {
            let text = TxtRecord::from_text(text);
            zone.add(&ask(&format!("_dmarc.{domain}")), ZoneRecord::Txt(text));
        }
        // A name that fails exists, as do those above it: in both zones, for they are compared.
        for host in self.hosts.iter().chain(&self.failures) {
            zone.add(&ask(host), ZoneRecord::Empty);
        }
        zone
    }

    pub fn failing_zone(&self) -> Zone {
        let mut zone = self.zone();
        for name in &self.failures {
            zone.fail(&ask(name), LookupError::Timeout);
        }
        zone
    }

    pub fn results(&self) -> Results {
        results(&self.results)
    }

    pub fn evaluate(&self, resolver: &impl Resolver) -> Evaluation {
        let results = self.results();
        let author = domain(&self.author);
        let method = DiscoveryMethod::TreeWalk;
        let facts = now(gather(&author, &candidates(&results), method, resolver));
        evaluate(&facts, results.spf.as_ref(), &results.dkim)
    }
}

/// A zone answers at once.
pub fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a zone never waits"),
    }
}

pub fn ask(name: &str) -> QueryName {
    QueryName::parse(name).unwrap()
}

pub fn domain(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}
