//! What is held and when it goes, through the real MTAs: the digest arrives in the mailbox and announces, and a day
//! later the mail is gone from the hold queue, with nobody told but by the digest.

use crate::house::{Kind, for_both};
use crate::release::Kept;
use crate::wait;
use alignd::host::system_zone;
use chrono::{DateTime, Timelike};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

for_both![what_is_announced_goes_a_day_later];

fn what_is_announced_goes_a_day_later(mta: Kind) {
    let mut kept = Kept::open(mta);
    let (old, new) = (kept.hold(), kept.hold());
    let alignd = &mut kept.house.alignd;
    alignd.set("quarantine.notify", "\"reader@receiver.example\"");
    alignd.set("quarantine.notify_at", &format!("\"{}\"", an_hour_ago()));
    alignd.set("quarantine.expire_after", "\"10d\"");
    let smtp = format!("\"{}\"", kept.house.mta.smtp());
    alignd.set("delivery.smtp", &smtp);
    passes(&mut kept, &old, 11);

    kept.house.mta.run_queue();
    let told = wait::until("the digest arrives", || kept.house.mta.mailbox().pop());
    let subject = "alignd at mx.receiver.example: 2 held, 2 new, 1 to be deleted";
    assert_eq!(told.fields("Subject"), [subject]);
    assert_eq!(told.fields("From"), ["alignd@mx.receiver.example"]);
    assert_eq!(told.fields("Auto-Submitted"), ["auto-generated"]);
    let text = String::from_utf8_lossy(told.body()).into_owned();
    let release = format!("  release    alignd quarantine release {new}\n");
    assert!(text.contains(&release), "{text}");
    // By hand it would do the same: nothing yet.
    assert_eq!(kept.quarantine(&["expire", "--yes"]), "");
    assert_eq!(kept.history(&old), "answering, held");

    passes(&mut kept, &old, 2);
    wait::until("its end is known", || {
        (kept.history(&old) == "answering, held, deleted by alignd").then_some(())
    });
    assert!(kept.house.mta.held(&old).is_none());
    assert_eq!(last_source(&kept, &old), "expiry");
    assert!(kept.house.mta.held(&new).is_some());
    assert_eq!(kept.listed(), [new]);
    let why = kept.house.alignd.run(&["why", &old]);
    assert!(why.contains("announced 20"), "{why}");
    // No bounce; and the second start sent the digest of the same day no second time.
    kept.house.mta.run_queue();
    assert_eq!(kept.house.mta.mailbox().len(), 1);
    let due = kept.house.alignd.run(&["report", "due"]);
    assert!(!due.contains("sender.example"), "{due}");
}

/// alignd is down for so many days, as far as this message and the announcement are concerned.
fn passes(kept: &mut Kept, id: &str, days: i64) {
    kept.house.alignd.stop();
    let path = kept.house.alignd.store().join("alignd.db");
    let store = rusqlite::Connection::open(path).expect("it was stopped");
    let micros = days * 86_400_000_000;
    let older = store.execute(
        "UPDATE outcome SET at = at - ?1
         WHERE verdict = (SELECT number FROM verdict WHERE queue_id = ?2)",
        (micros, id),
    );
    assert!(older.expect("its own tables") > 0);
    store
        .execute("UPDATE awaiting SET announced = announced - ?1", [micros])
        .expect("its own tables");
    drop(store);
    kept.house.alignd.start_again();
}

fn last_source(kept: &Kept, id: &str) -> String {
    let told = kept.house.alignd.run(&["why", id, "--json"]);
    let told: Value = serde_json::from_str(told.trim()).expect("one object");
    let last = told["outcomes"].as_array().and_then(|all| all.last());
    last.expect("an outcome")["source"]
        .as_str()
        .expect("a word")
        .to_owned()
}

/// By the clock on the wall.
fn an_hour_ago() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("the clock is right").as_secs();
    let at = i64::try_from(now).expect("the clock is right") - 3_600;
    let at = DateTime::from_timestamp(at, 0).expect("the clock is right");
    let local = at.with_timezone(&system_zone());
    format!("{:02}:{:02}", local.hour(), local.minute())
}
