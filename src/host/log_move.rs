//! What an event in the mail log says of a message: nothing, a move of its outcome, or to wait for those who know
//! better. Pure.
//!
//! Owns which of the messages that bore a queue id is meant, and for how long after a message its id is believed to
//! mean it. Which moves are legal at all is `outcome`'s to say.

use crate::mta::log::{Attempt, LogEvent, Refusal};
use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::store::Bearer;
use crate::time::Timestamp;

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    Nothing,
    Move(Bearer, Outcome),
    /// Whoever did it is about to say so itself: our own answer is being confirmed, or an operator's release is
    /// being written with its reason. The log's word counts when that takes too long.
    Wait,
}

/// What `event`, logged at `at` and `age` microseconds old, says; `bearers`: the messages that bore its queue id, the
/// newest first.
pub fn conclude(event: &LogEvent, at: Timestamp, bearers: &[Bearer], age: i64) -> Conclusion {
    let Some(bearer) = meant(at, bearers) else {
        return Conclusion::Nothing;
    };
    // Read again, or older than what is known: the later word holds.
    if at.plus_micros(COARSE) < bearer.since {
        return Conclusion::Nothing;
    }
    let stayed = at.micros().saturating_sub(bearer.received.micros());
    let Some((to, detail)) = says(event, bearer.state, stayed) else {
        return Conclusion::Nothing;
    };
    if age < others_take(bearer, to) {
        return Conclusion::Wait;
    }
    match bearer.state.check_move(to, OutcomeSource::Log) {
        Ok(true) => {}
        Ok(false) | Err(_) => return Conclusion::Nothing,
    }
    let mut outcome = Outcome::new(to, at, OutcomeSource::Log);
    outcome.detail = detail;
    Conclusion::Move(*bearer, outcome)
}

/// The newest message that was there when the event was logged.
pub fn meant(at: Timestamp, bearers: &[Bearer]) -> Option<&Bearer> {
    let was_there = |bearer: &&Bearer| bearer.received <= at.plus_micros(COARSE);
    bearers.iter().find(was_there)
}

/// The state that the event names, and what there is to say about it. `age` of the message by then, in microseconds.
fn says(event: &LogEvent, state: OutcomeState, age: i64) -> Option<(OutcomeState, Option<String>)> {
    use OutcomeState::{Accepted, Deleted, Held, Released, Unknown};
    let says = |to, why: &str| Some((to, Some(why.to_owned())));
    // Mail waits in the hold queue for as long as it is left there; elsewhere it doesn't stay longer than the MTA
    // keeps mail, and its id may be another's by then.
    if state != Held && age > IN_QUEUE {
        return None;
    }
    match event {
        LogEvent::Held { milter } => says(Held, &by("held", milter.as_deref())),
        LogEvent::HeldByHand => says(Held, "put on hold by hand"),
        LogEvent::Released => says(Released, "released from hold"),
        LogEvent::Requeued if state == Held => says(Released, "put in again as new"),
        LogEvent::DeletedByHand => says(Deleted, "deleted by hand"),
        LogEvent::Refused { milter, refusal } if age <= IN_SESSION => {
            Some(refused(state, refusal, milter.as_deref()))
        }
        // Sendmail delivers held mail by `-qQ -qI` without a word about the hold.
        LogEvent::Attempt(Attempt::Sent | Attempt::Deferred) if state == Held => {
            says(Released, "its delivery was begun")
        }
        // Whatever came of it, the MTA had taken it.
        LogEvent::Attempt(_) | LogEvent::Finished | LogEvent::Expired
            if state == Unknown && age <= IN_SESSION =>
        {
            says(Accepted, "in the queue, as the mail log says")
        }
        LogEvent::Refused { .. }
        | LogEvent::Requeued
        | LogEvent::Resubmitted { .. }
        | LogEvent::Attempt(_)
        | LogEvent::Finished
        | LogEvent::Expired => None,
    }
}

/// Of a message whose answer is unknown a refusal may be ours.
fn refused(
    state: OutcomeState,
    refusal: &Refusal,
    milter: Option<&str>,
) -> (OutcomeState, Option<String>) {
    let (ours, word, text) = match refusal {
        Refusal::Rejected(text) => (OutcomeState::Rejected, "rejected", text.as_str()),
        Refusal::Tempfailed(text) => (OutcomeState::Tempfailed, "deferred", text.as_str()),
        Refusal::Discarded => (OutcomeState::RefusedLater, "discarded", ""),
    };
    let to = match state {
        OutcomeState::Unknown => ours,
        _ => OutcomeState::RefusedLater,
    };
    let mut why = by(word, milter);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if !text.is_empty() {
        why.push_str(": ");
        why.push_str(&text);
    }
    (to, Some(why))
}

fn by(word: &str, milter: Option<&str>) -> String {
    match milter {
        Some(milter) => format!("{word} by milter {milter}"),
        None => format!("{word} by a milter"),
    }
}

/// For how long someone else may be about to say it, in microseconds: our reply, or the operator whose release or
/// deletion this is. He writes down that he is about to do it before the MTA is asked, and strikes that out
/// with the outcome: without an intent it was done by hand.
fn others_take(bearer: &Bearer, to: OutcomeState) -> i64 {
    use OutcomeState::{Answering, Deleted, Held, Released};
    if bearer.state == Answering {
        return TO_CONFIRM;
    }
    let ends_hold = bearer.state == Held && matches!(to, Released | Deleted);
    if ends_hold && bearer.intended {
        TO_RELEASE
    } else {
        0
    }
}

/// The store is quicker.
const TO_CONFIRM: i64 = 20 * SECOND;

/// Longer than the helper may take for one answer. After that the intent still stands: the store leaves the end
/// to it, whatever the log says.
const TO_RELEASE: i64 = 120 * SECOND;

/// Classic stamps are cut to the second, and a syslog daemon's clock may be another's.
const COARSE: i64 = 2 * SECOND;

/// From the verdict to the end of the SMTP transaction, with every milter and its progress.
const IN_SESSION: i64 = 3_600 * SECOND;

/// Longer than either MTA keeps mail by default, which is 5 days.
const IN_QUEUE: i64 = 7 * 86_400 * SECOND;

const SECOND: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::VerdictId;
    use OutcomeState::*;

    const RECEIVED: i64 = 1_700_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(RECEIVED + seconds)
    }

    fn bearer(number: u8, received: i64, state: OutcomeState, since: i64) -> Bearer {
        Bearer {
            id: VerdictId::from_bytes([number; 16]),
            received: at(received),
            state,
            since: at(since),
            intended: false,
        }
    }

    fn refused(text: &str) -> LogEvent {
        LogEvent::Refused {
            milter: None,
            refusal: Refusal::Rejected(text.to_owned()),
        }
    }

    fn deferred() -> LogEvent {
        LogEvent::Refused {
            milter: Some("m1".to_owned()),
            refusal: Refusal::Tempfailed("451 later".to_owned()),
        }
    }

    #[track_caller]
    fn check(state: OutcomeState, event: &LogEvent, after: i64, expected: Option<OutcomeState>) {
        let message = bearer(1, 0, state, 1);
        let found = conclude(event, at(after), &[message], 100_000 * SECOND);
        let found = match found {
            Conclusion::Move(_, outcome) => {
                assert_eq!(outcome.at, at(after));
                assert!(outcome.detail.is_some());
                Some(outcome.state)
            }
            Conclusion::Nothing => None,
            Conclusion::Wait => panic!("{event:?} waits"),
        };
        assert_eq!(found, expected, "{state} {event:?} after {after} s");
    }

    #[test]
    fn what_each_event_says() {
        let held = LogEvent::Held { milter: None };
        let sent = LogEvent::Attempt(Attempt::Sent);
        let bounced = LogEvent::Attempt(Attempt::Bounced);
        let discarded = LogEvent::Refused {
            milter: None,
            refusal: Refusal::Discarded,
        };
        let day = 86_400;
        for (state, event, after, expected) in [
            (Held, LogEvent::Released, 5, Some(Released)),
            (Held, LogEvent::Released, 60 * day, Some(Released)),
            (Held, LogEvent::DeletedByHand, 60 * day, Some(Deleted)),
            (Held, LogEvent::Requeued, 3 * day, Some(Released)),
            (Held, sent.clone(), 5, Some(Released)),
            (Held, bounced.clone(), 5, None),
            (Held, refused("5.7.1 no"), 1, Some(RefusedLater)),
            (Held, held.clone(), 1, None),
            (Accepted, held.clone(), 1, Some(Held)),
            (Accepted, LogEvent::HeldByHand, 50, Some(Held)),
            (Accepted, refused("5.7.1 no"), 1, Some(RefusedLater)),
            (Accepted, deferred(), 1, Some(RefusedLater)),
            (Accepted, discarded, 1, Some(RefusedLater)),
            (Accepted, LogEvent::DeletedByHand, 50, Some(Deleted)),
            // Another message bears the id by then.
            (Accepted, refused("5.7.1 no"), 2 * day, None),
            (Accepted, LogEvent::DeletedByHand, 8 * day, None),
            (Accepted, LogEvent::HeldByHand, 8 * day, None),
            (Accepted, LogEvent::Released, 5, None),
            (Accepted, LogEvent::Requeued, 5, None),
            (Accepted, sent.clone(), 5, None),
            (Accepted, LogEvent::Finished, 5, None),
            (Released, LogEvent::DeletedByHand, 50, Some(Deleted)),
            (Released, LogEvent::HeldByHand, 50, Some(Held)),
            (Released, sent.clone(), 50, None),
            // Our own refusal is logged in the same words.
            (Rejected, refused("5.7.1 no"), 1, None),
            (Tempfailed, deferred(), 1, None),
            (Unknown, sent, 5, Some(Accepted)),
            (Unknown, bounced, 5, Some(Accepted)),
            (Unknown, LogEvent::Finished, 2 * day, None),
            (Unknown, refused("5.7.1 no"), 1, Some(Rejected)),
            (Unknown, deferred(), 1, Some(Tempfailed)),
            (Unknown, held, 1, Some(Held)),
            (Unknown, LogEvent::Released, 90, Some(Released)),
            (Deleted, LogEvent::Released, 90, None),
            (RefusedLater, LogEvent::HeldByHand, 90, None),
        ] {
            check(state, &event, after, expected);
        }
    }

    #[test]
    fn the_newest_message_before_the_event_is_meant() {
        let bearers = [
            bearer(3, 500, Held, 501),
            bearer(2, 100, Accepted, 101),
            bearer(1, 0, Held, 1),
        ];
        for (after, expected) in [(-10, None), (50, Some(1)), (300, Some(2)), (501, Some(3))] {
            let found = meant(at(after), &bearers).map(|bearer| bearer.id);
            let expected = expected.map(|number| VerdictId::from_bytes([number; 16]));
            assert_eq!(found, expected, "{after}");
        }
        // The log tells nothing about the one that it is used again by.
        let told = conclude(&LogEvent::Released, at(300), &bearers, 8_700 * SECOND);
        assert_eq!(told, Conclusion::Nothing);
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let again = bearer(1, 0, Held, 600);
        for (after, moves) in [(5, false), (590, false), (599, true), (601, true)] {
            let told = conclude(&LogEvent::Released, at(after), &[again], 8_000 * SECOND);
            assert_eq!(told != Conclusion::Nothing, moves, "{after}");
        }
    }

    #[test]
    fn whoever_did_it_says_so_first() {
        let released = LogEvent::Released;
        let held = LogEvent::Held { milter: None };
        for (state, intended, event, age, waits) in [
            (Held, true, released.clone(), 1, true),
            (Held, true, released.clone(), 119, true),
            (Held, true, released.clone(), 120, false),
            (Held, true, LogEvent::DeletedByHand, 119, true),
            (Held, true, refused("x"), 1, false),
            (Held, false, released, 0, false),
            (Held, false, LogEvent::DeletedByHand, 0, false),
            (Answering, false, held, 1, true),
            (Answering, false, refused("x"), 19, true),
            (Answering, false, refused("x"), 20, false),
            (Accepted, false, refused("x"), 0, false),
            (Accepted, true, LogEvent::DeletedByHand, 0, false),
        ] {
            let message = Bearer {
                intended,
                ..bearer(1, 0, state, 1)
            };
            let told = conclude(&event, at(100), &[message], age * SECOND);
            assert_eq!(
                told == Conclusion::Wait,
                waits,
                "{message:?} {event:?} {age}"
            );
        }
    }
}
