//! The mail around a report: legal lines, one file name, nothing that a hostile name could add.

use crate::golden::golden;
use crate::sample;
use alignd::report::aggregate::{Head, mail};
use alignd::report::destination::PlainAddress;
use alignd::time::Timestamp;

fn address(text: &str) -> PlainAddress {
    PlainAddress::parse(text).unwrap()
}

fn date() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-22T01:02:03Z").unwrap()
}

fn composed(head: &Head, gz: &[u8]) -> String {
    let (from, to) = (address("dmarc@mx.example.org"), address("rua@example.com"));
    String::from_utf8(mail::compose(head, &from, &to, date(), gz)).unwrap()
}

#[test]
fn one_mail_has_these_bytes() {
    let head = sample::head();
    // The compressor's bytes are its own business; the mail's are not.
    golden("report-mail.txt", &composed(&head, b"the report, gzipped"));
}

/// Domains of 253 octets on both sides, and a body of megabytes.
#[test]
fn lines_are_legal_however_long_the_names() {
    let label = "a".repeat(63);
    let long = |last: &str| format!("{label}.{label}.{label}.{}", last.repeat(61));
    for (reporter, about) in [
        ("mx.example.org", "example.com".to_owned()),
        (&long("b"), long("c")),
    ] {
        let mut head = sample::head_of(&about, sample::head().policy, Vec::new());
        head.reporter.domain = sample::domain(reporter);
        head.id.domain = sample::domain(reporter);
        let mail = composed(&head, &vec![0xff; 3_000_000]);
        assert!(mail.is_ascii() && mail.ends_with("--\r\n"));
        assert!(!mail.replace("\r\n", "").contains(['\r', '\n']));
        for line in mail.split("\r\n") {
            assert!(line.len() <= 998, "{line}");
        }
        let (fields, _) = mail.split_once("\r\n\r\n").unwrap();
        let subject = fields.replace("\r\n ", " ");
        let expected = format!(
            "Subject: Report Domain: {about} Submitter: {reporter} Report-ID: <{}>",
            head.id
        );
        assert!(subject.lines().any(|line| line == expected), "{subject}");
        assert_eq!(mail.matches("filename").count(), 1);
        let name = format!(" filename=\"{}\"\r\n", head.file_name());
        assert!(mail.contains(&name));
    }
}

#[test]
fn file_names_are_of_the_rfcs_form() {
    let head = sample::head();
    let unique = &head.id.unique;
    assert_eq!(
        head.file_name(),
        format!("mx.example.org!example.com!1795219200!1795305599!{unique}.xml.gz")
    );
    assert!(unique.bytes().all(|b| b.is_ascii_alphanumeric()) && unique.len() >= 16);
}

/// Texts of the settings and of the record stand in the XML alone.
#[test]
fn hostile_texts_stay_out_of_the_mail() {
    let mut head = sample::head();
    for contact in [
        "x@y\r\nBcc: victim@example",
        "x@y\r\n.\r\nMAIL FROM:<>",
        "jürgen@example.org",
        &"x".repeat(2000),
    ] {
        head.reporter.contact = contact.to_owned();
        head.reporter.org_name = contact.to_owned();
        head.errors = vec![contact.to_owned()];
        let mail = composed(&head, b"x");
        assert!(mail.is_ascii());
        for word in ["Bcc", "victim", "MAIL FROM", "rgen", "xxxx"] {
            assert!(!mail.contains(word), "{word}");
        }
    }
}
