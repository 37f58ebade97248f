//! What our Authentication-Results says about a message: the verdict in RFC 8601's words.
//!
//! Owns the choice of results, properties and words; the grammar is `message::authentication_results`'.
//! Of what a sender wrote only domains, plain local parts and base64 get in, always ASCII: no value
//! can hold `dmarc=pass`, so that even a rule that looks for a piece of text cannot be fooled.
//! RFC 8601 §2.7 (dkim, spf, iprev), RFC 9989 §9.1 and §9.2 (dmarc).

use super::Envelope;
use crate::auth::dkim::{DkimEvidence, SignatureOutcome};
use crate::auth::dmarc::Evaluation;
use crate::auth::iprev::IprevOutcome;
use crate::auth::spf::SpfOutcome;
use crate::auth::{DmarcResult, Evidence, IprevResult, SpfResult};
use crate::domain::DomainName;
use crate::message::authentication_results::{Field, MethodResult};
use crate::message::author::Author;
use crate::policy::{Cause, Decision, Disposition};
use std::net::IpAddr;

/// The whole field. DMARC comes first: that is what rules look for behind the authserv-id.
pub fn results_field(
    authserv_id: &str,
    envelope: &Envelope,
    author: &Author,
    evidence: &Evidence,
    evaluation: Option<&Evaluation>,
    decision: &Decision,
) -> Field {
    let mut field = Field::new(authserv_id);
    field.results.push(dmarc(author, evaluation, decision));
    field.results.push(spf("mailfrom", &evidence.spf.mail_from));
    field.results.push(spf("helo", &evidence.spf.helo));
    field.results.extend(dkim(&evidence.dkim));
    let client = envelope.client.map(|client| client.to_canonical());
    let iprev = client.map(|client| iprev(client, &evidence.iprev));
    field.results.extend(iprev);
    field
}

/// RFC 9989 knows no result for mail without exactly one Author Domain ("DMARC validation is not
/// possible and the process terminates", §5.3.1). `none` would say that no policy was published, which
/// nobody looked for; `permerror` is "an error ... that is unrecoverable", and that it is.
fn dmarc(author: &Author, evaluation: Option<&Evaluation>, decision: &Decision) -> MethodResult {
    let permerror = |why: &str| result("dmarc", DmarcResult::Permerror.as_str()).reason(why);
    match (author, evaluation) {
        (Author::Missing, _) => permerror("no From field"),
        (Author::Several(_), _) => permerror("several author domains"),
        (Author::Unparseable(why), _) => permerror(&format!("From field unparseable: {why}")),
        (Author::One(_), Some(evaluation)) => evaluated(evaluation, decision),
        (Author::One(domain), None) => {
            let why = if decision.cause() == Cause::NotEvaluatedSize {
                "not evaluated: size"
            } else {
                "not evaluated"
            };
            result("dmarc", DmarcResult::None.as_str())
                .reason(why)
                .property("header", "from", domain.as_str())
        }
    }
}

/// `dmarc=fail (p=quarantine dis=none) header.from=example.com`, word for word what OpenDMARC writes and
/// what rules of SpamAssassin, Rspamd and Sieve were made for; the registered property comes behind it.
fn evaluated(evaluation: &Evaluation, decision: &Decision) -> MethodResult {
    let mut dmarc = result("dmarc", evaluation.result.as_str());
    let policy = evaluation.policy.as_ref();
    let published = match (policy, evaluation.result) {
        (Some(policy), _) => Some(policy.selected.as_str()),
        (None, DmarcResult::None) => Some("none"),
        (None, _) => None,
    };
    if let Some(published) = published {
        dmarc = dmarc.comment(format!("p={published} dis={}", disposition(decision)));
    } else if is_plain(&evaluation.grounds) {
        dmarc = dmarc.reason(&evaluation.grounds);
    }
    dmarc = dmarc.property("header", "from", evaluation.author_domain.as_str());
    match policy {
        // RFC 9989 §9.1: the policy "after policy options have been processed".
        Some(policy) => dmarc.property("policy", "dmarc", policy.applied.as_str()),
        None => dmarc,
    }
}

/// OpenDMARC knows three dispositions.
fn disposition(decision: &Decision) -> &'static str {
    match decision.disposition() {
        Disposition::None | Disposition::Pass => Disposition::None.as_str(),
        Disposition::Quarantine => Disposition::Quarantine.as_str(),
        Disposition::Reject => Disposition::Reject.as_str(),
    }
}

/// RFC 8601 §2.7.2: "the 'pvalue' reported ... SHOULD NOT include the local-part or the following '@'".
fn spf(identity: &str, outcome: &SpfOutcome) -> MethodResult {
    let mut spf = result("spf", outcome.result.as_str());
    if matches!(
        outcome.result,
        SpfResult::None | SpfResult::Temperror | SpfResult::Permerror
    ) && let Some(problem) = outcome.grounds.problem.as_deref().filter(|p| is_plain(p))
    {
        spf = spf.reason(problem);
    }
    match shown_domain(&outcome.domain).or_else(|| shown_literal(&outcome.domain)) {
        Some(value) => spf.property("smtp", identity, value),
        None => spf,
    }
}

fn dkim(evidence: &DkimEvidence) -> Vec<MethodResult> {
    let mut results: Vec<_> = evidence.signatures.iter().map(signature).collect();
    if !evidence.not_tried.is_empty() {
        let count = evidence.not_tried.len();
        // RFC 8601 §2.7.1 neutral: "not otherwise able to be processed".
        results
            .push(result("dkim", "neutral").reason(format!("{count} more signatures, not tried")));
    }
    if results.is_empty() {
        results.push(result("dkim", "none"));
    }
    results
}

fn signature(outcome: &SignatureOutcome) -> MethodResult {
    let mut dkim = result("dkim", outcome.result.as_str());
    if let Some(bits) = outcome.grounds.key_bits {
        dkim = dkim.comment(format!("{bits}-bit key"));
    }
    if !outcome.grounds.reason.is_empty() {
        dkim = dkim.reason(&outcome.grounds.reason);
    }
    for (property, value) in [
        ("d", shown_domain(&outcome.domain)),
        ("i", outcome.identity.as_deref().and_then(shown_identity)),
        ("s", shown_domain(&outcome.selector)),
        (
            "a",
            shown(&outcome.algorithm, |b| {
                b.is_ascii_alphanumeric() || b == b'-'
            }),
        ),
        ("b", shown(&outcome.b_prefix, is_base64)),
    ] {
        if let Some(value) = value {
            dkim = dkim.property("header", property, value);
        }
    }
    dkim
}

/// RFC 8601 §2.7.3. The name is shown only where it is confirmed.
fn iprev(client: IpAddr, outcome: &IprevOutcome) -> MethodResult {
    let mut iprev = result("iprev", outcome.result.as_str());
    let name = outcome.name.as_deref().and_then(shown_domain);
    if let (IprevResult::Pass, Some(name)) = (outcome.result, name) {
        iprev = iprev.comment(name);
    }
    iprev.property("policy", "iprev", client.to_string())
}

fn result(method: &str, word: &str) -> MethodResult {
    MethodResult::new(method, word)
}

/// A domain in A-labels; nothing if it is none.
fn shown_domain(text: &str) -> Option<String> {
    DomainName::parse(text)
        .ok()
        .map(|domain| domain.to_string())
}

/// HELO may be an address literal, RFC 5321 §4.1.3.
fn shown_literal(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let (tag, address) = match inside.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => ("IPv6:", address),
        _ => ("", inside),
    };
    let address: IpAddr = address.parse().ok()?;
    Some(format!("[{tag}{address}]"))
}

/// `i=` with its local part if that is a plain one, else `@domain`.
fn shown_identity(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let domain = shown_domain(domain)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let local = shown(local, plain).unwrap_or_default();
    Some(format!("{local}@{domain}"))
}

fn shown(text: &str, fits: impl Fn(u8) -> bool) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(fits);
    fits.then(|| text.to_owned())
}

/// Base64 without its padding, which the first characters of `b=` don't have.
fn is_base64(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"+/".contains(&octet)
}

/// Text that nobody can take for a result: our own wording, perhaps with a sender's domain in it.
fn is_plain(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b" ,.:'_-".contains(&b);
    !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(fits)
}

/// Octets of a local part, algorithm or reason that are worth a place in the header.
const MAX_SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ReversePath;
    use crate::auth::dkim::{DkimGrounds, NotTried};
    use crate::auth::dmarc::{
        Alignment, DiscoveryMethod, Policy, PolicyTag, PublishedPolicy, record,
    };
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
}
