//! alignd killed in the middle of a message, stopped, restarted, reloaded: no mail is lost or let in
//! unseen, and what was answered is in the store.

use crate::house::{House, Kind, Plan, for_both};
use crate::smtp::dotted;
use crate::wait;
use crate::world::{EVIL, READER, SENDER};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

for_both![
    killed_with_a_message_in_hand_the_client_is_told_to_come_again,
    stopped_with_a_message_in_hand_it_is_finished_first,
    reloaded_under_load_every_mail_is_answered_and_new_settings_hold,
    killed_in_the_middle_of_25_loads_no_answered_message_lacks_its_verdict,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";
/// Its policy takes five seconds to look up.
const SLOW: &[u8] = b"From: <a@slow.example>\r\n\r\nbody\r\n";

/// A house with a message in alignd's hands: the header is known, the answer not yet given.
fn with_a_message_in_hand(mta: Kind) -> (House, crate::smtp::Session) {
    let house = House::open(&Plan {
        alignd: &[("dns.timeout", "\"15s\"")],
        ..Plan::of(mta)
    });
    let mut session = house.mta.session(&SENDER);
    session
        .envelope("<a@sender.example>", &[READER])
        .expect(354);
    session.send(&dotted(SLOW));
    wait::until("alignd to ask for the policy", || {
        house.was_asked("_dmarc.slow.example").then_some(())
    });
    (house, session)
}

fn killed_with_a_message_in_hand_the_client_is_told_to_come_again(mta: Kind) {
    let (mut house, mut session) = with_a_message_in_hand(mta);
    house.alignd.kill();
    session.reply().expect(451);
    // Postfix doesn't go back to a milter within the session. Since we ask not to have to answer MAIL, it
    // takes a step or two until it notices.
    session
        .mail("<a@sender.example>", &[READER], MAIL)
        .expect(451);
    session.quit();
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(451);
    house.alignd.start_again();
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(house.alignd.messages(&[]).len(), 1);
    assert_eq!(house.mta.mailbox().len(), 1);
}

fn stopped_with_a_message_in_hand_it_is_finished_first(mta: Kind) {
    let (mut house, mut session) = with_a_message_in_hand(mta);
    let ended = house.alignd.stop();
    assert!(ended.success(), "{ended}");
    let id = session.reply().queue_id();
    session.quit();
    house.send(&SENDER, "<a@sender.example>", MAIL).expect(451);
    house.alignd.start_again();
    let verdict = house.verdict(&id);
    assert_eq!(verdict["outcome"], "accepted", "{verdict}");
    assert_eq!(verdict["author_domain"], "slow.example");
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
}

fn reloaded_under_load_every_mail_is_answered_and_new_settings_hold(mta: Kind) {
    let house = House::plain(mta);
    let spoof = || house.send(&EVIL, "<x@evil.example>", MAIL);
    spoof().expect(250);
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut session = house.mta.session(&SENDER);
                while sent.fetch_add(1, Ordering::Relaxed) < 150 {
                    let answer = session.mail("<a@sender.example>", &[READER], MAIL);
                    answer.expect(250);
                }
            });
        }
        for step in 1..=10 {
            wait::until("the load to go on", || {
                (sent.load(Ordering::Relaxed) >= step * 12).then_some(())
            });
            house.alignd.reload();
        }
    });
    house.alignd.set("policy.on_reject", "\"reject\"");
    house.alignd.reload();
    wait::until("the new policy to hold", || {
        (spoof().code() == 550).then_some(())
    });
    let verdicts = house.alignd.messages(&["--limit", "1000"]);
    let of_sender = verdicts.iter().filter(|v| v["dmarc"]["result"] == "pass");
    assert_eq!(of_sender.count(), 150);
}

/// Sends until alignd is gone; the queue ids of what was taken.
fn send_until_refused(house: &House, taken: &AtomicUsize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut session = house.mta.session(&SENDER);
    loop {
        let answer = session.mail("<a@sender.example>", &[READER], MAIL);
        if answer.code() != 250 {
            answer.expect(451);
            return ids;
        }
        ids.push(answer.queue_id());
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

fn killed_in_the_middle_of_25_loads_no_answered_message_lacks_its_verdict(mta: Kind) {
    let mut house = House::plain(mta);
    let mut answered = Vec::new();
    for load in 0..25 {
        let taken = AtomicUsize::new(0);
        let target = 1 + load % 7;
        let ids: Vec<String> = thread::scope(|scope| {
            let senders: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| send_until_refused(&house, &taken)))
                .collect();
            wait::until("some mail to be taken", || {
                (taken.load(Ordering::Relaxed) >= target).then_some(())
            });
            house.alignd.kill();
            let ids = senders.into_iter().map(|sender| sender.join());
            ids.flat_map(|ids| ids.expect("no sender panics")).collect()
        });
        answered.extend(ids);
        house.alignd.start_again();
    }
    let verdicts = house.alignd.messages(&["--limit", "100000"]);
    let stored: HashSet<&str> = verdicts
        .iter()
        .filter_map(|v| v["queue_id"].as_str())
        .collect();
    let lost: Vec<_> = answered
        .iter()
        .filter(|id| !stored.contains(id.as_str()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        answered.len()
    );
    // What was in hand when it died is recorded too, but nobody knows what became of it.
    for verdict in &verdicts {
        let outcome = verdict["outcome"].as_str().expect("a word");
        assert!(matches!(outcome, "accepted" | "unknown"), "{verdict}");
    }
    println!(
        "kill -9 in 25 loads: {0} of {0} answered messages have a verdict",
        answered.len()
    );
}
