//! Reports in a store's outbox, without mail that caused them, and a clock that is moved by hand.
//!
//! Use from a test: `#[path = "../support/kept_reports.rs"] mod kept_reports;`.

use alignd::auth::dmarc::{AlignmentMode, DiscoveryMethod, Policy, PsdFlag};
use alignd::domain::DomainName;
use alignd::report::ReportId;
use alignd::report::aggregate::{Format, Head, NormalisedPolicy, Reporter};
use alignd::store::{
    CameTo, Claimed, Destination, Finished, Include, NewReport, ReportNumber, Reports, Standing,
    StoreSettings, Wanted,
};
use alignd::time::{Clock, Timestamp};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

pub const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

/// Stands still until it is moved.
pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn new() -> Self {
        Self(AtomicI64::new(NOW.micros()))
    }

    pub fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub fn open(directory: &Path) -> Reports {
    let settings = StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    };
    Reports::open(&settings, NOW).expect("opens")
}

pub fn domain(text: &str) -> DomainName {
    DomainName::parse(text).expect("a domain")
}

/// The standing of a destination that may be used.
pub fn verified(address: &str) -> Destination {
    Destination {
        uri: format!("mailto:{address}"),
        address: Some(address.to_owned()),
        standing: Standing::Verified(NOW),
    }
}

/// Keeps a report about `policy_domain` for these destinations, built at `now`.
pub fn keep(
    reports: &Reports,
    policy_domain: &str,
    format: Format,
    destinations: Vec<Destination>,
    now: Timestamp,
) -> ReportNumber {
    let asked = [Wanted {
        policy_domain: domain(policy_domain),
        after: 0,
        beside: Vec::new(),
    }];
    let expires = now.plus_micros(3_600_000_000);
    let claimed = reports
        .claim(now.day(), &asked, now, expires)
        .expect("claims");
    let Some(Claimed::Lease(lease)) = claimed.into_iter().next() else {
        panic!("{policy_domain} of that day is claimed or covered already");
    };
    let unique = format!("{}x{}", policy_domain.replace('.', "-"), now.seconds());
    let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
    let finished = Finished {
        lease,
        up_to: 10,
        came_to: CameTo::Reported,
        include: Include::Accepted,
        messages: 1,
        left_out: 0,
        reports: vec![report(policy_domain, &unique, format, now)],
        destinations,
    };
    assert_eq!(reports.keep(&[finished], now).expect("keeps"), [true]);
    let kept = reports.find_by_id(&unique).expect("readable");
    kept.expect("it was kept").number
}

fn report(name: &str, unique: &str, format: Format, now: Timestamp) -> NewReport {
    let reporter = domain("reports.example");
    NewReport {
        head: Head {
            reporter: Reporter {
                org_name: "Example".to_owned(),
                contact: "postmaster@reports.example".to_owned(),
                domain: reporter.clone(),
            },
            id: ReportId {
                unique: unique.to_owned(),
                domain: reporter,
            },
            day: now.day(),
            errors: Vec::new(),
            policy_domain: domain(name),
            policy: NormalisedPolicy {
                p: Policy::Reject,
                sp: None,
                np: None,
                adkim: AlignmentMode::Relaxed,
                aspf: AlignmentMode::Relaxed,
                fo: "0".to_owned(),
                testing: false,
                psd: PsdFlag::Unknown,
                method: DiscoveryMethod::TreeWalk,
            },
        },
        format,
        part: 0,
        rows: 1,
        messages: 1,
        octets: 2_000,
        pieces: 0,
        last_piece: vec![b'z'; 2_000],
    }
}
