//! DKIM over public conformance data: each line says what a message's signatures must be worth.
//! Sources and licences: `../shared/spec/suites/README.md`.

#[path = "support/dkim.rs"]
mod dkim;

use alignd::auth::dkim::DkimSettings;
use std::fs;
use std::path::PathBuf;

/// Between the latest `t=` and the earliest `x=` of all these messages.
const NOW: i64 = 1_667_863_000;

/// Names and their key records.
type Records = Vec<(String, String)>;

const PASS: &str = "pass";
const BAD_BODY: &str = "fail: body hash did not verify";
const BAD: &str = "fail: signature did not verify";

fn read(path: &str) -> Vec<u8> {
    let suites = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/suites/dkim");
    fs::read(suites.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_text(path: &str) -> String {
    String::from_utf8(read(path)).expect("UTF-8")
}

/// Judges a file and compares; the body arrives whole and in small pieces.
fn check(file: &[u8], records: &[(String, String)], expected: &[&str], name: &str) {
    let zone = dkim::zone(records.iter().map(|(n, r)| (n.as_str(), r.as_str())));
    let settings = DkimSettings::default();
    for step in [usize::MAX, 1, 7] {
        let evidence = dkim::judge(file, &zone, &settings, NOW, step);
        assert_eq!(
            dkim::lines(&evidence),
            expected,
            "{name} in steps of {step}"
        );
    }
}

/// Reads lines of a name, a separator and a record.
fn records(text: &str, separator: char) -> Records {
    let split = |line: &str| {
        let (name, record) = line.split_once(separator)?;
        Some((name.to_owned(), record.to_owned()))
    };
    text.lines().filter_map(split).collect()
}

#[test]
fn rfc8463() {
    let zone = records(&read_text("rfc8463/dns.txt"), '\t');
    check(
        &read("rfc8463/message.eml"),
        &zone,
        &[PASS, PASS],
        "rfc8463",
    );
    println!("dkim rfc8463: 2 of 2 signatures");
}

#[test]
fn rfc6376() {
    let zone = records(&read_text("rfc6376/dns.txt"), '\t');
    let cases: &[(&str, &[&str])] = &[
        ("a2-signed-verifiable.eml", &[PASS]),
        // As printed: the text lost spaces in print, in the header and in the body.
        (
            "a2-signed.eml",
            &["fail: body hash and signature did not verify"],
        ),
        (
            "a3-verified.eml",
            &["fail: body hash and signature did not verify"],
        ),
    ];
    for (file, expected) in cases {
        check(&read(&format!("rfc6376/{file}")), &zone, expected, file);
    }
    println!("dkim rfc6376: {0} of {0} messages", cases.len());
}

#[test]
fn mail_auth() {
    let cases: &[(&str, &[&str])] = &[
        ("001", &[PASS, PASS]),
        ("002", &[PASS]),
        ("003", &[PASS, PASS]),
        ("004", &[PASS]),
        ("005", &[PASS]),
        ("006", &[PASS]),
    ];
    for (file, expected) in cases {
        let text = read_text(&format!("mail-auth/{file}.txt"));
        let (zone, message) = text.split_once("\n\n").expect("records and a message");
        check(message.as_bytes(), &records(zone, ' '), expected, file);
    }
    println!("dkim mail-auth: {0} of {0} messages", cases.len());
}

#[test]
fn mailauth_ec() {
    let zone: serde_json::Value = serde_json::from_slice(&read("mailauth-ec/dns.json")).unwrap();
    let zone: Records = zone
        .as_object()
        .expect("an object of names")
        .iter()
        .map(|(name, records)| {
            let strings = records["TXT"][0].as_array().expect("strings");
            let strings = strings.iter().filter_map(|s| s.as_str());
            (name.clone(), strings.collect())
        })
        .collect();
    check(
        &read("mailauth-ec/signed.eml"),
        &zone,
        &[PASS, PASS],
        "signed.eml",
    );
    println!("dkim mailauth-ec: 2 of 2 signatures");
}

#[test]
fn dkimpy() {
    let football = |test: &str| {
        vec![
            (
                "test._domainkey.football.example.com".to_owned(),
                test.to_owned(),
            ),
            (
                "brisbane._domainkey.football.example.com".to_owned(),
                "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned(),
            ),
        ]
    };
    let one = |name: &str, record: &str| vec![(name.to_owned(), record.to_owned())];
    let file = |name: &str| read_text(&format!("dkimpy/{name}")).trim_end().to_owned();
    let key = file("test.txt");
    let cases: &[(&str, Records, &[&str])] = &[
        ("rfc6376.signed.msg", football(&key), &[PASS, PASS]),
        ("rfc6376.signed.rsa.msg", football(&key), &[PASS]),
        (
            "rfc6376.signed.rsa.msg",
            football(&file("test2.txt")),
            &[PASS],
        ),
        // dkimpy's test_no_t and test_catch_bad_key.
        ("rfc6376.signed.no_t.msg", football(&key), &[BAD]),
        (
            "rfc6376.signed.msg",
            football("k=rsa; p=MFwwDQYJKoZIhvNAQEBBQADSwAwSAJBANmBe10IgY"),
            &[PASS, "permerror: key syntax error: p= is not base64"],
        ),
        (
            "rfc6376.signed.rsa.msg",
            football(&file("badversion.txt")),
            &["permerror: key syntax error: v= is not DKIM1"],
        ),
        (
            "rfc6376.signed.rsa.msg",
            football(&file("badk.txt")),
            &["permerror: inappropriate key algorithm"],
        ),
        (
            "rfc6376.signed.rsa.msg",
            football(&file("test_tlsrpt.txt")),
            &["permerror: no key for signature: the key is not for email"],
        ),
        // The key lacks its last octet.
        (
            "rfc6376.signed.rsa.msg",
            football(&file("test_bad.txt")),
            &["permerror: key syntax error: p= is no usable key"],
        ),
        (
            "ed25519test2.msg",
            one("sed._domainkey.test.ex", &file("eximtest.dns")),
            &[PASS],
        ),
        (
            "test2.message",
            one("20120113._domainkey.gmail.com", GMAIL),
            &[PASS],
        ),
        (
            "test.message.baddomain",
            one("test._domainkey.legitimate.com", &key),
            &["neutral: signature syntax error in d="],
        ),
        (
            "message.mbox",
            Vec::new(),
            &["permerror: no key for signature"],
        ),
        ("test.message", Vec::new(), &[]),
    ];
    for (message, zone, expected) in cases {
        let octets = read(&format!("dkimpy/{message}"));
        check(&octets, zone, expected, message);
    }
    println!("dkim dkimpy: {0} of {0} messages", cases.len());
}

/// Keys in both encodings: a signature by another key fails, and the size of the key is known.
#[test]
fn dkimpy_keys() {
    let cases = [
        ("1024_testkey_wo_markers.pub.rsa.txt", 1024),
        ("1024_testkey_wo_markers.pub.txt", 1024),
        ("2048_testkey_PKCS8.key.pub.txt", 2048),
        ("2048_testkey_wo_markers.pub.rsa.txt", 2048),
        ("2048_testkey_wo_markers.pub.txt", 2048),
    ];
    for (file, bits) in cases {
        let record = read_text(&format!("dkimpy/{file}"));
        let zone = dkim::zone([("test._domainkey.football.example.com", record.trim_end())]);
        let message = read("dkimpy/rfc6376.signed.rsa.msg");
        let evidence = dkim::judge(&message, &zone, &DkimSettings::default(), NOW, 4096);
        assert_eq!(dkim::lines(&evidence), [BAD], "{file}");
        assert_eq!(
            evidence.signatures[0].grounds.key_bits,
            Some(bits),
            "{file}"
        );
    }
    println!("dkim dkimpy keys: {0} of {0}", cases.len());
}

/// A changed body, in every message that passes.
#[test]
fn changed_bodies_fail() {
    let zone = records(&read_text("rfc8463/dns.txt"), '\t');
    let mut message = read("rfc8463/message.eml");
    let end = message.len();
    message.splice(end - 4..end, *b"!\r\n");
    check(&message, &zone, &[BAD_BODY, BAD_BODY], "rfc8463 changed");
}

/// From dkimpy's own tests.
const GMAIL: &str = "p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1Kd87/UeJjenpabgbFwh\
+eBCsSTrqmwIYYvywlbhbqoo2DymndFkbjOVIPIldNs/m40KF+yzMn1skyoxcTUGCQ\
s8g3FgD2Ap3ZB5DekAo5wMmk4wimDO+U8QzI3SD07y2+07wlNWwIt8svnxgdxGkVbb\
hzY8i+RQ9DpSVpPbF7ykQxtKXkv/ahW3KjViiAH+ghvvIhkx4xYSIc9oSwVmAl5Oct\
MEeWUwg8Istjqz8BZeTWbf41fbNhte7Y+YqZOwq1Sd0DbvYAD9NOZK9vlfuac0598H\
Y+vtSBczUiKERHv1yRbcaQtZFh5wtiRrN04BLUTD21MycBX5jYchHjPY/wIDAQAB";
