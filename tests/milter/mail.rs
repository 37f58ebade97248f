//! Mail through the whole milter: what the MTA is told, what is stored.

use crate::mta::{Mail, Mta};
use crate::running::{settings, start, start_overhearing, zone};
use alignd::address::Mailbox;
use alignd::policy::{FailAction, TemperrorAction};
use alignd::send_report::BOUNCE_OCTETS;

#[tokio::test]
async fn mail_is_judged_marked_and_stored_from_both_mtas_over_both_sockets() {
    for mta in Mta::BOTH {
        for socket in ["unix", "tcp"] {
            let running = start(settings()).await;
            let raw = running.raw(socket).await;
            let mut session = mta
                .session(raw, "mx.good.example", "192.0.2.9:4025", "mx.good.example")
                .await;
            let good = Mail::plain("<a@good.example>").field("From", " a@good.example");
            let spoof = Mail::plain("<a@good.example>").field("From", " a@quarantine.example");
            let answer = session.deliver(&good).await;
            assert_eq!(answer.last.kind, 'c');
            let results = answer.results();
            assert!(results.starts_with(" mx.test;"), "{results}");
            assert!(results.contains("dmarc=pass (p=reject dis=none) header.from=good.example"));
            assert!(results.contains("\n\tspf=pass"), "{results}");
            assert!(!results.contains('\r'));
            let answer = session.deliver(&spoof).await;
            assert_eq!(answer.last.kind, 'c');
            assert!(
                answer
                    .results()
                    .contains("dmarc=fail (p=quarantine dis=none)")
            );
            let ids = session.queue_ids.clone();
            session.quit().await;
            let stopped = running.stop().await;
            assert_eq!(
                stopped.summary(),
                [
                    format!("{} pass accept accepted", ids[0]),
                    format!("{} fail accept accepted", ids[1]),
                ]
            );
            let verdict = &stopped.verdicts[0].verdict;
            assert_eq!(verdict.envelope.client, Some("192.0.2.9".parse().unwrap()));
            assert_eq!(verdict.envelope.helo.as_deref(), Some("mx.good.example"));
            assert_eq!(verdict.envelope.recipients, 1);
            assert_eq!(
                verdict.evidence.iprev.name.as_deref(),
                Some("mx.good.example")
            );
        }
    }
}

#[tokio::test]
async fn what_the_policy_asks_is_answered() {
    let mut settings = settings();
    settings.policy.on_reject = FailAction::Reject;
    settings.policy.on_temperror = TemperrorAction::Tempfail;
    let running = start(settings).await;
    let raw = running.raw("unix").await;
    let mut session = Mta::Postfix
        .session(raw, "[203.0.113.7]", "203.0.113.7:4025", "evil.example")
        .await;
    for (from, kind, text) in [
        (
            "good.example",
            'y',
            "550 5.7.1 Email rejected per DMARC policy for good.example\0",
        ),
        ("quarantine.example", 'c', ""),
        (
            "broken.example",
            'y',
            "451 4.7.1 DMARC policy for broken.example cannot be evaluated now, try again later\0",
        ),
        ("nopolicy.example", 'c', ""),
    ] {
        let author = format!(" x@{from}");
        let mail = Mail::plain("<x@evil.example>").field("From", &author);
        let answer = session.deliver(&mail).await;
        assert_eq!(answer.last.kind, kind, "{from}");
        assert_eq!(String::from_utf8_lossy(&answer.last.payload), text);
        assert_eq!(answer.changes.len(), usize::from(kind == 'c'));
    }
    let outcomes: Vec<_> = running.stop().await.summary();
    let outcomes: Vec<&str> = outcomes
        .iter()
        .map(|s| s.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(
        outcomes,
        [
            "fail reject rejected",
            "fail accept accepted",
            "temperror tempfail tempfailed",
            "none accept accepted",
        ]
    );
}

/// Anyone can call forged mail a report; if that kept reports from being sent, its victim would hear nothing.
#[tokio::test]
async fn only_mail_that_passes_is_believed_to_be_a_report() {
    let running = start(settings()).await;
    let mut session = running.session(Mta::Postfix).await;
    let report = (
        "Subject",
        " Report Domain: mx.test Submitter: a.example Report-ID: <1>",
    );
    let bounce = (
        "Content-Type",
        " multipart/report; report-type=delivery-status; boundary=b",
    );
    let cases = [
        (" a@good.example", report, "included_only"),
        (" a@good.example", bounce, "included_only"),
        (" a@good.example", ("Subject", " hello"), "triggers"),
        (" a@quarantine.example", report, "triggers"),
        (" a@quarantine.example", bounce, "triggers"),
        (
            " a@none.example",
            ("Auto-Submitted", " auto-replied"),
            "triggers",
        ),
    ];
    for (from, (name, value), _) in cases {
        let mail = Mail::plain("<a@good.example>")
            .field("From", from)
            .field(name, value);
        session.deliver(&mail).await;
    }
    session.quit().await;
    let stopped = running.stop().await;
    assert_eq!(stopped.verdicts.len(), cases.len());
    for (stored, (from, field, weight)) in stopped.verdicts.iter().zip(cases) {
        assert_eq!(stored.verdict.weight.as_str(), weight, "{from} {field:?}");
    }
}

/// A report that bounces must not cause the next one, however the bounce is authenticated.
#[tokio::test]
async fn bounces_of_our_report_mail_cause_no_report() {
    let mut settings = settings();
    settings.report_from = Mailbox::parse("dmarc-reports@r.example");
    let running = start(settings).await;
    let mut session = running.session(Mta::Postfix).await;
    let ours = "<bounce+12-00112233445566778899aabbccddeeff@r.example>";
    let cases = [
        ("<>", vec![ours], "included_only"),
        ("<>", vec![ours, ours], "included_only"),
        ("<>", vec!["<DMARC-reports@R.example>"], "included_only"),
        (
            "<a@evil.example>",
            vec!["<dmarc-reports@r.example>"],
            "triggers",
        ),
        ("<>", vec![ours, "<user@r.example>"], "triggers"),
        ("<>", vec!["<user@r.example>"], "triggers"),
        ("<a@evil.example>", vec![ours], "triggers"),
    ];
    for (sender, recipients, _) in &cases {
        let mut mail = Mail::plain(sender).field("From", " MAILER-DAEMON@quarantine.example");
        mail.to = recipients.clone();
        session.deliver(&mail).await;
    }
    session.quit().await;
    let stopped = running.stop().await;
    assert_eq!(stopped.verdicts.len(), cases.len());
    for (stored, (sender, recipients, weight)) in stopped.verdicts.iter().zip(cases) {
        let found = stored.verdict.weight.as_str();
        assert_eq!(found, weight, "{sender} to {recipients:?}");
    }
}

/// Bounces of our reports that pass are handed over, before the skips; nothing else is.
#[tokio::test]
async fn bounces_of_our_report_mail_are_overheard() {
    let (bounces, mut overheard) = tokio::sync::mpsc::channel(10);
    let mut settings = settings();
    settings.trust.networks = vec!["10.0.0.0/8".parse().unwrap()];
    let running = start_overhearing(zone(), settings, Some(bounces)).await;
    let ours = "<bounce+12-00112233445566778899aabbccddeeff@r.example>";
    let long = b"x".repeat(200_000);
    for (socket, sender, to, body, expected) in [
        (
            "192.0.2.9:1",
            "<>",
            ours,
            b"short\r\n".as_slice(),
            Some("short\r\n".len()),
        ),
        ("192.0.2.9:1", "<>", ours, &long, None),
        // From a smarthost that is trusted.
        (
            "10.0.0.1:1",
            "<>",
            ours,
            b"short\r\n",
            Some("short\r\n".len()),
        ),
        ("192.0.2.9:1", "<a@evil.example>", ours, b"x", Some(0)),
        ("192.0.2.9:1", "<>", "<user@r.example>", b"x", Some(0)),
    ] {
        let raw = running.raw("unix").await;
        let session = Mta::Postfix.session(raw, "mx.example", socket, "mx.example");
        let mut session = session.await;
        let mut mail = Mail::plain(sender).field("From", " MAILER-DAEMON@mx.example");
        mail.to = vec![to];
        mail.body = body;
        session.deliver(&mail).await;
        session.quit().await;
        let header = "Subject: hello\r\nFrom: MAILER-DAEMON@mx.example\r\n\r\n";
        match (overheard.try_recv(), expected) {
            (Ok(bounce), Some(length)) if length > 0 => {
                assert_eq!(bounce.recipients, [ours]);
                assert!(bounce.message.starts_with(header.as_bytes()), "{socket}");
                assert_eq!(bounce.message.len(), header.len() + length, "{socket}");
            }
            (Ok(bounce), None) => assert_eq!(bounce.message.len(), BOUNCE_OCTETS),
            (found, expected) => assert!(
                found.is_err() && expected == Some(0),
                "{socket} {sender} to {to}: {found:?}"
            ),
        }
    }
    running.stop().await;
}
