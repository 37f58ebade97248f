//! DMARC over DNS as it is: what is asked, what a failing name may and may not decide, and domains
//! that nobody should have.

#[path = "support/candidates.rs"]
mod candidates;
#[path = "support/evidence.rs"]
mod evidence;
#[path = "support/recording.rs"]
mod recording;

use alignd::auth::dmarc::{DiscoveryMethod, Evaluation, discover, evaluate, gather};
use alignd::dns::{LookupError, master, zone::Zone};
use alignd::domain::DomainName;
use candidates::candidates;
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

/// Checks a table. A row has the author domain, the results, the summary, and the names asked in
/// order: domains for their `_dmarc` names, `A` before one asked for an address. A line with `+` adds
/// to the zone for the row after it.
async fn check(method: DiscoveryMethod, table: &str) {
    let mut more = "";
    for line in table.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("+ ") {
            more = text;
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [author, words, expected, asked] = cells[..] else {
            assert!(line.starts_with('#'), "{line}");
            continue;
        };
        let zone = master::parse(&format!("{ZONE}\n{more}")).unwrap();
        let resolver = Recording::new(zone);
        let results = results(words);
        let author = DomainName::parse(author).unwrap();
        let facts = gather(&author, &candidates(&results), method, &resolver).await;
        let evaluation = evaluate(&facts, results.spf.as_ref(), &results.dkim);
        let why = format!("{more} {line}: {}", evaluation.grounds);
        assert_eq!(summary(&evaluation), expected, "{why}");
        let names = resolver.asked().join(" ").replace("_dmarc.", "");
        assert_eq!(names, asked, "{why}");
        more = "";
    }
}

#[tokio::test]
async fn only_what_decides_is_asked() {
    let table = r#"
# Nothing but the author itself: nothing above it is needed.
plain.com | spf=pass:plain.com dkim=pass:plain.com | pass p=reject@plain.com strict strict | plain.com
plain.com | spf=pass:esp.net | fail p=reject@plain.com none | plain.com
# One that shares a top-level domain only.
plain.com | spf=pass:esp.com | fail p=reject@plain.com none | plain.com com
# Below the author; asked whether or not it passes in the end.
plain.com | spf=pass:b.plain.com | pass p=reject@plain.com relaxed | plain.com com b.plain.com
plain.com | spf=fail:b.plain.com | fail p=reject@plain.com | plain.com com b.plain.com
# Two with a common parent, and one of them twice.
plain.com | spf=pass:a.x.plain.com dkim=pass:b.x.plain.com dkim=pass:b.x.plain.com | pass p=reject@plain.com relaxed relaxed | plain.com com a.x.plain.com b.x.plain.com x.plain.com
# psd=n ends the walk.
own.com | spf=pass:b.own.com dkim=pass:esp.com | pass p=reject@own.com relaxed none | own.com b.own.com
plain.com | dkim=pass:cut.plain.com | fail p=reject@plain.com none | plain.com com cut.plain.com
cut.plain.com | dkim=pass:plain.com | fail p=quarantine@cut.plain.com none | cut.plain.com
# Nothing applies: nobody's alignment is of interest.
esp.com | dkim=pass:b.esp.com | none | esp.com com
both.com | dkim=pass:b.both.com | none | both.com com
bare.plain.com | spf=pass:plain.com | none | bare.plain.com
# np: existence asked once, and only if it decides.
no.plain.com | | fail np=none@plain.com | no.plain.com plain.com com A no.plain.com
www.plain.com | | fail sp=quarantine@plain.com | www.plain.com plain.com com A www.plain.com
txt.plain.com | | fail sp=quarantine@plain.com | txt.plain.com plain.com com
twice.plain.com | | fail sp=quarantine@plain.com | twice.plain.com plain.com com
no.same.com | | fail sp=none@same.com | no.same.com same.com com
no.plain.com | spf=pass:x.no.plain.com | pass np=none@plain.com relaxed | no.plain.com plain.com com x.no.plain.com A no.plain.com
# Strict policies: walked still, to be able to say that relaxed would have done.
strict.com | spf=pass:b.strict.com | fail p=reject@strict.com relaxed_only | strict.com com b.strict.com
half.com | spf=pass:b.half.com dkim=pass:b.half.com | pass p=reject@half.com relaxed relaxed_only | half.com com b.half.com
"#;
    check(DiscoveryMethod::TreeWalk, table).await;
}

#[tokio::test]
async fn failures_decide_nothing_but_temperror() {
    let table = r#"
# The policy itself.
+ ;servfail _dmarc.plain.com.
plain.com | dkim=pass:plain.com | temperror | plain.com
+ ;timeout _dmarc.plain.com.
www.plain.com | | temperror | www.plain.com plain.com
+ ;timeout _dmarc.com.
www.plain.com | | temperror | www.plain.com plain.com com
+ ;timeout _dmarc.com.
plain.com | | fail p=reject@plain.com | plain.com
# What is above the record that both walks pass can't part them.
+ ;timeout _dmarc.com.
plain.com | spf=pass:b.plain.com | pass p=reject@plain.com relaxed | plain.com com b.plain.com
+ ;timeout _dmarc.com.
plain.com | spf=pass:cut.plain.com | fail p=reject@plain.com none | plain.com com cut.plain.com
+ ;timeout _dmarc.com.
plain.com | spf=pass:esp.com | temperror p=reject@plain.com unknown | plain.com com
+ ;timeout _dmarc.com.
plain.com | spf=fail:esp.com | fail p=reject@plain.com | plain.com com
+ ;timeout _dmarc.com.
plain.com | spf=pass:esp.net dkim=pass:plain.com | pass p=reject@plain.com none strict | plain.com
# The identifier's own walk.
+ ;servfail _dmarc.b.plain.com.
plain.com | spf=pass:b.plain.com | temperror p=reject@plain.com unknown | plain.com com b.plain.com
+ ;servfail _dmarc.b.plain.com.
plain.com | spf=pass:b.plain.com dkim=pass:plain.com | pass p=reject@plain.com unknown strict | plain.com com b.plain.com
+ ;servfail _dmarc.b.plain.com.
plain.com | spf=softfail:b.plain.com | fail p=reject@plain.com | plain.com com b.plain.com
# Under a strict policy the names differ, whatever DNS would have said.
+ ;servfail _dmarc.b.strict.com.
strict.com | spf=pass:b.strict.com | fail p=reject@strict.com none | strict.com com b.strict.com
# The results themselves.
plain.com | spf=temperror:plain.com | temperror p=reject@plain.com | plain.com
plain.com | spf=temperror:b.plain.com dkim=fail:plain.com | temperror p=reject@plain.com | plain.com com b.plain.com
plain.com | spf=temperror:esp.net dkim=permerror:plain.com | fail p=reject@plain.com | plain.com
plain.com | dkim=temperror:plain.com | temperror p=reject@plain.com | plain.com
plain.com | dkim=temperror:plain.com dkim=pass:plain.com | pass p=reject@plain.com strict | plain.com
strict.com | dkim=temperror:b.strict.com | fail p=reject@strict.com | strict.com com b.strict.com
esp.com | spf=temperror:esp.com | none | esp.com com
# Existence.
+ ;servfail no.plain.com.
no.plain.com | | temperror | no.plain.com plain.com com A no.plain.com
+ ;servfail no.plain.com.
no.plain.com | dkim=pass:no.plain.com | pass sp=quarantine@plain.com strict | no.plain.com plain.com com A no.plain.com
"#;
    check(DiscoveryMethod::TreeWalk, table).await;
}

#[tokio::test]
async fn odd_domains_and_records() {
    let table = r#"
# A public suffix as author, and names below it.
bank | spf=pass:bank | pass p=quarantine@bank strict | bank
bank | spf=pass:giant.bank | fail p=quarantine@bank none | bank giant.bank
giant.bank | dkim=pass:bank | fail sp=reject@bank none | giant.bank bank A giant.bank
no.bank | | fail np=none@bank | no.bank bank A no.bank
mega.bank | | fail p=none@mega.bank | mega.bank
a.b.mega.bank | dkim=pass:c.mega.bank | pass p=none@mega.bank relaxed | a.b.mega.bank b.mega.bank mega.bank bank c.mega.bank
# A top-level domain with a record but without psd=y is everybody's organization.
a.loose | spf=pass:b.loose | pass p=reject@loose relaxed | a.loose loose b.loose
localhost | spf=pass:localhost | none | localhost
# Names between the author and its organization don't set the policy.
+ _dmarc.m.plain.com. TXT "v=DMARC1; p=none; sp=none"
a.m.plain.com | | fail np=none@plain.com | a.m.plain.com m.plain.com plain.com com A a.m.plain.com
# Nor does one that cannot be used pass the word on.
+ _dmarc.z.com. TXT "v=DMARC1; psd=n"
a.z.com | | none | a.z.com z.com
# Aliases: NXDOMAIN of the target is NXDOMAIN.
stray.example | | none | stray.example example
+ _dmarc.alias.com. CNAME _dmarc.plain.com.
alias.com | | fail p=reject@alias.com | alias.com
# Results that authenticate nothing.
plain.com | dkim=partial:plain.com spf=neutral:plain.com | fail p=reject@plain.com | plain.com
plain.com | dkim=pass:not..a..domain spf=pass: | fail p=reject@plain.com | plain.com
PLAIN.com | dkim=pass:Plain.COM. | pass p=reject@plain.com strict | plain.com
# Test mode takes one level off.
+ _dmarc.t.net. TXT "v=DMARC1; p=reject; t=y"
t.net | | fail p=reject@t.net applied=quarantine | t.net
+ _dmarc.t.net. TXT "v=DMARC1; p=reject; sp=quarantine; t=y"
a.t.net | | fail sp=quarantine@t.net applied=none | a.t.net t.net net
"#;
    check(DiscoveryMethod::TreeWalk, table).await;
}

#[tokio::test]
async fn by_the_public_suffix_list() {
    let table = r#"
plain.com | spf=pass:b.plain.com | pass p=reject@plain.com relaxed | plain.com
a.b.plain.com | spf=pass:plain.com | pass np=none@plain.com relaxed | a.b.plain.com plain.com A a.b.plain.com
www.plain.com | spf=pass:esp.com | fail sp=quarantine@plain.com none | www.plain.com plain.com A www.plain.com
# psd plays no part, nor does what lies between.
cut.plain.com | spf=pass:plain.com | pass p=quarantine@cut.plain.com relaxed | cut.plain.com
mail.esp.com | spf=pass:esp.com | none | mail.esp.com esp.com
# RFC 7489 §6.6.3 step 5: several records end the discovery.
twice.plain.com | | none | twice.plain.com
# A suffix has no organization above it.
+ _dmarc.co.uk. TXT "v=DMARC1; p=reject"
a.co.uk | spf=pass:b.co.uk | none | a.co.uk
+ _dmarc.co.uk. TXT "v=DMARC1; p=reject"
co.uk | spf=pass:co.uk | pass p=reject@co.uk strict | co.uk
+ _dmarc.a.co.uk. TXT "v=DMARC1; p=reject"
x.a.co.uk | spf=pass:b.co.uk dkim=pass:y.a.co.uk | pass p=reject@a.co.uk none relaxed | x.a.co.uk a.co.uk
strict.com | spf=pass:b.strict.com | fail p=reject@strict.com relaxed_only | strict.com
+ ;servfail _dmarc.plain.com.
www.plain.com | | temperror | www.plain.com plain.com
"#;
    check(DiscoveryMethod::Psl, table).await;
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
        let facts = gather(&author, &candidates(&results), method, &zone).await;
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
