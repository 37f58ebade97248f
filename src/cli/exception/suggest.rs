//! `alignd exception suggest`: what would have let a message pass.

use crate::cli::ask;
use crate::cli::output::{Cell, Format, Listing, Screen};
use crate::cli::{Exit, Outcome, settings, stored};
use crate::quarantine::Target;
use crate::verdict::Verdict;
use crate::verdict::suggest::suggestions;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A verdict's id, or the MTA's queue id
    #[arg(value_name = "VERDICT|QUEUE-ID")]
    id: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd exception suggest 4jXW5m5GBtz1StgL
  alignd quarantine release 4jXW5m5GBtz1StgL --allow 1 --expires 90d      takes the first of them

What is suggested was verified in that very message. Where nothing was, nothing is suggested: anybody could use it.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let found = match Target::parse(&arguments.id).find(&reader) {
        Ok(found) => found,
        Err(error) => return ask::quarantine_failed(error),
    };
    let rows = suggestions(&found.verdict).into_iter().enumerate();
    let rows: Vec<Vec<Cell>> = rows
        .map(|(at, suggestion)| {
            vec![
                Cell::new(at + 1),
                Cell::new(suggestion.kind.as_str()),
                Cell::new(suggestion.rule.to_string()),
                Cell::new(suggestion.rule.because.as_str()),
            ]
        })
        .collect();
    if rows.is_empty() {
        eprintln!("Nothing in this message is verified that an exception could require.");
        return Ok(Exit::No);
    }
    let mut screen = Screen::new();
    let keys = vec!["number", "evidence", "rule", "because"];
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    Ok(Exit::Ok)
}

/// One line for each, with its number.
pub fn numbered(verdict: &Verdict) -> Vec<String> {
    let made = suggestions(verdict).into_iter().enumerate();
    made.map(|(at, suggestion)| format!("{}. {}", at + 1, suggestion.rule))
        .collect()
}
