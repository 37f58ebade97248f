//! The clock's loop over a real store: what it builds as the days go by, and what it leaves alone.

#[path = "support/plain_verdict.rs"]
mod plain_verdict;

use alignd::build_report::BuildSettings;
use alignd::deliver::{DeliverySettings, Server, TlsMode};
use alignd::dns::master;
use alignd::dns::zone::Zone;
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::report::aggregate::{Format, Reporter};
use alignd::report::destination::PlainAddress;
use alignd::report::period::{SendSchedule, SendWindow};
use alignd::schedule::{Reporting, Resting, Scheduler, TURN, WayOut};
use alignd::send_report::SendSettings;
use alignd::store::{
    Include, KeptReport, OutboxState, ReportFilter, Reports, Store, StoreSettings,
};
use alignd::time::{Clock, Timestamp};
use plain_verdict::plain_verdict;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A clock that stands until it is moved.
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct World {
    directory: tempfile::TempDir,
    clock: Arc<Moved>,
    settings: watch::Sender<Option<Arc<Reporting>>>,
    scheduler: Scheduler<Zone>,
    reports: Reports,
}

const ZONE: &str = "\
_dmarc.a.example. TXT \"v=DMARC1; p=reject; rua=mailto:dmarc@a.example,mailto:x@elsewhere.example\"\n\
_dmarc.a.example. TXT \"not dmarc\"\n\
_dmarc.b.example. TXT \"v=DMARC1; p=none; rua=mailto:dmarc@b.example\"\n\
;servfail _dmarc.broken.example\n";

impl World {
    /// With mail accepted at noon of 2026-05-05, from these domains, so many messages each.
    async fn with_mail(mail: &[(&str, u32)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let noon = at("2026-05-05T12:00");
        accept(directory.path(), mail, noon).await;
        let reports = Reports::open(&store(directory.path()), noon).unwrap();
        let clock = Arc::new(Moved(AtomicI64::new(noon.micros())));
        let (settings, taken) = watch::channel(Some(Arc::new(reporting(directory.path(), "UTC"))));
        let scheduler = Scheduler {
            settings: taken,
            resolver: Arc::new(master::parse(ZONE).unwrap()),
            reports: reports.clone(),
            store: directory.path().to_owned(),
            clock: clock.clone(),
            turn: TURN,
            resting: Resting::default(),
        };
        Self {
            directory,
            clock,
            settings,
            scheduler,
            reports,
        }
    }

    /// What one turn at this time builds, and how many reports there are then.
    async fn turn(&mut self, time: &str) -> (u64, usize) {
        self.clock.0.store(at(time).micros(), Ordering::SeqCst);
        let built = self.scheduler.build_due().await;
        assert_eq!((built.failed, built.elsewhere), (0, 0), "{time}");
        (built.reports, self.kept().len())
    }

    /// All reports, the oldest first.
    fn kept(&self) -> Vec<KeptReport> {
        let mut kept = self.reports.list(&ReportFilter::default()).unwrap();
        kept.sort_by_key(|report| report.number);
        kept
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{text}Z")).unwrap()
}

fn store(directory: &Path) -> StoreSettings {
    StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    }
}

fn reporting(directory: &Path, zone: &str) -> Reporting {
    Reporting {
        schedule: SendSchedule {
            window: SendWindow::NIGHT,
            zone: zone.parse().unwrap(),
            settle: 15 * 60 * 1_000_000,
        },
        build: BuildSettings {
            reporter: Reporter {
                org_name: "Receiver".to_owned(),
                contact: "postmaster@mx.example.org".to_owned(),
                domain: DomainName::parse("mx.example.org").unwrap(),
            },
            format: Format::Rfc9990,
            include: Include::Accepted,
            envelope_to: false,
            min_messages: 1,
            skip_domains: Vec::new(),
            only_domains: Vec::new(),
            spool: directory.to_owned(),
        },
        max_destinations: 10,
        way_out: way_out(directory),
    }
}

/// Nothing is sent here.
fn way_out(directory: &Path) -> WayOut {
    WayOut {
        send: SendSettings {
            from: PlainAddress::parse("dmarc-reports@mx.example.org").unwrap(),
            report_domain: DomainName::parse("mx.example.org").unwrap(),
            max_destinations: 10,
            rate: 6_000,
            retry_for: Duration::from_secs(86_400),
        },
        delivery: DeliverySettings {
            smtp: Server {
                host: "127.0.0.1".to_owned(),
                port: 9,
            },
            tls: TlsMode::None,
            ..DeliverySettings::default()
        },
        site_key: directory.join("site.key"),
        host_name: "mx.example.org".to_owned(),
    }
}

async fn accept(directory: &Path, mail: &[(&str, u32)], when: Timestamp) {
    let open = Store::open(&store(directory), when).unwrap();
    let mut nth = 0;
    for (domain, count) in mail {
        for _ in 0..*count {
            nth += 1;
            let received = when.plus_micros(i64::from(nth));
            let verdict = Arc::new(plain_verdict(domain, received, nth));
            let id = verdict.id;
            open.record(verdict).await.unwrap();
            open.confirm(
                id,
                Outcome::new(OutcomeState::Accepted, received, OutcomeSource::Reply),
            );
        }
    }
    open.close().await;
}

#[tokio::test]
async fn a_day_is_built_once_in_the_window_and_what_is_late_in_the_next() {
    let mut world = World::with_mail(&[("a.example", 3), ("b.example", 1)]).await;
    for (time, built, kept) in [
        ("2026-05-05T12:00", 0, 0),
        ("2026-05-05T23:59", 0, 0),
        ("2026-05-06T00:10", 0, 0),
        ("2026-05-06T00:59", 0, 0),
        ("2026-05-06T01:00", 2, 2),
        ("2026-05-06T01:01", 0, 2),
    ] {
        assert_eq!(world.turn(time).await, (built, kept), "{time}");
    }
    let counts: Vec<u64> = world.kept().iter().map(|report| report.messages).collect();
    assert_eq!(counts, [3, 1]);
    // A host that was late: its mail waits for the next window, and then is a report of its own.
    accept(
        world.directory.path(),
        &[("a.example", 2)],
        at("2026-05-05T23:00"),
    )
    .await;
    for (time, built, kept) in [
        ("2026-05-06T02:00", 0, 2),
        ("2026-05-06T12:00", 0, 2),
        // The clock went back: nothing is built, nothing forgotten.
        ("2026-04-06T02:00", 0, 2),
        ("2026-05-07T01:00", 1, 3),
        ("2026-05-08T01:00", 0, 3),
    ] {
        assert_eq!(world.turn(time).await, (built, kept), "{time}");
    }
    let kept = world.kept();
    let [first, _, late] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    assert_eq!((late.messages, late.head.day), (2, first.head.day));
    assert_ne!(late.head.id, first.head.id);
    assert_ne!(late.head.file_name(), first.head.file_name());
}

#[tokio::test]
async fn mails_go_where_the_record_says_now_each_at_its_place_in_the_window() {
    let mut world =
        World::with_mail(&[("a.example", 1), ("broken.example", 1), ("gone.example", 1)]).await;
    assert_eq!(world.turn("2026-05-06T01:00").await, (2, 2));
    let kept = world.kept();
    let outbox = |of: &str| {
        let report = kept.iter().find(|r| r.head.policy_domain.as_str() == of);
        world.reports.outbox_of(report.unwrap().number).unwrap()
    };
    let a = outbox("a.example");
    let states: Vec<_> = a.iter().map(|e| (e.address.as_deref(), e.state)).collect();
    assert_eq!(
        states,
        [
            (Some("dmarc@a.example"), OutboxState::Queued),
            // Whose host agreed to nothing.
            (None, OutboxState::Refused),
        ]
    );
    let next = a[0].next_try.unwrap();
    assert!(
        at("2026-05-06T01:00") <= next && next < at("2026-05-06T04:36"),
        "{next}"
    );
    // DNS is silent: the record that was seen last holds.
    let broken = outbox("broken.example");
    let found: Vec<_> = broken
        .iter()
        .map(|e| (e.address.as_deref(), e.state))
        .collect();
    let last = Some("dmarc-reports@broken.example");
    assert_eq!(found, [(last, OutboxState::Queued)]);
}

#[tokio::test]
async fn nothing_is_built_while_reports_are_off_and_all_of_it_once_they_are_on() {
    let mut world = World::with_mail(&[("b.example", 1)]).await;
    world.settings.send_replace(None);
    assert_eq!(world.turn("2026-05-06T02:00").await, (0, 0));
    let on = reporting(world.directory.path(), "America/Los_Angeles");
    world.settings.send_replace(Some(Arc::new(on)));
    // The zone is another one now: its night begins at 08:00 UTC.
    assert_eq!(world.turn("2026-05-06T02:30").await, (0, 0));
    assert_eq!(world.turn("2026-05-06T08:00").await, (1, 1));
}

#[tokio::test]
async fn the_days_of_a_week_without_alignd_are_built_oldest_first() {
    let mut world = World::with_mail(&[]).await;
    for day in 1..=5 {
        let noon = at(&format!("2026-05-0{day}T12:00"));
        accept(world.directory.path(), &[("b.example", day)], noon).await;
    }
    assert_eq!(world.turn("2026-05-06T12:00").await, (0, 0));
    assert_eq!(world.turn("2026-05-07T03:00").await, (5, 5));
    let days: Vec<String> = world
        .kept()
        .iter()
        .map(|r| r.head.day.to_string())
        .collect();
    assert_eq!(
        days,
        [
            "2026-05-01",
            "2026-05-02",
            "2026-05-03",
            "2026-05-04",
            "2026-05-05"
        ]
    );
}
