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
runs as: it writes into the store. Exit codes: 0 nothing was left, 1 nothing was due, 3 some must wait.";

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
    let total = dns::wait(send(&config, reports))?;
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
    match (done, total.deferred) {
        (0, _) => Ok(Exit::No),
        (_, 0) => Ok(Exit::Ok),
        (_, deferred) => Err(Failure::Temporary(format!(
            "{deferred} could not be sent now; they are tried again in the send window"
        ))),
    }
}

/// Rounds until nothing is due any more.
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
        // Who cannot be reached now is left to the daemon; the pace asks for a moment only.
        if round.deferred > 0 && round.sent == 0 {
            return Ok(total);
        }
        let wait = round
            .again
            .map(|again| again.micros().saturating_sub(now().micros()));
        match wait.map(u64::try_from) {
            Some(Ok(wait)) if wait > PACE => return Ok(total),
            Some(Ok(wait)) => tokio::time::sleep(Duration::from_micros(wait)).await,
            Some(Err(_)) => {}
            None => return Ok(total),
        }
    }
}

/// The longest that `delivery.rate` makes the next mail wait, in microseconds: 1 a minute.
const PACE: u64 = 60_000_000;
