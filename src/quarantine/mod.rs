//! What operators do with held mail: release it, delete it, let it expire.
//!
//! The mail lies in the MTA's hold queue, the record in our store, and no transaction spans the two. So
//! that nothing is lost or told twice, whatever is interrupted, each wish goes through these steps:
//!
//! 1. find the verdict, and see that it is held
//! 2. look into the queue: the mail with its queue id is on hold and bears this verdict's header. MTAs use
//!    queue ids again, so an id alone proves nothing. What others put on hold bears no header of ours: its
//!    Message-ID and when it came in prove it
//! 3. write the intent down, durably
//! 4. ask the MTA, through its helper
//! 5. look again: its commands say "done" to everything
//! 6. write outcome, reason and exception, and strike the intent out, in one transaction
//!
//! Interrupted before 4, the mail is on hold still: the intent is void, and is struck out. Interrupted
//! after it, the mail is no longer on hold, and the intent says who did what: step 6 is made up for, at
//! the time that the intent bears. [`Quarantine::resume`] does so at a start and from time to time;
//! asking again does, too. An exception that finds no room in the store keeps no mail: it is left out, and the
//! operator told; asking again makes it, once there is room. One wish is carried out at a time, so that of two operators one wins and the
//! other is told.
//!
//! - `carry_out`: the steps · `find`: which message · `queue`: what is asked of the MTA · `intent`: its
//!   stored form
//! - `digest`: what is held, for the daily digest · `expire`: what that announced is deleted

mod carry_out;
mod digest;
mod error;
mod expire;
mod find;
mod intent;
mod list;
mod queue;

pub use digest::{DigestTerms, Gathered, gather};
pub use error::QuarantineError;
pub use expire::{Expired, Resting, ends, expired};
pub use find::Target;
pub use list::{HeldFilter, Listed, MOST_LISTED, held};
pub use queue::{Queue, is_after, is_that, message};

use crate::outcome::{OutcomeSource, OutcomeState};
use crate::policy::OverrideType;
use crate::policy::rules::Rule;
use crate::store::{ExceptionId, Store};
use crate::time::{Clock, Timestamp};
use crate::verdict::VerdictId;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Carries out wishes, one at a time.
pub struct Quarantine<Q> {
    queue: Q,
    store: Store,
    /// The directory of the store, for readers.
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
}

/// What somebody wants to become of a held message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub what: What,
    pub by: String,
    /// The operator's own words: kept, shown, never sent.
    pub comment: Option<String>,
}

/// The wish itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Release {
        /// The reason that a report gives.
        because: OverrideType,
        /// What lets the next such message pass.
        exception: Option<Box<Rule>>,
    },
    /// Without a bounce.
    Delete,
    /// As `quarantine.expire_after` has it; without a bounce.
    Expire,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub verdict: VerdictId,
    pub state: OutcomeState,
    pub at: Timestamp,
    /// Who did it.
    pub by: Option<String>,
    /// It was so already, or was found half done: nothing was asked of the MTA now.
    pub was_so: bool,
    /// Further words on it, such as the queue id it goes on under.
    pub detail: Option<String>,
    pub exception: Brought,
}

/// What a release brought for the next such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It was to bring nothing.
    Nothing,
    /// This is in force now.
    Exception(ExceptionId),
    /// The exception that was asked for isn't there: the store has room for no more. The operator must act.
    NoRoom,
}

impl<Q> Quarantine<Q> {
    pub fn new(queue: Q, store: Store, directory: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            store,
            directory,
            clock,
            turn: Mutex::new(()),
        }
    }
}

impl What {
    /// How it ends.
    pub fn state(&self) -> OutcomeState {
        match self {
            Self::Release { .. } => OutcomeState::Released,
            Self::Delete | Self::Expire => OutcomeState::Deleted,
        }
    }

    /// What is to let the next such message pass.
    fn exception(&self) -> Option<&Rule> {
        match self {
            Self::Release { exception, .. } => exception.as_deref(),
            Self::Delete | Self::Expire => None,
        }
    }

    fn source(&self) -> OutcomeSource {
        match self {
            Self::Release { .. } | Self::Delete => OutcomeSource::Operator,
            Self::Expire => OutcomeSource::Expiry,
        }
    }
}
