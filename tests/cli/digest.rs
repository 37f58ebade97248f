//! `alignd quarantine digest` and `expire` by the setting: what is shown and counted. What `--send`
//! sends is in the tests of the digest.

use super::quarantine::held;
use super::ran::Place;
use alignd::store::{Change, HeldFilter, Reader, Store, StoreSettings};
use alignd::time::Clock;

/// The settings of a place with this behind them.
fn set(place: &Place, more: &str) {
    let file = place.path("alignd.toml");
    let old = std::fs::read_to_string(&file).expect("our own file");
    std::fs::write(file, format!("{old}{more}")).expect("our own file");
}

#[test]
fn it_is_shown_without_sending() {
    let place = held();
    let ran = place.run(&["quarantine", "digest"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let subject = "Subject: alignd at mx.example.org: 3 held, 3 new\n\n3 messages are held at";
    assert!(ran.out.starts_with(subject), "{}", ran.out);
    for part in [
        "\na.example: 2 messages, oldest 2 days\n",
        "\n  release    alignd quarantine release 4jXW5m5GBtz1Stg2\n",
        "\n  with it    alignd quarantine release 4jXW5m5GBtz1Stg2 --allow 1 --expires 90d\n",
        "\n  all        alignd quarantine release --all --author-domain a.example\n",
        "\nb.example: 1 message, oldest 3 hours\n",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(
        ran.err.contains("quarantine.notify is not set"),
        "{}",
        ran.err
    );
    set(&place, "[quarantine]\nnotify = \"postmaster@a.example\"\n");
    let ran = place.run(&["quarantine", "digest"]);
    let addressed = "From: alignd@mx.example.org\nTo: postmaster@a.example\nSubject: ";
    assert!(ran.out.starts_with(addressed), "{}", ran.out);
    assert!(ran.err.contains("The next one is due at"), "{}", ran.err);
    set(&place, "[delivery]\nsmtp = \"127.0.0.1:1\"\n");
    let ran = place.run(&["quarantine", "digest", "--send"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let ran = held().run(&["quarantine", "digest", "--send"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("set quarantine.notify"), "{}", ran.err);
}

/// Of three, one has been held for two days.
#[test]
fn by_the_setting_only_what_was_announced_goes() {
    let place = held();
    let ran = place.run(&["quarantine", "expire"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("say --older-than"), "{}", ran.err);
    set(&place, "[quarantine]\nexpire_after = \"2d\"\n");
    let check = |code, says: &str| {
        let ran = place.run(&["quarantine", "expire"]);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
    };
    check(0, "1 more: never deleted, for nothing announces it");
    set(&place, "notify = \"postmaster@a.example\"\n");
    check(0, "1 more: deleted a day after the digest");
    announce(&place, 23);
    check(0, "1 more: deleted a day after the digest");
    announce(&place, 25);
    let page = place.run(&["status"]).out;
    for says in [
        "  digest        none yet, to postmaster@a.example\n",
        "  to be deleted 3 messages, as announced\n",
        "no digest has told of what is held since 20",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    check(1, "1 message would be deleted: say --yes");
    let ran = place.run(&["quarantine", "expire", "--yes"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
}

/// As if digests had announced all of it so many hours ago.
fn announce(place: &Place, hours: i64) {
    let now = alignd::daemon::SystemClock.now();
    let settings = StoreSettings {
        path: place.path("store"),
        ..StoreSettings::default()
    };
    let reader = Reader::open(&settings.path).expect("a store");
    let all = reader.held(&HeldFilter::default()).expect("readable");
    let changes = all.iter().map(|message| Change::Announce {
        verdict: message.id,
        at: Some(now.plus_micros(-hours * 3_600_000_000)),
    });
    let changes = changes.collect();
    let work = async {
        let store = Store::open(&settings, now).expect("a store");
        store.change(changes).await.expect("written");
        store.close().await;
    };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
}
