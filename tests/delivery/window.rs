//! The loop's sending half: mail goes out while the send window is open, and waits for the next when
//! it is not.

use crate::kept_reports::{HandClock, NOW, domain, keep, open, verified};
use crate::smtp_server::{Does, SmtpServer};
use alignd::build_report::BuildSettings;
use alignd::deliver::{DeliverySettings, Server, TlsMode};
use alignd::dns::zone::Zone;
use alignd::report::aggregate::{Format, Reporter};
use alignd::report::destination::PlainAddress;
use alignd::report::period::{SendSchedule, SendWindow};
use alignd::schedule::{Opened, Reporting, Sending, TURN, WayOut};
use alignd::send_report::SendSettings;
use alignd::store::Include;
use std::path::Path;
use std::sync::Arc;
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

#[tokio::test]
async fn mail_waits_for_the_window() {
    let home = tempfile::tempdir().expect("a directory");
    let server = SmtpServer::start(|_| Does::Well);
    let reports = open(home.path());
    let clock = Arc::new(HandClock::new());
    let (settings, taken) = watch::channel(None);
    let mut sending = Sending {
        settings: taken,
        reports: reports.clone(),
        resolver: Arc::new(Zone::new()),
        clock: clock.clone(),
        turn: TURN,
        opened: Opened::default(),
    };
    keep(
        &reports,
        "a.example",
        Format::Rfc9990,
        vec![verified("d@a.example")],
        NOW,
    );
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
        (1, on.clone(), 1),
        (60, on.clone(), 0),
    ] {
        settings.send_replace(on);
        clock.forward(seconds);
        assert_eq!(sending.send_due().await.sent, sent);
        assert!(server.received().len() <= 1);
    }
    assert_eq!(server.received().len(), 1);
}
