//! `alignd config`: settings files that are wrong, each with exactly what is said about it.

use super::golden::golden;
use super::manual::documented;
use super::ran::{Place, alignd};

/// What a settings file of one line in a section is told, without the file's name.
fn check(section: &str, line: &str, expected: &str) {
    let place = Place::new();
    let file = place.write("bad.toml", &format!("[{section}]\n{line}\n"));
    let ran = alignd(&["config", "show", "--config", &file]);
    let told = ran.err.replace(&format!("{file}:"), "");
    assert_eq!((ran.code, told.trim_end()), (2, expected), "{line}");
    assert_eq!(ran.out, "");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_write() {
    for (section, line, expected) in WRONG {
        check(section, line, expected);
    }
}

/// The same of a file with one `[[exception]]`, that begins in its first line.
fn check_exception(lines: &str, expected: &str) {
    let place = Place::new();
    let file = place.write("bad.toml", &format!("[[exception]]\n{lines}\n"));
    let ran = alignd(&["config", "show", "--config", &file]);
    let told = ran.err.replace(&format!("{file}:"), "");
    assert_eq!((ran.code, told.trim_end()), (2, expected), "{lines}");
}

#[test]
fn what_is_wrong_in_a_rule_is_told_too() {
    const A: &str = "author_domain = \"a.example\"";
    const NOTHING: &str = "exception: nothing that it requires can be verified, so anyone could use it: require dkim, \
        spf, reverse_name, network, list_id with list_domain, or arc_sealer (a public suffix or every address \
        verifies nothing); or say unsafe = true";
    for (lines, expected) in [
        ("", "1:1: exception: `author_domain` is missing".to_owned()),
        (A, format!("1:1: {NOTHING}")),
        (&format!("{A}\nrequire = {{ list_id = \"l.example\" }}"), format!("1:1: {NOTHING}")),
        (&format!("{A}\nrequire = {{ dkin = \"l.example\" }}"),
         "3:13: unknown setting `dkin` in [exception.require]; did you mean `dkim`?".to_owned()),
        (&format!("{A}\nrequire = {{ dkim = \"l.example\" }}\nexpire = \"2027-01-01\""),
         "4:1: unknown setting `expire` in [[exception]]; did you mean `expires`?".to_owned()),
        (&format!("{A}\nrequire = {{ dkim = \"l.example\" }}\nexpires = \"soon\""),
         "4:11: exception.expires: expected a day such as \"2027-03-01\" or a moment in UTC, \"2027-03-01T12:00:00Z\", found \"soon\"".to_owned()),
        (&format!("{A}\nrequire = {{ dkim = \"l.example\" }}\nexpires = 2027-03-01T12:00:00"),
         "4:11: exception.expires: expected a day such as \"2027-03-01\" or a moment in UTC, \"2027-03-01T12:00:00Z\", found a date".to_owned()),
        (&format!("{A}\nrequire = {{ dkim_selector = \"s\" }}"),
         "3:11: exception.require: dkim_selector needs dkim, the domain it belongs to".to_owned()),
        (&format!("{A}\nrequire = \"dkim\""),
         "3:11: exception.require: write it in braces, require = { … }".to_owned()),
        (&format!("{A}\nrequire = {{ network = \"192.0.2.7/24\" }}"),
         "3:23: exception.require.network: expected a network such as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.1\", found \"192.0.2.7/24\"; write \"192.0.2.0/24\" for the whole network, \"192.0.2.7\" for the one address".to_owned()),
        (&format!("{A}\nrequire = {{ dkim = \"l.example\" }}\nbecause = \"policy_test_mode\""),
         "4:11: exception.because: expected \"local_policy\", \"mailing_list\", \"trusted_forwarder\" or \"other\", found \"policy_test_mode\"".to_owned()),
        (&format!("{A}\nrequire = {{ dkim = \"l.example\" }}\nrecipients = \"a@b.example\""),
         "4:14: exception.recipients: expected a list in brackets, found \"a@b.example\"; write [\"a@b.example\"]".to_owned()),
        ("[exceptions]", "1:1: exception: `author_domain` is missing\n2:2: unknown section [exceptions]; did you mean [[exception]]?".to_owned()),
        ("[stricter]", "1:1: exception: `author_domain` is missing\n2:1: `stricter` may be there several times: write [[stricter]] on a line of its own above each, its settings below".to_owned()),
        ("[[stricter]]\nauthor_domain = \"*\"\naction = \"defer\"",
         "1:1: exception: `author_domain` is missing\n4:10: stricter.action: expected \"hold\" or \"reject\", found \"defer\"".to_owned()),
    ] {
        check_exception(lines, &expected);
    }
}

/// Section, line, and what is said.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "dns",
        "timeuot = \"5s\"",
        "2:1: unknown setting `timeuot` in [dns]; did you mean `timeout`?",
    ),
    (
        "identity",
        "AuthservID = \"a\"",
        "2:1: unknown setting `AuthservID` in [identity]; did you mean `authserv_id`?",
    ),
    (
        "milter",
        "relays = []",
        "2:1: unknown setting `relays` in [milter]; it belongs into [trust]",
    ),
    (
        "milters",
        "",
        "1:2: unknown section [milters]; did you mean [milter]?",
    ),
    (
        "reports",
        "",
        "1:2: unknown section [reports]; did you mean [report]?",
    ),
    ("backups", "", "1:2: unknown section [backups]"),
    (
        "report",
        "send_window = \"1-5\"",
        "2:15: report.send_window: expected two local times, such as \"01:00-05:00\"",
    ),
    (
        "report",
        "timezone = \"CEST\"",
        "2:12: report.timezone: expected a time zone such as \"Europe/Berlin\" or \"UTC\", found \"CEST\"",
    ),
    (
        "report",
        "skip_domains = [\"a b\"]",
        "2:17: report.skip_domains: expected a domain such as \"example.org\", found \"a b\"",
    ),
    (
        "identity",
        "contact = \"Postmaster <p@a.example>\"",
        "2:11: identity.contact: expected an address such as \"postmaster@example.org\", found \"Postmaster <p@a.example>\"",
    ),
    (
        "dns",
        "timeout = 5",
        "2:11: dns.timeout: expected a duration such as \"5s\", \"2h\" or \"90d\", found 5; write \"5s\" for seconds",
    ),
    (
        "dns",
        "timeout = \"5 s\"",
        "2:11: dns.timeout: expected a duration such as \"5s\", \"2h\" or \"90d\", found \"5 s\"",
    ),
    (
        "dns",
        "timeout = \"2h\"",
        "2:11: dns.timeout: expected a duration from \"100ms\" to \"1m\", found \"2h\"",
    ),
    (
        "dns",
        "servers = [\"ns.example\"]",
        "2:12: dns.servers: expected an address such as \"127.0.0.1\" or \"[::1]:5353\", found \"ns.example\"",
    ),
    (
        "trust",
        "networks = [\"10.0.0.1/8\"]",
        "2:13: trust.networks: expected a network such as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.1\", found \"10.0.0.1/8\"; write \"10.0.0.0/8\" for the whole network, \"10.0.0.1\" for the one address",
    ),
    (
        "trust",
        "networks = [\"::1\", \"10.0.0.0/33\"]",
        "2:20: trust.networks: expected a network such as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.1\", found \"10.0.0.0/33\"; the prefix goes up to 32",
    ),
    (
        "trust",
        "relays = \"192.0.2.1\"",
        "2:10: trust.relays: expected a list in brackets, found \"192.0.2.1\"; write [\"192.0.2.1\"]",
    ),
    (
        "trust",
        "skip_hosts = [\"a b\"]",
        "2:15: trust.skip_hosts: expected a host name, \".domain\", an address or a network, found \"a b\"",
    ),
    (
        "trust",
        "skip_mail_from = [\"@\"]",
        "2:19: trust.skip_mail_from: expected a sender such as \"list@example.org\", a domain, \".domain\" or \"<>\", found \"@\"",
    ),
    (
        "milter",
        "listen = [\"local:/run/x.sock\"]",
        "2:11: milter.listen: expected \"unix:/PATH\" or \"inet:HOST:PORT\", found \"local:/run/x.sock\"; write \"unix:/run/x.sock\"",
    ),
    (
        "milter",
        "listen = [\"unix:/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd/s\"]",
        "2:11: milter.listen: expected a path of at most 107 octets, 98 of them its directory, found \"unix:/dddddddddddddddddddddddddddddddddddddddddddddddddddddd\"",
    ),
    (
        "control",
        "socket = \"/dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd/s\"",
        "2:10: control.socket: expected a path of at most 107 octets, 98 of them its directory, found \"/ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"",
    ),
    (
        "control",
        "socket = \"run/c.sock\"",
        "2:10: control.socket: expected an absolute path, or \"none\", found \"run/c.sock\"",
    ),
    (
        "milter",
        "listen = []",
        "2:10: milter.listen: expected at least one socket, found none",
    ),
    (
        "milter",
        "socket_mode = 660",
        "2:15: milter.socket_mode: expected permission bits in quotes such as \"0660\", found 660",
    ),
    (
        "milter",
        "max_connections = 0",
        "2:19: milter.max_connections: expected a whole number from 1 to 100000, found 0",
    ),
    (
        "milter",
        "max_message_bytes = \"10 MB\"",
        "2:21: milter.max_message_bytes: expected a number of octets such as 10485760 or \"10M\", found \"10 MB\"",
    ),
    (
        "dkim",
        "min_rsa_bits = 512",
        "2:16: dkim.min_rsa_bits: expected a whole number from 1024 to 4096, found 512",
    ),
    (
        "dkim",
        "allow_body_length = \"no\"",
        "2:21: dkim.allow_body_length: expected true or false, found \"no\"",
    ),
    (
        "policy",
        "on_reject = \"rejct\"",
        "2:13: policy.on_reject: expected \"accept\", \"hold\" or \"reject\", found \"rejct\"",
    ),
    (
        "policy",
        "reject_code = \"550\"",
        "2:15: policy.reject_code: expected an enhanced status code such as \"5.7.1\", found \"550\"",
    ),
    (
        "store",
        "path = \"alignd.db\"",
        "2:8: store.path: expected an absolute path, found \"alignd.db\"",
    ),
    (
        "store",
        "keep_messages = \"0\"",
        "2:17: store.keep_messages: expected a duration from \"1d\" to \"3650d\", found \"0\"",
    ),
    (
        "metrics",
        "listen = 9473",
        "2:10: metrics.listen: expected \"none\" or an address with its port such as \"127.0.0.1:9473\", found 9473",
    ),
    (
        "log",
        "level = \"Info\"",
        "2:9: log.level: expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found \"Info\"",
    ),
    (
        "identity",
        "authserv_id = \"mx;evil\"",
        "2:15: identity.authserv_id: expected a name such as \"mx.example.org\", letters, digits, dots, hyphens, found \"mx;evil\"",
    ),
    (
        "dns",
        "timeout = ",
        "2:11: string values must be quoted, expected literal string",
    ),
];

#[test]
fn everything_wrong_is_told_at_once() {
    let place = Place::new();
    let file = place.write(
        "bad.toml",
        "x = 1\n[dns]\ntimeout = 5\n\n[policy]\non_rejct = \"reject\"\n",
    );
    let ran = alignd(&["config", "check", "--config", &file]);
    assert_eq!(ran.code, 2);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.err);
    for (line, place) in lines.iter().zip(["1:1:", "3:11:", "6:1:"]) {
        assert!(line.starts_with(&format!("{file}:{place}")), "{line}");
    }
}

#[test]
fn the_sample_is_the_file_and_changes_nothing() {
    let place = Place::new();
    let sample = alignd(&["config", "sample"]);
    assert_eq!(sample.code, 0);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/alignd.toml.example");
    assert_eq!(sample.out, std::fs::read_to_string(path).unwrap());
    let file = place.write("sample.toml", &sample.out);
    let empty = place.write("empty.toml", "");
    let shown = |file: &str| {
        let out = alignd(&["config", "show", "--config", file]).out;
        out.split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(shown(&file), shown(&empty));
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let place = Place::new();
    let first = place.run(&["config", "show"]).out;
    assert!(
        first.contains("\nauthserv_id = \"mx.example.org\"\n"),
        "{first}"
    );
    assert!(first.contains("\ntimeout = \"5s\"  # default\n"), "{first}");
    let file = place.write("again.toml", &first);
    let again = alignd(&["config", "show", "--config", &file]);
    let plain = |text: &str| {
        text.lines()
            .skip(1)
            .map(|l| l.replace("  # default", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!((again.code, plain(&again.out)), (0, plain(&first)));
}

#[test]
fn the_matrix() {
    let place = Place::new();
    golden(
        "matrix-observe.txt",
        &place.run(&["config", "show", "--matrix"]).out,
    );
    let text = std::fs::read_to_string(place.path("alignd.toml")).unwrap();
    place.write(
        "alignd.toml",
        &format!("{text}[policy]\non_reject = \"reject\"\non_temperror = \"tempfail\"\nmarked_is_quarantine = true\n"),
    );
    let strict = place.run(&["config", "show", "--matrix", "--format", "csv"]);
    golden("matrix-reject.csv", &strict.out);
    let json = place
        .run(&["config", "show", "--matrix", "--format", "json"])
        .json();
    let row = json
        .iter()
        .find(|row| row["cause"] == "fail_reject")
        .unwrap();
    assert_eq!(row["action"], "reject");
    documented(row);
    assert_eq!(row["reason"], "");
    place.write("alignd.toml", &format!("{text}{RULES}"));
    let rules = place.run(&["config", "show", "--matrix", "--format", "csv"]);
    golden("matrix-rules.csv", &rules.out);
    let shown = place.run(&["config", "show"]).out;
    assert!(
        shown.contains("[[stricter]]\nauthor_domain = \"freemail.example\"\naction = \"hold\"\n")
    );
}

const RULES: &str = r#"
[policy]
on_reject = "hold"
on_missing_author = "hold"
[[exception]]
author_domain = "*"
require = { network = ["192.0.2.0/24", "2001:db8::/32"] }
because = "trusted_forwarder"
[[exception]]
author_domain = "bank.example"
require = { list_id = "talk.lists.example", list_domain = "lists.example" }
recipients = ["example.org", "a@example.net"]
because = "mailing_list"
[[exception]]
author_domain = "ended.example"
unsafe = true
expires = 2020-01-01
[[stricter]]
author_domain = "freemail.example"
action = "hold"
"#;

#[test]
fn the_check_passes_good_settings_and_names_bad_ones() {
    let place = Place::new();
    let good = place.run(&["config", "check", "--format", "json"]);
    let errors = |ran: &super::ran::Ran| -> Vec<String> {
        let all = ran.json().into_iter().filter(|f| f["severity"] == "error");
        all.map(|f| f["setting"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((good.code, errors(&good)), (0, Vec::new()), "{}", good.err);
    place.write(
        "alignd.toml",
        "[identity]\nauthserv_id = \"mx.example.org\"\n[milter]\nlisten = [\"unix:{}/none/of/it.sock\"]\n\
         socket_group = \"no-such-group\"\n[trust]\nnetworks = [\"0.0.0.0/0\"]\n[store]\npath = \"{}/alignd.toml\"\n",
    );
    let bad = place.run(&["config", "check", "--user", "nobody", "--format", "json"]);
    documented(&bad.json()[0]);
    let mut found = errors(&bad);
    found.sort();
    found.dedup();
    let expected = [
        "milter.listen",
        "milter.socket_group",
        "store.path",
        "trust.networks",
    ];
    assert_eq!(
        (bad.code, found.as_slice()),
        (2, expected.map(str::to_owned).as_slice())
    );
    let told = place.run(&["config", "check", "--user", "nobody"]);
    assert_eq!(told.code, 2);
    assert!(
        told.out
            .contains("error milter.socket_group, line 5\n  there is no group \"no-such-group\"")
    );
}
