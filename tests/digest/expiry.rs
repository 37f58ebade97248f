//! What is deleted: announced, a day ago, and for long enough.

use crate::{HUSHES, House, LATER, WELL, at};
use alignd::schedule::DigestTurn::{Failed, NotDue, Sent};

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_a_day_after_it_was_announced_and_no_sooner() {
    let mut house = House::new(Some("30d"));
    let held = house.hold("a.example", "2026-03-01T12:00").await;
    let later = house.hold("b.example", "2026-03-20T12:00").await;
    // 30 days are over at noon of 03-31; the digest of that morning is the first that a day is behind.
    assert_eq!(house.digest("2026-03-30T06:00").await, Sent);
    assert_eq!(house.expire("2026-03-31T05:00").await, 0);
    assert_eq!(house.digest("2026-03-31T06:00").await, Sent);
    for (time, expected) in [
        ("2026-03-31T12:00", 0),
        ("2026-04-01T05:59", 0),
        ("2026-04-01T06:00", 1),
        ("2026-04-01T06:01", 0),
    ] {
        assert_eq!(house.expire(time).await, expected, "{time}");
    }
    assert_eq!(house.queue.deleted(), [held]);
    assert_eq!(
        house.history(held),
        "answering (reply), held (reply), deleted (expiry)"
    );
    assert_eq!(
        house.detail(held),
        "quarantine.expire_after is over: held since 2026-03-01T12:00:00.000Z, announced 2026-03-31T06:00:00.000Z"
    );
    assert_eq!(house.history(later), "answering (reply), held (reply)");
    let mails = house.mails();
    assert!(!mails[0].1.contains("TO BE DELETED"), "{}", mails[0].1);
    assert_eq!(
        mails[1].0,
        "alignd at mx.receiver.example: 2 held, 1 to be deleted"
    );
    let announced = "TO BE DELETED: 1 message, from 2026-04-01 08:00 CEST on.\r\n";
    assert!(mails[1].1.contains(announced), "{}", mails[1].1);
}

/// Nothing goes by a digest that nobody has got.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_announces_nothing() {
    let mut house = House::new(Some("1d"));
    house.hold("a.example", "2026-02-01T12:00").await;
    house.answers(LATER);
    assert_eq!(house.digest("2026-03-02T07:00").await, Failed);
    assert_eq!(house.expire("2026-03-20T07:00").await, 0);
    house.answers(WELL);
    assert_eq!(house.digest("2026-03-20T20:00").await, Sent);
    assert_eq!(house.expire("2026-03-21T19:59").await, 0);
    assert_eq!(house.expire("2026-03-21T20:00").await, 1);
}

/// Held long ago, and the setting is new: announced first. And a restart changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_survives_restarts_but_no_change_of_mind() {
    let mut house = House::new(None);
    let held = house.hold("a.example", "2025-01-01T12:00").await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    assert_eq!(house.expire("2026-03-03T07:00").await, 0);
    house.expire_after(Some("30d"));
    assert_eq!(house.expire("2026-03-03T07:00").await, 0);
    assert_eq!(house.digest("2026-03-03T07:00").await, Sent);
    house.restart().await;
    // Never, for a while: what was announced before counts no more.
    house.expire_after(None);
    assert_eq!(house.digest("2026-03-03T08:00").await, NotDue);
    house.expire_after(Some("30d"));
    assert_eq!(house.expire("2026-03-04T07:00").await, 0);
    assert_eq!(house.digest("2026-03-04T07:00").await, Sent);
    // Not for so long, either.
    house.expire_after(Some("3650d"));
    assert_eq!(house.digest("2026-03-05T07:00").await, Sent);
    house.expire_after(Some("30d"));
    assert_eq!(house.expire("2026-03-06T06:59").await, 0);
    assert_eq!(house.digest("2026-03-06T07:00").await, Sent);
    house.restart().await;
    assert_eq!(house.expire("2026-03-07T07:00").await, 1);
    assert!(house.history(held).ends_with("deleted (expiry)"));
}

/// What was let go and held again is announced again.
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_is_for_the_mail_as_it_was_held() {
    use alignd::outcome::{OutcomeSource, OutcomeState};
    let mut house = House::new(Some("1d"));
    let held = house.hold("a.example", "2026-02-01T12:00").await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    house.release(held).await;
    let again = at("2026-03-02T08:00");
    house
        .tell(held, OutcomeState::Held, again, OutcomeSource::Queue)
        .await;
    assert_eq!(house.expire("2026-03-09T08:00").await, 0);
    assert_eq!(house.digest("2026-03-09T08:00").await, Sent);
    assert_eq!(house.expire("2026-03-10T08:00").await, 1);
}

/// Somebody put it on hold, and has his reasons: he is reminded of it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_on_hold_is_never_announced_nor_deleted() {
    let mut house = House::new(Some("1d"));
    let by_hand = house.hold_by_hand("a.example", "2026-02-01T12:00").await;
    let ours = house.hold("b.example", "2026-02-01T12:00").await;
    for (day, subject) in [
        ("02", "2 held, 2 new, 1 to be deleted"),
        ("03", "2 held, 1 to be deleted"),
    ] {
        assert_eq!(house.digest(&format!("2026-03-{day}T07:00")).await, Sent);
        let last = house.subjects().pop().unwrap();
        assert!(last.ends_with(subject), "{last}");
    }
    assert_eq!(house.expire("2026-03-04T08:00").await, 1);
    assert_eq!(house.queue.deleted(), [ours]);
    assert_eq!(house.digest("2026-03-05T07:00").await, Sent);
    assert!(house.subjects().pop().unwrap().ends_with(": 1 held"));
    assert_eq!(house.expire("2027-03-04T08:00").await, 0);
    assert_eq!(
        house.history(by_hand),
        "answering (reply), accepted (reply), held (queue)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_away_is_waited_for() {
    let mut house = House::new(Some("1d"));
    for nth in 0..3 {
        house
            .hold("a.example", &format!("2026-02-01T12:0{nth}"))
            .await;
    }
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    house.queue.goes_down(true);
    assert_eq!(house.expire("2026-03-03T07:00").await, 0);
    house.queue.goes_down(false);
    // In its pause nothing is asked.
    assert_eq!(house.expire("2026-03-03T07:00").await, 0);
    assert_eq!(house.expire("2026-03-03T07:01").await, 3);
    assert_eq!(house.queue.deleted().len(), 3);
}

/// One that the MTA doesn't delete keeps no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_all_the_same() {
    let mut house = House::new(Some("1d"));
    for nth in 0..3 {
        house
            .hold("a.example", &format!("2026-02-01T12:0{nth}"))
            .await;
    }
    house.queue.is_stuck("4jXW5m5GBtz0001");
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    let deleted = house.expire("2026-03-03T07:00").await + house.expire("2026-03-03T07:10").await;
    assert_eq!(deleted, 2);
    assert_eq!(house.queue.deleted().len(), 2);
    // It is told of once more, as what an earlier digest announced.
    assert_eq!(house.digest("2026-03-03T07:20").await, Sent);
    let (_, text) = house.mails().pop().unwrap();
    assert!(text.contains("1 of them were announced before"), "{text}");
}

/// More than a round may do: several rounds, each bounded; all are announced at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_go_in_rounds() {
    let mut house = House::new(Some("1d"));
    for nth in 0..301 {
        house
            .hold("a.example", &format!("2026-02-01T12:{:02}", nth % 60))
            .await;
    }
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    house.set_clock("2026-03-03T07:00");
    let mut rounds = Vec::new();
    loop {
        let round = house.expiring.round().await;
        rounds.push(round.deleted);
        if !round.more {
            break;
        }
    }
    println!("expiry: 301 of 301 deleted, in rounds of {rounds:?}");
    assert_eq!(rounds, [100, 100, 100, 1]);
}

/// Digests and deletions don't wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_says_nothing_keeps_nothing() {
    let mut house = House::new(Some("1d"));
    house.hold("a.example", "2026-02-01T12:00").await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    house.answers(HUSHES);
    house.set_clock("2026-03-03T07:00");
    let (digests, expiring, server) = (&mut house.digests, &mut house.expiring, &house.server);
    tokio::select! {
        turn = digests.turn() => panic!("the server said nothing: {turn:?}"),
        deleted = async {
            while server.connections() < 2 {
                tokio::task::yield_now().await;
            }
            expiring.round().await.deleted
        } => assert_eq!(deleted, 1),
    }
}
