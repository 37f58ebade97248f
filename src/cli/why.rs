//! `alignd why VERDICT|QUEUE-ID`: one stored verdict with its grounds, the rule that decided, the
//! header written, what became of the message and which report counts it.

use super::json;
use super::output::{Screen, printable};
use super::page::Page;
use super::{Exit, Failure, Outcome, explain, sentences, settings, stored};
use crate::build_report::{Traced, trace};
use crate::config::Config;
use crate::store::{Reader, Stored};
use crate::verdict::VerdictId;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A verdict's id, or the MTA's queue id of a message
    #[arg(value_name = "VERDICT|QUEUE-ID")]
    id: String,
    /// Print one JSON object; one a line when a queue id was used several times, the newest first
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd why 4jXW5m5GBtz1StgL                        as the MTA logs it
  alignd why 0192d3c4-7f2e-7abc-9def-0123456789ab    as alignd logs it
  alignd why 4jXW5m5GBtz1StgL --json | jq .outcomes

MTAs use queue ids again: the newest message with that id is explained, older ones are named.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let found = find(&reader, &arguments.id)?;
    let Some((newest, older)) = found.split_first() else {
        eprintln!(
            "alignd: no verdict {} in the store",
            printable(&arguments.id)
        );
        return Ok(Exit::No);
    };
    let mut screen = Screen::new();
    if arguments.json {
        for stored in &found {
            let traced = traced(&config, &reader, stored)?;
            let said = json::Stored::of(&stored.verdict, &stored.outcomes, true);
            let said = said.with_return(stored.came_back.as_ref());
            screen.json(&said.with_report(&traced))?;
        }
    } else {
        let traced = traced(&config, &reader, newest)?;
        page(newest, older, &traced, &mut Page::new(&mut screen))?;
    }
    screen.finish()?;
    Ok(Exit::Ok)
}

fn find(reader: &Reader, id: &str) -> Result<Vec<Stored>, Failure> {
    if let Some(id) = VerdictId::parse(id) {
        return Ok(reader.find(id)?.into_iter().collect());
    }
    Ok(reader.find_by_queue_id(id)?)
}

/// Which report counts it.
fn traced(config: &Config, reader: &Reader, stored: &Stored) -> Result<Traced, Failure> {
    let reports = super::report::reports(config)?;
    let include = config.report.include;
    Ok(trace(reader, reports.as_ref(), &stored.verdict, include)?)
}

fn page(
    stored: &Stored,
    older: &[Stored],
    traced: &Traced,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let verdict = &stored.verdict;
    page.heading(&format!("Verdict {}", verdict.id))?;
    page.item("received", &verdict.received.to_string())?;
    let queue_id = verdict.envelope.queue_id.as_deref();
    page.item("queue id", queue_id.unwrap_or("none"))?;
    explain::envelope(&verdict.envelope, page)?;
    explain::message(&verdict.message, page)?;
    explain::verdict(verdict, page)?;
    explain::history(&stored.outcomes, page)?;
    if let Some(back) = &stored.came_back {
        explain::came_back(back, page)?;
    }
    page.heading("Report")?;
    page.text(&sentences::report(traced))?;
    if !older.is_empty() {
        page.heading("Older messages with this queue id")?;
        for stored in older {
            page.item(
                &stored.verdict.received.day().to_string(),
                &stored.verdict.id.to_string(),
            )?;
        }
    }
    Ok(())
}
