//! `alignd mta-helper` beside a real Postfix and a real Sendmail: the hold queue as the daemon sees it through the
//! helper's socket. Mail is put on hold by the MTA's own means, without alignd.

use crate::house::{Kind, for_both};
use crate::keeping::{ALIGND, Keeping, NOBODY};
use crate::wait;
use alignd::mta::{HelperError, Part, Place, QueueId};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

for_both!(
    held_mail_is_listed_and_shown,
    released_mail_is_delivered_once,
    deleted_mail_is_gone,
    of_two_operators_one_releases,
    what_is_no_queue_id_is_refused,
    only_root_and_the_owner_of_the_store_are_served,
    a_thousand_are_listed,
);

const NEWS: &str = "Subject: news\r\nMessage-ID: <1@list.example>\r\n\r\nbody\r\n";

fn held_mail_is_listed_and_shown(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    assert_eq!(keeping.list(), []);
    let before = keeping.now();
    let id = keeping.hold("<news@list.example>", NEWS);
    let listed = keeping.list();
    let [held] = listed.as_slice() else {
        panic!("not one: {listed:?}");
    };
    assert_eq!(held.queue_id, id);
    assert_eq!(held.sender, "news@list.example");
    assert_eq!(held.recipients, ["reader@receiver.example"]);
    assert_eq!(held.recipient_count, 1);
    assert!((before..=keeping.now()).contains(&held.arrived.seconds()));
    assert!(held.size > 4 && held.size < 1_000, "{}", held.size);
    let (queue, reason) = match mta {
        Kind::Postfix => ("hold", None),
        Kind::Sendmail => ("/mnt/home/mqueue", Some("by hand")),
    };
    assert_eq!(
        (held.queue.as_str(), held.reason.as_deref()),
        (queue, reason)
    );
    let header = keeping.show(&id, Part::Header);
    assert!(
        header.contains("Subject: news\n") && !header.contains("body"),
        "{header}"
    );
    let message = keeping.show(&id, Part::Message);
    assert!(message.ends_with("\n\nbody\n"), "{message}");
    assert!(!message.contains("Return-Path"), "{message}");
    let bounce = keeping.hold("<>", NEWS);
    let listed = keeping.list();
    let found = listed.iter().find(|entry| entry.queue_id == bounce);
    assert_eq!(found.map(|entry| entry.sender.as_str()), Some(""));
    assert_eq!(listed.len(), 2);
}

fn released_mail_is_delivered_once(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    let (id, other) = (
        keeping.hold("<news@list.example>", NEWS),
        keeping.hold("<news@list.example>", NEWS),
    );
    assert_eq!(keeping.locate(&id), Place::Held);
    let released = keeping.release(&id).expect("it is held");
    assert_eq!(released.queue_id.as_ref(), Some(&id));
    assert_eq!((released.requeued, released.waits), (false, None));
    assert_ne!(released.place, Place::Held);
    keeping.delivered_once(&id);
    assert_eq!(keeping.release(&id), Err(HelperError::NotHeld(Place::Gone)));
    assert_eq!(keeping.delete(&id), Err(HelperError::NotHeld(Place::Gone)));
    // Nothing else was touched.
    assert_eq!(keeping.locate(&other), Place::Held);
    assert_eq!(keeping.mta.mailbox().len(), 1);
}

fn deleted_mail_is_gone(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    let (id, other) = (
        keeping.hold("<news@list.example>", NEWS),
        keeping.hold("<>", NEWS),
    );
    assert_eq!(keeping.delete(&id), Ok(()));
    assert_eq!(keeping.files_named(&id), 0);
    assert_eq!(keeping.delete(&id), Err(HelperError::NotHeld(Place::Gone)));
    assert_eq!(keeping.locate(&id), Place::Gone);
    // The id is given again: what is found under it says whose it is.
    keeping.rename(&other, &id);
    let listed = keeping.list();
    assert_eq!(listed.len(), 1);
    assert!(
        listed
            .iter()
            .all(|held| held.queue_id == id && held.sender.is_empty())
    );
    assert_eq!(keeping.mta.mailbox().len(), 0);
}

fn of_two_operators_one_releases(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    let id = keeping.hold("<news@list.example>", NEWS);
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| keeping.release(&id)))
            .collect();
        let answers = asking
            .into_iter()
            .map(|asking| asking.join().expect("it answers"));
        answers.collect::<Vec<_>>()
    });
    let released = answers.iter().filter(|answer| answer.is_ok()).count();
    let late = |answer: &&Result<_, _>| matches!(answer, Err(HelperError::NotHeld(_)));
    assert_eq!(
        (released, answers.iter().filter(late).count()),
        (1, 7),
        "{answers:?}"
    );
    keeping.delivered_once(&id);
}

fn what_is_no_queue_id_is_refused(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    let id = keeping.hold("<news@list.example>", NEWS);
    let before = keeping.called();
    for odd in [
        "ALL",
        "-d",
        "-",
        ";rm -rf /",
        "../x",
        "hold",
        &format!("{id} {id}"),
        &format!("{id}\\n"),
    ] {
        for ask in ["release", "delete", "locate"] {
            let request = format!("{{\"ask\":\"{ask}\",\"queue_id\":\"{odd}\"}}");
            let answer = keeping.say_as(0, &request);
            assert!(
                answer.starts_with("{\"not_understood\":\"queue_id: "),
                "{request}: {answer}"
            );
        }
    }
    assert_eq!(keeping.called(), before);
    // An id that the MTA could have given.
    let unknown: QueueId = match mta {
        Kind::Postfix => "4jXW5m5GBtz1StgL",
        Kind::Sendmail => "6AMEJUlD010546",
    }
    .parse()
    .expect("it is one");
    assert_eq!(
        keeping.release(&unknown),
        Err(HelperError::NotHeld(Place::Gone))
    );
    assert_eq!(
        keeping.delete(&unknown),
        Err(HelperError::NotHeld(Place::Gone))
    );
    assert_eq!(keeping.list().len(), 1);
}

fn only_root_and_the_owner_of_the_store_are_served(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    let id = keeping.hold("<news@list.example>", NEWS);
    let request = format!("{{\"ask\":\"delete\",\"queue_id\":\"{id}\"}}");
    assert_eq!(keeping.say_as(NOBODY, &request), "");
    // As if somebody had opened the socket to all.
    fs::set_permissions(keeping.socket(), Permissions::from_mode(0o666)).expect("our own file");
    let answer = keeping.say_as(NOBODY, &request);
    assert!(
        answer.starts_with(
            "{\"refused\":\"alignd mta-helper serves root and the owner of store.path"
        ),
        "{answer}"
    );
    assert!(
        keeping
            .log()
            .contains("refused: neither root nor alignd's own user")
    );
    assert_eq!(keeping.locate(&id), Place::Held);
    fs::set_permissions(keeping.socket(), Permissions::from_mode(0o600)).expect("our own file");
    assert_eq!(keeping.say_as(ALIGND, &request), "{\"deleted\":{}}\n");
}

fn a_thousand_are_listed(mta: Kind) {
    let keeping = Keeping::start(mta, "");
    keeping.hold_many(1_000);
    let start = Instant::now();
    let listed = keeping.list();
    println!("{mta:?}: 1,000 held, listed in {:?}", start.elapsed());
    assert_eq!(listed.len(), 1_000);
    let mut ids: Vec<QueueId> = listed.into_iter().map(|held| held.queue_id).collect();
    let unknown = match mta {
        Kind::Postfix => "4jXW5m5GBtz1StgL",
        Kind::Sendmail => "6AMEJUlD010546",
    };
    ids[0] = unknown.parse().expect("it is one");
    keeping.mta.let_go(ids[1].as_str());
    let start = Instant::now();
    let places = keeping.find(&ids);
    println!("{mta:?}: 1,000 looked for in {:?}", start.elapsed());
    assert_eq!(places[0], Place::Gone);
    assert!(matches!(places[1], Place::Queued(_)), "{:?}", places[1]);
    assert!(places[2..].iter().all(|place| *place == Place::Held));
}

#[test]
fn mail_held_for_long_is_put_in_as_new() {
    let keeping = Keeping::start(Kind::Postfix, "maximal_queue_lifetime = 2s\n");
    let id = keeping.hold("<news@list.example>", NEWS);
    let arrived = keeping
        .list()
        .first()
        .expect("it is held")
        .arrived
        .seconds();
    wait::until("it is a second old", || {
        (keeping.now() > arrived).then_some(())
    });
    let released = keeping.release(&id).expect("it is held");
    assert!(released.requeued);
    let new = released.queue_id.expect("it was seen");
    assert_ne!(new, id);
    keeping.delivered_once(&new);
    assert_eq!(keeping.locate(&id), Place::Gone);
    let expected = format!(" orig_id={id}\n");
    assert!(keeping.mta.log().contains(&expected));
}

#[test]
fn mail_released_while_postfix_is_down_leaves_when_it_runs() {
    let keeping = Keeping::start(Kind::Postfix, "");
    let (id, old) = (
        keeping.hold("<news@list.example>", NEWS),
        keeping.hold("<news@list.example>", NEWS),
    );
    keeping.mta.go_down();
    assert_eq!(keeping.list().len(), 2);
    let released = keeping.release(&id).expect("it is held");
    assert_eq!(released.place, Place::Queued("deferred".to_owned()));
    let waits = released.waits.expect("Postfix is down");
    assert!(waits.starts_with("Postfix takes it up later ("), "{waits}");
    let requeued = keeping.requeue(&old).expect("it is held");
    assert_eq!(
        (requeued.queue_id, requeued.place),
        (None, Place::Queued("maildrop".to_owned()))
    );
    assert!(requeued.waits.is_some());
    keeping.mta.come_up();
    keeping.delivered_once(&id);
    wait::until("both are delivered", || {
        (keeping.mta.mailbox().len() == 2).then_some(())
    });
}

#[test]
fn mail_that_a_sendmail_works_on_is_not_deleted() {
    let keeping = Keeping::start(Kind::Sendmail, "");
    let id = keeping.hold("<news@list.example>", NEWS);
    let file = File::options()
        .write(true)
        .open(keeping.control_file(&id))
        .expect("it is held");
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody has it");
    let answer = keeping.delete(&id);
    let busy = |text: &str| text.starts_with("a sendmail is working on /mnt/home/mqueue/hf");
    assert!(
        matches!(&answer, Err(HelperError::Failed(text)) if busy(text)),
        "{answer:?}"
    );
    assert_eq!(keeping.files_named(&id), 2);
    let answer = keeping.release(&id);
    let held = |text: &str| text.contains("does another sendmail work on it?");
    assert!(
        matches!(&answer, Err(HelperError::Failed(text)) if held(text)),
        "{answer:?}"
    );
    drop(lock);
    assert_eq!(keeping.delete(&id), Ok(()));
}

#[test]
fn a_socket_that_systemd_made_is_taken() {
    let keeping = Keeping::activated(Kind::Postfix);
    let id = keeping.hold("<news@list.example>", NEWS);
    assert_eq!(keeping.locate(&id), Place::Held);
    assert_eq!(keeping.delete(&id), Ok(()));
}
