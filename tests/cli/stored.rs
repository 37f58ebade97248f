//! `alignd messages`, `why` and `status` on a store filled through the library.

use super::golden::golden;
use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::{Place, Ran};
use alignd::auth::dmarc::{Alignment, Policy};
use alignd::auth::{DmarcResult, SpfResult};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::PolicySettings;
use alignd::policy::decide::{Situation, by_settings};
use alignd::store::{Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

/// Three messages: a pass and a spoof an hour apart, and one without an answer, all with queue ids.
fn filled() -> Place {
    let place = Place::new();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let work = async {
        let store = Store::open(&settings, NOW).expect("a store");
        let hour = |n: i64| NOW.plus_micros(n * 3_600_000_000);
        for (verdict, state) in [
            (
                named(plain_verdict("a.example", hour(0), 1), "4jXW5m5GBtz1StgL"),
                Some(OutcomeState::Accepted),
            ),
            (
                spoofed(named(
                    plain_verdict("b.example", hour(1), 2),
                    "4jXW5m5KZfz1StH0",
                )),
                Some(OutcomeState::Accepted),
            ),
            (
                named(plain_verdict("b.example", hour(2), 3), "4jXW5m5GBtz1StgL"),
                None,
            ),
        ] {
            let (id, at) = (verdict.id, verdict.received);
            store.record(Arc::new(verdict)).await.expect("recorded");
            if let Some(state) = state {
                store.confirm(id, outcome(state, at.plus_micros(1_000)));
            }
        }
        store.close().await;
    };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
    place
}

fn outcome(state: OutcomeState, at: Timestamp) -> Outcome {
    Outcome::new(state, at, OutcomeSource::Reply)
}

fn named(mut verdict: Verdict, queue_id: &str) -> Verdict {
    verdict.envelope.queue_id = Some(queue_id.to_owned());
    verdict
}

fn spoofed(mut verdict: Verdict) -> Verdict {
    let evaluation = verdict.evaluation.as_mut().expect("evaluated");
    evaluation.result = DmarcResult::Fail;
    evaluation.spf = Alignment::default();
    evaluation.dkim = Alignment::default();
    evaluation.grounds = "no identifier passed SPF or DKIM".to_owned();
    verdict.evidence.spf.mail_from.result = SpfResult::Fail;
    verdict.evidence.dkim.signatures.clear();
    let fail = Situation::Fail {
        selected: Policy::Reject,
        applied: Policy::Reject,
    };
    verdict.decision = by_settings(fail, &PolicySettings::default());
    verdict
}

fn column(ran: &Ran, key: &str) -> Vec<serde_json::Value> {
    ran.json().into_iter().map(|row| row[key].clone()).collect()
}

#[test]
fn listings_in_three_forms() {
    let place = filled();
    golden("messages.txt", &place.run(&["messages"]).out);
    golden(
        "messages.csv",
        &place.run(&["messages", "--format", "csv"]).out,
    );
    golden(
        "messages-count.txt",
        &place.run(&["messages", "--count-by", "author_domain"]).out,
    );
    let json = place.run(&["messages", "--format", "json"]);
    assert_eq!(json.json().len(), 3);
    let counts = ["messages", "--count-by", "day", "--format", "json"];
    documented(&place.run(&counts).json()[0]);
    let csv = place.run(&["messages", "--format", "csv"]).out;
    let columns = csv.lines().next().unwrap().split(',');
    columns.for_each(|column| documented(&serde_json::json!({ column: null })));
    golden("messages.json", json.out.lines().nth(1).unwrap());
}

#[test]
fn filters() {
    let place = filled();
    let ids = |ids: &[&str]| {
        ids.iter()
            .map(|id| (*id).into())
            .collect::<Vec<serde_json::Value>>()
    };
    let (first, second) = ("4jXW5m5GBtz1StgL", "4jXW5m5KZfz1StH0");
    for (arguments, expected) in [
        (vec![], ids(&[first, second, first])),
        (vec!["--dmarc", "fail"], ids(&[second])),
        (vec!["--author-domain", "B.Example."], ids(&[first, second])),
        (vec!["--queue-id", first], ids(&[first, first])),
        (vec!["--outcome", "accepted"], ids(&[second, first])),
        (vec!["--outcome", "answering"], ids(&[first])),
        (vec!["--disposition", "none"], ids(&[second])),
        (vec!["--limit", "1"], ids(&[first])),
        (vec!["--limit", "0"], ids(&[first, second, first])),
        (vec!["--since", "2026-11-22T17:30:00Z"], ids(&[first])),
        (vec!["--until", "2026-11-22T17:00:00Z"], ids(&[first])),
        (
            vec!["--since", "2000-01-01", "--until", "2000-01-02"],
            Vec::new(),
        ),
        (vec!["--ip", "2001:db8:ffff::/48"], Vec::new()),
    ] {
        let mut all = vec!["messages", "--format", "json"];
        all.extend(&arguments);
        let ran = place.run(&all);
        let found = column(&ran, "queue_id");
        assert_eq!((ran.code, found), (0, expected), "{arguments:?}");
    }
}

#[test]
fn why_by_queue_id_and_by_verdict() {
    let place = filled();
    let spoof = place.run(&["why", "4jXW5m5KZfz1StH0"]);
    assert_eq!((spoof.code, spoof.err.as_str()), (0, ""));
    golden("why-spoof.txt", &spoof.out);
    let twice = place.run(&["why", "4jXW5m5GBtz1StgL", "--json"]);
    let (ids, outcomes) = (column(&twice, "id"), column(&twice, "outcome"));
    assert_eq!(outcomes, ["answering", "accepted"]);
    let older = ids[1].as_str().unwrap();
    let page = place.run(&["why", "4jXW5m5GBtz1StgL"]).out;
    assert!(
        page.contains("Older messages with this queue id") && page.contains(older),
        "{page}"
    );
    let by_id = place.run(&["why", &older.to_uppercase(), "--json"]);
    assert_eq!(column(&by_id, "id"), [older]);
    let object = &by_id.json()[0];
    documented(object);
    let history = &object["outcomes"];
    assert_eq!(
        (&history[0]["state"], &history[1]["state"]),
        (&"answering".into(), &"accepted".into())
    );
    for unknown in ["nothing", "00000000-0000-7000-8000-000000000000"] {
        let ran = place.run(&["why", unknown]);
        let expected = format!("alignd: no verdict {unknown} in the store\n");
        assert_eq!((ran.code, ran.out.as_str(), ran.err), (1, "", expected));
    }
}

#[test]
fn status_says_what_needs_a_hand() {
    let place = filled();
    let ran = place.run(&["status"]);
    assert_eq!(ran.code, 1, "nobody listens: {}", ran.err);
    for says in [
        "3 verdicts",
        "nobody answers on unix:",
        "systemctl start alignd",
        "What needs a hand",
    ] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    let _listener = std::os::unix::net::UnixListener::bind(place.path("milter.sock")).unwrap();
    let ran = place.run(&["status"]);
    assert!(ran.out.contains("listening on unix:"), "{}", ran.out);
}

#[test]
fn status_says_what_is_held() {
    let place = filled();
    assert!(!place.run(&["status"]).out.contains("held"));
    for (id, says) in [
        (
            "4jXW5m5KZfz1StH0",
            "elsewhere 1 message is held, as another",
        ),
        (
            "4jXW5m5GBtz1StgL",
            "elsewhere 2 messages are held, as other",
        ),
    ] {
        let told = place.run(&["outcome", "--queue-id", id, "held"]);
        assert_eq!(told.code, 0, "{}", told.err);
        let page = place.run(&["status"]).out;
        let words: Vec<&str> = page.split_whitespace().collect();
        assert!(words.join(" ").contains(says), "{page}");
    }
    let words = |page: String| page.split_whitespace().collect::<Vec<_>>().join(" ");
    let why = words(place.run(&["why", "4jXW5m5KZfz1StH0"]).out);
    let says = "held, as another filter or a person says (told by the operator";
    assert!(why.contains(says), "{why}");
    let status = words(super::quarantine::held().run(&["status"]).out);
    assert!(
        status.contains("held 3 messages, the oldest since 20"),
        "{status}"
    );
}

#[test]
fn a_store_that_is_not_there_is_told_as_such() {
    let place = Place::new();
    for command in [vec!["messages"], vec!["why", "x"]] {
        let ran = place.run(&command);
        assert_eq!(ran.code, 2, "{command:?}");
        assert!(
            ran.err
                .contains("no such store; nothing has been recorded yet"),
            "{}",
            ran.err
        );
    }
    let ran = place.run(&["status"]);
    assert_eq!(ran.code, 1);
    let words: Vec<&str> = ran.out.split_whitespace().collect();
    let text = words.join(" ");
    assert!(text.contains("nothing has been recorded yet"), "{text}");
}

/// Without a daemon, what is told goes into the store itself.
#[test]
fn an_outcome_is_told_and_explained() {
    let place = filled();
    let queue_id = ["--queue-id", "4jXW5m5KZfz1StH0"];
    for (arguments, code, says) in [
        (["held", "--reason", "spam"], 0, "no daemon runs"),
        (["held", "--reason", "spam"], 0, "no daemon runs"),
        (
            ["rejected", "--reason", "x"],
            1,
            "a refusal after that is refused_later",
        ),
        (["released", "--reason", "by hand"], 0, "no daemon runs"),
    ] {
        let ran = place.run(&[&["outcome"], &queue_id[..], &arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
    let why = place.run(&["why", "4jXW5m5KZfz1StH0", "--json"]).json();
    let outcomes = why[0]["outcomes"].as_array().expect("a history");
    let states: Vec<&str> = outcomes
        .iter()
        .filter_map(|o| o["state"].as_str())
        .collect();
    assert_eq!(states, ["answering", "accepted", "held", "released"]);
    assert!(outcomes[3]["by"].is_string(), "{outcomes:?}");
    let unknown = place.run(&["outcome", "--queue-id", "nobody", "held"]);
    assert_eq!(unknown.code, 1, "{}", unknown.err);
}
