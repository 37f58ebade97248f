//! The store: every verdict, what became of its message, the counts of what was passed over, and the
//! reports that were made of it.
//!
//! Owns `alignd.db` and `reports.db`, SQLite files in WAL mode, and all SQL. [`Store`] is the writer's handle: one
//! thread writes, in groups, and a verdict is acknowledged only when it is on the disk. [`Reader`]
//! reads through its own connections, whether the daemon runs or not. [`Reports`] is the handle to the
//! reports, for any process. Judges nothing, decides
//! nothing; which moves of an outcome are legal is `outcome`'s to say.
//!
//! - `handle`: [`Store`] · `queue`: what waits for the writer, bounded · `give_way`: to mail, in long work · `error`
//! - `row`: a verdict as the writer takes it · `wire`, `shared`: its JSON · `redact`: local parts
//! - `change`: what an operator changes · `exception`: what of it can be read
//! - `query`: what a reader may ask and gets · `fold`: what a day has to report
//! - `reports`: what is kept of reports, and of where they go
//! - `sqlite`: the connections, the migrations, the writer's thread, the queries

mod change;
mod error;
mod exception;
mod fold;
mod give_way;
mod handle;
mod query;
mod queue;
mod redact;
mod reports;
mod row;
mod shared;
mod sqlite;
mod wire;

pub use change::{
    Change, ChangeError, Changed, DigestMark, ExceptionId, Intent, MAX_CHANGES, MAX_EXCEPTIONS,
    NewException,
};
pub use error::{OpenError, ReadError, RecordError, ReportsError};
pub use exception::{
    Event, EventKind, ExceptionFilter, History, RuleUses, RulesInForce,
    Standing as ExceptionStanding, StoredException,
};
pub use fold::{
    Building, CoveredTo, Include, LastRecord, MAX_POLICIES, Numbered, Pending, PendingDomain,
    Summary as DaySummary,
};
pub use give_way::give_way;
pub use handle::Store;
pub use query::{
    Bearer, Count, CountBy, Decided, DecidedKey, Filter, HeldCounts, HeldFilter, HeldIn,
    HeldMessage, SkipCount, SkipPair, StoreStats, Stored, Summary,
};
pub use reports::{
    Attempt, CameTo, Checked, Claimed, Consent, Covered, Destination, Expired, Failure, Finished,
    InVain, KeptReport, Lease, NewReport, Noted, OutboxCounts, OutboxEntry, OutboxState, Range,
    ReportFilter, ReportNumber, ReportsExpired, Standing, Suppression, Terms, Unconfirmed, Wanted,
};
pub use sqlite::create_directory;
pub use sqlite::fold::{CoveredBy, Folded, Selection};
pub use sqlite::list::Messages;
pub use sqlite::read::{BackupError, Reader};
pub use sqlite::reports::{LEASE, PER_HOST, Reports, Turn};

use crate::domain::DomainName;
use crate::outcome::OutcomeState;
use crate::time::Timestamp;
use crate::word::words;
use std::path::PathBuf;
use std::time::Duration;

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The directory of `alignd.db`.
    pub path: PathBuf,
    pub durability: Durability,
    /// How long [`Store::record`] may wait for the disk.
    pub wait: Duration,
    /// What entrances do with a message whose verdict was not recorded.
    pub on_failure: OnFailure,
    /// Verdicts older than this are deleted by [`Store::expire`].
    pub keep_messages: Duration,
    /// Reports older than this are deleted by [`Reports::expire`].
    pub keep_reports: Duration,
    /// Whether the local parts of addresses are stored.
    pub local_parts: bool,
}

words! {
    /// What an acknowledged verdict survives.
    Durability {
        /// A crash of the machine: fsync at every commit.
        Full = "full",
        /// A crash of alignd; the last commits before a crash of the machine may be lost.
        Relaxed = "relaxed",
    }
}

words! {
    /// What becomes of a message whose verdict was not recorded.
    OnFailure { Tempfail = "tempfail", Accept = "accept" }
}

/// One message that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    pub at: Timestamp,
    pub reason: SkipReason,
    /// Kept for authenticated clients only; `None` also when there is not exactly one.
    pub author_domain: Option<DomainName>,
    /// Kept for authenticated clients only.
    pub recipient_domains: Vec<DomainName>,
}

/// A message that came back with its verdict header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameBack {
    pub at: Timestamp,
    /// Under which the MTA has it now.
    pub queue_id: Option<String>,
}

/// What [`Store::take_back`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    /// It is used now, and on the disk: the message has its verdict.
    Taken,
    UsedBefore,
    /// A message at this state doesn't come back.
    NotOut(OutcomeState),
    UnknownVerdict,
}

words! {
    /// Why a message was passed over.
    SkipReason {
        /// The client logged in.
        Authenticated = "authenticated",
        /// The client is in `trust.networks`.
        TrustNetworks = "trust_networks",
        SkipHosts = "skip_hosts",
        SkipMailFrom = "skip_mail_from",
        /// Submitted on this host, without SMTP.
        LocalSubmission = "local_submission",
        /// It came back with its verdict header.
        Reinjected = "reinjected",
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/alignd"),
            durability: Durability::Full,
            wait: Duration::from_secs(30),
            on_failure: OnFailure::Tempfail,
            keep_messages: Duration::from_secs(90 * 86_400),
            keep_reports: Duration::from_secs(90 * 86_400),
            local_parts: false,
        }
    }
}
