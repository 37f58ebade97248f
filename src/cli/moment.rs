//! Points in time as people give them: `2h` ago, a date, an RFC 3339 time.

use crate::config::value::duration;
use crate::time::Timestamp;
use std::time::Duration;

/// A point in time, fixed or counted back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(Timestamp),
}

impl Moment {
    /// Reads `30m`, `2h`, `3d`; `2026-11-22` (its first moment, UTC); `2026-11-22T16:30:00Z`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(ago) = duration(text) {
            return Ok(Self::Ago(ago));
        }
        Timestamp::parse_rfc3339(text).map(Self::At).ok_or_else(|| {
            "write 2h or 3d for that long ago, 2026-11-22, or 2026-11-22T16:30:00Z (UTC)".to_owned()
        })
    }

    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(point) => point,
            Self::Ago(ago) => {
                let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
                now.plus_micros(micros.saturating_neg())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_back_or_takes_the_date() {
        let now = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        for (text, expected) in [
            ("2h", "2026-11-22T10:00:00.000Z"),
            ("3d", "2026-11-19T12:00:00.000Z"),
            ("1h30m", "2026-11-22T10:30:00.000Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
            ("2026-11-01T07:08:09Z", "2026-11-01T07:08:09.000Z"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!(moment.before(now).to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "2", "2026-13-01", "-2h"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}
