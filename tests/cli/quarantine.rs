//! `alignd quarantine` on a store with held messages, and without the MTA's helper.

use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::Place;
use super::report::accept;
use alignd::auth::DmarcResult;
use alignd::auth::dmarc::Policy;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::rules::RuleKey;
use alignd::policy::{Action, Cause, Decision, Disposition, RuleEffect, RuleUse};
use alignd::store::{Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use std::sync::Arc;

/// Three held messages, of a.example, b.example and a.example, the first two days old, an accepted one and a released one.
pub fn held() -> Place {
    let place = Place::new();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let now = alignd::daemon::SystemClock.now();
    let work = async {
        let store = Store::open(&settings, now).expect("a store");
        for (nth, (domain, hours, state)) in [
            ("a.example", 49, OutcomeState::Held),
            ("b.example", 3, OutcomeState::Held),
            ("a.example", 2, OutcomeState::Held),
            ("a.example", 1, OutcomeState::Accepted),
            ("a.example", 4, OutcomeState::Released),
        ]
        .into_iter()
        .enumerate()
        {
            let at: Timestamp = now.plus_micros(-hours * 3_600_000_000);
            let mut verdict = plain_verdict(domain, at, nth as u32);
            if state != OutcomeState::Accepted {
                verdict.decision = Decision::follow(
                    Cause::FailReject,
                    Some(Policy::Reject),
                    Disposition::Quarantine,
                    Action::Hold,
                );
            }
            verdict.envelope.queue_id = Some(format!("4jXW5m5GBtz1Stg{nth}"));
            if let Some(evaluation) = &mut verdict.evaluation {
                evaluation.result = DmarcResult::Fail;
            }
            let id = verdict.id;
            store.record(Arc::new(verdict)).await.expect("recorded");
            let answered = match state {
                OutcomeState::Released => OutcomeState::Held,
                other => other,
            };
            store.confirm(id, Outcome::new(answered, at, OutcomeSource::Reply));
            if state != answered {
                store.confirm(id, Outcome::new(state, at, OutcomeSource::Operator));
            }
        }
        store.close().await;
    };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
    place
}

/// Only an exception that let it through already leaves nothing to suggest.
#[test]
fn what_a_stricter_rule_held_has_suggestions_too() {
    for (effect, expected) in [
        (None, true),
        (Some(RuleEffect::Stricter), true),
        (Some(RuleEffect::Exception), false),
    ] {
        let place = Place::new();
        let at = alignd::daemon::SystemClock.now();
        let mut verdict = plain_verdict("a.example", at, 1);
        if let Some(evaluation) = &mut verdict.evaluation {
            evaluation.result = DmarcResult::Fail;
        }
        if let Some(effect) = effect {
            verdict.decision = verdict.decision.under(RuleUse {
                key: RuleKey::parse("cfg-0123456789abcdef").expect("a key"),
                effect,
                met: Vec::new(),
            });
        }
        let id = verdict.id.to_string();
        accept(&place, at, &[verdict]);
        let why = place.run(&["why", &id]);
        let found = why.out.contains("Exceptions that would let it through");
        assert_eq!((why.code, found), (0, expected), "{effect:?}: {}", why.out);
    }
}

/// Arguments, exit code, queue ids in the order listed.
#[test]
fn what_is_held_is_listed_oldest_first() {
    let place = held();
    for (arguments, expected) in [
        (&[][..], "0 1 2"),
        (&["--author-domain", "a.example"], "0 2"),
        (&["--author-domain", "c.example"], ""),
        (&["--older-than", "2d"], "0"),
        (&["--older-than", "150m"], "0 1"),
        (&["--limit", "2"], "0 1"),
    ] {
        let ran = place.run(&[&["quarantine", "list", "--format", "json"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let rows = ran.json();
        let ids: Vec<&str> = rows
            .iter()
            .filter_map(|row| row["queue_id"].as_str())
            .collect();
        let ids: Vec<&str> = ids
            .iter()
            .filter_map(|id| id.strip_prefix("4jXW5m5GBtz1Stg"))
            .collect();
        assert_eq!(ids.join(" "), expected, "{arguments:?}");
        rows.iter().for_each(documented);
    }
    let table = place.run(&["quarantine", "list"]).out;
    assert!(
        table.starts_with("AGE  QUEUE ID          AUTHOR DOMAIN"),
        "{table}"
    );
    assert!(
        table.contains("\n2d   4jXW5m5GBtz1Stg0  a.example"),
        "{table}"
    );
    assert!(
        table.contains("spf=pass (a.example)") || table.contains("spf="),
        "{table}"
    );
    let csv = place.run(&["quarantine", "list", "--format", "csv"]).out;
    assert_eq!(csv.lines().count(), 4, "{csv}");
}

/// What can't be acted on takes nobody's place, and what is left out is told.
#[test]
fn what_others_hold_is_listed_apart() {
    let place = held();
    let told = place.run(&["outcome", "--queue-id", "4jXW5m5GBtz1Stg3", "held"]);
    assert_eq!(told.code, 0, "{}", told.err);
    for (arguments, rows, says) in [
        (
            &[][..],
            3,
            "What other filters said that they hold isn't among these: see --told.",
        ),
        (&["--told"], 1, ""),
        (
            &["--limit", "2"],
            2,
            "More are held: these are the oldest 2.",
        ),
        (&["--limit", "3", "--format", "json"], 3, ""),
        (
            &["--limit", "1", "--format", "csv"],
            1,
            "More are held: these are the oldest 1.",
        ),
    ] {
        let ran = place.run(&[&["quarantine", "list"], arguments].concat());
        let heading = usize::from(!arguments.contains(&"json"));
        assert_eq!(
            ran.out.lines().count(),
            rows + heading,
            "{arguments:?}: {}",
            ran.out
        );
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
        assert_eq!(
            ran.err.contains("More are held"),
            says.contains("More are held"),
            "{arguments:?}: {}",
            ran.err
        );
    }
    for arguments in [
        &["release", "--all", "--author-domain", "a.example"][..],
        &["expire", "--older-than", "30m"],
    ] {
        let ran = place.run(&[&["quarantine"], arguments].concat());
        let expected = if arguments[0] == "expire" {
            "3 messages would"
        } else {
            "2 messages would"
        };
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn without_the_helper_nothing_is_changed() {
    let place = held();
    let id = "4jXW5m5GBtz1Stg0";
    for (arguments, code, says) in [
        (&["release", id][..], 3, "nothing was changed"),
        (
            &["release", id, "--because", "mailing_list", "--comment", "x"],
            3,
            "alignd-mta-helper",
        ),
        (&["delete", id], 3, "nothing was changed"),
        (&["show", id, "--message"], 3, "nothing was changed"),
        (
            &["release", "4jXW5m5GBtz1Stg3"],
            1,
            "is not held: it is accepted",
        ),
        (
            &["release", "4jXW5m5GBtz1Stg9"],
            1,
            "alignd quarantine list shows what is held",
        ),
        (
            &["show", "nothing"],
            1,
            "alignd quarantine list shows what is held",
        ),
        (&["release"], 2, "required"),
        (&["release", id, "--all"], 2, "cannot be used with"),
        (&["release", "--all"], 2, "--author-domain"),
        (
            &["release", id, "--because", "policy_test_mode"],
            2,
            "possible values",
        ),
        (
            &["release", "--all", "--author-domain", "a.example"],
            1,
            "2 messages would be released: say --yes",
        ),
        (
            &["delete", "--all", "--author-domain", "c.example"],
            0,
            "0 messages would be deleted",
        ),
        (
            &["release", "--all", "--author-domain", "a.example", "--yes"],
            3,
            "0 of 2 were done",
        ),
        (
            &["expire", "--older-than", "1d"],
            1,
            "1 message would be deleted: say --yes",
        ),
        (&["expire", "--older-than", "30d", "--yes"], 0, ""),
    ] {
        let ran = place.run(&[&["quarantine"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
    let rows = place
        .run(&["quarantine", "list", "--format", "json"])
        .json();
    assert_eq!(rows.len(), 3);
    let shown = place.run(&["quarantine", "show", id]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("What became of it"), "{}", shown.out);
}

/// The mail has gone, and its exception is made whenever it is asked for; or, without room, told to be missing.
#[test]
fn an_exception_can_be_made_after_the_release() {
    let place = held();
    let release = |more: &[&str]| {
        let ran = place.run(&[&["quarantine", "release", "4jXW5m5GBtz1Stg4"], more].concat());
        (ran.code, ran.out + &ran.err)
    };
    let (code, told) = release(&[]);
    assert!(code == 0 && !told.contains("stored-"), "{code}: {told}");
    for _ in 0..2 {
        let (code, told) = release(&["--allow", "1"]);
        assert_eq!(code, 0, "{told}");
        assert!(
            told.contains(" already") && told.contains("; stored-1 lets such mail pass"),
            "{told}"
        );
    }
    place.run(&["exception", "remove", "stored-1"]);
    let connection = rusqlite::Connection::open(place.path("store/alignd.db")).expect("a store");
    let filled = connection.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
         INSERT INTO exception (same, rule, created) SELECT n, '{}', 0 FROM n",
        [],
    );
    assert_eq!(filled, Ok(100_000));
    drop(connection);
    let (code, told) = release(&["--allow", "1"]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("no exception was made: the store has room for 100000 exceptions"),
        "{told}"
    );
}

/// A daemon that begins has the store before it has a socket, and one that ends has it for longer.
#[test]
fn a_store_that_is_in_use_for_a_moment_is_waited_for() {
    let place = held();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let now = alignd::daemon::SystemClock.now();
    let store = runtime.block_on(async { Store::open(&settings, now).expect("a store") });
    let release = ["quarantine", "release", "4jXW5m5GBtz1Stg4"];
    let refused = place.run(&release);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(
        refused.err.contains("in use by another alignd"),
        "{}",
        refused.err
    );
    let ran = std::thread::scope(|scope| {
        let asking = scope.spawn(|| place.run(&release));
        runtime.block_on(store.close());
        asking.join().expect("no panic")
    });
    assert_eq!(ran.code, 0, "{}", ran.err);
}
