//! DMARC over DNS as it is: what is asked, what a failing name may and may not decide, and domains
//! that nobody should have.

#[path = "support/evidence.rs"]
mod evidence;
#[path = "support/recording.rs"]
mod recording;

use alignd::auth::dmarc::{DiscoveryMethod, Evaluation, discover, evaluate, gather};
use alignd::dns::{LookupError, master, zone::Zone};
use alignd::domain::DomainName;
use evidence::results;
use recording::Recording;

/// Records for most lines below.
const ZONE: &str = r#"
_dmarc.plain.com.        TXT "v=DMARC1; p=reject; sp=quarantine; np=none"
www.plain.com.           A   192.0.2.1
_dmarc.txt.plain.com.    TXT "google-site-verification=x"
cut.plain.com.           A   192.0.2.1
_dmarc.cut.plain.com.    TXT "v=DMARC1; p=quarantine; psd=n"
_dmarc.twice.plain.com.  TXT "v=DMARC1; p=none"
_dmarc.twice.plain.com.  TXT "v=DMARC1; p=reject"
_dmarc.bare.plain.com.   TXT "v=DMARC1; adkim=s"
_dmarc.strict.com.       TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
_dmarc.half.com.         TXT "v=DMARC1; p=reject; adkim=s"
_dmarc.same.com.         TXT "v=DMARC1; p=reject; sp=none; np=none"
_dmarc.own.com.          TXT "v=DMARC1; p=reject; psd=n"
_dmarc.both.com.         TXT "v=DMARC1; p=none"
_dmarc.both.com.         TXT "v=DMARC1; p=none"
_dmarc.bank.             TXT "v=DMARC1; p=quarantine; sp=reject; np=none; psd=y"
giant.bank.              A   192.0.2.1
_dmarc.mega.bank.        TXT "v=DMARC1; p=none"
_dmarc.loose.            TXT "v=DMARC1; p=reject"
_dmarc.stray.example.    CNAME nowhere.example.
"#;

/// The result, the tag and the policies it selects and applies with their domain, then how each
/// identifier of SPF and of DKIM is aligned.
fn summary(evaluation: &Evaluation) -> String {
    let mut words = vec![evaluation.result.to_string()];
    if let Some(policy) = &evaluation.policy {
        let (tag, selected, domain) = (policy.tag, policy.selected, &policy.domain);
        words.push(format!("{tag}={selected}@{domain}"));
        if policy.applied != selected {
            words.push(format!("applied={}", policy.applied));
        }
    }
    for alignment in [&evaluation.spf, &evaluation.dkim] {
        let identifiers = alignment.identifiers.iter();
        words.extend(identifiers.map(|i| i.alignment.to_string()));
    }
    words.join(" ")
}

/// One line: what is added to the zone, author domain, results, summary, names asked in order.
type Line<'l> = (&'l str, &'l str, &'l str, &'l str, &'l str);

async fn check(method: DiscoveryMethod, lines: &[Line<'_>]) {
    for (more, author, words, expected, asked) in lines {
        let zone = master::parse(&format!("{ZONE}\n{more}")).unwrap();
        let resolver = Recording::new(zone);
        let results = results(words);
        let author = DomainName::parse(author).unwrap();
        let facts = gather(&author, &results.candidates(), method, &resolver).await;
        let evaluation = evaluate(&facts, results.spf.as_ref(), &results.dkim);
        let line = format!("{more} {author} {words}: {}", evaluation.grounds);
        assert_eq!(summary(&evaluation), *expected, "{line}");
        assert_eq!(resolver.asked().join(" "), *asked, "{line}");
    }
}

#[tokio::test]
async fn only_what_decides_is_asked() {
    let lines: &[Line<'_>] = &[
        // Nothing but the author itself: nothing above it is needed.
        (
            "",
            "plain.com",
            "spf=pass:plain.com dkim=pass:plain.com",
            "pass p=reject@plain.com strict strict",
            "_dmarc.plain.com",
        ),
        (
            "",
            "plain.com",
            "spf=pass:esp.net",
            "fail p=reject@plain.com none",
            "_dmarc.plain.com",
        ),
        // One that shares a top-level domain only.
        (
            "",
            "plain.com",
            "spf=pass:esp.com",
            "fail p=reject@plain.com none",
            "_dmarc.plain.com _dmarc.com",
        ),
        // Below the author; asked whether or not it passes in the end.
        (
            "",
            "plain.com",
            "spf=pass:b.plain.com",
            "pass p=reject@plain.com relaxed",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        (
            "",
            "plain.com",
            "spf=fail:b.plain.com",
            "fail p=reject@plain.com",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        // Two with a common parent, and one of them twice.
        (
            "",
            "plain.com",
            "spf=pass:a.x.plain.com dkim=pass:b.x.plain.com dkim=pass:b.x.plain.com",
            "pass p=reject@plain.com relaxed relaxed",
            "_dmarc.plain.com _dmarc.com _dmarc.a.x.plain.com _dmarc.b.x.plain.com _dmarc.x.plain.com",
        ),
        // psd=n ends the walk.
        (
            "",
            "own.com",
            "spf=pass:b.own.com dkim=pass:esp.com",
            "pass p=reject@own.com relaxed none",
            "_dmarc.own.com _dmarc.b.own.com",
        ),
        (
            "",
            "plain.com",
            "dkim=pass:cut.plain.com",
            "fail p=reject@plain.com none",
            "_dmarc.plain.com _dmarc.com _dmarc.cut.plain.com",
        ),
        (
            "",
            "cut.plain.com",
            "dkim=pass:plain.com",
            "fail p=quarantine@cut.plain.com none",
            "_dmarc.cut.plain.com",
        ),
        // Nothing applies: nobody's alignment is of interest.
        (
            "",
            "esp.com",
            "dkim=pass:b.esp.com",
            "none",
            "_dmarc.esp.com _dmarc.com",
        ),
        (
            "",
            "both.com",
            "dkim=pass:b.both.com",
            "none",
            "_dmarc.both.com _dmarc.com",
        ),
        (
            "",
            "bare.plain.com",
            "spf=pass:plain.com",
            "none",
            "_dmarc.bare.plain.com",
        ),
        // np: existence asked once, and only if it decides.
        (
            "",
            "no.plain.com",
            "",
            "fail np=none@plain.com",
            "_dmarc.no.plain.com _dmarc.plain.com _dmarc.com A no.plain.com",
        ),
        (
            "",
            "www.plain.com",
            "",
            "fail sp=quarantine@plain.com",
            "_dmarc.www.plain.com _dmarc.plain.com _dmarc.com A www.plain.com",
        ),
        (
            "",
            "txt.plain.com",
            "",
            "fail sp=quarantine@plain.com",
            "_dmarc.txt.plain.com _dmarc.plain.com _dmarc.com",
        ),
        (
            "",
            "twice.plain.com",
            "",
            "fail sp=quarantine@plain.com",
            "_dmarc.twice.plain.com _dmarc.plain.com _dmarc.com",
        ),
        (
            "",
            "no.same.com",
            "",
            "fail sp=none@same.com",
            "_dmarc.no.same.com _dmarc.same.com _dmarc.com",
        ),
        (
            "",
            "no.plain.com",
            "spf=pass:x.no.plain.com",
            "pass np=none@plain.com relaxed",
            "_dmarc.no.plain.com _dmarc.plain.com _dmarc.com _dmarc.x.no.plain.com A no.plain.com",
        ),
        // Strict policies: walked still, to be able to say that relaxed would have done.
        (
            "",
            "strict.com",
            "spf=pass:b.strict.com",
            "fail p=reject@strict.com relaxed_only",
            "_dmarc.strict.com _dmarc.com _dmarc.b.strict.com",
        ),
        (
            "",
            "half.com",
            "spf=pass:b.half.com dkim=pass:b.half.com",
            "pass p=reject@half.com relaxed relaxed_only",
            "_dmarc.half.com _dmarc.com _dmarc.b.half.com",
        ),
    ];
    check(DiscoveryMethod::TreeWalk, lines).await;
}

#[tokio::test]
async fn failures_decide_nothing_but_temperror() {
    let lines: &[Line<'_>] = &[
        // The policy itself.
        (
            ";servfail _dmarc.plain.com.",
            "plain.com",
            "dkim=pass:plain.com",
            "temperror",
            "_dmarc.plain.com",
        ),
        (
            ";timeout _dmarc.plain.com.",
            "www.plain.com",
            "",
            "temperror",
            "_dmarc.www.plain.com _dmarc.plain.com",
        ),
        (
            ";timeout _dmarc.com.",
            "www.plain.com",
            "",
            "temperror",
            "_dmarc.www.plain.com _dmarc.plain.com _dmarc.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "",
            "fail p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        // What is above the record that both walks pass can't part them.
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:b.plain.com",
            "pass p=reject@plain.com relaxed",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:cut.plain.com",
            "fail p=reject@plain.com none",
            "_dmarc.plain.com _dmarc.com _dmarc.cut.plain.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:esp.com",
            "temperror p=reject@plain.com unknown",
            "_dmarc.plain.com _dmarc.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=fail:esp.com",
            "fail p=reject@plain.com",
            "_dmarc.plain.com _dmarc.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:esp.net dkim=pass:plain.com",
            "pass p=reject@plain.com none strict",
            "_dmarc.plain.com",
        ),
        // The identifier's own walk.
        (
            ";servfail _dmarc.b.plain.com.",
            "plain.com",
            "spf=pass:b.plain.com",
            "temperror p=reject@plain.com unknown",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        (
            ";servfail _dmarc.b.plain.com.",
            "plain.com",
            "spf=pass:b.plain.com dkim=pass:plain.com",
            "pass p=reject@plain.com unknown strict",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        (
            ";servfail _dmarc.b.plain.com.",
            "plain.com",
            "spf=softfail:b.plain.com",
            "fail p=reject@plain.com",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        // Under a strict policy the names differ, whatever DNS would have said.
        (
            ";servfail _dmarc.b.strict.com.",
            "strict.com",
            "spf=pass:b.strict.com",
            "fail p=reject@strict.com none",
            "_dmarc.strict.com _dmarc.com _dmarc.b.strict.com",
        ),
        // The results themselves.
        (
            "",
            "plain.com",
            "spf=temperror:plain.com",
            "temperror p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        (
            "",
            "plain.com",
            "spf=temperror:b.plain.com dkim=fail:plain.com",
            "temperror p=reject@plain.com",
            "_dmarc.plain.com _dmarc.com _dmarc.b.plain.com",
        ),
        (
            "",
            "plain.com",
            "spf=temperror:esp.net dkim=permerror:plain.com",
            "fail p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        (
            "",
            "plain.com",
            "dkim=temperror:plain.com",
            "temperror p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        (
            "",
            "plain.com",
            "dkim=temperror:plain.com dkim=pass:plain.com",
            "pass p=reject@plain.com strict",
            "_dmarc.plain.com",
        ),
        (
            "",
            "strict.com",
            "dkim=temperror:b.strict.com",
            "fail p=reject@strict.com",
            "_dmarc.strict.com _dmarc.com _dmarc.b.strict.com",
        ),
        (
            "",
            "esp.com",
            "spf=temperror:esp.com",
            "none",
            "_dmarc.esp.com _dmarc.com",
        ),
        // Existence.
        (
            ";servfail no.plain.com.",
            "no.plain.com",
            "",
            "temperror",
            "_dmarc.no.plain.com _dmarc.plain.com _dmarc.com A no.plain.com",
        ),
        (
            ";servfail no.plain.com.",
            "no.plain.com",
            "dkim=pass:no.plain.com",
            "pass sp=quarantine@plain.com strict",
            "_dmarc.no.plain.com _dmarc.plain.com _dmarc.com A no.plain.com",
        ),
    ];
    check(DiscoveryMethod::TreeWalk, lines).await;
}

#[tokio::test]
async fn odd_domains_and_records() {
    let lines: &[Line<'_>] = &[
        // A public suffix as author, and names below it.
        (
            "",
            "bank",
            "spf=pass:bank",
            "pass p=quarantine@bank strict",
            "_dmarc.bank",
        ),
        (
            "",
            "bank",
            "spf=pass:giant.bank",
            "fail p=quarantine@bank none",
            "_dmarc.bank _dmarc.giant.bank",
        ),
        (
            "",
            "giant.bank",
            "dkim=pass:bank",
            "fail sp=reject@bank none",
            "_dmarc.giant.bank _dmarc.bank A giant.bank",
        ),
        (
            "",
            "no.bank",
            "",
            "fail np=none@bank",
            "_dmarc.no.bank _dmarc.bank A no.bank",
        ),
        (
            "",
            "mega.bank",
            "",
            "fail p=none@mega.bank",
            "_dmarc.mega.bank",
        ),
        (
            "",
            "a.b.mega.bank",
            "dkim=pass:c.mega.bank",
            "pass p=none@mega.bank relaxed",
            "_dmarc.a.b.mega.bank _dmarc.b.mega.bank _dmarc.mega.bank _dmarc.bank _dmarc.c.mega.bank",
        ),
        // A top-level domain with a record but without psd=y is everybody's organization.
        (
            "",
            "a.loose",
            "spf=pass:b.loose",
            "pass p=reject@loose relaxed",
            "_dmarc.a.loose _dmarc.loose _dmarc.b.loose",
        ),
        (
            "",
            "localhost",
            "spf=pass:localhost",
            "none",
            "_dmarc.localhost",
        ),
        // Names between the author and its organization don't set the policy.
        (
            "_dmarc.m.plain.com. TXT \"v=DMARC1; p=none; sp=none\"",
            "a.m.plain.com",
            "",
            "fail np=none@plain.com",
            "_dmarc.a.m.plain.com _dmarc.m.plain.com _dmarc.plain.com _dmarc.com A a.m.plain.com",
        ),
        // Nor does one that cannot be used pass the word on.
        (
            "_dmarc.z.com. TXT \"v=DMARC1; psd=n\"",
            "a.z.com",
            "",
            "none",
            "_dmarc.a.z.com _dmarc.z.com",
        ),
        // Aliases: NXDOMAIN of the target is NXDOMAIN.
        (
            "",
            "stray.example",
            "",
            "none",
            "_dmarc.stray.example _dmarc.example",
        ),
        (
            "_dmarc.alias.com. CNAME _dmarc.plain.com.",
            "alias.com",
            "",
            "fail p=reject@alias.com",
            "_dmarc.alias.com",
        ),
        // Results that authenticate nothing.
        (
            "",
            "plain.com",
            "dkim=partial:plain.com spf=neutral:plain.com",
            "fail p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        (
            "",
            "plain.com",
            "dkim=pass:not..a..domain spf=pass:",
            "fail p=reject@plain.com",
            "_dmarc.plain.com",
        ),
        (
            "",
            "PLAIN.com",
            "dkim=pass:Plain.COM.",
            "pass p=reject@plain.com strict",
            "_dmarc.plain.com",
        ),
        // Test mode takes one level off.
        (
            "_dmarc.t.net. TXT \"v=DMARC1; p=reject; t=y\"",
            "t.net",
            "",
            "fail p=reject@t.net applied=quarantine",
            "_dmarc.t.net",
        ),
        (
            "_dmarc.t.net. TXT \"v=DMARC1; p=reject; sp=quarantine; t=y\"",
            "a.t.net",
            "",
            "fail sp=quarantine@t.net applied=none",
            "_dmarc.a.t.net _dmarc.t.net _dmarc.net",
        ),
    ];
    check(DiscoveryMethod::TreeWalk, lines).await;
}

#[tokio::test]
async fn by_the_public_suffix_list() {
    let lines: &[Line<'_>] = &[
        (
            "",
            "plain.com",
            "spf=pass:b.plain.com",
            "pass p=reject@plain.com relaxed",
            "_dmarc.plain.com",
        ),
        (
            "",
            "a.b.plain.com",
            "spf=pass:plain.com",
            "pass np=none@plain.com relaxed",
            "_dmarc.a.b.plain.com _dmarc.plain.com A a.b.plain.com",
        ),
        (
            "",
            "www.plain.com",
            "spf=pass:esp.com",
            "fail sp=quarantine@plain.com none",
            "_dmarc.www.plain.com _dmarc.plain.com A www.plain.com",
        ),
        // psd plays no part, nor does what lies between.
        (
            "",
            "cut.plain.com",
            "spf=pass:plain.com",
            "pass p=quarantine@cut.plain.com relaxed",
            "_dmarc.cut.plain.com",
        ),
        (
            "",
            "mail.esp.com",
            "spf=pass:esp.com",
            "none",
            "_dmarc.mail.esp.com _dmarc.esp.com",
        ),
        // RFC 7489 §6.6.3 step 5: several records end the discovery.
        ("", "twice.plain.com", "", "none", "_dmarc.twice.plain.com"),
        // A suffix has no organization above it.
        (
            "_dmarc.co.uk. TXT \"v=DMARC1; p=reject\"",
            "a.co.uk",
            "spf=pass:b.co.uk",
            "none",
            "_dmarc.a.co.uk",
        ),
        (
            "_dmarc.co.uk. TXT \"v=DMARC1; p=reject\"",
            "co.uk",
            "spf=pass:co.uk",
            "pass p=reject@co.uk strict",
            "_dmarc.co.uk",
        ),
        (
            "_dmarc.a.co.uk. TXT \"v=DMARC1; p=reject\"",
            "x.a.co.uk",
            "spf=pass:b.co.uk dkim=pass:y.a.co.uk",
            "pass p=reject@a.co.uk none relaxed",
            "_dmarc.x.a.co.uk _dmarc.a.co.uk",
        ),
        (
            "",
            "strict.com",
            "spf=pass:b.strict.com",
            "fail p=reject@strict.com relaxed_only",
            "_dmarc.strict.com",
        ),
        (
            ";servfail _dmarc.plain.com.",
            "www.plain.com",
            "",
            "temperror",
            "_dmarc.www.plain.com _dmarc.plain.com",
        ),
    ];
    check(DiscoveryMethod::Psl, lines).await;
}

#[tokio::test]
async fn a_name_too_long_for_dns_is_said_to_be() {
    let long = format!("{}plain.com", "a23456789.".repeat(24));
    assert_eq!(long.len(), 249);
    let author = DomainName::parse(&long).unwrap();
    let resolver = Recording::new(master::parse(ZONE).unwrap());
    let facts = gather(&author, &[], DiscoveryMethod::TreeWalk, &resolver).await;
    let results = results("");
    let evaluation = evaluate(&facts, None, &results.dkim);
    assert_eq!(summary(&evaluation), "fail np=none@plain.com");
    let asked = resolver.asked();
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert_eq!(evaluation.discovery.len(), 8);

    let empty = Recording::new(Zone::new());
    let facts = gather(&author, &[], DiscoveryMethod::TreeWalk, &empty).await;
    let evaluation = evaluate(&facts, None, &results.dkim);
    assert!(
        evaluation.grounds.contains("too long"),
        "{}",
        evaluation.grounds
    );
}

#[tokio::test]
async fn grounds_say_why() {
    for (more, author, words, expected) in [
        (
            "",
            "plain.com",
            "dkim=pass:plain.com",
            "DKIM plain.com is the author domain",
        ),
        (
            "",
            "plain.com",
            "spf=pass:b.plain.com",
            "SPF b.plain.com shares the organizational domain plain.com",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:b.plain.com",
            "SPF b.plain.com shares the author's organizational domain",
        ),
        ("", "plain.com", "", "no identifier passed SPF or DKIM"),
        (
            "",
            "plain.com",
            "spf=pass:a.net dkim=pass:b.net",
            "what passed is not aligned: DKIM b.net, SPF a.net",
        ),
        (
            "",
            "strict.com",
            "dkim=pass:b.strict.com",
            "what passed is not aligned: DKIM b.strict.com (the policy asks for the author domain itself)",
        ),
        (
            "",
            "no.plain.com",
            "",
            "no identifier passed SPF or DKIM; no.plain.com does not exist, so np applies",
        ),
        ("", "a.net", "", "no DMARC record applies to a.net"),
        (
            "",
            "both.com",
            "",
            "no DMARC record applies to both.com; _dmarc.both.com: more than one record, all discarded",
        ),
        (
            "",
            "bare.plain.com",
            "",
            "the record at _dmarc.bare.plain.com cannot be used: neither p nor a valid rua: nothing can be applied",
        ),
        (
            ";servfail _dmarc.a.net.",
            "a.net",
            "",
            "_dmarc.a.net: DNS server failure",
        ),
        (
            ";timeout _dmarc.com.",
            "plain.com",
            "spf=pass:esp.com",
            "SPF passed for esp.com, but its alignment is unknown: _dmarc.com: DNS timed out",
        ),
        (
            "",
            "plain.com",
            "spf=temperror:plain.com",
            "SPF of plain.com has no result for want of DNS, and may be aligned",
        ),
        (
            ";servfail no.plain.com.",
            "no.plain.com",
            "",
            "whether no.plain.com exists, which decides between sp and np: DNS server failure",
        ),
    ] {
        let zone = master::parse(&format!("{ZONE}\n{more}")).unwrap();
        let results = results(words);
        let author = DomainName::parse(author).unwrap();
        let method = DiscoveryMethod::TreeWalk;
        let facts = gather(&author, &results.candidates(), method, &zone).await;
        let evaluation = evaluate(&facts, results.spf.as_ref(), &results.dkim);
        assert_eq!(evaluation.grounds, expected);
    }
}

#[tokio::test]
async fn an_identifier_that_was_no_candidate_is_not_guessed_at() {
    let zone = master::parse(ZONE).unwrap();
    let author = DomainName::parse("own.com").unwrap();
    let facts = gather(&author, &[], DiscoveryMethod::TreeWalk, &zone).await;
    let results = results("dkim=pass:b.own.com");
    let evaluation = evaluate(&facts, None, &results.dkim);
    assert_eq!(summary(&evaluation), "temperror p=reject@own.com unknown");
}

#[tokio::test]
async fn discovery_is_shown_whole() {
    let zone = master::parse(&format!("{ZONE}\n;timeout _dmarc.net.")).unwrap();
    let method = DiscoveryMethod::TreeWalk;
    let shown = async |domain: &str| {
        discover::discover(&DomainName::parse(domain).unwrap(), method, &zone).await
    };
    let found = shown("plain.com").await;
    assert_eq!(found.steps.len(), 2);
    assert_eq!(found.organizational_domain.unwrap().as_str(), "plain.com");
    assert_eq!(found.existence, discover::Existence::NotAsked);
    assert_eq!(found.policy.unwrap().unwrap().selected.as_str(), "reject");
    let found = shown("no.plain.com").await;
    assert_eq!(found.existence, discover::Existence::DoesNotExist);
    assert_eq!(found.policy.unwrap().unwrap().tag.as_str(), "np");
    let found = shown("bare.plain.com").await;
    assert_eq!(found.policy, Ok(None));
    let found = shown("a.net").await;
    assert_eq!(found.policy, Err(LookupError::Timeout));
    assert_eq!(found.organizational_domain, Err(LookupError::Timeout));
}

#[test]
fn futures_can_cross_threads() {
    fn is_send<T: Send>(_: &T) {}
    let zone = Zone::new();
    let author = DomainName::parse("plain.com").unwrap();
    let method = DiscoveryMethod::TreeWalk;
    is_send(&gather(&author, &[], method, &zone));
    is_send(&discover::discover(&author, method, &zone));
    is_send(&discover::organizational_domain(&author, method, &zone));
}
