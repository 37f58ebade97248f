//! What local rules cost a message that fails: one decision without rules, and with 10,000 of them, however
//! they are spread. `cargo bench --bench rules`

#[path = "../tests/support/plain_verdict.rs"]
mod plain_verdict;

use alignd::auth::dmarc::Policy;
use alignd::domain::DomainName;
use alignd::policy::PolicySettings;
use alignd::policy::decide::{Situation, decide};
use alignd::policy::rules::{
    AuthorPattern, Facts, KeyedRule, NamePattern, Recipients, Requirements, Rule, RuleKey, RuleSet,
    RuleTerms, Signer,
};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use plain_verdict::plain_verdict;
use std::hint::black_box;
use std::time::Instant;

const RULES: i64 = 10_000;
const ROUNDS: u32 = 20_000;

fn main() {
    let verdict = plain_verdict("bank.example", Timestamp::from_seconds(0), 1);
    let author = |name: &str| AuthorPattern::parse(name).expect("a pattern");
    let spread: [(&str, Vec<KeyedRule>); 4] = [
        ("no rules", Vec::new()),
        (
            "of other authors",
            made(|n| (author(&format!("a{n}.example")), "list.example".to_owned())),
        ),
        (
            "of this author, by other signers",
            made(|n| (author("bank.example"), format!("l{n}.example"))),
        ),
        (
            "of all authors, by other signers",
            made(|n| (author("*"), format!("l{n}.example"))),
        ),
    ];
    for (name, rules) in spread {
        let count = rules.len();
        let begin = Instant::now();
        let set = RuleSet::new(rules, Vec::new());
        let made = begin.elapsed();
        let each = measured(&verdict, &set);
        println!("{count:>6} rules {name:<34} {each:>8.2} µs a decision, made in {made:.1?}");
    }
}

fn made(rule: impl Fn(i64) -> (AuthorPattern, String)) -> Vec<KeyedRule> {
    let rules = (0..RULES).map(|n| {
        let (author, signer) = rule(n);
        let requirements = Requirements {
            dkim: Some(Signer {
                domain: NamePattern::parse(&signer).expect("a domain"),
                selector: None,
            }),
            ..Requirements::default()
        };
        KeyedRule {
            key: RuleKey::stored(n),
            rule: Rule::new(RuleTerms::exception(author, requirements)).expect("a sound rule"),
        }
    });
    rules.collect()
}

/// Microseconds of one decision.
fn measured(verdict: &Verdict, rules: &RuleSet) -> f64 {
    let recipients = Recipients::default();
    let author = DomainName::parse("bank.example").expect("a domain");
    let facts = Facts {
        author: &author,
        organizational_domain: None,
        client: verdict.envelope.client,
        list_id: None,
        evidence: &verdict.evidence,
        recipients: &recipients,
        now: verdict.received,
    };
    let situation = Situation::Fail {
        selected: Policy::Reject,
        applied: Policy::Reject,
    };
    let settings = PolicySettings::default();
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        black_box(decide(situation, Some(black_box(&facts)), &settings, rules));
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}
