//! Another milter before and after alignd: one that refuses, one that changes mail, one that takes its time.

use crate::house::{ALIGND_ALONE, House, Plan};
use crate::other_milter::{Habit, OtherMilter};
use crate::world::{EVIL, SENDER};
use std::time::Duration;

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    After,
}

fn house(habit: Habit, place: Place) -> (OtherMilter, House) {
    let other = OtherMilter::start(habit);
    let milters = match place {
        Place::Before => format!("{}, {ALIGND_ALONE}", other.socket()),
        Place::After => format!("{ALIGND_ALONE}, {}", other.socket()),
    };
    let house = House::open(&Plan {
        milters: &milters,
        ..Plan::PLAIN
    });
    (other, house)
}

#[test]
fn what_a_milter_before_refuses_has_no_verdict() {
    let (_other, house) = house(Habit::Refuse, Place::Before);
    for _ in 0..2 {
        house.send(&SENDER, "<a@sender.example>", MAIL).expect(550);
    }
    assert_eq!(house.alignd.messages(&[]).len(), 0);
}

#[test]
fn what_a_milter_after_refuses_was_accepted_as_far_as_alignd_can_know() {
    let (_other, house) = house(Habit::Refuse, Place::After);
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(550);
    let stored = house.alignd.messages(&[]);
    assert_eq!(stored.len(), 1);
    let queue_id = stored[0]["queue_id"].as_str().expect("Postfix told it");
    assert_eq!(house.verdict(queue_id)["outcome"], "accepted");
}

#[test]
fn a_milter_that_changes_mail_does_so_beside_our_field() {
    for place in [Place::Before, Place::After] {
        let (_other, house) = house(Habit::Change, place);
        let (mail, _) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
        assert_eq!(mail.body(), b"changed\n");
        assert_eq!(mail.fields("X-Other"), ["was here"]);
        let results = mail.fields("Authentication-Results");
        assert_eq!(results.len(), 1, "{}", mail.header());
        assert!(results[0].contains("dmarc=pass"), "{results:?}");
    }
}

#[test]
fn a_slow_milter_harms_nothing() {
    for place in [Place::Before, Place::After] {
        let (_other, house) = house(Habit::Wait(Duration::from_secs(1)), place);
        let (_, verdict) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
        assert_eq!(verdict["outcome"], "accepted");
    }
}

#[test]
fn our_refusal_ends_the_chain_with_our_words() {
    let other = OtherMilter::start(Habit::Change);
    let house = House::open(&Plan {
        milters: &format!("{ALIGND_ALONE}, {}", other.socket()),
        alignd: &[("policy.on_reject", "\"reject\"")],
        ..Plan::PLAIN
    });
    let answer = house.send(&EVIL, "<x@evil.example>", MAIL);
    assert!(answer.0.starts_with("550 5.7.1 "), "{}", answer.0);
    assert!(answer.0.contains("sender.example"), "{}", answer.0);
    assert_eq!(house.postfix.mailbox().len(), 0);
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(250);
}
