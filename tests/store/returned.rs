//! Verdict headers that come back: used once, whoever comes, and never again.

use crate::{NOW, filled, outcome, settings};
use alignd::outcome::{OutcomeSource, OutcomeState};
use alignd::store::{CameBack, Reader, Store, TakenBack};
use alignd::verdict::VerdictId;
use futures_util::future::join_all;

type Move = (OutcomeState, OutcomeSource);

fn as_queue_id(id: &str) -> CameBack {
    CameBack {
        at: NOW,
        queue_id: Some(id.to_owned()),
    }
}

#[tokio::test]
async fn a_message_comes_back_from_where_it_can_have_left() {
    use OutcomeSource::{Log, Operator, Reply};
    use OutcomeState::*;
    let table: [(&[Move], TakenBack, &str); 9] = [
        (&[(Held, Reply)], TakenBack::Taken, "released/reinjected"),
        (
            &[(Held, Reply), (Released, Log)],
            TakenBack::Taken,
            "released/log",
        ),
        (&[(Accepted, Reply)], TakenBack::Taken, "accepted/reply"),
        (&[(Unknown, Reply)], TakenBack::Taken, "released/reinjected"),
        (&[], TakenBack::NotOut(Answering), "answering/reply"),
        (
            &[(Rejected, Reply)],
            TakenBack::NotOut(Rejected),
            "rejected/reply",
        ),
        (
            &[(Tempfailed, Reply)],
            TakenBack::NotOut(Tempfailed),
            "tempfailed/reply",
        ),
        (
            &[(Held, Reply), (Deleted, Operator)],
            TakenBack::NotOut(Deleted),
            "deleted/operator",
        ),
        (
            &[(Accepted, Reply), (RefusedLater, Log)],
            TakenBack::NotOut(RefusedLater),
            "refused_later/log",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), table.len() as u32).await;
    for (id, (moves, expected, stands)) in ids.iter().zip(table) {
        // What is confirmed at the same time counts.
        for (state, source) in moves {
            store.confirm(*id, outcome(*state, *source));
        }
        let taken = store.take_back(*id, as_queue_id("B1")).await;
        assert_eq!(taken, Ok(expected), "{moves:?}");
        let again = match expected {
            TakenBack::Taken => TakenBack::UsedBefore,
            other => other,
        };
        assert_eq!(store.take_back(*id, as_queue_id("B2")).await, Ok(again));
        let stored = reader.find(*id).unwrap().unwrap();
        let last = stored.outcomes.last().unwrap();
        assert_eq!(format!("{}/{}", last.state, last.source), stands);
        let came_back = (expected == TakenBack::Taken).then(|| as_queue_id("B1"));
        assert_eq!(stored.came_back, came_back);
        if last.source == OutcomeSource::Reinjected {
            assert_eq!(last.detail.as_deref(), Some("came back as B1"));
        }
    }
    let nobody = VerdictId::from_bytes([9; 16]);
    let taken = store.take_back(nobody, as_queue_id("B1")).await;
    assert_eq!(taken, Ok(TakenBack::UnknownVerdict));
}

#[tokio::test]
async fn of_many_at_once_one_wins_and_a_restart_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, ids) = filled(directory.path(), 1).await;
    store.confirm(ids[0], outcome(OutcomeState::Held, OutcomeSource::Reply));
    let many = (0..64).map(|n| store.take_back(ids[0], as_queue_id(&format!("B{n}"))));
    let many = join_all(many).await;
    let won = many.iter().filter(|t| **t == Ok(TakenBack::Taken)).count();
    let used = many.iter().filter(|t| **t == Ok(TakenBack::UsedBefore));
    assert_eq!((won, used.count()), (1, 63));
    store.close().await;
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    // Held again by hand, it has still come back once.
    store.confirm(ids[0], outcome(OutcomeState::Held, OutcomeSource::Operator));
    let again = store.take_back(ids[0], as_queue_id("B99")).await;
    assert_eq!(again, Ok(TakenBack::UsedBefore));
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    let outcomes = reader.outcomes(ids[0]).unwrap();
    assert_eq!(outcomes.last().unwrap().state, OutcomeState::Held);
}

#[tokio::test]
async fn what_expires_takes_its_return_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, ids) = filled(directory.path(), 2).await;
    for id in &ids {
        store.confirm(*id, outcome(OutcomeState::Accepted, OutcomeSource::Reply));
        let taken = store.take_back(*id, as_queue_id("B1")).await;
        assert_eq!(taken, Ok(TakenBack::Taken));
    }
    let late = NOW.plus_micros(100 * 86_400 * 1_000_000);
    assert_eq!(store.expire(late).await, Ok(2));
    let left = crate::number(directory.path(), "SELECT count(*) FROM returned");
    assert_eq!(left, 0);
}
