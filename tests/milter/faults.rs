//! What goes wrong: look-ups that panic or never end, a store that is gone, MTAs that hang up, mail
//! that is too large, settings that change.

use crate::mta::{Mail, Mta, Session};
use crate::running::{Running, settings, start, start_with, zone};
use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, LookupError, MxRecord, QueryName, Resolver, TxtRecord};
use alignd::store::OnFailure;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The tests' zone, until somebody asks for a name under `panic` or `never`.
struct Moody {
    zone: Zone,
    /// Whether it comes to its moods at once or after a while.
    at_once: bool,
}

impl Moody {
    fn new(at_once: bool) -> Self {
        Self {
            zone: zone(),
            at_once,
        }
    }

    async fn mood(&self, name: &QueryName) {
        if !self.at_once {
            tokio::task::yield_now().await;
        }
        assert!(!name.as_str().ends_with("panic.example"), "moody");
        if name.as_str().ends_with("never.example") {
            std::future::pending::<()>().await;
        }
    }
}

impl Resolver for Moody {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.mood(name).await;
        self.zone.txt(name).await
    }
    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.mood(name).await;
        self.zone.a(name).await
    }
    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.mood(name).await;
        self.zone.aaaa(name).await
    }
    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.mood(name).await;
        self.zone.mx(name).await
    }
    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.zone.ptr(address).await
    }
}

fn good() -> Mail<'static> {
    Mail::plain("<a@good.example>").field("From", " a@good.example")
}

const LATER: &str = "451 4.3.0 Message cannot be evaluated now, try again later\0";

#[tokio::test]
async fn a_panic_defers_one_message_and_the_session_goes_on() {
    for at_once in [true, false] {
        let running = start_with(Moody::new(at_once), settings()).await;
        let mut session = running.session(Mta::Postfix).await;
        let in_envelope = Mail::plain("<a@panic.example>").field("From", " a@good.example");
        let in_header = Mail::plain("<a@good.example>").field("From", " a@panic.example");
        for (mail, expected) in [
            (in_envelope, LATER),
            (good(), ""),
            (in_header, LATER),
            (good(), ""),
        ] {
            let answer = session.deliver(&mail).await;
            assert_eq!(String::from_utf8_lossy(&answer.last.payload), expected);
        }
        session.quit().await;
        assert_eq!(running.stop().await.verdicts.len(), 2);
    }
}

#[tokio::test]
async fn slow_look_ups_end_at_the_deadline_and_the_mta_hears_of_progress() {
    let mut settings = settings();
    settings.dns_deadline = Duration::from_millis(100);
    let running = start_with(Moody::new(false), settings).await;
    let mut session = running.session(Mta::Postfix).await;
    let mail = Mail::plain("<a@good.example>").field("From", " a@never.example");
    session.begin(&mail).await;
    session.content(&mail).await;
    session.send_end().await;
    assert_eq!(session.raw.read().await.kind, 'p');
    let answer = session.read_answer().await;
    assert_eq!(answer.last.kind, 'c');
    assert!(answer.results().contains("dmarc=temperror"));
    session.quit().await;
    let stopped = running.stop().await;
    let evaluation = stopped.verdicts[0].verdict.evaluation.as_ref().unwrap();
    let found = &evaluation.discovery[0].found;
    let deadline = alignd::auth::dmarc::Finding::Error(LookupError::Deadline);
    assert_eq!(*found, deadline);
}

#[tokio::test]
async fn a_store_that_fails_defers_or_lets_pass_as_told() {
    for (then, expected) in [
        (OnFailure::Tempfail, vec!["y"]),
        (
            OnFailure::Accept,
            vec!["i0 Authentication-Results: mx.test", "c"],
        ),
    ] {
        let mut settings = settings();
        settings.on_store_failure = then;
        let running = start(settings).await;
        running.store.clone().close().await;
        let mut session = running.session(Mta::Postfix).await;
        let answer = session.deliver(&good()).await;
        assert_eq!(answer.summary(), expected);
        session.quit().await;
        assert!(running.stop().await.verdicts.is_empty());
    }
}

/// A message whose evaluation takes until the deadline, up to the first sign of progress.
async fn wait_for_progress(running: &Running, socket: &str) -> Session {
    let raw = running.raw(socket).await;
    let mut session = Mta::Postfix.session(raw, "mx", "192.0.2.9:25", "mx").await;
    let mail = Mail::plain("<a@good.example>").field("From", " a@never.example");
    session.begin(&mail).await;
    session.content(&mail).await;
    session.send_end().await;
    assert_eq!(session.raw.read().await.kind, 'p');
    session
}

#[tokio::test]
async fn a_hang_up_at_the_end_is_never_taken_for_an_answer() {
    let mut settings = settings();
    settings.dns_deadline = Duration::from_millis(200);
    for socket in ["unix", "tcp"] {
        let running = start_with(Moody::new(true), settings.clone()).await;
        drop(wait_for_progress(&running, socket).await);
        // It is certain that nobody is there any more: no verdict at all.
        assert_eq!(running.stop().await.summary(), [""; 0]);
        let running = start_with(Moody::new(true), settings.clone()).await;
        let mut session = wait_for_progress(&running, socket).await;
        session.raw.stop_sending().await;
        // It may be there or not.
        assert_eq!(session.read_answer().await.last.kind, 'c');
        let stored = running.stop().await.summary();
        assert_eq!(stored, ["4jXW5m5GBtz1St01 temperror accept unknown"]);
    }
}

#[tokio::test]
async fn mail_beyond_the_limit_is_let_pass_and_said_so() {
    let mut settings = settings();
    settings.milter.max_message_bytes = 1_000;
    let running = start(settings).await;
    let mut session = running.session(Mta::Postfix).await;
    for size in [900, 1_001, 200_000] {
        let body = vec![b'x'; size];
        let mut mail = good();
        mail.body = &body;
        let results = session.deliver(&mail).await.results();
        assert_eq!(
            results.contains("not evaluated: size"),
            size > 1_000,
            "{results}"
        );
    }
    session.quit().await;
    let stopped = running.stop().await;
    let causes: Vec<_> = stopped
        .verdicts
        .iter()
        .map(|s| s.verdict.decision.cause())
        .collect();
    assert_eq!(causes[0].as_str(), "pass");
    assert_eq!(causes[1].as_str(), "not_evaluated_size");
    assert_eq!(causes[2].as_str(), "not_evaluated_size");
    assert!(stopped.verdicts[2].verdict.message.size > 200_000);
}

#[tokio::test]
async fn new_settings_hold_from_the_next_message_on() {
    let running = start(settings()).await;
    // An MTA that gets a reply to everything, so that it is known when the message has begun.
    let raw = running.raw("unix").await.offering(6, 0x1ff, 0x10_0000);
    let mut session = Mta::Sendmail.session(raw, "mx", "192.0.2.9:25", "mx").await;
    session.begin(&good()).await;
    let mut later = settings();
    later.authserv_id = "new.test".to_owned();
    running.settings.send_replace(std::sync::Arc::new(later));
    session.content(&good()).await;
    assert!(session.end().await.results().starts_with(" mx.test;"));
    assert!(
        session
            .deliver(&good())
            .await
            .results()
            .starts_with(" new.test;")
    );
    session.quit().await;
    assert_eq!(running.stop().await.verdicts.len(), 2);
}
