//! How long until something is tried again: doubling, within bounds.

use crate::time::Timestamp;
use std::time::Duration;

/// A series of delays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delays {
    /// In seconds.
    pub first: i64,
    pub longest: i64,
}

/// A mail that was deferred, or a destination that DNS said nothing about.
pub(super) const RETRY: Delays = Delays {
    first: 5 * 60,
    longest: 4 * 3_600,
};
/// A smarthost that takes nothing.
pub(super) const SERVER: Delays = Delays {
    first: 60,
    longest: 15 * 60,
};
/// A destination that did not agree.
pub(super) const CONSENT: Delays = Delays {
    first: 86_400,
    longest: 7 * 86_400,
};
/// An address whose mail fails.
pub(super) const SUPPRESSION: Delays = Delays {
    first: 7 * 86_400,
    longest: 180 * 86_400,
};

impl Delays {
    /// When, after the `nth` time (from 1).
    pub fn after(self, nth: u32, now: Timestamp) -> Timestamp {
        let doublings = nth.saturating_sub(1).min(30);
        let seconds = self.first.saturating_mul(1 << doublings).min(self.longest);
        now.plus_micros(seconds.saturating_mul(1_000_000))
    }
}

/// `now` and so much later.
pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.plus_micros(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_bounds() {
        let minutes = |nth| RETRY.after(nth, Timestamp::from_seconds(0)).seconds() / 60;
        for (nth, expected) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (6, 160),
            (7, 240),
            (u32::MAX, 240),
        ] {
            assert_eq!(minutes(nth), expected, "{nth}");
        }
    }
}
