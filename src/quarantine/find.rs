//! Which message an operator means.
//!
//! Owns the search by verdict and by queue id. Reads the store.

use super::{Quarantine, QuarantineError};
use crate::outcome::OutcomeState;
use crate::store::{Reader, Stored};
use crate::verdict::VerdictId;
use std::fmt;
use std::path::Path;

/// A message, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Verdict(VerdictId),
    /// The newest held message with this queue id; if none is held, the newest.
    QueueId(String),
}

impl Target {
    /// Reads what stands on a command line. What is no verdict's id is taken for a queue id.
    pub fn parse(text: &str) -> Self {
        match VerdictId::parse(text) {
            Some(id) => Self::Verdict(id),
            None => Self::QueueId(text.to_owned()),
        }
    }

    /// Finds it.
    pub fn find(&self, reader: &Reader) -> Result<Stored, QuarantineError> {
        let found = match self {
            Self::Verdict(id) => reader.find(*id).map_err(QuarantineError::Read)?,
            Self::QueueId(id) => {
                let mut all = reader.find_by_queue_id(id).map_err(QuarantineError::Read)?;
                let held = all
                    .iter()
                    .position(|s| state(s) == Some(OutcomeState::Held));
                let at = held.unwrap_or(0);
                (at < all.len()).then(|| all.swap_remove(at))
            }
        };
        found.ok_or_else(|| QuarantineError::NoMessage(self.clone()))
    }
}

/// What became of it, as far as is known.
pub(super) fn state(stored: &Stored) -> Option<OutcomeState> {
    stored.outcomes.last().map(|outcome| outcome.state)
}

impl<Q> Quarantine<Q> {
    /// Reads the store in a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, QuarantineError> + Send + 'static,
    ) -> Result<T, QuarantineError> {
        let directory = self.directory.clone();
        let reading = tokio::task::spawn_blocking(move || open(&directory, read));
        match reading.await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

fn open<T>(
    directory: &Path,
    read: impl FnOnce(&Reader) -> Result<T, QuarantineError>,
) -> Result<T, QuarantineError> {
    let reader = Reader::open(directory).map_err(QuarantineError::Open)?;
    read(&reader)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(id) => write!(f, "{id}"),
            Self::QueueId(id) => f.write_str(id),
        }
    }
}
