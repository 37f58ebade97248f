//! What a reader may ask of the store, and what it gets: filters, summaries, counts.
//!
//! Owns those types. Pure: the SQL is in `sqlite`.

use crate::auth::DmarcResult;
use crate::auth::dmarc::Policy;
use crate::domain::DomainName;
use crate::outcome::{Outcome, OutcomeState};
use crate::policy::{Action, Cause, Disposition};
use crate::store::{CameBack, SkipReason};
use crate::time::{Timestamp, UtcDay};
use crate::verdict::{Verdict, VerdictId};
use crate::word::words;
use ipnet::IpNet;
use std::net::IpAddr;

/// Which verdicts; `default()` is all of them. Every condition given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Received at or after this point.
    pub since: Option<Timestamp>,
    /// Received before this point.
    pub until: Option<Timestamp>,
    pub author_domain: Option<DomainName>,
    /// The client's address lies in this network; a single address is a network of one.
    pub ip: Option<IpNet>,
    pub dmarc: Option<DmarcResult>,
    pub disposition: Option<Disposition>,
    /// What became of it, as far as is known now.
    pub outcome: Option<OutcomeState>,
    pub queue_id: Option<String>,
    /// Only those that were decided in one of these ways.
    pub decided: Option<Vec<DecidedKey>>,
    /// At most this many, the newest ones; `None`: all. Counting looks at all.
    pub limit: Option<usize>,
}

/// One line of a listing, read without the grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: VerdictId,
    pub received: Timestamp,
    pub queue_id: Option<String>,
    pub client_ip: Option<IpAddr>,
    /// `None`: not exactly one.
    pub author_domain: Option<DomainName>,
    /// The domain of MAIL FROM: empty for the null path, `None` when unreadable.
    pub envelope_from: Option<String>,
    /// `None`: not evaluated.
    pub dmarc: Option<DmarcResult>,
    /// SPF passed for an aligned domain; `None`: not evaluated.
    pub spf_aligned: Option<bool>,
    /// A DKIM signature of an aligned domain passed; `None`: not evaluated.
    pub dkim_aligned: Option<bool>,
    /// Where the policy was found; `None` without one.
    pub policy_domain: Option<DomainName>,
    /// The policy that applied, after `t=y`.
    pub applied: Option<Policy>,
    pub cause: Cause,
    pub disposition: Disposition,
    pub action: Action,
    /// What became of it, as far as is known now.
    pub outcome: OutcomeState,
}

/// A verdict whole, with everything that is known of what became of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub verdict: Verdict,
    /// Oldest first; the last one holds.
    pub outcomes: Vec<Outcome>,
    /// It came back with its verdict header, and was not judged again.
    pub came_back: Option<CameBack>,
}

/// Which held messages; `default()` is all of them, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    pub author_domain: Option<DomainName>,
    /// Held since before this point.
    pub held_before: Option<Timestamp>,
    /// Only what a digest that the mail server took before this point announced to be deleted.
    pub announced_before: Option<Timestamp>,
    pub place: HeldIn,
    /// Only what comes behind this one: the next page of a listing.
    pub beyond: Option<VerdictId>,
    /// At most this many; `None`: 1,000.
    pub limit: Option<u32>,
}

/// Where a message is held, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeldIn {
    #[default]
    Anywhere,
    /// In the MTA's hold queue: alignd put it there, or saw it there.
    Queue,
    /// In the MTA's hold queue, as alignd's own verdict wanted it.
    QueueByUs,
    /// Where another filter or a person said: that isn't ours to delete or to remind of, and may lie
    /// in a quarantine of theirs.
    Told,
    /// In the MTA's hold queue, or told since this point.
    QueueOrToldSince(Timestamp),
}

/// One held message, read without the grounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMessage {
    pub id: VerdictId,
    pub received: Timestamp,
    /// When it was held.
    pub since: Timestamp,
    pub queue_id: Option<String>,
    /// `None`: not exactly one.
    pub author_domain: Option<DomainName>,
    /// The domain of MAIL FROM: empty for the null path, `None` when unreadable.
    pub envelope_from: Option<String>,
    pub recipient_domains: Vec<DomainName>,
    pub cause: Cause,
    /// Octets.
    pub size: u64,
    /// When the mail server took the digest that says that it is to be deleted.
    pub announced: Option<Timestamp>,
    /// alignd's own verdict wanted it; what others put on hold is theirs to delete.
    pub by_us: bool,
    /// Another filter or a person said so, as [`HeldIn::Told`].
    pub told: bool,
}

/// What is held, for `status` and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldCounts {
    /// Those in the MTA's hold queue.
    pub messages: u64,
    /// When the one of these was held that has been for longest.
    pub since: Option<Timestamp>,
    /// Those that another filter or a person said to be held.
    pub told: u64,
    /// When the last of these was told.
    pub last_told: Option<Timestamp>,
}

/// A message and how it stands, without its grounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    pub id: VerdictId,
    pub received: Timestamp,
    pub state: OutcomeState,
    /// When it came to stand so; for `unknown`, since when nothing more is known of it.
    pub since: Timestamp,
    /// Somebody wrote down that he is about to let it go, or to delete it.
    pub intended: bool,
}

words! {
    /// What to count by.
    CountBy {
        AuthorDomain = "author_domain",
        PolicyDomain = "policy_domain",
        Ip = "ip",
        Dmarc = "dmarc",
        Disposition = "disposition",
        Cause = "cause",
        Action = "action",
        Outcome = "outcome",
        /// The UTC day it was received.
        Day = "day",
    }
}

/// One line of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The value counted by; `None` for messages that have none.
    pub value: Option<String>,
    pub messages: u64,
}

/// Messages passed over on one day for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipCount {
    pub day: UtcDay,
    pub reason: SkipReason,
    pub messages: u64,
}

/// Messages of authenticated clients on one day, by author and recipient domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipPair {
    pub day: UtcDay,
    /// `None`: not exactly one.
    pub author_domain: Option<DomainName>,
    pub recipient_domain: DomainName,
    pub messages: u64,
}

/// The store's number for a way of deciding; it holds for as long as the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecidedKey(pub(super) i64);

/// One way in which messages were decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub key: DecidedKey,
    pub cause: Cause,
    /// The policy that the decision started from; `None` without one.
    pub published: Option<Policy>,
    /// After `t=y`.
    pub applied: Option<Policy>,
    pub action: Action,
    pub messages: u64,
}

/// The store as a whole, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// Octets of `alignd.db` and its write-ahead log.
    pub file_bytes: u64,
    /// Octets inside that deletions left free.
    pub free_bytes: u64,
    pub schema: u32,
    pub verdicts: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// Recorded, and the reply to the MTA not yet confirmed.
    pub answering: u64,
}
