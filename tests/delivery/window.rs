//! The loop's sending half: mail goes out while the send window is open, and waits for the next when
//! it is not.

use crate::kept_reports::{HandClock, NOW, domain, keep, open, verified};
use crate::smtp_server::{Does, SmtpServer, Step};
use alignd::build_report::BuildSettings;
use alignd::deliver::{DeliverySettings, Server, TlsMode};
use alignd::dns::zone::Zone;
use alignd::report::aggregate::{Format, Reporter};
use alignd::report::destination::PlainAddress;
use alignd::report::period::{SendSchedule, SendWindow};
use alignd::schedule::{Opened, Reporting, Sending, TURN, WayOut};
use alignd::send_report::SendSettings;
use alignd::store::{Include, Reports};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

fn reporting(home: &Path, port: u16) -> Reporting {
    let reporter = Reporter {
        org_name: "Example".to_owned(),
        contact: "postmaster@reports.example".to_owned(),
        domain: domain("reports.example"),
    };
    Reporting {
        schedule: SendSchedule {
            window: SendWindow::parse("17:00-18:00").expect("a window"),
            zone: "UTC".parse().expect("a zone"),
            settle: 0,
        },
        way_out: WayOut {
            send: SendSettings {
                from: PlainAddress::parse("dmarc-reports@reports.example").expect("an address"),
                report_domain: reporter.domain.clone(),
                max_destinations: 10,
                rate: 6_000,
                retry_for: Duration::from_secs(3 * 86_400),
            },
            delivery: DeliverySettings {
                smtp: Server {
                    host: "127.0.0.1".to_owned(),
                    port,
                },
                tls: TlsMode::None,
                ..DeliverySettings::default()
            },
            site_key: home.join("site.key"),
            host_name: "mx.reports.example".to_owned(),
        },
        build: BuildSettings {
            reporter,
            format: Format::Rfc9990,
            include: Include::Accepted,
            envelope_to: false,
            min_messages: 1,
            skip_domains: Vec::new(),
            only_domains: Vec::new(),
            spool: home.to_owned(),
        },
        max_destinations: 10,
    }
}

type Settings = Option<Arc<Reporting>>;

fn sending(
    reports: &Reports,
    clock: &Arc<HandClock>,
    settings: watch::Receiver<Settings>,
) -> Sending<Zone> {
    for n in ["a", "b", "c"] {
        keep(
            reports,
            &format!("{n}.example"),
            Format::Rfc9990,
            vec![verified(&format!("d@{n}.example"))],
            NOW,
        );
    }
    Sending {
        settings,
        reports: reports.clone(),
        resolver: Arc::new(Zone::new()),
        clock: clock.clone(),
        turn: TURN,
        opened: Opened::default(),
    }
}

#[tokio::test]
async fn what_does_not_fit_waits_for_the_next_window() {
    let home = tempfile::tempdir().expect("a directory");
    let reports = open(home.path());
    let clock = Arc::new(HandClock::new());
    let (settings, taken) = watch::channel(None);
    let settings = Arc::new(settings);
    let mails = Arc::new(AtomicUsize::new(0));
    let (slow, off, nth) = (clock.clone(), settings.clone(), mails.clone());
    let server = SmtpServer::start(move |step| {
        if let Step::Content(_) = step {
            match nth.fetch_add(1, Ordering::SeqCst) {
                // It took the rest of the window.
                0 => slow.forward(3_600),
                1 => _ = off.send_replace(None),
                _ => {}
            }
        }
        Does::Well
    });
    let mut sending = sending(&reports, &clock, taken);
    let on = Some(Arc::new(reporting(home.path(), server.port())));
    settings.send_replace(on.clone());
    // 17:00; 17:00 on the day after, when they are switched off meanwhile; and on again.
    for (seconds, sent) in [(3_600, 1), (0, 0), (82_800, 1), (0, 0)] {
        clock.forward(seconds);
        assert_eq!(sending.send_due().await.sent, sent, "{seconds}");
    }
    settings.send_replace(on);
    assert_eq!(sending.send_due().await.sent, 1);
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn an_answer_outlives_the_settings() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("reports.db");
    let reports = open(home.path());
    let clock = Arc::new(HandClock::new());
    let store = path.clone();
    let server = SmtpServer::start(move |step| {
        if let Step::Content(_) = step {
            let store = rusqlite::Connection::open(&store).expect("opens");
            let trigger = "CREATE TRIGGER IF NOT EXISTS full BEFORE UPDATE OF state ON outbox
                           BEGIN SELECT RAISE(FAIL, 'no room'); END";
            store.execute(trigger, []).expect("a trigger");
        }
        Does::Well
    });
    let (settings, taken) = watch::channel(None);
    let mut sending = sending(&reports, &clock, taken);
    clock.forward(3_600);
    let first = reporting(home.path(), server.port());
    let mut unusable = first.clone();
    unusable.way_out.delivery.dkim_key_file = Some(home.path().join("none"));
    unusable.way_out.delivery.dkim_selector = Some("s".to_owned());
    let mut third = first.clone();
    third.way_out.send.rate = 3_000;
    for one in [first, unusable] {
        settings.send_replace(Some(Arc::new(one)));
        assert_eq!(sending.send_due().await.sent, 0);
        assert_eq!(server.received().len(), 1);
    }
    let store = rusqlite::Connection::open(path).expect("opens");
    store.execute("DROP TRIGGER full", []).expect("it was made");
    settings.send_replace(Some(Arc::new(third)));
    // The next mail finds no room either.
    sending.send_due().await;
    let received = server.received();
    let to: Vec<&String> = received.iter().flat_map(|mail| &mail.to).collect();
    assert_eq!(to, ["<d@a.example>", "<d@b.example>"]);
}

#[tokio::test]
async fn mail_waits_for_the_window() {
    let home = tempfile::tempdir().expect("a directory");
    let server = SmtpServer::start(|_| Does::Well);
    let reports = open(home.path());
    let clock = Arc::new(HandClock::new());
    let (settings, taken) = watch::channel(None);
    let mut sending = sending(&reports, &clock, taken);
    let on = Some(Arc::new(reporting(home.path(), server.port())));
    // It is 16:00; an hour's window opens at 17:00. Reports are on, or off.
    for (seconds, on, sent) in [
        (0, on.clone(), 0),
        (3_599, on.clone(), 0),
        (1, None, 0),
        // 18:00, and the window has closed.
        (3_600, on.clone(), 0),
        // 16:59:59 on the day after.
        (82_799, on.clone(), 0),
        (1, on.clone(), 3),
        (60, on.clone(), 0),
    ] {
        settings.send_replace(on);
        clock.forward(seconds);
        assert_eq!(sending.send_due().await.sent, sent);
    }
    assert_eq!(server.received().len(), 3);
}
