//! Why the daemon does not start, or does not go on, sorted by who can act.

use crate::config::LoadError;
use crate::key_file::KeyError;
use crate::milter::BindError;
use crate::resolver::ResolverError;
use crate::store::OpenError;
use std::fmt;
use std::io;

/// The daemon does not start, or ends before it is told to.
#[derive(Debug)]
pub enum StartError {
    Settings(LoadError),
    Store(OpenError),
    Resolver(ResolverError),
    Listen(BindError),
    /// The privileged helper has no socket. The operator must act.
    Helper(String),
    /// Verdict headers cannot be sealed.
    Key(KeyError),
    /// `log.format` or `metrics.listen` cannot be had.
    Telemetry(String),
    /// Threads, signals: the system says no.
    Runtime(io::Error),
    /// The milter is gone. Ours to mend.
    Ended(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Resolver(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Helper(problem) | Self::Telemetry(problem) => f.write_str(problem),
            Self::Ended(problem) => write!(f, "the milter ended: {problem}; please report it"),
            Self::Runtime(error) => write!(f, "the system refuses threads or signals: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Settings(error)
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Store(error)
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<ResolverError> for StartError {
    fn from(error: ResolverError) -> Self {
        Self::Resolver(error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Listen(error)
    }
}
