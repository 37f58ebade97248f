//! What became of a message: the state machine behind the append-only outcome table.
//!
//! ```text
//!              ┌─► accepted ───► refused_later, deleted
//!              │     │
//!              │     ▼ by hand, or by another filter
//! answering ───┼─► held ◄──► released ───► refused_later, deleted
//!              │     └─────► deleted, refused_later
//!              ├─► rejected
//!              ├─► tempfailed
//!              └─► unknown ◄── held, when it is gone and nothing says how
//!                    └───────► every other state, only by evidence, such as the mail log
//! ```
//! Pure. A verdict is recorded as `answering` before the reply; the written reply makes it what was
//! answered. A reply that was not written, or a crash before the confirmation, makes it `unknown`,
//! which is never reported. Which moves are legal is decided here alone.

use crate::policy::PolicyOverride;
use crate::time::Timestamp;
use crate::word::words;
use std::fmt;

words! {
    /// Where a message stands.
    OutcomeState {
        /// Recorded, the reply not yet written.
        Answering = "answering",
        /// The MTA took it. Unconfirmed until a log says that no later filter refused it.
        Accepted = "accepted",
        /// In the MTA's hold queue.
        Held = "held",
        /// Let go from the hold queue, on its way to its recipients.
        Released = "released",
        /// Taken out of the queue by an operator, or after `quarantine.expire_after`; no bounce.
        Deleted = "deleted",
        Rejected = "rejected",
        Tempfailed = "tempfailed",
        /// Taken by us, refused by another filter afterwards.
        RefusedLater = "refused_later",
        Unknown = "unknown",
    }
}

words! {
    /// Who says so.
    OutcomeSource {
        /// Our own reply to the MTA.
        Reply = "reply",
        /// A start after a crash found it unanswered.
        Restart = "restart",
        /// The mail log.
        Log = "log",
        /// The operator or another filter.
        Operator = "operator",
        /// A look into the MTA's queue.
        Queue = "queue",
        /// `quarantine.expire_after`.
        Expiry = "expiry",
        /// It came back from `trust.reinject` with its verdict header.
        Reinjected = "reinjected",
    }
}

/// One row of the outcome table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub state: OutcomeState,
    pub at: Timestamp,
    pub source: OutcomeSource,
    /// Why, where there is more to say.
    pub detail: Option<String>,
    /// Who moved it, where a person or another program did.
    pub by: Option<String>,
    /// With a release: the reason that a report gives in place of the decision's; without one it is
    /// `local_policy`.
    pub because: Option<PolicyOverride>,
}

impl Outcome {
    /// Without any more to say.
    pub fn new(state: OutcomeState, at: Timestamp, source: OutcomeSource) -> Self {
        Self {
            state,
            at,
            source,
            detail: None,
            by: None,
            because: None,
        }
    }
}

/// A move that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalMove {
    pub from: OutcomeState,
    pub to: OutcomeState,
    pub source: OutcomeSource,
}

impl OutcomeState {
    /// Whether `source` may move a message from this state to `to`. Repeating a state is no move:
    /// it is legal and changes nothing (`Ok(false)`).
    pub fn check_move(self, to: Self, source: OutcomeSource) -> Result<bool, IllegalMove> {
        use OutcomeSource::{Expiry, Log, Operator, Queue, Reinjected, Reply, Restart};
        use OutcomeState::{
            Accepted, Answering, Deleted, Held, RefusedLater, Rejected, Released, Tempfailed,
            Unknown,
        };
        if self == to {
            return Ok(false);
        }
        let legal = match (self, to) {
            (Answering, Accepted | Held | Rejected | Tempfailed) => matches!(source, Reply | Log),
            (Answering, Unknown) => matches!(source, Reply | Restart),
            (Unknown, Held) => matches!(source, Log | Operator | Queue),
            // Its verdict header proves that it was held.
            (Unknown, Released) => matches!(source, Log | Operator | Reinjected),
            (Unknown, Accepted | Rejected | Tempfailed | RefusedLater | Deleted) => {
                matches!(source, Log | Operator)
            }
            (Accepted | Released, Held) => matches!(source, Log | Operator | Queue),
            (Held, Released) => matches!(source, Log | Operator | Queue | Reinjected),
            (Held, Deleted) => matches!(source, Log | Operator | Expiry),
            (Accepted | Released, Deleted) | (Accepted | Held | Released, RefusedLater) => {
                matches!(source, Log | Operator)
            }
            (Held, Unknown) => matches!(source, Queue),
            (_, Answering)
            | (Answering, Released | Deleted | RefusedLater)
            | (Accepted | Held | Released, _)
            | (Rejected | Tempfailed | RefusedLater | Deleted, _)
            | (Unknown, Unknown) => false,
        };
        if legal {
            Ok(true)
        } else {
            Err(IllegalMove {
                from: self,
                to,
                source,
            })
        }
    }
}

impl fmt::Display for IllegalMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message that is {} cannot become {} by {}",
            self.from, self.to, self.source
        )
    }
}

impl std::error::Error for IllegalMove {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_final_state_and_nothing_returns_to_answering() {
        for &from in OutcomeState::ALL {
            for &to in OutcomeState::ALL {
                for &source in OutcomeSource::ALL {
                    let moved = from.check_move(to, source);
                    if from == to {
                        assert_eq!(moved, Ok(false));
                    } else if to == OutcomeState::Answering
                        || matches!(
                            from,
                            OutcomeState::Rejected
                                | OutcomeState::Tempfailed
                                | OutcomeState::RefusedLater
                                | OutcomeState::Deleted
                        )
                    {
                        assert!(moved.is_err(), "{from} → {to} by {source}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_reply_confirms_and_a_restart_only_doubts() {
        use OutcomeState::*;
        for (from, to, source, legal) in [
            (Answering, Accepted, OutcomeSource::Reply, true),
            (Answering, Unknown, OutcomeSource::Restart, true),
            (Answering, Accepted, OutcomeSource::Restart, false),
            (Unknown, Accepted, OutcomeSource::Reply, false),
            (Unknown, Accepted, OutcomeSource::Log, true),
            (Accepted, RefusedLater, OutcomeSource::Log, true),
            (Answering, Held, OutcomeSource::Reply, true),
            (Held, Released, OutcomeSource::Operator, true),
            (Held, Released, OutcomeSource::Reinjected, true),
            (Unknown, Released, OutcomeSource::Reinjected, true),
            (Unknown, Accepted, OutcomeSource::Reinjected, false),
            (Held, Released, OutcomeSource::Reply, false),
            (Held, Accepted, OutcomeSource::Log, false),
            (Held, Deleted, OutcomeSource::Expiry, true),
            (Released, Deleted, OutcomeSource::Expiry, false),
            (Held, Unknown, OutcomeSource::Queue, true),
            (Held, Unknown, OutcomeSource::Restart, false),
            (Accepted, Held, OutcomeSource::Log, true),
            (Accepted, RefusedLater, OutcomeSource::Reply, false),
            (Accepted, Unknown, OutcomeSource::Restart, false),
        ] {
            assert_eq!(
                from.check_move(to, source).is_ok(),
                legal,
                "{from} → {to} by {source}"
            );
        }
    }
}
