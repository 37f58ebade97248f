//! The time zone of this host: classic syslog stamps are in its local time.
//!
//! Reads `/etc/localtime`, as zdump and systemd understand it: a link into the time zone database. Where it is a
//! copy, `/etc/timezone` has the name, if anything has.

use crate::time::Timestamp;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::fs;
use std::path::Path;
use tracing::warn;

/// The zone that the host is in; UTC where nothing says so, which is logged.
pub fn system_zone() -> Tz {
    let link = fs::read_link("/etc/localtime").ok();
    let text = fs::read_to_string("/etc/timezone").ok();
    named(link.as_deref(), text.as_deref()).unwrap_or_else(|| {
        let is_there = fs::exists("/etc/localtime").unwrap_or(false);
        if is_there {
            warn!(
                "neither the link /etc/localtime nor /etc/timezone names a time zone: local times are taken for UTC; run timedatectl set-timezone"
            );
        }
        Tz::UTC
    })
}

/// By the link first: the other file may have been left behind.
fn named(link: Option<&Path>, text: Option<&str>) -> Option<Tz> {
    let linked = link.and_then(name_of);
    let names = [linked, text.map(str::trim)];
    names
        .into_iter()
        .flatten()
        .find_map(|name| name.parse().ok())
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
    fn a_copy_is_named_by_the_other_file() {
        let berlin = Some("/usr/share/zoneinfo/Europe/Berlin");
        for (link, text, expected) in [
            (berlin, None, Some(Tz::Europe__Berlin)),
            (berlin, Some("America/New_York\n"), Some(Tz::Europe__Berlin)),
            (
                None,
                Some("America/New_York\n"),
                Some(Tz::America__New_York),
            ),
            (Some("/etc/other"), Some("Etc/UTC"), Some(Tz::Etc__UTC)),
            (None, Some("Nowhere/At_All\n"), None),
            (None, None, None),
        ] {
            assert_eq!(
                named(link.map(Path::new), text),
                expected,
                "{link:?} {text:?}"
            );
        }
    }

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
