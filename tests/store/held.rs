//! What is held: listed, counted and found, however much there is besides.

use crate::{NOW, filled, outcome};
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Change, HeldCounts, HeldFilter, HeldIn, Store};
use alignd::verdict::VerdictId;

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
    let told = |place| HeldFilter {
        place,
        ..everything.clone()
    };
    let at = |seconds: i64| NOW.plus_micros(seconds * 1_000_000);
    assert_eq!(listed(told(HeldIn::Queue)), all[1..]);
    assert_eq!(listed(told(HeldIn::Told)), [1]);
    assert_eq!(listed(told(HeldIn::QueueOrToldSince(at(90)))), all);
    assert_eq!(listed(told(HeldIn::QueueOrToldSince(at(91)))), all[1..]);
    let counts = HeldCounts {
        messages: 13,
        since: Some(NOW),
        told: 1,
        last_told: Some(at(90)),
    };
    assert_eq!(reader.held_counts().unwrap(), counts);

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
