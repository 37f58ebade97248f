//! What the commands that read the store share: opening it, and sorting its errors by who can act.

use super::Failure;
use crate::config::Config;
use crate::store::{OpenError, ReadError, Reader, ReportsError};

/// Opens the store of these settings for reading; the daemon may run or not.
pub fn open(config: &Config) -> Result<Reader, Failure> {
    Ok(Reader::open(&config.store.path)?)
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Access { .. }
            | OpenError::Missing(_)
            | OpenError::Newer { .. }
            | OpenError::Older { .. }
            | OpenError::Foreign(_) => Self::Usage(error.to_string()),
            OpenError::InUse { .. } => Self::Temporary(error.to_string()),
            OpenError::Database { .. } | OpenError::Thread(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<ReportsError> for Failure {
    fn from(error: ReportsError) -> Self {
        match error {
            ReportsError::DiskFull(_) | ReportsError::Busy(_) | ReportsError::Fenced => {
                Self::Temporary(error.to_string())
            }
            ReportsError::Damaged(_) | ReportsError::Database { .. } => {
                Self::Internal(error.to_string())
            }
        }
    }
}
