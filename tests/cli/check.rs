//! `alignd check`: messages of the suites and RFC 9989's evaluations, whole, from file to header.

use super::dkim_signer::SigningKey;
use super::golden::golden;
use super::manual::documented;
use super::policy::{quoted, zone};
use super::ran::Place;
use serde::Deserialize;
use std::collections::BTreeMap;

const SUITES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/spec/suites/");

/// The message of RFC 8463, with both keys, an SPF record and a policy in DNS.
fn football(place: &Place) {
    let message = std::fs::read_to_string(format!("{SUITES}dkim/rfc8463/message.eml")).unwrap();
    place.write("good.eml", &message);
    place.write("broken.eml", &message.replace("We lost", "We won"));
    let keys = std::fs::read_to_string(format!("{SUITES}dkim/rfc8463/dns.txt")).unwrap();
    let keys = keys.lines().filter_map(|line| line.split_once('\t'));
    let keys = keys.map(|(name, record)| format!("{name}. TXT {}\n", quoted(record)));
    let rest = "\
football.example.com. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"
_dmarc.example.com. TXT \"v=DMARC1; p=reject; rua=mailto:d@example.com\"
mail.football.example.com. A 192.0.2.7
7.2.0.192.in-addr.arpa. PTR mail.football.example.com.
evil.example. TXT \"v=spf1 include:spf.evil.example exp=why.evil.example -all\"
spf.evil.example. TXT \"v=spf1 a:mx.evil.example ~all\"
why.evil.example. TXT \"%{i} is not one of ours\"
;timeout slow.example
";
    place.write("zone", &(keys.collect::<String>() + rest));
}

const GOOD: &[&str] = &[
    "check",
    "{}/good.eml",
    "--ip",
    "192.0.2.7",
    "--helo",
    "mail.football.example.com",
    "--mail-from",
    "joe@football.example.com",
    "--rcpt",
    "suzie@shopping.example.net",
    "--zone",
    "{}/zone",
];
const SPOOF: &[&str] = &[
    "check",
    "{}/broken.eml",
    "--ip",
    "198.51.100.9",
    "--helo",
    "mx.evil.example",
    "--mail-from",
    "<x@evil.example>",
    "--zone",
    "{}/zone",
];

#[test]
fn pages_that_explain() {
    let place = Place::new();
    football(&place);
    for (arguments, code, file) in [(GOOD, 0, "check-pass.txt"), (SPOOF, 1, "check-spoof.txt")] {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{file}");
        golden(file, &ran.out.replace(&place.root(), ""));
    }
}

/// The spoof, from a host that an exception names.
#[test]
fn an_exception_lets_it_through_and_says_so() {
    let place = Place::new();
    football(&place);
    let text = std::fs::read_to_string(place.path("alignd.toml")).unwrap();
    let rules = "[[exception]]\nauthor_domain = \"football.example.com\"\n\
                 require = { network = \"198.51.100.0/24\" }\nbecause = \"trusted_forwarder\"\n";
    for (rules, effect) in [("", "null"), (rules, "\"exception\"")] {
        place.write("alignd.toml", &format!("{text}\n{rules}"));
        let ran = place.run(&[SPOOF, &["--json"]].concat());
        let json = &ran.json()[0];
        let found = json
            .pointer("/rule/effect")
            .unwrap_or(&serde_json::Value::Null);
        assert_eq!(found.to_string(), effect, "{json}");
        documented(json);
    }
}

#[test]
fn one_json_object_with_the_keys_of_the_design() {
    let place = Place::new();
    football(&place);
    let arguments = [SPOOF, &["--json"]].concat();
    let ran = place.run(&arguments);
    assert_eq!(ran.code, 1);
    let json = &ran.json()[0];
    for (pointer, expected) in [
        ("/author_domain", "\"football.example.com\""),
        ("/spf/mailfrom/domain", "\"evil.example\""),
        ("/spf/mailfrom/result", "\"fail\""),
        (
            "/spf/mailfrom/grounds",
            "\"-all in the record of evil.example matched\"",
        ),
        (
            "/spf/mailfrom/explanation",
            "\"198.51.100.9 is not one of ours\"",
        ),
        ("/spf/helo/domain", "\"mx.evil.example\""),
        ("/spf/helo/result", "\"none\""),
        ("/dkim/0/domain", "\"football.example.com\""),
        ("/dkim/0/selector", "\"brisbane\""),
        ("/dkim/0/algorithm", "\"ed25519-sha256\""),
        ("/dkim/0/result", "\"fail\""),
        ("/dkim/1/selector", "\"test\""),
        ("/arc", "null"),
        ("/iprev/result", "\"permerror\""),
        ("/dmarc/result", "\"fail\""),
        ("/dmarc/policy_domain", "\"example.com\""),
        ("/dmarc/discovery_method", "\"treewalk\""),
        ("/dmarc/discovery/0/name", "\"_dmarc.football.example.com\""),
        ("/dmarc/discovery/0/found", "\"nxdomain\""),
        ("/dmarc/discovery/1/found", "\"record\""),
        ("/dmarc/policy", "\"reject\""),
        ("/dmarc/applied", "\"reject\""),
        ("/dmarc/alignment/spf", "false"),
        ("/dmarc/alignment/dkim", "false"),
        ("/dmarc/disposition", "\"none\""),
        ("/dmarc/reasons/0/type", "\"local_policy\""),
        ("/action", "\"accept\""),
    ] {
        let found = json.pointer(pointer).map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(expected), "{pointer}");
    }
    documented(json);
    let header = json["authentication_results"].as_str().unwrap();
    assert!(
        header.starts_with("mx.example.org; dmarc=fail (p=reject dis=none) "),
        "{header}"
    );
}

#[test]
fn exit_codes_and_corners() {
    let place = Place::new();
    football(&place);
    place.write("headless.eml", "no header at all\n");
    place.write("several.eml", "From: a@one.example, b@two.example\n\nx\n");
    place.write("plain.eml", "From: a@one.example\n\nx\n");
    place.write("slow.eml", "From: a@slow.example\n\nx\n");
    place.write("slow.zone", ";timeout _dmarc.slow.example\n");
    for (message, zone, code, says) in [
        (
            "headless.eml",
            "zone",
            1,
            "permerror: the message has no From",
        ),
        (
            "several.eml",
            "zone",
            1,
            "several: one.example, two.example",
        ),
        ("plain.eml", "zone", 0, "\\u{1b}[2J"),
        ("slow.eml", "slow.zone", 3, "DNS timed out"),
    ] {
        let message = format!("{{}}/{message}");
        let zone = format!("{{}}/{zone}");
        let ran = place.run(&[
            "check",
            &message,
            "--ip",
            "::1",
            "--helo",
            "\x1b[2J",
            "--mail-from",
            "<>",
            "--zone",
            &zone,
        ]);
        assert_eq!(ran.code, code, "{message}: {}", ran.err);
        assert!(ran.out.contains(says), "{message}: {}", ran.out);
        assert!(!ran.out.contains('\x1b'), "{message}");
    }
    let ran = place.run(&[
        "check",
        "{}/good.eml",
        "--ip",
        "::1",
        "--mail-from",
        "<>",
        "--rcpt",
        "root",
    ]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (2, "alignd: --rcpt: \"root\" is no address\n")
    );
}

/// What the settings say about size and relays holds for a file as for mail over SMTP.
#[test]
fn settings_decide_as_in_the_milter() {
    let place = Place::new();
    football(&place);
    let message = std::fs::read_to_string(place.path("good.eml")).unwrap();
    let received = "Received: from mail.football.example.com (mail.football.example.com [192.0.2.7])\r\n\
        \tby relay.example (Postfix) with ESMTP id x; Sun, 22 Nov 2026 16:00:00 +0000\r\n";
    place.write("relayed.eml", &format!("{received}{message}"));
    let settings = std::fs::read_to_string(place.path("alignd.toml")).unwrap();
    for (more, file, result, grounds, cause) in [
        (
            "[trust]\nrelays = [\"203.0.113.5\"]",
            "relayed.eml",
            "pass",
            "ip4:192.0.2.0/24 in",
            "pass",
        ),
        (
            "[trust]\nrelays = [\"203.0.113.5\"]",
            "broken.eml",
            "none",
            "relay: ",
            "fail_behind_relay",
        ),
        (
            "[milter]\nmax_message_bytes = 1000",
            "good.eml",
            "none",
            "not evaluated: size",
            "not_evaluated_size",
        ),
    ] {
        let settings = match more.strip_prefix("[milter]") {
            Some(key) => settings.replace("[milter]", &format!("[milter]{key}")),
            None => format!("{settings}{more}\n"),
        };
        place.write("alignd.toml", &settings);
        let file = format!("{{}}/{file}");
        let arguments = [
            "check",
            &file,
            "--ip",
            "203.0.113.5",
            "--helo",
            "relay.example",
            "--mail-from",
            "joe@football.example.com",
            "--zone",
            "{}/zone",
            "--json",
        ];
        let ran = place.run(&arguments);
        let json = &ran.json()[0];
        let spf = &json["spf"]["mailfrom"];
        assert_eq!(
            (&spf["result"], &json["cause"]),
            (&result.into(), &cause.into()),
            "{json}"
        );
        assert!(
            spf["grounds"].as_str().unwrap().starts_with(grounds),
            "{spf}"
        );
    }
}

#[derive(Deserialize)]
struct Suite {
    evaluate: Vec<Case>,
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
struct Expectation {
    result: String,
    spf_aligned: Option<bool>,
    dkim_aligned: Option<bool>,
    policy_domain: Option<String>,
    policy: Option<String>,
    applied: Option<String>,
}

/// The facts of a case made real: mail signed with a key of ours, SPF records that give the results.
#[test]
fn the_evaluations_of_the_rfc_as_real_mail() {
    let text = std::fs::read_to_string(format!("{SUITES}dmarc/rfc9989-examples.yml")).unwrap();
    let suite: Suite = serde_yaml_ng::from_str(&text).unwrap();
    let key = SigningKey::generate("ed25519");
    let place = Place::new();
    let mut agree = 0;
    for case in &suite.evaluate {
        let zone = case_zone(case, &key);
        place.write("case.zone", &zone);
        std::fs::write(place.path("case.eml"), case_message(case, &key)).unwrap();
        let sender = match case.spf.1.as_str() {
            "" => "<>".to_owned(),
            domain => format!("a@{domain}"),
        };
        let ran = place.run(&[
            "check",
            "{}/case.eml",
            "--ip",
            "192.0.2.1",
            "--mail-from",
            &sender,
            "--zone",
            "{}/case.zone",
            "--json",
        ]);
        let dmarc = &ran.json()[0]["dmarc"];
        let expect = &case.expect;
        let right = dmarc["result"] == expect.result.as_str()
            && is(&dmarc["policy_domain"], expect.policy_domain.as_deref())
            && is(&dmarc["policy"], expect.policy.as_deref())
            && is(&dmarc["applied"], expect.applied.as_deref())
            && expect
                .spf_aligned
                .is_none_or(|aligned| dmarc["alignment"]["spf"] == aligned)
            && expect
                .dkim_aligned
                .is_none_or(|aligned| dmarc["alignment"]["dkim"] == aligned);
        if right {
            agree += 1;
        } else {
            println!("{}: {}\n{zone}", case.id, ran.out);
        }
    }
    println!(
        "rfc9989 evaluations by alignd check: {agree} of {} agree",
        suite.evaluate.len()
    );
    assert_eq!((agree, suite.evaluate.len()), (27, 27));
}

fn is(found: &serde_json::Value, expected: Option<&str>) -> bool {
    expected.is_none_or(|expected| found == expected)
}

fn case_zone(case: &Case, key: &SigningKey) -> String {
    let mut text = zone(&case.dns);
    for (name, records) in &case.dns_strings {
        for strings in records {
            let strings: Vec<String> = strings.iter().map(|s| format!("\"{s}\"")).collect();
            text.push_str(&format!("{name}. TXT {}\n", strings.join(" ")));
        }
    }
    let spf = match case.spf.0.as_str() {
        "pass" => Some("v=spf1 ip4:192.0.2.1 -all"),
        "fail" => Some("v=spf1 -all"),
        _ => None,
    };
    if let Some(record) = spf {
        text.push_str(&format!("{}. TXT {}\n", case.spf.1, quoted(record)));
    }
    for (_, domain) in &case.dkim {
        let record = quoted(&key.record());
        text.push_str(&format!("sel._domainkey.{domain}. TXT {record}\n"));
    }
    text
}

fn case_message(case: &Case, key: &SigningKey) -> Vec<u8> {
    let message = format!(
        "From: someone@{}\r\nSubject: {}\r\n\r\nx\r\n",
        case.author, case.id
    );
    let mut message = message.into_bytes();
    for (_, domain) in &case.dkim {
        let tags = format!(
            "v=1; a=ed25519-sha256; c=relaxed/relaxed; d={domain}; s=sel; h=From:Subject; bh={{bh}}; b={{b}}"
        );
        message = key.sign(&message, &tags);
    }
    message
}
