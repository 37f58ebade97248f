//! `alignd report send`: what waits in the outbox, without waiting for the send window.

use super::{no_sender, reports};
use crate::cli::output::{Cell, Format, Listing, Screen};
use crate::cli::{Exit, Failure, Outcome, dns, host_name, now, settings};
use crate::config::Config;
use crate::daemon::{SystemClock, way_out};
use crate::resolver::LiveResolver;
use crate::send_report::Round;
use crate::store::Reports;
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Also what has its place in the window later on
    #[arg(long)]
    now: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd report send                what is due: new reports whose time has come, and second tries
  alignd report send --now          everything that is built and not tried yet, too

Mails go as fast as delivery.rate allows. Reports need not be enabled. Run it as the user that alignd
runs as: it writes into the store. A smarthost in trouble ends it; a mail that one domain refuses for now
does not. Exit codes: 0 nothing is left, 1 nothing was due, 3 some wait: for their time in the window,
or to be tried again.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = reports(&config)? else {
        eprintln!("alignd: nothing was built yet");
        return Ok(Exit::No);
    };
    if arguments.now {
        let hurried = reports.hurry(now());
        hurried.map_err(|error| Failure::Temporary(error.to_string()))?;
    }
    let total = dns::wait(send(&config, reports.clone()))?;
    let keys = vec!["verified", "sent", "deferred", "refused", "expired"];
    let row = [
        total.verified,
        total.sent,
        total.deferred,
        total.refused,
        total.expired,
    ];
    let done: u32 = row.iter().sum();
    let mut screen = Screen::new();
    let rows = vec![row.into_iter().map(Cell::new).collect()];
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    let left = reports.outbox_counts();
    let left = left.map_err(|error| Failure::Temporary(error.to_string()))?;
    match (done, left.to_verify.saturating_add(left.queued)) {
        (0, _) => Ok(Exit::No),
        (_, 0) => Ok(Exit::Ok),
        (_, left) => Err(Failure::Temporary(format!(
            "{left} wait for their time in the send window, or to be tried again"
        ))),
    }
}

/// Rounds until nothing is due any more, or the server takes nothing.
async fn send(config: &Config, reports: Reports) -> Result<Round, Failure> {
    let resolver = LiveResolver::new(&config.dns).map_err(|e| Failure::Usage(e.to_string()))?;
    let way_out = way_out(config, &host_name()).map_err(no_sender)?;
    let sender = way_out.open(reports, Arc::new(resolver));
    let mut sender = sender.map_err(|error| Failure::Usage(error.to_string()))?;
    let mut total = Round::default();
    loop {
        let round = sender.round(&SystemClock).await;
        let round = round.map_err(|error| Failure::Temporary(error.to_string()))?;
        total.verified += round.verified;
        total.sent += round.sent;
        total.deferred += round.deferred;
        total.refused += round.refused;
        total.expired += round.expired;
        let wait = round
            .again
            .map(|again| again.micros().saturating_sub(now().micros()));
        match wait.map(|wait| u64::try_from(wait).unwrap_or(0)) {
            // The pace asks for a moment only; who cannot be reached now is left to the daemon.
            Some(wait) if wait <= PACE && !round.paused => {
                tokio::time::sleep(Duration::from_micros(wait).max(BREATH)).await;
            }
            Some(_) | None => {
                sender.close().await;
                return Ok(total);
            }
        }
    }
}

/// The longest that `delivery.rate` makes the next mail wait, in microseconds: 1 a minute.
const PACE: u64 = 60_000_000;
/// Between two rounds, whatever they say.
const BREATH: Duration = Duration::from_millis(20);
