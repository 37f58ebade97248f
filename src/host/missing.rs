//! Held messages that are no longer in the hold queue: what that means, and when it is certain enough.
//!
//! Owns how often each was missed, and since when. Pure: the time and what was seen come in as arguments. A message
//! that is in another queue was let go by hand. One that is in none was delivered or deleted in between, which only
//! the mail log knows: it becomes `unknown` once it was missed in two scans in a row and `outcome.settle` has passed,
//! and what is unknown is never reported.

use crate::outcome::OutcomeState;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use std::collections::HashMap;

/// Where a held message was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Held,
    /// In another queue of this name, on its way.
    Queued(String),
    Nowhere,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub state: OutcomeState,
    pub detail: String,
}

/// Messages that were found nowhere, from scan to scan.
#[derive(Debug)]
pub struct Missing {
    /// Microseconds.
    settle: i64,
    missed: HashMap<VerdictId, Missed>,
}

#[derive(Debug, Clone, Copy)]
struct Missed {
    first: Timestamp,
    /// In so many scans in a row.
    scans: u32,
    /// In this scan too, as far as is known.
    still: bool,
}

impl Missing {
    /// `settle` in microseconds.
    pub fn new(settle: i64) -> Self {
        Self {
            settle,
            missed: HashMap::new(),
        }
    }

    /// Whether another look can tell anything new about a message that isn't in the hold queue. Once it was
    /// missed twice, the look at the end decides.
    pub fn is_due(&mut self, id: VerdictId, now: Timestamp) -> bool {
        match self.missed.get_mut(&id) {
            None => true,
            Some(missed) => {
                missed.still = true;
                missed.scans < ENOUGH || missed.first.plus_micros(self.settle) <= now
            }
        }
    }

    /// One message, held since `since`, as it was found at `now`: at most once in a scan. `heard`: up to when the mail
    /// log has told everything; without a log, `now`.
    pub fn see(
        &mut self,
        id: VerdictId,
        since: Timestamp,
        found: Found,
        heard: Timestamp,
        now: Timestamp,
    ) -> Option<Gone> {
        match found {
            Found::Held => {
                self.missed.remove(&id);
                None
            }
            // The MTA moves a mail into its hold queue after we have answered.
            Found::Queued(_) if now < since.plus_micros(self.settle.min(ON_ITS_WAY)) => None,
            Found::Queued(queue) => Some(Gone {
                state: OutcomeState::Released,
                detail: format!("it is in `{queue}`, let go by hand"),
            }),
            Found::Nowhere => self.miss(id, since, heard, now),
        }
    }

    /// The end of a scan: who wasn't missed in it isn't missed in a row.
    pub fn end_scan(&mut self) {
        self.missed.retain(|_, missed| missed.still);
        for missed in self.missed.values_mut() {
            missed.still = false;
        }
    }

    fn miss(
        &mut self,
        id: VerdictId,
        since: Timestamp,
        heard: Timestamp,
        now: Timestamp,
    ) -> Option<Gone> {
        if !self.missed.contains_key(&id) && self.missed.len() >= MOST {
            return None;
        }
        let missed = self.missed.entry(id).or_insert(Missed {
            first: now,
            scans: 0,
            still: true,
        });
        missed.scans = missed.scans.saturating_add(1);
        missed.still = true;
        let settled_at = missed.first.max(since).plus_micros(self.settle);
        // What the log has not told yet it may tell still, but not for ever.
        let told = missed.first <= heard || settled_at.plus_micros(LOG_IS_LATE) <= now;
        // It stays missed: should the store not take this now, the next scan says it again.
        (missed.scans >= ENOUGH && settled_at <= now && told).then(|| Gone {
            state: OutcomeState::Unknown,
            detail: "it is no longer there".to_owned(),
        })
    }
}

/// Microseconds by which a mail log may be behind, and still be waited for.
const LOG_IS_LATE: i64 = 3_600_000_000;
/// Scans in a row.
const ENOUGH: u32 = 2;
/// Microseconds in which a message may be on its way into the hold queue.
const ON_ITS_WAY: i64 = 20_000_000;
/// Messages that are missed at once; the rest waits for its turn.
const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use OutcomeState::{Released, Unknown};

    const SETTLE: i64 = 120_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_363_200 + second)
    }

    fn id(number: u8) -> VerdictId {
        VerdictId::mint(at(0), [number; 10])
    }

    fn held() -> Found {
        Found::Held
    }

    fn queued() -> Found {
        Found::Queued("deferred".to_owned())
    }

    fn nowhere() -> Found {
        Found::Nowhere
    }

    type Scan = (i64, fn() -> Found, Option<OutcomeState>);

    /// Scans of a message held at 0: when, where it was found, what follows. One that isn't due isn't looked for.
    #[track_caller]
    fn check(settle: i64, scans: &[Scan]) {
        let mut missing = Missing::new(settle);
        for (second, found, expected) in scans {
            let (now, found) = (at(*second), found());
            let gone = if found == Found::Held || missing.is_due(id(1), now) {
                missing.see(id(1), at(0), found, now, now)
            } else {
                None
            };
            missing.end_scan();
            let state = gone.map(|gone| gone.state);
            assert_eq!(state, *expected, "at {second} s, settle {settle} µs");
        }
    }

    #[test]
    fn in_another_queue_it_is_released_at_once() {
        check(SETTLE, &[(30, held, None), (60, queued, Some(Released))]);
        check(SETTLE, &[(30, nowhere, None), (60, queued, Some(Released))]);
        // On its way into the hold queue.
        check(
            SETTLE,
            &[
                (1, queued, None),
                (19, queued, None),
                (20, queued, Some(Released)),
            ],
        );
        check(2_000_000, &[(1, queued, None), (2, queued, Some(Released))]);
    }

    #[test]
    fn only_what_is_missed_twice_in_a_row_and_for_long_is_unknown() {
        check(
            SETTLE,
            &[
                (30, nowhere, None),
                (60, nowhere, None),
                (90, nowhere, None),
                (149, nowhere, None),
                (150, nowhere, Some(Unknown)),
            ],
        );
        // One scan is none in a row, however late.
        check(SETTLE, &[(5_000, nowhere, None)]);
        check(
            SETTLE,
            &[(30, nowhere, None), (5_000, nowhere, Some(Unknown))],
        );
        // Seen in between, it begins anew.
        check(
            SETTLE,
            &[
                (30, nowhere, None),
                (60, nowhere, None),
                (90, held, None),
                (160, nowhere, None),
                (190, nowhere, None),
                (280, nowhere, Some(Unknown)),
            ],
        );
        // Seen on its way at the last look.
        check(
            SETTLE,
            &[
                (30, nowhere, None),
                (60, nowhere, None),
                (150, queued, Some(Released)),
            ],
        );
        check(0, &[(1, nowhere, None), (2, nowhere, Some(Unknown))]);
        check(i64::MAX, &[(1, nowhere, None), (900_000, nowhere, None)]);
    }

    #[test]
    fn between_the_second_look_and_the_end_nobody_looks() {
        let mut missing = Missing::new(SETTLE);
        let mut looks = Vec::new();
        for second in (30..=180).step_by(30) {
            if missing.is_due(id(1), at(second)) {
                looks.push(second);
                missing.see(id(1), at(0), Found::Nowhere, at(second), at(second));
            }
            missing.end_scan();
        }
        assert_eq!(looks, [30, 60, 150, 180]);
    }

    #[test]
    fn a_log_that_is_behind_is_waited_for_but_not_for_ever() {
        for (heard, until, expected) in [
            (30, 150, Some(Unknown)),
            (29, 150, None),
            (29, 3_749, None),
            (29, 3_750, Some(Unknown)),
            (0, 3_750, Some(Unknown)),
        ] {
            let mut missing = Missing::new(SETTLE);
            let mut gone = None;
            for second in [30, 60, until] {
                assert!(missing.is_due(id(1), at(second)));
                gone = missing.see(id(1), at(0), Found::Nowhere, at(heard), at(second));
                missing.end_scan();
            }
            let state = gone.map(|gone| gone.state);
            assert_eq!(state, expected, "heard until {heard}, at {until}");
        }
    }

    #[test]
    fn a_scan_that_did_not_ask_for_it_breaks_the_row() {
        let mut missing = Missing::new(SETTLE);
        missing.see(id(1), at(0), Found::Nowhere, at(30), at(30));
        missing.see(id(2), at(0), Found::Nowhere, at(30), at(30));
        missing.end_scan();
        assert!(missing.is_due(id(2), at(60)));
        missing.end_scan();
        let gone = missing.see(id(1), at(0), Found::Nowhere, at(500), at(500));
        assert_eq!(gone, None);
        let gone = missing.see(id(2), at(0), Found::Nowhere, at(500), at(500));
        assert_eq!(gone.map(|gone| gone.state), Some(Unknown));
    }
}
