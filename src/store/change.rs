//! What an operator, or a program for one, changes in the store, in our words: outcomes and exceptions,
//! all of it or nothing.
//!
//! Owns those types. Pure: the SQL is in `sqlite::change`.

use crate::outcome::{IllegalMove, Outcome};
use crate::policy::rules::{Rule, RuleKey};
use crate::store::error::RecordError;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use std::fmt;

/// One change; [`super::Store::change`] makes several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Moves a message's outcome on.
    Outcome {
        verdict: VerdictId,
        outcome: Outcome,
    },
    /// Writes down what is about to be asked of the MTA.
    Intend(Intent),
    /// It is done, or was not begun.
    StrikeOut { verdict: VerdictId },
    /// Writes down that the mail server took a digest, or that there was nothing to say in one.
    Digest(DigestMark),
    /// Writes down when the deletion of a held message was announced; `None`: it is not announced any more.
    Announce {
        verdict: VerdictId,
        at: Option<Timestamp>,
    },
    /// Adds an exception or a stricter rule.
    AddException(Box<NewException>),
    /// Ends one before its time. It stays to be read.
    RemoveException {
        id: ExceptionId,
        at: Timestamp,
        who: String,
        why: Option<String>,
    },
}

/// What is about to be asked of the MTA for a held message. While it stands, what the queue or the log
/// says of the message's release or deletion is left to whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub verdict: VerdictId,
    pub at: Timestamp,
    pub by: String,
    /// JSON, of the form that `quarantine` writes.
    pub document: String,
}

/// How far the daily digest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestMark {
    /// The point at which the last one was due.
    pub due: Timestamp,
    /// When the mail server took the last one; `None`: it took none yet.
    pub sent: Option<Timestamp>,
    /// How many messages it told to be held.
    pub messages: u64,
}

/// An exception, or a stricter rule, that is to be in force from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewException {
    pub rule: Rule,
    /// The message whose release it came with.
    pub from: Option<VerdictId>,
    pub at: Timestamp,
    pub who: String,
    pub why: Option<String>,
}

/// The number of an exception in the store; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExceptionId(pub i64);

/// What a change came to. All of them are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Moved,
    Added(ExceptionId),
    /// A rule that decides the same was in force: that one got the new reason, comment, owner and end.
    /// Coming from a message, it never ends sooner for it.
    Altered(ExceptionId),
    /// The same rule is in force, and says the same or came from the same message.
    AlreadyThere(ExceptionId),
    Removed,
    /// An intent, a digest or an announcement was written down, or struck out.
    Noted,
    /// It was so before.
    Unchanged,
}

/// Why nothing at all was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// The message cannot be moved there from where it stands. The operator must act.
    Illegal {
        verdict: VerdictId,
        illegal: IllegalMove,
    },
    UnknownVerdict(VerdictId),
    UnknownException(ExceptionId),
    /// More than [`MAX_CHANGES`] at once. A fault of ours.
    TooMany,
    /// There are [`MAX_EXCEPTIONS`] in the store. The operator must act.
    NoRoom,
    /// Later, perhaps. After `Late` it may be done nevertheless; to repeat it does no harm.
    Store(RecordError),
}

/// Changes made in one transaction, which stays under 20 ms so.
pub const MAX_CHANGES: usize = 256;

/// Exceptions in the store that were not removed.
pub const MAX_EXCEPTIONS: usize = 100_000;

impl Changed {
    /// Whether other rules are in force than before.
    pub(super) fn is_of_exceptions(self) -> bool {
        match self {
            Self::Added(_) | Self::Altered(_) | Self::Removed => true,
            Self::Moved | Self::AlreadyThere(_) | Self::Noted | Self::Unchanged => false,
        }
    }
}

impl ExceptionId {
    /// What verdicts and listings name it by.
    pub fn key(self) -> RuleKey {
        RuleKey::stored(self.0)
    }
}

impl fmt::Display for ExceptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Illegal { verdict, illegal } => write!(f, "{verdict}: {illegal}"),
            Self::UnknownVerdict(verdict) => write!(
                f,
                "{verdict}: no such verdict; it may be older than store.keep_messages"
            ),
            Self::UnknownException(id) => write!(
                f,
                "no exception {id} in the store; alignd exception list shows them"
            ),
            Self::TooMany => write!(f, "more than {MAX_CHANGES} changes at once"),
            Self::NoRoom => write!(
                f,
                "the store has room for {MAX_EXCEPTIONS} exceptions; end some with alignd exception remove: alignd exception list --all shows which have expired, and how often each was used"
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChangeError {}
