//! What operators do in the hold queue with the MTA's own commands, where no mail log tells: alignd looks into the
//! queue, on the real MTAs with the real helper.

use crate::house::{Chain, Kind, for_both};
use crate::other_milter::Habit;
use crate::release::Kept;
use crate::wait;
use crate::world::SENDER;

for_both![
    let_go_it_is_released_and_put_on_hold_it_is_held,
    deleted_it_is_unknown_and_no_other_is,
    delivered_before_anybody_looked_it_is_not_told_as_ours,
    helper_and_daemon_may_be_away_meanwhile,
    what_another_milter_put_on_hold_is_released_and_deleted_and_does_not_expire,
];

fn open(mta: Kind) -> Kept {
    Kept::open_with(mta, &[("outcome.settle", "\"8s\"")])
}

/// Until the store has it so.
fn becomes(kept: &Kept, id: &str, outcome: &str) {
    wait::until(&format!("{id} to be {outcome}"), || {
        (kept.house.verdict(id)["outcome"] == outcome).then_some(())
    });
}

fn let_go_it_is_released_and_put_on_hold_it_is_held(mta: Kind) {
    let kept = open(mta);
    let (id, other) = (kept.hold(), kept.hold());
    kept.house.mta.let_go(&id);
    assert!(kept.house.mta.held(&id).is_none());
    becomes(&kept, &id, "released");
    let told = kept.quarantine(&["release", &id]);
    assert!(told.contains(" already at "), "{told}");
    kept.house.mta.put_on_hold(&id);
    becomes(&kept, &id, "held");
    let told = kept.quarantine(&["release", &id]);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.delivered(&id);
    let told = "answering, held, released, held, released by root";
    assert_eq!(kept.history(&id), told);
    assert_eq!(kept.history(&other), "answering, held");
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

fn deleted_it_is_unknown_and_no_other_is(mta: Kind) {
    let kept = open(mta);
    let (id, other) = (kept.hold(), kept.hold());
    kept.house.mta.delete(&id);
    assert!(kept.house.mta.held(&id).is_none());
    becomes(&kept, &id, "unknown");
    let why = kept.house.alignd.run(&["why", &id]);
    assert!(
        why.contains("unknown: nothing proves what became of it"),
        "{why}"
    );
    assert_eq!(kept.quarantine(&["release", &id]), "");
    assert_eq!(kept.history(&id), "answering, held, unknown");
    assert_eq!(kept.history(&other), "answering, held");
    // The operator remembers.
    let tell = ["outcome", "--queue-id", &id, "released"];
    kept.house.alignd.run(&tell);
    let told = "answering, held, unknown, released by root";
    assert_eq!(kept.history(&id), told);
}

fn delivered_before_anybody_looked_it_is_not_told_as_ours(mta: Kind) {
    let kept = open(mta);
    let id = kept.hold();
    kept.house.mta.release(&id);
    kept.house.mta.delivered(&id);
    kept.left_the_queue(&id);
    // Nobody here saw how it went.
    assert_eq!(kept.quarantine(&["release", &id]), "");
    becomes(&kept, &id, "unknown");
    assert_eq!(kept.history(&id), "answering, held, unknown");
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

fn helper_and_daemon_may_be_away_meanwhile(mta: Kind) {
    let mut kept = open(mta);
    let (gone, released, held) = (kept.hold(), kept.hold(), kept.hold());
    kept.stop_helper();
    kept.house.mta.delete(&gone);
    kept.house.mta.let_go(&released);
    kept.house.alignd.kill();
    kept.house.alignd.start_again();
    assert_eq!(kept.history(&gone), "answering, held");
    kept.start_helper();
    becomes(&kept, &released, "released");
    becomes(&kept, &gone, "unknown");
    assert_eq!(kept.history(&held), "answering, held");
}

fn what_another_milter_put_on_hold_is_released_and_deleted_and_does_not_expire(mta: Kind) {
    let chain = Chain::Before(Habit::Quarantine);
    let settle = [("outcome.settle", "\"8s\"")];
    let kept = Kept::open_in(mta, chain, &settle);
    let ours = kept.hold();
    let mail = |nth| {
        let mail = format!(
            "From: <a@sender.example>\r\nMessage-ID: <h{nth}@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n"
        );
        let sent = kept
            .house
            .send(&SENDER, "<a@sender.example>", mail.as_bytes());
        sent.queue_id()
    };
    let (released, deleted) = (mail(1), mail(2));
    for id in [&released, &deleted] {
        becomes(&kept, id, "held");
        assert_eq!(kept.history(id), "answering, accepted, held");
    }
    assert_eq!(kept.listed().len(), 3);
    let shown = kept.quarantine(&["show", &released, "--message"]);
    assert!(shown.contains("<h1@sender.example>"), "{shown}");
    // What alignd held goes, and it alone.
    kept.quarantine(&["expire", "--older-than", "1s", "--yes"]);
    assert_eq!(kept.history(&ours), "answering, held, deleted by root");
    assert_eq!(kept.listed(), [released.as_str(), deleted.as_str()]);
    let told = kept.quarantine(&["release", &released]);
    assert!(told.starts_with("released "), "{told}");
    kept.house.mta.delivered(&released);
    let told = kept.quarantine(&["delete", &deleted]);
    assert!(told.starts_with("deleted "), "{told}");
    assert!(kept.house.mta.held(&deleted).is_none());
    assert_eq!(kept.listed(), [""; 0]);
    assert_eq!(kept.house.mta.mailbox().len(), 1);
}

/// By `postsuper -r` it goes on under another id, which only the log tells: it was seen waiting for that, as it
/// does for up to a minute, or was gone.
#[test]
fn put_in_again_as_new_it_is_held_no_longer() {
    let kept = open(Kind::Postfix);
    let id = kept.hold();
    kept.house.mta.put_in_again(&id);
    let outcome = wait::until(&format!("{id} to be known as gone"), || {
        let verdict = kept.house.verdict(&id);
        let outcome = verdict["outcome"].as_str().expect("a word").to_owned();
        (outcome != "held").then_some(outcome)
    });
    assert!(
        ["released", "unknown"].contains(&outcome.as_str()),
        "{outcome}"
    );
}
