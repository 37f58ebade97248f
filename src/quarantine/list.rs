//! What is held now.
//!
//! Owns the listing that the command line, the socket and the digest show. Reads the store, asks no MTA.

use super::QuarantineError;
use crate::domain::DomainName;
use crate::store::{self, Reader, Stored};
use crate::time::Timestamp;

/// Which held messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    pub author_domain: Option<DomainName>,
    /// Held since before this point.
    pub before: Option<Timestamp>,
    /// At most so many, the oldest.
    pub limit: usize,
}

/// The held messages, the oldest first. Whatever else is stored, only these are read.
pub fn held(reader: &Reader, filter: &HeldFilter) -> Result<Vec<Stored>, QuarantineError> {
    let mut held = Vec::new();
    let mut page = store::HeldFilter {
        author_domain: filter.author_domain.clone(),
        held_before: filter.before,
        ..store::HeldFilter::default()
    };
    while held.len() < filter.limit {
        let found = reader.held(&page).map_err(QuarantineError::Read)?;
        let Some(last) = found.last() else { break };
        page.beyond = Some(last.id);
        for message in found.iter().take(filter.limit - held.len()) {
            // Gone when somebody let it go meanwhile and it was deleted by age.
            held.extend(reader.find(message.id).map_err(QuarantineError::Read)?);
        }
    }
    Ok(held)
}
