//! When: which moment a UTC day's reports are due at, when the send window is open, and where in it
//! each report goes out. And when it is a time of the local day, for other daily work.
//!
//! Pure arithmetic over time zones; "now" is an argument. A day is UTC's, whatever the host's zone; the
//! window is local, because off-peak is a local word. Never decides what is in a report.

use crate::time::{Period, Timestamp, UtcDay};
use chrono::{DateTime, Duration, MappedLocalTime, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use std::fmt;

/// `report.send_window`, `report.timezone` and `report.settle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendSchedule {
    pub window: SendWindow,
    pub zone: Tz,
    /// How long after its end a day's verdicts may still come in, in microseconds.
    pub settle: i64,
}

/// A span of local time, every day: `01:00-05:00`. It may run over midnight: `22:00-02:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendWindow {
    /// Minutes since midnight, below 1,440.
    start: u16,
    /// Minutes that it lasts by the clock on the wall, 1 to 1,440.
    length: u16,
}

/// A point of every local day: `08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Minutes since midnight, below 1,440.
    minutes: u16,
}

/// Why a text is no window. The operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowError {
    NotTwoTimes,
    /// It ends when it starts.
    Empty,
}

/// Whether the reports about a day can be built now, and if not, what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    DayNotOver {
        ends: Timestamp,
    },
    /// Late verdicts are waited for, `report.settle`.
    Settling {
        until: Timestamp,
    },
    /// The send window is not open.
    WindowClosed {
        opens: Timestamp,
    },
    /// The window is open.
    Ready {
        window: Period,
    },
}

impl SendSchedule {
    /// The moment at which the reports about `day` are due: the first one not before the end of
    /// `settle` at which a window is open.
    pub fn due(&self, day: UtcDay) -> Timestamp {
        let settled = self.settled(day);
        self.opening(settled).begin.max(settled)
    }

    /// Where the reports about `day` stand at `now`. A day that was missed waits for a window too.
    pub fn readiness(&self, day: UtcDay, now: Timestamp) -> Readiness {
        let ends = day.next().begin();
        if now < ends {
            return Readiness::DayNotOver { ends };
        }
        let until = self.settled(day);
        if now < until {
            return Readiness::Settling { until };
        }
        let window = self.opening(now);
        if window.contains(now) {
            Readiness::Ready { window }
        } else {
            Readiness::WindowClosed {
                opens: window.begin,
            }
        }
    }

    /// The window that is open at `from`, or else the next one.
    pub fn opening(&self, from: Timestamp) -> Period {
        let today = utc(from).with_timezone(&self.zone).date_naive();
        // A window of the day before may still be open; where a zone left a day out, it takes longer.
        let dates = (-2..=3).filter_map(|days| today.checked_add_signed(Duration::days(days)));
        dates
            .filter_map(|date| self.window.on(date, self.zone))
            .filter(|window| from < window.end)
            .min_by_key(|window| window.begin)
            // Beyond the calendar's years there are no time zones.
            .unwrap_or(Period {
                begin: from,
                end: from.plus_micros(MICROS_PER_DAY),
            })
    }

    fn settled(&self, day: UtcDay) -> Timestamp {
        day.next().begin().plus_micros(self.settle.max(0))
    }
}

impl SendWindow {
    /// `01:00-05:00`: when most mail servers have least to do.
    pub const NIGHT: Self = Self {
        start: 60,
        length: 4 * 60,
    };

    /// Reads `HH:MM-HH:MM`; `24:00` is the end of the day, `00:00-24:00` always.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let (start, end) = text.split_once('-').ok_or(WindowError::NotTwoTimes)?;
        let start = minutes(start).filter(|start| *start < MINUTES_PER_DAY);
        let start = start.ok_or(WindowError::NotTwoTimes)?;
        let end = minutes(end).ok_or(WindowError::NotTwoTimes)?;
        let length = match end.cmp(&start) {
            std::cmp::Ordering::Greater => end - start,
            std::cmp::Ordering::Equal => return Err(WindowError::Empty),
            std::cmp::Ordering::Less => MINUTES_PER_DAY - start + end,
        };
        Ok(Self { start, length })
    }

    /// The window that starts on local `date`. One that falls into a gap of the local time starts at
    /// the first valid minute and keeps its length; one that would occur twice opens at its first
    /// occurrence and ends at its last.
    fn on(self, date: NaiveDate, zone: Tz) -> Option<Period> {
        let start = date.and_hms_opt(0, 0, 0)? + Duration::minutes(i64::from(self.start));
        let length = Duration::minutes(i64::from(self.length));
        let begin = first_valid(start, zone)?;
        let kept = (begin + length).with_timezone(&Utc);
        let end = match zone.from_local_datetime(&(start + length)) {
            _ if begin.naive_local() != start => kept,
            MappedLocalTime::None => kept,
            MappedLocalTime::Single(end) | MappedLocalTime::Ambiguous(_, end) => {
                end.with_timezone(&Utc)
            }
        };
        let window = Period {
            begin: Timestamp::from_seconds(begin.timestamp()),
            end: Timestamp::from_seconds(end.timestamp()),
        };
        (window.begin < window.end).then_some(window)
    }
}

impl TimeOfDay {
    /// `08:00`: when people begin to read their mail.
    pub const MORNING: Self = Self { minutes: 8 * 60 };

    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Option<Self> {
        let minutes = minutes(text).filter(|minutes| *minutes < MINUTES_PER_DAY)?;
        Some(Self { minutes })
    }

    /// When it was last, `now` included. In a gap of the local time it is the first valid minute behind that;
    /// where it would occur twice, only the first counts.
    pub fn last(self, now: Timestamp, zone: Tz) -> Timestamp {
        self.around(now, zone)
            .filter(|at| *at <= now)
            .max()
            .unwrap_or(now)
    }

    /// When it is next, after `now`.
    pub fn next(self, now: Timestamp, zone: Tz) -> Timestamp {
        self.around(now, zone)
            .filter(|at| now < *at)
            .min()
            // Beyond the calendar's years there are no time zones.
            .unwrap_or(now.plus_micros(MICROS_PER_DAY))
    }

    fn around(self, now: Timestamp, zone: Tz) -> impl Iterator<Item = Timestamp> {
        let today = utc(now).with_timezone(&zone).date_naive();
        let dates = (-3..=3).filter_map(move |days| today.checked_add_signed(Duration::days(days)));
        dates.filter_map(move |date| {
            let local = date.and_hms_opt(0, 0, 0)? + Duration::minutes(i64::from(self.minutes));
            let at = first_valid(local, zone)?;
            Some(Timestamp::from_seconds(at.timestamp()))
        })
    }
}

/// Which of a day's domains a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 0, in the order in which they are built.
    pub nth: u64,
    pub of: u64,
}

/// Where in what is left of a window, from `from` on, a report about the domain at `place` goes out: each has as much
/// room as the others, in their order. Which of them goes first, and where in its room each goes, is told by
/// `sender`, of whoever sends this day, and `about`, of the report: the same for the same, whoever builds it, but not
/// at all hosts of the world at the same time. The window's last tenth stays free for those that were put off.
pub fn moment_within(
    window: Period,
    from: Timestamp,
    place: Place,
    (sender, about): (&str, &str),
) -> Timestamp {
    let from = from.max(window.begin);
    let left = window.end.micros().saturating_sub(from.micros()).max(0);
    let one = i128::from(u32::MAX) + 1;
    let room = i128::from(place.nth) * one + i128::from(fraction(about));
    let turned = room / i128::from(place.of.max(1)) + i128::from(fraction(sender));
    let share = i128::from(left) * 9 / 10 * (turned % one) / one;
    from.plus_micros(i64::try_from(share).unwrap_or(0))
}

/// How many mails fit between `from` and the window's end, at `rate` a minute.
pub fn fits(window: Period, from: Timestamp, rate: u32) -> u64 {
    let from = from.max(window.begin);
    let left = window.end.micros().saturating_sub(from.micros()).max(0);
    let mails = i128::from(left) * i128::from(rate) / i128::from(MICROS_PER_MINUTE);
    u64::try_from(mails).unwrap_or(u64::MAX)
}

/// A number between 0 and `u32::MAX` from a text, the same on every host: FNV-1a, and then as MurmurHash3 ends, since
/// the last characters of a text would tell little in its upper bits.
fn fraction(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash >> 32) as u32
}

/// The local time, or the first minute after it that exists.
fn first_valid(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    (0..=MAX_GAP_MINUTES).find_map(|minutes| {
        let local = local.checked_add_signed(Duration::minutes(minutes))?;
        zone.from_local_datetime(&local).earliest()
    })
}

fn minutes(time: &str) -> Option<u16> {
    let (hours, minutes) = time.trim().split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= MINUTES_PER_DAY).then_some(time)
}

/// `at` for the calendar, within its years.
fn utc(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.seconds(), 0).unwrap_or(DateTime::UNIX_EPOCH)
}

impl fmt::Display for SendWindow {
    /// As it is set: `01:00-05:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.start + self.length {
            MINUTES_PER_DAY => MINUTES_PER_DAY,
            end => end % MINUTES_PER_DAY,
        };
        let (start_hour, start_minute) = (self.start / 60, self.start % 60);
        let (end_hour, end_minute) = (end / 60, end % 60);
        write!(
            f,
            "{start_hour:02}:{start_minute:02}-{end_hour:02}:{end_minute:02}"
        )
    }
}

impl fmt::Display for TimeOfDay {
    /// As it is set: `08:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl fmt::Display for Readiness {
    /// A sentence for `alignd report due`, without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DayNotOver { ends } => write!(f, "the UTC day lasts until {ends}"),
            Self::Settling { until } => {
                write!(
                    f,
                    "late verdicts are waited for until {until} (report.settle)"
                )
            }
            Self::WindowClosed { opens } => {
                write!(f, "the send window opens at {opens} (report.send_window)")
            }
            Self::Ready { window } => {
                write!(f, "ready: the send window is open until {}", window.end)
            }
        }
    }
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTwoTimes => "expected two local times, such as \"01:00-05:00\"",
            Self::Empty => "it ends when it starts; \"00:00-24:00\" is always",
        })
    }
}

const MINUTES_PER_DAY: u16 = 1_440;
const MICROS_PER_MINUTE: i64 = 60_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Samoa left out a whole day once.
const MAX_GAP_MINUTES: i64 = 25 * 60;
