//! The worked examples of RFC 9989 as data: every tree walk name by name, every evaluation.

#[path = "support/recording.rs"]
mod recording;

#[path = "support/candidates.rs"]
mod candidates;
#[path = "support/evidence.rs"]
mod evidence;

use alignd::auth::dmarc::{DiscoveryMethod, Evaluation, discover, evaluate, gather};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{QueryName, TxtRecord};
use alignd::domain::DomainName;
use candidates::candidates;
use evidence::results;
use recording::Recording;
use serde::Deserialize;
use std::collections::BTreeMap;

const SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../shared/spec/suites/dmarc/rfc9989-examples.yml"
);

#[derive(Deserialize)]
struct Suite {
    tree_walk: Vec<TreeWalk>,
    evaluate: Vec<Case>,
}

#[derive(Deserialize)]
struct TreeWalk {
    id: String,
    domain: String,
    dns: BTreeMap<String, Vec<String>>,
    queries: Vec<String>,
    org: String,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    #[serde(default)]
    dns: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    dns_strings: BTreeMap<String, Vec<Vec<String>>>,
    author: String,
    spf: (String, String),
    dkim: Vec<(String, String)>,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    result: String,
    spf_aligned: Option<bool>,
    dkim_aligned: Option<bool>,
    policy_domain: Option<String>,
    policy: Option<String>,
    applied: Option<String>,
}

#[tokio::test]
async fn the_walks_of_the_rfc() {
    let walks = suite().tree_walk;
    let mut agree = 0;
    for walk in &walks {
        let resolver = Recording::new(zone(&walk.dns, &BTreeMap::new()));
        let method = DiscoveryMethod::TreeWalk;
        let found = discover::organizational_domain(&domain(&walk.domain), method, &resolver).await;
        let asked = resolver.asked();
        let shown = discover::discover(&domain(&walk.domain), method, &resolver).await;
        let steps: Vec<_> = shown.steps.iter().map(|step| step.name.clone()).collect();
        if (found.unwrap().as_str(), &asked, &steps) == (&walk.org, &walk.queries, &walk.queries) {
            agree += 1;
        } else {
            println!("{}: asked {asked:?}, shown {shown:?}", walk.id);
        }
    }
    println!("rfc9989 tree walks: {agree} of {} agree", walks.len());
    assert_eq!((agree, walks.len()), (14, 14));
}

#[tokio::test]
async fn the_evaluations_of_the_rfc() {
    let cases = suite().evaluate;
    let mut agree = 0;
    for case in &cases {
        let evaluation = evaluation(case).await;
        let policy = evaluation.policy.as_ref();
        let seen = Expectation {
            result: evaluation.result.to_string(),
            spf_aligned: Some(evaluation.spf.aligned),
            dkim_aligned: Some(evaluation.dkim.aligned),
            policy_domain: policy.map(|p| p.domain.to_string()),
            policy: policy.map(|p| p.selected.to_string()),
            applied: policy.map(|p| p.applied.to_string()),
        };
        if seen.meets(&case.expect) {
            agree += 1;
        } else {
            println!("{}: {evaluation:#?}", case.id);
        }
    }
    println!("rfc9989 evaluations: {agree} of {} agree", cases.len());
    assert_eq!((agree, cases.len()), (27, 27));
}

impl Expectation {
    fn meets(&self, expected: &Self) -> bool {
        fn same<T: PartialEq>(seen: &Option<T>, expected: &Option<T>) -> bool {
            expected.is_none() || seen == expected
        }
        self.result == expected.result
            && same(&self.spf_aligned, &expected.spf_aligned)
            && same(&self.dkim_aligned, &expected.dkim_aligned)
            && same(&self.policy_domain, &expected.policy_domain)
            && same(&self.policy, &expected.policy)
            && same(&self.applied, &expected.applied)
    }
}

async fn evaluation(case: &Case) -> Evaluation {
    let resolver = Recording::new(zone(&case.dns, &case.dns_strings));
    let signatures = case
        .dkim
        .iter()
        .map(|(result, d)| format!(" dkim={result}:{d}"));
    let words = format!("spf={}:{}", case.spf.0, case.spf.1) + &signatures.collect::<String>();
    let results = results(&words);
    let method = DiscoveryMethod::TreeWalk;
    let facts = gather(
        &domain(&case.author),
        &candidates(&results),
        method,
        &resolver,
    )
    .await;
    let mut asked = resolver.asked();
    asked.sort();
    let questions = asked.len();
    asked.dedup();
    assert_eq!(asked.len(), questions, "{}: no name twice", case.id);
    evaluate(&facts, results.spf.as_ref(), &results.dkim)
}

fn zone(
    texts: &BTreeMap<String, Vec<String>>,
    strings: &BTreeMap<String, Vec<Vec<String>>>,
) -> Zone {
    let mut zone = Zone::new();
    for (name, texts) in texts {
        let name = QueryName::parse(name).unwrap();
        zone.add(&name, ZoneRecord::Empty);
        for text in texts {
            zone.add(&name, ZoneRecord::Txt(TxtRecord::from_text(text)));
        }
    }
    for (name, records) in strings {
        for strings in records {
            let text = TxtRecord::from_text(&strings.concat());
            zone.add(&QueryName::parse(name).unwrap(), ZoneRecord::Txt(text));
        }
    }
    zone
}

fn suite() -> Suite {
    let text = std::fs::read_to_string(SUITE).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

fn domain(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}
