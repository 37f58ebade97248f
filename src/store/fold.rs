//! What a day has to report, in our words: which domains, what of their mail, folded into rows.
//!
//! Owns those types, and the rule by which a message is counted once. Pure: the SQL is in `sqlite::fold`.

use crate::auth::dmarc::Record;
use crate::domain::DomainName;
use crate::outcome::OutcomeState;
use crate::report::aggregate::NormalisedPolicy;
use crate::store::reports::{Range, Wanted};
use crate::time::UtcDay;
use crate::word::words;

words! {
    /// `report.include`: which mail is reported, by what became of it.
    Include {
        /// What the receiver took, as far as is known.
        Accepted = "accepted",
        /// What is or was held, too, on the day it was held; so it is reported whatever becomes of it.
        AcceptedHeld = "accepted+held",
        /// What was refused for good, too: by us or by another filter.
        All = "all",
    }
}

impl Include {
    /// The states by which a message is counted. One that was never answered for good is in none:
    /// it comes again (tempfailed), or nobody knows whether it was taken (unknown).
    pub fn states(self) -> &'static [OutcomeState] {
        use OutcomeState::{Accepted, Held, RefusedLater, Rejected, Released};
        match self {
            Self::Accepted => &[Accepted, Released],
            Self::AcceptedHeld => &[Accepted, Released, Held],
            Self::All => &[Accepted, Released, Held, Rejected, RefusedLater],
        }
    }

    /// Whether what is known of a message lets it be reported at all, whichever outcome it counts by:
    /// what was refused or deleted before the report is built was not accepted in the end.
    fn takes_in(self, known: &[Numbered]) -> bool {
        let was_held = || known.iter().any(|one| one.state == OutcomeState::Held);
        let last = known.last().is_some_and(|last| {
            matches!(last.state, OutcomeState::Accepted | OutcomeState::Released)
        });
        match self {
            Self::Accepted => last,
            Self::AcceptedHeld => last || was_held(),
            Self::All => true,
        }
    }
}

/// A range of a policy domain's day that was built or is being built, and which mail was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Building {
    pub day: UtcDay,
    pub range: Range,
    pub include: Include,
}

impl Building {
    /// The outcome by which this range counts a message, unless another range counted it before: the
    /// first in it that is taken in. `outcomes` are all of the message's, in order.
    ///
    /// As soon as one range has such an outcome, the message is counted: by that range, or by one before.
    pub fn counts(&self, outcomes: &[Numbered]) -> Option<i64> {
        let known = outcomes.partition_point(|one| one.seq <= self.range.up_to);
        let known = outcomes.get(..known).unwrap_or(outcomes);
        let first = known.iter().find(|one| {
            one.day == self.day
                && one.seq > self.range.after
                && self.include.states().contains(&one.state)
        })?;
        self.include.takes_in(known).then_some(first.seq)
    }
}

/// How far a policy domain's day is covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoveredTo {
    /// The last number of the outcome table that is.
    pub up_to: i64,
    /// Whether any of it came to a report.
    pub reported: bool,
}

/// The policy domains of a day with outcomes that are not covered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub day: UtcDay,
    /// The last number of the outcome table when this was looked up: no later one is considered.
    pub up_to: i64,
    /// Below the first of those outcomes.
    pub(super) above: i64,
    /// In the order of their names, in which `reports.db` has them, too.
    pub domains: Vec<PendingDomain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDomain {
    pub policy_domain: DomainName,
    /// How far it is covered.
    pub after: i64,
    /// Some of that by a report.
    pub reported: bool,
    pub(super) id: i64,
}

/// One policy domain's day before its rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub policy_domain: DomainName,
    /// How far it was covered before.
    pub after: i64,
    /// There is a report about that: this would be a supplement to it.
    pub reported: bool,
    /// Messages in the rows.
    pub messages: u64,
    /// Messages that cannot be reported, because their client's address is unknown.
    pub left_out: u64,
    /// Whether one of the messages is reason enough to send a report.
    pub triggers: bool,
    /// The policies published that day, in the order they were first met: at most
    /// [`MAX_POLICIES`]. Rows under further ones are counted under the last of these.
    pub policies: Vec<NormalisedPolicy>,
    /// Among the domains of the day.
    pub(super) place: u32,
    /// Other days that were asked about its messages, and how far they were covered then.
    pub(super) beside: Vec<(UtcDay, i64)>,
    /// policy_published of the last message under each policy.
    pub(super) records: Vec<i64>,
    /// That of the last message of all; 0: there is none yet.
    pub(super) last_record: i64,
    /// Which of the policies that is.
    pub(super) last_place: u8,
}

impl Summary {
    /// What must be so, that its rows may be kept.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            policy_domain: self.policy_domain.clone(),
            after: self.after,
            beside: self.beside.clone(),
        }
    }
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
