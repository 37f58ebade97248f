//! What a digest says, held against files in `tests/golden`. `ALIGND_GOLDEN=write cargo test --test digest` writes
//! them anew; the change is then read in the diff.

use crate::at;
use alignd::digest::{
    Digest, Example, Expiry, Group, Letter, Purpose, Rest, compose, subject, text,
};
use alignd::domain::DomainName;
use alignd::policy::Cause;
use alignd::report::destination::PlainAddress;
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("ALIGND_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}");
}

fn domain(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn digest() -> Digest {
    Digest {
        host: "mx.receiver.example".to_owned(),
        at: at("2026-03-31T06:00"),
        zone: "Europe/Berlin".parse().unwrap(),
        purpose: Purpose::Daily,
        held: 1_026,
        oldest: Some(at("2026-02-28T11:30")),
        last: Some(at("2026-03-30T06:00")),
        new: 4,
        groups: vec![
            Group {
                author: Some(domain("bank.example")),
                messages: 9,
                new: 3,
                oldest: at("2026-02-28T11:30"),
                going: 2,
                causes: vec![(Cause::FailReject, 8), (Cause::FailQuarantine, 1)],
                recipients: vec![domain("a.receiver.example"), domain("b.receiver.example")],
                more_recipients: 17,
                example: Some(Example {
                    id: "4jXW5m5GBtz1StgL".to_owned(),
                    envelope_from: Some("list.example".to_owned()),
                    grounds: "spf=pass (list.example) dkim=fail p=reject".to_owned(),
                    suggestion: Some(
                        "bank.example if signed by list.example, as mailing_list".to_owned(),
                    ),
                }),
            },
            Group {
                author: None,
                messages: 1,
                new: 1,
                oldest: at("2026-03-31T05:59"),
                going: 0,
                causes: vec![(Cause::MultipleAuthors, 1)],
                recipients: vec![domain("receiver.example")],
                more_recipients: 0,
                example: Some(Example {
                    id: "4jXW5m5GBtz1StgM".to_owned(),
                    envelope_from: Some(String::new()),
                    grounds: "spf=none dkim=none".to_owned(),
                    suggestion: None,
                }),
            },
        ],
        rest: Rest {
            domains: 312,
            messages: 1_016,
        },
        expiry: Some(Expiry {
            after: Duration::from_secs(30 * 86_400),
            from: at("2026-04-01T06:00"),
            messages: 2,
            earlier: 0,
        }),
    }
}

fn letter() -> Letter {
    Letter {
        from: PlainAddress::parse("dmarc-reports@receiver.example").unwrap(),
        to: PlainAddress::parse("postmaster@receiver.example").unwrap(),
        key: "1774936800".to_owned(),
    }
}

fn mail(digest: &Digest) -> String {
    String::from_utf8(compose(digest, &letter())).unwrap()
}

#[test]
fn a_digest_reads_so() {
    golden("digest.txt", &mail(&digest()).replace("\r\n", "\n"));
}

#[test]
fn a_trial_announces_nothing() {
    let trial = Digest {
        purpose: Purpose::Trial,
        ..digest()
    };
    golden("digest-trial.txt", &mail(&trial).replace("\r\n", "\n"));
}

#[test]
fn the_last_one_says_that_nothing_is_held() {
    let nothing = Digest {
        held: 0,
        oldest: None,
        new: 0,
        groups: Vec::new(),
        rest: Rest::default(),
        expiry: None,
        ..digest()
    };
    golden("digest-nothing.txt", &mail(&nothing).replace("\r\n", "\n"));
}

/// Without a term, at the very first, in the only group.
#[test]
fn the_first_one_counts_nothing_as_new() {
    let first = Digest {
        last: None,
        expiry: None,
        held: 1,
        rest: Rest::default(),
        groups: digest().groups.into_iter().skip(1).collect(),
        ..digest()
    };
    golden("digest-first.txt", &mail(&first).replace("\r\n", "\n"));
}

fn check_harmless(digest: &Digest) {
    let mail = mail(digest);
    let (header, body) = mail.split_once("\r\n\r\n").unwrap();
    for line in mail.split("\r\n") {
        let is_plain = line.bytes().all(|b| matches!(b, b' '..=b'~'));
        assert!(is_plain && line.len() <= 998, "{line:?}");
    }
    assert_eq!(header.lines().count(), 9, "{header}");
    assert_eq!(subject(digest).lines().count(), 1);
    assert!(mail.ends_with("\r\n") && !body.is_empty());
    assert!(mail.len() < 100_000, "{}", mail.len());
    assert_eq!(text(digest).lines().count() + 1, body.split("\r\n").count());
}

proptest! {
    /// Whatever strangers wrote: a header that is one, lines of printable ASCII, a bound.
    #[test]
    fn hostile_names_break_nothing(
        host in "\\PC{0,40}",
        id in any::<String>(),
        from in proptest::option::of(any::<String>()),
        grounds in any::<String>(),
        rule in proptest::option::of(".{0,4000}"),
    ) {
        let mut digest = digest();
        digest.host = host;
        let mut group = digest.groups.remove(0);
        group.example = Some(Example {
            id,
            envelope_from: from,
            grounds,
            suggestion: rule.map(|rule| format!("{rule}\r\nBcc: victim@a.example\r\n\r\n.\r\n")),
        });
        group.recipients = vec![domain(&format!("{}.example", "x".repeat(63)))];
        digest.groups = vec![group; alignd::digest::GROUPS];
        check_harmless(&digest);
    }
}
