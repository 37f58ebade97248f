//! What operators change: all of it or nothing, and as often as they like.

use crate::{NOW, filled, number, outcome, plain_verdict::plain_verdict, settings};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::rules::Rule;
use alignd::policy::{OverrideType, PolicyOverride};
use alignd::store::{Change, ChangeError, Changed, ExceptionId, MAX_CHANGES, NewException, Store};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;

fn moved(verdict: VerdictId, state: OutcomeState, source: OutcomeSource) -> Change {
    Change::Outcome {
        verdict,
        outcome: outcome(state, source),
    }
}

/// `terms`: keys of the rule besides its author domain, a.example.
fn new(terms: &str, from: Option<VerdictId>) -> Change {
    let json = format!(r#"{{"author_domain":"a.example","because":"mailing_list",{terms}}}"#);
    Change::AddException(Box::new(NewException {
        rule: Rule::parse_json(&json).unwrap(),
        from,
        at: NOW,
        who: "anna".to_owned(),
        why: None,
    }))
}

fn remove(id: i64, at: Timestamp) -> Change {
    Change::RemoveException {
        id: ExceptionId(id),
        at,
        who: "ben".to_owned(),
        why: Some("no longer used".to_owned()),
    }
}

/// Recorded, and held as the reply to the MTA says.
async fn held(store: &Store, ids: &[VerdictId]) {
    for id in ids {
        store.confirm(*id, outcome(OutcomeState::Held, OutcomeSource::Reply));
    }
    store.change(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn all_or_nothing_and_as_often_as_one_likes() {
    use OutcomeSource::{Log, Operator, Reply};
    use OutcomeState::{Accepted, Deleted, Released};
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 3).await;
    held(&store, &ids).await;
    let seen = store.exceptions_changed();
    let release = |id| moved(id, Released, Operator);
    let list = r#""require":{"dkim":"list.example"}"#;

    // The second of these cannot be: the first is not done either.
    let refused = vec![
        release(ids[0]),
        new(list, Some(ids[0])),
        moved(ids[1], Accepted, Reply),
    ];
    let error = store.change(refused).await.unwrap_err();
    assert!(matches!(error, ChangeError::Illegal { verdict, .. } if verdict == ids[1]));
    assert_eq!(
        error.to_string(),
        format!(
            "{}: a message that is held cannot become accepted by reply",
            ids[1]
        )
    );
    let nobody = VerdictId::from_bytes([9; 16]);
    let error = store.change(vec![release(ids[0]), release(nobody)]).await;
    assert_eq!(error, Err(ChangeError::UnknownVerdict(nobody)));
    let error = store.change(vec![release(ids[0]), remove(7, NOW)]).await;
    assert_eq!(error, Err(ChangeError::UnknownException(ExceptionId(7))));
    let error = store.change(vec![release(ids[0]); MAX_CHANGES + 1]).await;
    assert_eq!(error, Err(ChangeError::TooMany));
    assert_eq!(reader.outcomes(ids[0]).unwrap().len(), 2);
    let rows = "SELECT count(*) FROM exception";
    assert_eq!(number(directory.path(), rows), 0);
    assert!(!seen.has_changed().unwrap());

    // A release, interrupted and repeated.
    let once = vec![release(ids[0]), new(list, Some(ids[0]))];
    let id = match store.change(once.clone()).await.unwrap().as_slice() {
        [Changed::Moved, Changed::Added(id)] => *id,
        other => panic!("{other:?}"),
    };
    assert!(seen.has_changed().unwrap());
    assert_eq!(
        store.change(once).await.unwrap(),
        [Changed::Unchanged, Changed::AlreadyThere(id)]
    );
    let log = store.change(vec![moved(ids[0], Released, Log)]).await;
    assert_eq!(log, Ok(vec![Changed::Unchanged]));
    assert_eq!(reader.outcomes(ids[0]).unwrap().len(), 3);
    assert_eq!(number(directory.path(), rows), 1);

    // On the disk when told.
    let deleted = store.change(vec![moved(ids[1], Deleted, Operator)]).await;
    assert_eq!(deleted, Ok(vec![Changed::Moved]));
    assert_eq!(
        number(
            directory.path(),
            "SELECT count(*) FROM awaiting WHERE state = 'held'"
        ),
        1
    );
    store.close().await;
}

#[tokio::test]
async fn of_two_operators_one_moves_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 50).await;
    held(&store, &ids).await;
    let one = |by: &'static str, state| {
        let (store, ids) = (store.clone(), ids.clone());
        tokio::spawn(async move {
            let mut won = 0;
            for verdict in ids {
                let outcome = Outcome {
                    by: Some(by.to_owned()),
                    ..outcome(state, OutcomeSource::Operator)
                };
                won += match store
                    .change(vec![Change::Outcome { verdict, outcome }])
                    .await
                {
                    Ok(changed) => usize::from(changed == [Changed::Moved]),
                    Err(error) => panic!("{error}"),
                };
            }
            won
        })
    };
    let (anna, ben) = tokio::join!(
        one("anna", OutcomeState::Released),
        one("ben", OutcomeState::Released)
    );
    assert_eq!(anna.unwrap() + ben.unwrap(), 50);
    for id in ids {
        assert_eq!(reader.outcomes(id).unwrap().len(), 3);
    }
    store.close().await;
}

#[tokio::test]
async fn a_release_keeps_who_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 2).await;
    held(&store, &ids).await;
    let because = PolicyOverride {
        kind: OverrideType::MailingList,
        comment: Some("a list".to_owned()),
    };
    let told = Outcome {
        by: Some("anna".to_owned()),
        detail: Some("as 4XyZ".to_owned()),
        because: Some(because),
        ..outcome(OutcomeState::Released, OutcomeSource::Operator)
    };
    let change = Change::Outcome {
        verdict: ids[0],
        outcome: told.clone(),
    };
    store.change(vec![change]).await.unwrap();
    assert_eq!(reader.outcomes(ids[0]).unwrap().last(), Some(&told));
    // Nobody said why: it was the operator's own policy.
    let queue = moved(ids[1], OutcomeState::Released, OutcomeSource::Queue);
    store.change(vec![queue]).await.unwrap();
    let because = reader.outcomes(ids[1]).unwrap().pop().unwrap().because;
    assert_eq!(because.unwrap().kind, OverrideType::LocalPolicy);
    store.close().await;
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn one_rule_is_in_force_once() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, ids) = filled(directory.path(), 2).await;
    let list = r#""require":{"dkim":"list.example"}"#;
    let until = |day: i64| {
        let end = NOW.plus_micros(day * DAY);
        format!(r#"{list},"expires":"{end}""#)
    };
    let other = r#""require":{"spf":"list.example"}"#;
    let later = NOW.plus_micros(100 * DAY);
    let first = ExceptionId(1);
    for (change, expected) in [
        (new(&until(90), Some(ids[0])), Changed::Added(first)),
        (new(&until(91), Some(ids[0])), Changed::AlreadyThere(first)),
        (new(&until(90), Some(ids[1])), Changed::AlreadyThere(first)),
        (new(&until(10), Some(ids[1])), Changed::AlreadyThere(first)),
        (new(&until(95), Some(ids[1])), Changed::Altered(first)),
        (new(&until(10), None), Changed::Altered(first)),
        (new(&until(10), None), Changed::AlreadyThere(first)),
        (new(other, None), Changed::Added(ExceptionId(2))),
        (new(&until(90), None), Changed::Altered(first)),
        (remove(1, later), Changed::Removed),
        (remove(1, later), Changed::Unchanged),
        // What was removed is past: wanted again, it is a new one.
        (
            new(&until(90), Some(ids[0])),
            Changed::Added(ExceptionId(3)),
        ),
    ] {
        let told = format!("{change:?}");
        let changed = store.change(vec![change]).await.unwrap();
        assert_eq!(changed, [expected], "{told}");
    }
    let events = "SELECT count(*) FROM exception_event WHERE exception = 1";
    assert_eq!(number(directory.path(), events), 5);
    store.close().await;
}

#[tokio::test]
async fn changes_wait_for_what_was_recorded_before_and_end_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let verdict = plain_verdict("a.example", NOW, 1);
    let id = verdict.id;
    store.record(Arc::new(verdict)).await.unwrap();
    // Confirmations ride; a change right behind one sees it.
    store.confirm(id, outcome(OutcomeState::Held, OutcomeSource::Reply));
    let release = moved(id, OutcomeState::Released, OutcomeSource::Operator);
    assert_eq!(
        store.change(vec![release.clone()]).await,
        Ok(vec![Changed::Moved])
    );
    store.clone().close().await;
    let error = store.change(vec![release]).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is closed");
}
