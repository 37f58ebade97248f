//! The outbox and a server: what is sent, when again, when no more, and who waits for whom.

use crate::kept_reports::{HandClock, NOW, domain, keep, open, verified};
use crate::smtp_server::{Does, SmtpServer, Step};
use alignd::deliver::{DeliverySettings, Server, Smtp, Timeouts, TlsMode};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, QueryName, Resolver, TxtRecord};
use alignd::domain::DomainName;
use alignd::report::aggregate::Format;
use alignd::report::bounce::Claim;
use alignd::report::destination::PlainAddress;
use alignd::send_report::{Round, SendSettings, Sender};
use alignd::site_key::SiteKey;
use alignd::store::{Destination, OutboxState, ReportNumber, Reports, Standing};
use alignd::time::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HOUR: i64 = 3_600;

pub struct Desk<R = Zone> {
    pub reports: Reports,
    pub clock: HandClock,
    pub server: SmtpServer,
    sender: Sender<R>,
    home: tempfile::TempDir,
}

pub fn key() -> SiteKey {
    SiteKey::new(&[7; 32])
}

impl Desk {
    pub fn open(manners: impl Fn(&Step) -> Does + Send + Sync + 'static) -> Self {
        Self::with(manners, 6_000, Zone::new())
    }
}

impl<R: Resolver + 'static> Desk<R> {
    pub fn with(
        manners: impl Fn(&Step) -> Does + Send + Sync + 'static,
        rate: u32,
        resolver: R,
    ) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let server = SmtpServer::start(manners);
        let reports = open(home.path());
        let delivery = DeliverySettings {
            smtp: Server {
                host: "127.0.0.1".to_owned(),
                port: server.port(),
            },
            tls: TlsMode::None,
            ..DeliverySettings::default()
        };
        let quick = Timeouts {
            connect: Duration::from_secs(5),
            command: Duration::from_secs(5),
            content: Duration::from_secs(5),
        };
        let smtp = Smtp::open(&delivery, "mx.reports.example", quick).expect("opens");
        let settings = SendSettings {
            from: PlainAddress::parse("dmarc-reports@reports.example").expect("an address"),
            report_domain: domain("reports.example"),
            max_destinations: 10,
            rate,
            retry_for: Duration::from_secs(3 * 86_400),
        };
        let sender = Sender::new(
            settings,
            reports.clone(),
            key(),
            (smtp, None),
            Arc::new(resolver),
        );
        Self {
            reports,
            clock: HandClock::new(),
            server,
            sender,
            home,
        }
    }

    pub fn store(&self) -> PathBuf {
        self.home.path().join("reports.db")
    }

    pub async fn round(&mut self) -> Round {
        self.sender
            .round(&self.clock)
            .await
            .expect("the store works")
    }

    /// A report to `d` at these hosts below `example`, none of which is verified.
    pub fn keep_unverified(&self, policy_domain: &str, hosts: &[&str]) -> ReportNumber {
        let to = hosts.iter().map(|host| Destination {
            uri: format!("mailto:d@{host}.example"),
            address: Some(format!("d@{host}.example")),
            standing: Standing::ToVerify(NOW),
        });
        let format = Format::Rfc9990;
        keep(&self.reports, policy_domain, format, to.collect(), NOW)
    }

    pub fn keep(&self, policy_domain: &str, to: &[&str]) -> ReportNumber {
        let to = to.iter().map(|address| verified(address)).collect();
        keep(
            &self.reports,
            policy_domain,
            Format::Rfc9990,
            to,
            self.clock.now(),
        )
    }

    /// `state answer` of a report's first entry.
    fn entry(&self, report: ReportNumber) -> String {
        let entries = self.reports.outbox_of(report).expect("readable");
        let entry = entries.first().expect("an entry");
        format!(
            "{} {}",
            entry.state,
            entry.last_answer.as_deref().unwrap_or_default()
        )
    }
}

/// Sent, deferred, refused, expired.
fn counts(round: &Round) -> [u32; 4] {
    [round.sent, round.deferred, round.refused, round.expired]
}

#[tokio::test]
async fn each_destination_gets_its_own_mail() {
    let mut desk = Desk::open(|_| Does::Well);
    let report = desk.keep("a.example", &["d@a.example", "x@b.example"]);
    let round = desk.round().await;
    assert_eq!((counts(&round), round.again), ([2, 0, 0, 0], None));
    let received = desk.server.received();
    assert_eq!(received.len(), 2);
    for (mail, to) in received.iter().zip(["d@a.example", "x@b.example"]) {
        assert_eq!(mail.to, [format!("<{to}>")]);
        let text = String::from_utf8(mail.content.clone()).expect("ASCII");
        assert!(text.contains(&format!("\r\nTo: {to}\r\n")), "{text}");
        assert!(
            text.contains("From: dmarc-reports@reports.example\r\n"),
            "{text}"
        );
        let claim = Claim::read(&mail.from).expect("a return path of ours");
        let to = PlainAddress::parse(to).expect("an address");
        let kept = desk.reports.find(report).expect("readable");
        let unique = kept.expect("a report").head.id.unique;
        assert!(claim.is_ours(&unique, &to, &domain("reports.example"), &key()));
    }
    assert_eq!(desk.entry(report), "sent 250 2.0.0 taken");
    desk.clock.forward(10 * HOUR);
    assert_eq!(counts(&desk.round().await), [0, 0, 0, 0], "once is enough");
}

#[tokio::test]
async fn one_domains_trouble_holds_up_nobody_and_has_an_end() {
    let mut desk = Desk::open(|step| match step {
        Step::Rcpt(to) if to.contains("slow.example") => Does::Says("450 4.2.0 later"),
        _ => Does::Well,
    });
    let slow = desk.keep("slow.example", &["d@slow.example"]);
    for n in 0..20 {
        desk.keep(&format!("p{n}.example"), &[&format!("d@h{n}.example")]);
    }
    let round = desk.round().await;
    assert_eq!((counts(&round), round.paused), ([20, 1, 0, 0], false));
    let mut waits = Vec::new();
    let mut total = 0;
    loop {
        let entries = desk.reports.outbox_of(slow).expect("readable");
        if entries[0].state == OutboxState::Expired {
            break;
        }
        let next = entries[0].next_try.expect("it waits");
        let wait = (next.micros() - desk.clock.now().micros()) / 1_000_000;
        waits.push(wait);
        total += wait;
        assert!(total < 4 * 86_400, "{waits:?}");
        desk.clock.forward(wait);
        desk.round().await;
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(
        (waits[0], waits.last()),
        (300, Some(&(4 * HOUR))),
        "{waits:?}"
    );
    assert!(total >= 3 * 86_400, "{total}");
    assert_eq!(desk.entry(slow), "expired 450 4.2.0 later");
    assert_eq!(desk.reports.outbox_counts().expect("readable").expired, 1);
}

#[tokio::test]
async fn a_lost_answer_brings_the_same_mail_again() {
    let contents = AtomicUsize::new(0);
    let mut desk = Desk::open(move |step| match step {
        Step::Content(_) if contents.fetch_add(1, Ordering::SeqCst) == 0 => Does::HangsUp,
        _ => Does::Well,
    });
    desk.keep("a.example", &["d@a.example"]);
    assert_eq!(counts(&desk.round().await), [0, 1, 0, 0]);
    desk.clock.forward(HOUR);
    assert_eq!(counts(&desk.round().await), [1, 0, 0, 0]);
    let received = desk.server.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].content, received[1].content);
    assert_eq!(received[0].from, received[1].from);
}

#[tokio::test]
async fn an_answer_that_the_store_cannot_take_down_is_not_lost() {
    let home = Arc::new(std::sync::OnceLock::<std::path::PathBuf>::new());
    let place = home.clone();
    let refuse = move |step: &Step| {
        if let Step::Content(_) = step {
            let path = place.get().expect("it was told").join("reports.db");
            let store = rusqlite::Connection::open(path).expect("opens");
            let trigger = "CREATE TRIGGER IF NOT EXISTS full BEFORE UPDATE OF state ON outbox
                           BEGIN SELECT RAISE(FAIL, 'no room'); END";
            store.execute(trigger, []).expect("a trigger");
        }
        Does::Well
    };
    let mut desk = Desk::open(refuse);
    home.set(desk.home.path().to_owned()).expect("once");
    let report = desk.keep("a.example", &["d@a.example"]);
    for _ in 0..2 {
        let failed = desk.sender.round(&desk.clock).await.expect_err("no room");
        assert!(failed.to_string().contains("no room"), "{failed}");
        desk.clock.forward(2 * HOUR);
        // Nobody else takes it for one that was left behind.
        let other = desk.reports.begin_turn(desk.clock.now()).expect("a turn");
        assert_eq!(other.taken_back, 0);
    }
    let store = rusqlite::Connection::open(desk.store()).expect("opens");
    store.execute("DROP TRIGGER full", []).expect("it was made");
    assert_eq!(counts(&desk.round().await), [0, 0, 0, 0]);
    assert_eq!(desk.entry(report), "sent 250 2.0.0 taken");
    assert_eq!(desk.server.received().len(), 1);
}

#[tokio::test]
async fn a_report_that_cannot_be_read_ends_too() {
    let mut desk = Desk::open(|_| Does::Well);
    let report = desk.keep("a.example", &["d@a.example"]);
    let store = rusqlite::Connection::open(desk.store()).expect("opens");
    let damage = "UPDATE report SET p = 'damaged'";
    store.execute(damage, []).expect("it was kept");
    for _ in 0..40 {
        desk.round().await;
        desk.clock.forward(4 * HOUR);
    }
    assert!(
        desk.entry(report).starts_with("expired "),
        "{}",
        desk.entry(report)
    );
}

#[tokio::test]
async fn a_server_in_trouble_is_left_alone_for_a_while() {
    let up = Arc::new(AtomicUsize::new(0));
    let state = up.clone();
    let mut desk = Desk::open(move |step| match step {
        Step::Greeting if state.load(Ordering::SeqCst) == 0 => Does::Says("421 4.3.2 no"),
        _ => Does::Well,
    });
    for n in 0..5 {
        desk.keep(&format!("p{n}.example"), &[&format!("d@h{n}.example")]);
    }
    let round = desk.round().await;
    assert_eq!(counts(&round), [0, 1, 0, 0], "one try shows it");
    assert!(round.paused);
    let again = round.again.expect("they wait");
    assert_eq!((again.micros() - NOW.micros()) / 1_000_000, 60);
    assert_eq!(counts(&desk.round().await), [0, 0, 0, 0]);
    up.store(1, Ordering::SeqCst);
    desk.clock.forward(61);
    assert_eq!(counts(&desk.round().await), [5, 0, 0, 0]);
}

#[tokio::test]
async fn a_stop_waits_for_the_mail_in_hand_and_takes_no_other() {
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = over.clone();
    let mut desk = Desk::open(move |step| {
        if let Step::Data = step {
            told.store(true, Ordering::SeqCst);
        }
        Does::Well
    });
    for n in 0..3 {
        desk.keep(&format!("p{n}.example"), &[&format!("d@h{n}.example")]);
    }
    let is_over = || over.load(Ordering::SeqCst);
    let round = desk.sender.round_until(&desk.clock, &is_over).await;
    assert_eq!(counts(&round.expect("the store works")), [1, 0, 0, 0]);
    assert_eq!(
        counts(&desk.round().await),
        [2, 0, 0, 0],
        "they were not taken"
    );
    assert_eq!(desk.server.received().len(), 3);
}

#[tokio::test]
async fn the_rate_holds() {
    let mut desk = Desk::with(|_| Does::Well, 60, Zone::new());
    for n in 0..40 {
        desk.keep(&format!("p{n}.example"), &[&format!("d@h{n}.example")]);
    }
    let round = desk.round().await;
    assert!(round.sent <= 12, "{round:?}");
    let again = round.again.expect("more wait");
    assert!(
        again > desk.clock.now() && again.seconds() <= NOW.seconds() + 2,
        "{round:?}"
    );
    let mut sent = round.sent;
    for _ in 0..60 {
        desk.clock.forward(1);
        sent += desk.round().await.sent;
    }
    assert_eq!(sent, 40);
    assert_eq!(desk.server.connections(), 1, "kept from mail to mail");
}

#[tokio::test]
async fn the_second_refusal_suppresses_the_address_then_its_domain() {
    let mut desk = Desk::open(|step| match step {
        Step::Rcpt(to) if to.contains("@dead.example") => Does::Says("550 5.1.1 no such user"),
        _ => Does::Well,
    });
    for n in 0..2 {
        let report = desk.keep(&format!("p{n}.example"), &["d@dead.example"]);
        assert_eq!(counts(&desk.round().await), [0, 0, 1, 0]);
        assert_eq!(desk.entry(report), "refused 550 5.1.1 no such user");
    }
    let connections = desk.server.connections();
    let third = desk.keep("p2.example", &["D@dead.example"]);
    assert_eq!(counts(&desk.round().await), [0, 0, 1, 0]);
    assert_eq!(desk.server.connections(), connections, "nothing was tried");
    let words = desk.entry(third);
    assert!(
        words.starts_with("refused d@dead.example is suppressed until 20"),
        "{words}"
    );
    assert!(words.ends_with(": 550 5.1.1 no such user"), "{words}");
    // A second address of the domain.
    for n in 3..5 {
        desk.keep(&format!("p{n}.example"), &["e@dead.example"]);
        desk.round().await;
    }
    let other = desk.keep("p5.example", &["f@dead.example"]);
    desk.round().await;
    let words = desk.entry(other);
    assert!(
        words.starts_with("refused dead.example is suppressed until 20"),
        "{words}"
    );
    // It has an end, and the next term is longer.
    let until = |who: &str| {
        let all = desk.reports.suppressions().expect("readable");
        let found = all.into_iter().find(|s| s.who == who).expect("it is there");
        found.until.expect("suppressed").seconds() - desk.clock.now().seconds()
    };
    assert_eq!(until("d@dead.example"), 7 * 86_400);
    desk.clock.forward(8 * 86_400);
    for n in 0..2 {
        desk.keep(&format!("q{n}.example"), &["d@dead.example"]);
        desk.round().await;
    }
    assert_eq!(
        desk.reports.suppressions().expect("readable").len(),
        3,
        "two addresses and their domain"
    );
}

#[tokio::test]
async fn a_domain_where_others_get_their_mail_is_not_suppressed() {
    let mut desk = Desk::open(|step| match step {
        Step::Rcpt(to) if to.contains("<dead") => Does::Says("550 5.1.1 no such user"),
        _ => Does::Well,
    });
    desk.keep("good.example", &["good@processor.example"]);
    for n in 0..6 {
        desk.keep(
            &format!("p{n}.example"),
            &[&format!("dead{}@processor.example", n / 2)],
        );
        desk.round().await;
    }
    let suppressed = desk.reports.suppressions().expect("readable");
    assert!(
        suppressed.iter().all(|s| s.who.starts_with("dead")),
        "{suppressed:?}"
    );
    assert_eq!(suppressed.len(), 3);
}

#[tokio::test]
async fn destinations_that_dns_said_nothing_about_are_verified_before_they_are_used() {
    let mut zone = Zone::new();
    let name =
        |to: &str| QueryName::parse(&format!("a.example._report._dmarc.{to}")).expect("a name");
    let agrees = |text: &str| ZoneRecord::Txt(TxtRecord::from_text(text));
    zone.add(&name("yes.example"), agrees("v=DMARC1"));
    zone.add(
        &name("other.example"),
        agrees("v=DMARC1; rua=mailto:e@other.example,mailto:f@other.example"),
    );
    zone.fail(&name("dead.example"), LookupError::Timeout);
    let mut desk = Desk::with(|_| Does::Well, 6_000, zone);
    let report = desk.keep_unverified("a.example", &["yes", "other", "no", "dead"]);
    let round = desk.round().await;
    assert_eq!((round.verified, counts(&round)), (2, [3, 1, 1, 0]));
    let mut sent: Vec<String> = desk
        .server
        .received()
        .into_iter()
        .flat_map(|m| m.to)
        .collect();
    sent.sort();
    assert_eq!(
        sent,
        ["<d@yes.example>", "<e@other.example>", "<f@other.example>"]
    );
    let states: Vec<String> = desk
        .reports
        .outbox_of(report)
        .expect("readable")
        .iter()
        .map(|entry| format!("{} {}", entry.uri, entry.state))
        .collect();
    assert!(
        states.contains(&"mailto:d@dead.example to_verify".to_owned()),
        "{states:?}"
    );
    assert!(
        states.contains(&"mailto:d@no.example refused".to_owned()),
        "{states:?}"
    );
    let noted = desk
        .reports
        .unconfirmed_of(&DomainName::parse("a.example").expect("a domain"))
        .expect("readable");
    assert_eq!(noted.len(), 1);
    assert!(noted[0].next_check > NOW, "{noted:?}");
}

#[tokio::test]
async fn a_resend_never_goes_to_who_did_not_agree() {
    let mut zone = Zone::new();
    let silent = QueryName::parse("a.example._report._dmarc.dead.example").expect("a name");
    zone.fail(&silent, LookupError::Timeout);
    let mut desk = Desk::with(|_| Does::Well, 6_000, zone);
    let report = desk.keep_unverified("a.example", &["dead", "no"]);
    let states = |desk: &Desk| {
        let entries = desk.reports.outbox_of(report).expect("readable");
        entries.iter().map(|e| e.state).collect::<Vec<_>>()
    };
    for _ in 0..60 {
        desk.round().await;
        desk.clock.forward(4 * HOUR);
    }
    let given_up = [OutboxState::Expired, OutboxState::Refused];
    assert_eq!(states(&desk), given_up);
    let now = desk.clock.now();
    assert_eq!(desk.reports.resend(report, now).expect("writable"), 2);
    desk.round().await;
    let asked = [OutboxState::ToVerify, OutboxState::Refused];
    assert_eq!(states(&desk), asked, "it has its time and its tries again");
    assert_eq!(desk.server.received(), []);
}

#[tokio::test]
async fn a_size_limit_holds_in_the_old_format_only() {
    let mut desk = Desk::open(|_| Does::Well);
    let small = |address: &str| Destination {
        uri: format!("mailto:{address}!1k"),
        ..verified(address)
    };
    for (format, policy_domain, expected) in [
        (Format::Rfc9990, "a.example", "sent 250 2.0.0 taken"),
        (Format::Rfc7489, "b.example", "refused "),
    ] {
        let report = keep(
            &desk.reports,
            policy_domain,
            format,
            vec![small("d@x.example")],
            NOW,
        );
        desk.round().await;
        let found = desk.entry(report);
        assert!(found.starts_with(expected), "{format}: {found}");
    }
}
