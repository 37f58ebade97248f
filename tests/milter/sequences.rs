//! What MTAs do besides delivering one message after the other.

use crate::mta::{Mail, Mta};
use crate::running::{settings, start};

fn good() -> Mail<'static> {
    Mail::plain("<a@good.example>").field("From", " a@good.example")
}

#[tokio::test]
async fn a_reset_forgets_the_message_and_not_the_helo() {
    for mta in Mta::BOTH {
        let running = start(settings()).await;
        let mut session = running.session(mta).await;
        let spoof = Mail::plain("<a@quarantine.example>");
        session.begin(&spoof).await;
        session.reset().await;
        session.deliver(&good()).await;
        session.begin(&spoof).await;
        session.header("From", b" a@quarantine.example").await;
        session.reset().await;
        session.deliver(&good()).await;
        let ids = [session.queue_ids[1].clone(), session.queue_ids[3].clone()];
        session.quit().await;
        let stopped = running.stop().await;
        assert_eq!(
            stopped.summary(),
            ids.map(|id| format!("{id} pass accept accepted"))
        );
        for stored in &stopped.verdicts {
            let helo = stored.verdict.envelope.helo.as_deref();
            assert_eq!(helo, Some("mx.good.example"));
            assert_eq!(stored.verdict.envelope.recipients, 1);
        }
    }
}

#[tokio::test]
async fn the_next_mail_begins_a_new_message_whatever_came_before() {
    let running = start(settings()).await;
    // Sendmail says nothing after a refused recipient, after DATA, in the header, in the body.
    let mut session = running.session(Mta::Sendmail).await;
    session.raw.send('M', b"<a@quarantine.example>\0").await;
    let mut left = Mail::plain("<a@quarantine.example>").field("From", " a@quarantine.example");
    left.to.push("<b@second.example>");
    session.begin(&left).await;
    session.begin(&left).await;
    session.header("From", b" a@quarantine.example").await;
    session.begin(&left).await;
    session.content(&left).await;
    session.deliver(&good()).await;
    let id = session.queue_ids[3].clone();
    session.quit().await;
    let stopped = running.stop().await;
    assert_eq!(stopped.summary(), [format!("{id} pass accept accepted")]);
    let envelope = &stopped.verdicts[0].verdict.envelope;
    assert_eq!(
        (envelope.recipients, envelope.recipient_domains.len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_client_without_helo_and_one_that_says_it_twice() {
    for mta in Mta::BOTH {
        let running = start(settings()).await;
        let raw = running.raw("unix").await;
        let mut session = mta.connected(raw, "mx.good.example", "192.0.2.9:25").await;
        session.deliver(&good()).await;
        session.helo("first.example").await;
        session.helo("second.example").await;
        // Postfix says ABORT after a second EHLO.
        session.reset().await;
        session.deliver(&good()).await;
        session.quit().await;
        let stopped = running.stop().await;
        let helos: Vec<_> = stopped
            .verdicts
            .iter()
            .map(|s| s.verdict.envelope.helo.as_deref())
            .collect();
        assert_eq!(helos, [None, Some("second.example")]);
    }
}

#[tokio::test]
async fn the_envelope_is_kept_as_the_client_said_it() {
    let running = start(settings()).await;
    let mut session = running.session(Mta::Postfix).await;
    let senders = [
        ("<>", "<>"),
        ("<\"a b\"@good.example>", "\"a b\"@good.example"),
        ("<@relay.example:a@good.example>", "a@good.example"),
        ("a@good.example", "a@good.example"),
        ("<jürgen@bücher.example>", "jürgen@xn--bcher-kva.example"),
        ("<nonsense>", "<nonsense>"),
    ];
    for (from, _) in senders {
        let mut mail = good();
        mail.from = from;
        mail.to = vec![
            "<x@a.example>",
            "<y@a.example>",
            "<postmaster>",
            "<z@B.example>",
        ];
        session.deliver(&mail).await;
    }
    session.quit().await;
    let stopped = running.stop().await;
    assert_eq!(stopped.verdicts.len(), 6);
    for (stored, (_, shown)) in stopped.verdicts.iter().zip(senders) {
        let envelope = &stored.verdict.envelope;
        assert_eq!(envelope.mail_from.to_string(), shown);
        let domains: Vec<_> = envelope
            .recipient_domains
            .iter()
            .map(|d| d.as_str())
            .collect();
        assert_eq!(
            (envelope.recipients, domains),
            (4, vec!["a.example", "b.example"])
        );
    }
}

#[tokio::test]
async fn hang_ups_leave_no_verdict_unless_it_was_made() {
    let running = start(settings()).await;
    for stage in 0..5 {
        let mut session = running.session(Mta::Postfix).await;
        let mail = good();
        match stage {
            0 => {}
            1 => session.begin(&mail).await,
            2 => {
                session.begin(&mail).await;
                session.header("From", b" a@good.example").await;
            }
            3 => {
                session.begin(&mail).await;
                session.content(&mail).await;
            }
            // In the middle of a packet.
            _ => {
                session.begin(&mail).await;
                session.raw.send_octets(b"\0\0\0\x20LFrom").await;
            }
        }
        drop(session);
    }
    let mut session = running.session(Mta::Postfix).await;
    assert_eq!(session.deliver(&good()).await.last.kind, 'c');
    session.quit().await;
    assert_eq!(running.stop().await.verdicts.len(), 1);
}

#[tokio::test]
async fn old_and_poor_mtas_get_what_they_can_take() {
    for (version, actions, options, changes, value) in [
        // Sendmail 8.13: no options but to leave stages out, no requests for macros.
        (2, 0x1f, 0x7f, 2, "mx.test;"),
        (6, 0x1ff, 0x1f_ffff, 2, " mx.test;"),
        // Replies to everything, the body can be skipped.
        (6, 0x1ff, 0x10_0400, 2, " mx.test;"),
        // No changes allowed.
        (6, 2, 0x1f_ffff, 0, ""),
        // Fields may be added, none removed.
        (6, 1, 0x1f_ffff, 1, " mx.test;"),
    ] {
        let running = start(settings()).await;
        let raw = running
            .raw("unix")
            .await
            .offering(version, actions, options);
        let mut session = Mta::Sendmail
            .session(raw, "mx.good.example", "192.0.2.9:25", "x")
            .await;
        let mut mail = good().field("Authentication-Results", " mx.test; dmarc=pass");
        let body = vec![b'x'; 200_000];
        mail.body = &body;
        let answer = session.deliver(&mail).await;
        assert_eq!(answer.last.kind, 'c');
        assert_eq!(
            answer.changes.len(),
            changes,
            "{version} {actions:x} {options:x}"
        );
        if changes > 0 {
            assert!(answer.results().starts_with(value));
        }
        session.quit().await;
        assert_eq!(running.stop().await.verdicts.len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_nobody_needs_is_skipped_where_it_is_answered_for() {
    let signature = " v=1; a=rsa-sha256; d=good.example; s=s; h=from; bh=AAAA; b=AAAA";
    for (options, signed, expected) in [
        (0x10_0400, false, Some('s')),
        (0x10_0400, true, Some('c')),
        (0x10_0000, false, Some('c')),
        (0x1f_ffff, false, None),
    ] {
        let running = start(settings()).await;
        let raw = running.raw("unix").await.offering(6, 0x1ff, options);
        let mut session = Mta::Sendmail.session(raw, "mx", "192.0.2.9:25", "x").await;
        let mut mail = good();
        mail.body = b"";
        if signed {
            mail = mail.field("DKIM-Signature", signature);
        }
        session.begin(&mail).await;
        session.content(&mail).await;
        assert_eq!(session.body(b"Hello\r\n").await, expected, "{options:x}");
        assert_eq!(session.end().await.last.kind, 'c');
        session.quit().await;
        assert_eq!(running.stop().await.verdicts.len(), 1);
    }
}
