//! DKIM against crafted mail: the table `tests/cases/dkim.jsonl`, and what a line cannot say.

#[path = "support/dkim.rs"]
mod dkim;
#[path = "support/dkim_cases.rs"]
mod dkim_cases;
#[path = "support/dkim_signer.rs"]
mod dkim_signer;

use alignd::auth::dkim::{DkimEvidence, DkimSettings, SignatureOutcome};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, QueryName, TxtRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dkim_cases::{Case, NAME, NOW};
use dkim_signer::SigningKey;

fn zone(case: &Case) -> Zone {
    dkim::zone(case.records.iter().map(|record| (NAME, record.as_str())))
}

fn judge_with(case: &Case, settings: &DkimSettings) -> DkimEvidence {
    dkim::judge(case.mail.as_bytes(), &zone(case), settings, NOW, 4096)
}

/// Judges a line of the table's form.
fn judge(line: &str) -> DkimEvidence {
    judge_with(&dkim_cases::read(line), &DkimSettings::default())
}

fn only(evidence: &DkimEvidence) -> &SignatureOutcome {
    let [outcome] = &evidence.signatures[..] else {
        panic!("one signature: {evidence:?}")
    };
    outcome
}

#[test]
fn the_table() {
    let cases = dkim_cases::all();
    for case in &cases {
        let evidence = judge_with(case, &DkimSettings::default());
        assert_eq!(
            dkim::lines(&evidence),
            [case.expected.as_str()],
            "{}",
            case.name
        );
        let may_align = only(&evidence).grounds.may_align;
        assert_eq!(may_align, case.expected == "pass", "{}", case.name);
    }
    println!("dkim crafted: {0} of {0} as the table says", cases.len());
}

#[test]
fn an_intact_header_shows_what_a_list_changed() {
    for (change, intact) in [
        (
            r#"["signed", "words \r\n", "words\r\n-- \r\nlist footer\r\n"]"#,
            true,
        ),
        (r#"["signed", "Subject: A", "Subject: [list] A"]"#, false),
        (
            r#"["signed", "Subject: A", "Subject: B"], ["signed", "Hello", "Jello"]"#,
            false,
        ),
        // One octet more than l= covers was taken away.
        (
            r#"["tags", "s=sel;", "s=sel; l=22;"], ["signed", "words ", "word "]"#,
            false,
        ),
    ] {
        let evidence = judge(&format!(r#"["fail", "", {change}]"#));
        assert_eq!(only(&evidence).grounds.headers_intact, intact, "{change}");
    }
}

#[test]
fn times_have_five_minutes_of_drift() {
    for (tag, expected) in [
        ("x=1699999700", "pass"),
        ("x=1699999699", "policy: signature expired"),
        ("t=1700000300", "pass"),
        ("t=1700000301", "policy: signature from the future"),
        ("t=1699999998; x=1699999999", "pass"),
    ] {
        let evidence = judge(&format!(r#"["", "", ["tags", "t=1699999999", "{tag}"]]"#));
        assert_eq!(dkim::lines(&evidence), [expected], "{tag}");
    }
}

#[test]
fn rsa_keys_of_every_shape() {
    let unusable = "permerror: key syntax error: p= is no usable key";
    let bad = "fail: signature did not verify";
    for (bits, exponent, expected) in [
        (512, 65_537, "policy: RSA key of 512 bits, 1024 required"),
        (1023, 65_537, "policy: RSA key of 1023 bits, 1024 required"),
        (1024, 65_537, bad),
        (1025, 3, bad),
        (8192, 65_537, bad),
        (8193, 65_537, "policy: RSA key of 8193 bits, 8192 allowed"),
        (
            16_384,
            65_537,
            "policy: RSA key of 16384 bits, 8192 allowed",
        ),
        (16_385, 65_537, unusable),
        (2048, 1, unusable),
        (2048, 2, unusable),
        (2048, u64::MAX, unusable),
    ] {
        let key = STANDARD.encode(rsa_public_key(bits, exponent));
        let evidence = judge(&format!(r#"["", "", ["record", "v=DKIM1; p={key}"]]"#));
        assert_eq!(dkim::lines(&evidence), [expected]);
        let known = (expected != unusable).then_some(bits as u32);
        assert_eq!(only(&evidence).grounds.key_bits, known);
    }
    let unchanged = dkim_cases::read(r#"["", ""]"#);
    for (min_rsa_bits, expected) in [
        (3072, "policy: RSA key of 2048 bits, 3072 required"),
        (2048, "pass"),
        (0, "pass"),
    ] {
        let settings = DkimSettings {
            min_rsa_bits,
            ..DkimSettings::default()
        };
        assert_eq!(dkim::lines(&judge_with(&unchanged, &settings)), [expected]);
    }
    let short = STANDARD.encode(rsa_public_key(1000, 65_537));
    let short = dkim_cases::read(&format!(r#"["", "", ["record", "p={short}"]]"#));
    let settings = DkimSettings {
        min_rsa_bits: 0,
        ..DkimSettings::default()
    };
    let expected = "policy: RSA key of 1000 bits, 1024 required";
    assert_eq!(dkim::lines(&judge_with(&short, &settings)), [expected]);
}

/// RSAPublicKey (RFC 8017 §A.1.1) with a modulus of all ones.
fn rsa_public_key(bits: usize, exponent: u64) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    let exponent = exponent.to_be_bytes();
    let zeros = exponent.iter().take_while(|b| **b == 0).count();
    let numbers = [unsigned(&modulus), unsigned(&exponent[zeros..])];
    der(0x30, &numbers.map(|number| der(2, &number)).concat())
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
fn keys_of_other_sizes() {
    let raw = STANDARD.encode([7; 31]);
    let der = STANDARD.encode([7; 44]);
    for key in [raw, der] {
        let change = format!(r#"["record", "k=ed25519; p={key}"]"#);
        let evidence = judge(&format!(r#"["", "", ["ed25519"], {change}]"#));
        let expected = "permerror: key syntax error: p= is no usable key";
        assert_eq!(dkim::lines(&evidence), [expected]);
    }
    let note = "x".repeat(9000);
    let evidence = judge(&format!(
        r#"["", "", ["record", "v=DKIM1; n={note}; p={{p}}"]]"#
    ));
    let expected = "permerror: key syntax error: the record is too long";
    assert_eq!(dkim::lines(&evidence), [expected]);
}

#[test]
fn body_length() {
    // The canonical body: "Hello,\r\n\r\n two words\r\n", 22 octets.
    for (length, grown, unsigned) in [
        (0, false, 22),
        (1, false, 21),
        (8, false, 14),
        (21, false, 1),
        (22, false, 0),
        (22, true, 7),
    ] {
        let mut line = format!(r#"["", "", ["tags", "s=sel;", "s=sel; l={length};"]"#);
        if grown {
            line.push_str(r#", ["signed", "words \r\n", "words\r\nSpam!\r\n"]"#);
        }
        let case = dkim_cases::read(&(line + "]"));
        for allow_body_length in [false, true] {
            let settings = DkimSettings {
                allow_body_length,
                ..DkimSettings::default()
            };
            let evidence = judge_with(&case, &settings);
            assert_eq!(dkim::lines(&evidence), ["pass"], "{length}");
            let grounds = &only(&evidence).grounds;
            assert_eq!(grounds.unsigned_octets, unsigned, "{length}");
            let expected = allow_body_length || unsigned == 0;
            assert_eq!(grounds.may_align, expected, "{length}");
        }
    }
}

#[test]
fn look_ups_that_fail() {
    let case = dkim_cases::read(r#"["", ""]"#);
    let name = QueryName::parse(NAME).expect("a name");
    let mut empty = Zone::new();
    empty.add(&name, ZoneRecord::Empty);
    let mut wildcard = Zone::new();
    let star = QueryName::parse("*.example.org").expect("a name");
    let policy = TxtRecord::from_text("v=spf1 -all");
    wildcard.add(&star, ZoneRecord::Txt(policy));
    let failing = |error| {
        let mut zone = zone(&case);
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
        let settings = DkimSettings::default();
        let evidence = dkim::judge(case.mail.as_bytes(), &zone, &settings, NOW, 1);
        assert_eq!(dkim::lines(&evidence), [expected]);
    }
    // A body that no key can make right again is no question of time.
    let changed = format!("{}more\r\n", case.mail);
    let zone = failing(LookupError::Timeout);
    let evidence = dkim::judge(changed.as_bytes(), &zone, &DkimSettings::default(), NOW, 1);
    assert_eq!(dkim::lines(&evidence), ["fail: body hash did not verify"]);
    assert!(!only(&evidence).grounds.headers_intact);
}

#[test]
fn grounds_and_names() {
    let evidence = judge(
        r#"["", "", ["record", "v=DKIM1; t=y; p={p}"],
            ["tags", "s=sel;", "s=SEL; i=ann=40x@Sub.example.org;"]]"#,
    );
    let outcome = only(&evidence);
    assert_eq!(dkim::lines(&evidence), ["pass"]);
    assert_eq!(outcome.domain, "example.org");
    assert_eq!(outcome.selector, "sel");
    assert_eq!(outcome.identity.as_deref(), Some("ann@x@sub.example.org"));
    assert_eq!(outcome.algorithm, "rsa-sha256");
    assert_eq!(outcome.b_prefix.len(), 8);
    assert!(outcome.grounds.testing);
    assert_eq!(outcome.grounds.key_bits, Some(2048));
    let ed25519 = judge(r#"["", "", ["ed25519"]]"#);
    assert_eq!(only(&ed25519).grounds.key_bits, Some(256));
    // What can be named of a signature that can't be read is named.
    let broken = judge(r#"["", "", ["signed", "v=1;", "v=1;;"]]"#);
    assert_eq!(only(&broken).domain, "example.org");
    assert_eq!(only(&broken).selector, "sel");
    // Without what would be a line of its own in a header or a log.
    let folded = judge(r#"["", "", ["tags", "d=example.org", "d=example\r\n X: .org"]]"#);
    assert_eq!(only(&folded).domain, "example   X: .org");
}

/// RFC 8616 §5: U-labels may stand in `d=`, `i=` and `s=`; DNS is asked for A-labels.
#[test]
fn u_labels() {
    let key = SigningKey::generate("ed25519");
    let mail = "From: Änn <änn@bücher.example>\r\n\r\nHello\r\n";
    let tags = "v=1; a=ed25519-sha256; d=bücher.example; i=ü@post.Bücher.example; s=schlüssel; \
        h=from; bh={bh}; b={b}";
    let record = key.record();
    let name = "xn--schlssel-95a._domainkey.xn--bcher-kva.example";
    let zone = dkim::zone([(name, record.as_str())]);
    let signed = key.sign(mail.as_bytes(), tags);
    let evidence = dkim::judge(&signed, &zone, &DkimSettings::default(), NOW, 3);
    assert_eq!(dkim::lines(&evidence), ["pass"]);
    let outcome = only(&evidence);
    assert_eq!(outcome.domain, "xn--bcher-kva.example");
    let identity = "ü@post.xn--bcher-kva.example";
    assert_eq!(outcome.identity.as_deref(), Some(identity));
}
