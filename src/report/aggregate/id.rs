//! By what a report is known: its Report-ID, its period and its file name, all derived from what it is
//! about, so that building or sending it again gives the same ones. Pure.
//!
//! RFC 9990 §3.1.4, §3.5.1 and §3.5.2.

use super::{Head, NormalisedPolicy};
use crate::domain::DomainName;
use crate::report::ReportId;
use crate::time::UtcDay;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write;

impl ReportId {
    /// The id of the report that `report_domain` sends about `policy_domain`, `day` and `policy`, from the
    /// store with the id `source`: "to distinguish among multiple reports generated simultaneously by
    /// different sources" (RFC 9990 §3.5.2), hosts that report in one name have other ids.
    /// `supplement` is the sequence number after which the report's range of outcomes starts: 0 for
    /// the first report of a day, and another for every later one.
    pub fn derive(
        source: &[u8; 16],
        report_domain: &DomainName,
        policy_domain: &DomainName,
        day: UtcDay,
        policy: &NormalisedPolicy,
        supplement: i64,
    ) -> Self {
        let option = |policy: Option<_>| policy.map_or("", crate::auth::dmarc::Policy::as_str);
        let mut hash = Context::new(&SHA256);
        let texts = [
            report_domain.as_str(),
            policy_domain.as_str(),
            &day.number().to_string(),
            policy.p.as_str(),
            option(policy.sp),
            option(policy.np),
            policy.adkim.as_str(),
            policy.aspf.as_str(),
            &policy.fo,
            if policy.testing { "y" } else { "n" },
            policy.psd.as_str(),
            policy.method.as_str(),
            &supplement.to_string(),
        ];
        let first: [&[u8]; 2] = [b"alignd aggregate report 2", source];
        for part in first.into_iter().chain(texts.map(str::as_bytes)) {
            // The length before each part keeps two lists of parts from being one text.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut unique = String::with_capacity(NAME_OCTETS + 2 * UNIQUE_OCTETS);
        unique.extend(beginning(policy_domain));
        for octet in hash.finish().as_ref().iter().take(UNIQUE_OCTETS) {
            // Writing to a String cannot fail.
            _ = write!(unique, "{octet:02x}");
        }
        Self {
            unique,
            domain: report_domain.clone(),
        }
    }
}

/// The letters and digits that a domain begins with, filled up with `0`. Ids that begin with them are in the order of
/// the domains, as a day's reports are: in the store's index new ones come next to each other, and not each on a page
/// of its own.
fn beginning(domain: &DomainName) -> impl Iterator<Item = char> {
    let name = domain.as_str().chars();
    let begins = name.take_while(char::is_ascii_alphanumeric);
    begins.chain(std::iter::repeat('0')).take(NAME_OCTETS)
}

impl Head {
    /// `begin`, in seconds since 1970: 00:00:00 UTC of the day.
    pub fn begin(&self) -> i64 {
        self.day.begin().seconds()
    }

    /// `end`: the day's last second, as in RFC 9990's sample, so that periods don't overlap (§3.1.1.4).
    pub fn end(&self) -> i64 {
        self.begin().saturating_add(SECONDS_PER_DAY - 1)
    }

    /// RFC 9990 §3.5.2: `receiver "!" policy-domain "!" begin-timestamp "!" end-timestamp
    /// "!" unique-id ".xml.gz"`. At most 575 octets, ASCII, no quotes.
    pub fn file_name(&self) -> String {
        format!(
            "{}!{}!{}!{}!{}.xml.gz",
            self.reporter.domain,
            self.policy_domain,
            self.begin().max(0),
            self.end().max(0),
            self.id.unique
        )
    }
}

/// 128 bits: no two reports of the world share them by chance.
const UNIQUE_OCTETS: usize = 16;
/// Of the domain's name, before them.
const NAME_OCTETS: usize = 8;
const SECONDS_PER_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::dmarc::{DiscoveryMethod, record};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn id(domain: &str, day: i32, record: &str, supplement: i64) -> ReportId {
        id_of(&[7; 16], domain, day, record, supplement)
    }

    fn id_of(source: &[u8; 16], domain: &str, day: i32, record: &str, supplement: i64) -> ReportId {
        let record = record::parse(record.as_bytes()).expect("a DMARC record");
        let policy = NormalisedPolicy::of(&record, DiscoveryMethod::TreeWalk);
        let [reporter, domain] =
            ["mx.example.org", domain].map(|name| DomainName::parse(name).expect("a domain"));
        ReportId::derive(
            source,
            &reporter,
            &domain,
            UtcDay::from_number(day),
            &policy,
            supplement,
        )
    }

    /// Reports that were sent bear these ids for ever: a change here makes duplicates.
    #[test]
    fn ids_never_change() {
        for (id, expected) in [
            (
                id("example.com", 20_000, "v=DMARC1; p=none", 0),
                "example0236e2ad4fdd6082cd413f3dbed8780f9@mx.example.org",
            ),
            (
                id("example.com", 20_000, "v=DMARC1; p=none", 4711),
                "example0270dff0efc1a13df03b907409b4fe01b@mx.example.org",
            ),
        ] {
            assert_eq!(id.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_the_domains(
            mut names in vec("[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\\.[a-z]{2})?\\.example", 2..20),
        ) {
            names.sort_unstable();
            let ids = names.iter().map(|name| id(name, 20_000, "v=DMARC1; p=none", 0).unique);
            let beginnings: Vec<String> = ids.map(|id| id[..NAME_OCTETS].to_owned()).collect();
            prop_assert!(beginnings.is_sorted(), "{names:?} {beginnings:?}");
        }
    }

    #[test]
    fn everything_that_makes_another_report_makes_another_id() {
        let ids: HashSet<String> = [
            id("example.com", 20_000, "v=DMARC1; p=none", 0),
            id_of(&[8; 16], "example.com", 20_000, "v=DMARC1; p=none", 0),
            id("example.net", 20_000, "v=DMARC1; p=none", 0),
            id("example.com", 20_001, "v=DMARC1; p=none", 0),
            id("example.com", 20_000, "v=DMARC1; p=none", 1),
            id("example.com", 20_000, "v=DMARC1; p=reject", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; sp=none", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; np=none", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; adkim=s", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; aspf=s", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; fo=1", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; t=y", 0),
            id("example.com", 20_000, "v=DMARC1; p=none; psd=n", 0),
        ]
        .into_iter()
        .map(|id| id.unique)
        .collect();
        assert_eq!(ids.len(), 13);
        for unique in ids {
            assert!(unique.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
}
