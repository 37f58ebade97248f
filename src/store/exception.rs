//! Exceptions of the store as they are read, in our words.
//!
//! Owns those types. Pure: the SQL is in `sqlite::exceptions`.

use crate::policy::rules::{Rule, RuleKey};
use crate::store::ExceptionId;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use crate::word::words;

/// An exception, or a stricter rule, that the store keeps; in force or past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredException {
    pub id: ExceptionId,
    /// Why not, where it cannot be read: a later version wrote it.
    pub rule: Result<Rule, String>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub removed: Option<Timestamp>,
    /// The message whose release it came with.
    pub from: Option<VerdictId>,
}

words! {
    /// Where an exception stands.
    Standing {
        InForce = "in_force",
        Expired = "expired",
        Removed = "removed",
    }
}

/// How often a rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleUses {
    pub hits: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// What a milter decides by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesInForce {
    /// Oldest first.
    pub rules: Vec<(RuleKey, Rule)>,
    /// Those that cannot be read: somebody must be told, since they do nothing.
    pub unreadable: Vec<ExceptionId>,
}

/// Which exceptions; `default()` is all, the past ones too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExceptionFilter {
    /// Only those that are in force at this time.
    pub in_force_at: Option<Timestamp>,
    /// Only those with a number below this: the next page of a listing.
    pub below: Option<ExceptionId>,
    /// At most this many, the newest; `None`: 1,000.
    pub limit: Option<u32>,
}

/// One exception and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub exception: StoredException,
    /// Oldest first.
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub what: EventKind,
    /// `None`: time did it.
    pub who: Option<String>,
    pub why: Option<String>,
}

words! {
    /// What was done to an exception.
    EventKind {
        Added = "added",
        /// Another reason, comment, owner or end.
        Changed = "changed",
        Removed = "removed",
        Expired = "expired",
    }
}

impl StoredException {
    pub fn standing(&self, now: Timestamp) -> Standing {
        let ended_by = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        match self.removed {
            // What had expired when it was removed ended then.
            Some(removed) if self.expires.is_none_or(|end| end > removed) => Standing::Removed,
            Some(_) | None if ended_by(self.expires) => Standing::Expired,
            Some(_) => Standing::Removed,
            None => Standing::InForce,
        }
    }
}
