//! What is held: listed, counted and found, however much there is besides.

use crate::{NOW, filled, outcome, plain_verdict::plain_verdict};
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Change, HeldCounts, HeldFilter, Store};
use alignd::verdict::VerdictId;
use std::sync::Arc;

async fn moved(store: &Store, verdict: VerdictId, state: OutcomeState, seconds: i64) {
    let at = NOW.plus_micros(seconds * 1_000_000);
    let outcome = Outcome::new(state, at, OutcomeSource::Operator);
    let change = Change::Outcome { verdict, outcome };
    store.change(vec![change]).await.unwrap();
}

#[tokio::test]
async fn held_mail_is_listed_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 30).await;
    assert_eq!(reader.held_counts().unwrap(), HeldCounts::default());
    for (nth, id) in ids.iter().enumerate() {
        let state = match nth % 2 {
            0 => OutcomeState::Held,
            _ => OutcomeState::Accepted,
        };
        store.confirm(*id, outcome(state, OutcomeSource::Reply));
    }
    // Some are gone, one came later, from what had been accepted.
    moved(&store, ids[0], OutcomeState::Released, 50).await;
    moved(&store, ids[2], OutcomeState::Deleted, 60).await;
    moved(&store, ids[1], OutcomeState::Held, 90).await;
    let listed = |filter: HeldFilter| {
        let found = reader.held(&filter).unwrap();
        let places = found.iter().map(|held| {
            let place = ids.iter().position(|id| *id == held.id);
            place.unwrap()
        });
        places.collect::<Vec<_>>()
    };
    let all: Vec<usize> = [1].into_iter().chain((4..30).step_by(2)).collect();
    let everything = HeldFilter::default();
    assert_eq!(listed(everything.clone()), all);
    let newest = HeldFilter {
        newest_first: true,
        limit: Some(3),
        ..everything.clone()
    };
    assert_eq!(listed(newest.clone()), [28, 26, 24]);
    let more = HeldFilter {
        beyond: Some(ids[24]),
        ..newest
    };
    assert_eq!(listed(more), [22, 20, 18]);
    let behind = HeldFilter {
        beyond: Some(ids[4]),
        limit: Some(2),
        ..everything.clone()
    };
    assert_eq!(listed(behind), [6, 8]);
    let before = HeldFilter {
        held_before: Some(NOW.plus_micros(1)),
        ..everything.clone()
    };
    assert_eq!(listed(before), all[1..]);
    let domain = HeldFilter {
        author_domain: DomainName::parse("b.example").ok(),
        ..everything.clone()
    };
    assert_eq!(listed(domain), [1, 4, 10, 16, 22, 28]);
    let counts = reader.held_counts().unwrap();
    assert_eq!((counts.messages, counts.since), (14, Some(NOW)));

    let first = &reader.held(&everything).unwrap()[0];
    let verdict = &reader.find(ids[1]).unwrap().unwrap().verdict;
    assert_eq!(first.received, verdict.received);
    assert_eq!(first.since, NOW.plus_micros(90_000_000));
    assert_eq!(first.queue_id, verdict.envelope.queue_id);
    assert_eq!(first.author_domain, DomainName::parse("b.example").ok());
    assert_eq!(first.recipient_domains, verdict.envelope.recipient_domains);
    assert_eq!(first.cause, verdict.decision.cause());
    assert_eq!(first.size, verdict.message.size);
    store.close().await;
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn of_a_queue_id_the_newest_that_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, _) = filled(directory.path(), 1).await;
    let mut ids = Vec::new();
    for nth in 0..4 {
        let mut verdict = plain_verdict("a.example", NOW.plus_micros(i64::from(nth)), 10 + nth);
        verdict.envelope.queue_id = Some("4XyZ".to_owned());
        ids.push(verdict.id);
        store.record(Arc::new(verdict)).await.unwrap();
        let state = match nth {
            3 => OutcomeState::Accepted,
            _ => OutcomeState::Held,
        };
        store.confirm(ids[nth as usize], outcome(state, OutcomeSource::Reply));
    }
    moved(&store, ids[2], OutcomeState::Deleted, 1).await;
    let found = |queue_id: &str| {
        let found = reader.newest_held(queue_id).unwrap();
        found.map(|stored| stored.verdict.id)
    };
    assert_eq!(found("4XyZ"), Some(ids[1]));
    moved(&store, ids[0], OutcomeState::Released, 2).await;
    assert_eq!(found("4XyZ"), Some(ids[1]));
    moved(&store, ids[1], OutcomeState::Released, 3).await;
    assert_eq!(found("4XyZ"), None);
    assert_eq!(found("nothing"), None);
    store.close().await;
}
