//! How mail fails, and the exceptions that are suggested for it: one line of words per message.

#[path = "support/evidence.rs"]
mod evidence;
#[path = "support/plain_verdict.rs"]
mod plain_verdict;
#[path = "support/verdicts.rs"]
mod verdicts;

use alignd::auth::spf::{MatchedTerm, SpfOutcome};
use alignd::auth::{DmarcResult, IprevResult};
use alignd::domain::DomainName;
use alignd::policy::rules::{
    AuthorPattern, Facts, KeyedRule, RecipientPattern, Recipients, Rule, RuleKey, RuleSet,
    RuleTerms, StricterAction,
};
use alignd::policy::{RuleEffect, RuleUse};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use alignd::verdict::shape::FailureShape;
use alignd::verdict::suggest::suggestions;
use plain_verdict::plain_verdict;
use proptest::prelude::*;
use std::collections::BTreeSet;
use verdicts::any_verdict;

/// A message of bank.example that failed: `ip=`, `ptr=`, `list=` and what `evidence::results` reads;
/// `intact` makes the first signature one whose body alone was changed, `all` lets SPF's record let all in.
fn failed(words: &str) -> Verdict {
    let (results, own): (Vec<&str>, Vec<&str>) = words
        .split_whitespace()
        .partition(|word| word.starts_with("spf=") || word.starts_with("dkim="));
    let value = |key: &str| {
        own.iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let results = evidence::results(&results.join(" "));
    let mut verdict = plain_verdict("bank.example", Timestamp::from_seconds(0), 1);
    verdict.envelope.client = value("ip").map(|ip| ip.parse().unwrap());
    verdict.message.list_id = value("list").map(str::to_owned);
    let evidence = &mut verdict.evidence;
    evidence.iprev.name = value("ptr").map(str::to_owned);
    evidence.iprev.result = value("ptr").map_or(IprevResult::Fail, |_| IprevResult::Pass);
    evidence.dkim = results.dkim;
    evidence.spf.mail_from = results.spf.unwrap_or(SpfOutcome::not_evaluated("", ""));
    if own.contains(&"intact") {
        evidence.dkim.signatures[0].grounds.headers_intact = true;
    }
    if own.contains(&"all") {
        let domain = evidence.spf.mail_from.domain.clone();
        let term = "+all".to_owned();
        evidence.spf.mail_from.grounds.matched = Some(MatchedTerm { term, domain });
    }
    let evaluation = verdict.evaluation.as_mut().unwrap();
    evaluation.result = DmarcResult::Fail;
    verdict
}

fn facts<'a>(verdict: &'a Verdict, recipients: &'a Recipients) -> Option<Facts<'a>> {
    let evaluation = verdict.evaluation.as_ref()?;
    Some(Facts {
        author: &evaluation.author_domain,
        organizational_domain: evaluation.organizational_domain.as_ref(),
        client: verdict.envelope.client,
        list_id: verdict.message.list_id.as_deref(),
        evidence: &verdict.evidence,
        recipients,
        now: verdict.received,
    })
}

#[test]
fn how_it_failed() {
    for (words, shape, is_forwarding) in [
        (
            "intact dkim=fail:bank.example dkim=pass:l.example list=talk.l.example",
            "mailing_list",
            true,
        ),
        (
            "dkim=fail:bank.example dkim=pass:l.example list=talk.l.example",
            "mailing_list",
            true,
        ),
        (
            "dkim=fail:mail.bank.example dkim=pass:lists.l.example list=talk.l.example",
            "mailing_list",
            true,
        ),
        (
            "intact dkim=fail:bank.example spf=pass:l.example list=talk.l.example",
            "mailing_list",
            true,
        ),
        (
            "dkim=partial:bank.example dkim=pass:l.example list=talk.l.example",
            "mailing_list",
            true,
        ),
        (
            "intact dkim=fail:bank.example dkim=pass:other.example list=talk.l.example",
            "altered_in_transit",
            true,
        ),
        ("intact dkim=fail:bank.example", "altered_in_transit", true),
        (
            "intact dkim=fail:mail.bank.example spf=softfail:bank.example",
            "altered_in_transit",
            true,
        ),
        ("dkim=partial:bank.example", "altered_in_transit", true),
        ("intact dkim=fail:notbank.example", "unauthenticated", false),
        ("dkim=fail:bank.example", "broken_signature", false),
        (
            "dkim=fail:bank.example dkim=pass:other.example",
            "broken_signature",
            false,
        ),
        (
            "spf=fail:bank.example dkim=pass:f.example",
            "forwarded",
            true,
        ),
        (
            "spf=softfail:mail.bank.example dkim=pass:f.example",
            "forwarded",
            true,
        ),
        (
            "spf=none:bank.example dkim=pass:f.example",
            "third_party",
            false,
        ),
        ("spf=fail:bank.example", "unauthenticated", false),
        (
            "spf=pass:esp.example dkim=pass:esp.example",
            "third_party",
            false,
        ),
        ("spf=pass:esp.example", "third_party", false),
        // Anyone can write a List-Id.
        (
            "dkim=pass:esp.example list=talk.l.example",
            "third_party",
            false,
        ),
        (
            "dkim=fail:bank.example list=talk.l.example",
            "broken_signature",
            false,
        ),
        ("", "unauthenticated", false),
    ] {
        let found = FailureShape::of(&failed(&format!("ip=192.0.2.7 {words}"))).unwrap();
        assert_eq!(
            (found.as_str(), found.is_forwarding()),
            (shape, is_forwarding),
            "{words}"
        );
    }
    let mut passed = failed("dkim=pass:bank.example");
    passed.evaluation.as_mut().unwrap().result = DmarcResult::Temperror;
    assert_eq!(FailureShape::of(&passed), None);
    assert_eq!(suggestions(&passed), []);
}

#[test]
fn the_narrowest_first() {
    for (words, expected) in [
        ("", vec![]),
        (
            "spf=fail:bank.example dkim=fail:bank.example list=talk.l.example",
            vec![],
        ),
        (
            "ip=192.0.2.7",
            vec!["local_policy exception for bank.example with network 192.0.2.7/32"],
        ),
        (
            "ip=::ffff:192.0.2.7",
            vec!["local_policy exception for bank.example with network 192.0.2.7/32"],
        ),
        (
            "intact dkim=fail:bank.example dkim=pass:l.example spf=pass:b.l.example list=talk.l.example ip=192.0.2.7 ptr=mx.l.example",
            vec![
                "mailing_list exception for bank.example with dkim l.example",
                "trusted_forwarder exception for bank.example with spf b.l.example",
                "mailing_list exception for * with list_id talk.l.example and list_domain l.example",
                "trusted_forwarder exception for bank.example with reverse_name mx.l.example",
                "trusted_forwarder exception for bank.example with network 192.0.2.7/32",
            ],
        ),
        (
            "spf=pass:esp.example dkim=pass:esp.example dkim=pass:esp.example",
            vec![
                "local_policy exception for bank.example with dkim esp.example",
                "local_policy exception for bank.example with spf esp.example",
            ],
        ),
        // What lets everybody send verifies nobody, nor does a signature that leaves the body open.
        ("all spf=pass:esp.example dkim=partial:esp.example", vec![]),
        (
            "dkim=pass:a.example dkim=pass:b.example dkim=pass:c.example dkim=pass:d.example",
            vec![
                "local_policy exception for bank.example with dkim a.example",
                "local_policy exception for bank.example with dkim b.example",
                "local_policy exception for bank.example with dkim c.example",
            ],
        ),
    ] {
        let made = suggestions(&failed(words));
        let shown = made
            .iter()
            .map(|s| format!("{} {}", s.rule.because, s.rule));
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{words}");
    }
}

/// Whoever takes a suggestion gets the next such message; none is unsafe, and each has another ground.
fn holds_what_it_promises(verdict: &Verdict) -> Result<(), TestCaseError> {
    let recipients = Recipients::default();
    let mut seen = BTreeSet::new();
    for suggestion in suggestions(verdict) {
        prop_assert!(!suggestion.rule.is_unsafe);
        prop_assert!(seen.insert(suggestion.rule.to_json()));
        let key = RuleKey::config(&suggestion.rule);
        let rule = suggestion.rule;
        let set = RuleSet::new([KeyedRule { key, rule }], Vec::<DomainName>::new());
        let facts = facts(verdict, &recipients).expect("evaluated, since it failed");
        prop_assert!(set.choose(&facts).is_some(), "{:?}", set.rules());
    }
    Ok(())
}

/// The same message, held by a stricter rule: each suggestion decides in its place.
fn comes_before(stricter: Rule, verdict: &Verdict) -> Result<(), TestCaseError> {
    let keyed = |rule: Rule| KeyedRule {
        key: RuleKey::config(&rule),
        rule,
    };
    let mut recipients = Recipients::default();
    recipients.add("anna@example.org");
    let facts = facts(verdict, &recipients).expect("evaluated, since it failed");
    let none = Vec::<DomainName>::new();
    let alone = RuleSet::new([keyed(stricter.clone())], none.clone());
    let chosen = alone.choose(&facts).expect("it holds this message");
    let key = chosen.key.clone();
    let mut held = verdict.clone();
    held.decision = held.decision.under(RuleUse {
        key,
        effect: RuleEffect::Stricter,
        met: Vec::new(),
    });
    for suggestion in suggestions(&held) {
        let both = [keyed(stricter.clone()), keyed(suggestion.rule.clone())];
        let set = RuleSet::new(both, none.clone());
        let chosen = set.choose(&facts).expect("both apply");
        prop_assert_eq!(chosen.rule, &suggestion.rule);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_suggestion_comes_before_the_stricter_rule_that_held_it(
        words in prop::sample::subsequence(vec![
            "dkim=fail:bank.example", "dkim=pass:l.example", "spf=pass:l.example", "list=talk.l.example",
            "ip=192.0.2.7", "ptr=mx.l.example",
        ], 0..=6),
        author in prop::sample::select(vec!["bank.example", ".example", "*"]),
        to_anna in any::<bool>(),
    ) {
        let author = AuthorPattern::parse(author).expect("a pattern");
        let mut terms = RuleTerms::stricter(author, StricterAction::Hold);
        if to_anna {
            terms.recipients = vec![RecipientPattern::parse("anna@example.org").expect("a pattern")];
        }
        let rule = Rule::new(terms).expect("a rule");
        comes_before(rule, &failed(&words.join(" ")))?;
    }

    #[test]
    fn a_suggestion_would_have_let_it_through(verdict in any_verdict()) {
        let mut verdict = verdict;
        if let Some(evaluation) = &mut verdict.evaluation {
            evaluation.result = DmarcResult::Fail;
        }
        holds_what_it_promises(&verdict)?;
    }

    #[test]
    fn likely_ones_too(words in prop::sample::subsequence(vec![
        "dkim=fail:bank.example", "dkim=pass:l.example", "dkim=pass:x.l.example", "spf=pass:l.example",
        "spf=fail:bank.example", "list=talk.l.example", "ip=192.0.2.7", "ptr=mx.l.example", "dkim=pass:co.uk",
    ], 0..=9)) {
        holds_what_it_promises(&failed(&words.join(" ")))?;
    }
}
