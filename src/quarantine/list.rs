//! What is held now.
//!
//! Owns the listing that the command line and the socket show. Reads the store, asks no MTA.

use super::QuarantineError;
use crate::domain::DomainName;
use crate::store::{self, HeldIn, Reader, Stored};
use crate::time::Timestamp;

/// Which held messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    pub author_domain: Option<DomainName>,
    /// Held since before this point.
    pub before: Option<Timestamp>,
    pub place: HeldIn,
    /// At most so many, the oldest, and never more than [`MOST_LISTED`].
    pub limit: usize,
}

/// Some of the held messages, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub messages: Vec<Stored>,
    /// There are more than these.
    pub more: bool,
}

/// Messages of one listing.
pub const MOST_LISTED: usize = 10_000;

/// The held messages. Whatever else is stored, only these are read.
pub fn held(reader: &Reader, filter: &HeldFilter) -> Result<Listed, QuarantineError> {
    let limit = filter.limit.min(MOST_LISTED);
    let mut listed = Listed::default();
    let mut page = store::HeldFilter {
        author_domain: filter.author_domain.clone(),
        held_before: filter.before,
        place: filter.place,
        ..store::HeldFilter::default()
    };
    while !listed.more {
        let found = reader.held(&page).map_err(QuarantineError::Read)?;
        let Some(last) = found.last() else { break };
        page.beyond = Some(last.id);
        for message in &found {
            if listed.messages.len() >= limit {
                listed.more = true;
                break;
            }
            // Gone when somebody let it go meanwhile and it was deleted by age.
            let stored = reader.find(message.id).map_err(QuarantineError::Read)?;
            listed.messages.extend(stored);
        }
    }
    Ok(listed)
}
