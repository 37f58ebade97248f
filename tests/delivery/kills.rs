//! Sending reports while it is killed, again and again: every report arrives, with one Report-ID, and twice
//! only where a kill took the server's answer away.
//!
//! The test starts its own program again, for one test of it, as the process that is killed. `ALIGND_KILLS`
//! says how often (25 without it; `contrib/soak` takes 500).

use crate::kept_reports::{HandClock, NOW, domain, keep, open, verified};
use crate::smtp_server::{Does, SmtpServer, Step};
use alignd::deliver::{DeliverySettings, Server, Smtp, Timeouts, TlsMode};
use alignd::dns::zone::Zone;
use alignd::report::aggregate::Format;
use alignd::report::destination::PlainAddress;
use alignd::send_report::{SendSettings, Sender};
use alignd::site_key::SiteKey;
use alignd::store::OutboxState;
use alignd::time::Clock;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const PLACE: &str = "ALIGND_SEND_TEST_PLACE";
const PORT: &str = "ALIGND_SEND_TEST_PORT";
const CLOCK: &str = "ALIGND_SEND_TEST_CLOCK";

#[test]
fn kills_lose_nothing() {
    kill_and_count(number("ALIGND_KILLS").unwrap_or(25));
}

/// The process that is killed; on its own it sends one report.
#[test]
fn the_process_that_is_killed() {
    if let (Some(place), Some(port)) = (std::env::var_os(PLACE), number(PORT)) {
        let port = u16::try_from(port).expect("a port");
        return send(&PathBuf::from(place), port, number(CLOCK).expect("a clock"));
    }
    let home = tempfile::tempdir().expect("a directory");
    let reports = open(home.path());
    let to = vec![verified("d@a.example")];
    let report = keep(&reports, "a.example", Format::Rfc9990, to, NOW);
    let server = SmtpServer::start(|_| Does::Well);
    send(home.path(), server.port(), 0);
    assert_eq!(
        reports.outbox_of(report).expect("readable")[0].state,
        OutboxState::Sent
    );
}

/// Seconds, by the clock set by hand, in which each process must have sent everything.
const PATIENCE: i64 = 30;

fn number(name: &str) -> Option<i64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Mails that a kill may come after; with two destinations for each report, twice as many as reports.
fn reports_for(kills: i64) -> i64 {
    kills * 4
}

fn kill_and_count(kills: i64) {
    let home = tempfile::tempdir().expect("a directory");
    let reports = open(home.path());
    let count = reports_for(kills);
    for n in 0..count {
        let to = [
            format!("a@h{}.example", n % 7),
            format!("b{n}@h{}.example", n % 11),
        ];
        let to = to.iter().map(|address| verified(address)).collect();
        keep(&reports, &format!("p{n}.example"), Format::Rfc9990, to, NOW);
    }
    let (arrived, arrivals) = channel();
    let server = SmtpServer::start(move |step| {
        if let Step::Content(_) = step {
            // Whoever doesn't listen any more has seen enough.
            _ = arrived.send(());
        }
        Does::Well
    });
    let mut seed: u64 = 9990;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for kill in 0..kills {
        let mut child = ourselves(home.path(), server.port(), kill)
            .spawn()
            .expect("starts itself");
        for _ in 0..=next(6) {
            let arrived = arrivals.recv_timeout(Duration::from_secs(60));
            arrived.expect("mail goes on arriving");
        }
        // Somewhere between one mail's arrival and the next one's.
        std::thread::sleep(Duration::from_micros(next(4_000)));
        child.kill().expect("kills it");
        child.wait().expect("it ended");
        while arrivals.try_recv().is_ok() {}
    }
    let last = ourselves(home.path(), server.port(), kills)
        .status()
        .expect("starts itself");
    assert!(last.success(), "{last}");
    let mut mails: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for mail in server.received() {
        mails.entry(mail.from).or_default().push(mail.content);
    }
    let doubles: usize = mails.values().map(|same| same.len() - 1).sum();
    assert_eq!(
        mails.len() as i64,
        count * 2,
        "every report to each of its destinations"
    );
    for same in mails.values() {
        assert!(same.iter().all(|mail| *mail == same[0]), "the same bytes");
    }
    assert!(doubles as i64 <= kills, "{doubles} doubles");
    for report in reports.list(&Default::default()).expect("readable") {
        for entry in reports.outbox_of(report.number).expect("readable") {
            assert_eq!(entry.state, OutboxState::Sent, "{entry:?}");
        }
    }
    println!(
        "sending: {kills} of {kills} kills lost none of {} mails; {doubles} arrived twice, with the same bytes",
        mails.len()
    );
}

fn ourselves(place: &Path, port: u16, kill: i64) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    // What was taken when the last one died is taken again at once, and not after an hour.
    let clock = kill * PATIENCE;
    command
        .args(["--exact", "kills::the_process_that_is_killed"])
        .stdout(Stdio::null())
        .env(PLACE, place)
        .env(PORT, port.to_string())
        .env(CLOCK, clock.to_string());
    command
}

/// Sends until nothing waits; the kill is expected before.
fn send(place: &Path, port: u16, clock: i64) {
    let reports = open(place);
    let hand = HandClock::new();
    hand.forward(clock);
    let delivery = DeliverySettings {
        smtp: Server {
            host: "127.0.0.1".to_owned(),
            port,
        },
        tls: TlsMode::None,
        ..DeliverySettings::default()
    };
    let smtp = Smtp::open(&delivery, "mx.reports.example", Timeouts::default()).expect("opens");
    let settings = SendSettings {
        from: PlainAddress::parse("dmarc-reports@reports.example").expect("an address"),
        report_domain: domain("reports.example"),
        max_destinations: 10,
        rate: 60_000,
        retry_for: Duration::from_secs(3 * 86_400),
    };
    let key = SiteKey::new(&[7; 32]);
    let mut sender = Sender::new(settings, reports, key, (smtp, None), Arc::new(Zone::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        while sender
            .round(&hand)
            .await
            .expect("the store works")
            .again
            .is_some()
        {
            hand.forward(1);
        }
    });
    let waited = (hand.now().micros() - NOW.micros()) / 1_000_000 - clock;
    assert!(waited < PATIENCE, "waited for {waited} s");
}
