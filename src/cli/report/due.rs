//! `alignd report due`: days with something to report, when they are due, and why not yet.

use super::{covered, reports};
use crate::build_report::days_since;
use crate::cli::output::{Cell, Format, Listing, Screen, Tone};
use crate::cli::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::report::period::Readiness;
use crate::store::{Reader, ReportFilter, Reports};
use crate::time::{Timestamp, UtcDay};
use clap::Args;
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd report due                               which days, when, and why not yet
  alignd report due --format json | jq .waits_for

A day is a UTC day. It is due at the first moment after its end and report.settle at which the send
window is open; days that were missed are built first. domains: those with mail that no report counts
yet; not all of them ask for one. Exit codes: 0 something waits, 1 nothing does.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let reports = reports(&config)?;
    let now = now();
    let mut rows = Vec::new();
    for day in days(&reader, reports.as_ref(), now)? {
        let pending = reader.pending(day, &covered(reports.as_ref(), day)?)?;
        if !pending.domains.is_empty() {
            let late = pending.domains.iter().all(|domain| domain.after > 0);
            let built = match late {
                true => last_built(reports.as_ref(), day)?,
                false => None,
            };
            rows.push(row(&config, day, (pending.domains.len(), built), now));
        }
    }
    let exit = if rows.is_empty() { Exit::No } else { Exit::Ok };
    let mut screen = Screen::new();
    screen.listing(
        &Listing {
            keys: vec!["day", "domains", "due", "waits_for"],
            rows,
        },
        arguments.format,
    )?;
    screen.finish()?;
    Ok(exit)
}

/// Days that have outcomes which may not be covered: those that are known, and those since.
pub(in crate::cli) fn days(
    reader: &Reader,
    reports: Option<&Reports>,
    now: Timestamp,
) -> Result<BTreeSet<UtcDay>, Failure> {
    let (known, looked_to) = match reports {
        Some(reports) => (
            reports.open_days().map_err(super::BuildError::from)?,
            reports.looked_to().map_err(super::BuildError::from)?,
        ),
        None => (Vec::new(), None),
    };
    let mut days: BTreeSet<UtcDay> = known.into_iter().map(|(day, _)| day).collect();
    days_since(reader, looked_to, now.day(), |since, _| {
        days.extend(since.iter().map(|(day, _)| *day));
        Ok(())
    })?;
    Ok(days)
}

/// When the newest report about a day was built, all of which was dealt with once.
fn last_built(reports: Option<&Reports>, day: UtcDay) -> Result<Option<Timestamp>, Failure> {
    let Some(reports) = reports else {
        return Ok(None);
    };
    let newest = reports.list(&ReportFilter {
        day: Some(day),
        limit: Some(1),
        ..ReportFilter::default()
    })?;
    Ok(newest.first().map(|report| report.built))
}

fn row(
    config: &Config,
    day: UtcDay,
    (domains, built): (usize, Option<Timestamp>),
    now: Timestamp,
) -> Vec<Cell> {
    let schedule = &config.report.schedule;
    let readiness = schedule.readiness(day, now);
    let due = schedule.due(day);
    let (waits_for, tone) = match (config.report.enabled, readiness) {
        (false, _) => ("report.enabled = true".to_owned(), Tone::Quiet),
        // What comes late makes one supplement, not one at every turn.
        (true, Readiness::Ready { window })
            if built.is_some_and(|built| window.contains(built)) =>
        {
            let next = schedule.opening(window.end).begin;
            let text = format!("late verdicts: reported in the next send window, from {next}");
            (text, Tone::Plain)
        }
        (true, Readiness::Ready { .. }) => (readiness.to_string(), Tone::Good),
        (
            true,
            Readiness::DayNotOver { .. }
            | Readiness::Settling { .. }
            | Readiness::WindowClosed { .. },
        ) => (readiness.to_string(), Tone::Plain),
    };
    vec![
        Cell::new(day.to_string()),
        Cell::new(domains),
        Cell::new(due.to_string()),
        Cell::toned(waits_for, tone),
    ]
}
