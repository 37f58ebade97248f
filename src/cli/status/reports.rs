//! What `alignd status` says about reports: when they go, what waits, and what needs a hand.

use super::Problem;
use crate::cli::page::Page;
use crate::cli::{Failure, report};
use crate::config::Config;
use crate::config::value::write_duration;
use crate::report::period::fits;
use crate::store::{InVain, Reader, Reports, ReportsError};
use crate::time::Timestamp;

/// Whether reports are on, when they go, and what waits. `reader`: of the verdicts, if there are any.
pub(super) fn reports(
    config: &Config,
    reader: Option<&Reader>,
    now: Timestamp,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    page.heading("Reports")?;
    let schedule = &config.report.schedule;
    let window = schedule.opening(now);
    if !config.report.enabled {
        page.item("sent", "none: report.enabled is false")?;
    } else {
        let stands = match window.contains(now) {
            true => format!("open until {}", window.end),
            false => format!("opens at {}", window.begin),
        };
        let (hours, zone) = (schedule.window, schedule.zone);
        page.item("sent", &format!("every night, {hours} {zone}: {stands}"))?;
    }
    // There is none before the first was built.
    let kept = Reports::open_existing(&config.store.path).ok();
    if let (true, Some(reader)) = (config.report.enabled, reader) {
        overdue(config, reader, kept.as_ref(), now, problems)?;
    }
    let Some(reports) = kept else {
        return Ok(());
    };
    let counts = reports.outbox_counts().map_err(temporary)?;
    let waiting = counts.queued.saturating_add(counts.to_verify);
    let text = format!(
        "{waiting} wait, {} refused, {} expired",
        counts.refused, counts.expired
    );
    page.item("outbox", &text)?;
    let rate = config.delivery.rate;
    let room = fits(window, now, rate);
    if waiting > room {
        let text =
            format!("{room} fit into the window at {rate} a minute; the rest waits for the next");
        page.more(&text)?;
    }
    let suppressed = reports.suppressions().map_err(temporary)?;
    let suppressed = suppressed.iter().filter(|s| s.until > Some(now)).count();
    if suppressed > 0 {
        let text = format!("{suppressed} addresses or domains: alignd suppress list");
        page.item("suppressed", &text)?;
    }
    undelivered(config, &reports, now, problems)
}

/// Days whose window is over, and that nobody built.
fn overdue(
    config: &Config,
    reader: &Reader,
    reports: Option<&Reports>,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) -> Result<(), Failure> {
    let days = report::days(reader, reports, now)?;
    let looked = match reports {
        Some(reports) => reports.looked_to().map_err(temporary)?,
        None => None,
    };
    let schedule = &config.report.schedule;
    let mut late = Vec::new();
    for day in days {
        let window = schedule.opening(schedule.due(day));
        // What came after a day's reports waits for the next window, as it should.
        if window.end <= now && report::covered(reports, day)?.is_empty() {
            late.push(day.to_string());
        }
    }
    let Some(first) = late.first() else {
        return Ok(());
    };
    problems.push(match looked {
        None => Problem {
            what: "reports are on, but nobody has looked yet for days to report".to_owned(),
            next: "systemctl reload alignd: alignd run (or alignd schedule) looks every half minute, if it \
                   knows that reports are on"
                .to_owned(),
        },
        Some(_) => Problem {
            what: match late.len() {
                1 => format!("the reports about {first} are not built, though their window is over"),
                days => format!(
                    "the reports about {days} days, {first} first, are not built, though their window is over"
                ),
            },
            next: "journalctl -u alignd tells why, or whether alignd ran that night; alignd report build makes \
                   up for it now, else the next window does"
                .to_owned(),
        },
    });
    Ok(())
}

/// Mails that don't get through.
fn undelivered(
    config: &Config,
    reports: &Reports,
    now: Timestamp,
    problems: &mut Vec<Problem>,
) -> Result<(), Failure> {
    if let Some(vain) = reports.tried_in_vain().map_err(temporary)?
        && has_stopped(&vain)
    {
        let smarthost = &config.delivery.smtp;
        problems.push(Problem {
            what: format!(
                "no report mail gets out: {} wait, the first since {}; to the last try, at {}, {smarthost} said: {}",
                vain.mails, vain.oldest, vain.last_try, vain.last_answer
            ),
            next: format!(
                "mend that server, or [delivery]; each is tried again by itself until delivery.retry_for ({}) is over",
                write_duration(config.delivery.retry_for)
            ),
        });
    }
    if let Some(expired) = reports
        .expired_since(now.plus_micros(-LATELY))
        .map_err(temporary)?
    {
        problems.push(Problem {
            what: format!(
                "{} report mails were given up in the last week after delivery.retry_for; the last answer: {}",
                expired.mails, expired.last_answer
            ),
            next: format!(
                "alignd report show {0} tells which, alignd report resend {0} sends it again",
                expired.last.0
            ),
        });
    }
    Ok(())
}

/// One domain's trouble is its own: the way out has stopped when for an hour of trying nothing else got
/// through.
fn has_stopped(vain: &InVain) -> bool {
    let since = vain
        .last_sent
        .map_or(vain.oldest, |sent| sent.max(vain.oldest));
    vain.last_try.micros().saturating_sub(since.micros()) > IN_VAIN
}

fn temporary(error: ReportsError) -> Failure {
    Failure::Temporary(error.to_string())
}

/// Microseconds of trying in vain that are a problem.
const IN_VAIN: i64 = 3_600 * 1_000_000;
/// Microseconds for which what was given up is told of.
const LATELY: i64 = 7 * 86_400 * 1_000_000;
