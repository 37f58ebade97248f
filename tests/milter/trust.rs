//! Whose mail is passed over, who speaks for others, and whose results are believed.

use crate::mta::{Mail, Mta};
use crate::running::{settings, start};
use alignd::milter::{HostPattern, SenderPattern, Settings};
use alignd::store::SkipReason;

fn spoof() -> Mail<'static> {
    Mail::plain("<a@good.example>")
        .field("From", " a@quarantine.example")
        .field("Authentication-Results", " mx.test; dmarc=pass")
}

fn trusting() -> Settings {
    let mut settings = settings();
    let trust = &mut settings.trust;
    trust.networks = vec!["10.0.0.0/8".parse().unwrap()];
    trust.relays = vec!["10.0.0.5/32".parse().unwrap()];
    trust.skip_hosts = vec![
        HostPattern::parse("198.51.100.0/24").unwrap(),
        HostPattern::parse(".good.example").unwrap(),
    ];
    trust.skip_mail_from = vec![SenderPattern::parse("a@lists.example").unwrap()];
    trust.strip_results_of = vec!["old.test".to_owned()];
    settings
}

/// Delivers one message and tells what the answer was, and why the message was passed over.
async fn check(socket: &str, name: &str, log_in: bool, mail: &Mail<'_>) -> (Vec<String>, String) {
    let running = start(trusting()).await;
    let raw = running.raw("unix").await;
    let mut session = Mta::Postfix
        .session(raw, name, socket, "helo.example")
        .await;
    if log_in {
        session.log_in();
    }
    let answer = session.deliver(mail).await.summary();
    session.quit().await;
    let stopped = running.stop().await;
    let skips: Vec<&str> = stopped.skips.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(stopped.verdicts.len() + skips.len(), 1);
    (answer, skips.concat())
}

#[tokio::test]
async fn mail_is_passed_over_for_a_reason_and_forged_results_go_all_the_same() {
    let delete = "m1 Authentication-Results:".to_owned();
    let insert = "i0 Authentication-Results: mx.test".to_owned();
    let last = || "c".to_owned();
    let skipped = || vec![delete.clone(), last()];
    let judged = vec![delete.clone(), insert, last()];
    let mut from_list = spoof();
    from_list.from = "<a@lists.example>";
    for (socket, name, log_in, mail, answer, reason) in [
        (
            "203.0.113.7:1",
            "mx.example",
            false,
            spoof(),
            judged.clone(),
            "",
        ),
        (
            "203.0.113.7:1",
            "mx.example",
            true,
            spoof(),
            skipped(),
            "authenticated",
        ),
        (
            "127.0.0.1:0",
            "localhost",
            false,
            spoof(),
            skipped(),
            "local_submission",
        ),
        (
            "unknown",
            "localhost",
            false,
            spoof(),
            skipped(),
            "local_submission",
        ),
        (
            "10.0.0.1:1",
            "mx.example",
            false,
            spoof(),
            vec![last()],
            "trust_networks",
        ),
        (
            "198.51.100.1:1",
            "mx.example",
            false,
            spoof(),
            skipped(),
            "skip_hosts",
        ),
        // The name is what reverse DNS confirms, not what the MTA was told.
        (
            "192.0.2.9:1",
            "unknown",
            false,
            spoof(),
            skipped(),
            "skip_hosts",
        ),
        (
            "203.0.113.7:1",
            "mx.good.example",
            false,
            spoof(),
            judged.clone(),
            "",
        ),
        (
            "203.0.113.7:1",
            "mx.example",
            false,
            from_list,
            skipped(),
            "skip_mail_from",
        ),
    ] {
        let found = check(socket, name, log_in, &mail).await;
        assert_eq!(
            found,
            (answer, reason.to_owned()),
            "{socket} {name} {log_in}"
        );
    }
}

#[tokio::test]
async fn authenticated_mail_is_counted_by_author_and_recipient_domain() {
    let running = start(settings()).await;
    let mut session = running.session(Mta::Sendmail).await;
    session.log_in();
    session.deliver(&spoof()).await;
    session.deliver(&spoof()).await;
    session.quit().await;
    let stopped = running.stop().await;
    assert_eq!(stopped.skips.len(), 1);
    assert_eq!(stopped.skips[0].reason, SkipReason::Authenticated);
    assert_eq!(stopped.skips[0].messages, 2);
}

#[tokio::test]
async fn forged_results_are_removed_from_the_highest_place_down() {
    let mail = Mail::plain("<a@good.example>")
        .field("authentication-results", " mx.test; spf=pass")
        .field("From", " a@good.example")
        .field("Authentication-Results", " other.example; spf=pass")
        .field(
            "AUTHENTICATION-RESULTS",
            "\n\t(\"x\") MX.Test 1;\n spf=pass",
        )
        .field("Authentication-Results", "old.test; none");
    let (answer, _) = check("203.0.113.7:1", "mx.example", false, &mail).await;
    assert_eq!(
        answer,
        [
            "m4 Authentication-Results:",
            "m3 Authentication-Results:",
            "m1 Authentication-Results:",
            "i0 Authentication-Results: mx.test",
            "c",
        ]
    );
}

#[tokio::test]
async fn long_fields_among_short_ones_keep_their_places() {
    let long = format!(" other.example; spf=pass ({})", "x".repeat(20_000));
    let forged = format!(" mx.test; spf=pass ({})", "x".repeat(20_000));
    let mut mail = Mail::plain("<a@good.example>").field("Authentication-Results", "mx.test; none");
    for value in [&long, " mx.test; none", &forged, " other.example; none"] {
        mail = mail.field("Authentication-Results", value);
    }
    // More short ones than are kept back for the callbacks at once.
    for _ in 0..3_000 {
        mail = mail.field("X-Filling", " twenty octets of it");
    }
    let mail = mail.field("Authentication-Results", " mx.test; none");
    let (answer, _) = check("203.0.113.7:1", "mx.example", false, &mail).await;
    let places = |place| format!("m{place} Authentication-Results:");
    assert_eq!(answer.get(..4), Some(&[6, 4, 3, 1].map(places)[..]));
}

#[tokio::test]
async fn the_client_of_a_relay_is_the_one_it_names() {
    let by = " by relay.test (Postfix) with ESMTP id 4X\n\tfor <u@receiver.example>; Sun, 22 Nov 2026 12:00:00 +0000";
    let received = |from: &str| format!(" from {from}\n\t{by}");
    let named = received("mx.good.example (mx.good.example [192.0.2.9])");
    let local = received("localhost (localhost [127.0.0.1])");
    let own = received("host.test (host.test [10.0.0.7])");
    let unreadable = " by nobody".to_owned();
    for (hops, client, spf, cause) in [
        (vec![&named], "192.0.2.9", "pass", "pass"),
        (vec![&local, &named], "192.0.2.9", "pass", "pass"),
        (vec![&unreadable, &named], "", "none", "fail_behind_relay"),
        (vec![], "", "none", "fail_behind_relay"),
        (vec![&own], "", "", ""),
    ] {
        let mut settings = trusting();
        settings.trust.skip_hosts.clear();
        let running = start(settings).await;
        let raw = running.raw("unix").await;
        let mut session = Mta::Postfix
            .session(raw, "relay.test", "10.0.0.5:1", "relay.test")
            .await;
        let mut mail = Mail::plain("<a@good.example>")
            .field("From", " a@good.example")
            .field("Authentication-Results", " mx.test; dmarc=pass");
        mail.fields
            .splice(0..0, hops.iter().map(|hop| ("Received", hop.as_str())));
        let answer = session.deliver(&mail).await;
        // What a stranger wrote in our name goes, though a relay hands it over; an own host's stays.
        let removed = answer.changes.iter().any(|change| change.kind == 'm');
        assert_eq!(removed, !cause.is_empty(), "{hops:?}");
        session.quit().await;
        let stopped = running.stop().await;
        if cause.is_empty() {
            assert_eq!(stopped.skips[0].reason, SkipReason::TrustNetworks);
            continue;
        }
        let verdict = &stopped.verdicts[0].verdict;
        let shown = verdict
            .envelope
            .client
            .map(|c| c.to_string())
            .unwrap_or_default();
        assert_eq!(shown, client);
        assert_eq!(verdict.envelope.relay, Some("10.0.0.5".parse().unwrap()));
        assert_eq!(verdict.evidence.spf.mail_from.result.as_str(), spf);
        assert_eq!(verdict.decision.cause().as_str(), cause);
    }
}
