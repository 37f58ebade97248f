//! What `results_field` writes, in the words that existing rules read, and that no sender can write in it.

use super::*;
use crate::address::ReversePath;
use crate::auth::arc::ArcSet;
use crate::auth::dkim::{DkimGrounds, NotTried};
use crate::auth::dmarc::{Alignment, DiscoveryMethod, Policy, PolicyTag, PublishedPolicy, record};
use crate::auth::spf::SpfGrounds;
use crate::auth::{DkimResult, SpfEvidence};
use crate::policy::{Action, OverrideType, PolicyOverride};
use proptest::prelude::*;

fn envelope(client: &str) -> Envelope {
    Envelope {
        queue_id: None,
        client: client.parse().ok(),
        client_name: None,
        relay: None,
        helo: None,
        mail_from: ReversePath::Null,
        recipient_domains: Vec::new(),
        recipients: 1,
        recipient_addresses: Vec::new(),
        daemon_name: None,
    }
}

fn spf_outcome(domain: &str, result: SpfResult) -> SpfOutcome {
    SpfOutcome {
        domain: domain.to_owned(),
        result,
        grounds: SpfGrounds::default(),
    }
}

fn evidence() -> Evidence {
    Evidence {
        spf: SpfEvidence {
            mail_from: spf_outcome("client.example", SpfResult::Pass),
            helo: spf_outcome("mx.client.example", SpfResult::None),
        },
        dkim: DkimEvidence::default(),
        iprev: IprevOutcome {
            result: IprevResult::Pass,
            name: Some("mx.client.example".to_owned()),
            grounds: String::new(),
        },
        arc: None,
    }
}

fn signed() -> SignatureOutcome {
    SignatureOutcome {
        domain: "client.example".to_owned(),
        selector: "s1".to_owned(),
        identity: Some("a.b@mail.client.example".to_owned()),
        algorithm: "rsa-sha256".to_owned(),
        b_prefix: "aB/+1234".to_owned(),
        result: DkimResult::Pass,
        grounds: DkimGrounds {
            key_bits: Some(2048),
            ..DkimGrounds::default()
        },
    }
}

fn author() -> Author {
    Author::One(DomainName::parse("client.example").unwrap())
}

fn evaluation(result: DmarcResult, policy: Option<(Policy, Policy)>) -> Evaluation {
    let author_domain = DomainName::parse("client.example").unwrap();
    let policy = policy.map(|(selected, applied)| PublishedPolicy {
        domain: author_domain.clone(),
        method: DiscoveryMethod::TreeWalk,
        record: record::parse(b"v=DMARC1; p=reject").unwrap(),
        tag: PolicyTag::P,
        selected,
        applied,
    });
    Evaluation {
        author_domain,
        result,
        policy,
        discovery: Vec::new(),
        spf: Alignment::default(),
        dkim: Alignment::default(),
        organizational_domain: None,
        grounds: "DNS gave no answer".to_owned(),
    }
}

fn decision(disposition: Disposition) -> Decision {
    let reason = PolicyOverride {
        kind: OverrideType::LocalPolicy,
        comment: None,
    };
    let published = Some(Policy::Reject);
    let action = Action::Accept;
    Decision::depart(
        Cause::FailReject,
        published,
        disposition,
        action,
        reason,
        vec![],
    )
}

/// One of the field's results as written.
fn line(field: &Field, at: usize) -> String {
    let one = Field {
        authserv_id: "x".to_owned(),
        version: None,
        results: field.results.get(at).cloned().into_iter().collect(),
    };
    one.to_string()
}

#[test]
fn the_whole_field() {
    let mut evidence = evidence();
    evidence.dkim.signatures = vec![
        signed(),
        SignatureOutcome {
            result: DkimResult::Fail,
            identity: None,
            grounds: DkimGrounds {
                reason: "body hash did not verify".to_owned(),
                ..DkimGrounds::default()
            },
            ..signed()
        },
    ];
    let evaluation = evaluation(
        DmarcResult::Pass,
        Some((Policy::Reject, Policy::Quarantine)),
    );
    let field = results_field(
        "mx.ours.example",
        &envelope("192.0.2.1"),
        &author(),
        &evidence,
        Some(&evaluation),
        &decision(Disposition::Pass),
    );
    assert_eq!(
        field.write(),
        " mx.ours.example;\n\t\
         dmarc=pass (p=reject dis=none) header.from=client.example\n\t\
         policy.dmarc=quarantine;\n\t\
         spf=pass smtp.mailfrom=client.example;\n\t\
         spf=none smtp.helo=mx.client.example;\n\t\
         dkim=pass (2048-bit key) header.d=client.example\n\t\
         header.i=a.b@mail.client.example header.s=s1 header.a=rsa-sha256\n\t\
         header.b=\"aB/+1234\";\n\t\
         dkim=fail reason=\"body hash did not verify\" header.d=client.example\n\t\
         header.s=s1 header.a=rsa-sha256 header.b=\"aB/+1234\";\n\t\
         iprev=pass (mx.client.example) policy.iprev=192.0.2.1"
    );
}

/// RFC 6008 §4: `header.b` tells signatures apart, so it may not be missing just because it is long.
#[test]
fn a_long_b_is_shown_from_its_beginning() {
    for (b, expected) in [
        ("aB/+1234", "aB/+1234".to_owned()),
        ("aBcd==", "aBcd".to_owned()),
        (&format!("{}==", "a".repeat(342)), "a".repeat(64)),
    ] {
        let outcome = SignatureOutcome {
            b_prefix: b.to_owned(),
            ..signed()
        };
        let shown = signature(&outcome)
            .properties
            .into_iter()
            .find(|p| p.property == "b");
        assert_eq!(shown.map(|p| p.value), Some(expected));
    }
}

#[test]
fn dmarc_as_rules_read_it() {
    use DmarcResult::{Fail, None as NoPolicy, Permerror, Temperror};
    let reject = Some((Policy::Reject, Policy::Reject));
    let tested = Some((Policy::Quarantine, Policy::None));
    for (result, policy, disposition, expected) in [
        (
            Fail,
            reject,
            Disposition::Reject,
            "dmarc=fail (p=reject dis=reject) header.from=client.example policy.dmarc=reject",
        ),
        (
            Fail,
            reject,
            Disposition::None,
            "dmarc=fail (p=reject dis=none) header.from=client.example policy.dmarc=reject",
        ),
        (
            Fail,
            reject,
            Disposition::Quarantine,
            "dmarc=fail (p=reject dis=quarantine) header.from=client.example policy.dmarc=reject",
        ),
        (
            Fail,
            tested,
            Disposition::None,
            "dmarc=fail (p=quarantine dis=none) header.from=client.example policy.dmarc=none",
        ),
        (
            NoPolicy,
            None,
            Disposition::None,
            "dmarc=none (p=none dis=none) header.from=client.example",
        ),
        (
            Temperror,
            reject,
            Disposition::None,
            "dmarc=temperror (p=reject dis=none) header.from=client.example policy.dmarc=reject",
        ),
        (
            Temperror,
            None,
            Disposition::None,
            "dmarc=temperror reason=\"DNS gave no answer\" header.from=client.example",
        ),
        (
            Permerror,
            None,
            Disposition::None,
            "dmarc=permerror reason=\"DNS gave no answer\" header.from=client.example",
        ),
    ] {
        let evaluation = evaluation(result, policy);
        let field = results_field(
            "x",
            &envelope(""),
            &author(),
            &evidence(),
            Some(&evaluation),
            &decision(disposition),
        );
        assert_eq!(line(&field, 0), format!("x; {expected}"));
    }
}

#[test]
fn authors_that_are_not_one_get_words() {
    let several = vec![DomainName::parse("a.example").unwrap()];
    let too_large = Decision::follow(
        Cause::NotEvaluatedSize,
        None,
        Disposition::None,
        Action::Accept,
    );
    for (author, expected) in [
        (Author::Missing, "dmarc=permerror reason=\"no From field\""),
        (
            Author::Several(several),
            "dmarc=permerror reason=\"several author domains\"",
        ),
        (
            Author::Unparseable("a NUL (octet 3)".to_owned()),
            "dmarc=permerror reason=\"From field unparseable: a NUL (octet 3)\"",
        ),
        (
            author(),
            "dmarc=none reason=\"not evaluated: size\" header.from=client.example",
        ),
    ] {
        let field = results_field("x", &envelope(""), &author, &evidence(), None, &too_large);
        assert_eq!(line(&field, 0), format!("x; {expected}"));
    }
}

#[test]
fn spf_shows_domains_and_literals_only() {
    for (domain, problem, expected) in [
        (
            "B\u{fc}cher.example",
            None,
            "spf=none smtp.helo=xn--bcher-kva.example",
        ),
        ("[192.0.2.1]", None, "spf=none smtp.helo=\"[192.0.2.1]\""),
        (
            "[ipv6:2001:DB8::1]",
            None,
            "spf=none smtp.helo=\"[IPv6:2001:db8::1]\"",
        ),
        (
            "",
            Some("not evaluated: relay"),
            "spf=none reason=\"not evaluated: relay\"",
        ),
        ("x; dmarc=pass", Some("dmarc=pass"), "spf=none"),
        ("[dmarc=pass]", Some("a; b"), "spf=none"),
        ("x\r\nBcc: a", None, "spf=none"),
    ] {
        let mut outcome = spf_outcome(domain, SpfResult::None);
        outcome.grounds.problem = problem.map(str::to_owned);
        let mut field = Field::new("x");
        field.results.push(spf("helo", &outcome));
        assert_eq!(field.to_string(), format!("x; {expected}"));
    }
}

#[test]
fn unsigned_and_oversigned_mail() {
    let mut evidence = DkimEvidence::default();
    let words = |evidence: &DkimEvidence| {
        let results = dkim(evidence);
        Field {
            results,
            ..Field::new("x")
        }
        .to_string()
    };
    assert_eq!(words(&evidence), "x; dkim=none");
    let one = NotTried {
        domain: "a.example".to_owned(),
        selector: "s".to_owned(),
    };
    evidence.not_tried = vec![one; 490];
    assert_eq!(
        words(&evidence),
        "x; dkim=neutral reason=\"490 more signatures, not tried\""
    );
}

#[test]
fn arc_names_the_newest_custodian_of_a_chain_that_passed() {
    let set = |instance, sealer: &str| ArcSet {
        instance,
        sealer: sealer.to_owned(),
        selector: "s".to_owned(),
        results: "dmarc=pass".to_owned(),
    };
    for (result, sealer, reason, expected) in [
        (
            ArcResult::Pass,
            "b.example",
            "",
            "x; arc=pass (i=2 b.example)",
        ),
        (ArcResult::Pass, "b) dmarc=pass (", "", "x; arc=pass"),
        (ArcResult::None, "b.example", "", "x; arc=none"),
        (
            ArcResult::Fail,
            "b.example",
            "ARC-Seal 2: signature did not verify",
            "x; arc=fail reason=\"ARC-Seal 2: signature did not verify\"",
        ),
    ] {
        let mut evidence = evidence();
        evidence.arc = Some(ArcEvidence {
            result,
            sets: vec![set(1, "a.example"), set(2, sealer)],
            reason: reason.to_owned(),
        });
        let (envelope, decision) = (envelope("192.0.2.1"), decision(Disposition::None));
        let field = results_field(
            "mx.example",
            &envelope,
            &author(),
            &evidence,
            None,
            &decision,
        );
        assert_eq!(line(&field, field.results.len() - 1), expected);
    }
}

#[test]
fn iprev_shows_the_client_and_a_confirmed_name() {
    let shown = |client: &str, result, name: &str| {
        let name = Some(name.to_owned());
        let grounds = String::new();
        let outcome = IprevOutcome {
            result,
            name,
            grounds,
        };
        let results = vec![iprev(client.parse::<IpAddr>().unwrap(), &outcome)];
        Field {
            results,
            ..Field::new("x")
        }
        .to_string()
    };
    let pass = IprevResult::Pass;
    assert_eq!(
        shown("2001:db8::1", pass, "a.example"),
        "x; iprev=pass (a.example) policy.iprev=\"2001:db8::1\""
    );
    assert_eq!(
        shown("192.0.2.1", pass, "a) b"),
        "x; iprev=pass policy.iprev=192.0.2.1"
    );
    assert_eq!(
        shown("192.0.2.1", IprevResult::Fail, "a.example"),
        "x; iprev=fail policy.iprev=192.0.2.1"
    );
    let field = results_field(
        "x",
        &envelope(""),
        &author(),
        &evidence(),
        None,
        &decision(Disposition::None),
    );
    assert!(
        !field.to_string().contains("iprev"),
        "no client, nothing to say"
    );
}

proptest! {
    /// Nothing that a sender writes can look like a result of ours, quoted or not.
    #[test]
    fn senders_cannot_write_results(texts in prop::array::uniform9(prop_oneof![
        any::<String>(),
        "(dmarc=pass|;|@|\"|\\\\| |\\.|a|\r\n){0,8}",
        "dmarc=pass@a\\.example",
    ])) {
        let [mail_from, helo, domain, selector, identity, algorithm, b_prefix, name, problem] = texts;
        let mut evidence = evidence();
        evidence.spf.mail_from = SpfOutcome::not_evaluated(mail_from, &problem);
        evidence.spf.helo = SpfOutcome::not_evaluated(helo, &problem);
        evidence.iprev.name = Some(name);
        let identity = Some(identity);
        evidence.dkim.signatures = vec![SignatureOutcome { domain, selector, identity, algorithm, b_prefix, ..signed() }];
        let field = results_field("x", &envelope("192.0.2.1"), &Author::Missing, &evidence, None, &decision(Disposition::None));
        let text = field.to_string();
        prop_assert!(text.is_ascii() && !text.contains("dmarc=pass"), "{text}");
        prop_assert_eq!(text.matches(';').count(), 5);
        prop_assert_eq!(Field::parse(text.as_bytes()), Ok(field.normal_form()));
    }
}
