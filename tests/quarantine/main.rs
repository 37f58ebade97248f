//! Releasing and deleting held mail: every step interrupted, every answer of the MTA's wrong, two operators
//! at once. The MTA is one in memory that can be made to stop at any point; the store is the real one.

#[path = "../support/plain_verdict.rs"]
mod plain_verdict;

mod memory;
mod room;

use alignd::auth::dmarc::Policy;
use alignd::mta::Place;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::{Action, Cause, Decision, Disposition, OverrideType};
use alignd::quarantine::{
    Done, HeldFilter, Quarantine, QuarantineError, Target, What, Wish, held, message,
};
use alignd::store::{Change, HeldIn, Reader, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use alignd::verdict::VerdictId;
use memory::{Killed, Mta, State};
use plain_verdict::plain_verdict;
use std::sync::Arc;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);
const ID: &str = "4jXW5m5GBtz1StgL";

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A store with one held message, and its MTA.
struct House {
    home: TempDir,
    store: Store,
    mta: Mta,
    verdict: VerdictId,
}

impl House {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        let verdict = record(&store, ID, 1).await;
        let mta = Mta::holding(verdict);
        Self {
            home,
            store,
            mta,
            verdict,
        }
    }

    fn quarantine(&self) -> Quarantine<Mta> {
        let directory = self.home.path().to_owned();
        Quarantine::new(
            self.mta.clone(),
            self.store.clone(),
            directory,
            Arc::new(Still),
        )
    }

    async fn carry_out(&self, wish: &Wish) -> Result<Done, QuarantineError> {
        let target = Target::parse(ID);
        self.quarantine().carry_out(&target, wish).await
    }

    fn reader(&self) -> Reader {
        Reader::open(self.home.path()).unwrap()
    }

    fn history(&self) -> String {
        let outcomes = self.reader().outcomes(self.verdict).unwrap();
        let words = outcomes.iter().map(|o| match &o.by {
            Some(by) => format!("{} by {by}", o.state),
            None => o.state.to_string(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Does it until it would never return, then the process is gone, and another takes its place.
    async fn killed(&mut self, wish: &Wish) {
        let target = Target::parse(ID);
        let quarantine = self.quarantine();
        tokio::select! {
            biased;
            done = quarantine.carry_out(&target, wish) => panic!("not killed: {done:?}"),
            () = async {
                while !self.mta.set(|state| state.stands_still) {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        drop(quarantine);
        let store = std::mem::replace(&mut self.store, open(&tempfile::tempdir().unwrap()));
        store.close().await;
        self.store = open(&self.home);
        self.mta.set(|state| {
            state.kill = None;
            state.looks = 0;
        });
    }
}

fn open(home: &TempDir) -> Store {
    let settings = StoreSettings {
        path: home.path().to_owned(),
        ..StoreSettings::default()
    };
    Store::open(&settings, NOW).unwrap()
}

/// One that alignd holds.
async fn record(store: &Store, queue_id: &str, nth: u32) -> VerdictId {
    record_as(store, queue_id, nth, Action::Hold).await
}

async fn record_as(store: &Store, queue_id: &str, nth: u32, action: Action) -> VerdictId {
    let at = NOW.plus_micros(i64::from(nth) * 1_000_000);
    let mut verdict = plain_verdict("a.example", at, nth);
    verdict.envelope.queue_id = Some(queue_id.to_owned());
    let (cause, disposition) = (Cause::FailReject, Disposition::Quarantine);
    verdict.decision = Decision::follow(cause, Some(Policy::Reject), disposition, action);
    let id = verdict.id;
    store.record(Arc::new(verdict)).await.unwrap();
    let outcome = Outcome::new(OutcomeState::Held, at, OutcomeSource::Reply);
    let change = Change::Outcome {
        verdict: id,
        outcome,
    };
    store.change(vec![change]).await.unwrap();
    id
}

fn release(by: &str) -> Wish {
    Wish {
        what: What::Release {
            because: OverrideType::MailingList,
            exception: None,
        },
        by: by.to_owned(),
        comment: None,
    }
}

fn delete(by: &str) -> Wish {
    Wish {
        what: What::Delete,
        ..release(by)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_tells_who_and_why_and_is_done_once() {
    let house = House::new().await;
    let done = house.carry_out(&release("alice")).await.unwrap();
    assert_eq!((done.state, done.was_so), (OutcomeState::Released, false));
    let again = house.carry_out(&release("bob")).await.unwrap();
    assert_eq!((again.by.as_deref(), again.was_so), (Some("alice"), true));
    let other = house
        .carry_out(&delete("bob"))
        .await
        .unwrap_err()
        .to_string();
    assert!(other.contains("was released by alice"), "{other}");
    assert_eq!(house.history(), "answering, held, released by alice");
    let reason = house
        .reader()
        .outcomes(house.verdict)
        .unwrap()
        .pop()
        .and_then(|o| o.because);
    assert_eq!(reason.map(|r| r.kind), Some(OverrideType::MailingList));
    assert_eq!(
        house.mta.set(|state| (state.released, state.deleted)),
        (1, 0)
    );
    assert!(house.reader().intents().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_and_asked_again_it_ends_the_same() {
    use Killed::{AfterAct, AtHeader, AtLocate, AtSecondLook, BeforeAct};
    for killed in [AtLocate, AtHeader, BeforeAct, AfterAct, AtSecondLook] {
        for goes in [None, Some(Place::Queued("deferred".to_owned()))] {
            for deletes in [false, true] {
                let mut house = House::new().await;
                house.mta.set(|state| {
                    state.kill = Some(killed);
                    state.goes = goes.clone();
                });
                let (first, again, word) = match deletes {
                    true => (delete("alice"), delete("bob"), "deleted"),
                    false => (release("alice"), release("bob"), "released"),
                };
                house.killed(&first).await;
                let case = format!("{killed:?} {goes:?} {word}");
                assert_eq!(house.history(), "answering, held", "{case}");
                house
                    .carry_out(&again)
                    .await
                    .unwrap_or_else(|e| panic!("{case}: {e}"));
                // Whoever got the MTA to do it is named.
                let did = matches!(killed, AfterAct | AtSecondLook);
                let who = if did { "alice" } else { "bob" };
                assert_eq!(
                    house.history(),
                    format!("answering, held, {word} by {who}"),
                    "{case}"
                );
                let acts = house.mta.set(|state| state.released + state.deleted);
                assert_eq!(acts, 1, "{case}");
                assert!(house.reader().intents().unwrap().is_empty(), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_a_start_finishes_it_or_forgets_it() {
    use Killed::{AfterAct, AtHeader, AtLocate, AtSecondLook, BeforeAct};
    for killed in [AtLocate, AtHeader, BeforeAct, AfterAct, AtSecondLook] {
        let mut house = House::new().await;
        house.mta.set(|state| state.kill = Some(killed));
        house.killed(&release("alice")).await;
        house.mta.set(|state| state.down = true);
        let left = house.quarantine().resume().await.unwrap();
        let intended = matches!(killed, BeforeAct | AfterAct | AtSecondLook);
        assert_eq!(left, usize::from(intended), "{killed:?}");
        house.mta.set(|state| state.down = false);
        for _ in 0..2 {
            assert_eq!(house.quarantine().resume().await.unwrap(), 0, "{killed:?}");
            let did = matches!(killed, AfterAct | AtSecondLook);
            let end = if did { ", released by alice" } else { "" };
            assert_eq!(
                house.history(),
                format!("answering, held{end}"),
                "{killed:?}"
            );
            assert!(house.reader().intents().unwrap().is_empty(), "{killed:?}");
        }
    }
}

/// While an operator's release is under way, the log and the queue don't tell it before him.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_of_a_release_is_left_to_who_does_it() {
    let mut house = House::new().await;
    house.mta.set(|state| state.kill = Some(Killed::AfterAct));
    house.killed(&release("alice")).await;
    for (state, source) in [
        (OutcomeState::Released, OutcomeSource::Log),
        (OutcomeState::Unknown, OutcomeSource::Queue),
        (OutcomeState::Deleted, OutcomeSource::Log),
    ] {
        let outcome = Outcome::new(state, NOW, source);
        let verdict = house.verdict;
        house
            .store
            .change(vec![Change::Outcome { verdict, outcome }])
            .await
            .unwrap();
    }
    house.quarantine().resume().await.unwrap();
    assert_eq!(house.history(), "answering, held, released by alice");
}

/// What the MTA does, what is told and what stands in the store then.
#[tokio::test(flavor = "multi_thread")]
async fn an_mta_that_fails_is_told_of_and_nothing_is_made_up() {
    type Fault = fn(&mut State);
    let table: &[(&str, Fault, &str, &str)] = &[
        ("down", |s| s.down = true, "nothing was changed", ""),
        ("lies", |s| s.lies = true, "on hold still", ""),
        ("mute", |s| s.mute = true, "", ", released by alice"),
        (
            "gone",
            |s| s.mails.clear(),
            "no longer on hold, and not by alignd",
            "",
        ),
        (
            "by hand",
            |s| {
                s.mails
                    .values_mut()
                    .for_each(|mail| mail.0 = Place::Queued("active".to_owned()))
            },
            "",
            ", released by alice",
        ),
        (
            "not ours",
            |s| s.mails.values_mut().for_each(|mail| mail.1 = None),
            "bears no X-Alignd-Verdict",
            "",
        ),
        (
            "another's",
            |s| {
                s.mails
                    .values_mut()
                    .for_each(|mail| mail.1 = Some(VerdictId::from_bytes([7; 16])))
            },
            "bears the X-Alignd-Verdict of 07070707",
            "",
        ),
    ];
    for (name, fault, told, history) in table {
        let house = House::new().await;
        house.mta.set(fault);
        let done = house.carry_out(&release("alice")).await;
        match &done {
            Ok(_) => assert_eq!(*told, "", "{name}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(told) && !told.is_empty(), "{name}: {error}");
            }
        }
        assert_eq!(
            house.history(),
            format!("answering, held{history}"),
            "{name}"
        );
        assert!(house.reader().intents().unwrap().is_empty(), "{name}");
    }
}

/// Put on hold by hand, or by another milter: it bears no header of ours. What proves that it became `held` proves whose it
/// is: its queue id, when it came in, and its Message-ID. Header, arrival after the verdict, what is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_on_hold_is_known_by_its_message_id() {
    let id = "Message-ID: <20261122.00000002.4711@mail.a.example>\n";
    for (header, arrived, told) in [
        (id, Some(-3_600), ""),
        (id, Some(2), ""),
        (id, Some(3), "came in after that, 2026-11-22T16:00:05"),
        (id, None, "isn't among the held mails that the MTA lists"),
        (
            "Message-ID: <other@a.example>\n",
            Some(0),
            "bears the Message-ID <other@a.example>",
        ),
        (
            "Message-ID: <>\n",
            Some(0),
            "bears neither an X-Alignd-Verdict nor a Message-ID",
        ),
        (
            "",
            Some(0),
            "bears neither an X-Alignd-Verdict nor a Message-ID",
        ),
    ] {
        for wish in [release("alice"), delete("alice")] {
            let mut house = House::new().await;
            house.verdict = record_as(&house.store, ID, 2, Action::Accept).await;
            let came = arrived.map(|at: i64| NOW.plus_micros((2 + at) * 1_000_000));
            house.mta.set(|state| {
                state.mails.insert(ID.to_owned(), (Place::Held, None));
                state.plain = (header.to_owned(), came);
            });
            let stored = Target::Verdict(house.verdict)
                .find(&house.reader())
                .unwrap();
            let shown = message(&house.mta, &stored).await;
            let done = house.carry_out(&wish).await;
            let refused = [shown.err(), done.err()].map(|e| e.map(|e| e.to_string()));
            for refused in refused {
                let refused = refused.unwrap_or_default();
                assert_eq!(
                    refused.is_empty(),
                    told.is_empty(),
                    "{header} {arrived:?}: {refused}"
                );
                assert!(refused.contains(told), "{header} {arrived:?}: {refused}");
            }
            let gone = house.mta.set(|state| state.released + state.deleted);
            assert_eq!(gone, u32::from(told.is_empty()), "{header} {arrived:?}");
        }
    }
    let house = House::new().await;
    house.mta.set(|state| {
        state.mails.values_mut().for_each(|mail| mail.1 = None);
        state.plain = (
            "Message-ID: <20261122.00000001.4711@mail.a.example>\n".to_owned(),
            Some(NOW),
        );
    });
    // But what alignd held bears its header.
    let refused = house.carry_out(&release("alice")).await.unwrap_err();
    assert!(
        refused.to_string().contains("bears no X-Alignd-Verdict"),
        "{refused}"
    );
}

/// It wasn't alignd that put it there.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_on_hold_does_not_expire() {
    let mut house = House::new().await;
    house.verdict = record_as(&house.store, ID, 2, Action::Accept).await;
    house.mta.set(|state| {
        state.mails.insert(ID.to_owned(), (Place::Held, None));
        let id = "Message-ID: <20261122.00000002.4711@mail.a.example>\n";
        state.plain = (id.to_owned(), Some(NOW));
    });
    let expire = Wish {
        what: What::Expire,
        ..delete("alice")
    };
    let refused = house.carry_out(&expire).await.unwrap_err().to_string();
    assert!(refused.contains("was put on hold by others"), "{refused}");
    assert_eq!(house.history(), "answering, held");
    let done = house.carry_out(&delete("alice")).await.unwrap();
    assert_eq!(done.state, OutcomeState::Deleted);
}

/// The helper vanishes between its deed and the second look: told as unsettled, and finished later.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_seen_stays_an_intent() {
    let mut house = House::new().await;
    house.mta.set(|state| state.kill = Some(Killed::AfterAct));
    house.killed(&release("alice")).await;
    house.mta.set(|state| state.down = true);
    let error = house
        .carry_out(&release("bob"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nobody there"), "{error}");
    assert_eq!(house.reader().intents().unwrap().len(), 1);
    house.mta.set(|state| state.down = false);
    let done = house.carry_out(&release("bob")).await.unwrap();
    assert_eq!((done.by.as_deref(), done.was_so), (Some("alice"), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_wins_and_the_other_is_told() {
    for nth in 0..20 {
        let house = House::new().await;
        let quarantine = house.quarantine();
        let target = Target::parse(ID);
        let wishes = [
            release("alice"),
            if nth % 2 == 0 {
                release("bob")
            } else {
                delete("bob")
            },
        ];
        let (one, two) = tokio::join!(
            quarantine.carry_out(&target, &wishes[0]),
            quarantine.carry_out(&target, &wishes[1]),
        );
        let did = |done: &Result<Done, QuarantineError>| done.as_ref().is_ok_and(|d| !d.was_so);
        assert!(did(&one) ^ did(&two), "{one:?} {two:?}");
        if nth % 2 == 0 {
            assert!(one.is_ok() && two.is_ok());
        } else {
            let refused = one.err().or(two.err()).unwrap().to_string();
            assert!(refused.contains("already"), "{refused}");
        }
        assert_eq!(house.mta.set(|state| state.released + state.deleted), 1);
    }
}

/// The id was given again: the newest held message with it is meant, and the older one isn't touched.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_used_again_means_the_newest_held() {
    let house = House::new().await;
    let newer = record(&house.store, ID, 2).await;
    let refused = house
        .carry_out(&release("alice"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("bears the X-Alignd-Verdict of"),
        "{refused}"
    );
    house.mta.set(|state| {
        state
            .mails
            .insert(ID.to_owned(), (Place::Held, Some(newer)));
    });
    let older = Target::Verdict(house.verdict);
    let refused = house
        .quarantine()
        .carry_out(&older, &release("alice"))
        .await;
    assert!(
        matches!(refused, Err(QuarantineError::AnotherMail { .. })),
        "{refused:?}"
    );
    assert_eq!(
        house.carry_out(&release("alice")).await.unwrap().verdict,
        newer
    );
    assert_eq!(house.history(), "answering, held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_held_are_listed_oldest_first_in_a_moment() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    for nth in 0..1_000 {
        record(&store, &format!("4jXW5m5GBtz{nth:04}"), nth).await;
    }
    let reader = Reader::open(home.path()).unwrap();
    let filter = HeldFilter {
        limit: 1_000,
        ..HeldFilter::default()
    };
    let start = std::time::Instant::now();
    let found = held(&reader, &filter).unwrap().messages;
    let took = start.elapsed();
    println!(
        "quarantine: {} of 1000 held listed in {took:?}",
        found.len()
    );
    assert_eq!(found.len(), 1_000);
    assert!(found.is_sorted_by_key(|stored| stored.verdict.received));
    assert!(took.as_secs() < 5, "{took:?}");
}

/// Whoever reads a listing that ends early must know; and what is elsewhere takes nobody's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_cut_says_so() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    for nth in 0..6 {
        let id = record(&store, &format!("4jXW5m5GBtz{nth:04}"), nth).await;
        if nth % 2 == 1 {
            let at = NOW.plus_micros(1_000_000);
            for state in [OutcomeState::Released, OutcomeState::Held] {
                let outcome = Outcome::new(state, at, OutcomeSource::Operator);
                let verdict = id;
                let told = Change::Outcome { verdict, outcome };
                store.change(vec![told]).await.unwrap();
            }
        }
    }
    let reader = Reader::open(home.path()).unwrap();
    let (told, ours) = (HeldIn::Told, HeldIn::Queue);
    for (place, limit, expected, more) in [
        (ours, 9, &[0, 2, 4][..], false),
        (ours, 3, &[0, 2, 4], false),
        (ours, 2, &[0, 2], true),
        (ours, 0, &[], true),
        (told, 3, &[1, 3, 5], false),
        (told, 1, &[1], true),
    ] {
        let filter = HeldFilter {
            place,
            limit,
            ..HeldFilter::default()
        };
        let listed = held(&reader, &filter).unwrap();
        let ids: Vec<_> = listed
            .messages
            .iter()
            .map(|stored| stored.verdict.envelope.queue_id.clone())
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|nth| Some(format!("4jXW5m5GBtz{nth:04}")))
            .collect();
        assert_eq!(
            (ids, listed.more),
            (expected, more),
            "{place:?}, limit {limit}"
        );
    }
}
