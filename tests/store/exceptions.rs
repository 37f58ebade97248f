//! Exceptions in the store: what is in force, and what became of each.

use crate::plain_verdict::plain_verdict;
use crate::{NOW, filled, raw, settings};
use alignd::policy::rules::{Rule, RuleKey};
use alignd::policy::{RuleEffect, RuleUse};
use alignd::store::{
    Change, Changed, EventKind, ExceptionFilter, ExceptionId, ExceptionStanding, NewException,
    Reader, RuleUses, Store,
};
use alignd::time::Timestamp;
use std::sync::Arc;
use std::time::Instant;

const DAY: i64 = 86_400_000_000;

fn rule(nth: usize, expires: Option<Timestamp>) -> Rule {
    let end = expires.map_or(String::new(), |end| format!(r#","expires":"{end}""#));
    let json = format!(
        r#"{{"author_domain":"d{nth}.example","because":"mailing_list",
            "require":{{"dkim":"list{nth}.example"}},"owner":"anna"{end}}}"#
    );
    Rule::parse_json(&json).unwrap()
}

fn add(rule: Rule, why: &str) -> Change {
    Change::AddException(Box::new(NewException {
        rule,
        from: None,
        at: NOW,
        who: "anna".to_owned(),
        why: Some(why.to_owned()),
    }))
}

fn remove(id: i64, at: Timestamp) -> Change {
    Change::RemoveException {
        id: ExceptionId(id),
        at,
        who: "ben".to_owned(),
        why: None,
    }
}

fn days(days: i64) -> Timestamp {
    NOW.plus_micros(days * DAY)
}

#[tokio::test]
async fn they_stop_at_that_second_and_stay_to_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 1).await;
    let from = Change::AddException(Box::new(NewException {
        rule: rule(4, None),
        from: Some(ids[0]),
        at: NOW,
        who: "anna".to_owned(),
        why: None,
    }));
    let changes = vec![
        add(rule(1, Some(days(2))), "asked for by sales"),
        add(rule(2, None), "a list"),
        add(rule(3, Some(days(5))), "for a while"),
        from,
    ];
    store.change(changes).await.unwrap();
    let longer = vec![add(rule(3, Some(days(9))), "a while longer")];
    let altered = store.change(longer).await.unwrap();
    assert_eq!(altered, [Changed::Altered(ExceptionId(3))]);
    let removed = store.change(vec![remove(2, days(3))]).await.unwrap();
    assert_eq!(removed, [Changed::Removed]);

    let in_force = |now: Timestamp| {
        let found = reader.rules_in_force(now).unwrap();
        assert_eq!(found.unreadable, []);
        let keys = found.rules.into_iter().map(|(key, _)| key.stored_id());
        keys.map(Option::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(in_force(NOW), [1, 3, 4]);
    assert_eq!(in_force(days(2).plus_micros(-1)), [1, 3, 4]);
    assert_eq!(in_force(days(2)), [3, 4]);
    assert_eq!(in_force(days(9)), [4]);
    let listed = |filter: ExceptionFilter| {
        let found = reader.exceptions(&filter).unwrap();
        found.iter().map(|x| x.id.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(ExceptionFilter::default()), [4, 3, 2, 1]);
    let page = ExceptionFilter {
        below: Some(ExceptionId(4)),
        limit: Some(2),
        ..ExceptionFilter::default()
    };
    assert_eq!(listed(page), [3, 2]);
    let now = ExceptionFilter {
        in_force_at: Some(days(2)),
        ..ExceptionFilter::default()
    };
    assert_eq!(listed(now), [4, 3]);

    let told = |id: i64, now: Timestamp| {
        let history = reader.exception(ExceptionId(id), now).unwrap().unwrap();
        let events = history.events.iter().map(|event| {
            let who = event.who.as_deref().unwrap_or("-");
            let why = event.why.as_deref().unwrap_or("-");
            format!("{} {who} {why}", event.what)
        });
        let standing = history.exception.standing(now);
        (standing, events.collect::<Vec<_>>().join("; "))
    };
    use ExceptionStanding::{Expired, InForce, Removed};
    for (id, now, standing, events) in [
        (1, NOW, InForce, "added anna asked for by sales"),
        (
            1,
            days(2),
            Expired,
            "added anna asked for by sales; expired - -",
        ),
        (2, days(4), Removed, "added anna a list; removed ben -"),
        (
            3,
            days(6),
            InForce,
            "added anna for a while; changed anna a while longer",
        ),
        (4, days(900), InForce, "added anna -"),
    ] {
        assert_eq!(told(id, now), (standing, events.to_owned()), "{id} {now}");
    }
    let fourth = reader.exception(ExceptionId(4), NOW).unwrap().unwrap();
    assert_eq!(fourth.exception.from, Some(ids[0]));
    assert_eq!(fourth.exception.rule, Ok(rule(4, None)));
    assert_eq!(fourth.events[0].what, EventKind::Added);
    assert_eq!(reader.exception(ExceptionId(5), NOW).unwrap(), None);
    // Retention leaves them alone.
    assert_eq!(store.expire(days(1_000)).await, Ok(1));
    assert_eq!(listed(ExceptionFilter::default()), [4, 3, 2, 1]);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    // A backup has them all.
    let copy = directory.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    reader.backup(&copy.join("alignd.db")).unwrap();
    let copied = Reader::open(&copy).unwrap();
    assert_eq!(
        copied.exception(ExceptionId(3), NOW).unwrap(),
        reader.exception(ExceptionId(3), NOW).unwrap()
    );
    store.close().await;
}

#[tokio::test]
async fn one_that_cannot_be_read_is_left_out_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let changes = vec![add(rule(1, None), "x"), add(rule(2, None), "y")];
    store.change(changes).await.unwrap();
    store.close().await;
    raw(directory.path())
        .execute_batch("UPDATE exception SET rule = '{\"author_domain\":\"?\"}' WHERE id = 1")
        .unwrap();
    let reader = Reader::open(directory.path()).unwrap();
    let found = reader.rules_in_force(NOW).unwrap();
    assert_eq!(found.unreadable, [ExceptionId(1)]);
    assert_eq!(found.rules, [(RuleKey::stored(2), rule(2, None))]);
    let told = reader.check().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("exception 1: author_domain"),
        "{told:?}"
    );
    let first = reader.exception(ExceptionId(1), NOW).unwrap().unwrap();
    assert!(first.exception.rule.is_err());
}

/// Counted with the verdict, once for each message.
#[tokio::test]
async fn how_often_rules_decided() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let used = |key: &str| RuleUse {
        key: RuleKey::parse(key).unwrap(),
        effect: RuleEffect::Exception,
        met: Vec::new(),
    };
    for nth in 0..30_u32 {
        let received = NOW.plus_micros(i64::from(nth) * 1_000_000);
        let mut verdict = plain_verdict("a.example", received, nth);
        verdict.decision = match nth % 3 {
            0 => verdict.decision.under(used("config-0011223344")),
            1 => verdict.decision.under(used("stored-7")),
            _ => verdict.decision,
        };
        let verdict = Arc::new(verdict);
        store.record(Arc::clone(&verdict)).await.unwrap();
        // Recorded again, as after a wait that was too long: still one message.
        store.record(verdict).await.unwrap();
    }
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    let uses = reader.rule_uses().unwrap();
    let at = |seconds: i64| NOW.plus_micros(seconds * 1_000_000);
    for (key, first, last) in [("config-0011223344", 0, 27), ("stored-7", 1, 28)] {
        let expected = RuleUses {
            hits: 10,
            first: at(first),
            last: at(last),
        };
        assert_eq!(uses.get(&RuleKey::parse(key).unwrap()), Some(&expected));
    }
    assert_eq!(uses.len(), 2);
}

#[tokio::test]
async fn ten_thousand_are_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let rules: Vec<Change> = (0..10_000).map(|nth| add(rule(nth, None), "x")).collect();
    for changes in rules.chunks(250) {
        store.change(changes.to_vec()).await.unwrap();
    }
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    let started = Instant::now();
    let found = reader.rules_in_force(NOW).unwrap();
    println!(
        "exceptions: {} of 10000 read in {} ms",
        found.rules.len(),
        started.elapsed().as_millis()
    );
    assert_eq!(found.rules.len(), 10_000);
}
