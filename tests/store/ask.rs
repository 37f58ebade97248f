//! Asking: single verdicts, listings, counts, the store as a whole.

use crate::verdicts::any_verdict;
use crate::{NOW, filled, outcome, plain_verdict::plain_verdict, settings};
use alignd::auth::DmarcResult;
use alignd::domain::DomainName;
use alignd::outcome::{OutcomeSource, OutcomeState};
use alignd::policy::Disposition;
use alignd::store::{CountBy, Filter, Reader, Store};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::sync::Arc;

#[tokio::test]
async fn any_verdict_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let reader = Reader::open(directory.path()).unwrap();
    let mut runner = TestRunner::deterministic();
    for _ in 0..400 {
        let verdict = any_verdict().new_tree(&mut runner).unwrap().current();
        store.record(Arc::new(verdict.clone())).await.unwrap();
        let stored = reader.find(verdict.id).unwrap().unwrap();
        assert_eq!(stored.verdict, verdict);
    }
    let listed = reader.messages(&Filter::default()).map(Result::unwrap);
    assert_eq!(listed.count(), 400);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn listings_filter_and_count() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 90).await;
    let accepted = outcome(OutcomeState::Accepted, OutcomeSource::Reply);
    for id in &ids[..40] {
        store.confirm(*id, accepted.clone());
    }
    store.close().await;
    let a = DomainName::parse("a.example").unwrap();
    let half_a_minute = NOW.plus_micros(15_000_000);
    let table: Vec<(Filter, usize)> = vec![
        (Filter::default(), 90),
        (
            Filter {
                limit: Some(7),
                ..Filter::default()
            },
            7,
        ),
        (
            Filter {
                author_domain: Some(a.clone()),
                ..Filter::default()
            },
            30,
        ),
        (
            Filter {
                author_domain: DomainName::parse("x.example").ok(),
                ..Filter::default()
            },
            0,
        ),
        (
            Filter {
                since: Some(half_a_minute),
                ..Filter::default()
            },
            44,
        ),
        (
            Filter {
                until: Some(half_a_minute),
                ..Filter::default()
            },
            46,
        ),
        (
            Filter {
                ip: "192.0.2.0/28".parse().ok(),
                ..Filter::default()
            },
            16,
        ),
        (
            Filter {
                ip: "192.0.2.5/32".parse().ok(),
                ..Filter::default()
            },
            1,
        ),
        (
            Filter {
                ip: "c000::/8".parse().ok(),
                ..Filter::default()
            },
            0,
        ),
        (
            Filter {
                dmarc: Some(DmarcResult::Pass),
                ..Filter::default()
            },
            90,
        ),
        (
            Filter {
                dmarc: Some(DmarcResult::Fail),
                ..Filter::default()
            },
            0,
        ),
        (
            Filter {
                disposition: Some(Disposition::Pass),
                ..Filter::default()
            },
            90,
        ),
        (
            Filter {
                outcome: Some(OutcomeState::Accepted),
                ..Filter::default()
            },
            40,
        ),
        (
            Filter {
                outcome: Some(OutcomeState::Answering),
                ..Filter::default()
            },
            50,
        ),
        (
            Filter {
                queue_id: Some("4Xy0000000B".to_owned()),
                ..Filter::default()
            },
            1,
        ),
        (
            Filter {
                author_domain: Some(a),
                since: Some(half_a_minute),
                outcome: Some(OutcomeState::Answering),
                limit: Some(1000),
                ..Filter::default()
            },
            14,
        ),
    ];
    for (filter, expected) in table {
        let found: Vec<_> = reader.messages(&filter).map(Result::unwrap).collect();
        assert_eq!(found.len(), expected, "{filter:?}");
        assert!(
            found.is_sorted_by(|a, b| a.received > b.received),
            "newest first"
        );
        if filter.limit.is_none() {
            let by = |by| reader.count_by(by, &filter).unwrap();
            for kind in CountBy::ALL {
                let sum: u64 = by(*kind).iter().map(|c| c.messages).sum();
                assert_eq!(sum, expected as u64, "{kind} {filter:?}");
            }
        }
    }
    let counts = reader
        .count_by(CountBy::Outcome, &Filter::default())
        .unwrap();
    let counts: Vec<_> = counts
        .iter()
        .map(|c| (c.value.as_deref(), c.messages))
        .collect();
    assert_eq!(counts, [(Some("answering"), 50), (Some("accepted"), 40)]);
}

#[tokio::test]
async fn long_listings_go_by_pages_and_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let records = (0..21_000_u32).map(|nth| {
        // Many share a point of time, so that pages end in the middle of one.
        let received = NOW.plus_micros(i64::from(nth / 300));
        store.record(Arc::new(plain_verdict("a.example", received, nth)))
    });
    let mut records: Vec<_> = records.map(Box::pin).collect();
    for group in records.chunks_mut(2_000) {
        for result in futures_util::future::join_all(group).await {
            result.unwrap();
        }
    }
    let reader = Reader::open(directory.path()).unwrap();
    let all = Filter::default();
    let listed: Vec<_> = reader.messages(&all).map(Result::unwrap).collect();
    assert!(listed.is_sorted_by(|a, b| a.received >= b.received));
    let ids: std::collections::HashSet<VerdictId> = listed.iter().map(|m| m.id).collect();
    assert_eq!((listed.len(), ids.len()), (21_000, 21_000));
    let counts = reader.count_by(CountBy::Ip, &all).unwrap();
    assert_eq!(counts.len(), 200);
    assert!(counts.iter().all(|count| count.messages == 105));
    // What comes while a listing runs is not in it; it goes on where it was.
    let mut listing = reader.messages(&all);
    assert!(listing.next().is_some());
    let late = plain_verdict("late.example", NOW.plus_micros(1_000_000), 1);
    store.record(Arc::new(late)).await.unwrap();
    assert_eq!(listing.count(), 20_999);
}

#[tokio::test]
async fn queue_ids_are_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, _) = filled(directory.path(), 5).await;
    let mut again = plain_verdict("d.example", NOW.plus_micros(99_000_000), 77);
    again.envelope.queue_id = Some("4Xy00000003".to_owned());
    store.record(Arc::new(again.clone())).await.unwrap();
    let found = reader.find_by_queue_id("4Xy00000003").unwrap();
    let domains: Vec<_> = found
        .iter()
        .map(|stored| {
            stored
                .verdict
                .evaluation
                .as_ref()
                .unwrap()
                .author_domain
                .as_str()
        })
        .collect();
    assert_eq!(domains, ["d.example", "a.example"]);
    assert_eq!(reader.find_by_queue_id("4xy00000003").unwrap(), []);
    assert_eq!(reader.find(VerdictId::from_bytes([0; 16])).unwrap(), None);
    assert_eq!(reader.outcomes(VerdictId::from_bytes([0; 16])).unwrap(), []);
    assert_eq!(reader.outcomes(again.id).unwrap().len(), 1);
}

#[tokio::test]
async fn the_store_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 10).await;
    let accepted = outcome(OutcomeState::Accepted, OutcomeSource::Reply);
    for id in &ids[..4] {
        store.confirm(*id, accepted.clone());
    }
    store.close().await;
    let stats = reader.stats().unwrap();
    assert_eq!((stats.verdicts, stats.answering), (10, 6));
    assert_eq!(stats.oldest, Some(NOW));
    assert_eq!(stats.newest, Some(NOW.plus_micros(9 * 333_333)));
    assert!(stats.file_bytes > 40_000);
    let empty = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(empty.path()), NOW).unwrap();
    let stats = Reader::open(empty.path()).unwrap().stats().unwrap();
    assert_eq!(
        (stats.verdicts, stats.oldest, stats.newest),
        (0, None, None)
    );
    drop(store);
}

#[tokio::test]
async fn a_backup_is_whole_while_the_store_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 50).await;
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("alignd.db");
    reader.backup(&copy).unwrap();
    store
        .record(Arc::new(plain_verdict(
            "late.example",
            Timestamp::from_seconds(0),
            0,
        )))
        .await
        .unwrap();
    let copied = Reader::open(copies.path()).unwrap();
    assert_eq!(copied.check().unwrap(), Vec::<String>::new());
    assert_eq!(copied.stats().unwrap().verdicts, 50);
    for id in ids {
        assert_eq!(copied.find(id).unwrap(), reader.find(id).unwrap());
    }
    let refused = reader.backup(&copy).unwrap_err().to_string();
    assert!(refused.contains("alignd.db: File exists"), "{refused}");
    let nowhere = copies.path().join("no/such/place");
    let refused = reader.backup(&nowhere).unwrap_err().to_string();
    assert!(refused.contains("No such file or directory"), "{refused}");
}

#[tokio::test]
async fn the_check_finds_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, _) = filled(directory.path(), 3).await;
    store.close().await;
    for (damage, expected) in [
        (
            "DELETE FROM detail WHERE verdict = 1",
            "1 verdicts without their detail",
        ),
        (
            "DELETE FROM outcome WHERE verdict = 1",
            "1 verdicts without an outcome",
        ),
        (
            "DELETE FROM dmarc_record",
            "3 policies that refer to a record or name that is not there",
        ),
        (
            "DELETE FROM name",
            "3 verdicts that refer to a name that is not there",
        ),
        (
            "DELETE FROM document",
            "2 verdicts that refer to a document that is not there",
        ),
        (
            "DELETE FROM policy_evaluated",
            "3 verdicts that refer to a policy that is not there",
        ),
    ] {
        assert!(!reader.check().unwrap().iter().any(|line| line == expected));
        crate::raw(directory.path()).execute_batch(damage).unwrap();
        let found = reader.check().unwrap();
        assert!(
            found.iter().any(|line| line == expected),
            "{damage}: {found:?}"
        );
    }
}
