//! Local rules, from the settings file to the decision: what meets an exception, which rule is chosen,
//! and what the decision then says. One line of words per message, one snippet of settings per rule set.

#[path = "support/evidence.rs"]
mod evidence;

use alignd::auth::arc::{ArcEvidence, ArcResult, ArcSet};
use alignd::auth::dmarc::Policy;
use alignd::auth::iprev::IprevOutcome;
use alignd::auth::spf::SpfOutcome;
use alignd::auth::{Evidence, IprevResult, SpfEvidence};
use alignd::config::Config;
use alignd::domain::DomainName;
use alignd::policy::Decision;
use alignd::policy::decide::{Situation, by_settings, decide};
use alignd::policy::reply::reply;
use alignd::policy::rules::{Facts, Recipients, RuleSet};
use alignd::time::Timestamp;
use proptest::prelude::*;
use std::net::IpAddr;

const NOW: &str = "2026-11-22T12:00:00Z";

/// A message in words: `from=bank.example ip=192.0.2.7 ptr=mx.mta.example list=news.list.example
/// to=a@example.org arc=pass:sealer.example:dmarc=pass` and what `evidence::results` reads.
struct Message {
    author: DomainName,
    client: Option<IpAddr>,
    list_id: Option<String>,
    evidence: Evidence,
    recipients: Recipients,
    now: Timestamp,
}

fn message(words: &str) -> Message {
    let (own, results): (Vec<&str>, Vec<&str>) = words
        .split_whitespace()
        .partition(|word| !word.starts_with("spf=") && !word.starts_with("dkim="));
    let results = evidence::results(&results.join(" "));
    let value = |key: &str| {
        let mut words = own.iter();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let mut recipients = Recipients::default();
    let to = value("to").unwrap_or("anna@example.org");
    to.split(',').for_each(|path| recipients.add(path));
    Message {
        author: DomainName::parse(value("from").unwrap_or("bank.example")).unwrap(),
        client: value("ip").map(|ip| ip.parse().unwrap()),
        list_id: value("list").map(str::to_owned),
        evidence: Evidence {
            spf: SpfEvidence {
                mail_from: results.spf.unwrap_or(SpfOutcome::not_evaluated("", "")),
                helo: SpfOutcome::not_evaluated("", ""),
            },
            dkim: results.dkim,
            iprev: IprevOutcome {
                result: match (value("ptr"), value("unconfirmed")) {
                    (Some(_), None) => IprevResult::Pass,
                    _ => IprevResult::Fail,
                },
                name: value("ptr").or(value("unconfirmed")).map(str::to_owned),
                grounds: String::new(),
            },
            arc: value("arc").map(chain),
        },
        recipients,
        now: Timestamp::parse_rfc3339(value("now").unwrap_or(NOW)).unwrap(),
    }
}

/// `pass:oldest.example:dmarc=pass:newest.example:arc=pass`.
fn chain(text: &str) -> ArcEvidence {
    let mut parts = text.split(':');
    let result = ArcResult::parse(parts.next().unwrap()).unwrap();
    let parts: Vec<&str> = parts.collect();
    let sets = parts.chunks(2).zip(1..);
    ArcEvidence {
        result,
        sets: sets
            .map(|(set, instance)| ArcSet {
                instance,
                sealer: set[0].to_owned(),
                selector: format!("s{instance}"),
                results: format!("{}; {}", set[0], set[1]),
            })
            .collect(),
        reason: String::new(),
    }
}

impl Message {
    fn facts(&self) -> Facts<'_> {
        Facts {
            author: &self.author,
            organizational_domain: None,
            client: self.client,
            list_id: self.list_id.as_deref(),
            evidence: &self.evidence,
            recipients: &self.recipients,
            now: self.now,
        }
    }
}

fn config(text: &str) -> Config {
    let arc = "[arc]\nenabled = true\ntrusted_sealers = [\"sealer.example\", \"second.example\"]\n";
    match Config::parse(&format!("{arc}{text}"), "mx.example.org") {
        Ok((config, _)) => config,
        Err(problems) => panic!("{text}: {problems:#?}"),
    }
}

/// An exception for bank.example with these requirements, and these settings of its own.
fn exception(require: &str, more: &str) -> String {
    format!("[[exception]]\nauthor_domain = \"bank.example\"\nrequire = {{ {require} }}\n{more}\n")
}

fn fails(policy: &str) -> Situation {
    let (selected, applied) = policy.split_once('/').unwrap_or((policy, policy));
    Situation::Fail {
        selected: Policy::parse(selected).unwrap(),
        applied: Policy::parse(applied).unwrap(),
    }
}

fn decided(rules: &RuleSet, words: &str) -> Option<String> {
    let message = message(words);
    let chosen = rules.choose(&message.facts())?;
    let met = chosen
        .met
        .iter()
        .map(|met| format!("{}: {}", met.kind, met.found));
    let met: Vec<String> = met.collect();
    Some(format!(
        "{} [{}]",
        chosen.rule.comment.clone().unwrap_or_default(),
        met.join("; ")
    ))
}

#[test]
fn what_meets_a_requirement() {
    for (require, words, expected) in [
        (
            "dkim = 'list.example'",
            "dkim=pass:list.example",
            "dkim: list.example s=s",
        ),
        ("dkim = 'list.example'", "dkim=fail:list.example", ""),
        ("dkim = 'list.example'", "dkim=temperror:list.example", ""),
        ("dkim = 'list.example'", "dkim=policy:list.example", ""),
        ("dkim = 'list.example'", "dkim=partial:list.example", ""),
        ("dkim = 'list.example'", "dkim=pass:sub.list.example", ""),
        ("dkim = 'list.example'", "spf=pass:list.example", ""),
        (
            "dkim = '.list.example'",
            "dkim=pass:sub.list.example",
            "dkim: sub.list.example s=s",
        ),
        ("dkim = '.list.example'", "dkim=pass:list.example", ""),
        (
            "dkim = 'list.example', dkim_selector = 'S'",
            "dkim=pass:list.example",
            "dkim: list.example s=s",
        ),
        (
            "dkim = 'list.example', dkim_selector = 't'",
            "dkim=pass:list.example",
            "",
        ),
        (
            "dkim = 'list.example'",
            "dkim=fail:list.example dkim=pass:list.example",
            "dkim: list.example s=s",
        ),
        ("spf = 'b.example'", "spf=pass:b.example", "spf: b.example"),
        ("spf = 'b.example'", "spf=softfail:b.example", ""),
        ("spf = 'b.example'", "spf=neutral:b.example", ""),
        ("spf = 'b.example'", "dkim=pass:b.example", ""),
        (
            "reverse_name = 'mta.example'",
            "ptr=mx.mta.example",
            "reverse_name: mx.mta.example",
        ),
        (
            "reverse_name = '.mta.example'",
            "ptr=mx.mta.example",
            "reverse_name: mx.mta.example",
        ),
        ("reverse_name = '.mta.example'", "ptr=mta.example", ""),
        ("reverse_name = 'mta.example'", "ptr=notmta.example", ""),
        (
            "reverse_name = 'mta.example'",
            "unconfirmed=mx.mta.example",
            "",
        ),
        (
            "network = '192.0.2.0/24'",
            "ip=192.0.2.7",
            "network: 192.0.2.7",
        ),
        (
            "network = '192.0.2.0/24'",
            "ip=::ffff:192.0.2.7",
            "network: 192.0.2.7",
        ),
        (
            "network = ['198.51.100.0/24', '2001:db8::/32']",
            "ip=2001:db8::1",
            "network: 2001:db8::1",
        ),
        ("network = '192.0.2.0/24'", "ip=192.0.3.7", ""),
        ("network = '192.0.2.0/24'", "", ""),
        (
            "list_id = 'News.list.example', list_domain = 'list.example'",
            "list=news.list.example dkim=pass:list.example",
            "list_id: news.list.example by list.example",
        ),
        (
            "list_id = 'news.list.example', list_domain = 'list.example'",
            "list=news.list.example spf=pass:b.list.example",
            "list_id: news.list.example by b.list.example",
        ),
        (
            "list_id = 'news.list.example', list_domain = 'list.example'",
            "list=news.list.example dkim=pass:evil.example",
            "",
        ),
        (
            "list_id = 'news.list.example', list_domain = 'list.example'",
            "list=news.list.example",
            "",
        ),
        (
            "list_id = 'news.list.example', list_domain = 'list.example'",
            "dkim=pass:list.example",
            "",
        ),
        (
            "list_id = 'news.list.example', list_domain = 'list.example'",
            "list=new.list.example dkim=pass:list.example",
            "",
        ),
        (
            "arc_sealer = '*'",
            "arc=pass:sealer.example:dmarc=pass",
            "arc_sealer: sealer.example i=1 dmarc=pass",
        ),
        (
            "arc_sealer = 'sealer.example'",
            "arc=pass:sealer.example:dmarc=pass",
            "arc_sealer: sealer.example i=1 dmarc=pass",
        ),
        (
            "arc_sealer = 'second.example'",
            "arc=pass:sealer.example:dmarc=pass:second.example:arc=pass",
            "arc_sealer: sealer.example i=1 dmarc=pass",
        ),
        (
            "arc_sealer = 'second.example'",
            "arc=pass:sealer.example:dmarc=pass",
            "",
        ),
        ("arc_sealer = '*'", "arc=fail:sealer.example:dmarc=pass", ""),
        ("arc_sealer = '*'", "arc=pass:sealer.example:dmarc=fail", ""),
        ("arc_sealer = '*'", "arc=pass:evil.example:dmarc=pass", ""),
        (
            "arc_sealer = 'evil.example'",
            "arc=pass:evil.example:dmarc=pass",
            "",
        ),
        ("arc_sealer = '*'", "", ""),
        (
            "dkim = 'list.example', network = '192.0.2.0/24'",
            "dkim=pass:list.example ip=192.0.2.1",
            "dkim: list.example s=s; network: 192.0.2.1",
        ),
        (
            "dkim = 'list.example', network = '192.0.2.0/24'",
            "dkim=pass:list.example",
            "",
        ),
        (
            "dkim = 'list.example', network = '192.0.2.0/24'",
            "ip=192.0.2.1",
            "",
        ),
    ] {
        let rules = config(&exception(require, "")).rules([]);
        let expected = (!expected.is_empty()).then(|| format!(" [{expected}]"));
        assert_eq!(decided(&rules, words), expected, "{require} {words}");
        let other = format!("from=other.example {words}");
        assert_eq!(decided(&rules, &other), None, "{require} {other}");
    }
}

#[test]
fn recipients() {
    let exception = exception(
        "dkim = 'l.example'",
        "recipients = ['anna@example.org', '.net.example']",
    );
    let stricter =
        "[[stricter]]\nauthor_domain = '*'\naction = 'hold'\nrecipients = ['ceo@example.org']";
    for (text, to, applies) in [
        (&*exception, "anna@example.org", true),
        (&exception, "<Anna@Example.org>", true),
        (&exception, "anna@example.org,x@a.net.example", true),
        (&exception, "anna@example.org,bert@example.org", false),
        (&exception, "bert@example.org,anna@example.org", false),
        (&exception, "x@net.example", false),
        // Nobody can tell whom that is.
        (&exception, "anna@example.org,<root>", false),
        (stricter, "ceo@example.org", true),
        (stricter, "ceo@example.org,bert@example.org", true),
        (stricter, "bert@example.org", false),
        (stricter, "<root>,ceo@example.org", true),
        (stricter, "<\"ceo\"@example.org>", true),
        (stricter, "<\"bert\"@example.org>", false),
        // The MTA may complete it with any domain.
        (stricter, "<ceo>", true),
    ] {
        let rules = config(text).rules([]);
        assert!(rules.names_recipients());
        let words = format!("dkim=pass:l.example to={to}");
        assert_eq!(decided(&rules, &words).is_some(), applies, "{to}");
    }
    let rules = config(&exception).rules([]);
    let mut message = message("dkim=pass:l.example");
    message.recipients = Recipients::default();
    assert!(rules.choose(&message.facts()).is_none(), "no recipients");
    for _ in 0..1_001 {
        message.recipients.add("anna@example.org");
    }
    assert!(
        rules.choose(&message.facts()).is_none(),
        "more than are kept"
    );
    let domain = |text: &str| DomainName::parse(text).unwrap();
    let anna = ["anna@example.org".to_owned()];
    for (addresses, domains, count, applies) in [
        (&anna[..], vec![domain("example.org")], 1, true),
        (&anna[..], vec![domain("example.org")], 2, false),
        (&[], vec![domain("a.net.example")], 2, true),
        (
            &[],
            vec![domain("a.net.example"), domain("example.org")],
            2,
            false,
        ),
        (&[], vec![], 1, false),
    ] {
        message.recipients = Recipients::kept(addresses, &domains, count);
        assert_eq!(
            rules.choose(&message.facts()).is_some(),
            applies,
            "{addresses:?} {domains:?}"
        );
    }
}

#[test]
fn the_most_specific_rule_decides() {
    let require = |author: &str, require: &str, more: &str, name: &str| {
        format!(
            "[[exception]]\nauthor_domain = '{author}'\nrequire = {{ {require} }}\n{more}\ncomment = '{name}'\n"
        )
    };
    let stricter = |author: &str, name: &str| {
        format!("[[stricter]]\nauthor_domain = '{author}'\naction = 'reject'\ncomment = '{name}'\n")
    };
    let (dkim, net) = ("dkim = 'l.example'", "network = '192.0.2.0/24'");
    let both = format!("{dkim}, {net}");
    let to = "recipients = ['example.org']";
    let ended = "expires = '2026-11-22T12:00:00Z'";
    for (rules, expected) in [
        (
            vec![
                require("*", dkim, "", "all"),
                require("bank.example", dkim, "", "domain"),
            ],
            "domain",
        ),
        (
            vec![
                require("*", &both, "", "all"),
                require(".example", dkim, "", "below"),
            ],
            "below",
        ),
        (
            vec![
                require(".example", &both, "", "below"),
                require("bank.example", net, "", "domain"),
            ],
            "domain",
        ),
        (
            vec![
                require("bank.example", dkim, "", "one"),
                require("bank.example", &both, "", "two"),
            ],
            "two",
        ),
        (
            vec![
                require("bank.example", dkim, "", "any"),
                require("bank.example", net, to, "to"),
            ],
            "to",
        ),
        (
            vec![
                require("bank.example", &both, "", "two"),
                require("bank.example", dkim, to, "to"),
            ],
            "two",
        ),
        (
            vec![
                require("bank.example", dkim, "", "first"),
                require("bank.example", net, "", "second"),
            ],
            "first",
        ),
        (
            vec![
                require("bank.example", net, "", "first"),
                require("bank.example", dkim, "", "second"),
            ],
            "first",
        ),
        (
            vec![
                stricter("bank.example", "strict"),
                require("bank.example", dkim, "", "but"),
            ],
            "but",
        ),
        (
            vec![
                stricter("bank.example", "strict"),
                require("*", &both, "", "all"),
            ],
            "strict",
        ),
        (
            vec![stricter("*", "strict"), require("*", dkim, "", "all")],
            "all",
        ),
        (
            vec![
                require("bank.example", dkim, ended, "ended"),
                require("*", dkim, "", "all"),
            ],
            "all",
        ),
        (
            vec![
                require("bank.example", "spf = 'x.example'", "", "unmet"),
                require("*", dkim, "", "all"),
            ],
            "all",
        ),
    ] {
        let rules = config(&rules.concat()).rules([]);
        let chosen = decided(&rules, "dkim=pass:l.example ip=192.0.2.1").unwrap();
        assert_eq!(chosen.split(' ').next(), Some(expected), "{rules:#?}");
    }
}

#[test]
fn a_rule_ends_at_its_second() {
    let rules = config(&exception(
        "dkim = 'l.example'",
        "expires = 2026-11-23T00:00:00Z",
    ))
    .rules([]);
    for (now, applies) in [
        ("2026-11-22T23:59:59.999999Z", true),
        ("2026-11-23T00:00:00Z", false),
        ("2026-11-24T00:00:00Z", false),
    ] {
        let words = format!("dkim=pass:l.example now={now}");
        assert_eq!(decided(&rules, &words).is_some(), applies, "{now}");
    }
}

fn said(decision: &Decision) -> String {
    let reasons = decision.overrides().iter().map(|o| match &o.comment {
        Some(comment) => format!(" {}: {comment}", o.kind),
        None => format!(" {}", o.kind),
    });
    let reasons: String = reasons.collect::<Vec<_>>().join(",");
    let rule = decision
        .rule()
        .map_or("settings", |rule| rule.effect.as_str());
    format!(
        "{} {} by {rule};{reasons}",
        decision.disposition(),
        decision.action()
    )
}

#[test]
fn what_a_rule_makes_of_a_failure() {
    let list = exception(
        "dkim = 'l.example'",
        "because = 'mailing_list'\ncomment = 'ours'\nowner = 'anna'",
    );
    let open = exception("", "unsafe = true");
    let arc = exception("arc_sealer = '*'", "");
    let hold = "[[stricter]]\nauthor_domain = 'bank.example'\naction = 'hold'\n";
    let reject = "[[stricter]]\nauthor_domain = '*'\naction = 'reject'\n";
    const ELSEWISE: &str =
        "none accept by exception; mailing_list: local exception: authenticated in another way";
    for (text, policy, set, expected) in [
        (&*list, "reject", "", ELSEWISE),
        (&list, "reject", "on_reject = 'reject'", ELSEWISE),
        (&list, "reject", "on_reject = 'hold'", ELSEWISE),
        (&list, "reject", "marked_is_quarantine = true", ELSEWISE),
        (&list, "quarantine", "on_quarantine = 'hold'", ELSEWISE),
        (
            &list,
            "none",
            "on_reject = 'reject'",
            "none accept by exception;",
        ),
        (
            &list,
            "quarantine/none",
            "",
            "none accept by exception; policy_test_mode",
        ),
        (
            &list,
            "reject/quarantine",
            "on_quarantine = 'reject'",
            "none accept by exception; policy_test_mode, mailing_list: local exception: authenticated in another way",
        ),
        (
            &open,
            "reject",
            "on_reject = 'reject'",
            "none accept by exception; local_policy: local exception",
        ),
        (
            &arc,
            "reject",
            "on_reject = 'reject'",
            "none accept by exception; local_policy: arc=pass as[1].d=sealer.example as[1].s=s1",
        ),
        (
            hold,
            "none",
            "",
            "quarantine hold by stricter; local_policy: stricter than the published policy",
        ),
        (hold, "quarantine", "", "quarantine hold by stricter;"),
        (
            hold,
            "reject",
            "",
            "quarantine hold by stricter; local_policy: held for review instead of rejected",
        ),
        (
            hold,
            "reject",
            "on_reject = 'reject'",
            "reject reject by settings;",
        ),
        (
            hold,
            "reject",
            "on_reject = 'hold'",
            "quarantine hold by settings; local_policy: held for review instead of rejected",
        ),
        (
            hold,
            "quarantine/none",
            "",
            "quarantine hold by stricter; local_policy: stricter than the published policy",
        ),
        (
            hold,
            "reject",
            "marked_is_quarantine = true",
            "quarantine hold by stricter; local_policy: held for review instead of rejected",
        ),
        (
            reject,
            "none",
            "",
            "reject reject by stricter; local_policy: stricter than the published policy",
        ),
        (
            reject,
            "quarantine",
            "on_quarantine = 'hold'",
            "reject reject by stricter; local_policy: stricter than the published policy",
        ),
        (reject, "reject", "", "reject reject by stricter;"),
        (
            reject,
            "quarantine/none",
            "",
            "reject reject by stricter; policy_test_mode, local_policy: stricter than the published policy",
        ),
    ] {
        let config = config(&format!("[policy]\n{set}\n{text}"));
        let message = message("dkim=pass:l.example arc=pass:sealer.example:dmarc=pass");
        let decision = decide(
            fails(policy),
            Some(&message.facts()),
            &config.policy,
            &config.rules([]),
        );
        assert_eq!(
            said(&decision).trim_end(),
            expected,
            "{text} p={policy} {set}"
        );
    }
}

/// A domain owner who asked for nothing must not be named as the one who refuses.
#[test]
fn a_refusal_says_whose_policy_it_is() {
    let reject = "[[stricter]]\nauthor_domain = '*'\naction = 'reject'\n";
    for (text, policy, expected) in [
        (
            reject,
            "none",
            "Email rejected per local policy: it failed DMARC for bank.example",
        ),
        (
            "[policy]\non_reject = 'reject'\n",
            "reject",
            "Email rejected per DMARC policy for bank.example",
        ),
    ] {
        let config = config(text);
        let message = message("");
        let rules = config.rules([]);
        let decision = decide(
            fails(policy),
            Some(&message.facts()),
            &config.policy,
            &rules,
        );
        let reply = reply(&decision, Some(&message.author), &config.policy);
        assert_eq!(reply.map(|reply| reply.text).as_deref(), Some(expected));
    }
}

/// Every situation but a plain failure.
fn beyond_rules() -> Vec<Situation> {
    let mut all = vec![
        Situation::NoPolicy,
        Situation::Temperror { selected: None },
        Situation::MissingAuthor,
        Situation::MultipleAuthors,
        Situation::UnparseableAuthor,
        Situation::TooLarge,
        Situation::ForgedResults { selected: None },
    ];
    for &selected in Policy::ALL {
        all.extend([
            Situation::Pass { selected },
            Situation::FailBehindRelay {
                selected,
                applied: selected,
            },
            Situation::Temperror {
                selected: Some(selected),
            },
            Situation::ForgedResults {
                selected: Some(selected),
            },
        ]);
    }
    all
}

fn setting() -> impl Strategy<Value = String> {
    let fail = || prop::sample::select(vec!["accept", "hold", "reject"]);
    let temperror = prop::sample::select(vec!["accept", "tempfail"]);
    (
        fail(),
        fail(),
        temperror,
        (fail(), fail(), fail()),
        any::<bool>(),
    )
        .prop_map(
            |(reject, quarantine, temperror, (missing, several, unparseable), marked)| {
                format!(
                    "[policy]\non_reject = '{reject}'\non_quarantine = '{quarantine}'\n\
                 on_temperror = '{temperror}'\non_missing_author = '{missing}'\n\
                 on_multiple_authors = '{several}'\non_unparseable_author = '{unparseable}'\n\
                 marked_is_quarantine = {marked}\n"
                )
            },
        )
}

fn rule() -> impl Strategy<Value = String> {
    let author = prop::sample::select(vec!["*", "bank.example", ".example", "other.example"]);
    let body = prop::sample::select(vec![
        "action = 'hold'",
        "action = 'reject'",
        "require = { dkim = 'l.example' }",
        "require = { dkim = 'l.example', network = '192.0.2.0/24' }",
        "require = { spf = 'b.example' }\nbecause = 'trusted_forwarder'",
        "require = { list_id = 'n.l.example', list_domain = 'l.example' }\nbecause = 'mailing_list'",
        "require = { arc_sealer = '*' }",
        "require = {}\nunsafe = true\nbecause = 'other'",
    ]);
    let to = prop::sample::select(vec![
        "",
        "recipients = ['example.org']",
        "recipients = ['x@example.org']",
    ]);
    (author, body, to).prop_map(|(author, body, to)| {
        let name = if body.starts_with("action") {
            "stricter"
        } else {
            "exception"
        };
        format!("[[{name}]]\nauthor_domain = '{author}'\n{body}\n{to}\n")
    })
}

fn words() -> impl Strategy<Value = String> {
    let words = vec![
        "dkim=pass:l.example",
        "dkim=fail:l.example",
        "spf=pass:b.example",
        "spf=fail:b.example",
        "ip=192.0.2.1",
        "ip=198.51.100.1",
        "list=n.l.example",
        "arc=pass:sealer.example:dmarc=pass",
        "arc=fail:sealer.example:dmarc=pass",
        "to=x@example.org",
        "to=x@example.org,y@other.example",
        "from=bank.example",
        "from=deep.below.example",
    ];
    prop::sample::subsequence(words, 0..=13).prop_map(|words| words.join(" "))
}

proptest! {
    /// RFC 9990 §3.1.6: what is done differs from what is asked exactly where there is a reason. And no
    /// failure is treated in a way that neither the settings nor a rule have in them.
    #[test]
    fn a_departure_has_a_reason_and_nothing_else_has(
        set in setting(), rules in prop::collection::vec(rule(), 0..6), words in words(),
        selected in prop::sample::select(Policy::ALL), applied in prop::sample::select(Policy::ALL),
    ) {
        let config = config(&format!("{set}{}", rules.concat()));
        let message = message(&words);
        let situation = Situation::Fail { selected, applied: applied.min(selected) };
        let rules = config.rules([]);
        let decision = decide(situation, Some(&message.facts()), &config.policy, &rules);
        let done = decision.disposition().as_str();
        let differs = done != selected.as_str() || done != applied.min(selected).as_str();
        prop_assert_eq!(differs, !decision.overrides().is_empty());
        if decision.rule().is_none() {
            prop_assert_eq!(&decision, &by_settings(situation, &config.policy));
        }
        let again = decide(situation, Some(&message.facts()), &config.policy, &rules);
        prop_assert_eq!(decision, again);
    }

    /// To all that is no failure rules do nothing, and least of all is a temperror held.
    #[test]
    fn rules_are_for_failures_alone(
        set in setting(), rules in prop::collection::vec(rule(), 0..6), words in words(),
    ) {
        let config = config(&format!("{set}{}", rules.concat()));
        let message = message(&words);
        for situation in beyond_rules() {
            let decision = decide(situation, Some(&message.facts()), &config.policy, &config.rules([]));
            prop_assert_eq!(&decision, &by_settings(situation, &config.policy));
            if let Situation::Temperror { .. } = situation {
                prop_assert_ne!(decision.action(), alignd::policy::Action::Hold);
            }
        }
    }

    /// The look-up by author and anchor finds what looking at every rule in order would find.
    #[test]
    fn the_index_chooses_as_a_walk_over_all_rules_would(
        rules in prop::collection::vec(rule(), 0..12), words in words(),
    ) {
        let rules = config(&rules.concat()).rules([]);
        let message = message(&words);
        let alone = |keyed: &alignd::policy::rules::KeyedRule| {
            let sealers = ["sealer.example", "second.example"];
            let sealers = sealers.map(|name| DomainName::parse(name).unwrap());
            RuleSet::new([keyed.clone()], sealers.to_vec()).choose(&message.facts()).is_some()
        };
        let walked = rules.rules().iter().find(|keyed| alone(keyed));
        let chosen = rules.choose(&message.facts());
        prop_assert_eq!(chosen.map(|c| c.rule.clone()), walked.map(|k| k.rule.clone()));
    }
}
