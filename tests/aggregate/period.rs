//! Days and windows: the instants at which reports are due, in zones that make it hard. The expected
//! ones were worked out apart, with Python's zoneinfo.

use alignd::report::period::{
    Place, Readiness, SendSchedule, SendWindow, TimeOfDay, fits, moment_within,
};
use alignd::time::{Period, Timestamp, UtcDay};
use proptest::prelude::*;
use std::collections::HashSet;

const MINUTE: i64 = 60_000_000;

fn schedule(window: &str, zone: &str, settle_minutes: i64) -> SendSchedule {
    SendSchedule {
        window: SendWindow::parse(window).unwrap(),
        zone: zone.parse().unwrap(),
        settle: settle_minutes * MINUTE,
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{text}Z")).unwrap()
}

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

#[test]
fn days_are_due_at() {
    for (window, zone, settle, of, expected) in [
        // Summer: the window is 23:00-03:00 UTC, open already when the day has settled.
        (
            "01:00-05:00",
            "Europe/Berlin",
            15,
            "2026-07-01",
            "2026-07-02T00:15",
        ),
        (
            "01:00-05:00",
            "Europe/Berlin",
            15,
            "2026-01-10",
            "2026-01-11T00:15",
        ),
        // Settled after the summer's window has closed at 03:00 UTC.
        (
            "01:00-05:00",
            "Europe/Berlin",
            200,
            "2026-07-01",
            "2026-07-02T23:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            15,
            "2026-03-07",
            "2026-03-08T06:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            15,
            "2026-03-08",
            "2026-03-09T05:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            15,
            "2026-10-31",
            "2026-11-01T05:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            15,
            "2026-11-01",
            "2026-11-02T06:00",
        ),
        // A gap: 02:15 doesn't exist, the first valid minute is 03:00 EDT.
        (
            "02:15-02:45",
            "America/New_York",
            15,
            "2026-03-07",
            "2026-03-08T07:00",
        ),
        // A fold: 01:15 is twice, the first time in EDT.
        (
            "01:15-01:45",
            "America/New_York",
            15,
            "2026-10-31",
            "2026-11-01T05:15",
        ),
        // Over midnight: open from 21:00 to 01:00 UTC.
        (
            "22:00-02:00",
            "Europe/Berlin",
            15,
            "2026-01-10",
            "2026-01-11T00:15",
        ),
        (
            "22:00-02:00",
            "Europe/Berlin",
            120,
            "2026-01-10",
            "2026-01-11T21:00",
        ),
        (
            "01:00-05:00",
            "Asia/Kathmandu",
            15,
            "2026-05-05",
            "2026-05-06T19:15",
        ),
        (
            "01:00-05:00",
            "Pacific/Kiritimati",
            15,
            "2026-05-05",
            "2026-05-06T11:00",
        ),
        // The same day, before and after a reload that changes the zone.
        ("01:00-05:00", "UTC", 15, "2026-05-05", "2026-05-06T01:00"),
        (
            "01:00-05:00",
            "America/Los_Angeles",
            15,
            "2026-05-05",
            "2026-05-06T08:00",
        ),
        // Samoa had no 2011-12-30: a window of that day opens with the next.
        (
            "00:00-04:00",
            "Pacific/Apia",
            15,
            "2011-12-29",
            "2011-12-30T10:00",
        ),
        (
            "00:00-24:00",
            "Asia/Tokyo",
            15,
            "2026-05-05",
            "2026-05-06T00:15",
        ),
        ("01:00-05:00", "UTC", 0, "2024-02-28", "2024-02-29T01:00"),
    ] {
        let found = schedule(window, zone, settle).due(day(of));
        assert_eq!(found, at(expected), "{of} in {window} {zone}: {found}");
    }
}

#[test]
fn windows_open_and_close_at() {
    for (window, zone, from, begin, end) in [
        (
            "01:00-05:00",
            "Europe/Berlin",
            "2026-07-01T12:00",
            "2026-07-01T23:00",
            "2026-07-02T03:00",
        ),
        // Across the change the wall clock rules: three hours in spring, five in autumn.
        (
            "01:00-05:00",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-29T00:00",
            "2026-03-29T03:00",
        ),
        (
            "01:00-05:00",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-24T23:00",
            "2026-10-25T04:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            "2026-03-08T00:00",
            "2026-03-08T06:00",
            "2026-03-08T09:00",
        ),
        (
            "01:00-05:00",
            "America/New_York",
            "2026-11-01T00:00",
            "2026-11-01T05:00",
            "2026-11-01T10:00",
        ),
        (
            "01:00-05:00",
            "Australia/Lord_Howe",
            "2026-04-04T12:00",
            "2026-04-04T14:00",
            "2026-04-04T18:30",
        ),
        // Starts in a gap, and keeps its length.
        (
            "02:15-02:45",
            "America/New_York",
            "2026-03-08T00:00",
            "2026-03-08T07:00",
            "2026-03-08T07:30",
        ),
        // Ends in a gap: 02:30 doesn't exist.
        (
            "01:00-02:30",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-29T00:00",
            "2026-03-29T01:30",
        ),
        // Twice: from the first 01:15 to the last 01:45.
        (
            "01:15-01:45",
            "America/New_York",
            "2026-11-01T00:00",
            "2026-11-01T05:15",
            "2026-11-01T06:45",
        ),
        // Open since yesterday.
        (
            "22:00-02:00",
            "Europe/Berlin",
            "2026-01-11T00:59",
            "2026-01-10T21:00",
            "2026-01-11T01:00",
        ),
        (
            "22:00-02:00",
            "Europe/Berlin",
            "2026-01-11T01:00",
            "2026-01-11T21:00",
            "2026-01-12T01:00",
        ),
        (
            "00:00-24:00",
            "UTC",
            "2026-01-11T00:00",
            "2026-01-11T00:00",
            "2026-01-12T00:00",
        ),
    ] {
        let found = schedule(window, zone, 0).opening(at(from));
        let expected = Period {
            begin: at(begin),
            end: at(end),
        };
        assert_eq!(found, expected, "{window} {zone} from {from}");
    }
}

#[test]
fn a_day_says_what_it_waits_for() {
    let schedule = schedule("01:00-05:00", "UTC", 90);
    for (now, expected) in [
        (
            "2026-05-05T23:59",
            "the UTC day lasts until 2026-05-06T00:00:00.000Z",
        ),
        (
            "2026-05-06T01:10",
            "late verdicts are waited for until 2026-05-06T01:30:00.000Z (report.settle)",
        ),
        (
            "2026-05-06T01:30",
            "ready: the send window is open until 2026-05-06T05:00:00.000Z",
        ),
        (
            "2026-05-06T05:00",
            "the send window opens at 2026-05-07T01:00:00.000Z (report.send_window)",
        ),
    ] {
        let found = schedule.readiness(day("2026-05-05"), at(now));
        assert_eq!(found.to_string(), expected, "{now}");
    }
}

/// After a week without alignd all its days wait for the same window, and today still isn't over.
#[test]
fn a_weeks_downtime_is_made_up_in_the_next_window() {
    let schedule = schedule("01:00-05:00", "Europe/Berlin", 15);
    let (noon, night) = (at("2026-05-12T12:00"), at("2026-05-13T00:20"));
    let first = day("2026-05-05").number();
    for number in first..first + 7 {
        let missed = UtcDay::from_number(number);
        let opens = at("2026-05-12T23:00");
        assert_eq!(
            schedule.readiness(missed, noon),
            Readiness::WindowClosed { opens }
        );
        assert!(matches!(
            schedule.readiness(missed, night),
            Readiness::Ready { .. }
        ));
        // The clock set back by a month: nothing is built, nothing is lost.
        let back = schedule.readiness(missed, at("2026-04-12T02:00"));
        assert!(matches!(back, Readiness::DayNotOver { .. }));
    }
}

#[test]
fn windows_are_read_and_written() {
    for (text, expected) in [
        ("01:00-05:00", Ok("01:00-05:00")),
        ("22:00 - 02:30", Ok("22:00-02:30")),
        ("00:00-24:00", Ok("00:00-24:00")),
        ("12:00-00:00", Ok("12:00-24:00")),
        (
            "01:00-01:00",
            Err("it ends when it starts; \"00:00-24:00\" is always"),
        ),
        (
            "1:00-5:00",
            Err("expected two local times, such as \"01:00-05:00\""),
        ),
        (
            "24:00-05:00",
            Err("expected two local times, such as \"01:00-05:00\""),
        ),
        (
            "01:60-05:00",
            Err("expected two local times, such as \"01:00-05:00\""),
        ),
        (
            "01:00-24:01",
            Err("expected two local times, such as \"01:00-05:00\""),
        ),
        (
            "01:00",
            Err("expected two local times, such as \"01:00-05:00\""),
        ),
        ("", Err("expected two local times, such as \"01:00-05:00\"")),
    ] {
        let found = SendWindow::parse(text);
        let found = found.map(|w| w.to_string()).map_err(|e| e.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

/// What is left of four hours, a thousand reports: every tenth of the first nine tenths gets its share, in the order of
/// the domains but for where it begins anew.
#[test]
fn reports_are_spread_over_the_window() {
    let mut tenths = [0; 10];
    let moments = moments_of(1000, "mx.example 20579");
    assert_eq!(moments, moments_of(1000, "mx.example 20579"));
    for moment in &moments {
        let share = moment * 10 / (180 * MINUTE);
        tenths[usize::try_from(share).unwrap()] += 1;
    }
    assert_eq!(tenths[9], 0, "the last tenth is kept free");
    for count in &tenths[..9] {
        assert!((110..114).contains(count), "{tenths:?}");
    }
    let steps_back = moments.windows(2).filter(|pair| pair[1] < pair[0]);
    assert!(steps_back.count() <= 1, "{moments:?}");
}

/// Neither do all hosts of the world write to the same domain at the same time, nor one host every day, nor one that
/// has a single report at a time of its own.
#[test]
fn whoever_sends_has_an_order_of_its_own() {
    for domains in [1, 7, 1000] {
        let mut tenths = [0; 10];
        for nth in 0..1000 {
            let moments = moments_of(domains, &format!("mx{}.example {}", nth % 100, nth / 100));
            tenths[usize::try_from(moments[0] * 10 / (180 * MINUTE)).unwrap()] += 1;
        }
        assert_eq!(tenths[9], 0, "the last tenth is kept free");
        for count in &tenths[..9] {
            assert!((70..160).contains(count), "{domains}: {tenths:?}");
        }
    }
    let alone = |nth: u64| moment_of(Place { nth: 0, of: 1 }, ("mx.example 7", nth));
    let moments: HashSet<i64> = (0..100).map(alone).collect();
    assert_eq!(moments.len(), 100);
}

/// When each of these many reports goes out, in microseconds after the build.
fn moments_of(domains: u64, sender: &str) -> Vec<i64> {
    let places = (0..domains).map(|nth| Place { nth, of: domains });
    places
        .map(|place| moment_of(place, (sender, place.nth)))
        .collect()
}

fn moment_of(place: Place, (sender, about): (&str, u64)) -> i64 {
    let window = Period {
        begin: at("2026-05-06T01:00"),
        end: at("2026-05-06T05:00"),
    };
    let from = at("2026-05-06T02:00");
    let about = format!("{about}.example");
    let moment = moment_within(window, from, place, (sender, &about));
    moment.micros() - from.micros()
}

#[test]
fn what_fits_into_the_rest_of_a_window() {
    let window = Period {
        begin: at("2026-05-06T01:00"),
        end: at("2026-05-06T05:00"),
    };
    for (from, rate, expected) in [
        ("2026-05-06T00:00", 60, 14_400),
        ("2026-05-06T01:00", 60, 14_400),
        ("2026-05-06T04:59", 60, 60),
        ("2026-05-06T05:00", 60, 0),
        ("2026-05-07T00:00", 60, 0),
        ("2026-05-06T01:00", 0, 0),
    ] {
        assert_eq!(fits(window, at(from), rate), expected, "{from} {rate}");
    }
}

fn zones() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(chrono_tz::TZ_VARIANTS.map(chrono_tz::Tz::name).to_vec())
}

proptest! {
    /// In every zone there is, at every time of a century: a window comes, it is in order, and a day is
    /// due only after it is over, inside a window, and then stays so until the window closes.
    #[test]
    fn every_day_comes_due(
        zone in zones(),
        start in 0..1440_u16,
        length in 1..1440_u16,
        settle in 0..3000_i64,
        number in 0..36_500,
        minute in 0..1440_i64,
    ) {
        let end = (start + length) % 1440;
        prop_assume!(end != start);
        let window = format!("{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60);
        let schedule = schedule(&window, zone, settle);
        let day = UtcDay::from_number(number);
        let from = day.begin().plus_micros(minute * MINUTE);
        let opening = schedule.opening(from);
        prop_assert!(opening.begin < opening.end && from < opening.end);
        // A day, and the day that some zones left out once.
        prop_assert!(opening.begin <= from.plus_micros(49 * 60 * MINUTE));
        let due = schedule.due(day);
        let settled = day.next().begin().plus_micros(settle * MINUTE);
        prop_assert!(due >= settled);
        let ready = matches!(schedule.readiness(day, due), Readiness::Ready { .. });
        prop_assert!(ready);
        if due > settled {
            let before = schedule.readiness(day, due.plus_micros(-1));
            let ready = matches!(before, Readiness::Ready { .. });
            prop_assert!(!ready);
        }
    }
}

/// A time of the local day, the zone, now, when it was last and when it is next.
#[test]
fn times_of_day_were_and_will_be() {
    for (time, zone, now, last, next) in [
        (
            "08:00",
            "UTC",
            "2026-03-01T08:00",
            "2026-03-01T08:00",
            "2026-03-02T08:00",
        ),
        (
            "08:00",
            "UTC",
            "2026-03-01T07:59",
            "2026-02-28T08:00",
            "2026-03-01T08:00",
        ),
        (
            "08:00",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-28T07:00",
            "2026-03-29T06:00",
        ),
        (
            "08:00",
            "America/New_York",
            "2026-11-01T12:59",
            "2026-10-31T12:00",
            "2026-11-01T13:00",
        ),
        // Left out: the first minute behind the gap.
        (
            "02:30",
            "Europe/Berlin",
            "2026-03-29T01:00",
            "2026-03-29T01:00",
            "2026-03-30T00:30",
        ),
        // Twice: the first.
        (
            "02:30",
            "Europe/Berlin",
            "2026-10-25T01:45",
            "2026-10-25T00:30",
            "2026-10-26T01:30",
        ),
        // Midnight in a zone whose clocks change at midnight.
        (
            "00:00",
            "America/Santiago",
            "2026-09-06T03:59",
            "2026-09-05T04:00",
            "2026-09-06T04:00",
        ),
        // A day that Samoa left out.
        (
            "08:00",
            "Pacific/Apia",
            "2011-12-30T09:59",
            "2011-12-29T18:00",
            "2011-12-30T10:00",
        ),
    ] {
        let (at_time, zone) = (TimeOfDay::parse(time).unwrap(), zone.parse().unwrap());
        assert_eq!(at_time.to_string(), time);
        let found = (at_time.last(at(now), zone), at_time.next(at(now), zone));
        assert_eq!(found, (at(last), at(next)), "{time} {zone} {now}");
    }
    for wrong in ["", "8:00", "24:00", "08:60", "08", "08:00:00", "-1:00"] {
        assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
    }
}
