//! `alignd quarantine show`: one held message with its grounds, or as it lies in the MTA's queue.

use crate::cli::output::{Screen, printable};
use crate::cli::page::Page;
use crate::cli::{Exit, Failure, Outcome, ask, explain, settings, stored};
use crate::mta::Helper;
use crate::quarantine::{Target, message};
use crate::store::Stored;
use crate::verdict::suggest::suggestions;
use clap::Args;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A verdict's id, or the MTA's queue id
    #[arg(value_name = "VERDICT|QUEUE-ID")]
    id: String,
    /// Print the message itself, from the MTA's queue: as it is into a pipe, made harmless on a terminal
    #[arg(long)]
    message: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd quarantine show 4jXW5m5GBtz1StgL
  alignd quarantine show 4jXW5m5GBtz1StgL --message | less

The message is read by the MTA's helper, which serves root and alignd's own user.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let target = Target::parse(&arguments.id);
    let stored = match target.find(&reader) {
        Ok(stored) => stored,
        Err(error) => return ask::quarantine_failed(error),
    };
    if arguments.message {
        let helper = Helper::new(&config.quarantine.queue.helper_socket);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Internal(format!("the system refuses threads: {error}")))?;
        return match runtime.block_on(message(&helper, &stored)) {
            Ok(shown) => {
                print(&shown.octets)?;
                if shown.cut {
                    eprintln!("alignd: this is the beginning; the message is longer");
                }
                Ok(Exit::Ok)
            }
            Err(error) => ask::quarantine_failed(error),
        };
    }
    let mut screen = Screen::new();
    page(&stored, &mut Page::new(&mut screen))?;
    screen.finish()?;
    Ok(Exit::Ok)
}

fn page(stored: &Stored, page: &mut Page<'_>) -> Result<(), Failure> {
    let verdict = &stored.verdict;
    page.heading(&format!("Verdict {}", verdict.id))?;
    page.item("received", &verdict.received.to_string())?;
    let queue_id = verdict.envelope.queue_id.as_deref();
    page.item("queue id", queue_id.unwrap_or("none"))?;
    explain::envelope(&verdict.envelope, page)?;
    explain::message(&verdict.message, page)?;
    explain::verdict(verdict, page)?;
    explain::history(&stored.outcomes, page)?;
    page.heading("To let it go")?;
    page.text(match suggestions(verdict).is_empty() {
        true => "alignd quarantine release ID: nothing about it is verified, so no exception can be made for the next one.",
        false => "alignd quarantine release ID --allow NUMBER [--expires 90d] also makes that exception for the next one.",
    })
}

/// A terminal gets no control characters of a sender's.
fn print(octets: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = if out.is_terminal() {
        let text = String::from_utf8_lossy(octets);
        let lines = text.lines().map(|line| line.replace('\t', "    "));
        let harmless: String = lines.map(|line| printable(&line) + "\n").collect();
        out.write_all(harmless.as_bytes())
    } else {
        out.write_all(octets)
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|error| Failure::Internal(format!("cannot write the output: {error}")))
        }
    }
}
