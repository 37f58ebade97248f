//! alignd killed between any two steps of what an operator wants of a held mail, on the real MTAs: asked
//! again, it is done once, told once, its exception made once and reported once.

use crate::between::{Between, STEPS, Step};
use crate::house::{Kind, for_both};
use crate::release::Kept;
use crate::report::{Night, Owners};
use crate::wait;
use std::process::Child;

for_both![
    the_daemon_killed_at_any_step_of_a_release,
    the_command_killed_at_any_step_of_a_release,
    the_daemon_killed_at_any_step_of_a_deletion,
    killed_after_the_mta_did_it_a_start_finishes_it,
];

fn open(mta: Kind) -> (Between, Kept) {
    let between = Between::open();
    let socket = between.setting();
    let kept = Kept::open_with(mta, &[("quarantine.helper_socket", &socket)]);
    between.lead_to(&kept.helper_socket());
    (between, kept)
}

/// Asks for it, and kills whoever carries it out at this step.
fn killed(
    kept: &mut Kept,
    between: &Between,
    step: Step,
    asked: &[&str],
    kill: impl FnOnce(&Kept, &mut Child),
) {
    between.stop_at(step, asked[1]);
    let command = [&["quarantine"], asked].concat();
    let mut asking = kept.house.alignd.begin(&command);
    between.wait_until_reached();
    kill(kept, &mut asking);
    let ended = asking.wait().expect("it is our child");
    assert!(!ended.success(), "{step:?}");
    between.clear();
}

fn the_daemon_killed_at_any_step_of_a_release(mta: Kind) {
    let (between, mut kept) = open(mta);
    // All of them before the first exception lets such mail pass.
    let held = STEPS.map(|step| (step, kept.hold()));
    for (step, id) in &held {
        let release = ["release", id, "--allow", "1", "--because", "mailing_list"];
        killed(&mut kept, &between, *step, &release, |kept, _| {
            kept.house.alignd.kill()
        });
        kept.house.alignd.start_again();
        released_once(&kept, *step, &release);
    }
    all_told_once(&kept, held.len());
}

fn the_command_killed_at_any_step_of_a_release(mta: Kind) {
    let (between, mut kept) = open(mta);
    let held = STEPS.map(|step| (step, kept.hold()));
    kept.house.alignd.stop();
    for (step, id) in &held {
        let release = ["release", id, "--allow", "1", "--because", "mailing_list"];
        let kill = |_: &Kept, asking: &mut Child| asking.kill().expect("it runs");
        killed(&mut kept, &between, *step, &release, kill);
        released_once(&kept, *step, &release);
    }
    all_told_once(&kept, held.len());
}

/// Asks again.
fn released_once(kept: &Kept, step: Step, release: &[&str]) {
    let id = release[1];
    for time in 0..2 {
        let told = kept.quarantine(release);
        assert!(told.starts_with("released "), "{step:?} {time}: {told}");
        assert!(
            time == 0 || told.contains(" already, by root"),
            "{step:?}: {told}"
        );
    }
    assert_eq!(
        kept.history(id),
        "answering, held, released by root",
        "{step:?}"
    );
    kept.house.mta.run_queue();
    kept.house.mta.delivered(id);
    // Made once; gone, so that the next release makes one of its own.
    let rules = kept
        .house
        .alignd
        .run(&["exception", "list", "--format", "json"]);
    let keys: Vec<&str> = rules.split("\"key\":\"").skip(1).collect();
    let [key] = keys.as_slice() else {
        panic!("{step:?}: {rules}");
    };
    let key = key.split('"').next().expect("a key");
    let shown = kept.house.alignd.run(&["exception", "show", key]);
    assert_eq!(
        shown.matches("added by root").count(),
        1,
        "{step:?}: {shown}"
    );
    kept.house.alignd.run(&["exception", "remove", key]);
}

/// In the mailbox, and in the report of the night after.
fn all_told_once(kept: &Kept, released: usize) {
    assert_eq!(kept.house.mta.mailbox().len(), released);
    assert_eq!(kept.listed(), [""; 0]);
    let owners = Owners::start();
    let mut night = Night::after(&kept.house.alignd.store(), &owners);
    night.at(60);
    night.at(290);
    let arrived = owners.reports(1).remove(0);
    assert_eq!(arrived.messages(), released as u64, "{}", arrived.xml);
    let told = arrived.xml.matches("<type>mailing_list</type>").count();
    assert_eq!(
        told,
        arrived.xml.matches("<record>").count(),
        "{}",
        arrived.xml
    );
}

fn the_daemon_killed_at_any_step_of_a_deletion(mta: Kind) {
    let (between, mut kept) = open(mta);
    for step in STEPS {
        let id = kept.hold();
        let delete = ["delete", id.as_str()];
        killed(&mut kept, &between, step, &delete, |kept, _| {
            kept.house.alignd.kill()
        });
        kept.house.alignd.start_again();
        let told = kept.quarantine(&delete);
        assert!(told.starts_with("deleted "), "{step:?}: {told}");
        assert_eq!(
            kept.history(&id),
            "answering, held, deleted by root",
            "{step:?}"
        );
        assert!(kept.house.mta.held(&id).is_none(), "{step:?}");
    }
    kept.house.mta.run_queue();
    assert!(kept.house.mta.mailbox().is_empty());
}

/// Nobody asks again: what the MTA did is told as what was wanted, and what it didn't is on hold.
fn killed_after_the_mta_did_it_a_start_finishes_it(mta: Kind) {
    let (between, mut kept) = open(mta);
    let held = STEPS.map(|step| (step, kept.hold()));
    for (step, id) in &held {
        let release = ["release", id, "--comment", "ticket"];
        killed(&mut kept, &between, *step, &release, |kept, _| {
            kept.house.alignd.kill()
        });
        kept.house.alignd.start_again();
        if step.is_done() {
            wait::until("what was interrupted is finished", || {
                (kept.history(id) == "answering, held, released by root").then_some(())
            });
            kept.house.mta.run_queue();
            kept.house.mta.delivered(id);
        } else {
            assert!(kept.house.mta.held(id).is_some(), "{step:?}");
            assert_eq!(kept.history(id), "answering, held", "{step:?}");
        }
    }
    let done = held.iter().filter(|(step, _)| step.is_done()).count();
    assert_eq!(kept.house.mta.mailbox().len(), done);
}
