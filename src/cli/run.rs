//! `alignd run`, `alignd milter` and `alignd schedule`: the daemon, or a part of it, in the foreground.

use super::{Exit, Failure, Outcome, host_name};
use crate::daemon::{self, Role, Source, StartError};
use clap::Args;
use std::net::SocketAddr;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// Where Prometheus may fetch numbers, instead of metrics.listen: where alignd milter and alignd schedule
    /// run on one host with the same settings, each needs an address of its own
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
}

const HELP: &str = "\
SIGTERM ends it when the mails in hand are finished; SIGHUP reloads the settings.
The log goes to standard error, or to the journal with log.format = \"journald\".

Examples:
  alignd run --config /etc/alignd/alignd.toml    as systemd/alignd.service has it
  alignd config check                            before it is started";

/// Runs until it is told to stop.
pub fn run(arguments: &Arguments, role: Role, file: Option<&Path>) -> Outcome {
    let source = Source {
        file: file.map(Path::to_owned),
        host_name: host_name(),
        metrics_listen: arguments.metrics_listen,
    };
    daemon::run(&source, role)?;
    Ok(Exit::Ok)
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Settings(error) => Self::Settings(error),
            StartError::Store(error) => error.into(),
            StartError::Resolver(_)
            | StartError::Listen(_)
            | StartError::Helper(_)
            | StartError::Key(_)
            | StartError::Telemetry(_) => Self::Usage(error.to_string()),
            StartError::Runtime(_) | StartError::Ended(_) => Self::Internal(error.to_string()),
        }
    }
}
