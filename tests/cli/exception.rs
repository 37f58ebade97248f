//! `alignd exception` on a store without a daemon.

use super::manual::documented;
use super::plain_verdict::plain_verdict;
use super::ran::Place;
use alignd::policy::rules::RuleKey;
use alignd::policy::{RuleEffect, RuleUse};
use alignd::store::{Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use std::sync::Arc;

fn empty() -> Place {
    let place = Place::new();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let now = alignd::daemon::SystemClock.now();
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async { Store::open(&settings, now).expect("a store").close().await });
    place
}

#[test]
fn what_is_added_is_listed_and_its_history_kept() {
    let place = empty();
    let add = ["exception", "add", "--author-domain", "a.example"];
    for (arguments, code, says) in [
        (
            &["--dkim", "lists.example/2026", "--expires", "90d"][..],
            0,
            "added stored-1",
        ),
        (
            &["--dkim", "lists.example/2026", "--expires", "30d"],
            0,
            "changed stored-1",
        ),
        (
            &["--network", "192.0.2.7", "--network", "2001:db8::/32"],
            0,
            "added stored-2",
        ),
        (&["--unsafe"], 0, "added stored-3"),
        (&[], 2, "or say --unsafe"),
        (&["--list-domain", "lists.example"], 2, "--list-id"),
        (&["--spf", "not a domain"], 2, "spf"),
        (
            &["--spf", "b.example", "--expires", "2020-01-01"],
            2,
            "past already",
        ),
        (&["--spf", "b.example", "--expires", "soon"], 2, "write 90d"),
    ] {
        let ran = place.run(&[&add[..], arguments].concat());
        let told = ran.out.clone() + &ran.err;
        assert_eq!(ran.code, code, "{arguments:?}: {told}");
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    let listed = place.run(&["exception", "list", "--format", "json"]).json();
    let keys: Vec<&str> = listed
        .iter()
        .filter_map(|row| row["key"].as_str())
        .collect();
    assert_eq!(keys, ["stored-3", "stored-2", "stored-1"]);
    listed.iter().for_each(documented);
    for (key, code) in [
        ("stored-2", 0),
        ("stored-2", 0),
        ("stored-9", 1),
        ("config-1", 2),
        ("x", 2),
    ] {
        let ran = place.run(&["exception", "remove", key, "--why", "moved"]);
        assert_eq!(ran.code, code, "{key}: {}", ran.err);
    }
    let shown = place.run(&["exception", "show", "stored-2"]);
    assert!(
        shown.out.contains("removed by") && shown.out.contains(": moved"),
        "{}",
        shown.out
    );
    assert_eq!(place.run(&["exception", "show", "stored-9"]).code, 1);
    let all = place.run(&["exception", "list", "--all"]).out;
    assert!(
        all.contains("removed") && all.contains("unsafe exception for a.example"),
        "{all}"
    );
}

/// How often each decided, of the store and of the settings file; what doesn't hold any more keeps its count.
#[test]
fn hits_are_told_for_rules_of_the_store_and_of_the_settings() {
    let place = empty();
    let settings = std::fs::read_to_string(place.path("alignd.toml")).expect("our own file");
    let rules = "[[exception]]\nauthor_domain = \"a.example\"\nrequire = { spf = \"b.example\" }\nowner = \"anna\"\n\
                 [[stricter]]\nauthor_domain = \"c.example\"\naction = \"hold\"\nexpires = 2020-01-01T00:00:00Z\n";
    place.write("alignd.toml", &(settings + rules));
    for list in ["d.example", "e.example"] {
        place.run(&["exception", "add", "--author-domain", "*", "--dkim", list]);
    }
    let listed = place.run(&["exception", "list", "--all", "--format", "json"]);
    let key = |rule: &str| {
        let rows = listed.json().into_iter();
        let mut found = rows.filter(|row| row["rule"].as_str().is_some_and(|r| r.contains(rule)));
        found.next().expect(rule)["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    let (written, ended, stored) = (key("b.example"), key("c.example"), key("d.example"));
    assert!(!written.starts_with("stored-") && stored.starts_with("stored-"));
    use_rules(&place, &[(&written, 3), (&ended, 1), (&stored, 1_200)]);

    let rows = place
        .run(&["exception", "list", "--all", "--format", "json"])
        .json();
    for (rule, standing, hits, last) in [
        ("b.example", "in_force", 3, Some("2026-11-22T12:00:02.000Z")),
        ("c.example", "expired", 1, Some("2026-11-22T12:00:00.000Z")),
        (
            "d.example",
            "in_force",
            1_200,
            Some("2026-11-22T12:19:59.000Z"),
        ),
        ("e.example", "in_force", 0, None),
    ] {
        let row = rows
            .iter()
            .find(|row| row["key"] == key(rule).as_str())
            .expect(rule);
        documented(row);
        assert_eq!(row["standing"], standing, "{row}");
        assert_eq!(row["hits"], hits, "{row}");
        assert_eq!(row["last_hit"].as_str(), last, "{row}");
    }
    let owner = rows.iter().find(|row| row["key"] == written.as_str());
    assert_eq!(owner.expect("listed")["owner"], "anna");
    let table = place.run(&["exception", "list"]).out;
    let columns = |row: &str| {
        let line = table.lines().find(|line| line.contains(row)).expect(row);
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        columns("KEY")[..6],
        ["KEY", "STANDING", "RULE", "BECAUSE", "HITS", "LAST"],
        "{table}"
    );
    for (rule, hits) in [
        ("b.example", "3"),
        ("d.example", "1200"),
        ("e.example", "0"),
    ] {
        let columns = columns(rule);
        let because = columns
            .iter()
            .position(|word| word == "local_policy")
            .expect(rule);
        assert_eq!(columns[because + 1], hits, "{table}");
    }
    assert!(!table.contains("c.example"), "{table}");
    let csv = place.run(&["exception", "list", "--format", "csv"]).out;
    assert!(csv.contains(",3,2026-11-22T12:00:02.000Z,anna,"), "{csv}");
    for (key, told) in [
        (
            written.as_str(),
            "3, from 2026-11-22T12:00:00.000Z to 2026-11-22T12:00:02.000Z",
        ),
        (
            &ended,
            "1, from 2026-11-22T12:00:00.000Z to 2026-11-22T12:00:00.000Z",
        ),
        (&stored, "1200, from "),
        (&key("e.example"), "none yet"),
    ] {
        let shown = place.run(&["exception", "show", key]);
        assert_eq!(shown.code, 0, "{}", shown.err);
        let hits = shown
            .out
            .lines()
            .find(|line| line.trim_start().starts_with("hits"));
        assert!(
            hits.is_some_and(|line| line.contains(told)),
            "{key}: {}",
            shown.out
        );
    }
}

/// Each of these rules decides about so many messages, a second apart.
fn use_rules(place: &Place, uses: &[(&str, u32)]) {
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let noon = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").expect("a time");
    let work = async {
        let store = Store::open(&settings, noon).expect("a store");
        let mut messages = Vec::new();
        for (nth, (key, times)) in uses.iter().enumerate() {
            for time in 0..*times {
                let at = noon.plus_micros(i64::from(time) * 1_000_000);
                let mut verdict = plain_verdict("a.example", at, nth as u32 * 10_000 + time);
                verdict.decision = verdict.decision.under(RuleUse {
                    key: RuleKey::parse(key).expect("a key"),
                    effect: RuleEffect::Exception,
                    met: Vec::new(),
                });
                let store = store.clone();
                messages.push(tokio::spawn(async move {
                    store.record(Arc::new(verdict)).await
                }));
            }
        }
        for message in messages {
            message.await.expect("no panic").expect("recorded");
        }
        store.close().await;
    };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
}
