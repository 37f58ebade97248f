//! The OpenSPF suite for RFC 7208, every case, over the in-memory zone.

use crate::case::{Answer, Case};
use crate::zone_data::{Entry, ZoneData};
use alignd::dns::Resolver;
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Mapping, Value};
use std::path::Path;

/// One case of the suite with what it accepts.
#[derive(Debug, Clone)]
pub struct SuiteCase {
    pub case: Case,
    /// Results that the suite accepts.
    pub accepted: Vec<String>,
    /// `DEFAULT` for none from the domain owner.
    pub explanation: Option<String>,
}

/// Cases where we differ: id, our result, the RFC sentence that speaks for us. There is none.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

#[tokio::test]
async fn every_case_agrees() {
    let cases = cases();
    let mut agreeing = 0;
    let mut wrong = Vec::new();
    for suite_case in &cases {
        let Case { id, zone, .. } = &suite_case.case;
        match suite_case.difference(&zone.zone()).await {
            None => agreeing += 1,
            Some((result, _))
                if DIFFERENCES
                    .iter()
                    .any(|known| (known.0, known.1) == (id, &result)) => {}
            Some((_, found)) => wrong.push(format!("{id}: {found}")),
        }
    }
    println!("openspf: {agreeing} of {} agree", cases.len());
    assert_eq!(cases.len(), 203);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

impl SuiteCase {
    /// Our result over `resolver` and all that we say with it, where the suite says otherwise.
    pub async fn difference(&self, resolver: &impl Resolver) -> Option<(String, String)> {
        let outcome = self.case.asked_of(resolver).await;
        let Answer {
            result,
            explanation,
        } = Answer::from(&outcome);
        let explanation = explanation.as_deref().unwrap_or("DEFAULT");
        let expected = self.explanation.as_deref();
        if self.accepted.contains(&result) && expected.is_none_or(|text| text == explanation) {
            return None;
        }
        Some((
            result,
            format!("{outcome:?}, not {:?} {expected:?}", self.accepted),
        ))
    }
}

/// Reads the suite.
pub fn cases() -> Vec<SuiteCase> {
    let path = "../shared/spec/suites/openspf/rfc7208-tests.yml";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let suite = std::fs::read_to_string(path).expect("the suite lies beside the project");
    let mut cases = Vec::new();
    for document in Deserializer::from_str(&suite) {
        let document = Value::deserialize(document).expect("the suite is YAML");
        let zone = zone(
            document["zonedata"]
                .as_mapping()
                .expect("each part has a zone"),
        );
        for (id, test) in document["tests"].as_mapping().expect("each part has tests") {
            cases.push(case(text(id), test, &zone));
        }
    }
    cases
}

fn case(id: String, test: &Value, zone: &ZoneData) -> SuiteCase {
    let client = text(&test["host"]).parse();
    SuiteCase {
        case: Case {
            id,
            helo: text(&test["helo"]),
            client: client.expect("the suite has addresses"),
            mail_from: text(&test["mailfrom"]),
            zone: zone.clone(),
        },
        accepted: match &test["result"] {
            Value::Sequence(results) => results.iter().map(text).collect(),
            one => vec![text(one)],
        },
        explanation: test.get("explanation").map(text),
    }
}

/// As pyspf's driver reads it: names without TXT records get their SPF records as TXT; `TXT: NONE`
/// prevents that and is no record itself.
fn zone(data: &Mapping) -> ZoneData {
    let mut zone = ZoneData::default();
    for (name, records) in data {
        let name = text(name);
        let records = records.as_sequence().expect("names hold lists");
        let has_text = records.iter().any(|record| record.get("TXT").is_some());
        for record in records {
            if record.as_str() == Some("TIMEOUT") {
                zone.add(&name, Entry::Timeout);
                continue;
            }
            let fields = record.as_mapping().expect("a record has a type");
            for (kind, value) in fields {
                match text(kind).as_str() {
                    "TXT" if value.as_str() == Some("NONE") => {}
                    "SPF" if has_text => {}
                    kind => zone.add(&name, entry(kind, value)),
                }
            }
        }
    }
    zone
}

fn entry(kind: &str, value: &Value) -> Entry {
    match kind {
        "TXT" | "SPF" => Entry::Txt(match value {
            Value::Sequence(strings) => strings.iter().map(octets).collect(),
            one => vec![octets(one)],
        }),
        "A" => Entry::A(
            text(value)
                .parse()
                .expect("an A record has an IPv4 address"),
        ),
        "AAAA" => Entry::Aaaa(
            text(value)
                .parse()
                .expect("an AAAA record has an IPv6 address"),
        ),
        "MX" => {
            let preference = value[0].as_u64().and_then(|number| number.try_into().ok());
            Entry::Mx(
                preference.expect("MX records have a preference"),
                text(&value[1]),
            )
        }
        "PTR" => Entry::Ptr(text(value)),
        "CNAME" => Entry::Cname(text(value)),
        other => panic!("the suite has no {other} records"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("the suite has text here").to_owned()
}

/// The suite writes octets as the characters of Latin-1.
fn octets(value: &Value) -> Vec<u8> {
    let octet = |c| u8::try_from(u32::from(c)).expect("the suite has octets here");
    text(value).chars().map(octet).collect()
}
