//! What the mail log of a real MTA tells: refused by a milter behind alignd, let go by hand.

use crate::house::{Chain, House, Kind, Plan, for_both};
use crate::other_milter::Habit;
use crate::wait;
use crate::world::{EVIL, SENDER};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

for_both![
    refused_by_a_milter_behind_is_refused_later,
    let_go_by_hand_is_released,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

fn house(mta: Kind, chain: Chain, log: &Path, on_reject: &str) -> House {
    House::open(&Plan {
        chain,
        alignd: &[
            ("outcome.log", &format!("{:?}", log.display().to_string())),
            ("policy.on_reject", on_reject),
        ],
        ..Plan::of(mta)
    })
}

/// Until the verdict has this outcome; the MTA's log so far stands in the file that alignd follows.
fn becomes(house: &House, log: &Path, id: &str, outcome: &str) {
    wait::until(&format!("{id} to be {outcome}"), || {
        let all = house.mta.log();
        let there = fs::metadata(log).map_or(0, |m| m.len() as usize);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .expect("it is ours");
        file.write_all(&all.as_bytes()[there..])
            .expect("there is room");
        (house.verdict(id)["outcome"] == outcome).then_some(())
    });
}

fn refused_by_a_milter_behind_is_refused_later(mta: Kind) {
    let home = tempfile::tempdir().expect("there is room");
    let log = home.path().join("mail.log");
    let house = house(mta, Chain::Before(Habit::Refuse), &log, "\"accept\"");
    house.send(&SENDER, "<a@sender.example>", MAIL);
    let stored = house.alignd.messages(&[]);
    let id = stored[0]["queue_id"].as_str().expect("the MTA told it");
    becomes(&house, &log, id, "refused_later");
    let why = house.alignd.run(&["why", id]);
    assert!(why.contains("rejected by"), "{why}");
    let status = house.alignd.run(&["status"]);
    assert!(!status.contains("Accepted is unconfirmed"), "{status}");
}

fn let_go_by_hand_is_released(mta: Kind) {
    let home = tempfile::tempdir().expect("there is room");
    let log = home.path().join("mail.log");
    let house = house(mta, Chain::Alone, &log, "\"hold\"");
    let id = house.send(&EVIL, "<x@evil.example>", MAIL).queue_id();
    wait::until(&format!("{id} to be held"), || house.mta.held(&id));
    assert_eq!(house.verdict(&id)["outcome"], "held");
    house.mta.release(&id);
    house.mta.delivered(&id);
    becomes(&house, &log, &id, "released");
}
