//! ARC over ValiMail's suite, which was written for a draft: `tests` without a verdict are only run.
//! Source and licence: `../shared/spec/suites/README.md`.

#[path = "support/text_zone.rs"]
mod text_zone;

use alignd::auth::arc::{ArcEvidence, ArcResult, Chain};
use alignd::auth::dkim::{BodyHasher, DkimSettings, KeyCache};
use alignd::dns::zone::Zone;
use alignd::dns::{LookupError, QueryName};
use alignd::message::parse::Message;
use alignd::time::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::fs;
use std::path::PathBuf;

const NOW: i64 = 1_600_000_000;

/// Where the suite and RFC 8617 part, by the name of the test and why.
const DEPARTURES: &[(&str, &str)] = &[(
    "ams_fields_c_na",
    "without c= the signature was made with relaxed; RFC 6376 §3.5, which RFC 8617 §4.1.2 imports, \
     says that the default is simple/simple",
)];

fn judge(file: &[u8], zone: &Zone, step: usize) -> ArcEvidence {
    let message = Message::parse(file);
    let settings = DkimSettings::default();
    let chain = Chain::read(&message.fields, &settings, Timestamp::from_seconds(NOW));
    let mut hasher = BodyHasher::new(chain.body_request());
    for piece in message.body.chunks(step) {
        hasher.update(piece);
    }
    let keys = text_zone::ready(chain.look_up_keys(zone, &KeyCache::default()));
    chain.conclude(&keys, &hasher.finish())
}

/// One document of the suite.
#[derive(Deserialize)]
struct Scenario {
    tests: Pairs<Case>,
    #[serde(rename = "txt-records")]
    records: Pairs<String>,
}

#[derive(Deserialize)]
struct Case {
    message: String,
    /// Empty: no verdict.
    cv: Option<String>,
}

/// A mapping in its order; one key stands in it twice.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs(Vec::new()))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(pair) = map.next_entry()? {
            self.0.push(pair);
        }
        Ok(self)
    }
}

fn suite() -> Vec<Scenario> {
    let path = "../shared/spec/suites/arc/arc-draft-validation-tests.yml";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents
        .map(|d| Scenario::deserialize(d).expect("YAML"))
        .collect()
}

#[test]
fn the_suite() {
    let (mut binding, mut agreed, mut run) = (0, 0, 0);
    let mut wrong = Vec::new();
    for Scenario { tests, records } in suite() {
        let zone = text_zone::zone(records.0.iter().map(|(n, r)| (n.as_str(), r.as_str())));
        for (name, Case { message, cv }) in &tests.0 {
            let evidence = judge(message.as_bytes(), &zone, usize::MAX);
            assert_eq!(
                evidence,
                judge(message.as_bytes(), &zone, 3),
                "{name} in pieces"
            );
            run += 1;
            let departure = DEPARTURES.iter().find(|(test, _)| test == name);
            let Some(expected) = cv.as_deref().filter(|cv| !cv.is_empty()) else {
                continue;
            };
            binding += 1;
            let expected = expected.to_lowercase();
            if evidence.result.as_str() == expected {
                agreed += 1;
                assert_eq!(departure, None, "{name} agrees");
            } else if departure.is_none() {
                let reason = &evidence.reason;
                wrong.push(format!(
                    "{name}: {} ({reason}), not {expected}",
                    evidence.result
                ));
            }
        }
    }
    println!("arc: {agreed} of {binding} agree, {run} run");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((binding, agreed, run), (172, 171, 175));
}

/// A message of the suite by its name, and the zone it is judged with.
fn find(name: &str) -> (String, Zone) {
    for Scenario { tests, records } in suite() {
        if let Some((_, case)) = tests.0.into_iter().find(|(test, _)| test == name) {
            let zone = text_zone::zone(records.0.iter().map(|(n, r)| (n.as_str(), r.as_str())));
            return (case.message, zone);
        }
    }
    panic!("the suite has no {name}");
}

#[test]
fn names_the_custodians_and_what_they_found() {
    let (message, zone) = find("cv_pass_i2_1");
    let evidence = judge(message.as_bytes(), &zone, 7);
    let [first, second] = &evidence.sets[..] else {
        panic!("{evidence:?}");
    };
    assert_eq!((first.instance, first.sealer.as_str()), (1, "example.org"));
    assert_eq!((second.instance, second.selector.as_str()), (2, "dummy"));
    assert!(first.results.starts_with("lists.example.org;"), "{first:?}");
    assert_eq!(evidence.reason, "");
}

/// RFC 8617 §5.2.1: "All errors, including DNS failures, become unrecoverable and are considered
/// permanent."
#[test]
fn says_why_it_failed() {
    let (message, mut zone) = find("cv_pass_i1_1");
    zone.fail(&key(), LookupError::Timeout);
    check(
        &message,
        &zone,
        "ARC-Message-Signature 1: key unavailable: DNS timed out",
    );
    let (_, zone) = find("cv_pass_i1_1");
    let seal = "ARC-Seal: i=51; cv=pass\n";
    check(
        &format!("{seal}{message}"),
        &zone,
        "ARC-Seal without a valid instance",
    );
    let seal = "ARC-Seal: i=50; cv=pass\n";
    check(
        &format!("{seal}{message}"),
        &zone,
        "no ARC-Authentication-Results 2",
    );
    let long = format!("ARC-Seal: i=2; x={}\n", "x".repeat(70_000));
    check(&format!("{long}{message}"), &zone, "ARC-Seal 2 is too long");
}

fn check(message: &str, zone: &Zone, reason: &str) {
    let evidence = judge(message.as_bytes(), zone, 7);
    assert_eq!(
        (evidence.result, evidence.reason.as_str()),
        (ArcResult::Fail, reason)
    );
}

fn key() -> QueryName {
    QueryName::parse("dummy._domainkey.example.org").expect("a name")
}
