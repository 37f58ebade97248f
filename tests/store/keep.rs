//! What is kept, and for how long: retention, local parts.

use crate::{NOW, filled, number, outcome, plain_verdict::plain_verdict, raw, settings};
use alignd::address::ReversePath;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Change, Filter, Intent, Reader, Skip, SkipReason, Store, StoreSettings};
use alignd::time::Timestamp;
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;
const DICTIONARIES: [&str; 5] = [
    "name",
    "document",
    "dmarc_record",
    "policy_published",
    "policy_evaluated",
];

#[tokio::test]
async fn old_verdicts_go_with_all_that_is_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let accepted = outcome(OutcomeState::Accepted, OutcomeSource::Reply);
    // One verdict a day for 200 days, each day its own domain, and one domain on all of them.
    for day in 0..200 {
        let received = NOW.plus_micros(i64::from(day) * DAY);
        for (domain, nth) in [
            (format!("day{day}.example"), 0),
            ("always.example".to_owned(), 1),
        ] {
            let verdict = Arc::new(plain_verdict(&domain, received, nth));
            store.record(Arc::clone(&verdict)).await.unwrap();
            store.confirm(verdict.id, accepted.clone());
        }
        store.count_skip(Skip {
            at: received,
            reason: SkipReason::SkipHosts,
            author_domain: None,
            recipient_domains: Vec::new(),
        });
    }
    store.close().await;
    let end = NOW.plus_micros(200 * DAY);
    let store = Store::open(&settings(directory.path()), end).unwrap();
    let before: Vec<i64> = DICTIONARIES
        .iter()
        .map(|table| number(directory.path(), &format!("SELECT count(*) FROM {table}")))
        .collect();
    assert_eq!(store.expire(end).await, Ok(220));
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    let kept: Vec<_> = reader
        .messages(&Filter::default())
        .map(Result::unwrap)
        .collect();
    assert_eq!(kept.len(), 180);
    for (table, column) in [("detail", "verdict"), ("outcome", "verdict")] {
        let orphans = format!(
            "SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT number FROM verdict)"
        );
        assert_eq!(number(directory.path(), &orphans), 0, "{table}");
    }
    let cutoff = end.plus_micros(-90 * DAY).day().number();
    for (table, before) in DICTIONARIES.iter().zip(before) {
        let old = format!("SELECT count(*) FROM {table} WHERE last_day < {cutoff}");
        assert_eq!(number(directory.path(), &old), 0, "{table}");
        let after = number(directory.path(), &format!("SELECT count(*) FROM {table}"));
        assert!(after > 0 && after <= before, "{table}: {after} of {before}");
    }
    assert_eq!(number(directory.path(), "SELECT count(*) FROM skip"), 90);
    // The caches know nothing that is gone.
    store
        .record(Arc::new(plain_verdict("day3.example", end, 1)))
        .await
        .unwrap();
    store.close().await;
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_awaited_is_kept_with_its_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 3).await;
    store.close().await;
    // A state that a later version will know.
    raw(directory.path())
        .execute_batch("UPDATE awaiting SET state = 'held' WHERE verdict = 2")
        .unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    store
        .record(Arc::new(plain_verdict("z.example", NOW, 99)))
        .await
        .unwrap();
    assert_eq!(store.expire(NOW.plus_micros(1_000 * DAY)).await, Ok(3));
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    assert!(reader.find(ids[1]).unwrap().is_some());
    assert_eq!(reader.stats().unwrap().verdicts, 1);
    assert_eq!(number(directory.path(), "SELECT count(*) FROM awaiting"), 1);
}

/// A release is to be reported, however long the mail was held.
#[tokio::test]
async fn held_mail_is_kept_and_so_is_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 5).await;
    for id in &ids {
        store.confirm(*id, outcome(OutcomeState::Held, OutcomeSource::Reply));
    }
    let late = NOW.plus_micros(300 * DAY);
    assert_eq!(store.expire(late).await, Ok(0));
    let moved = |nth: usize, state, source| Change::Outcome {
        verdict: ids[nth],
        outcome: Outcome::new(state, late, source),
    };
    let changes = vec![
        moved(0, OutcomeState::Released, OutcomeSource::Operator),
        moved(1, OutcomeState::Deleted, OutcomeSource::Expiry),
        moved(2, OutcomeState::RefusedLater, OutcomeSource::Operator),
        moved(3, OutcomeState::Unknown, OutcomeSource::Queue),
    ];
    store.change(changes).await.unwrap();
    // Who deleted it, and why, can be asked for as long as of any other.
    assert_eq!(store.expire(late.plus_micros(89 * DAY)).await, Ok(0));
    assert_eq!(reader.outcomes(ids[1]).unwrap().len(), 3);
    assert_eq!(store.expire(late.plus_micros(91 * DAY)).await, Ok(4));
    assert_eq!(reader.oldest().unwrap(), Some(NOW.plus_micros(4 * 333_333)));
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

/// Nobody tells when another filter's quarantine has let its mail go.
#[tokio::test]
async fn what_others_hold_goes_with_its_age() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 4).await;
    for id in &ids {
        store.confirm(*id, outcome(OutcomeState::Accepted, OutcomeSource::Reply));
    }
    let told = |nth: usize, days, source| Change::Outcome {
        verdict: ids[nth],
        outcome: Outcome::new(OutcomeState::Held, NOW.plus_micros(days * DAY), source),
    };
    let changes = vec![
        told(0, 0, OutcomeSource::Operator),
        // Told late, and counted from then on.
        told(1, 50, OutcomeSource::Operator),
        // Seen in our own hold queue.
        told(2, 0, OutcomeSource::Queue),
        // Somebody is about to let it go.
        told(3, 0, OutcomeSource::Operator),
        Change::Intend(Intent {
            verdict: ids[3],
            at: NOW,
            by: "anna".to_owned(),
            document: "{}".to_owned(),
        }),
    ];
    store.change(changes).await.unwrap();
    assert_eq!(store.expire(NOW.plus_micros(89 * DAY)).await, Ok(0));
    assert_eq!(store.expire(NOW.plus_micros(91 * DAY)).await, Ok(1));
    assert_eq!(reader.find(ids[0]).unwrap(), None);
    assert_eq!(store.expire(NOW.plus_micros(141 * DAY)).await, Ok(1));
    assert_eq!(reader.find(ids[1]).unwrap(), None);
    let struck_out = Change::StrikeOut { verdict: ids[3] };
    store.change(vec![struck_out]).await.unwrap();
    assert_eq!(store.expire(NOW.plus_micros(999 * DAY)).await, Ok(1));
    assert_eq!(number(directory.path(), "SELECT count(*) FROM awaiting"), 1);
    assert!(reader.find(ids[2]).unwrap().is_some());
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn recording_goes_on_while_old_verdicts_go() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, _) = filled(directory.path(), 1_500).await;
    store.close().await;
    let later = NOW.plus_micros(100 * DAY);
    let store = Store::open(&settings(directory.path()), later).unwrap();
    let expiring = store.expire(later);
    let recording = async {
        for nth in 0..200 {
            let verdict = plain_verdict("new.example", later, nth);
            store.record(Arc::new(verdict)).await.unwrap();
        }
    };
    let (expired, ()) = tokio::join!(expiring, recording);
    assert_eq!(expired, Ok(1_500));
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.stats().unwrap().verdicts, 200);
    assert_eq!(reader.check().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn local_parts_are_stored_only_if_the_operator_wants_them() {
    for local_parts in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            local_parts,
            ..settings(directory.path())
        };
        let store = Store::open(&settings, NOW).unwrap();
        let mut verdict = plain_verdict("a.example", NOW, 7);
        verdict.evidence.dkim.signatures[0].identity = Some("signer-9@a.example".to_owned());
        verdict.evidence.spf.mail_from.grounds.explanation = Some("go away, bounce-7!".to_owned());
        store.record(Arc::new(verdict.clone())).await.unwrap();
        let mut odd = plain_verdict("b.example", NOW, 8);
        odd.envelope.mail_from = ReversePath::Unparseable("bounce 7@@b.example".to_owned());
        odd.authentication_results = "mx.example; spf=none".to_owned();
        odd.envelope.recipient_addresses.clear();
        store.record(Arc::new(odd.clone())).await.unwrap();
        store.close().await;
        let reader = Reader::open(directory.path()).unwrap();
        let found = reader.find(verdict.id).unwrap().unwrap().verdict;
        assert_eq!(found == verdict, local_parts);
        assert_eq!(
            found.envelope.mail_from.domain(),
            verdict.envelope.mail_from.domain()
        );
        let found = reader.find(odd.id).unwrap().unwrap().verdict;
        assert_eq!(found == odd, local_parts);
        raw(directory.path())
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        let file = std::fs::read(directory.path().join("alignd.db")).unwrap();
        for text in ["bounce-7", "bounce 7", "someone", "signer-9"] {
            let there = file
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            assert_eq!(there, local_parts, "{text}");
        }
    }
}

#[tokio::test]
async fn an_empty_store_has_nothing_to_expire() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    assert_eq!(
        store
            .expire(Timestamp::from_seconds(i64::MAX / 1_000_000))
            .await,
        Ok(0)
    );
}
