//! What became of messages, by the mail log: real files through every way of rotation, on a real store. By the hold
//! queue: `hold`.

mod hold;
mod queue;

#[path = "../support/plain_verdict.rs"]
mod plain_verdict;

use alignd::host::{FollowError, Follower, LogSource};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Change, Intent, Reader, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use alignd::verdict::VerdictId;
use plain_verdict::plain_verdict;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// 2026-11-22T16:00:00Z, when all messages come in.
const RECEIVED: i64 = 1_795_363_200;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
    }
}

/// A store, a log, and who follows it.
struct World {
    home: TempDir,
    store: Store,
    clock: Arc<Hands>,
    follower: Follower,
    messages: u32,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let now = Timestamp::from_seconds(RECEIVED);
        let settings = StoreSettings {
            path: home.path().to_owned(),
            ..StoreSettings::default()
        };
        let store = Store::open(&settings, now).unwrap();
        fs::write(home.path().join("mail.log"), "").unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(RECEIVED + 3_600)));
        let follower = follower(&home, &store, &clock);
        Self {
            home,
            store,
            clock,
            follower,
            messages: 0,
        }
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("mail.log")
    }

    /// A message under this id, `received` seconds after the first.
    async fn message(&mut self, id: &str, received: i64, state: OutcomeState) -> VerdictId {
        self.messages += 1;
        let at = Timestamp::from_seconds(RECEIVED + received);
        let mut verdict = plain_verdict("a.example", at, self.messages);
        verdict.envelope.queue_id = Some(id.to_owned());
        let verdict = Arc::new(verdict);
        let id = verdict.id;
        self.store.record(verdict).await.unwrap();
        self.answered(id, state, received).await;
        id
    }

    async fn answered(&self, id: VerdictId, state: OutcomeState, at: i64) {
        let at = Timestamp::from_seconds(RECEIVED + at);
        let outcome = Outcome::new(state, at, OutcomeSource::Reply);
        self.store.confirm(id, outcome);
        self.store.change(Vec::new()).await.unwrap();
    }

    fn write(&self, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.log())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    async fn moved(&mut self) -> u64 {
        self.follower.catch_up().await.unwrap().moved
    }

    /// Another process, which knows only what is on the disk.
    fn restart(&mut self) {
        self.follower = follower(&self.home, &self.store, &self.clock);
    }

    fn history(&self, id: VerdictId) -> Vec<OutcomeState> {
        let reader = Reader::open(self.home.path()).unwrap();
        let outcomes = reader.outcomes(id).unwrap();
        outcomes.iter().skip(1).map(|o| o.state).collect()
    }
}

fn follower(home: &TempDir, store: &Store, clock: &Arc<Hands>) -> Follower {
    let source = LogSource::File(home.path().join("mail.log"));
    let (store, clock) = (store.clone(), clock.clone());
    let turn = Duration::from_secs(1);
    Follower::open(&source, home.path(), chrono_tz::UTC, store, clock, turn).unwrap()
}

/// A line `second` seconds after the first message.
fn line(second: i64, program: &str, id: &str, text: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("Nov 22 16:{minute:02}:{second:02} mx1 {program}[17]: {id}: {text}\n")
}

fn released(second: i64, id: &str) -> String {
    line(second, "postfix/postsuper", id, "released from hold")
}

fn held(second: i64, id: &str) -> String {
    line(second, "postfix/postsuper", id, "placed on hold")
}

fn id(nth: u32) -> String {
    format!("{:010X}", 0x10_0000_0000_u64 + u64::from(nth))
}

use OutcomeState::{Accepted, Deleted, Held, RefusedLater, Released};

#[tokio::test]
async fn by_hand_and_by_another_milter() {
    let mut world = World::new();
    let mut messages = Vec::new();
    for (nth, state) in [
        (0, Held),
        (1, Held),
        (2, Accepted),
        (3, Accepted),
        (4, Held),
    ] {
        messages.push(world.message(&id(nth), 0, state).await);
    }
    world.write(&released(20, &id(0)));
    world.write(&line(20, "postfix/postsuper", &id(1), "removed"));
    let refused = "milter-reject: END-OF-MESSAGE from x[192.0.2.1]: 5.7.1 no; from=<a@b.example> to=<c@d.example>";
    world.write(&line(1, "postfix/cleanup", &id(2), refused));
    world.write(&line(9, "postfix/qmgr", &id(3), "removed"));
    // Put in again as new, held again under its new id, and deleted.
    world.write(&line(100, "postfix/postsuper", &id(4), "requeued"));
    let again = format!("uid=103 from=<x@evil.example> orig_id={}", id(4));
    world.write(&line(101, "postfix/pickup", &id(5), &again));
    world.write(&held(200, &id(5)));
    assert_eq!(world.moved().await, 5);
    world.restart();
    world.write(&line(300, "postfix/postsuper", &id(5), "removed"));
    assert_eq!(world.moved().await, 1);
    let histories: Vec<_> = messages.iter().map(|id| world.history(*id)).collect();
    let expected = [
        vec![Held, Released],
        vec![Held, Deleted],
        vec![Accepted, RefusedLater],
        vec![Accepted],
        vec![Held, Released, Held, Deleted],
    ];
    assert_eq!(histories, expected);
}

#[tokio::test]
async fn every_way_of_rotation() {
    let mut world = World::new();
    let message = world.message(&id(0), 0, Held).await;
    let hands = [released(60, &id(0)), held(120, &id(0))];
    let log = world.log();
    let rotated = world.home.path().join("mail.log.1");
    world.write(&hands[0]);
    assert_eq!(world.moved().await, 1);
    // Renamed and made anew; the last line still goes to the old one, and comes in two halves.
    fs::rename(&log, &rotated).unwrap();
    fs::write(&log, "").unwrap();
    let mut old = OpenOptions::new().append(true).open(&rotated).unwrap();
    let (half, rest) = hands[1].split_at(30);
    old.write_all(half.as_bytes()).unwrap();
    assert_eq!(world.moved().await, 0);
    old.write_all(rest.as_bytes()).unwrap();
    assert_eq!(world.moved().await, 1);
    world.write(&released(180, &id(0)));
    assert_eq!(world.moved().await, 1);
    // Twice between two runs, in part unread.
    world.write(&held(240, &id(0)));
    fs::rename(&rotated, world.home.path().join("mail.log.2")).unwrap();
    fs::rename(&log, &rotated).unwrap();
    world.write(&released(300, &id(0)));
    let oldest = world.home.path().join("mail.log.2");
    fs::rename(&rotated, &oldest).unwrap();
    fs::rename(&log, &rotated).unwrap();
    // Rotated at different times, as logs are.
    for (path, ago) in [(&oldest, 20), (&rotated, 10)] {
        let at = SystemTime::now() - Duration::from_secs(ago);
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(at)
            .unwrap();
    }
    world.write(&held(360, &id(0)));
    world.restart();
    assert_eq!(world.moved().await, 3);
    // Copied and truncated, with a line that was not read yet; the new one soon longer than the old.
    world.write(&released(420, &id(0)));
    fs::copy(&log, &rotated).unwrap();
    fs::write(&log, "").unwrap();
    for _ in 0..100 {
        world.write(&line(430, "postfix/qmgr", &id(9), "removed"));
    }
    world.write(&held(480, &id(0)));
    assert_eq!(world.moved().await, 2);
    // Truncated, and nothing kept.
    fs::write(&log, released(540, &id(0))).unwrap();
    assert_eq!(world.moved().await, 1);
    fs::remove_file(&log).unwrap();
    world.restart();
    let gone = world.follower.catch_up().await;
    assert!(matches!(gone, Err(FollowError::Log(_))), "{gone:?}");
    let expected = [Held, Released].repeat(5);
    assert_eq!(world.history(message), expected);
}

#[tokio::test]
async fn read_again_it_changes_nothing() {
    let mut world = World::new();
    let message = world.message(&id(0), 0, Held).await;
    for nth in 1..6 {
        world.write(&released(120 * nth, &id(0)));
        world.write(&held(120 * nth + 60, &id(0)));
    }
    assert_eq!(world.moved().await, 10);
    let once = world.history(message);
    fs::remove_file(world.home.path().join("mail-log.json")).unwrap();
    world.restart();
    let again = world.follower.catch_up().await.unwrap();
    assert_eq!((again.lines, again.moved), (10, 0));
    assert_eq!(world.history(message), once);
}

#[tokio::test]
async fn the_message_that_bore_the_id_then_is_meant() {
    let mut world = World::new();
    let first = world.message(&id(0), 0, Held).await;
    let second = world.message(&id(0), 600, Held).await;
    world.write(&released(300, &id(0)));
    world.write(&line(900, "postfix/postsuper", &id(0), "removed"));
    assert_eq!(world.moved().await, 2);
    assert_eq!(world.history(first), [Held, Released]);
    assert_eq!(world.history(second), [Held, Deleted]);
}

#[tokio::test]
async fn whoever_released_it_says_so_first() {
    let mut world = World::new();
    let message = world.message(&id(0), 0, Held).await;
    let by_hand = world.message(&id(2), 0, Held).await;
    world.clock.0.store(RECEIVED + 61, Ordering::Relaxed);
    let intent = Intent {
        verdict: message,
        at: Timestamp::from_seconds(RECEIVED + 59),
        by: "anna".to_owned(),
        document: "{}".to_owned(),
    };
    let intend = Change::Intend(intent);
    world.store.change(vec![intend]).await.unwrap();
    // What nobody said he would do was done by hand.
    world.write(&released(60, &id(2)));
    world.write(&released(60, &id(0)));
    let followed = world.follower.catch_up().await.unwrap();
    assert!(followed.waits && followed.moved == 1, "{followed:?}");
    assert_eq!(world.history(by_hand), [Held, Released]);
    // However long it takes him, he gives the reason.
    world.clock.0.store(RECEIVED + 90, Ordering::Relaxed);
    assert_eq!(world.moved().await, 0);
    let at = Timestamp::from_seconds(RECEIVED + 59);
    let mut outcome = Outcome::new(Released, at, OutcomeSource::Operator);
    outcome.by = Some("anna".to_owned());
    let told = Change::Outcome {
        verdict: message,
        outcome,
    };
    let done = Change::StrikeOut { verdict: message };
    world.store.change(vec![told, done]).await.unwrap();
    let followed = world.follower.catch_up().await.unwrap();
    assert!(!followed.waits && followed.moved == 0, "{followed:?}");
    let reader = Reader::open(world.home.path()).unwrap();
    let last = reader.outcomes(message).unwrap().pop().unwrap();
    assert_eq!((last.state, last.by.as_deref()), (Released, Some("anna")));
    // Refused before our own answer was confirmed.
    world.messages += 1;
    let at = Timestamp::from_seconds(RECEIVED + 100);
    let mut verdict = plain_verdict("a.example", at, world.messages);
    verdict.envelope.queue_id = Some(id(1));
    let message = verdict.id;
    world.store.record(Arc::new(verdict)).await.unwrap();
    world.clock.0.store(RECEIVED + 101, Ordering::Relaxed);
    let refused =
        "milter-reject: END-OF-MESSAGE from x[192.0.2.1]: 4.7.1 later; from=<> to=<c@d.example>";
    world.write(&line(101, "postfix/cleanup", &id(1), refused));
    assert_eq!(world.moved().await, 0);
    world.answered(message, Accepted, 101).await;
    assert_eq!(world.moved().await, 1);
    assert_eq!(world.history(message), [Accepted, RefusedLater]);
}

/// The hold queue was looked at before the log was read.
#[tokio::test]
async fn the_log_tells_of_what_was_unknown() {
    let mut world = World::new();
    let message = world.message(&id(0), 0, Held).await;
    let unknown = Outcome::new(
        OutcomeState::Unknown,
        Timestamp::from_seconds(RECEIVED + 600),
        OutcomeSource::Queue,
    );
    let change = Change::Outcome {
        verdict: message,
        outcome: unknown,
    };
    world.store.change(vec![change]).await.unwrap();
    world.write(&line(300, "postfix/postsuper", &id(0), "removed"));
    assert_eq!(world.moved().await, 1);
    assert_eq!(
        world.history(message),
        [Held, OutcomeState::Unknown, Deleted]
    );
}

#[tokio::test]
async fn a_burst_and_lines_that_are_none() {
    let mut world = World::new();
    let mut messages = Vec::new();
    for nth in 0..1_000 {
        messages.push(world.message(&id(nth), 0, Held).await);
    }
    let mut burst = String::new();
    for nth in 0..100_000_u32 {
        burst.push_str(&line(30, "postfix/qmgr", &id(nth), "removed"));
        if nth % 100 == 0 {
            burst.push_str(&released(60, &id(nth / 100)));
        }
        if nth % 20_000 == 0 {
            burst.push_str(&"x".repeat(3 << 20));
            burst.push_str(&released(60, &id(nth / 100)));
            burst.push_str("\0\u{fffd}\n\n");
        }
    }
    world.write(&burst);
    let followed = world.follower.catch_up().await.unwrap();
    assert_eq!(followed.moved, 1_000);
    assert!(followed.lines >= 101_000, "{followed:?}");
    for message in messages {
        assert_eq!(world.history(message), [Held, Released]);
    }
}
