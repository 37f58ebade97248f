//! The store when its process is killed and when its disk is full.
//!
//! No test harness: the program starts itself again as the process that is killed, and in a mount
//! namespace of its own (root, or a user namespace) with a small file system to fill.

#[path = "support/plain_verdict.rs"]
mod plain_verdict;

use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Reader, RecordError, Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use plain_verdict::plain_verdict;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);
const KILLS: u32 = 25;
/// Which part this process plays, and where.
const PART: &str = "ALIGND_STORE_TEST_PART";
const PLACE: &str = "ALIGND_STORE_TEST_PLACE";

fn main() {
    let place = std::env::var_os(PLACE).map(PathBuf::from);
    match (std::env::var(PART).as_deref(), place) {
        (Ok("record"), Some(place)) => record_until_killed(&place),
        (Ok("fill"), Some(place)) => fill_and_recover(&place),
        _ => {
            kills_lose_nothing_acknowledged();
            a_full_disk_is_said_and_survived();
        }
    }
}

/// Kills a process that records, at 25 points spread over its work, always on the same store.
fn kills_lose_nothing_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut doubted = 0;
    for kill in 0..KILLS {
        // 3, 30, 57 .. acknowledgements, and wherever its other tasks are by then.
        let patience = 3 + kill as usize * 27 % 500;
        let new = record_and_kill(directory.path(), kill, patience);
        let store = Store::open(&settings(directory.path()), NOW).expect("opens after a kill");
        doubted += store.unanswered_at_start();
        let reader = Reader::open(directory.path()).expect("a reader");
        for id in &new {
            let id = VerdictId::parse(id).expect("an id");
            let stored = reader.find(id).expect("readable");
            let stored = stored.unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            let last = stored.outcomes.last().expect("an outcome");
            match (last.state, last.source) {
                (OutcomeState::Accepted, OutcomeSource::Reply)
                | (OutcomeState::Unknown, OutcomeSource::Restart) => {}
                other => panic!("{id} stands at {other:?} after kill {kill}"),
            }
        }
        assert_eq!(reader.stats().expect("stats").answering, 0);
        assert_eq!(reader.check().expect("a check"), Vec::<String>::new());
        acknowledged.extend(new);
        drop(reader);
        close(store);
    }
    let reader = Reader::open(directory.path()).expect("a reader");
    for id in &acknowledged {
        let id = VerdictId::parse(id).expect("an id");
        assert!(reader.find(id).expect("readable").is_some(), "{id} is lost");
    }
    assert!(
        doubted > 0,
        "no kill came between a verdict and its confirmation"
    );
    println!(
        "store: {KILLS} of {KILLS} kills lost none of {} acknowledged verdicts; {doubted} unanswered became unknown",
        acknowledged.len()
    );
}

/// The ids that were acknowledged before the process was killed.
fn record_and_kill(directory: &Path, kill: u32, patience: usize) -> Vec<String> {
    let mut child = ourselves()
        .env(PART, "record")
        .env(PLACE, directory)
        .env("ALIGND_STORE_TEST_SEED", kill.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts itself");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut acknowledged = Vec::new();
    for line in lines.by_ref().take(patience) {
        acknowledged.push(line.expect("a line"));
    }
    assert_eq!(acknowledged.len(), patience, "the child ended by itself");
    child.kill().expect("kills it");
    child.wait().expect("it ended");
    // What it had printed before was acknowledged too; the last line may be half a one.
    let rest = lines.map_while(Result::ok);
    acknowledged.extend(rest.filter(|line| line.len() == 36));
    acknowledged
}

/// Records and confirms with 16 tasks, prints every acknowledged id, never ends.
fn record_until_killed(directory: &Path) {
    let seed: u32 = std::env::var("ALIGND_STORE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a seed");
    let next = Arc::new(AtomicU32::new(seed * 1_000_000));
    let store = Store::open(&settings(directory), NOW).expect("opens");
    runtime().block_on(async {
        let tasks: Vec<_> = (0..16)
            .map(|_| tokio::spawn(record_for_ever(store.clone(), Arc::clone(&next))))
            .collect();
        for task in tasks {
            task.await.expect("never ends");
        }
    });
}

async fn record_for_ever(store: Store, next: Arc<AtomicU32>) {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let domain = format!("d{}.example", nth % 50);
        let verdict = Arc::new(plain_verdict(&domain, NOW, nth));
        store.record(Arc::clone(&verdict)).await.expect("records");
        println!("{}", verdict.id);
        if !nth.is_multiple_of(3) {
            store.confirm(verdict.id, accepted());
        }
    }
}

/// Mounts a file system of 2 MiB in a namespace of our own and goes on as `fill` there.
fn a_full_disk_is_said_and_survived() {
    let place = tempfile::tempdir().expect("a directory");
    let script = "mount -t tmpfs -o size=2m none \"$ALIGND_STORE_TEST_PLACE\" && exec \"$0\"";
    let namespace = if nix_is_root() { "-m" } else { "-Urm" };
    let us = std::env::current_exe().expect("our own path");
    let status = Command::new("unshare")
        .args([namespace, "sh", "-c", script])
        .arg(us)
        .env(PART, "fill")
        .env(PLACE, place.path())
        .status()
        .expect("unshare (util-linux) starts");
    assert!(status.success(), "the full disk: {status}");
}

fn fill_and_recover(place: &Path) {
    let ballast = place.join("ballast");
    std::fs::write(&ballast, vec![1; 600 << 10]).expect("room for ballast");
    let runtime = runtime();
    let store = Store::open(&settings(place), NOW).expect("opens");
    let mut acknowledged = Vec::new();
    let error = loop {
        let nth = acknowledged.len() as u32;
        let verdict = Arc::new(plain_verdict(&format!("d{nth}.example"), NOW, nth));
        match runtime.block_on(store.record(Arc::clone(&verdict))) {
            Ok(()) => acknowledged.push(verdict.id),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RecordError::DiskFull(_)), "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("alignd.db: no room left on the disk"),
        "{words}"
    );
    // Confirmations wait for better days.
    for id in &acknowledged {
        store.confirm(*id, accepted());
    }
    let full = Arc::new(plain_verdict("full.example", NOW, 1_000_000));
    assert!(runtime.block_on(store.record(Arc::clone(&full))).is_err());
    let reader = Reader::open(place).expect("a full store can be read");
    assert_eq!(
        reader.stats().expect("stats").verdicts,
        acknowledged.len() as u64
    );
    std::fs::remove_file(&ballast).expect("ballast goes");
    runtime
        .block_on(store.record(full))
        .expect("there is room again");
    close(store);
    assert_eq!(reader.check().expect("a check"), Vec::<String>::new());
    for id in &acknowledged {
        let outcomes = reader.outcomes(*id).expect("readable");
        let last = outcomes.last().expect("an outcome");
        assert_eq!(last.state, OutcomeState::Accepted, "{id}");
    }
    println!(
        "store: a full disk refused with words; {} verdicts and their confirmations survived it",
        acknowledged.len()
    );
    no_room_from_the_start(place);
}

fn no_room_from_the_start(place: &Path) {
    std::fs::write(place.join("ballast"), vec![1; 4 << 20]).expect_err("fills the rest");
    let none = place.join("none");
    let refused = Store::open(&settings(&none), NOW).expect_err("no room at all");
    let words = refused.to_string();
    assert!(words.contains("none"), "{words}");
}

fn settings(directory: &Path) -> StoreSettings {
    StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    }
}

fn accepted() -> Outcome {
    Outcome::new(OutcomeState::Accepted, NOW, OutcomeSource::Reply)
}

fn ourselves() -> Command {
    Command::new(std::env::current_exe().expect("our own path"))
}

fn nix_is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime")
}

fn close(store: Store) {
    runtime().block_on(store.close());
}
