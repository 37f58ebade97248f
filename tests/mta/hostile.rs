//! Mail made to break a filter, as far as Postfix lets it through: a verdict, soon, for each, and the
//! next mail of the session is judged as if nothing had been.

use crate::dkim_signer::SigningKey;
use crate::house::{House, Kind, Plan};
use crate::world::{ED25519, EVIL, READER};
use std::time::{Duration, Instant};

const FROM: &[u8] = b"From: a@sender.example\r\n";

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let with = |header: &[u8], body: &[u8]| [FROM, header, b"\r\n", body].concat();
    let many = |line: &str, count: usize| line.repeat(count).into_bytes();
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=rsa; h=from; bh=AAAA; b=AAAA\r\n";
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
            "a line of 1 MiB",
            with(
                &[b"X-Long: ", &[b'a'; 1 << 20][..], b"\r\n"].concat(),
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

#[test]
fn too_many_claims_to_be_ours_are_refused_and_keep_nobody_busy() {
    let message = [FROM, FORGED.repeat(10_000).as_bytes(), b"\r\nx\r\n"].concat();
    for (skipped, verdicts) in [("[]", 1), ("[\"203.0.113.66\"]", 0)] {
        let house = House::open(&Plan {
            alignd: &[("trust.skip_hosts", skipped)],
            ..Plan::of(Kind::Postfix)
        });
        let answer = house.send(&EVIL, "<x@evil.example>", &message);
        assert!(answer.0.contains("too many forged"), "{}", answer.0);
        let stored = house.alignd.messages(&[]);
        assert_eq!(stored.len(), verdicts);
        for verdict in stored {
            let id = verdict["queue_id"].as_str().expect("Postfix told it");
            let verdict = house.verdict(id);
            assert_eq!(verdict["outcome"], "rejected");
            assert_eq!(verdict["action"], "reject");
            assert_eq!(verdict["cause"], "forged_results");
        }
    }
}

#[test]
fn each_gets_a_verdict_and_the_next_mail_its_own() {
    let house = House::plain(Kind::Postfix);
    let key: &SigningKey = &ED25519;
    let tags = "v=1; a=ed25519-sha256; d=sender.example; s=ed; h=from; bh={bh}; b={b}";
    let good = key.sign(&[FROM, b"\r\nbody\r\n"].concat(), tags);
    let mut session = house.mta.session(&EVIL);
    for (kind, message) in messages() {
        let start = Instant::now();
        let answer = session.mail("<x@evil.example>", &[READER], &message);
        // Postfix alone takes about a second for the largest on a busy machine.
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
