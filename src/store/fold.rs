//! What a day has to report, in our words: which domains, what of their mail, folded into rows.
//!
//! Owns those types. Pure: the SQL is in `sqlite::fold`.

use crate::auth::dmarc::Record;
use crate::domain::DomainName;
use crate::outcome::OutcomeState;
use crate::report::aggregate::NormalisedPolicy;
use crate::time::UtcDay;
use crate::word::words;

words! {
    /// `report.include`: which mail is reported, by what became of it.
    Include {
        /// What the receiver took, as far as is known.
        Accepted = "accepted",
        /// What was refused for good, too: by us or by another filter.
        All = "all",
    }
}

impl Include {
    /// The states of a message that is reported. One that was never answered for good is in none:
    /// it comes again (tempfailed), or nobody knows whether it was taken (unknown).
    pub fn states(self) -> &'static [OutcomeState] {
        use OutcomeState::{Accepted, RefusedLater, Rejected};
        match self {
            Self::Accepted => &[Accepted],
            Self::All => &[Accepted, Rejected, RefusedLater],
        }
    }
}

/// The policy domains of a day with outcomes that are not covered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub day: UtcDay,
    /// The last number of the outcome table when this was looked up: no later one is considered.
    pub up_to: i64,
    /// Below the first of those outcomes.
    pub(super) above: i64,
    /// In the order of the store's numbers for them.
    pub domains: Vec<PendingDomain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDomain {
    pub policy_domain: DomainName,
    /// How far it is covered.
    pub after: i64,
    pub(super) id: i64,
}

/// One policy domain's day before its rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub policy_domain: DomainName,
    /// How far it was covered before.
    pub after: i64,
    /// Messages in the rows.
    pub messages: u64,
    /// Messages that cannot be reported, because their client's address is unknown.
    pub left_out: u64,
    /// Whether one of the messages is reason enough to send a report.
    pub triggers: bool,
    /// The policies published that day, in the order they were first met: at most
    /// [`MAX_POLICIES`]. Rows under further ones are counted under the last of these.
    pub policies: Vec<NormalisedPolicy>,
    pub(super) id: i64,
    /// policy_published of the last message under each policy.
    pub(super) records: Vec<i64>,
    /// That of the last message of all.
    pub(super) last_record: i64,
}

/// A policy record as it was last seen on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRecord {
    pub record: Record,
    pub method: crate::auth::dmarc::DiscoveryMethod,
}

/// Reports about one policy domain's day. RFC 9990 §3.3 foresees "multiple reports for the same
/// period, one for each published policy"; a record that changes with every query must not make one
/// for every message.
pub const MAX_POLICIES: usize = 8;

/// One outcome of a message, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    pub seq: i64,
    pub state: OutcomeState,
    pub day: UtcDay,
}
