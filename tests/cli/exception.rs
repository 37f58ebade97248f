//! `alignd exception` on a store without a daemon.

use super::manual::documented;
use super::ran::Place;
use alignd::store::{Store, StoreSettings};
use alignd::time::Clock;

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
