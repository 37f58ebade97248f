//! The store as its users see it: what was acknowledged is there, exactly, and can be asked for.

#[path = "support/plain_verdict.rs"]
mod plain_verdict;
#[path = "support/verdicts.rs"]
mod verdicts;

use alignd::auth::DmarcResult;
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::Disposition;
use alignd::store::{CountBy, Filter, Reader, Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use plain_verdict::plain_verdict;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::path::Path;
use std::sync::Arc;
use verdicts::any_verdict;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

fn settings(directory: &Path) -> StoreSettings {
    StoreSettings {
        path: directory.to_owned(),
        local_parts: true,
        ..StoreSettings::default()
    }
}

fn outcome(state: OutcomeState, source: OutcomeSource) -> Outcome {
    Outcome {
        state,
        at: NOW,
        source,
        detail: None,
    }
}

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
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

/// Three verdicts a second for a day's first minutes: a.example, b.example, c.example in turn.
async fn filled(directory: &Path, count: u32) -> (Store, Reader, Vec<VerdictId>) {
    let store = Store::open(&settings(directory), NOW).unwrap();
    let mut ids = Vec::new();
    for nth in 0..count {
        let domain = ["a.example", "b.example", "c.example"][nth as usize % 3];
        let received = NOW.plus_micros(i64::from(nth) * 333_333);
        let verdict = Arc::new(plain_verdict(domain, received, nth));
        ids.push(verdict.id);
        store.record(verdict).await.unwrap();
    }
    (store, Reader::open(directory).unwrap(), ids)
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
