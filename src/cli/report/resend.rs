//! `alignd report resend ID`: puts a report back into the outbox, the same octets under the same name.

use super::kept;
use crate::cli::{Exit, Outcome, now, settings};
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A report's number, its unique-id or its Report-ID
    #[arg(value_name = "ID")]
    id: String,
}

const EXAMPLES: &str = "\
Examples:
  alignd report resend 17        to all its destinations, but for those that may not be used

It goes out with the same Report-ID and file name, so that receivers know it for the same report. A
destination that was never confirmed is asked first. delivery.retry_for counts from now.
Run it as the user that alignd runs as. Exit codes: 0 queued, 1 there is no such report, or it has
nowhere to go.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    let Some(report) = kept::find(&reports, &arguments.id)? else {
        return kept::unknown(&arguments.id);
    };
    let queued = reports.resend(report.number, now())?;
    println!("{} is queued again; destinations: {queued}", report.head.id);
    Ok(if queued == 0 { Exit::No } else { Exit::Ok })
}
