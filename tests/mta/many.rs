//! A thousand held mails on the real Postfix: listed, one of them released, all the others expired; let go by hand.

use crate::house::Kind;
use crate::release::Kept;
use crate::wait;
use crate::world::{EVIL, READER};
use std::thread;
use std::time::Instant;

const HELD: usize = 1_000;
const SENDERS: usize = 4;
const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

/// Sent by several at once; their queue ids.
fn hold(kept: &Kept) -> Vec<String> {
    let send = || {
        let mut session = kept.house.mta.session(&EVIL);
        let ids = (0..HELD / SENDERS).map(|_| {
            let answer = session.mail("<x@evil.example>", &[READER], MAIL);
            answer.queue_id()
        });
        ids.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        let ids = senders.into_iter().map(|sender| sender.join());
        ids.flat_map(|ids| ids.expect("no sender panics")).collect()
    })
}

#[test]
fn a_thousand_held_are_listed_one_is_released_and_the_others_expire() {
    let kept = Kept::open(Kind::Postfix);
    let begun = Instant::now();
    let mut ids = hold(&kept);
    println!("{HELD} held after {:?}", begun.elapsed());
    let begun = Instant::now();
    let mut listed = wait::until("all are listed", || {
        let listed = kept.listed();
        (listed.len() == HELD).then_some(listed)
    });
    println!("{HELD} listed in {:?}", begun.elapsed());
    let first = kept.quarantine(&["list", "--limit", "10", "--format", "json"]);
    assert_eq!(first.lines().count(), 10);
    for (row, id) in first.lines().zip(&listed) {
        assert!(row.contains(&format!("\"queue_id\":\"{id}\"")), "{row}");
    }
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
    assert!(
        kept.house
            .alignd
            .run(&["status"])
            .contains("1000 messages, the oldest since")
    );

    let id = &ids[HELD / 2];
    let told = kept.quarantine(&["release", id]);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.delivered(id);
    assert_eq!(kept.listed().len(), HELD - 1);

    // Only tells, at first.
    let expire = ["expire", "--older-than", "1s"];
    wait::until("all are a second old", || {
        let output = kept
            .house
            .alignd
            .begin(&[&["quarantine"][..], &expire].concat());
        let output = output.wait_with_output().expect("it is our child");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.contains("999 messages would be deleted").then_some(())
    });
    let begun = Instant::now();
    let told = kept.quarantine(&[&expire[..], &["--yes"]].concat());
    println!("{} expired in {:?}", told.lines().count(), begun.elapsed());
    assert_eq!(told.lines().count(), HELD - 1);
    assert!(
        told.lines().all(|line| line.starts_with("deleted ")),
        "{told}"
    );
    assert_eq!(kept.listed(), [""; 0]);
    let left = ids.iter().filter(|id| kept.house.mta.held(id).is_some());
    assert_eq!(left.count(), 0);
    kept.house.mta.run_queue();
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

#[test]
fn a_thousand_let_go_by_hand_are_released() {
    let kept = Kept::open_with(Kind::Postfix, &[("outcome.settle", "\"8s\"")]);
    hold(&kept);
    wait::until("all are listed", || {
        (kept.listed().len() == HELD).then_some(())
    });
    kept.house.mta.let_go("ALL");
    let begun = Instant::now();
    wait::until("none is listed", || kept.listed().is_empty().then_some(()));
    println!("{HELD} let go by hand, known after {:?}", begun.elapsed());
    let counted = ["messages", "--count-by", "outcome", "--format", "csv"];
    let counted = kept.house.alignd.run(&counted);
    assert!(
        counted.lines().any(|line| line == "released,1000"),
        "{counted}"
    );
}
