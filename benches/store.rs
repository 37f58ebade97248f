//! How fast verdicts get onto the disk, what one costs in CPU time, and how much room it takes;
//! beside a bare insert of twelve text columns, the least that SQLite can do.
//!
//! Full durability: every figure includes the disk's fsync, so compare on one machine only.

#[path = "../tests/support/plain_verdict.rs"]
mod plain_verdict;

use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use criterion::{BenchmarkId, Criterion, Throughput};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use plain_verdict::plain_verdict;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);
const RECORDERS: [u32; 3] = [1, 8, 64];
const DOMAINS: u32 = 200;
/// Messages in the figures that criterion does not take.
const FIGURES: u32 = 20_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    records(&mut criterion);
    bare_inserts(&mut criterion);
    criterion.final_summary();
    figures();
}

/// Verdicts recorded and confirmed by so many messages at once.
fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record and confirm");
    group.throughput(Throughput::Elements(1));
    for recorders in RECORDERS {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = runtime();
        let store = open(directory.path());
        let next = Arc::new(AtomicU32::new(0));
        group.bench_function(BenchmarkId::from_parameter(recorders), |bencher| {
            bencher.iter_custom(|messages| {
                let messages = u32::try_from(messages).expect("few enough");
                runtime.block_on(run(&store, recorders, messages, &next)).0
            });
        });
        runtime.block_on(store.close());
    }
}

/// Rows of twelve texts, so many in a transaction.
fn bare_inserts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bare insert of 12 columns");
    group.throughput(Throughput::Elements(1));
    for rows in RECORDERS {
        let directory = tempfile::tempdir().expect("a directory");
        let mut bare = Bare::open(directory.path());
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter_custom(|total| bare.insert(total, u64::from(rows)));
        });
    }
}

/// CPU time and room, over a number of messages that both have in common.
fn figures() {
    let runtime = runtime();
    for recorders in RECORDERS {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let next = Arc::new(AtomicU32::new(0));
        let (took, cpu) = runtime.block_on(run(&store, recorders, FIGURES, &next));
        runtime.block_on(store.close());
        let cpu = cpu.as_secs_f64() * 1e6 / f64::from(FIGURES);
        let room = size(directory.path()) / u64::from(FIGURES);
        println!(
            "store, {recorders} recorders: {:.0} verdicts/s, {cpu:.1} µs of CPU and {room} octets each",
            f64::from(FIGURES) / took.as_secs_f64()
        );
    }
    for rows in RECORDERS {
        let directory = tempfile::tempdir().expect("a directory");
        let mut bare = Bare::open(directory.path());
        let before = cpu_time();
        let took = bare.insert(u64::from(FIGURES), u64::from(rows));
        let cpu = cpu_time().saturating_sub(before);
        let cpu = cpu.as_secs_f64() * 1e6 / f64::from(FIGURES);
        println!(
            "bare, {rows} in a transaction: {:.0} rows/s, {cpu:.1} µs of CPU each",
            f64::from(FIGURES) / took.as_secs_f64()
        );
    }
}

/// Records `messages` verdicts from `recorders` tasks, each one after the other. The time that took,
/// and the CPU time.
async fn run(
    store: &Store,
    recorders: u32,
    messages: u32,
    next: &Arc<AtomicU32>,
) -> (Duration, Duration) {
    let first = next.fetch_add(messages, Ordering::Relaxed);
    let verdicts: Vec<Arc<Verdict>> = (first..first + messages)
        .map(|nth| {
            let received = NOW.plus_micros(i64::from(nth) * 1_000);
            let domain = format!(
                "sender{}.example",
                nth.wrapping_mul(2_654_435_761) % DOMAINS
            );
            Arc::new(plain_verdict(&domain, received, nth))
        })
        .collect();
    let share = messages.div_ceil(recorders).max(1) as usize;
    let (started, cpu) = (Instant::now(), cpu_time());
    let tasks: Vec<_> = verdicts
        .chunks(share)
        .map(|share| tokio::spawn(record_all(store.clone(), share.to_vec())))
        .collect();
    for task in tasks {
        task.await.expect("records");
    }
    (started.elapsed(), cpu_time().saturating_sub(cpu))
}

async fn record_all(store: Store, verdicts: Vec<Arc<Verdict>>) {
    for verdict in verdicts {
        let (id, at) = (verdict.id, verdict.received);
        store.record(verdict).await.expect("records");
        store.confirm(
            id,
            Outcome::new(OutcomeState::Accepted, at, OutcomeSource::Reply),
        );
    }
}

struct Bare(Connection);

impl Bare {
    fn open(directory: &Path) -> Self {
        let connection = Connection::open(directory.join("bare.db")).expect("opens");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE t (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT, f TEXT,
                                 g TEXT, h TEXT, i TEXT, j TEXT, k TEXT, l TEXT)",
            )
            .expect("creates");
        Self(connection)
    }

    fn insert(&mut self, total: u64, rows: u64) -> Duration {
        let started = Instant::now();
        let mut left = total;
        while left > 0 {
            let group = left.min(rows);
            let transaction = self
                .0
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .expect("begins");
            for _ in 0..group {
                transaction
                    .prepare_cached("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                    .and_then(|mut s| s.execute(["client.example"; 12]))
                    .expect("inserts");
            }
            transaction.commit().expect("commits");
            left -= group;
        }
        started.elapsed()
    }
}

fn open(directory: &Path) -> Store {
    let settings = StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    };
    Store::open(&settings, NOW).expect("opens")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("lists");
    files
        .map(|f| f.and_then(|f| f.metadata()).map_or(0, |m| m.len()))
        .sum()
}

/// The CPU time of this process so far, that of threads which have ended included.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("our own usage");
    let micros = [usage.user_time(), usage.system_time()].map(|t| t.num_microseconds());
    Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs())
}
