//! alignd beside mail-auth's DMARC: the same records, the same message. Where they differ, the table
//! names the sentence of RFC 9989 that decides.
//!
//! mail-auth has no resolver to put in, but caches; one that knows every name answers all. It cannot
//! say NXDOMAIN for an address, so `np` is not compared.

#[path = "support/candidates.rs"]
mod candidates;
#[path = "support/evidence.rs"]
mod evidence;
#[path = "support/dmarc_world.rs"]
mod world;

use alignd::auth::{DkimResult, SpfResult};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::dkim::Signature;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::dmarc::{Dmarc, Policy};
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcResult, DnsError, DnssecStatus, Error,
    MessageAuthenticator, Parameters, RecordSet, ResolverCache, SpfOutput, Txt,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::time::Instant;
use world::{World, worlds};

/// A cache that has an answer for every name.
struct Answers<V> {
    known: HashMap<Box<str>, V>,
    otherwise: V,
}

impl<V: Clone> ResolverCache<Box<str>, V> for Answers<V> {
    fn get<Q>(&self, name: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.known.get(name).unwrap_or(&self.otherwise).clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: V, _: Instant) {}
}

/// mail-auth's own reading of a name's TXT records: the first that parses.
fn texts(world: &World) -> Answers<Txt> {
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (domain, text) in &world.records {
        by_name
            .entry(format!("_dmarc.{domain}."))
            .or_default()
            .push(text);
    }
    let mut known: HashMap<Box<str>, Txt> = HashMap::new();
    for (name, texts) in by_name {
        let mut result = Err(Error::Dns(DnsError::InvalidRecordType));
        for text in texts {
            result = Dmarc::parse(text.as_bytes());
            if result.is_ok() {
                break;
            }
        }
        known.insert(name.into(), result.into());
    }
    for name in &world.failures {
        let failure = Error::Dns(DnsError::Resolver("failed".to_owned()));
        known.insert(format!("{name}.").into(), Txt::Error(failure));
    }
    Answers {
        known,
        otherwise: Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain))),
    }
}

/// mail-auth's result, with the policy it would apply when a record applies.
async fn theirs(world: &World, resolver: &MessageAuthenticator) -> String {
    let message = format!("From: a@{}\r\n\r\n", world.author);
    let message = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let results = world.results();
    let failed = || Error::Dns(DnsError::Resolver("failed".to_owned()));
    let signatures: Vec<Signature> = results
        .dkim
        .signatures
        .iter()
        .map(|signature| Signature {
            d: signature.domain.clone(),
            ..Signature::default()
        })
        .collect();
    let verdicts = results
        .dkim
        .signatures
        .iter()
        .map(|signature| signature.result);
    let dkim: Vec<DkimOutput> = verdicts
        .zip(&signatures)
        .map(|(verdict, signature)| {
            let output = match verdict {
                DkimResult::Pass => DkimOutput::pass(),
                DkimResult::Temperror => DkimOutput::temp_err(failed()),
                _ => DkimOutput::fail(Error::NotAligned),
            };
            output.with_signature(signature)
        })
        .collect();
    let mail_from = results.spf.as_ref().map_or("", |spf| &spf.domain);
    let spf = SpfOutput::new(mail_from.to_owned());
    let spf = spf.with_result(match results.spf.as_ref().map(|spf| spf.result) {
        Some(SpfResult::Pass) => mail_auth::SpfResult::Pass,
        Some(SpfResult::Temperror) => mail_auth::SpfResult::TempError,
        Some(_) => mail_auth::SpfResult::Fail,
        None => mail_auth::SpfResult::None,
    });
    let (texts, exists) = (texts(world), all_exist());
    let parameters = DmarcParameters::new(&message, &dkim, mail_from, &spf);
    let parameters = Parameters::new(parameters)
        .with_txt_cache(&texts)
        .with_ipv4_cache(&exists);
    let output = resolver.verify_dmarc(parameters).await;
    let policy = match output.policy() {
        Policy::Reject => " reject",
        Policy::Quarantine => " quarantine",
        Policy::None => " none",
        Policy::Unspecified => "",
    };
    match output.result() {
        DmarcResult::Pass => format!("pass{policy}"),
        DmarcResult::Fail(_) => format!("fail{policy}"),
        DmarcResult::TempError(_) => "temperror".to_owned(),
        DmarcResult::PermError(_) => "permerror".to_owned(),
        DmarcResult::None => "none".to_owned(),
    }
}

fn all_exist() -> Answers<RecordSet<Ipv4Addr>> {
    Answers {
        known: HashMap::new(),
        otherwise: RecordSet {
            rrset: [].into(),
            dnssec_status: DnssecStatus::Indeterminate,
        },
    }
}

/// Never asked: the caches know every name.
fn unused_resolver() -> MessageAuthenticator {
    MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap()
}

/// The same words for ours.
fn ours(world: &World) -> String {
    let evaluation = world.evaluate(&world.failing_zone());
    match (evaluation.result, evaluation.policy) {
        (alignd::auth::DmarcResult::Temperror, _) | (_, None) => evaluation.result.to_string(),
        (result, Some(policy)) => format!("{result} {}", policy.applied),
    }
}

/// Records, author domain, results, failing names; ours, theirs; why ours.
type Difference = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const DIFFERENCES: &[Difference] = &[
    // mail-auth takes the first record that parses.
    (
        &[
            ("x.com", "v=DMARC1; p=reject"),
            ("x.com", "v=DMARC1; p=none"),
        ],
        "x.com",
        "",
        &[],
        "none",
        "fail reject",
        "§4.10: \"If multiple DMARC Policy Records are returned for a single target, they are all discarded.\"",
    ),
    // It asks nothing for a name of one label.
    (
        &[("com", "v=DMARC1; p=reject")],
        "com",
        "",
        &[],
        "fail reject",
        "none",
        "§4.10.1: \"Policy discovery first starts with a query for a valid DMARC Policy Record at the name created by \
      prepending the label \"_dmarc\" to the Author Domain\"",
    ),
    // Any value it can't read voids the record.
    (
        &[("x.com", "v=DMARC1; p=reject; adkim=strict")],
        "x.com",
        "spf=pass:x.com",
        &[],
        "pass reject",
        "permerror",
        "§4.8: \"Syntax errors in the remainder of the record MUST be discarded in favor of default values (if any)\"",
    ),
    (
        &[("x.com", "v=DMARC1; p=reject; fo=0:1:x")],
        "x.com",
        "",
        &[],
        "fail reject",
        "permerror",
        "§4.8, the same",
    ),
    (
        &[("x.com", "v=DMARC1; p=reject; rua=mailto:a!b@x.com")],
        "x.com",
        "",
        &[],
        "fail reject",
        "permerror",
        "§4.8, the same",
    ),
    (
        &[("x.com", "v=DMARC1; p=reject; sp=bogus; rua=mailto:d@x.com")],
        "x.com",
        "",
        &[],
        "fail none",
        "permerror",
        "§4.10.1: \"MUST act as if a record containing \"p=none\" was retrieved and continue processing\"",
    ),
    (
        &[("x.com", "v=DMARC1; p=bogus")],
        "x.com",
        "",
        &[],
        "none",
        "permerror",
        "§4.10.1: \"Otherwise, the Mail Receiver applies no DMARC processing to this message.\"",
    ),
    // Of a tag written twice it takes the last, and `v` it reads as any other.
    (
        &[("x.com", "v=DMARC1; p=reject; p=none")],
        "x.com",
        "",
        &[],
        "fail reject",
        "fail none",
        "§4.8 leaves the first as the one without error",
    ),
    // A record without p loses its sp.
    (
        &[("x.com", "v=DMARC1; sp=reject; rua=mailto:d@x.com")],
        "a.x.com",
        "",
        &[],
        "fail reject",
        "fail none",
        "§4.7 p: \"the record is treated as if it included \"p=none\"\"",
    ),
    // It walks to the end in any case, and every name must answer.
    (
        &[("x.com", "v=DMARC1; p=reject")],
        "x.com",
        "spf=pass:x.com",
        &["_dmarc.com"],
        "pass reject",
        "temperror",
        "§4.10.2: \"In this case, this common domain is treated as the Organizational Domain.\"",
    ),
    (
        &[("x.com", "v=DMARC1; p=reject")],
        "x.com",
        "",
        &["_dmarc.com"],
        "fail reject",
        "temperror",
        "§5.3.5: \"If no Authenticated Identifiers exist for the domain ... the message is considered to fail\"",
    ),
];

#[tokio::test]
async fn where_we_differ_the_rfc_decides() {
    let resolver = unused_resolver();
    for (records, author, results, failures, mine, peer, sentence) in DIFFERENCES {
        let world = World {
            records: records
                .iter()
                .map(|(domain, text)| ((*domain).to_owned(), *text))
                .collect(),
            hosts: vec![(*author).to_owned()],
            failures: failures.iter().map(|name| (*name).to_owned()).collect(),
            author: (*author).to_owned(),
            results: (*results).to_owned(),
        };
        assert_eq!(ours(&world), *mine, "ours: {world:?}: {sentence}");
        assert_eq!(
            theirs(&world, &resolver).await,
            *peer,
            "mail-auth: {world:?}: {sentence}"
        );
    }
    println!("mail-auth dmarc: {} known differences", DIFFERENCES.len());
}

/// Worlds without what the table above is about.
#[tokio::test]
async fn elsewhere_we_agree() {
    let records = vec![
        "v=DMARC1; p=reject",
        "v=DMARC1; p=quarantine; sp=none",
        "v=DMARC1; p=none; sp=reject; adkim=s",
        "v=DMARC1; p=reject; aspf=s; adkim=s",
        "v=DMARC1; p=reject; psd=y",
        "v=DMARC1; p=quarantine; psd=n",
        "v=DMARC1; t=y; p=reject; sp=quarantine",
        "v=DMARC1; rua=mailto:d@example.com",
        "v=spf1 -all",
    ];
    let worlds = worlds(records);
    let mut runner = TestRunner::deterministic();
    let resolver = unused_resolver();
    let (mut agree, mut all) = (0, 0);
    for _ in 0..4_000 {
        let mut world = worlds.new_tree(&mut runner).unwrap().current();
        if world.author == "com" {
            continue;
        }
        world.hosts.push(world.author.clone());
        world.failures.clear();
        world.records.sort();
        world.records.dedup_by(|(a, _), (b, _)| a == b);
        all += 1;
        let (mine, peer) = (ours(&world), theirs(&world, &resolver).await);
        if mine == peer {
            agree += 1;
        } else if all - agree < 20 {
            println!("{mine} / {peer}: {world:?}");
        }
    }
    println!("mail-auth dmarc: {agree} of {all} random cases agree");
    assert_eq!(agree, all);
}
