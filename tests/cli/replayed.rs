//! `alignd what-if` and `review` on a store filled through the library.

use super::golden::golden;
use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::Place;
use alignd::auth::dmarc::{Alignment, Policy};
use alignd::auth::{DkimResult, DmarcResult, SpfResult};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::PolicySettings;
use alignd::policy::decide::{Situation, by_settings};
use alignd::store::{Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::Verdict;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);
const SINCE: &str = "--since=2026-11-01";

/// Ten passes, three spoofs of bank.example, and two of its mails by a list that signs.
fn filled() -> Place {
    let place = Place::new();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let verdicts = (0..10)
        .map(|nth| plain_verdict("a.example", NOW, nth))
        .chain((10..13).map(|nth| failed(nth, false)))
        .chain((13..15).map(|nth| failed(nth, true)));
    let work = async {
        let store = Store::open(&settings, NOW).expect("a store");
        for verdict in verdicts {
            let accepted = Outcome::new(OutcomeState::Accepted, NOW, OutcomeSource::Reply);
            let id = verdict.id;
            store.record(Arc::new(verdict)).await.expect("recorded");
            store.confirm(id, accepted);
        }
        store.close().await;
    };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
    place
}

fn failed(nth: u32, by_list: bool) -> Verdict {
    let mut verdict = plain_verdict("bank.example", NOW, nth);
    let evaluation = verdict.evaluation.as_mut().expect("evaluated");
    evaluation.result = DmarcResult::Fail;
    evaluation.spf = Alignment::default();
    evaluation.dkim = Alignment::default();
    verdict.evidence.spf.mail_from.result = SpfResult::Fail;
    verdict.evidence.iprev.name = None;
    let mut signatures = std::mem::take(&mut verdict.evidence.dkim.signatures);
    if by_list {
        let mut broken = signatures[0].clone();
        broken.result = DkimResult::Fail;
        signatures[0].domain = "list.example".to_owned();
        signatures.push(broken);
        verdict.evidence.dkim.signatures = signatures;
        verdict.message.list_id = Some("talk.list.example".to_owned());
    }
    let fail = Situation::Fail {
        selected: Policy::Reject,
        applied: Policy::Reject,
    };
    verdict.decision = by_settings(fail, &PolicySettings::default());
    verdict
}

#[test]
fn what_rejecting_would_have_cost() {
    let place = filled();
    let tried = ["what-if", "--on-reject", "reject", SINCE];
    golden("what-if.txt", &place.run(&tried).out);
    let json = place
        .run(&[&tried[..], &["--format", "json"]].concat())
        .json();
    documented(&json[0]);
    let messages: u64 = json.iter().filter_map(|row| row["messages"].as_u64()).sum();
    assert_eq!((json.len(), messages), (2, 5));
    let unchanged = place.run(&["what-if", SINCE]);
    assert_eq!(
        unchanged.out,
        "Nothing: all 15 messages would have been treated as they were.\n"
    );
}

#[test]
fn the_rules_of_another_file() {
    let place = filled();
    place.write(
        "try.toml",
        "[policy]\non_reject = \"hold\"\n[[exception]]\nauthor_domain = \"bank.example\"\n\
         require = { dkim = \"list.example\" }\n[store]\npath = \"/nowhere\"\n",
    );
    let file = place.path("try.toml");
    let file = file.to_str().expect("UTF-8");
    let json = place.run(&["what-if", "--rules", file, SINCE, "--format", "json"]);
    let rows = json.json();
    assert_eq!(rows.len(), 1, "{}", json.err);
    assert_eq!(
        (&rows[0]["would_be"], &rows[0]["messages"]),
        (&"held".into(), &3.into())
    );
}

#[test]
fn a_review_names_the_next_command() {
    let place = filled();
    golden("review.txt", &place.run(&["review", SINCE]).out);
    let json = place.run(&["review", SINCE, "--format", "json"]).json();
    documented(&json[0]);
    assert_eq!(json[0]["doubt"], "let_in");
}
