//! Another milter before and after alignd: one that refuses, one that changes mail, one that takes its time.

use crate::house::{Chain, House, Kind, Plan, for_both};
use crate::other_milter::Habit;
use crate::world::{EVIL, SENDER};
use std::time::Duration;

for_both![
    what_a_milter_before_refuses_has_no_verdict,
    what_a_milter_after_refuses_was_accepted_as_far_as_alignd_can_know,
    a_milter_that_changes_mail_does_so_beside_our_field,
    a_slow_milter_harms_nothing,
    our_refusal_ends_the_chain_with_our_words,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

fn house(mta: Kind, chain: Chain) -> House {
    House::open(&Plan {
        chain,
        ..Plan::of(mta)
    })
}

/// How the MTA tells that a milter refused a message without words of its own.
fn refused(mta: Kind) -> u16 {
    match mta {
        Kind::Postfix => 550,
        Kind::Sendmail => 554,
    }
}

fn what_a_milter_before_refuses_has_no_verdict(mta: Kind) {
    let house = house(mta, Chain::After(Habit::Refuse));
    for _ in 0..2 {
        let answer = house.send(&SENDER, "<a@sender.example>", MAIL);
        answer.expect(refused(mta));
    }
    assert_eq!(house.alignd.messages(&[]).len(), 0);
}

fn what_a_milter_after_refuses_was_accepted_as_far_as_alignd_can_know(mta: Kind) {
    let house = house(mta, Chain::Before(Habit::Refuse));
    let answer = house.send(&SENDER, "<a@sender.example>", MAIL);
    answer.expect(refused(mta));
    let stored = house.alignd.messages(&[]);
    assert_eq!(stored.len(), 1);
    let queue_id = stored[0]["queue_id"].as_str().expect("the MTA told it");
    assert_eq!(house.verdict(queue_id)["outcome"], "accepted");
    let status = house.alignd.run(&["status"]);
    let line = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("Accepted is unconfirmed"), "{status}");
}

fn a_milter_that_changes_mail_does_so_beside_our_field(mta: Kind) {
    for chain in [Chain::Before(Habit::Change), Chain::After(Habit::Change)] {
        let house = house(mta, chain);
        let (mail, _) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
        assert_eq!(mail.body(), b"changed\n");
        assert_eq!(mail.fields("X-Other"), ["was here"]);
        let results = mail.fields("Authentication-Results");
        assert_eq!(results.len(), 1, "{}", mail.header());
        assert!(results[0].contains("dmarc=pass"), "{results:?}");
    }
}

fn a_slow_milter_harms_nothing(mta: Kind) {
    let wait = Habit::Wait(Duration::from_secs(1));
    for chain in [Chain::Before(wait), Chain::After(wait)] {
        let house = house(mta, chain);
        let (_, verdict) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
        assert_eq!(verdict["outcome"], "accepted");
    }
}

fn our_refusal_ends_the_chain_with_our_words(mta: Kind) {
    let house = House::open(&Plan {
        chain: Chain::Before(Habit::Change),
        alignd: &[("policy.on_reject", "\"reject\"")],
        ..Plan::of(mta)
    });
    let answer = house.send(&EVIL, "<x@evil.example>", MAIL);
    assert!(answer.0.starts_with("550 5.7.1 "), "{}", answer.0);
    assert!(answer.0.contains("sender.example"), "{}", answer.0);
    assert_eq!(house.mta.mailbox().len(), 0);
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(250);
}
