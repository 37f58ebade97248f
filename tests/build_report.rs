//! Building reports: what a day comes to, and what it comes to when the process is killed.
//!
//! No test harness: the program starts itself again as the process that is killed.

#[path = "support/bulk.rs"]
mod bulk;

use alignd::build_report::{
    Asked, BuildSettings, Builder, Built, Destinations, look, plan, preview,
};
use alignd::domain::DomainName;
use alignd::report::aggregate::{Format, Reporter};
use alignd::store::{
    CameTo, Claimed, Destination, Include, KeptReport, Reader, ReportFilter, Reports, Standing,
    StoreSettings, Wanted,
};
use alignd::time::{Clock, Timestamp, UtcDay};
use bulk::Bulk;
use flate2::read::GzDecoder;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DAY: UtcDay = UtcDay::from_number(20_779);
const KILLS: u32 = 25;
const PART: &str = "ALIGND_BUILD_TEST_PART";
const PLACE: &str = "ALIGND_BUILD_TEST_PLACE";

fn main() {
    let place = std::env::var_os(PLACE).map(PathBuf::from);
    match (std::env::var(PART), place) {
        (Ok(part), Some(place)) => build_until_killed(&place, part.parse().expect("a number")),
        _ => {
            a_day_comes_to_its_reports();
            what_gets_no_report_is_told();
            others_are_let_be_and_trouble_is_passed_over();
            a_domain_whose_dns_is_slow_holds_up_nobody();
            kills_repeat_a_step_and_change_nothing();
        }
    }
}

/// The same time always.
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Everything goes where the record says.
struct AsPublished;

impl Destinations for AsPublished {
    async fn of(&self, asked: &Asked) -> Vec<Destination> {
        let uris = asked.record.record.rua.iter();
        uris.map(|uri| Destination {
            uri: uri.clone(),
            address: uri.strip_prefix("mailto:").map(str::to_owned),
            standing: Standing::Verified(DAY.begin()),
        })
        .collect()
    }
}

/// DNS that says nothing about one domain before it was asked for many others.
#[derive(Default)]
struct OneIsSlow {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Destinations for OneIsSlow {
    async fn of(&self, asked: &Asked) -> Vec<Destination> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let is_slow = asked.policy_domain == name("d3.example");
        for turn in 0..10_000_000 {
            tokio::task::yield_now().await;
            if !is_slow && turn >= 3 || self.asked.load(Ordering::SeqCst) >= 600 {
                break;
            }
            assert!(turn < 9_999_999, "nobody else is asked for meanwhile");
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        AsPublished.of(asked).await
    }
}

fn settings(directory: &Path) -> BuildSettings {
    BuildSettings {
        reporter: Reporter {
            org_name: "Example".to_owned(),
            contact: "postmaster@reports.example".to_owned(),
            domain: name("reports.example"),
        },
        format: Format::Rfc9990,
        include: Include::Accepted,
        envelope_to: false,
        min_messages: 1,
        skip_domains: Vec::new(),
        only_domains: Vec::new(),
        spool: directory.to_owned(),
    }
}

fn name(text: &str) -> DomainName {
    DomainName::parse(text).expect("a domain")
}

fn open(directory: &Path) -> (Reader, Reports) {
    let settings = StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    };
    let reports = Reports::open(&settings, DAY.begin()).expect("opens");
    (Reader::open(directory).expect("a reader"), reports)
}

/// Builds the day at this hour of the next one; `progress` is told the domains done with.
fn build(
    directory: &Path,
    settings: &BuildSettings,
    hour: u32,
    progress: impl FnMut(u64),
) -> Built {
    build_to(directory, settings, &AsPublished, hour, progress)
}

fn build_to(
    directory: &Path,
    settings: &BuildSettings,
    destinations: &impl Destinations,
    hour: u32,
    mut progress: impl FnMut(u64),
) -> Built {
    let (reader, reports) = open(directory);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let now = DAY
        .begin()
        .plus_micros((24 + i64::from(hour)) * 3_600_000_000);
    let builder = Builder {
        settings,
        reader: &reader,
        reports: &reports,
        destinations,
        runtime: runtime.handle(),
        clock: &At(now),
    };
    look(&reader, &reports, now.day()).expect("looks");
    builder
        .build_day(DAY, |p| progress(p.done))
        .expect("builds")
}

fn all(reports: &Reports) -> Vec<KeptReport> {
    let limit = Some(u32::MAX);
    let filter = ReportFilter {
        limit,
        ..ReportFilter::default()
    };
    reports.list(&filter).expect("lists")
}

fn gz(reports: &Reports, report: &KeptReport) -> Vec<u8> {
    let pieces = (0..).map_while(|nth| reports.piece(report.number, nth).expect("a piece"));
    let gz: Vec<u8> = pieces.flatten().collect();
    assert_eq!(gz.len() as u64, report.octets);
    gz
}

fn xml(reports: &Reports, report: &KeptReport) -> String {
    let mut text = String::new();
    GzDecoder::new(gz(reports, report).as_slice())
        .read_to_string(&mut text)
        .expect("gzip, and UTF-8");
    text
}

/// The sum of all counts, and how many rows there are.
fn counted(xml: &str) -> (u64, u64) {
    let counts: Vec<u64> = xml
        .split("<count>")
        .skip(1)
        .map(|rest| rest.split('<').next().and_then(|n| n.parse().ok()))
        .map(|count| count.expect("a number"))
        .collect();
    (counts.iter().sum(), counts.len() as u64)
}

fn small() -> Bulk {
    Bulk {
        day: DAY,
        messages: 3_000,
        domains: 150,
        addresses: 400,
        grounds: 10,
    }
}

fn a_day_comes_to_its_reports() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = bulk::fill(directory.path(), &small());
    let built = build(directory.path(), &settings(directory.path()), 1, |_| {});
    assert_eq!(
        (built.domains, built.reports, built.messages, built.dropped),
        (150, 150, 3_000, 0)
    );
    let (reader, reports) = open(directory.path());
    let mut octets = HashMap::new();
    for report in all(&reports) {
        let xml = xml(&reports, &report);
        assert_eq!(counted(&xml), (report.messages, report.rows));
        let domain = report.head.policy_domain.as_str();
        let nth: u64 = domain[1..].split('.').next().unwrap().parse().unwrap();
        assert_eq!(report.messages, counts[&nth], "{domain}");
        assert!(xml.contains(&format!("<domain>{domain}</domain>")));
        let outbox = reports.outbox_of(report.number).expect("entries");
        assert_eq!(outbox.len(), 1);
        assert_eq!(outbox[0].address, Some(format!("dmarc@{domain}")));
        octets.insert(report.head.id.to_string(), gz(&reports, &report));
    }
    assert_eq!(octets.len(), 150);
    // Once more: nothing new, and the day is closed.
    let again = build(directory.path(), &settings(directory.path()), 2, |_| {});
    assert_eq!(again, Built::default());
    assert_eq!(reports.open_days().expect("days"), []);
    // The preview of what is not covered is empty, that of the whole day is what was sent.
    let sent = xml(&reports, &all(&reports)[0]);
    let domain = all(&reports)[0].head.policy_domain.clone();
    for (reports, expected) in [(None, sent.as_str()), (Some(&reports), "")] {
        let mut out = Vec::new();
        let settings = settings(directory.path());
        preview(&settings, &reader, reports, (DAY, &domain), &mut out).expect("a preview");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
    // The same store without its reports: the same octets, and the same ids.
    let copy = tempfile::tempdir().expect("a directory");
    let to = copy.path().join("alignd.db");
    reader.backup(&to).expect("a copy");
    build(copy.path(), &settings(copy.path()), 5, |_| {});
    let (_, again) = open(copy.path());
    for report in all(&again) {
        let id = report.head.id.to_string();
        assert_eq!(gz(&again, &report), octets[&id], "{id}");
    }
    // The same mail at another host, in the same name: the same but for the ids.
    let other = tempfile::tempdir().expect("a directory");
    bulk::fill(other.path(), &small());
    build(other.path(), &settings(other.path()), 5, |_| {});
    let (_, others) = open(other.path());
    let (mut ours, mut theirs) = (all(&reports), all(&others));
    assert_eq!((ours.len(), theirs.len()), (150, 150));
    ours.sort_by_key(|report| report.head.policy_domain.clone());
    theirs.sort_by_key(|report| report.head.policy_domain.clone());
    for (our, their) in ours.iter().zip(&theirs) {
        let (id, other) = (&our.head.id.unique, &their.head.id.unique);
        assert!(!octets.contains_key(&their.head.id.to_string()), "{id}");
        assert_ne!(our.head.file_name(), their.head.file_name());
        let expected = xml(&reports, our).replace(id.as_str(), other);
        assert_eq!(xml(&others, their), expected);
    }
    println!(
        "build: 150 of 150 reports count what was accepted, and are the same when built again"
    );
}

fn what_gets_no_report_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = bulk::fill(directory.path(), &small());
    let raw = rusqlite::Connection::open(directory.path().join("alignd.db")).expect("opens");
    raw.execute(
        "UPDATE dmarc_record SET rua = '[]' WHERE text LIKE '%@d3.example'",
        [],
    )
    .expect("no rua");
    let few = counts.values().filter(|count| **count < 8).count() as u64;
    assert!(few > 10 && counts[&2] >= 8 && counts[&3] >= 8);
    let settings = BuildSettings {
        min_messages: 8,
        skip_domains: vec![name("d2.example")],
        ..settings(directory.path())
    };
    let (reader, reports) = open(directory.path());
    let planned = plan(&settings, &reader, None, DAY).expect("a plan");
    let built = build(directory.path(), &settings, 1, |_| {});
    assert_eq!(built.dropped, few + 2);
    assert_eq!(built.reports, 150 - few - 2);
    let told = reports.not_reported(Some(DAY), None, 10_000).expect("told");
    let of = |domain: &str| {
        let found = told.iter().find(|c| c.policy_domain.as_str() == domain);
        found.map(|covered| covered.came_to)
    };
    assert_eq!(of("d1.example"), None);
    assert_eq!(of("d2.example"), Some(CameTo::Skipped));
    assert_eq!(of("d3.example"), Some(CameTo::NoDestination));
    assert_eq!(told.len() as u64, few + 2);
    for planned in planned {
        let domain = planned.summary.policy_domain.as_str();
        let expected = of(domain).unwrap_or(CameTo::Reported);
        assert_eq!(planned.came_to, expected, "{domain}");
    }
    let again = build(directory.path(), &settings, 2, |_| {});
    assert_eq!(again, Built::default());
    // Only these, on another store.
    let other = tempfile::tempdir().expect("a directory");
    bulk::fill(other.path(), &small());
    let only = BuildSettings {
        only_domains: vec![name("d7.example"), name("example.org")],
        ..settings
    };
    assert_eq!(build(other.path(), &only, 1, |_| {}).dropped, 149);
}

fn others_are_let_be_and_trouble_is_passed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    bulk::fill(directory.path(), &small());
    let raw = rusqlite::Connection::open(directory.path().join("alignd.db")).expect("opens");
    raw.execute(
        "UPDATE document SET text = '{' WHERE text LIKE '%\"d5.example\"%'",
        [],
    )
    .expect("damages");
    let (_, reports) = open(directory.path());
    let now = DAY.begin().plus_micros(25 * 3_600_000_000);
    let soon = now.plus_micros(1_000_000);
    let wanted = Wanted {
        policy_domain: name("d9.example"),
        after: 0,
        beside: Vec::new(),
    };
    let claimed = reports.claim(DAY, &[wanted], now, soon).expect("claims");
    let settings = settings(directory.path());
    let built = build(directory.path(), &settings, 1, |_| {});
    assert_eq!(
        (built.elsewhere, built.failed, built.reports),
        (1, 1, 148),
        "{built:?}"
    );
    assert_eq!(reports.open_days().expect("days").len(), 1);
    assert!(matches!(claimed.as_slice(), [Claimed::Lease(_)]));
    // Later the lease has ended, and that of the domain in trouble too.
    let built = build(directory.path(), &settings, 2, |_| {});
    assert_eq!((built.elsewhere, built.failed, built.reports), (0, 1, 1));
}

fn a_domain_whose_dns_is_slow_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let bulk = Bulk {
        messages: 2_000,
        domains: 1_000,
        ..small()
    };
    bulk::fill(directory.path(), &bulk);
    let (settings, slow) = (settings(directory.path()), OneIsSlow::default());
    let built = build_to(directory.path(), &settings, &slow, 1, |_| {});
    assert_eq!((built.reports, built.messages), (1_000, 2_000));
    assert_eq!(slow.asked.into_inner(), 1_000);
    let most = slow.most.into_inner();
    assert!((2..=256).contains(&most), "{most} at once");
    // Each got its own answer.
    let (_, reports) = open(directory.path());
    for report in all(&reports) {
        let outbox = reports.outbox_of(report.number).expect("entries");
        let expected = format!("dmarc@{}", report.head.policy_domain);
        assert_eq!(outbox[0].address, Some(expected));
    }
    println!("build: 1000 of 1000 domains, the look-ups of {most} side by side, one of them slow");
}

/// Kills a process that builds, at 25 points, always on the same store.
fn kills_repeat_a_step_and_change_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let bulk = Bulk {
        day: DAY,
        messages: 120_000,
        domains: 8_000,
        addresses: 60_000,
        grounds: 10,
    };
    let counts = bulk::fill(place, &bulk);
    // The report about domain 1 has several pieces.
    let (mut killed, mut random) = (0, 0x9e37_79b9_u32);
    for kill in 0..KILLS {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if build_and_kill(place, kill, random >> 8) {
            killed += 1;
        }
    }
    let (_, reports) = open(place);
    let before = all(&reports).len();
    let settings = settings(place);
    let last = build(place, &settings, KILLS + 1, |_| {});
    assert_eq!((last.elsewhere, last.failed), (0, 0));
    let kept = all(&reports);
    let ids: HashSet<String> = kept.iter().map(|r| r.head.id.to_string()).collect();
    let domains: HashSet<&str> = kept.iter().map(|r| r.head.policy_domain.as_str()).collect();
    assert_eq!(
        (kept.len(), ids.len(), domains.len()),
        (8_000, 8_000, 8_000)
    );
    for report in &kept {
        assert_eq!(report.head.day, DAY, "none for an open day");
        assert_eq!(
            counted(&xml(&reports, report)),
            (report.messages, report.rows)
        );
    }
    let largest = kept.iter().max_by_key(|report| report.rows).expect("one");
    let second = reports.piece(largest.number, 1).expect("reads");
    assert!(
        second.is_some(),
        "the largest has but one piece: {largest:?}"
    );
    let messages: u64 = kept.iter().map(|report| report.messages).sum();
    assert_eq!(messages, counts.values().sum::<u64>());
    let raw = rusqlite::Connection::open(place.join("reports.db")).expect("opens");
    let number = |sql: &str| -> i64 { raw.query_row(sql, [], |row| row.get(0)).expect("a number") };
    assert_eq!(number("SELECT count(*) FROM claim"), 0);
    assert_eq!(number("SELECT count(*) FROM outbox"), 8_000);
    let orphans = "SELECT count(*) FROM piece WHERE fence NOT IN (SELECT fence FROM report)";
    assert_eq!(number(orphans), 0);
    assert!(killed > KILLS / 2, "only {killed} kills hit a build");
    println!(
        "build: {KILLS} of {KILLS} kills ({killed} amid building, {before} reports kept by then): \
         {} reports, each once, none for an open day",
        kept.len()
    );
}

/// Kills a building process some time after it has done some domains; false when it was done before.
fn build_and_kill(place: &Path, kill: u32, random: u32) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("our own path"))
        .env(PART, kill.to_string())
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts itself");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let patience = random as usize % 4;
    for _ in lines.by_ref().map_while(Result::ok).take(patience) {}
    // Any point within a batch: whatever it is, the end is the same.
    std::thread::sleep(Duration::from_micros(u64::from(random % 60_000)));
    let amid = child.try_wait().expect("a child").is_none();
    child.kill().expect("kills it");
    child.wait().expect("it ended");
    amid
}

/// Builds the day, an hour later with each kill: the leases of the one before have ended by then.
fn build_until_killed(place: &Path, kill: u32) {
    println!("begins");
    build(place, &settings(place), kill + 1, |done| println!("{done}"));
}
