//! Held mail whose time is over (`quarantine.expire_after`): deleted without a bounce, and never unannounced.
//!
//! Owns that rule: a message goes when alignd put it on hold, it has been held for so long and the mail server took the
//! digest that says so at least a day ago. And a round of it, bounded: what the MTA says no to is left alone for a while, and what keeps
//! everything from being done ends the round.

use super::{Quarantine, QuarantineError, Queue, Target, What, Wish};
use crate::digest::NOTICE;
use crate::mta::HelperError;
use crate::store::{HeldFilter, HeldIn, HeldMessage, Reader};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use std::collections::HashMap;
use std::time::Duration;
use tracing::{info, warn};

/// What was refused for reasons of its own, each with the time until which it is left alone.
#[derive(Debug, Default)]
pub struct Resting(HashMap<VerdictId, Timestamp>);

/// What a round came to.
#[derive(Debug, Default)]
pub struct Expired {
    pub deleted: u32,
    /// The MTA or the store said no to these alone.
    pub refused: u32,
    /// There was more to do than a round may.
    pub more: bool,
    /// Why the round ended early: nothing can be done now.
    pub stopped_by: Option<QuarantineError>,
}

/// When a message held since `since` has been held for `after`.
pub fn ends(since: Timestamp, after: Duration) -> Timestamp {
    since.plus_micros(micros(after))
}

/// Whether a digest of `now` announces the deletion of what `ends` then: a day ahead.
pub(super) fn is_announced_by(ends: Timestamp, now: Timestamp) -> bool {
    ends <= now.plus_micros(NOTICE)
}

/// What may be deleted at `now`, in the order of the listing, at most 1,000: what is beyond them is the next page.
pub fn expired(
    reader: &Reader,
    after: Duration,
    beyond: Option<VerdictId>,
    now: Timestamp,
) -> Result<Vec<HeldMessage>, QuarantineError> {
    // Exactly so long is long enough.
    let before = |micros: i64| Some(now.plus_micros(1 - micros));
    let filter = HeldFilter {
        held_before: before(micros(after)),
        announced_before: before(NOTICE),
        place: HeldIn::QueueByUs,
        beyond,
        ..HeldFilter::default()
    };
    reader.held(&filter).map_err(QuarantineError::Read)
}

impl<Q: Queue> Quarantine<Q> {
    /// Deletes what may be, at most `ROUND` messages, until `is_over` says so.
    pub async fn expire(
        &self,
        after: Duration,
        resting: &mut Resting,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Expired {
        let mut round = Expired::default();
        let mut beyond = None;
        resting.wake(self.clock.now());
        loop {
            let now = self.clock.now();
            let page = self.read(move |reader| expired(reader, after, beyond, now));
            let page = match page.await {
                Ok(page) => page,
                Err(problem) => {
                    round.stopped_by = Some(problem);
                    return round;
                }
            };
            let Some(last) = page.last() else {
                return round;
            };
            beyond = Some(last.id);
            for message in &page {
                if resting.0.contains_key(&message.id) {
                    continue;
                }
                if round.deleted.saturating_add(round.refused) >= ROUND || is_over() {
                    round.more = true;
                    return round;
                }
                match self.expire_one(message).await {
                    Ok(()) => round.deleted = round.deleted.saturating_add(1),
                    Err(problem) => {
                        let whose = Whose::of(&problem);
                        // It must not be the one that the next round fails at, too.
                        let rests = whose != Whose::AllOfThem && resting.add(message.id, now);
                        if whose != Whose::Its || !rests {
                            round.stopped_by = Some(problem);
                            return round;
                        }
                        round.refused = round.refused.saturating_add(1);
                        warn!(verdict = %message.id, %problem, "quarantine: not deleted, though its time is over");
                    }
                }
            }
        }
    }

    async fn expire_one(&self, message: &HeldMessage) -> Result<(), QuarantineError> {
        let announced = message.announced.map(|at| format!(", announced {at}"));
        let wish = Wish {
            what: What::Expire,
            by: "alignd".to_owned(),
            comment: Some(format!(
                "quarantine.expire_after is over: held since {}{}",
                message.since,
                announced.unwrap_or_default()
            )),
        };
        match self.carry_out(&Target::Verdict(message.id), &wish).await {
            Ok(_) => Ok(()),
            // Somebody was faster.
            Err(QuarantineError::NotHeld(..) | QuarantineError::OtherWish { .. }) => {
                info!(verdict = %message.id, "quarantine: let go before its time was over");
                Ok(())
            }
            Err(problem) => Err(problem),
        }
    }
}

impl Resting {
    fn wake(&mut self, now: Timestamp) {
        self.0.retain(|_, until| now < *until);
    }

    /// Whether there was room for it.
    fn add(&mut self, id: VerdictId, now: Timestamp) -> bool {
        let has_room = self.0.len() < MAX_RESTING;
        if has_room {
            self.0.insert(id, now.plus_micros(REST));
        }
        has_room
    }
}

/// Whose trouble it is that a message wasn't deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Its,
    /// The MTA's, perhaps with this message alone.
    Mtas,
    /// No other would fare better now.
    AllOfThem,
}

impl Whose {
    fn of(problem: &QuarantineError) -> Self {
        match problem {
            QuarantineError::NoMessage(_)
            | QuarantineError::NotHeld(..)
            | QuarantineError::OtherWish { .. }
            | QuarantineError::HeldByOthers(_)
            | QuarantineError::NoQueueId(_)
            | QuarantineError::AnotherMail { .. }
            | QuarantineError::NotInQueue { .. }
            | QuarantineError::StillHeld { .. }
            | QuarantineError::Helper(HelperError::NotHeld(_)) => Self::Its,
            QuarantineError::Helper(HelperError::Busy(_) | HelperError::Failed(_))
            | QuarantineError::Unsettled(_) => Self::Mtas,
            QuarantineError::Helper(HelperError::Unreachable(_) | HelperError::Refused(_))
            | QuarantineError::Store(_)
            | QuarantineError::Open(_)
            | QuarantineError::Read(_) => Self::AllOfThem,
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Messages that one round deletes, or tries to.
const ROUND: u32 = 100;
/// How long what was refused is left alone, in microseconds.
const REST: i64 = 60 * 60 * 1_000_000;
const MAX_RESTING: usize = 10_000;
