//! Mail that alignd has held: in the MTA's hold queue with its header, let go by hand and delivered once,
//! come back from a filter with its verdict.

use crate::house::{Chain, House, Kind, Plan, for_both};
use crate::mailbox::Mail;
use crate::other_milter::Habit;
use crate::smtp::Client;
use crate::wait;
use crate::world::{EVIL, FORWARDER, READER, SENDER};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

for_both![
    a_failure_is_held_and_let_go_by_hand_delivered_once,
    mail_that_passes_is_not_touched,
    what_comes_back_from_a_filter_keeps_its_verdict_once,
    a_copied_header_is_gone_and_does_nothing,
    a_milter_behind_a_hold,
    a_milter_before_a_hold,
    killed_in_the_middle_of_8_loads_what_is_held_has_its_verdict,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nMessage-ID: <m1@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";
const HEADER: &str = "X-Alignd-Verdict";

fn house(mta: Kind, chain: Chain) -> House {
    House::open(&Plan {
        chain,
        alignd: &[
            ("policy.on_reject", "\"hold\""),
            // FORWARDER's, who plays the filter.
            ("trust.reinject", "[\"198.51.100.20\"]"),
        ],
        ..Plan::of(mta)
    })
}

#[test]
fn the_check_tells_sendmails_order() {
    let house = house(Kind::Sendmail, Chain::Before(Habit::Change));
    let told = house.alignd.config_check();
    let order = "Sendmail asks its milters in this order: alignd, local:/run/alignd/other.sock;";
    assert!(told.contains(order), "{told}");
}

/// Sends a spoofed message; its queue id, once it is held, and the message as it lies there.
#[track_caller]
fn hold(house: &House) -> (String, Mail) {
    let id = house.send(&EVIL, "<x@evil.example>", MAIL).queue_id();
    let held = wait::until(&format!("{id} to be held"), || house.mta.held(&id));
    assert_eq!(house.verdict(&id)["outcome"], "held");
    (id, held)
}

/// The one field of this name.
#[track_caller]
fn one(mail: &Mail, name: &str) -> String {
    let mut found = mail.fields(name);
    assert_eq!(found.len(), 1, "{name}: {}", mail.header());
    found.remove(0)
}

fn a_failure_is_held_and_let_go_by_hand_delivered_once(mta: Kind) {
    let house = house(mta, Chain::Alone);
    let (id, held) = hold(&house);
    let verdict = house.verdict(&id);
    let of = verdict["id"].as_str().expect("it has an id");
    assert!(one(&held, HEADER).starts_with(of));
    assert!(one(&held, "Authentication-Results").contains("dmarc=fail"));
    if let Some(reason) = house.mta.held_because(&id) {
        let expected = format!("DMARC fail, p=reject: sender.example (alignd {of})");
        assert_eq!(reason, expected);
    }
    // A queue run lets nothing go.
    house.mta.run_queue();
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(house.mta.mailbox().len(), 1);
    house.mta.release(&id);
    let mail = house.mta.delivered(&id);
    assert!(one(&mail, HEADER).starts_with(of));
    assert!(one(&mail, "Authentication-Results").contains("dmarc=fail"));
    assert_eq!(mail.body(), b"body\n");
    house.mta.release(&id);
    house.mta.run_queue();
    house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(house.mta.mailbox().len(), 3);
    assert_eq!(house.alignd.messages(&[]).len(), 3, "it was judged once");
}

fn mail_that_passes_is_not_touched(mta: Kind) {
    let house = house(mta, Chain::Alone);
    let (mail, verdict) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(verdict["outcome"], "accepted");
    assert!(mail.fields(HEADER).is_empty(), "{}", mail.header());
}

/// A mail of the mailbox as it is sent on.
fn sent_on(mail: &Mail) -> Vec<u8> {
    let body = String::from_utf8(mail.body().to_vec()).expect("our own body");
    // What the local mailers put on top.
    let header = mail.header();
    let fields = header.split_inclusive('\n');
    let kept =
        fields.skip_while(|line| line.starts_with("Return-Path") || line.starts_with("From "));
    let header: String = kept.collect();
    (header + &body).replace('\n', "\r\n").into_bytes()
}

fn outcomes(house: &House, id: &str) -> Vec<String> {
    let told = house.alignd.run(&["why", id, "--json"]);
    let told: Value = serde_json::from_str(told.trim()).expect("one object");
    let outcomes = told["outcomes"].as_array().expect("a list").iter();
    let words = |o: &Value| {
        let word = |key: &str| o[key].as_str().expect("a word").to_owned();
        format!("{}/{}", word("state"), word("source"))
    };
    outcomes.map(words).collect()
}

fn what_comes_back_from_a_filter_keeps_its_verdict_once(mta: Kind) {
    let house = house(mta, Chain::Alone);
    let (id, _) = hold(&house);
    house.mta.release(&id);
    let first = house.mta.delivered(&id);
    let message = sent_on(&first);
    let back = house
        .send(&FORWARDER, "<x@evil.example>", &message)
        .queue_id();
    let second = house.mta.delivered(&back);
    assert!(second.fields(HEADER).is_empty(), "{}", second.header());
    let results = "Authentication-Results";
    assert_eq!(one(&second, results), one(&first, results));
    assert_eq!(house.alignd.messages(&[]).len(), 1);
    let expected = ["answering/reply", "held/reply", "released/reinjected"];
    assert_eq!(outcomes(&house, &id), expected);
    let why = house.alignd.run(&["why", &id]);
    assert!(why.contains(&format!("queue id {back}")), "{why}");
    // Good for one time.
    let again = house
        .send(&FORWARDER, "<x@evil.example>", &message)
        .queue_id();
    assert_eq!(house.verdict(&again)["outcome"], "held");
    wait::until("the second one to be held", || house.mta.held(&again));
}

fn a_copied_header_is_gone_and_does_nothing(mta: Kind) {
    let house = house(mta, Chain::Alone);
    let (id, held) = hold(&house);
    let header = one(&held, HEADER);
    let check = |client: &Client, from: &str, rest: &str, expected: &str| {
        let message = format!("{HEADER}: {header}\r\n{rest}");
        let sent = house.send(client, from, message.as_bytes()).queue_id();
        let verdict = house.verdict(&sent);
        assert_eq!(verdict["outcome"], expected, "{rest}");
        let mail = match expected {
            "held" => wait::until("it to be held", || house.mta.held(&sent)),
            _ => house.mta.delivered(&sent),
        };
        let left = mail.fields(HEADER);
        assert!(left.iter().all(|field| *field != header), "{left:?}");
        assert_eq!(left.len(), usize::from(expected == "held"));
    };
    let text = String::from_utf8_lossy(MAIL);
    check(&EVIL, "<x@evil.example>", &text, "held");
    check(&SENDER, "<a@sender.example>", &text, "accepted");
    let filter = |rest: &str| check(&FORWARDER, "<x@evil.example>", rest, "held");
    filter(&text.replace("body", "another"));
    filter(&text.replace("m1@", "m2@"));
    filter(&text.replace("a@sender.example", "a@truncated.example"));
    assert_eq!(outcomes(&house, &id), ["answering/reply", "held/reply"]);
}

/// Postfix asks it nothing more, Sendmail does, and its refusal wins.
fn a_milter_behind_a_hold(mta: Kind) {
    let refusing = house(mta, Chain::Before(Habit::Refuse));
    let answer = refusing.send(&EVIL, "<x@evil.example>", MAIL);
    match mta {
        Kind::Postfix => {
            let id = answer.queue_id();
            wait::until("it to be held", || refusing.mta.held(&id));
        }
        Kind::Sendmail => answer.expect(554),
    }
    drop(refusing);
    let changing = house(mta, Chain::Before(Habit::Change));
    let (_, held) = hold(&changing);
    let asked = mta == Kind::Sendmail;
    assert_eq!(held.fields("X-Other").len(), usize::from(asked));
}

fn a_milter_before_a_hold(mta: Kind) {
    let house = house(mta, Chain::After(Habit::Change));
    let (id, held) = hold(&house);
    assert_eq!(held.fields("X-Other"), ["was here"]);
    house.mta.release(&id);
    let first = house.mta.delivered(&id);
    assert_eq!(first.body(), b"changed\n");
    let back = house
        .send(&FORWARDER, "<x@evil.example>", &sent_on(&first))
        .queue_id();
    house.mta.delivered(&back);
    assert_eq!(
        outcomes(&house, &id).last().expect("some"),
        "released/reinjected"
    );
}

fn killed_in_the_middle_of_8_loads_what_is_held_has_its_verdict(mta: Kind) {
    let mut house = house(mta, Chain::Alone);
    let mut answered = Vec::new();
    for load in 0..8 {
        let taken = AtomicUsize::new(0);
        let send = || {
            let mut ids = Vec::new();
            let mut session = house.mta.session(&EVIL);
            loop {
                let answer = session.mail("<x@evil.example>", &[READER], MAIL);
                if answer.code() != 250 {
                    answer.expect(451);
                    return ids;
                }
                ids.push(answer.queue_id());
                taken.fetch_add(1, Ordering::Relaxed);
            }
        };
        let ids: Vec<String> = thread::scope(|scope| {
            let senders = [scope.spawn(send), scope.spawn(send)];
            wait::until("some mail to be taken", || {
                (taken.load(Ordering::Relaxed) > load % 4).then_some(())
            });
            house.alignd.kill();
            let ids = senders.into_iter().map(|sender| sender.join());
            ids.flat_map(|ids| ids.expect("no sender panics")).collect()
        });
        answered.extend(ids);
        house.alignd.start_again();
    }
    let verdicts = house.alignd.messages(&["--limit", "100000"]);
    let mut unknown = 0;
    for id in &answered {
        let held = house.mta.held(id).expect("what was answered is held");
        let of = one(&held, HEADER);
        let verdict = verdicts.iter().find(|v| v["queue_id"] == id.as_str());
        let verdict = verdict.expect("what is held has its verdict");
        assert!(of.starts_with(verdict["id"].as_str().expect("an id")));
        match verdict["outcome"].as_str() {
            Some("held") => {}
            Some("unknown") => unknown += 1,
            other => panic!("{id}: {other:?}"),
        }
    }
    println!(
        "kill -9 in 8 loads: {} held messages have their verdict, {unknown} of them unknown",
        answered.len()
    );
    assert!(house.mta.mailbox().is_empty());
}
