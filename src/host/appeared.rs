//! Mail in the hold queue that the store doesn't know to be held: put there by hand or by another filter, or held by
//! us while the answer was lost.
//!
//! Owns which message such mail can be, and when it is worth a look at its header. Pure. Queue ids are used again,
//! but not while a mail bears one: who bore the id before the mail came in is another.

use crate::outcome::OutcomeState;
use crate::quarantine::is_after;
use crate::store::Bearer;
use crate::time::Timestamp;
use crate::verdict::VerdictId;

/// What mail on hold is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// This message, if its header agrees.
    Perhaps(VerdictId),
    /// Somebody is about to say what it is: not now.
    Later,
    /// None that we could move to `held`.
    Stranger,
}

/// What the mail is that came in at `arrived`, to the second; `newest`: the last message that bore its queue id.
/// `settle` in microseconds.
pub fn recognise(
    arrived: Timestamp,
    newest: Option<&Bearer>,
    now: Timestamp,
    settle: i64,
) -> Guest {
    let Some(bearer) = newest.filter(|bearer| !is_after(arrived, bearer.received)) else {
        return Guest::Stranger;
    };
    match bearer.state {
        OutcomeState::Accepted | OutcomeState::Released | OutcomeState::Unknown => {
            if bearer.since.plus_micros(settle) <= now {
                Guest::Perhaps(bearer.id)
            } else {
                Guest::Later
            }
        }
        OutcomeState::Answering | OutcomeState::Held => Guest::Later,
        OutcomeState::Rejected
        | OutcomeState::Tempfailed
        | OutcomeState::RefusedLater
        | OutcomeState::Deleted => Guest::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OutcomeState::*;

    const SETTLE: i64 = 120_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_363_200 + second)
    }

    fn id(number: u8) -> VerdictId {
        VerdictId::from_bytes([number; 16])
    }

    #[test]
    fn only_what_could_have_been_put_on_hold_is_looked_at() {
        let perhaps = Guest::Perhaps(id(1));
        for (state, since, arrived, now, expected) in [
            (Accepted, 0, -5, 120, perhaps),
            (Released, 0, -5, 120, perhaps),
            (Unknown, 0, -5, 120, perhaps),
            // Not for sure.
            (Accepted, 0, -5, 119, Guest::Later),
            (Released, 60, -5, 120, Guest::Later),
            (Answering, 0, -5, 9_999, Guest::Later),
            (Held, 0, -5, 9_999, Guest::Later),
            (Rejected, 0, -5, 9_999, Guest::Stranger),
            (Tempfailed, 0, -5, 9_999, Guest::Stranger),
            (Deleted, 0, -5, 9_999, Guest::Stranger),
            (RefusedLater, 0, -5, 9_999, Guest::Stranger),
            // A long session, and the next mail under its id.
            (Accepted, 0, -7_200, 120, perhaps),
            (Accepted, 0, 2, 120, perhaps),
            (Accepted, 0, 3, 120, Guest::Stranger),
        ] {
            let bearer = Bearer {
                id: id(1),
                received: at(0),
                state,
                since: at(since),
                intended: false,
            };
            let found = recognise(at(arrived), Some(&bearer), at(now), SETTLE);
            assert_eq!(found, expected, "{state} arrived {arrived} now {now}");
        }
        let nobody = recognise(at(0), None, at(500), SETTLE);
        assert_eq!(nobody, Guest::Stranger);
    }
}
