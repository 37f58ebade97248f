//! What is held now.
//!
//! Owns the listing that the command line, the socket and the digest show. Reads the store, asks no MTA.

use super::QuarantineError;
use crate::domain::DomainName;
use crate::outcome::OutcomeState;
use crate::store::{Filter, Reader, Stored};
use crate::time::Timestamp;

/// Which held messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    pub author_domain: Option<DomainName>,
    /// Received before this point.
    pub before: Option<Timestamp>,
    /// At most so many, the oldest.
    pub limit: usize,
}

/// The held messages, the oldest first.
pub fn held(reader: &Reader, filter: &HeldFilter) -> Result<Vec<Stored>, QuarantineError> {
    let newest_first = Filter {
        author_domain: filter.author_domain.clone(),
        until: filter.before,
        outcome: Some(OutcomeState::Held),
        ..Filter::default()
    };
    let mut found = Vec::new();
    for summary in reader.messages(&newest_first) {
        found.push(summary.map_err(QuarantineError::Read)?.id);
    }
    let oldest = found.into_iter().rev().take(filter.limit);
    let mut held = Vec::new();
    for id in oldest {
        held.extend(reader.find(id).map_err(QuarantineError::Read)?);
    }
    Ok(held)
}
