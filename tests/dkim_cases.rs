//! DKIM against crafted mail: one line a case, each a change to a message that passes.
//!
//! What a result must be is argued in `src/auth/dkim/problem.rs`.

#[path = "support/dkim.rs"]
mod dkim;
#[path = "support/dkim_signer.rs"]
mod dkim_signer;

use alignd::auth::dkim::{DkimEvidence, DkimSettings};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, QueryName, TxtRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dkim_signer::SigningKey;
use std::sync::LazyLock;

const NOW: i64 = 1_800_000_000;
const MAIL: &str = "From: Ann <ann@example.org>\r\n\
    To: Bob <bob@example.net>\r\n\
    Subject: A  folded\r\n \tsubject\r\n\
    \r\n\
    Hello,\r\n\r\n  two  words \r\n\r\n\r\n";
const TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=sel;\r\n\t\
    t=1799999999; h=from:to:subject; bh={bh}; b={b}";
const RECORD: &str = "v=DKIM1; k=rsa; p={p}";

static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("rsa"));
static ED25519: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ed25519"));

/// One change to what would pass: the text on the left, which must be there, becomes the right one.
#[derive(Clone, Copy)]
enum Change<'a> {
    /// In the tags, before signing.
    Tags(&'a str, &'a str),
    /// In the mail, before signing.
    Mail(&'a str, &'a str),
    /// In the signed mail.
    Signed(&'a str, &'a str),
    /// The key record, `{p}` being the key.
    Record(&'a str),
    /// A further record at the same name.
    Also(&'a str),
    Ed25519,
}
use Change::{Also, Ed25519, Mail, Record, Signed, Tags};

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text:?}");
    text.replacen(from, to, 1)
}

/// Signs and changes the mail; the zone has its key.
fn craft(changes: &[Change<'_>]) -> (String, Zone) {
    let (mut tags, mut mail) = (TAGS.to_owned(), MAIL.to_owned());
    let (mut key, mut records) = (&*RSA, vec![RECORD]);
    for change in changes {
        match change {
            Tags(from, to) => tags = replaced(&tags, from, to),
            Mail(from, to) => mail = replaced(&mail, from, to),
            Record(record) => records[0] = record,
            Also(record) => records.push(record),
            Ed25519 => {
                key = &ED25519;
                tags = replaced(&tags, "rsa-", "ed25519-");
                records[0] = "v=DKIM1; k=ed25519; p={p}";
            }
            Signed(..) => {}
        }
    }
    let mut signed = String::from_utf8(key.sign(mail.as_bytes(), &tags)).expect("UTF-8");
    for change in changes {
        if let Signed(from, to) = change {
            signed = replaced(&signed, from, to);
        }
    }
    let published = key.record();
    let p = published.split("p=").nth(1).expect("a key");
    let records: Vec<String> = records.iter().map(|r| r.replace("{p}", p)).collect();
    let zone = dkim::zone(
        records
            .iter()
            .map(|r| ("sel._domainkey.example.org", r.as_str())),
    );
    (signed, zone)
}

fn judge(changes: &[Change<'_>], settings: &DkimSettings) -> DkimEvidence {
    let (signed, zone) = craft(changes);
    dkim::judge(signed.as_bytes(), &zone, settings, NOW, 4096)
}

fn check(changes: &[Change<'_>], expected: &str) {
    let evidence = judge(changes, &DkimSettings::default());
    let name = describe(changes);
    assert_eq!(dkim::lines(&evidence), [expected], "{name}");
    let grounds = &evidence.signatures[0].grounds;
    let aligns = expected == "pass" && grounds.unsigned_octets == 0;
    assert_eq!(grounds.may_align, aligns, "{name}");
}

fn describe(changes: &[Change<'_>]) -> String {
    let describe = |change: &Change<'_>| match change {
        Tags(from, to) => format!("tags {from:?} -> {to:?}"),
        Mail(from, to) => format!("mail {from:?} -> {to:?}"),
        Signed(from, to) => format!("signed {from:?} -> {to:?}"),
        Record(record) => format!("record {record:?}"),
        Also(record) => format!("also {record:?}"),
        Ed25519 => "ed25519".to_owned(),
    };
    changes.iter().map(describe).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_passes() {
    for changes in [
        &[][..],
        &[Ed25519],
        &[Tags("relaxed/relaxed", "simple/simple")],
        &[Tags("relaxed/relaxed", "relaxed")],
        &[Tags("c=relaxed/relaxed; ", "")],
        &[Tags("rsa-sha256", "RSA-SHA256")],
        &[Tags("v=1; ", ""), Tags("b={b}", "v=1; b={b}; ")],
        &[Tags("d=example.org", "d=Example.ORG")],
        &[Tags("h=from:to:subject", "h=FROM : tO :\r\n\tsubject")],
        &[Tags(
            "h=from:to:subject",
            "h=from:from:to:to:nothing:subject",
        )],
        &[Tags(
            "h=from:to:subject",
            "h=from:dkim-signature:dkim-signature",
        )],
        &[Tags("s=sel;", "s=sel; q=foo/bar:dns/txt;")],
        &[Tags(
            "s=sel;",
            "s=sel; unknown=x y; z=From:ann@example.org|To:x;",
        )],
        &[Tags("s=sel;", "s=sel; i=ann@example.org;")],
        &[Tags("s=sel;", "s=sel; i=@deep.sub.example.org;")],
        &[Tags("s=sel;", "s=sel; i==22a=20n=22@example.org;")],
        &[Tags("s=sel;", "s=sel; x=1800000000;")],
        &[Tags("s=sel;", "s=sel; x=1799999999999;")],
        &[Tags("t=1799999999", "t=1800000300")],
        &[Tags("s=sel;", "s=sel; x=9999999999999999;")],
        &[Signed("From: Ann", "FROM:  Ann")],
        &[Signed("A  folded\r\n \tsubject", "A folded\r\n subject \t")],
        &[Signed("  two  words \r\n", " two\twords\r\n")],
        &[Signed("\r\n\r\n\r\n", "\r\n")],
        &[Signed("To: Bob", "X-New: added\r\nTo: Bob")],
        &[Record("p={p}")],
        &[Record("k=RSA; h=sha1:sha256; s=email; t=; p={p}; n=note")],
        &[
            Record("h=sha256; s=other:*; t=x:s; p={p}"),
            Tags("s=sel;", "s=sel; i=@example.org;"),
        ],
        &[Record("p = {p} ;")],
        &[Record("v=spf1 -all"), Also(RECORD)],
        &[Record("p="), Also(RECORD)],
    ] {
        check(changes, "pass");
    }
}

#[test]
fn what_was_changed_fails() {
    let intact = |changes: &[Change<'_>]| {
        judge(changes, &DkimSettings::default()).signatures[0]
            .grounds
            .headers_intact
    };
    let footer = [Signed("words \r\n", "words\r\n-- \r\nlist footer\r\n")];
    check(&footer, "fail: body hash did not verify");
    assert!(intact(&footer));
    let subject = [Signed("Subject: A", "Subject: [list] A")];
    check(&subject, "fail: signature did not verify");
    assert!(!intact(&subject));
    let both = [footer[0], subject[0]];
    check(&both, "fail: body hash and signature did not verify");
    assert!(!intact(&both));
    for changes in [
        [
            Tags("h=from", "h=from:from"),
            Signed("From:", "From: x@example.com\r\nFrom:"),
        ],
        [
            Tags("h=from", "h=from:date"),
            Signed("To:", "Date: now\r\nTo:"),
        ],
        [
            Tags("c=relaxed/relaxed", "c=simple"),
            Signed("From: Ann", "from: Ann"),
        ],
        [Signed("t=1799999999", "t=1799999998"), Signed("A  ", "A ")],
        [Ed25519, Signed("To: Bob", "To: Bobby")],
    ] {
        check(&changes, "fail: signature did not verify");
    }
}

#[test]
fn what_cannot_be_read_is_neutral() {
    for (changes, reason) in [
        ([Tags("v=1", "v=2")], "incompatible version"),
        ([Tags("v=1", "v=01")], "incompatible version"),
        ([Signed("v=1;", "v=1;;")], "signature syntax error"),
        ([Signed("v=1;", "v=1; \u{1};")], "signature syntax error"),
        ([Signed("v=1;", "v=1; x;")], "signature syntax error"),
        (
            [Signed("v=1;", "v=1; s=x;")],
            "signature syntax error: a tag occurs twice",
        ),
        ([Tags("rsa-sha256", "rsa-sha512")], "unknown algorithm"),
        ([Tags("rsa-sha256", "rsa")], "unknown algorithm"),
        (
            [Tags("relaxed/relaxed", "nowsp/relaxed")],
            "unknown canonicalization",
        ),
        (
            [Tags("relaxed/relaxed", "relaxed/")],
            "unknown canonicalization",
        ),
        ([Tags("s=sel;", "s=sel; q=http/x;")], "unknown query method"),
        ([Tags("b={b}", "b=AAA")], "signature syntax error in b="),
        ([Tags("b={b}", "b=A*==")], "signature syntax error in b="),
        ([Tags("bh={bh}", "bh=A")], "signature syntax error in bh="),
        (
            [Tags("d=example.org", "d=org")],
            "signature syntax error in d=",
        ),
        (
            [Tags("d=example.org", "d=example.org.")],
            "signature syntax error in d=",
        ),
        (
            [Tags("d=example.org", "d=example..org")],
            "signature syntax error in d=",
        ),
        (
            [Tags("d=example.org", "d=a@example.org")],
            "signature syntax error in d=",
        ),
        ([Tags("s=sel", "s=s el")], "signature syntax error in s="),
        ([Tags("s=sel", "s=*")], "signature syntax error in s="),
        (
            [Tags("h=from:", "h=from::")],
            "signature syntax error in h=",
        ),
        (
            [Tags("h=from:", "h=from:a b:")],
            "signature syntax error in h=",
        ),
        (
            [Tags("s=sel;", "s=sel; l=-1;")],
            "signature syntax error in l=",
        ),
        (
            [Tags("s=sel;", "s=sel; l=;")],
            "signature syntax error in l=",
        ),
        (
            [Tags("s=sel;", "s=sel; i=example.org;")],
            "signature syntax error in i=",
        ),
        (
            [Tags("s=sel;", "s=sel; i=a=2@example.org;")],
            "signature syntax error in i=",
        ),
        (
            [Tags("s=sel;", "s=sel; i=a=0Ab@example.org;")],
            "signature syntax error in i=",
        ),
        (
            [Tags("t=1799999999", "t=now")],
            "signature syntax error in t=",
        ),
        (
            [Tags("s=sel;", "s=sel; x=;")],
            "signature syntax error in x=",
        ),
    ] {
        check(&changes, &format!("neutral: {reason}"));
    }
}

#[test]
fn what_is_wrong_is_permerror() {
    for (changes, reason) in [
        ([Tags("h=from:", "h=sender:")], "From field not signed"),
        (
            [Tags("s=sel;", "s=sel; i=@example.com;")],
            "domain mismatch: i= is not within d=",
        ),
        (
            [Tags("s=sel;", "s=sel; i=@xexample.org;")],
            "domain mismatch: i= is not within d=",
        ),
        (
            [Tags("s=sel;", "s=sel; x=1799999999;")],
            "x= is not after t=",
        ),
        ([Tags("s=sel;", "s=other;")], "no key for signature"),
        (
            [Tags("s=sel;", "s=sel; l=100000;")],
            "l= is larger than the body",
        ),
        (
            [Tags("s=sel;", "s=sel; l=99999999999999999999999;")],
            "l= is larger than the body",
        ),
    ] {
        check(&changes, &format!("permerror: {reason}"));
    }
    for (text, empty, tag) in [
        ("v=1; ", "v=; ", "v"),
        ("a=rsa-sha256; ", "a=; ", "a"),
        ("d=example.org; ", "d=; ", "d"),
        ("s=sel;", "s= ;", "s"),
        ("h=from:to:subject; ", "h=; ", "h"),
        ("bh={bh}; ", "bh=; ", "bh"),
        ("; b={b}", "; b= ", "b"),
    ] {
        let expected = format!("permerror: signature missing required tag {tag}=");
        check(&[Tags(text, "")], &expected);
        check(&[Tags(text, empty)], &expected);
    }
}

#[test]
fn keys_that_do_not_serve() {
    for (record, reason) in [
        (
            "v=DKIM1; k=rsa; h=sha1; p={p}",
            "inappropriate hash algorithm: the key does not allow sha256",
        ),
        (
            "v=DKIM1; h=; p={p}",
            "inappropriate hash algorithm: the key does not allow sha256",
        ),
        (
            "v=DKIM1; s=tlsrpt; p={p}",
            "no key for signature: the key is not for email",
        ),
        ("v=DKIM1; k=ed25519; p={p}", "inappropriate key algorithm"),
        ("v=DKIM1; k=new; p={p}", "inappropriate key algorithm"),
        ("v=DKIM1; p=", "key revoked"),
        ("v=DKIM1; k=ed25519; p= ;", "key revoked"),
        ("k=rsa; v=DKIM1; p={p}", "key syntax error: v= is not first"),
        ("v=DKIM1.0; p={p}", "key syntax error: v= is not DKIM1"),
        ("v=dkim1; p={p}", "key syntax error: v= is not DKIM1"),
        (
            "v=DKIM1; p={p}; p={p}",
            "key syntax error: a tag occurs twice",
        ),
        ("v=DKIM1; k=rsa", "key syntax error: p= is missing"),
        ("v=DKIM1; p=*", "key syntax error: p= is not base64"),
        ("v=DKIM1; p=AAAA", "key syntax error: p= is no usable key"),
        ("v=DKIM1; {p}", "key syntax error: malformed tag list"),
        ("", "key syntax error: malformed tag list"),
        ("v=DKIM1;; p={p}", "key syntax error: malformed tag list"),
    ] {
        check(&[Record(record)], &format!("permerror: {reason}"));
    }
    let strict = [
        Record("v=DKIM1; t=y:s; p={p}"),
        Tags("s=sel;", "s=sel; i=@sub.example.org;"),
    ];
    check(
        &strict,
        "permerror: domain mismatch: the key wants i= and d= to be equal",
    );
    let other = format!("v=DKIM1; p={}", STANDARD.encode([7; 32]));
    check(
        &[Ed25519, Record(&other)],
        "permerror: inappropriate key algorithm",
    );
    let long = format!("v=DKIM1; n={}; p={{p}}", "x".repeat(9000));
    check(
        &[Record(&long)],
        "permerror: key syntax error: the record is too long",
    );
}

#[test]
fn what_policy_refuses() {
    let second = "From: eve@example.com\r\nFrom:";
    for (changes, reason) in [
        (
            [Tags("rsa-sha256", "rsa-sha1")],
            "rsa-sha1 is not acceptable",
        ),
        (
            [Tags("t=1799999999;", "x=1799999699;")],
            "signature expired",
        ),
        (
            [Tags("t=1799999999", "t=1800000301")],
            "signature from the future",
        ),
        (
            [Tags("t=1799999999", "t=1799999999999")],
            "signature from the future",
        ),
        ([Signed("From:", second)], "a From field is not signed"),
        ([Mail("From:", second)], "a From field is not signed"),
    ] {
        check(&changes, &format!("policy: {reason}"));
    }
    let settings = DkimSettings {
        min_rsa_bits: 3072,
        ..DkimSettings::default()
    };
    let evidence = judge(&[], &settings);
    assert_eq!(
        dkim::lines(&evidence),
        ["policy: RSA key of 2048 bits, 3072 required"]
    );
    assert_eq!(evidence.signatures[0].grounds.key_bits, Some(2048));
}

#[test]
fn rsa_keys_of_odd_shape() {
    for (bits, exponent, expected) in [
        (512, 65_537, "policy: RSA key of 512 bits, 1024 required"),
        (1023, 65_537, "policy: RSA key of 1023 bits, 1024 required"),
        (1024, 65_537, "fail: signature did not verify"),
        (1025, 3, "fail: signature did not verify"),
        (8192, 65_537, "fail: signature did not verify"),
        (8193, 65_537, "policy: RSA key of 8193 bits, 8192 allowed"),
        (
            16_384,
            65_537,
            "policy: RSA key of 16384 bits, 8192 allowed",
        ),
        (
            16_385,
            65_537,
            "permerror: key syntax error: p= is no usable key",
        ),
        (2048, 1, "permerror: key syntax error: p= is no usable key"),
        (2048, 2, "permerror: key syntax error: p= is no usable key"),
        (
            2048,
            u64::MAX,
            "permerror: key syntax error: p= is no usable key",
        ),
    ] {
        let record = format!(
            "v=DKIM1; p={}",
            STANDARD.encode(rsa_public_key(bits, exponent))
        );
        check(&[Record(&record)], expected);
    }
}

/// RSAPublicKey (RFC 8017 §A.1.1) with a modulus of all ones.
fn rsa_public_key(bits: usize, exponent: u64) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    let exponent = exponent.to_be_bytes();
    let zeros = exponent.iter().take_while(|b| **b == 0).count();
    let numbers = [
        der(2, &unsigned(&modulus)),
        der(2, &unsigned(&exponent[zeros..])),
    ];
    der(0x30, &numbers.concat())
}

fn unsigned(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
    [sign, number].concat()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head[..], content].concat()
}

#[test]
fn body_length() {
    // Canonical.
    let body = "Hello,\r\n\r\n two words\r\n";
    for (length, unsigned) in [(0, 22), (1, 21), (8, 14), (21, 1), (22, 0)] {
        let tag = format!("s=sel; l={length};");
        let changes = [Tags("s=sel;", &tag)];
        for allow_body_length in [false, true] {
            let settings = DkimSettings {
                allow_body_length,
                ..DkimSettings::default()
            };
            let evidence = judge(&changes, &settings);
            assert_eq!(dkim::lines(&evidence), ["pass"], "{length}");
            let grounds = &evidence.signatures[0].grounds;
            assert_eq!(grounds.unsigned_octets, unsigned, "{length}");
            assert_eq!(
                grounds.may_align,
                allow_body_length || unsigned == 0,
                "{length}"
            );
        }
    }
    assert_eq!(body.len(), 22);
    let grown = [
        Tags("s=sel;", "s=sel; l=22;"),
        Signed("words \r\n", "words\r\nSpam!\r\n"),
    ];
    let evidence = judge(&grown, &DkimSettings::default());
    assert_eq!(evidence.signatures[0].grounds.unsigned_octets, 7);
    assert!(!evidence.signatures[0].grounds.may_align);
    check(
        &[Tags("s=sel;", "s=sel; l=23;")],
        "permerror: l= is larger than the body",
    );
}

#[test]
fn look_ups_that_fail() {
    let (signed, found) = craft(&[]);
    let name = QueryName::parse("sel._domainkey.example.org").expect("a name");
    let mut empty = Zone::new();
    empty.add(&name, ZoneRecord::Empty);
    let mut wildcard = Zone::new();
    let star = QueryName::parse("*.example.org").expect("a name");
    wildcard.add(&star, ZoneRecord::Txt(TxtRecord::from_text("v=spf1 -all")));
    let failing = |error| {
        let mut zone = found.clone();
        zone.fail(&name, error);
        zone
    };
    for (zone, expected) in [
        (
            failing(LookupError::Timeout),
            "temperror: key unavailable: DNS timed out",
        ),
        (
            failing(LookupError::ServerFailure),
            "temperror: key unavailable: DNS server failure",
        ),
        (empty, "permerror: no key for signature"),
        (Zone::new(), "permerror: no key for signature"),
        (wildcard, "permerror: key syntax error: v= is not DKIM1"),
    ] {
        let evidence = dkim::judge(signed.as_bytes(), &zone, &DkimSettings::default(), NOW, 1);
        assert_eq!(dkim::lines(&evidence), [expected]);
    }
}

#[test]
fn grounds_and_names() {
    let changes = [
        Record("v=DKIM1; t=y; p={p}"),
        Tags("s=sel;", "s=SEL; i=ann=40x@Sub.example.org;"),
    ];
    let evidence = judge(&changes, &DkimSettings::default());
    let [outcome] = &evidence.signatures[..] else {
        panic!("one signature")
    };
    assert_eq!(dkim::lines(&evidence), ["pass"]);
    assert_eq!(outcome.domain, "example.org");
    assert_eq!(outcome.selector, "sel");
    assert_eq!(outcome.identity.as_deref(), Some("ann@x@sub.example.org"));
    assert_eq!(outcome.algorithm, "rsa-sha256");
    assert_eq!(outcome.b_prefix.len(), 8);
    assert!(outcome.grounds.testing);
    assert_eq!(outcome.grounds.key_bits, Some(2048));
    let evidence = judge(&[Ed25519], &DkimSettings::default());
    assert_eq!(evidence.signatures[0].grounds.key_bits, Some(256));
    // What can be named of a signature that can't be read is named.
    let broken = judge(&[Signed("v=1;", "v=1;;")], &DkimSettings::default());
    assert_eq!(broken.signatures[0].domain, "example.org");
    assert_eq!(broken.signatures[0].selector, "sel");
}

/// RFC 8616 §5: U-labels may stand in `d=`, `i=` and `s=`; DNS is asked for A-labels.
#[test]
fn u_labels() {
    let tags = TAGS
        .replace("d=example.org", "d=bücher.example; i=ü@post.Bücher.example")
        .replace("s=sel", "s=schlüssel");
    let mail = MAIL.replace("Ann", "Änn");
    let signed = RSA.sign(mail.as_bytes(), &tags);
    let record = RSA.record();
    let name = "xn--schlssel-95a._domainkey.xn--bcher-kva.example";
    let name_is = alignd::domain::DomainName::parse("schlüssel").expect("a label");
    assert_eq!(name_is.as_str(), "xn--schlssel-95a");
    let zone = dkim::zone([(name, record.as_str())]);
    let evidence = dkim::judge(&signed, &zone, &DkimSettings::default(), NOW, 3);
    assert_eq!(dkim::lines(&evidence), ["pass"]);
    let outcome = &evidence.signatures[0];
    assert_eq!(outcome.domain, "xn--bcher-kva.example");
    assert_eq!(
        outcome.identity.as_deref(),
        Some("ü@post.xn--bcher-kva.example")
    );
}
