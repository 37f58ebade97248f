//! `alignd report build`: the reports of days that are over, now; or what building would come to.

use super::{build_settings, reports};
use crate::build_report::{Builder, Built, Progress, look, plan};
use crate::cli::output::{Cell, Format, Listing, Screen};
use crate::cli::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::daemon::SystemClock;
use crate::resolver::LiveResolver;
use crate::schedule::{LiveDestinations, Notes};
use crate::send_report::Asker;
use crate::store::{Reader, Reports};
use crate::time::UtcDay;
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only this UTC day, which must be over [default: every day that is over]
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    day: Option<UtcDay>,
    /// Only list the domains and what they would get
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd report build --dry-run                which domains would be told how much
  alignd report build --day 2026-11-21         build them now, into the outbox

The dry run asks nothing of DNS: rua is what the last record seen that day says; whether other hosts
named there agree is asked when the report is built. What is built is not sent yet: that is done in the
send window. Building again builds only what came in since. Run it as the user that alignd runs as: it
writes into the store. Exit codes: 0 built or listed, 1 there was nothing to build, 4 what is stored
about a domain is damaged.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    match arguments.dry_run {
        true => list(arguments, &config, &reader),
        false => build(arguments, &config, &reader),
    }
}

fn list(arguments: &Arguments, config: &Config, reader: &Reader) -> Outcome {
    let settings = build_settings(config)?;
    let reports = reports(config)?;
    let mut rows = Vec::new();
    for day in over(
        arguments,
        super::due::days(reader, reports.as_ref(), now())?,
    )? {
        for planned in plan(&settings, reader, reports.as_ref(), day)? {
            let summary = planned.summary;
            rows.push(vec![
                Cell::new(day.to_string()),
                Cell::new(summary.policy_domain.to_string()),
                Cell::new(summary.messages),
                Cell::new(summary.left_out),
                Cell::new(summary.policies.len()),
                Cell::new(planned.came_to.as_str()),
                Cell::new(planned.rua.join(", ")),
            ]);
        }
    }
    let exit = if rows.is_empty() { Exit::No } else { Exit::Ok };
    let mut screen = Screen::new();
    let keys = vec![
        "day",
        "policy_domain",
        "messages",
        "left_out",
        "policies",
        "comes_to",
        "rua",
    ];
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    Ok(exit)
}

fn build(arguments: &Arguments, config: &Config, reader: &Reader) -> Outcome {
    let reports = Reports::open(&config.store, now())?;
    look(reader, &reports, now().day())?;
    let open = reports.open_days().map_err(super::BuildError::from)?;
    let days = over(arguments, open.into_iter().map(|(day, _)| day))?;
    let runtime = RuntimeBuilder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start: {error}")))?;
    let mut rows = Vec::new();
    let mut failed = 0;
    for day in days {
        let built = build_day(day, config, (reader, &reports), &runtime)?;
        failed += built.failed;
        if built.domains > 0 {
            rows.push(row(day, &built));
        }
    }
    let exit = if rows.is_empty() { Exit::No } else { Exit::Ok };
    let keys = vec![
        "day",
        "domains",
        "reports",
        "messages",
        "left_out",
        "dropped",
        "elsewhere",
        "failed",
    ];
    let mut screen = Screen::new();
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    match failed {
        0 => Ok(exit),
        _ => Err(Failure::Internal(format!(
            "{failed} domains' reports could not be built: what is stored about them is damaged, as told above"
        ))),
    }
}

fn build_day(
    day: UtcDay,
    config: &Config,
    (reader, reports): (&Reader, &Reports),
    runtime: &Runtime,
) -> Result<Built, Failure> {
    let settings = build_settings(config)?;
    let resolver = {
        let _within = runtime.enter();
        let resolver = LiveResolver::new(&config.dns);
        Arc::new(resolver.map_err(|error| Failure::Usage(error.to_string()))?)
    };
    let now = now();
    let builder = Builder {
        settings: &settings,
        reader,
        reports,
        destinations: &LiveDestinations {
            resolver: &resolver,
            reports,
            asker: Asker {
                report_domain: &settings.reporter.domain,
                max_destinations: config.report.max_destinations,
                now,
            },
            day,
            window: config.report.schedule.opening(now),
            notes: Notes::default(),
        },
        runtime: runtime.handle(),
        clock: &SystemClock,
    };
    let shown = std::io::stderr().is_terminal();
    let built = builder.build_day(day, |progress| show(shown, day, progress))?;
    if shown {
        eprintln!();
    }
    Ok(built)
}

/// The days that are asked for, but for those that are not over.
fn over(
    arguments: &Arguments,
    days: impl IntoIterator<Item = UtcDay>,
) -> Result<Vec<UtcDay>, Failure> {
    let today = now().day();
    if let Some(day) = arguments.day {
        if day >= today {
            let text = format!("{day} is not over yet: reports are about whole UTC days");
            return Err(Failure::Usage(text));
        }
        return Ok(vec![day]);
    }
    Ok(days.into_iter().filter(|day| *day < today).collect())
}

/// A bar at a terminal.
fn show(shown: bool, day: UtcDay, progress: Progress) {
    if !shown {
        return;
    }
    let done = progress.done * BAR / progress.domains.max(1);
    let bar: String = (0..BAR)
        .map(|at| if at < done { '#' } else { '.' })
        .collect();
    let line = format!(
        "\r{day} [{bar}] {} of {} domains",
        progress.done, progress.domains
    );
    // The bar is a courtesy.
    _ = std::io::stderr().write_all(line.as_bytes());
}

fn row(day: UtcDay, built: &Built) -> Vec<Cell> {
    vec![
        Cell::new(day.to_string()),
        Cell::new(built.domains),
        Cell::new(built.reports),
        Cell::new(built.messages),
        Cell::new(built.left_out),
        Cell::new(built.dropped),
        Cell::new(built.elsewhere),
        Cell::new(built.failed),
    ]
}

/// Characters of the bar.
const BAR: u64 = 40;
