//! The daily digest of what is held: what it says, as text and as a mail.
//!
//! Owns its contents and their words; where they come from is `quarantine`'s, when and how it is sent `schedule`'s.
//! Pure. Says domains and numbers, never a subject, a local part or anything else out of held mail; what strangers
//! wrote (domain names, a List-Id) is reduced to printable ASCII and cut to a bound.
//!
//! - `text`: the words · `mail`: the message around them, RFC 5322 and 3834

mod mail;
mod text;

pub use mail::{Letter, compose};
pub use text::{subject, text};

use crate::domain::DomainName;
use crate::policy::Cause;
use crate::time::Timestamp;
use chrono_tz::Tz;
use std::time::Duration;

/// What one digest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// `identity.authserv_id`: where it is held.
    pub host: String,
    pub at: Timestamp,
    /// In which its times are told.
    pub zone: Tz,
    pub purpose: Purpose,
    pub held: u64,
    /// When the one was held that has been for longest.
    pub oldest: Option<Timestamp>,
    /// When the mail server took the last digest.
    pub last: Option<Timestamp>,
    /// Held since then.
    pub new: u64,
    /// By author's domain, at most [`GROUPS`]: those with messages to be deleted first, then those with most.
    pub groups: Vec<Group>,
    /// What no group tells of.
    pub rest: Rest,
    /// `None`: held mail is never deleted by itself.
    pub expiry: Option<Expiry>,
}

/// What it is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Once a day; what it announces holds.
    Daily,
    /// Somebody tries the settings: it announces nothing.
    Trial,
}

/// The held messages in one domain's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `None`: not exactly one.
    pub author: Option<DomainName>,
    pub messages: u64,
    pub new: u64,
    pub oldest: Timestamp,
    /// Of those, about to be deleted.
    pub going: u64,
    /// Most frequent first.
    pub causes: Vec<(Cause, u64)>,
    /// Some of the recipients' domains.
    pub recipients: Vec<DomainName>,
    /// How many more there are at least.
    pub more_recipients: u64,
    /// The newest of them; `None`: it was let go meanwhile.
    pub example: Option<Example>,
}

/// One held message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// What commands know it by: its queue id, or its verdict's.
    pub id: String,
    /// The domain of MAIL FROM: empty for the null path, `None` when unreadable.
    pub envelope_from: Option<String>,
    /// In few words: what failed.
    pub grounds: String,
    /// The narrowest exception that would have let it pass; `None`: nothing in it is verified.
    pub suggestion: Option<String>,
}

/// How many are told of in numbers only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    pub domains: u64,
    pub messages: u64,
}

/// What is about to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// `quarantine.expire_after`
    pub after: Duration,
    /// Not before this point.
    pub from: Timestamp,
    pub messages: u64,
    /// Of those, announced by an earlier digest, and to be deleted before that point.
    pub earlier: u64,
}

/// The most groups in one digest.
pub const GROUPS: usize = 20;

/// Recipients' domains that a group names.
pub const RECIPIENTS: usize = 3;

/// The time between an announcement and what it announces, in microseconds: a day.
pub const NOTICE: i64 = 86_400_000_000;
