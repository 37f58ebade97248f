//! `alignd report list`: the reports that were built, newest first.

use super::{day, kept};
use crate::cli::output::{Cell, Format, Listing, Screen, Tone};
use crate::cli::{Exit, Failure, Outcome, sentences, settings};
use crate::domain::DomainName;
use crate::store::{CameTo, Covered, OutboxEntry, OutboxState, ReportFilter, Reports};
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
    /// What got no report instead, and why not
    #[arg(long)]
    not_reported: bool,
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
  alignd report list --not-reported                    domains without one, and why

delivered: destinations that have it; waiting: those it is still on its way to. Exit codes: 0 listed, 1
there are none.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    if arguments.not_reported {
        return list_not_reported(arguments, &reports);
    }
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

fn list_not_reported(arguments: &Arguments, reports: &Reports) -> Outcome {
    let domain = arguments.domain.as_ref();
    let mut rows = Vec::new();
    for covered in reports.not_reported(arguments.day, domain, arguments.limit)? {
        rows.push(vec![
            Cell::new(covered.day.to_string()),
            Cell::new(covered.policy_domain.as_str()),
            Cell::new(covered.messages),
            Cell::new(covered.came_to.as_str()),
            Cell::new(why(reports, &covered)?),
        ]);
    }
    let exit = if rows.is_empty() { Exit::No } else { Exit::Ok };
    let keys = vec!["day", "policy_domain", "messages", "came_to", "why"];
    let mut screen = Screen::new();
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    Ok(exit)
}

fn why(reports: &Reports, covered: &Covered) -> Result<String, Failure> {
    if covered.came_to == CameTo::NoDestination {
        let refused = reports.unconfirmed_of(&covered.policy_domain)?;
        let refused = refused.iter().map(|one| {
            let (uri, reason, next) = (&one.uri, &one.reason, one.next_check);
            format!("{uri}: {reason}, asked again from {next} on")
        });
        let refused: Vec<String> = refused.collect();
        if !refused.is_empty() {
            return Ok(refused.join("; "));
        }
    }
    Ok(sentences::no_report(covered.came_to).to_owned())
}

fn count(outbox: &[OutboxEntry], is_it: impl Fn(OutboxState) -> bool) -> usize {
    outbox.iter().filter(|entry| is_it(entry.state)).count()
}
