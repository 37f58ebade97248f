//! Replay, its sums and its ranks: the same rules give the same decisions, other ones what they say.

#[path = "support/plain_verdict.rs"]
mod plain_verdict;
#[path = "support/verdicts.rs"]
mod verdicts;

use alignd::auth::dmarc::Alignment;
use alignd::auth::{DkimResult, DmarcResult, IprevResult, SpfResult};
use alignd::domain::DomainName;
use alignd::outcome::OutcomeState;
use alignd::policy::decide::{ClientAddress, MAX_FORGED, Situation, decide};
use alignd::policy::rules::{
    AuthorPattern, Facts, KeyedRule, NamePattern, Recipients, Requirements, Rule, RuleKey, RuleSet,
    RuleTerms, Signer, StricterAction,
};
use alignd::policy::{Action, AuthorAction, FailAction, PolicySettings, TemperrorAction};
use alignd::replay::{Candidate, Doubt, Grounds, Review, Stream, StreamKind, Tally, replay};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use plain_verdict::plain_verdict;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

fn domain(name: &str) -> DomainName {
    DomainName::parse(name).expect("a domain")
}

fn settings(fail: FailAction, author: AuthorAction, temperror: TemperrorAction) -> PolicySettings {
    PolicySettings {
        on_reject: fail,
        on_quarantine: fail,
        on_temperror: temperror,
        on_missing_author: author,
        on_multiple_authors: author,
        on_unparseable_author: author,
        ..PolicySettings::default()
    }
}

fn signed_by(signer: &str) -> Requirements {
    let signer = NamePattern::parse(signer).and_then(|name| Signer::new(name, None));
    Requirements {
        dkim: Some(signer.expect("a signer")),
        ..Requirements::default()
    }
}

fn rules(terms: Vec<RuleTerms>) -> RuleSet {
    let keyed = terms.into_iter().map(|terms| {
        let rule = Rule::new(terms).expect("a sound rule");
        let key = RuleKey::config(&rule);
        KeyedRule { key, rule }
    });
    RuleSet::new(keyed, Vec::new())
}

/// Decides as the milter does when the message comes.
fn decided(mut verdict: Verdict, settings: &PolicySettings, rules: &RuleSet) -> Verdict {
    let evaluation = verdict.evaluation.as_ref();
    let client = match (verdict.envelope.client, verdict.envelope.relay) {
        (None, Some(_)) => ClientAddress::HiddenByRelay,
        (Some(_), _) | (None, None) => ClientAddress::Known,
    };
    let situation = Situation::of(&verdict.message.author, evaluation, client);
    let forged = usize::try_from(verdict.message.forged_results).unwrap_or(usize::MAX);
    let situation = situation.with_forged_results(forged);
    let envelope = &verdict.envelope;
    let recipients = Recipients::kept(
        &envelope.recipient_addresses,
        &envelope.recipient_domains,
        envelope.recipients,
    );
    let facts = evaluation.map(|evaluation| Facts {
        author: &evaluation.author_domain,
        organizational_domain: evaluation.organizational_domain.as_ref(),
        client: envelope.client,
        list_id: verdict.message.list_id.as_deref(),
        evidence: &verdict.evidence,
        recipients: &recipients,
        now: verdict.received,
    });
    verdict.decision = decide(situation, facts.as_ref(), settings, rules);
    verdict
}

proptest! {
    /// Under the rules that decided, a replay decides the same, word for word.
    #[test]
    fn a_replay_under_the_same_rules_changes_nothing(
        verdict in verdicts::any_verdict(),
        fail in proptest::sample::select(FailAction::ALL.to_vec()),
        author in proptest::sample::select(AuthorAction::ALL.to_vec()),
        temperror in proptest::sample::select(TemperrorAction::ALL.to_vec()),
        forged in prop_oneof![Just(0_u32), Just(MAX_FORGED as u32 + 1)],
    ) {
        let mut verdict = verdict;
        verdict.message.forged_results = forged;
        let signer = verdict.evidence.dkim.signatures.first();
        let signer = signer.filter(|s| DomainName::parse(&s.domain).is_ok());
        let exception = signer.map(|s| RuleTerms::exception(AuthorPattern::Any, signed_by(&s.domain)));
        let stricter = verdict.evaluation.as_ref().map(|evaluation| {
            let author = AuthorPattern::Domain(evaluation.author_domain.clone());
            RuleTerms::stricter(author, StricterAction::Reject)
        });
        let settings = settings(fail, author, temperror);
        for terms in [vec![], exception.iter().cloned().collect(), exception.into_iter().chain(stricter).collect()] {
            let rules = rules(terms);
            let verdict = decided(verdict.clone(), &settings, &rules);
            prop_assert_eq!(replay(&verdict, &settings, &rules), verdict.decision);
        }
    }
}

/// A spoof of bank.example: nothing in it is verified.
fn spoof(nth: u32) -> Verdict {
    let mut verdict = plain_verdict("bank.example", NOW, nth);
    let evaluation = verdict.evaluation.as_mut().expect("evaluated");
    evaluation.result = DmarcResult::Fail;
    evaluation.spf = Alignment::default();
    evaluation.dkim = Alignment::default();
    verdict.evidence.spf.mail_from.result = SpfResult::Fail;
    verdict.evidence.dkim.signatures.clear();
    verdict.evidence.iprev.result = IprevResult::Fail;
    verdict
}

/// The same by a list that signs.
fn by_list(nth: u32) -> Verdict {
    let mut verdict = spoof(nth);
    let mut signature = plain_verdict("list.example", NOW, nth)
        .evidence
        .dkim
        .signatures
        .remove(0);
    signature.result = DkimResult::Pass;
    let mut broken = signature.clone();
    broken.domain = "bank.example".to_owned();
    broken.result = DkimResult::Fail;
    verdict.evidence.dkim.signatures = vec![broken, signature];
    verdict.message.list_id = Some("talk.list.example".to_owned());
    verdict
}

const OBSERVE: FailAction = FailAction::Accept;

fn under(fail: FailAction) -> PolicySettings {
    settings(fail, AuthorAction::Accept, TemperrorAction::Accept)
}

#[test]
fn streams_are_named_by_what_says_most() {
    let mut by_spf = spoof(1);
    by_spf.evidence.spf.mail_from.result = SpfResult::Pass;
    by_spf.evidence.spf.mail_from.domain = "bounces.esp.example".to_owned();
    let mut by_name = spoof(2);
    by_name.evidence.iprev.result = IprevResult::Pass;
    by_name.evidence.iprev.name = Some("out7.pool.esp.example".to_owned());
    let mut unsigned_list = spoof(3);
    unsigned_list.message.list_id = Some("talk.list.example".to_owned());
    let mut nobody = spoof(4);
    nobody.envelope.client = None;
    let mut v6 = spoof(5);
    v6.envelope.client = Some("2001:db8:1:2::3".parse().unwrap());
    for (verdict, expected) in [
        (by_list(0), "list <talk.list.example>"),
        (by_spf, "spf bounces.esp.example"),
        (by_name, "hosts in pool.esp.example"),
        (unsigned_list, "[192.0.2.0/24]"),
        (nobody, "unknown client"),
        (v6, "[2001:db8:1::/48]"),
    ] {
        assert_eq!(Stream::of(&verdict).to_string(), expected);
    }
    assert_eq!(Stream::of(&spoof(6)).kind, StreamKind::Network);
}

#[test]
fn a_tally_says_what_rejecting_would_have_cost() {
    let observed = under(OBSERVE);
    let none = RuleSet::default();
    let exception = RuleTerms::exception(AuthorPattern::Any, signed_by("list.example"));
    for (tried, with, expected) in [
        (OBSERVE, vec![], vec![]),
        (
            FailAction::Reject,
            vec![],
            vec![
                (Action::Reject, "[192.0.2.0/24]", 3, 0),
                (Action::Reject, "list <talk.list.example>", 2, 2),
            ],
        ),
        (
            FailAction::Hold,
            vec![exception],
            vec![(Action::Hold, "[192.0.2.0/24]", 3, 0)],
        ),
    ] {
        let (settings, rules) = (under(tried), rules(with));
        let mut tally = Tally::default();
        for verdict in [
            spoof(1),
            by_list(2),
            spoof(3),
            by_list(4),
            spoof(5),
            plain_verdict("a.example", NOW, 6),
        ] {
            let verdict = decided(verdict, &observed, &none);
            let would_be = replay(&verdict, &settings, &rules).action();
            tally.add(&verdict, would_be);
        }
        tally.unchanged(4);
        assert_eq!(tally.messages, 10);
        let found: Vec<_> = tally
            .changed()
            .into_iter()
            .map(|c| {
                assert_eq!(
                    (c.was, c.author_domain),
                    (Action::Accept, Some(domain("bank.example")))
                );
                (
                    c.would_be,
                    c.stream.map(|s| s.to_string()),
                    c.messages,
                    c.forwarded,
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(action, stream, messages, forwarded)| {
                (action, Some(stream.to_owned()), messages, forwarded)
            })
            .collect();
        assert_eq!(found, expected, "{tried}");
    }
}

#[test]
fn a_review_puts_first_what_is_most_doubtful() {
    let none = RuleSet::default();
    let observed = |verdict| decided(verdict, &under(OBSERVE), &none);
    let held = |verdict| decided(verdict, &under(FailAction::Hold), &none);
    let mut review = Review::default();
    for (verdict, outcome) in [
        (observed(spoof(1)), OutcomeState::Accepted),
        (observed(spoof(2)), OutcomeState::Accepted),
        (observed(by_list(3)), OutcomeState::Accepted),
        (observed(spoof(4)), OutcomeState::RefusedLater),
        (held(by_list(5)), OutcomeState::Released),
        (held(by_list(6)), OutcomeState::Held),
        (held(spoof(7)), OutcomeState::Held),
        (
            observed(plain_verdict("bank.example", NOW, 8)),
            OutcomeState::Accepted,
        ),
    ] {
        review.add(&verdict, outcome);
    }
    review.pass(&["bank.example".to_owned()].into());
    let found = review.candidates();
    let found: Vec<(Doubt, String, u64, u64, &[Grounds])> = found
        .iter()
        .map(|c: &Candidate| {
            (
                c.doubt,
                c.stream.to_string(),
                c.messages,
                c.held,
                c.grounds.as_slice(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                Doubt::Blocked,
                "list <talk.list.example>".to_owned(),
                2,
                1,
                [Grounds::Released, Grounds::Forwarded, Grounds::List].as_slice()
            ),
            (
                Doubt::LetIn,
                "[192.0.2.0/24]".to_owned(),
                2,
                0,
                [
                    Grounds::PassesOtherwise,
                    Grounds::NothingVerified,
                    Grounds::NoName,
                    Grounds::AsksReject
                ]
                .as_slice()
            ),
        ]
    );
}
