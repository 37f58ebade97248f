//! Where reports may go, RFC 9990 §4: the vectors of the suite, and what attackers and mistakes write.

#[path = "support/recording.rs"]
mod recording;

use alignd::auth::dmarc::{DiscoveryMethod, record};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, QueryName, TxtRecord};
use alignd::domain::DomainName;
use alignd::report::destination::{Destination, List, PlainAddress, Request, Standing, verify};
use proptest::prelude::*;
use recording::Recording;
use serde::Deserialize;

const SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../shared/spec/suites/dmarc/rfc9989-examples.yml"
);

#[derive(Deserialize)]
struct Suite {
    external_reports: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    policy_domain: String,
    rua: String,
    query: String,
    txt: Vec<String>,
    expect_destinations: Vec<String>,
}

#[tokio::test]
async fn the_vectors_of_the_suite() {
    let text = std::fs::read_to_string(SUITE).unwrap();
    let cases = serde_yaml_ng::from_str::<Suite>(&text)
        .unwrap()
        .external_reports;
    let mut agree = 0;
    for case in &cases {
        let mut zone = Zone::new();
        for text in &case.txt {
            add(&mut zone, &case.query, text);
        }
        let resolver = Recording::new(zone);
        let found = judge(&case.rua, &case.policy_domain, &resolver).await;
        let addresses: Vec<String> = found.iter().flat_map(addresses).collect();
        let asked = resolver.asked().contains(&case.query);
        let expected = case.expect_destinations.iter();
        let expected: Vec<String> = expected.map(|uri| uri.replace("mailto:", "")).collect();
        if (addresses, asked) == (expected, true) {
            agree += 1;
        } else {
            println!("{}: {found:?}", case.id);
        }
    }
    println!(
        "rfc9990 external destinations: {agree} of {} agree",
        cases.len()
    );
    assert_eq!((agree, cases.len()), (5, 5));
}

/// What DNS holds for the table: two organizations with subdomains, receivers of several minds.
const WORLD: &[(&str, &str)] = &[
    ("_dmarc.org.example", "v=DMARC1; p=none"),
    ("_dmarc.sub.org.example", "v=DMARC1; p=none"),
    ("_dmarc.split.org.example", "v=DMARC1; p=none; psd=n"),
    ("_dmarc.suffix.example", "v=DMARC1; p=none; psd=y"),
    ("*._report._dmarc.any.example", "v=DMARC1"),
    ("org.example._report._dmarc.one.example", "v=DMARC1;"),
    (
        "org.example._report._dmarc.same.example",
        "v=DMARC1; rua=mailto:new@same.example!1k",
    ),
    (
        "org.example._report._dmarc.other.example",
        "v=DMARC1; rua=mailto:new@x.other.example",
    ),
    (
        "org.example._report._dmarc.mixed.example",
        "v=DMARC1; rua=mailto:a@mixed.example,mailto:b@one.example",
    ),
    (
        "org.example._report._dmarc.web.example",
        "v=DMARC1; rua=https://web.example/x",
    ),
    (
        "org.example._report._dmarc.away.example",
        "v=DMARC1; rua=mailto:a@away.example,https://one.example/",
    ),
    (
        "org.example._report._dmarc.empty.example",
        "v=DMARC1; rua=;",
    ),
    (
        "org.example._report._dmarc.ruf.example",
        "v=DMARC1; ruf=mailto:f@ruf.example",
    ),
    (
        "org.example._report._dmarc.two.example",
        "v=DMARC1; rua=mailto:a@two.example",
    ),
    (
        "org.example._report._dmarc.two.example",
        "v=DMARC1; rua=mailto:b@two.example",
    ),
    ("org.example._report._dmarc.two.example", "v=spf1 -all"),
    (
        "org.example._report._dmarc.many.example",
        "v=DMARC1; rua=mailto:a@many.example,mailto:b@many.example,mailto:c@many.example",
    ),
    ("org.example._report._dmarc.case.example", "v=dmarc1"),
    ("org.example._report._dmarc.late.example", "x; v=DMARC1"),
    ("org.example._report._dmarc.ours.example", "v=DMARC1"),
    ("other.example._report._dmarc.org.example", "v=DMARC1"),
];

fn world() -> Zone {
    let mut zone = Zone::new();
    for (name, text) in WORLD {
        add(&mut zone, name, text);
    }
    for (name, error) in [
        (
            "org.example._report._dmarc.dead.example",
            LookupError::ServerFailure,
        ),
        ("_dmarc.lost.example", LookupError::Timeout),
    ] {
        zone.fail(&QueryName::parse(name).unwrap(), error);
    }
    zone
}

/// `address`, `later` or `no: part of the reason`, for each URI, with slashes between.
fn summary(destinations: &[Destination]) -> String {
    let words = destinations.iter().map(|d| match &d.standing {
        Standing::Verified(_) => addresses(d).join("+"),
        Standing::Refused(refusal) => format!("no: {refusal}"),
        Standing::Later(_) => "later".to_owned(),
    });
    words.collect::<Vec<_>>().join(" / ")
}

#[tokio::test]
async fn who_gets_reports() {
    let resolver = Recording::new(world());
    let long = format!("{0}.{0}.{0}.example", "a".repeat(60));
    for (policy_domain, rua, expected) in [
        ("org.example", "mailto:d@org.example", "d@org.example"),
        (
            "org.example",
            "mailto:D%2Bx@ORG.example?subject=x!10m",
            "D+x@org.example",
        ),
        // One organization by the tree walk, whichever is above the other.
        (
            "org.example",
            "mailto:d@mail.sub.org.example",
            "d@mail.sub.org.example",
        ),
        ("sub.org.example", "mailto:d@org.example", "d@org.example"),
        (
            "sub.org.example",
            "mailto:d@b.org.example",
            "d@b.org.example",
        ),
        // psd=n makes an organization of its own, psd=y many.
        (
            "org.example",
            "mailto:d@split.org.example",
            "no: another organization, which doesn't",
        ),
        (
            "a.suffix.example",
            "mailto:d@b.suffix.example",
            "no: another organization, which doesn't",
        ),
        // Below the policy domain is not within its organization, where nothing says so.
        (
            "bare.example",
            "mailto:d@mail.bare.example",
            "no: another organization, which doesn't",
        ),
        // Others are asked.
        ("org.example", "mailto:d@one.example", "d@one.example"),
        ("org.example", "mailto:d@any.example", "d@any.example"),
        ("sub.org.example", "mailto:d@any.example", "d@any.example"),
        (
            "sub.org.example",
            "mailto:d@one.example",
            "no: another organization, which doesn't",
        ),
        (
            "org.example",
            "mailto:d@nobody.example",
            "no: another organization, which doesn't",
        ),
        (
            "org.example",
            "mailto:d@case.example",
            "no: another organization, which doesn't",
        ),
        (
            "org.example",
            "mailto:d@late.example",
            "no: another organization, which doesn't",
        ),
        ("other.example", "mailto:d@org.example", "d@org.example"),
        // They may choose another address of their own, and nobody else's.
        ("org.example", "mailto:d@same.example", "new@same.example"),
        (
            "org.example",
            "mailto:d@two.example",
            "a@two.example+b@two.example",
        ),
        ("org.example", "mailto:d@ruf.example", "d@ruf.example"),
        (
            "org.example",
            "mailto:d@other.example",
            "no: the record at org.example._report._dmarc.other.example names an address at another host, x.other.example",
        ),
        (
            "org.example",
            "mailto:d@mixed.example",
            "no: the record at org.example._report._dmarc.mixed.example names an address at another host, one.example",
        ),
        (
            "org.example",
            "mailto:d@away.example",
            "no: the record at org.example._report._dmarc.away.example names an address at another host, one.example",
        ),
        (
            "org.example",
            "mailto:d@web.example",
            "no: the record at org.example._report._dmarc.web.example replaces",
        ),
        (
            "org.example",
            "mailto:d@empty.example",
            "no: the record at org.example._report._dmarc.empty.example replaces",
        ),
        // DNS that doesn't answer says neither yes nor no.
        ("org.example", "mailto:d@dead.example", "later"),
        ("org.example", "mailto:d@lost.example", "later"),
        ("lost.example", "mailto:d@any.example", "later"),
        ("lost.example", "mailto:d@lost.example", "d@lost.example"),
        (
            &long,
            &format!("mailto:d@{long}.x"),
            "no: the name to be asked",
        ),
        // Addresses that must not get into a command or a header.
        (
            "org.example",
            "mailto:%22d%22@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:d%0d%0aRCPT%20TO:x@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:d%0aBcc:%20x%40y.example@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:%3Cd@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:a%2Cb@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:a..b@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:j%C3%BCrgen@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "mailto:%00@org.example",
            "no: an address that would need quotes",
        ),
        (
            "org.example",
            "https://org.example/x",
            "no: not a mailto: URI",
        ),
        (
            "org.example",
            "mailto:d@org.example,mailto:d@ORG.example",
            "d@org.example / no: the address is named more than once",
        ),
        // Three at most, however many are put in the place of them.
        (
            "org.example",
            "mailto:d@two.example,mailto:d@many.example,mailto:d@org.example",
            "a@two.example+b@two.example / a@many.example / no: more destinations than are tried",
        ),
        (
            "org.example",
            "mailto:x@many.example,mailto:y@many.example",
            "a@many.example+b@many.example+c@many.example / no: the address is named more than once",
        ),
        // We don't write to ourselves.
        (
            "org.example",
            "mailto:bounce@ours.example",
            "no: an address that we send reports from",
        ),
        (
            "ours.example",
            "mailto:BOUNCE+x%3Dy@ours.example",
            "no: an address that we send reports from",
        ),
        (
            "ours.example",
            "mailto:dmarc@ours.example",
            "dmarc@ours.example",
        ),
        (
            "org.example",
            "mailto:a@org.example,mailto:x@nobody.example,https://org.example/,mailto:b@org.example,mailto:c@org.example",
            "a@org.example / no: another organization, which doesn't agree: no TXT record \"v=DMARC1\" at org.example._report._dmarc.nobody.example (RFC 9990 §4) / no: not a mailto: URI, and reports go by mail only / b@org.example / no: more destinations than are tried",
        ),
    ] {
        let found = summary(&judge(rua, policy_domain, &resolver).await);
        let agrees = match expected.starts_with("no: ") {
            true => found.starts_with(expected),
            false => found == expected,
        };
        assert!(agrees, "{policy_domain} {rua}: {found}");
    }
}

#[tokio::test]
async fn a_size_limit_is_kept_and_an_override_has_its_own() {
    let resolver = Recording::new(world());
    for (rua, expected) in [
        ("mailto:d@org.example!10m", Some(10 << 20)),
        ("mailto:d@one.example!10k", Some(10 << 10)),
        ("mailto:d@org.example", None),
        ("mailto:d@same.example!10m", Some(1 << 10)),
    ] {
        let found = judge(rua, "org.example", &resolver).await;
        let Some(Standing::Verified(verified)) = found.first().map(|d| &d.standing) else {
            panic!("{rua}: {found:?}");
        };
        assert_eq!(verified[0].max_octets(), expected, "{rua}");
    }
}

#[tokio::test]
async fn a_thousand_addresses_cost_no_more_than_the_limit() {
    let resolver = Recording::new(world());
    let rua: Vec<String> = (0..1_000)
        .map(|n| format!("mailto:d@h{n}.any.example"))
        .collect();
    let found = verify(&rua, &request(&domain("org.example")), &resolver).await;
    assert_eq!(found.len(), 1_000);
    let refused = found
        .iter()
        .filter(|d| matches!(d.standing, Standing::Refused(_)));
    assert!(refused.count() >= 997);
    let asked = resolver.asked().len();
    assert!(asked <= 2 + 3 * (3 + 1), "{asked} questions");
}

proptest! {
    /// Whatever a record and its receivers say, an address is one plain word in a command and a field.
    #[test]
    fn no_address_breaks_out(
        local in "\\PC{0,12}|[%0-9a-f\"<>@:;,\\\\ ]{0,12}|[a-z.%+-]{0,70}",
        host in "[a-z.%-]{0,12}|org\\.example",
        text in "(v=DMARC1; rua=mailto:)?\\PC{0,30}",
    ) {
        let mut zone = world();
        let name = QueryName::parse("*._report._dmarc.example").unwrap();
        zone.add(&name, ZoneRecord::Txt(TxtRecord::from_text(&text)));
        let resolver = Recording::new(zone);
        let written = format!("v=DMARC1; p=none; rua=mailto:{local}@{host}");
        let rua = record::parse(written.as_bytes()).map_or_else(Vec::new, |record| record.rua);
        let policy_domain = domain("org.example");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(verify(&rua, &request(&policy_domain), &resolver));
        for address in found.iter().flat_map(addresses) {
            prop_assert!(address.is_ascii() && address.len() <= 254, "{}", address);
            prop_assert!(!address.contains(|c: char| c.is_control() || " \"<>()[],;:\\".contains(c)), "{}", address);
            prop_assert_eq!(address.matches('@').count(), 1);
            prop_assert_eq!(PlainAddress::parse(&address).unwrap().to_string(), address);
        }
    }
}

async fn judge(rua: &str, policy_domain: &str, resolver: &Recording) -> Vec<Destination> {
    let record = record::parse(format!("v=DMARC1; p=none; rua={rua}").as_bytes()).unwrap();
    let policy_domain = domain(policy_domain);
    verify(&record.rua, &request(&policy_domain), resolver).await
}

fn request(policy_domain: &DomainName) -> Request<'_> {
    Request {
        policy_domain,
        method: DiscoveryMethod::TreeWalk,
        list: List::Rua,
        max_destinations: 3,
        report_domain: Some(OURS.get_or_init(|| domain("ours.example"))),
    }
}

static OURS: std::sync::OnceLock<DomainName> = std::sync::OnceLock::new();

fn addresses(destination: &Destination) -> Vec<String> {
    match &destination.standing {
        Standing::Verified(verified) => verified.iter().map(|v| v.address().to_string()).collect(),
        Standing::Refused(_) | Standing::Later(_) => Vec::new(),
    }
}

fn add(zone: &mut Zone, name: &str, text: &str) {
    let name = QueryName::parse(name).unwrap();
    zone.add(&name, ZoneRecord::Txt(TxtRecord::from_text(text)));
}

fn domain(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}
