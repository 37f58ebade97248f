//! `reports.db`: leases and fences, keeping, the outbox, suppression, retention.

use crate::{NOW, settings};
use alignd::auth::dmarc::{AlignmentMode, DiscoveryMethod, Policy, PsdFlag};
use alignd::domain::DomainName;
use alignd::report::ReportId;
use alignd::report::aggregate::{Format, Head, NormalisedPolicy, Reporter};
use alignd::store::{
    Attempt, CameTo, Checked, Claimed, Consent, Destination, Failure, Finished, Include, LEASE,
    Lease, NewReport, Noted, OutboxEntry, Range, ReportFilter, ReportNumber, Reports, ReportsError,
    Standing, StoreSettings, Terms, Wanted,
};
use alignd::time::{Timestamp, UtcDay};
use std::path::Path;
use std::time::Duration;

pub const HOUR: Duration = Duration::from_secs(3_600);

pub fn later(seconds: i64) -> Timestamp {
    NOW.plus_micros(seconds * 1_000_000)
}

pub fn opened(directory: &Path) -> Reports {
    Reports::open(&settings(directory), NOW).unwrap()
}

fn domain(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn claim_at(reports: &Reports, name: &str, after: i64, now: Timestamp) -> Claimed {
    claim_beside(reports, NOW.day(), (name, after), &[], now)
}

fn claim_beside(
    reports: &Reports,
    day: UtcDay,
    (name, after): (&str, i64),
    beside: &[(UtcDay, i64)],
    now: Timestamp,
) -> Claimed {
    let expires = now.plus_micros(LEASE.as_micros() as i64);
    let asked = [Wanted {
        policy_domain: domain(name),
        after,
        beside: beside.to_vec(),
    }];
    let mut claimed = reports.claim(day, &asked, now, expires).unwrap();
    claimed.pop().unwrap()
}

/// A message held on one day and released on another could be counted for both.
#[test]
fn days_with_messages_in_common_are_not_built_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let (one, other) = (NOW.day(), UtcDay::from_number(NOW.day().number() + 2));
    let at = |day, beside: &[(UtcDay, i64)], now| {
        claim_beside(&reports, day, ("a.example", 0), beside, now)
    };
    let Claimed::Lease(lease) = at(one, &[(other, 0)], NOW) else {
        panic!("not leased");
    };
    assert!(matches!(at(other, &[(one, 0)], NOW), Claimed::Taken(_)));
    // Another domain, or a day without messages in common.
    assert!(matches!(
        claim_beside(&reports, other, ("b.example", 0), &[(one, 0)], NOW),
        Claimed::Lease(_)
    ));
    let finished = finished(lease, 7, Vec::new(), &[]);
    assert_eq!(reports.keep(&[finished], NOW).unwrap(), [true]);
    // What was seen is no longer so; seen anew it is.
    assert_eq!(at(other, &[(one, 0)], NOW), Claimed::Covered);
    assert!(matches!(at(other, &[(one, 7)], NOW), Claimed::Lease(_)));
}

pub fn claim(reports: &Reports, name: &str, after: i64) -> Lease {
    match claim_at(reports, name, after, NOW) {
        Claimed::Lease(lease) => lease,
        other => panic!("{name}: {other:?}"),
    }
}

pub fn report(name: &str, unique: &str) -> NewReport {
    let reporter = domain("reports.example");
    NewReport {
        head: Head {
            reporter: Reporter {
                org_name: "Example & Söhne".to_owned(),
                contact: "postmaster@reports.example".to_owned(),
                domain: reporter.clone(),
            },
            id: ReportId {
                unique: unique.to_owned(),
                domain: reporter,
            },
            day: NOW.day(),
            errors: vec!["sp: no such policy".to_owned()],
            policy_domain: domain(name),
            policy: NormalisedPolicy {
                p: Policy::Reject,
                sp: Some(Policy::Quarantine),
                np: None,
                adkim: AlignmentMode::Strict,
                aspf: AlignmentMode::Relaxed,
                fo: "1:d".to_owned(),
                testing: true,
                psd: PsdFlag::No,
                method: DiscoveryMethod::TreeWalk,
            },
        },
        format: Format::Rfc9990,
        part: 0,
        rows: 2,
        messages: 7,
        octets: 4,
        pieces: 0,
        last_piece: b"last".to_vec(),
    }
}

pub fn verified(address: &str) -> Destination {
    Destination {
        uri: format!("mailto:{address}"),
        address: Some(address.to_owned()),
        standing: Standing::Verified(NOW),
    }
}

pub fn finished(lease: Lease, up_to: i64, reports: Vec<NewReport>, to: &[&str]) -> Finished {
    Finished {
        lease,
        up_to,
        came_to: CameTo::Reported,
        include: Include::Accepted,
        messages: 7,
        left_out: 1,
        reports,
        destinations: to.iter().map(|address| verified(address)).collect(),
    }
}

/// Keeps one report of that domain for these addresses.
pub fn kept(reports: &Reports, name: &str, to: &[&str]) -> ReportNumber {
    let lease = claim(reports, name, 0);
    let unique = name.replace('.', "");
    let new = report(name, &unique);
    let finished = finished(lease, 10, vec![new], to);
    assert_eq!(reports.keep(&[finished], NOW).unwrap(), [true]);
    reports.find_by_id(&unique).unwrap().unwrap().number
}

#[test]
fn a_kept_report_is_read_back_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let lease = claim(&reports, "a.example", 0);
    let expires = later(900);
    for nth in 0..3 {
        reports
            .spool(&lease, (0, nth), &[nth as u8; 5], expires)
            .unwrap();
    }
    let new = NewReport {
        pieces: 3,
        ..report("a.example", "u1")
    };
    let done = finished(lease, 42, vec![new.clone()], &["d@a.example"]);
    assert_eq!(reports.keep(&[done], later(5)).unwrap(), [true]);

    let read = Reports::open_existing(directory.path()).unwrap();
    let found = read.find_by_id("u1@reports.example").unwrap().unwrap();
    assert_eq!(found.head, new.head);
    assert_eq!(
        found.range,
        Range {
            after: 0,
            up_to: 42
        }
    );
    assert_eq!(
        (found.rows, found.messages, found.octets, found.built),
        (2, 7, 4, later(5))
    );
    assert_eq!(read.find(found.number).unwrap(), Some(found.clone()));
    assert_eq!(read.find_by_id("u1@other.example").unwrap(), None);
    let pieces: Vec<Vec<u8>> = (0..)
        .map_while(|nth| read.piece(found.number, nth).unwrap())
        .collect();
    let last = b"last".to_vec();
    assert_eq!(pieces, [vec![0; 5], vec![1; 5], vec![2; 5], last]);
    for (seq, count) in [(0, 0), (1, 1), (42, 1), (43, 0)] {
        let reports = read
            .find_by_outcome(NOW.day(), &domain("a.example"), seq)
            .unwrap();
        assert_eq!(reports.len(), count, "{seq}");
    }
    let covered = read.covered(NOW.day(), &domain("a.example")).unwrap();
    assert_eq!(
        (covered.len(), covered[0].messages, covered[0].left_out),
        (1, 7, 1)
    );
    assert_eq!(read.covered_to(NOW.day()).unwrap()["a.example"].up_to, 42);
}

#[test]
fn a_lease_is_one_holders_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let other = opened(directory.path());
    let first = claim(&reports, "a.example", 0);
    reports.spool(&first, (0, 0), b"x", later(900)).unwrap();
    // 899 s on it is still the first one's; a piece makes it last longer.
    assert_eq!(
        claim_at(&other, "a.example", 0, later(899)),
        Claimed::Taken(later(900))
    );
    reports.spool(&first, (0, 1), b"x", later(1_500)).unwrap();
    assert_eq!(
        claim_at(&other, "a.example", 0, later(1_000)),
        Claimed::Taken(later(1_500))
    );
    let Claimed::Lease(second) = claim_at(&other, "a.example", 0, later(1_500)) else {
        panic!("an expired lease can be had")
    };
    // The first holder comes back to life: nothing of its is written any more.
    let spooled = reports.spool(&first, (0, 2), b"x", later(9_000));
    assert_eq!(spooled, Err(ReportsError::Fenced));
    let late = finished(first, 10, vec![report("a.example", "u1")], &["d@a.example"]);
    assert_eq!(reports.keep(&[late], later(1_501)).unwrap(), [false]);
    assert_eq!(reports.list(&ReportFilter::default()).unwrap(), []);
    other.spool(&second, (0, 0), b"y", later(9_000)).unwrap();
    let new = NewReport {
        pieces: 1,
        ..report("a.example", "u1")
    };
    let done = finished(second, 10, vec![new], &[]);
    assert_eq!(other.keep(&[done], later(1_502)).unwrap(), [true]);
    let kept = reports.find_by_id("u1").unwrap().unwrap();
    assert_eq!(reports.piece(kept.number, 0).unwrap().unwrap(), b"y");
    // Who knows less than what is covered gets nothing; who knows it begins behind it.
    assert_eq!(
        claim_at(&reports, "a.example", 0, later(1_503)),
        Claimed::Covered
    );
    assert_eq!(claim(&reports, "a.example", 10).after, 10);
}

#[test]
fn leases_given_back_can_be_had_again() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let lease = claim(&reports, "a.example", 0);
    reports.spool(&lease, (0, 0), b"x", later(900)).unwrap();
    reports.give_back(std::slice::from_ref(&lease)).unwrap();
    claim(&reports, "a.example", 0);
    let raw = rusqlite::Connection::open(directory.path().join("reports.db")).unwrap();
    let pieces: i64 = raw
        .query_row("SELECT count(*) FROM piece", [], |row| row.get(0))
        .unwrap();
    assert_eq!(pieces, 0);
}

#[test]
fn what_fails_is_not_kept_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    kept(&reports, "a.example", &["d@a.example"]);
    let lease = claim(&reports, "b.example", 0);
    // The same Report-ID again.
    let bad = finished(
        lease,
        10,
        vec![report("b.example", "aexample")],
        &["d@b.example"],
    );
    assert!(reports.keep(&[bad], NOW).is_err());
    assert_eq!(reports.list(&ReportFilter::default()).unwrap().len(), 1);
    assert!(
        reports
            .covered(NOW.day(), &domain("b.example"))
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        claim_at(&reports, "b.example", 0, NOW),
        Claimed::Taken(_)
    ));
}

#[test]
fn days_stay_open_until_all_of_them_is_dealt_with() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let [one, two] = [1, 2].map(UtcDay::from_number);
    assert_eq!(reports.looked_to().unwrap(), None);
    reports.note_days(&[(two, 7), (one, 5)], 9).unwrap();
    reports.note_days(&[(one, 12)], 12).unwrap();
    assert_eq!(reports.looked_to().unwrap(), Some(12));
    assert_eq!(reports.open_days().unwrap(), [(one, 12), (two, 7)]);
    reports.close_day(one, 11).unwrap();
    reports.close_day(two, 7).unwrap();
    assert_eq!(reports.open_days().unwrap(), [(one, 12)]);
}

pub fn take(
    reports: &Reports,
    after: &str,
    limit: usize,
    now: Timestamp,
) -> Vec<(String, OutboxEntry)> {
    let mut taken = reports.take_due(after, limit, now, HOUR).unwrap();
    let rest = limit - taken.len();
    taken.extend(reports.take_unverified(rest, now, HOUR).unwrap());
    taken
        .into_iter()
        .map(|entry| (entry.address.clone().unwrap_or_default(), entry))
        .collect()
}

pub fn addresses(taken: &[(String, OutboxEntry)]) -> String {
    let texts: Vec<&str> = taken.iter().map(|(address, _)| address.as_str()).collect();
    texts.join(" ")
}

#[test]
fn what_the_dead_had_in_hand_is_due_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (opened(directory.path()), opened(directory.path()));
    for host in ["a", "b", "c", "d"] {
        let name = format!("{host}.example");
        kept(&ours, &name, &[&format!("x@{name}")]);
    }
    let taken_back = |reports: &Reports, seconds| {
        let turn = reports.begin_turn(later(seconds)).unwrap();
        (turn.taken_back, turn)
    };
    let (none, turn) = taken_back(&ours, 0);
    assert_eq!(none, 0);
    let entries = take(&ours, "", 3, NOW);
    assert_eq!(addresses(&entries), "x@a.example x@b.example x@c.example");
    let sent = Attempt::Sent {
        answer: "250 ok".to_owned(),
    };
    assert!(ours.record_attempt(&entries[0].1, &sent).unwrap());
    let deferred = Attempt::Deferred {
        next_try: later(300),
        answer: "451 later".to_owned(),
    };
    assert!(ours.record_attempt(&entries[1].1, &deferred).unwrap());
    // Side by side: c is in somebody's hand, for all that the other one knows.
    let (none, other) = taken_back(&theirs, 60);
    assert_eq!(none, 0);
    assert_eq!(addresses(&take(&theirs, "", 9, later(60))), "x@d.example");
    drop(other);
    let (none, other) = taken_back(&theirs, 70);
    assert_eq!(none, 0);
    // Both are gone; what was deferred keeps its time.
    drop((turn, other));
    let (both, other) = taken_back(&theirs, 80);
    assert_eq!(both, 2);
    let again = take(&theirs, "", 9, later(80));
    assert_eq!(addresses(&again), "x@c.example x@d.example");
    assert_eq!(again[0].1.attempts, 2);
    // Who was thought to be dead can record nothing any more.
    assert!(!ours.record_attempt(&entries[2].1, &sent).unwrap());
    drop(other);
    assert_eq!(taken_back(&ours, 90).0, 2);
}

#[test]
fn failures_are_counted_and_suppressions_end() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let terms = Terms {
        failures: 9,
        until: &|_| later(9_000),
    };
    let count = |address: &str| {
        let failure = Failure {
            address,
            reason: "550 no such user",
            returned: None,
        };
        let noted = reports.fail(failure, &terms, later(100)).unwrap();
        assert_eq!(noted, Noted::Counted);
        let all = reports.suppressions().unwrap();
        let who = address.to_ascii_lowercase();
        let found = all.into_iter().find(|found| found.who == who).unwrap();
        (found.failures, found.times, found.until)
    };
    assert_eq!(count("D@A.example"), (1, 0, None));
    assert_eq!(count("d@a.example"), (2, 0, None));
    let suppressed = |address: &str, now| {
        let found = reports.suppressed(address, now).unwrap();
        found.map(|suppression| suppression.who)
    };
    assert_eq!(suppressed("d@a.example", NOW), None);
    let until = later(100);
    let done = reports
        .suppress("d@a.example", until, "twice", NOW)
        .unwrap();
    assert_eq!((done.failures, done.times, done.until), (0, 1, Some(until)));
    reports
        .suppress("b.example", until, "by hand", NOW)
        .unwrap();
    for (address, now, expected) in [
        ("d@a.example", later(99), Some("d@a.example")),
        ("D@A.EXAMPLE", later(99), Some("d@a.example")),
        ("d@a.example", later(100), None),
        ("e@a.example", later(1), None),
        ("any@b.example", later(1), Some("b.example")),
    ] {
        assert_eq!(suppressed(address, now).as_deref(), expected, "{address}");
    }
    assert_eq!(count("d@a.example"), (1, 1, Some(until)));
    assert!(reports.unsuppress("d@a.example").unwrap());
    assert!(!reports.unsuppress("d@a.example").unwrap());
    assert_eq!(reports.suppressions().unwrap().len(), 1);
}

#[test]
fn unconfirmed_destinations_are_noted_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let name = domain("a.example");
    let uri = "mailto:d@x.example";
    let checked = |consent| Checked {
        policy_domain: name.clone(),
        uri: uri.to_owned(),
        consent,
    };
    for checks in 1..3 {
        let unconfirmed = Consent::Unconfirmed {
            reason: "nothing there".to_owned(),
            next_check: later(60 * checks),
        };
        reports.note_checks(&[checked(unconfirmed)], NOW).unwrap();
    }
    let noted = reports.unconfirmed_of(&name).unwrap();
    assert_eq!((noted[0].checks, noted[0].next_check), (2, later(120)));
    let confirmed = [checked(Consent::Confirmed)];
    reports.note_checks(&confirmed, NOW).unwrap();
    assert_eq!(reports.unconfirmed_of(&name).unwrap(), []);
}

#[test]
fn reports_go_when_they_are_old_but_not_while_they_wait() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let day = |days: u64| Duration::from_secs(days * 86_400);
    let settings = StoreSettings {
        keep_reports: day(2),
        keep_messages: day(9),
        ..settings(directory.path())
    };
    for nth in 0..120 {
        kept(&reports, &format!("d{nth}.example"), &[]);
    }
    let waiting = kept(&reports, "waits.example", &["x@a.example"]);
    // A verdict of that day is still held, until it is not.
    let held_since = std::cell::Cell::new(Some(NOW));
    let expire = |days: i64| {
        let now = later(days * 86_400 + 1);
        let oldest = held_since.get();
        reports.expire(&settings, now, oldest).unwrap().reports
    };
    assert_eq!(expire(1), 0);
    assert_eq!(expire(2), 120);
    let left = reports.list(&ReportFilter::default()).unwrap();
    assert_eq!(left.len(), 1);
    // What it is about is still covered.
    assert_eq!(reports.covered_to(NOW.day()).unwrap().len(), 121);
    // It waits for longer than verdicts are kept.
    held_since.set(None);
    assert_eq!(expire(12), 0);
    assert_eq!(reports.covered_to(NOW.day()).unwrap().len(), 1);
    let found = reports.find(waiting).unwrap().unwrap();
    assert_eq!(found.head.policy_domain.as_str(), "waits.example");
    held_since.set(Some(NOW));
    let (_, entry) = take(&reports, "", 9, later(0)).pop().unwrap();
    let refused = Attempt::Refused {
        answer: "550".to_owned(),
    };
    reports.record_attempt(&entry, &refused).unwrap();
    assert_eq!(expire(3), 1);
    assert_eq!(reports.find(waiting).unwrap(), None);
    let raw = rusqlite::Connection::open(directory.path().join("reports.db")).unwrap();
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        raw.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(["outbox", "piece", "claim"].map(rows), [0, 0, 0]);
    assert_eq!(expire(12), 0);
    assert_eq!(rows("covered"), 1);
    held_since.set(None);
    assert_eq!(expire(12), 0);
    assert_eq!(rows("covered"), 0);
}

#[test]
fn listings_go_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let reports = opened(directory.path());
    let names: Vec<String> = (0..5).map(|nth| format!("d{nth}.example")).collect();
    let numbers: Vec<ReportNumber> = names.iter().map(|n| kept(&reports, n, &[])).collect();
    let listed = |filter: ReportFilter| -> Vec<ReportNumber> {
        let found = reports.list(&filter).unwrap();
        found.into_iter().map(|report| report.number).collect()
    };
    let all = ReportFilter::default();
    assert_eq!(
        listed(ReportFilter {
            below: Some(numbers[3]),
            limit: Some(2),
            ..all.clone()
        }),
        [numbers[2], numbers[1]]
    );
    let policy_domain = Some(domain("d4.example"));
    assert_eq!(
        listed(ReportFilter {
            policy_domain,
            ..all.clone()
        }),
        [numbers[4]]
    );
    let day = Some(UtcDay::from_number(1));
    assert_eq!(listed(ReportFilter { day, ..all }), []);
}
