//! `alignd run`, `alignd milter` and `alignd schedule`: the daemon, or a part of it, in the foreground.

use super::{Exit, Failure, Outcome, host_name};
use crate::daemon::{self, Role, Source, StartError};
use std::path::Path;

/// Runs until it is told to stop.
pub fn run(role: Role, file: Option<&Path>) -> Outcome {
    let source = Source {
        file: file.map(Path::to_owned),
        host_name: host_name(),
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
            | StartError::Key(_)
            | StartError::Telemetry(_) => Self::Usage(error.to_string()),
            StartError::Runtime(_) | StartError::Ended(_) => Self::Internal(error.to_string()),
        }
    }
}
