//! Points, spans and days of time: `Timestamp` (UTC, microseconds), `Period`, `UtcDay`, and `Clock`,
//! the argument through which "now" reaches whoever may ask for it.
//!
//! Owns their arithmetic and their RFC 3339 text. Never reads the system's clock: entrances do.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A day of the UTC calendar, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UtcDay(i32);

/// From `begin` on, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    pub begin: Timestamp,
    pub end: Timestamp,
}

/// Where "now" comes from: the system in the daemon, a fixed point in tests.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down, as SPF's `%{t}` and DKIM's `t=` and `x=` count them.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole milliseconds, rounded down, as UUIDv7 counts them.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The UTC day this point lies in.
    pub const fn day(self) -> UtcDay {
        UtcDay(self.0.div_euclid(MICROS_PER_DAY) as i32)
    }

    /// This point moved by `micros`, which may be negative.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Reads `2026-11-22`, `2026-11-22T16:30:00Z` and fractions of a second, up to microseconds.
    /// Only UTC (`Z`) is taken; `None` for anything else.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once(['T', 't', ' ']) {
            Some((date, time)) => (date, Some(time.strip_suffix(['Z', 'z'])?)),
            None => (text, None),
        };
        let day = UtcDay::parse(date)?;
        let micros = time.map_or(Some(0), micros_of_day)?;
        Some(Self(i64::from(day.0) * MICROS_PER_DAY + micros))
    }
}

impl Period {
    pub fn contains(&self, at: Timestamp) -> bool {
        self.begin <= at && at < self.end
    }
}

impl UtcDay {
    pub const fn from_number(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The first moment of the day, 00:00 UTC.
    pub const fn begin(self) -> Timestamp {
        Timestamp(self.0 as i64 * MICROS_PER_DAY)
    }

    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let year = digits(parts.next()?, 4)?;
        let month = digits(parts.next()?, 2)?;
        let day = digits(parts.next()?, 2)?;
        let number = days_from_civil(year, month, day)?;
        (civil_from_days(number) == (year, month, day)).then_some(Self(number as i32))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T16:30:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_day = self.0.rem_euclid(MICROS_PER_DAY);
        let (seconds, micros) = (in_day / 1_000_000, in_day % 1_000_000);
        let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{}T{h:02}:{m:02}:{s:02}.{:03}Z",
            self.day(),
            micros / 1000
        )
    }
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

fn micros_of_day(time: &str) -> Option<i64> {
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.splitn(3, ':');
    let h = digits(parts.next()?, 2)?;
    let m = digits(parts.next()?, 2)?;
    let s = match parts.next() {
        Some(text) => digits(text, 2)?,
        None => 0,
    };
    if h > 23 || m > 59 || s > 60 || fraction.len() > 6 {
        return None;
    }
    let micros = match fraction {
        "" => 0,
        _ => digits(fraction, fraction.len())? * 10_i64.pow(6 - fraction.len() as u32),
    };
    Some(((h * 60 + m) * 60 + s.min(59)) * 1_000_000 + micros)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + carry, month, day)
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        for (input, expected) in [
            ("2026-11-22T16:30:00Z", "2026-11-22T16:30:00.000Z"),
            ("2026-11-22", "2026-11-22T00:00:00.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("2024-02-29T00:00:00.123456Z", "2024-02-29T00:00:00.123Z"),
            ("2000-03-01 01:02Z", "2000-03-01T01:02:00.000Z"),
        ] {
            assert_eq!(
                Timestamp::parse_rfc3339(input).unwrap().to_string(),
                expected
            );
        }
        for input in [
            "2026-02-29",
            "2026-11-22T16:30:00",
            "2026-1-1",
            "x",
            "2026-11-22T24:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(input), None, "{input}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        for number in -146_097..146_097 {
            let day = UtcDay::from_number(number);
            assert_eq!(day.begin().day(), day);
            assert_eq!(day.begin().plus_micros(-1).day().number(), number - 1);
            if number >= -719_000 {
                assert_eq!(UtcDay::parse(&day.to_string()), Some(day));
            }
        }
    }
}
