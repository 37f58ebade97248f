//! `alignd status` on stores whose reports don't get out: what it says needs a hand, and what it passes
//! over because it mends itself.

use crate::kept_reports::{keep, verified};
use crate::plain_verdict::plain_verdict;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::report::aggregate::Format;
use alignd::store::{Attempt, Destination, Reports, Standing, Store, StoreSettings};
use alignd::time::Timestamp;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The window is always open: that in which a day was due ended at the next midnight.
const SETTINGS: &str = "\
store.path = \"{}\"
report.enabled = true
report.send_window = \"00:00-23:59\"
report.settle = \"0s\"
delivery.smtp = \"smart.example:587\"
";

struct Desk {
    home: tempfile::TempDir,
    reports: Reports,
    now: Timestamp,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        let now = Timestamp::from_seconds(now.as_secs() as i64);
        let store = StoreSettings {
            path: home.path().join("store"),
            ..StoreSettings::default()
        };
        let text = SETTINGS.replace("{}", &store.path.display().to_string());
        std::fs::write(home.path().join("alignd.toml"), text).expect("our own directory");
        Self {
            reports: Reports::open(&store, now).expect("opens"),
            home,
            now,
        }
    }

    /// A message accepted so many days ago.
    fn accepted(&self, days: i64) {
        let at = self.now.plus_micros(-days * 86_400_000_000);
        let store = StoreSettings {
            path: self.home.path().join("store"),
            ..StoreSettings::default()
        };
        let work = async {
            let store = Store::open(&store, at).expect("a store");
            let verdict = Arc::new(plain_verdict("a.example", at, days as u32));
            let accepted = Outcome::new(OutcomeState::Accepted, at, OutcomeSource::Reply);
            let id = verdict.id;
            store.record(verdict).await.expect("recorded");
            store.confirm(id, accepted);
            store.close().await;
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(work);
    }

    /// A report built `built` minutes ago, of which this came `tried` minutes ago.
    fn tried(&self, nth: usize, [built, tried]: [i64; 2], came: &str) {
        let ago = |minutes: i64| self.now.plus_micros(-minutes * 60_000_000);
        let to = vec![Destination {
            standing: Standing::Verified(ago(built)),
            ..verified(&format!("d@h{nth}.example"))
        }];
        keep(
            &self.reports,
            &format!("p{nth}.example"),
            Format::Rfc9990,
            to,
            ago(built),
        );
        let due = self
            .reports
            .take_due("", 100, ago(tried), Duration::from_secs(3_600));
        let entry = due
            .expect("taken")
            .into_iter()
            .next_back()
            .expect("it is due");
        let answer = format!("{came} said {nth}");
        let attempt = match came {
            "sent" => Attempt::Sent { answer },
            "expired" => Attempt::Expired { answer },
            _ => Attempt::Deferred {
                next_try: ago(-600),
                answer,
            },
        };
        assert!(
            self.reports
                .record_attempt(&entry, &attempt)
                .expect("recorded")
        );
    }

    /// What it says, blanks and line ends alike.
    fn says(&self) -> String {
        says(self.home.path())
    }
}

fn says(home: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_alignd"))
        .args(["status", "--config"])
        .arg(home.join("alignd.toml"))
        .output();
    let out = output.expect("the binary runs").stdout;
    let text = String::from_utf8(out).expect("UTF-8");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const STOPPED: &str = "no report mail gets out";
const GIVEN_UP: &str = "were given up in the last week";

#[test]
fn mail_that_does_not_get_out_is_told() {
    let week = 7 * 24 * 60;
    for (tries, says, says_not) in [
        (
            vec![],
            vec!["0 wait, 0 refused, 0 expired"],
            vec![STOPPED, GIVEN_UP],
        ),
        // Deferred at its first try: that is nothing.
        (vec![([30, 20], "deferred")], vec!["1 wait,"], vec![STOPPED]),
        (
            vec![([90, 80], "deferred"), ([90, 10], "sent")],
            vec!["1 wait,"],
            vec![STOPPED],
        ),
        (
            vec![
                ([300, 250], "sent"),
                ([300, 20], "deferred"),
                ([290, 10], "deferred"),
            ],
            vec![
                "no report mail gets out: 2 wait, the first since 20",
                "smart.example:587 said: deferred said 2",
                "until delivery.retry_for (3d) is over",
            ],
            vec![GIVEN_UP],
        ),
        (
            vec![([5_000, 60], "expired")],
            vec![
                "1 report mails were given up in the last week after delivery.retry_for; the last answer: \
                 expired said 0",
                "alignd report resend 1 sends it again",
            ],
            vec![STOPPED],
        ),
        (
            vec![([week + 20, week + 10], "expired")],
            vec!["1 expired"],
            vec![GIVEN_UP],
        ),
    ] {
        let desk = Desk::new();
        for (nth, (times, came)) in tries.iter().enumerate() {
            desk.tried(nth, *times, came);
        }
        let page = desk.says();
        for words in says {
            assert!(page.contains(words), "{tries:?}: {words}: {page}");
        }
        for words in says_not {
            assert!(!page.contains(words), "{tries:?}: {words}: {page}");
        }
    }
}

#[test]
fn days_that_nobody_built_are_told() {
    let desk = Desk::new();
    let (late, nobody) = (
        "are not built, though their window is over",
        "nobody has looked yet",
    );
    let page = desk.says();
    assert!(!page.contains(late) && !page.contains(nobody), "{page}");
    // Yesterday's reports are due in today's window.
    desk.accepted(1);
    let page = desk.says();
    assert!(!page.contains(late) && !page.contains(nobody), "{page}");
    desk.accepted(3);
    let page = desk.says();
    assert!(
        page.contains(nobody) && page.contains("systemctl reload alignd"),
        "{page}"
    );
    let day = desk.now.plus_micros(-3 * 86_400_000_000).day();
    desk.reports.note_days(&[(day, 4)], 4).expect("noted");
    let page = desk.says();
    let words = format!("the reports about {day} {late}");
    assert!(
        page.contains(&words) && page.contains("alignd report build"),
        "{page}"
    );
    // Something of it was built: what came later waits for its window.
    let built = day.begin().plus_micros(1);
    keep(
        &desk.reports,
        "a.example",
        Format::Rfc9990,
        vec![verified("d@a.example")],
        built,
    );
    let page = desk.says();
    assert!(!page.contains(late) && !page.contains(nobody), "{page}");
}
