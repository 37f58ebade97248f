//! The time zone of this host: classic syslog stamps are in its local time.
//!
//! Reads `/etc/localtime`, as zdump and systemd understand it: a link into the time zone database.

use crate::time::Timestamp;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::fs;
use std::path::Path;

/// The zone that the host is in; UTC where nothing says so.
pub fn system_zone() -> Tz {
    let link = fs::read_link("/etc/localtime").ok();
    let name = link.as_deref().and_then(name_of);
    name.and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// What stands behind `zoneinfo/`.
fn name_of(link: &Path) -> Option<&str> {
    Some(link.to_str()?.rsplit_once("zoneinfo/")?.1)
}

/// Seconds east of UTC at this point.
pub fn offset(zone: Tz, at: Timestamp) -> i32 {
    let at = DateTime::from_timestamp_micros(at.micros()).unwrap_or_default();
    zone.offset_from_utc_datetime(&at.naive_utc())
        .fix()
        .local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_by_their_links() {
        for (link, expected) in [
            ("/usr/share/zoneinfo/Europe/Berlin", Some("Europe/Berlin")),
            ("../usr/share/zoneinfo/Etc/UTC", Some("Etc/UTC")),
            ("/etc/other", None),
        ] {
            assert_eq!(name_of(Path::new(link)), expected);
        }
        for (at, expected) in [
            ("2026-11-22T12:00:00Z", 3_600),
            ("2026-07-22T12:00:00Z", 7_200),
        ] {
            let at = Timestamp::parse_rfc3339(at).expect("it is a time");
            assert_eq!(offset(chrono_tz::Europe::Berlin, at), expected);
        }
    }
}
