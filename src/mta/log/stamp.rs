//! The time at the beginning of a log line, in the two forms that syslog daemons write. Pure.

use crate::time::{Timestamp, UtcDay};

/// When a line was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// An RFC 3339 stamp: `2026-11-22T14:04:12.123456+01:00`.
    At(Timestamp),
    /// A classic one, `Nov 22 14:04:12`: local time without a year.
    Local {
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// Of the day.
        second: u32,
    },
}

impl Stamp {
    /// The point in time: for a local stamp the last one before `now` (or within a day after it, for clocks
    /// that differ), `utc_offset` seconds east of UTC.
    pub fn near(self, now: Timestamp, utc_offset: i32) -> Timestamp {
        let (month, day, second) = match self {
            Self::At(at) => return at,
            Self::Local { month, day, second } => (month, day, second),
        };
        let offset = i64::from(utc_offset) * 1_000_000;
        let latest = now.plus_micros(MICROS_PER_DAY);
        let this_year = latest.plus_micros(offset).day().to_string();
        let this_year: i64 = this_year
            .split('-')
            .next()
            .and_then(|year| year.parse().ok())
            .unwrap_or(1970);
        // A 29th of February may be eight years ago.
        let years = (0..=8).map(|back| this_year - back);
        let points = years.filter_map(|year| {
            let begin = UtcDay::parse(&format!("{year:04}-{month:02}-{day:02}"))?.begin();
            Some(begin.plus_micros(i64::from(second) * 1_000_000 - offset))
        });
        points
            .into_iter()
            .find(|point| *point <= latest)
            .unwrap_or(now)
    }
}

/// The stamp, and the line behind it and one blank.
pub fn read(line: &str) -> Option<(Stamp, &str)> {
    if line.starts_with(|c: char| c.is_ascii_digit()) {
        let (stamp, rest) = line.split_once(' ')?;
        return Some((Stamp::At(rfc3339(stamp)?), rest));
    }
    // As programs hand their lines to the log: with the priority before.
    let line = match line.strip_prefix('<').and_then(|line| line.split_once('>')) {
        Some((priority, rest)) if priority.bytes().all(|b| b.is_ascii_digit()) => rest,
        Some(_) | None => line,
    };
    let (stamp, rest) = line.split_at_checked(15)?;
    Some((classic(stamp)?, rest.strip_prefix(' ')?))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    if text.ends_with(['Z', 'z']) {
        return Timestamp::parse_rfc3339(text);
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, zone) = zone.split_at_checked(1)?;
    let (hours, minutes) = zone.split_once(':')?;
    let minutes = i64::from(number(hours, 23)?) * 60 + i64::from(number(minutes, 59)?);
    let east = match sign {
        "+" => minutes,
        "-" => -minutes,
        _ => return None,
    };
    let local = Timestamp::parse_rfc3339(&format!("{local}Z"))?;
    Some(local.plus_micros(-east * 60_000_000))
}

/// `Nov 22 14:04:12`, the day with a blank before it if it is below 10.
fn classic(text: &str) -> Option<Stamp> {
    let (month, rest) = text.split_once(' ')?;
    let (day, clock) = rest.trim_start_matches(' ').split_once(' ')?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let mut parts = clock.split(':');
    let mut part = |highest| number(parts.next()?, highest);
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(60)?);
    if parts.next().is_some() {
        return None;
    }
    Some(Stamp::Local {
        month: u8::try_from(month + 1).ok()?,
        day: u8::try_from(number(day, 31)?).ok().filter(|day| *day > 0)?,
        second: (hours * 60 + minutes) * 60 + seconds,
    })
}

/// One digit or two.
fn number(text: &str, highest: u32) -> Option<u32> {
    let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (number <= highest).then_some(number)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const MICROS_PER_DAY: i64 = 86_400_000_000;
