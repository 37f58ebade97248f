//! `alignd report list`: the reports that were built, newest first.

use super::{day, kept};
use crate::cli::output::{Cell, Format, Listing, Screen, Tone};
use crate::cli::{Exit, Outcome, settings};
use crate::domain::DomainName;
use crate::store::{OutboxEntry, OutboxState, ReportFilter};
use crate::time::UtcDay;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// About this UTC day
    #[arg(long, value_name = "DAY", value_parser = day)]
    day: Option<UtcDay>,
    /// About this DMARC Policy Domain
    #[arg(long, value_name = "DOMAIN", value_parser = kept::domain)]
    domain: Option<DomainName>,
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd report list --day 2026-11-21                  what was said about yesterday, and to how many
  alignd report list --domain example.com
  alignd report list --format json | jq .report_id

delivered: destinations that have it; waiting: those it is still on its way to. Exit codes: 0 listed, 1
there are none.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    let found = reports.list(&ReportFilter {
        day: arguments.day,
        policy_domain: arguments.domain.clone(),
        below: None,
        limit: Some(arguments.limit),
    })?;
    let mut rows = Vec::with_capacity(found.len());
    for report in &found {
        let outbox = reports.outbox_of(report.number)?;
        let delivered = count(&outbox, |state| state == OutboxState::Sent);
        let waiting = count(&outbox, OutboxState::waits);
        let tone = if delivered + waiting < outbox.len() {
            Tone::Doubtful
        } else {
            Tone::Plain
        };
        rows.push(vec![
            Cell::new(report.number.0),
            Cell::new(report.head.day.to_string()),
            Cell::new(report.head.policy_domain.as_str()),
            Cell::new(report.messages),
            Cell::new(report.rows),
            Cell::new(report.octets),
            Cell::new(outbox.len()),
            Cell::toned(delivered, tone),
            Cell::new(waiting),
            Cell::toned(report.head.id.to_string(), Tone::Quiet),
        ]);
    }
    let exit = if rows.is_empty() { Exit::No } else { Exit::Ok };
    let keys = vec![
        "number",
        "day",
        "policy_domain",
        "messages",
        "rows",
        "octets",
        "destinations",
        "delivered",
        "waiting",
        "report_id",
    ];
    let mut screen = Screen::new();
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    Ok(exit)
}

fn count(outbox: &[OutboxEntry], is_it: impl Fn(OutboxState) -> bool) -> usize {
    outbox.iter().filter(|entry| is_it(entry.state)).count()
}
