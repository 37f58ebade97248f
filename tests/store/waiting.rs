//! Readers and writers at once, a disk that is slow or locked, and what happens at the end.

use crate::{NOW, filled, outcome, plain_verdict::plain_verdict, raw, settings};
use alignd::outcome::{OutcomeSource, OutcomeState};
use alignd::store::{Durability, Filter, Reader, RecordError, Store, StoreSettings};
use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_verdicts_while_many_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = Reader::open(directory.path()).unwrap();
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let listed: Vec<_> = reader
                        .messages(&Filter::default())
                        .map(Result::unwrap)
                        .collect();
                    assert!(listed.len() >= seen, "nothing disappears");
                    seen = listed.len();
                    for summary in listed.iter().take(20) {
                        let stored = reader.find(summary.id).unwrap().unwrap();
                        assert!(!stored.outcomes.is_empty());
                    }
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..8_u32)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for nth in 0..100 {
                    let verdict = Arc::new(plain_verdict("a.example", NOW, writer * 1_000 + nth));
                    store.record(Arc::clone(&verdict)).await.unwrap();
                    let accepted = outcome(OutcomeState::Accepted, OutcomeSource::Reply);
                    store.confirm(verdict.id, accepted);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() <= 800);
    }
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    let stats = reader.stats().unwrap();
    assert_eq!((stats.verdicts, stats.answering), (800, 0));
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_long_read_does_not_hold_up_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, _) = filled(directory.path(), 10).await;
    let long = raw(directory.path());
    long.execute_batch("BEGIN; SELECT count(*) FROM verdict")
        .unwrap();
    let before: i64 = long
        .query_row("SELECT count(*) FROM verdict", [], |r| r.get(0))
        .unwrap();
    for nth in 100..700 {
        store
            .record(Arc::new(plain_verdict("a.example", NOW, nth)))
            .await
            .unwrap();
    }
    let still: i64 = long
        .query_row("SELECT count(*) FROM verdict", [], |r| r.get(0))
        .unwrap();
    assert_eq!((before, still), (10, 10));
    assert_eq!(reader.stats().unwrap().verdicts, 610);
    let log = directory.path().join("alignd.db-wal");
    let grown = log.metadata().unwrap().len();
    drop(long);
    for nth in 1_000..2_000 {
        store
            .record(Arc::new(plain_verdict("a.example", NOW, nth)))
            .await
            .unwrap();
    }
    assert!(
        log.metadata().unwrap().len() <= grown + (8 << 20),
        "the log is used again"
    );
}

#[tokio::test]
async fn a_disk_that_does_not_answer_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        wait: Duration::from_millis(40),
        ..settings(directory.path())
    };
    let store = Store::open(&settings, NOW).unwrap();
    let held = raw(directory.path());
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let late = Arc::new(plain_verdict("a.example", NOW, 1));
    assert_eq!(
        store.record(Arc::clone(&late)).await,
        Err(RecordError::Late)
    );
    store.confirm(
        late.id,
        outcome(OutcomeState::Tempfailed, OutcomeSource::Reply),
    );
    held.execute_batch("ROLLBACK").unwrap();
    store.close().await;
    // If the writer had it in hand it was recorded after all, with the answer that was given; if not,
    // it was taken back.
    let reader = Reader::open(directory.path()).unwrap();
    if let Some(stored) = reader.find(late.id).unwrap() {
        assert_eq!(stored.outcomes[1].state, OutcomeState::Tempfailed);
    }
    assert_eq!(reader.stats().unwrap().answering, 0);
}

#[tokio::test]
async fn only_so_many_wait() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let held = raw(directory.path());
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for nth in 0..6_000 {
        let mut record = Box::pin(store.record(Arc::new(plain_verdict("a.example", NOW, nth))));
        match record.as_mut().now_or_never() {
            None => waiting.push(record),
            Some(result) => {
                assert_eq!(result, Err(RecordError::QueueFull));
                refused += 1;
            }
        }
    }
    assert!(refused >= 6_000 - 4_096 - 1_024, "{refused}");
    held.execute_batch("ROLLBACK").unwrap();
    let recorded = waiting.len() as u64;
    for record in waiting {
        record.await.unwrap();
    }
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.stats().unwrap().verdicts, recorded);
}

#[tokio::test]
async fn nothing_that_was_handed_over_is_lost_at_the_end() {
    for durability in [Durability::Full, Durability::Relaxed] {
        let directory = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            durability,
            ..settings(directory.path())
        };
        let store = Store::open(&settings, NOW).unwrap();
        let mut records = Vec::new();
        for nth in 0..2_500 {
            let mut record = Box::pin(store.record(Arc::new(plain_verdict("a.example", NOW, nth))));
            match record.as_mut().now_or_never() {
                None => records.push(record),
                Some(result) => result.unwrap(),
            }
        }
        store.clone().close().await;
        for record in records {
            record.await.unwrap();
        }
        let after = store
            .record(Arc::new(plain_verdict("a.example", NOW, 9_999)))
            .await;
        assert_eq!(after, Err(RecordError::Closed));
        assert_eq!(store.expire(NOW).await, Err(RecordError::Closed));
        let reader = Reader::open(directory.path()).unwrap();
        assert_eq!(reader.stats().unwrap().verdicts, 2_500);
        assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn dropping_the_last_handle_writes_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 1).await;
    store.confirm(
        ids[0],
        outcome(OutcomeState::Accepted, OutcomeSource::Reply),
    );
    drop(store);
    // The next writer gets the lock only when the thread has ended.
    while Store::open(&settings(directory.path()), NOW).is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(reader.outcomes(ids[0]).unwrap().len(), 2);
}
