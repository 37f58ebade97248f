//! What becomes of a message: confirmations, illegal moves, crashes; and what was passed over.

use crate::{NOW, filled, number, outcome, plain_verdict::plain_verdict, settings};
use alignd::domain::DomainName;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Reader, Skip, SkipReason, Store};
use alignd::verdict::VerdictId;
use futures_util::FutureExt;
use std::sync::Arc;

fn words(outcomes: &[Outcome]) -> String {
    let words: Vec<String> = outcomes
        .iter()
        .map(|o| format!("{}/{}", o.state, o.source))
        .collect();
    words.join(" ")
}

#[tokio::test]
async fn only_legal_moves_are_written() {
    use OutcomeSource::{Log, Operator, Reply, Restart};
    use OutcomeState::{Accepted, Answering, RefusedLater, Rejected, Tempfailed, Unknown};
    let table: &[(&[(OutcomeState, OutcomeSource)], &str)] = &[
        (&[], "answering/reply"),
        (&[(Accepted, Reply)], "answering/reply accepted/reply"),
        (&[(Rejected, Reply)], "answering/reply rejected/reply"),
        (&[(Tempfailed, Reply)], "answering/reply tempfailed/reply"),
        (&[(Unknown, Reply)], "answering/reply unknown/reply"),
        (&[(Answering, Reply)], "answering/reply"),
        (
            &[(Accepted, Reply), (Accepted, Reply)],
            "answering/reply accepted/reply",
        ),
        (
            &[(Accepted, Reply), (Rejected, Reply)],
            "answering/reply accepted/reply",
        ),
        (&[(Accepted, Restart)], "answering/reply"),
        (&[(RefusedLater, Log)], "answering/reply"),
        (
            &[(Accepted, Reply), (RefusedLater, Log), (Accepted, Operator)],
            "answering/reply accepted/reply refused_later/log",
        ),
        (
            &[(Unknown, Reply), (Accepted, Reply), (Accepted, Log)],
            "answering/reply unknown/reply accepted/log",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), table.len() as u32).await;
    for (id, (moves, _)) in ids.iter().zip(table) {
        for (state, source) in *moves {
            store.confirm(*id, outcome(*state, *source));
        }
    }
    store.confirm(VerdictId::from_bytes([9; 16]), outcome(Accepted, Reply));
    store.close().await;
    for (id, (moves, expected)) in ids.iter().zip(table) {
        assert_eq!(
            words(&reader.outcomes(*id).unwrap()),
            *expected,
            "{moves:?}"
        );
        assert_eq!(
            reader.find(*id).unwrap().unwrap().outcomes,
            reader.outcomes(*id).unwrap()
        );
    }
    assert_eq!(number(directory.path(), "SELECT count(*) FROM awaiting"), 4);
}

#[tokio::test]
async fn an_outcome_keeps_its_time_and_detail_and_what_reports_range_over() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 1).await;
    let told = Outcome {
        detail: Some("550 5.7.1 no".to_owned()),
        ..Outcome::new(
            OutcomeState::Rejected,
            NOW.plus_micros(86_400_000_001),
            OutcomeSource::Reply,
        )
    };
    store.confirm(ids[0], told.clone());
    store.close().await;
    assert_eq!(reader.outcomes(ids[0]).unwrap()[1], told);
    let by_day = format!(
        "SELECT seq FROM outcome JOIN name ON name.id = policy_domain
         WHERE day = {} AND name = 'a.example' AND state = 'rejected'",
        NOW.day().number() + 1
    );
    assert_eq!(number(directory.path(), &by_day), 2);
}

#[tokio::test]
async fn sequence_numbers_are_never_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, _) = filled(directory.path(), 5).await;
    let after = NOW.plus_micros(91 * 86_400_000_000);
    store.close().await;
    let store = Store::open(&settings(directory.path()), after).unwrap();
    assert_eq!(store.unanswered_at_start(), 5);
    assert_eq!(store.expire(after).await, Ok(5));
    store
        .record(Arc::new(plain_verdict("a.example", after, 1)))
        .await
        .unwrap();
    store.close().await;
    assert_eq!(number(directory.path(), "SELECT min(seq) FROM outcome"), 11);
}

/// As when the MTA hangs up while verdicts wait for the disk: what is known then comes before them, and
/// never after a group that they are not in.
#[tokio::test]
async fn a_confirmation_waits_for_its_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let reader = Reader::open(directory.path()).unwrap();
    let verdicts: Vec<_> = (0..3_000)
        .map(|nth| plain_verdict("a.example", NOW, nth))
        .collect();
    for verdict in &verdicts {
        let recorded = store.record(Arc::new(verdict.clone())).now_or_never();
        assert!(recorded.is_none_or(|recorded| recorded.is_ok()));
        store.confirm(
            verdict.id,
            outcome(OutcomeState::Unknown, OutcomeSource::Reply),
        );
    }
    store.close().await;
    assert_eq!(reader.stats().unwrap().answering, 0);
}

#[tokio::test]
async fn what_a_crash_left_answering_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 1_200).await;
    store.confirm(
        ids[0],
        outcome(OutcomeState::Accepted, OutcomeSource::Reply),
    );
    store.close().await;
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    assert_eq!(store.unanswered_at_start(), 1_199);
    store.close().await;
    assert_eq!(reader.stats().unwrap().answering, 0);
    for id in &ids[1..] {
        assert_eq!(
            words(&reader.outcomes(*id).unwrap()),
            "answering/reply unknown/restart"
        );
    }
    assert_eq!(
        words(&reader.outcomes(ids[0]).unwrap()),
        "answering/reply accepted/reply"
    );
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    assert_eq!(store.unanswered_at_start(), 0);
}

#[tokio::test]
async fn recording_again_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 1).await;
    store.confirm(
        ids[0],
        outcome(OutcomeState::Accepted, OutcomeSource::Reply),
    );
    let same = Arc::new(plain_verdict("a.example", NOW, 0));
    assert_eq!(same.id, ids[0]);
    store.record(same).await.unwrap();
    store.close().await;
    assert_eq!(reader.stats().unwrap().verdicts, 1);
    assert_eq!(
        words(&reader.outcomes(ids[0]).unwrap()),
        "answering/reply accepted/reply"
    );
}

#[tokio::test]
async fn skips_are_counted_and_nothing_else_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let domain = |name: &str| DomainName::parse(name).unwrap();
    let skip = |days: i64, reason, author: Option<&str>, to: &[&str]| Skip {
        at: NOW.plus_micros(days * 86_400_000_000),
        reason,
        author_domain: author.map(domain),
        recipient_domains: to.iter().map(|name| domain(name)).collect(),
    };
    for skip in [
        skip(
            0,
            SkipReason::Authenticated,
            Some("ours.example"),
            &["x.example", "y.example"],
        ),
        skip(
            0,
            SkipReason::Authenticated,
            Some("ours.example"),
            &["x.example"],
        ),
        skip(0, SkipReason::Authenticated, None, &["x.example"]),
        skip(
            0,
            SkipReason::TrustNetworks,
            Some("secret.example"),
            &["secret.example"],
        ),
        skip(
            1,
            SkipReason::Authenticated,
            Some("ours.example"),
            &["x.example"],
        ),
        skip(1, SkipReason::LocalSubmission, None, &[]),
    ] {
        store.count_skip(skip);
    }
    store.close().await;
    // A second run adds to the same days.
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    store.count_skip(skip(
        0,
        SkipReason::Authenticated,
        Some("ours.example"),
        &["x.example"],
    ));
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    let day = NOW.day();
    let next = NOW.plus_micros(86_400_000_000).day();
    let sums: Vec<_> = reader
        .skips(day..=next)
        .unwrap()
        .into_iter()
        .map(|s| (s.day, s.reason, s.messages))
        .collect();
    assert_eq!(
        sums,
        [
            (day, SkipReason::Authenticated, 4),
            (day, SkipReason::TrustNetworks, 1),
            (next, SkipReason::Authenticated, 1),
            (next, SkipReason::LocalSubmission, 1),
        ]
    );
    assert_eq!(reader.skips(next..=next).unwrap().len(), 2);
    let pairs: Vec<_> = reader
        .skip_pairs(day..=day)
        .unwrap()
        .into_iter()
        .map(|p| (p.author_domain, p.recipient_domain, p.messages))
        .collect();
    assert_eq!(
        pairs,
        [
            (Some(domain("ours.example")), domain("x.example"), 3),
            (None, domain("x.example"), 1),
            (Some(domain("ours.example")), domain("y.example"), 1),
        ]
    );
}

#[tokio::test]
async fn a_day_has_room_for_so_many_pairs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    for nth in 0..30_000 {
        store.count_skip(Skip {
            at: NOW,
            reason: SkipReason::Authenticated,
            author_domain: DomainName::parse(&format!("d{nth}.example")).ok(),
            recipient_domains: vec![DomainName::parse("x.example").unwrap()],
        });
    }
    store.close().await;
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(
        reader.skips(NOW.day()..=NOW.day()).unwrap()[0].messages,
        30_000
    );
    let pairs = reader.skip_pairs(NOW.day()..=NOW.day()).unwrap().len();
    assert!((4_096..=20_000).contains(&pairs), "{pairs}");
}
