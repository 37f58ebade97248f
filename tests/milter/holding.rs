//! Mail that is held: the quarantine action with its reason, the verdict header, and what an MTA that
//! holds nothing for milters is told. Verdict headers of others are gone from every mail.

use crate::mta::{Answer, Mail, Mta};
use crate::running::{Running, settings, start};
use alignd::domain::DomainName;
use alignd::milter::Settings;
use alignd::policy::{AuthorAction, FailAction};
use alignd::site_key::SiteKey;
use alignd::store::OnFailure;
use alignd::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};

fn holding() -> Settings {
    let mut settings = settings();
    settings.policy.on_reject = FailAction::Hold;
    settings.policy.on_missing_author = AuthorAction::Hold;
    settings.site_key = Some(key());
    settings
}

fn key() -> SiteKey {
    SiteKey::new(&[3; 32])
}

/// From nobody who may send for good.example.
const SPOOFER: &str = "203.0.113.7:25";

fn spoof() -> Mail<'static> {
    Mail::plain("<x@evil.example>")
        .field("From", " a@good.example")
        .field("Message-ID", " <m1@good.example>")
}

async fn deliver(running: &Running, mta: Mta, client: &str, mail: &Mail<'_>) -> Answer {
    let raw = running.raw("unix").await;
    let mut session = mta.session(raw, "[203.0.113.7]", client, "evil").await;
    let answer = session.deliver(mail).await;
    session.quit().await;
    answer
}

#[tokio::test]
async fn a_failure_is_held_with_a_reason_and_a_header() {
    for mta in Mta::BOTH {
        let running = start(holding()).await;
        let answer = deliver(&running, mta, SPOOFER, &spoof()).await;
        let value = answer.inserted(VERDICT_HEADER).unwrap();
        let header = VerdictHeader::parse(value.as_bytes()).unwrap();
        let stopped = running.stop().await;
        let verdict = &stopped.verdicts[0].verdict;
        assert_eq!(header.id(), verdict.id);
        let reason = format!(
            "q DMARC fail, p=reject: good.example (alignd {})",
            verdict.id
        );
        let expected = [
            format!("i0 X-Alignd-Verdict: {}", verdict.id),
            "i0 Authentication-Results: mx.test".to_owned(),
            reason,
            "c".to_owned(),
        ];
        assert_eq!(answer.summary(), expected);
        assert!(stopped.summary()[0].ends_with(" fail hold held"));
        let marks = Marks {
            message_id: Some("m1@good.example".to_owned()),
            author_domain: DomainName::parse("good.example").ok(),
            body: relaxed(b"Hello\r\n"),
        };
        assert_eq!(header.check(&marks, &key(), verdict.received), Ok(()));
    }
}

#[tokio::test]
async fn what_is_not_held_has_no_header_of_ours_and_no_copy_of_others() {
    let mut settings = holding();
    settings.trust.networks = vec!["10.0.0.0/8".parse().unwrap()];
    let running = start(settings).await;
    let copy = "0193ffff-0000-7000-8000-000000000000; exp=4000000000;\n\thmac=00";
    let good = || Mail::plain("<a@good.example>").field("From", " a@good.example");
    let copied = |mail: Mail<'static>| {
        mail.field("X-Alignd-Verdict", copy)
            .field("Subject", " x")
            .field("x-alignd-VERDICT", "")
    };
    let removed = ["m2 X-Alignd-Verdict:", "m1 X-Alignd-Verdict:"];
    let results = "i0 Authentication-Results: mx.test";
    let at = &running;
    let from =
        |client, mail| async move { deliver(at, Mta::Postfix, client, &mail).await.summary() };
    assert_eq!(from("192.0.2.9:25", good()).await, [results, "c"]);
    let judged = [&removed[..], &[results, "c"]].concat();
    assert_eq!(from("192.0.2.9:25", copied(good())).await, judged);
    for trusted in ["10.1.2.3:25", "127.0.0.1:0"] {
        let passed_over = [&removed[..], &["c"]].concat();
        assert_eq!(from(trusted, copied(spoof())).await, passed_over);
    }
    let held = from(SPOOFER, copied(spoof())).await;
    assert_eq!(held[..2], removed);
    assert!(held[2].starts_with("i0 X-Alignd-Verdict: "), "{held:?}");
    assert_eq!(running.stop().await.verdicts.len(), 3);
}

#[tokio::test]
async fn a_thousand_copies_are_removed_and_mail_with_more_is_refused() {
    let mut settings = holding();
    settings.trust.networks = vec!["10.0.0.0/8".parse().unwrap()];
    let running = start(settings).await;
    let copies = |count: usize| {
        let mail = (0..count).fold(spoof(), |mail, _| mail.field("X-Alignd-Verdict", " x"));
        mail.field("Authentication-Results", " mx.test; dmarc=pass")
    };
    let refused = "550 5.7.1 Message carries too many forged header fields\0";
    for client in [SPOOFER, "10.0.0.1:25"] {
        let believed = client.starts_with("10.");
        let answer = deliver(&running, Mta::Sendmail, client, &copies(999)).await;
        let changes = answer.summary();
        let deleted = changes.iter().filter(|line| line.starts_with('m')).count();
        assert_eq!(deleted, if believed { 999 } else { 1_000 });
        for many in [1_001, 10_000] {
            let answer = deliver(&running, Mta::Sendmail, client, &copies(many)).await;
            assert_eq!(String::from_utf8_lossy(&answer.last.payload), refused);
            assert!(answer.changes.is_empty());
        }
    }
    let stopped = running.stop().await;
    let outcomes = stopped.summary();
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    assert!(outcomes[1].ends_with(" reject rejected"), "{outcomes:?}");
}

#[tokio::test]
async fn mail_without_an_author_is_held_with_its_own_words() {
    let running = start(holding()).await;
    let answer = deliver(&running, Mta::Postfix, SPOOFER, &Mail::plain("<>")).await;
    let told = answer.summary();
    assert!(told[2].starts_with("q no From (alignd "), "{told:?}");
    assert!(answer.inserted(VERDICT_HEADER).is_some());
    assert_eq!(
        running.stop().await.summary()[0],
        "4jXW5m5GBtz1St01 - hold held"
    );
}

/// It would wait in the queue with nobody to know of it.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_held() {
    let mut settings = holding();
    settings.on_store_failure = OnFailure::Accept;
    let running = start(settings).await;
    running.store.clone().close().await;
    let answer = deliver(&running, Mta::Postfix, SPOOFER, &spoof()).await;
    assert_eq!(answer.summary(), ["y"]);
    let good = Mail::plain("<a@good.example>").field("From", " a@good.example");
    let answer = deliver(&running, Mta::Postfix, "192.0.2.9:25", &good).await;
    assert_eq!(answer.summary().last().unwrap(), "c");
    assert!(running.stop().await.verdicts.is_empty());
}

#[tokio::test]
async fn an_mta_that_holds_nothing_for_milters_is_told_to_come_again() {
    const QUARANTINE: u32 = 0x20;
    let running = start(holding()).await;
    let raw = running.raw("unix").await;
    let raw = raw.offering(6, 0x1ff & !QUARANTINE, 0x1f_ffff);
    let mut session = Mta::Postfix.session(raw, "h", SPOOFER, "evil").await;
    let answer = session.deliver(&spoof()).await;
    let later = "451 4.3.0 Message cannot be evaluated now, try again later\0";
    assert_eq!(String::from_utf8_lossy(&answer.last.payload), later);
    assert!(answer.changes.is_empty());
    session.quit().await;
    let outcome = &running.stop().await.summary()[0];
    assert!(outcome.ends_with(" fail hold tempfailed"), "{outcome}");
}

/// The digest of a body that relaxing doesn't change.
fn relaxed(body: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    digest.as_ref().try_into().unwrap()
}
