//! So many mails a minute: `delivery.rate`.
//!
//! Pure. What was not used is kept for some seconds only, so that a pause is followed by no burst.

use crate::time::Timestamp;

/// How many mails may go by now.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Between two mails, at least 1.
    interval: i64,
    /// When the next mail may go, as if there had been no pause.
    next: Timestamp,
}

impl Pace {
    /// `rate` a minute; 0 counts as 1.
    pub fn new(rate: u32) -> Self {
        Self {
            interval: (MINUTE / i64::from(rate.max(1))).max(1),
            next: Timestamp::from_micros(i64::MIN),
        }
    }

    /// When the next mail may go.
    pub fn ready(&self) -> Timestamp {
        self.next
    }

    /// Counts a mail that goes at `now`.
    pub fn spend(&mut self, now: Timestamp) {
        // A clock that was put back must not stop mail for as long as it was ahead.
        let earliest = now.plus_micros(-BURST);
        let latest = now.plus_micros(self.interval);
        self.next = self.next.clamp(earliest, latest).plus_micros(self.interval);
    }
}

const MINUTE: i64 = 60_000_000;
/// Mail of at most so much time may go at once.
const BURST: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    /// Mails that go when somebody asks every second for `seconds` and sends all that may go.
    fn sent(pace: &mut Pace, from: i64, seconds: i64) -> usize {
        let mut count = 0;
        for second in from..from + seconds {
            while pace.ready() <= at(second) {
                pace.spend(at(second));
                count += 1;
            }
        }
        count
    }

    #[test]
    fn the_rate_holds_over_a_minute_and_after_a_pause() {
        for (rate, in_a_minute, in_the_next) in [
            (60, 71, 60),
            (600, 701, 600),
            (6, 8, 6),
            (1, 2, 1),
            (0, 2, 1),
        ] {
            let mut pace = Pace::new(rate);
            let first = sent(&mut pace, 0, 60);
            assert!(first <= in_a_minute, "{rate}: {first}");
            assert_eq!(sent(&mut pace, 60, 60), in_the_next, "{rate}");
            let after_an_hour = sent(&mut pace, 4_000, 60);
            assert!(after_an_hour <= in_a_minute, "{rate}: {after_an_hour}");
        }
    }

    #[test]
    fn a_clock_put_back_delays_no_more_than_one_interval() {
        let mut pace = Pace::new(60);
        pace.spend(at(100_000));
        pace.spend(at(0));
        assert!(pace.ready() <= at(2), "{:?}", pace.ready());
    }
}
