//! When a digest is sent, and how often.

use crate::{HANGS_UP, House, LATER, NEVER, WELL, at};
use alignd::outcome::OutcomeState;
use alignd::schedule::DigestTurn::{Failed, NotDue, NothingToSay, Sent};

/// 08:00 in Berlin is 07:00 UTC in winter.
#[tokio::test(flavor = "multi_thread")]
async fn once_a_day_while_anything_is_held_and_once_more() {
    let mut house = House::new(None);
    assert_eq!(house.digest("2026-03-02T06:59").await, NotDue);
    assert_eq!(house.digest("2026-03-02T07:00").await, NothingToSay);
    assert_eq!(house.digest("2026-03-02T07:01").await, NotDue);
    let held = house.hold("a.example", "2026-03-02T12:00").await;
    house.hold("b.example", "2026-03-02T12:01").await;
    for (time, expected) in [
        ("2026-03-02T13:00", NotDue),
        ("2026-03-03T06:59", NotDue),
        ("2026-03-03T07:00", Sent),
        ("2026-03-03T07:00", NotDue),
        ("2026-03-04T06:59", NotDue),
        ("2026-03-04T07:30", Sent),
        ("2026-03-04T20:00", NotDue),
    ] {
        assert_eq!(house.digest(time).await, expected, "{time}");
    }
    house.release(held).await;
    assert_eq!(house.digest("2026-03-05T07:00").await, Sent);
    let rest = house.hold("c.example", "2026-03-05T08:00").await;
    house.release(rest).await;
    let reader = alignd::store::Reader::open(house.home.path()).unwrap();
    let left = reader.held(&Default::default()).unwrap();
    house.release(left[0].id).await;
    assert_eq!(house.digest("2026-03-06T07:00").await, Sent);
    assert_eq!(house.digest("2026-03-07T07:00").await, NothingToSay);
    let host = "alignd at mx.receiver.example";
    assert_eq!(
        house.subjects(),
        [
            format!("{host}: 2 held, 2 new"),
            format!("{host}: 2 held"),
            format!("{host}: 1 held"),
            format!("{host}: nothing is held"),
        ]
    );
}

/// What another filter keeps is its own to remind of.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_hold_is_not_counted() {
    let mut house = House::new(None);
    let elsewhere = house.hold("a.example", "2026-03-01T12:00").await;
    house.release(elsewhere).await;
    let told = alignd::outcome::OutcomeSource::Operator;
    let since = at("2026-03-01T12:01");
    house.tell(elsewhere, OutcomeState::Held, since, told).await;
    assert_eq!(house.digest("2026-03-02T07:00").await, NothingToSay);
    let held = house.hold("b.example", "2026-03-02T12:00").await;
    assert_eq!(house.digest("2026-03-03T07:00").await, Sent);
    let (subject, text) = house.mails().remove(0);
    assert_eq!(subject, "alignd at mx.receiver.example: 1 held, 1 new");
    assert!(!text.contains("and 1 more"), "{text}");
    house.release(held).await;
    assert_eq!(house.digest("2026-03-04T07:00").await, Sent);
    assert_eq!(house.digest("2026-03-05T07:00").await, NothingToSay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_neither_sends_it_twice_nor_loses_the_day() {
    let mut house = House::new(None);
    house.hold("a.example", "2026-03-01T12:00").await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    house.restart().await;
    assert_eq!(house.digest("2026-03-02T07:01").await, NotDue);
    // Down at 08:00, back in the evening.
    assert_eq!(house.digest("2026-03-03T06:00").await, NotDue);
    house.restart().await;
    assert_eq!(house.digest("2026-03-03T18:00").await, Sent);
    // Down until the next one is near.
    house.restart().await;
    assert_eq!(house.digest("2026-03-05T01:00").await, NotDue);
    assert_eq!(house.digest("2026-03-05T07:00").await, Sent);
    assert_eq!(house.subjects().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mail_server_does_not_take_is_tried_again() {
    for answer in [LATER, NEVER] {
        let mut house = House::new(None);
        house.hold("a.example", "2026-03-01T12:00").await;
        house.answers(answer);
        for (time, expected) in [
            ("2026-03-02T07:00", Failed),
            ("2026-03-02T07:04", NotDue),
            ("2026-03-02T07:05", Failed),
            ("2026-03-02T07:14", NotDue),
            ("2026-03-02T07:15", Failed),
            ("2026-03-02T23:00", Failed),
            ("2026-03-02T23:30", NotDue),
        ] {
            assert_eq!(house.digest(time).await, expected, "{time}");
        }
        house.answers(WELL);
        let before = house.subjects().len();
        assert_eq!(house.digest("2026-03-03T00:00").await, Sent);
        assert_eq!(house.digest("2026-03-03T00:30").await, NotDue);
        assert_eq!(house.subjects().len(), before + 1);
        // Given up when the next is near.
        house.answers(answer);
        assert_eq!(house.digest("2026-03-03T07:00").await, Failed);
        assert_eq!(house.digest("2026-03-04T01:00").await, NotDue);
        house.answers(WELL);
        assert_eq!(house.digest("2026-03-04T07:00").await, Sent);
    }
}

/// The same mail, for whoever got it twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_repeats_the_message_id() {
    let mut house = House::new(None);
    house.hold("a.example", "2026-03-01T12:00").await;
    house.answers(HANGS_UP);
    assert_eq!(house.digest("2026-03-02T07:00").await, Failed);
    house.restart().await;
    house.answers(WELL);
    assert_eq!(house.digest("2026-03-02T09:00").await, Sent);
    assert_eq!(house.digest("2026-03-03T07:00").await, Sent);
    let ids = house.mails().into_iter().map(|(_, text)| {
        let id = text.lines().find_map(|l| l.strip_prefix("Message-ID: "));
        id.unwrap().to_owned()
    });
    let ids: Vec<String> = ids.collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}

/// The clock's hour comes twice on 2026-10-25 and not at all on 2026-03-29; digests go at 02:30.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_clocks_leaves_one_a_day() {
    let mut house = House::new(None);
    let mut settings = (**house.settings.borrow()).clone();
    if let Some(digest) = &mut settings.digest {
        digest.at = alignd::report::period::TimeOfDay::parse("02:30").unwrap();
    }
    house.settings.send_replace(std::sync::Arc::new(settings));
    house.hold("a.example", "2026-03-01T12:00").await;
    for (time, expected) in [
        ("2026-03-28T01:30", Sent),
        // 03:00 CEST, the first minute behind the gap.
        ("2026-03-29T00:59", NotDue),
        ("2026-03-29T01:00", Sent),
        ("2026-03-30T00:29", NotDue),
        ("2026-03-30T00:30", Sent),
        ("2026-10-24T00:30", Sent),
        ("2026-10-25T00:30", Sent),
        ("2026-10-25T01:30", NotDue),
        ("2026-10-26T01:29", NotDue),
        ("2026-10-26T01:30", Sent),
    ] {
        assert_eq!(house.digest(time).await, expected, "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_holds_nothing_back() {
    let mut house = House::new(None);
    house.hold("a.example", "2026-03-01T12:00").await;
    assert_eq!(house.digest("2031-01-01T12:00").await, Sent);
    house.restart().await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    // A step back over the very moment is no new day.
    house.restart().await;
    assert_eq!(house.digest("2026-03-02T06:59").await, NotDue);
}
