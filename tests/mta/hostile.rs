//! Mail made to break a filter, as far as the MTA lets it through: a verdict, soon, for each, and the
//! next mail of the session is judged as if nothing had been.

use crate::dkim_signer::SigningKey;
use crate::house::{House, Kind, Plan, for_both};
use crate::world::{ED25519, EVIL, READER, SENDER};
use std::time::{Duration, Instant};

for_both![
    too_many_claims_to_be_ours_are_refused_and_keep_nobody_busy,
    each_gets_a_verdict_and_the_next_mail_its_own,
];

/// Sendmail refuses headers over 32 KiB by itself, unless told otherwise. A field over 64 KiB is more than it
/// hands to a milter: it then answers 451.
const LARGE_HEADERS: &str = "define(`confMAX_HEADERS_LENGTH', `1000000')dnl";

const FROM: &[u8] = b"From: a@sender.example\r\n";

fn messages(mta: Kind) -> Vec<(&'static str, Vec<u8>)> {
    let with = |header: &[u8], body: &[u8]| [FROM, header, b"\r\n", body].concat();
    let many = |line: &str, count: usize| line.repeat(count).into_bytes();
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=rsa; h=from; bh=AAAA; b=AAAA\r\n";
    let line = match mta {
        Kind::Postfix => 1 << 20,
        Kind::Sendmail => 60_000,
    };
    vec![
        (
            "10,000 fields",
            with(&many("X-Filler: something\r\n", 10_000), b"x\r\n"),
        ),
        (
            "10,000 From fields",
            with(&many("From: b@list.example\r\n", 10_000), b"x\r\n"),
        ),
        (
            "a long line",
            with(
                &[&b"X-Long: "[..], &b"a".repeat(line), b"\r\n"].concat(),
                b"x\r\n",
            ),
        ),
        ("500 signatures", with(&many(signature, 500), b"x\r\n")),
        ("1,000 forged results", with(&many(FORGED, 1_000), b"x\r\n")),
        (
            "NUL, bare CR and LF",
            with(b"Subject: a\0b\rc\nX-D: e\r\n", b"\0\r\n\ra\nb\r\n"),
        ),
        ("no header at all", b"\r\nonly a body\r\n".to_vec()),
        ("a body line of 5 MiB", with(b"", &[b'z'; 5 << 20])),
        (
            "a million empty lines",
            with(b"", &b"\r\n".repeat(1_000_000)),
        ),
        (
            "binary",
            with(
                &[b"X-Bytes: ", &(128..=255).collect::<Vec<u8>>()[..], b"\r\n"].concat(),
                &(0..=255).collect::<Vec<u8>>(),
            ),
        ),
    ]
}

const FORGED: &str = "Authentication-Results: mx.receiver.example; dmarc=pass\r\n";

fn too_many_claims_to_be_ours_are_refused_and_keep_nobody_busy(mta: Kind) {
    let message = [FROM, FORGED.repeat(10_000).as_bytes(), b"\r\nx\r\n"].concat();
    for (skipped, verdicts) in [("[]", 1), ("[\"203.0.113.66\"]", 0)] {
        let house = House::open(&Plan {
            alignd: &[("trust.skip_hosts", skipped)],
            mc: LARGE_HEADERS,
            ..Plan::of(mta)
        });
        let answer = house.send(&EVIL, "<x@evil.example>", &message);
        assert!(answer.0.contains("too many forged"), "{}", answer.0);
        let stored = house.alignd.messages(&[]);
        assert_eq!(stored.len(), verdicts);
        for verdict in stored {
            let id = verdict["queue_id"].as_str().expect("the MTA told it");
            let verdict = house.verdict(id);
            assert_eq!(verdict["outcome"], "rejected");
            assert_eq!(verdict["action"], "reject");
            assert_eq!(verdict["cause"], "forged_results");
        }
    }
}

fn each_gets_a_verdict_and_the_next_mail_its_own(mta: Kind) {
    let house = House::open(&Plan {
        mc: LARGE_HEADERS,
        ..Plan::of(mta)
    });
    let key: &SigningKey = &ED25519;
    let tags = "v=1; a=ed25519-sha256; d=sender.example; s=ed; h=from; bh={bh}; b={b}";
    let good = key.sign(&[FROM, b"\r\nbody\r\n"].concat(), tags);
    let mut session = house.mta.session(&EVIL);
    for (kind, message) in messages(mta) {
        let message = match mta {
            Kind::Postfix => message,
            // Which breaks it off otherwise.
            Kind::Sendmail => without_bare_line_ends(&message),
        };
        let start = Instant::now();
        let answer = session.mail("<x@evil.example>", &[READER], &message);
        // The MTA alone takes about a second for the largest on a busy machine.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{kind}: {:?}",
            start.elapsed()
        );
        let verdict = house.verdict(&answer.queue_id());
        assert_ne!(verdict["dmarc"]["result"], "pass", "{kind}: {verdict}");
        let results = house
            .mta
            .delivered(&answer.queue_id())
            .fields("Authentication-Results");
        assert!(
            results[0].starts_with("mx.receiver.example;"),
            "{kind}: {results:?}"
        );
        let after = session
            .mail("<x@evil.example>", &[READER], &good)
            .queue_id();
        assert_eq!(
            house.verdict(&after)["dmarc"]["result"],
            "pass",
            "after {kind}"
        );
    }
}

fn without_bare_line_ends(message: &[u8]) -> Vec<u8> {
    let kept = message
        .iter()
        .enumerate()
        .filter(|&(at, octet)| match octet {
            b'\r' => message.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && message[at - 1] == b'\r',
            _ => true,
        });
    kept.map(|(_, &octet)| octet).collect()
}

#[test]
fn what_sendmail_itself_breaks_off_has_no_verdict() {
    let house = House::plain(Kind::Sendmail);
    let good = [FROM, b"\r\nbody\r\n"].concat();
    let large = [FROM, FORGED.repeat(1_000).as_bytes(), b"\r\nx\r\n"].concat();
    for (message, code) in [
        (&large[..], 552),
        (b"From: a@sender.example\r\n\r\na\nb\r\n", 421),
        (b"From: a@sender.example\r\n\r\na\rb\r\n", 421),
    ] {
        let mut session = house.mta.session(&SENDER);
        let answer = session.mail("<x@sender.example>", &[READER], message);
        answer.expect(code);
        if code == 552 {
            let id = session.mail("<a@sender.example>", &[READER], &good);
            assert_eq!(house.verdict(&id.queue_id())["dmarc"]["result"], "pass");
        }
    }
    assert_eq!(house.alignd.messages(&[]).len(), 1);
}
