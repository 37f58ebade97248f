//! Several operators at once, the MTA down, and queue ids that are used again, with the real `alignd` and the
//! real MTAs.

use crate::house::{Kind, for_both};
use crate::release::Kept;
use crate::wait;
use crate::world::SENDER;
use std::process::Output;

for_both![
    of_operators_at_one_mail_one_wins_and_all_are_told,
    operators_at_different_mails_are_all_served,
    with_the_mta_down_it_is_told_and_delivered_later,
    an_id_given_again_lets_no_other_mail_go,
    of_two_with_one_id_the_one_on_hold_is_meant,
];

/// All of these commands at once.
fn at_once(kept: &Kept, commands: &[Vec<&str>]) -> Vec<Output> {
    let begun = commands.iter().map(|command| {
        let command = [&["quarantine"], command.as_slice()].concat();
        kept.house.alignd.begin(&command)
    });
    let begun: Vec<_> = begun.collect();
    let ended = begun.into_iter().map(|command| command.wait_with_output());
    ended
        .map(|output| output.expect("it is our child"))
        .collect()
}

/// The verdict's id.
fn verdict(kept: &Kept, queue_id: &str) -> String {
    let verdict = kept.house.verdict(queue_id);
    verdict["id"].as_str().expect("an id").to_owned()
}

/// A command that is to say no: what it says.
fn refused(kept: &Kept, command: &[&str]) -> String {
    let output = at_once(kept, &[command.to_vec()]).remove(0);
    let (told, problem) = (words(&output.stdout), words(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{problem}");
    assert_eq!(told, "");
    problem
}

fn words(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn of_operators_at_one_mail_one_wins_and_all_are_told(mta: Kind) {
    let kept = Kept::open(mta);
    let (mut released, mut deleted) = (0, 0);
    for _ in 0..4 {
        let id = kept.hold();
        let release = vec!["release", id.as_str(), "--comment", "ticket"];
        let delete = vec!["delete", id.as_str()];
        let commands = [&release, &delete, &release, &delete].map(Vec::clone);
        let outputs = at_once(&kept, &commands);
        let history = kept.history(&id);
        let won = match history.as_str() {
            "answering, held, released by root" => "released",
            "answering, held, deleted by root" => "deleted",
            other => panic!("{other}"),
        };
        let mut first = 0;
        for (command, output) in commands.iter().zip(&outputs) {
            let (told, problem) = (words(&output.stdout), words(&output.stderr));
            if won.starts_with(command[0]) {
                assert_eq!(output.status.code(), Some(0), "{problem}");
                assert!(told.starts_with(&format!("{won} ")), "{told}");
                first += usize::from(!told.contains(" already, by root"));
            } else {
                assert_eq!(output.status.code(), Some(1), "{told}{problem}");
                assert!(
                    problem.contains(&format!(" was {won} by root already")),
                    "{problem}"
                );
            }
        }
        assert_eq!(first, 1);
        if won == "released" {
            released += 1;
            kept.house.mta.run_queue();
            kept.house.mta.delivered(&id);
        } else {
            deleted += 1;
        }
        assert!(kept.house.mta.held(&id).is_none());
    }
    println!("{mta:?}: {released} releases and {deleted} deletions won");
    assert_eq!(kept.house.mta.mailbox().len(), released);
}

fn operators_at_different_mails_are_all_served(mta: Kind) {
    let kept = Kept::open(mta);
    let ids: Vec<String> = (0..8).map(|_| kept.hold()).collect();
    let commands = ids.iter().enumerate().map(|(nth, id)| match nth % 4 {
        3 => vec!["delete", id.as_str()],
        _ => vec!["release", id.as_str()],
    });
    let commands: Vec<_> = commands.collect();
    for (command, output) in commands.iter().zip(at_once(&kept, &commands)) {
        let told = words(&output.stdout);
        assert!(output.status.success(), "{told}{}", words(&output.stderr));
        assert!(told.starts_with(&format!("{}d ", command[0])), "{told}");
        assert!(!told.contains(" already"), "{told}");
    }
    kept.house.mta.run_queue();
    for command in commands.iter().filter(|command| command[0] == "release") {
        kept.house.mta.delivered(command[1]);
        assert_eq!(
            kept.history(command[1]),
            "answering, held, released by root"
        );
    }
    assert_eq!(kept.house.mta.mailbox().len(), 6);
    assert_eq!(kept.listed(), [""; 0]);
}

/// Postfix says when it will leave; Sendmail needs no daemon to deliver.
fn with_the_mta_down_it_is_told_and_delivered_later(mta: Kind) {
    let kept = Kept::open(mta);
    let (id, other) = (kept.hold(), kept.hold());
    kept.house.mta.go_down();
    assert_eq!(kept.listed(), [id.clone(), other.clone()]);
    let shown = kept.quarantine(&["show", &id, "--message"]);
    assert!(shown.contains("\nbody"), "{shown}");
    let told = kept.quarantine(&["release", &id]);
    assert!(told.starts_with("released "), "{told}");
    match mta {
        Kind::Postfix => {
            assert!(told.contains("; Postfix takes it up later ("), "{told}");
            assert!(kept.house.mta.mailbox().is_empty());
        }
        Kind::Sendmail => assert!(!told.contains(';'), "{told}"),
    }
    let told = kept.quarantine(&["delete", &other]);
    assert!(told.starts_with("deleted "), "{told}");
    kept.house.mta.come_up();
    kept.house.mta.run_queue();
    kept.house.mta.delivered(&id);
    let again = kept.quarantine(&["release", &id]);
    assert!(again.contains(" already, by root"), "{again}");
    assert_eq!(kept.history(&id), "answering, held, released by root");
    assert_eq!(kept.history(&other), "answering, held, deleted by root");
    kept.house.mta.run_queue();
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

/// Two held mails: the first is removed by hand, and the MTA gives its id to the second.
fn given_again(kept: &Kept) -> (String, [String; 2]) {
    let (id, other) = (kept.hold(), kept.hold());
    let verdicts = [verdict(kept, &id), verdict(kept, &other)];
    kept.house.mta.delete(&id);
    kept.rename(&other, &id);
    (id, verdicts)
}

fn an_id_given_again_lets_no_other_mail_go(mta: Kind) {
    let kept = Kept::open(mta);
    let (id, [old, new]) = given_again(&kept);
    let bears = format!("it bears the X-Alignd-Verdict of {new}; nothing was touched");
    for named in [&id, &old] {
        for wish in ["release", "delete"] {
            let told = refused(&kept, &[wish, named]);
            assert!(told.contains(&bears), "{told}");
            assert!(
                told.contains(&format!("not that of verdict {old}")),
                "{told}"
            );
        }
    }
    let shown = refused(&kept, &["show", &old, "--message"]);
    assert!(shown.contains(&bears), "{shown}");
    let held = kept.house.mta.held(&id).expect("it was not touched");
    assert!(held.fields("X-Alignd-Verdict")[0].starts_with(&new));
    kept.house.mta.run_queue();
    kept.house.deliver(&SENDER, "<a@sender.example>", PASSES);
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

fn of_two_with_one_id_the_one_on_hold_is_meant(mta: Kind) {
    let kept = Kept::open(mta);
    let (id, [old, new]) = given_again(&kept);
    // As alignd would have been told by the MTA.
    let store = rusqlite::Connection::open(kept.house.alignd.store().join("alignd.db"));
    let store = store.expect("our own file");
    let twice = "UPDATE verdict SET queue_id = ?1 WHERE id IN (SELECT id FROM verdict ORDER BY number DESC LIMIT 1)";
    assert_eq!(store.execute(twice, [&id]), Ok(1));
    let told = kept.quarantine(&["release", &id]);
    assert!(told.starts_with(&format!("released {new}")), "{told}");
    kept.house.mta.run_queue();
    wait::until("it is delivered", || {
        (kept.house.mta.mailbox().len() == 1).then_some(())
    });
    let told = refused(&kept, &["release", &old]);
    assert!(
        told.contains(" is no longer on hold, and not by alignd"),
        "{told}"
    );
    assert_eq!(kept.history(&new), "answering, held, released by root");
    assert_eq!(kept.history(&old), "answering, held");
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

const PASSES: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";
