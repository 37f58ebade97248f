//! The MTA's own hold queue: its words, how the privileged helper is asked about it, and what the mail log says.
//!
//! Owns the queue ids (`queue_id`), the protocol (`wire`) and the daemon's end of it (`client`), and what a line
//! of the mail log says (`log`). Keeps nothing and decides nothing: the mail stays the MTA's, what is to
//! become of it is said by whoever asks.

mod client;

pub mod log;

mod queue_id;
mod wire;

pub use client::{Helper, HelperError};
pub use queue_id::{NoQueueId, QueueId};

use crate::time::Timestamp;
use crate::word::words;
use std::fmt;
use std::path::PathBuf;

/// `quarantine.mta`, `mta_config` and `helper_socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    pub mta: MtaKind,
    /// Postfix: the directory of main.cf, as `-c` takes it. Sendmail: sendmail.cf. `None`: the MTA's usual one.
    pub mta_config: Option<PathBuf>,
    pub helper_socket: PathBuf,
}

words! {
    /// `quarantine.mta`
    MtaKind { Postfix = "postfix", Sendmail = "sendmail" }
}

/// A mail in the hold queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEntry {
    pub queue_id: QueueId,
    /// The queue as the MTA calls it: Postfix `hold`, Sendmail its directory.
    pub queue: String,
    /// When it came in, to the second.
    pub arrived: Timestamp,
    /// Octets, as the MTA counts them: Postfix the message, Sendmail its body.
    pub size: u64,
    /// The envelope sender; empty is the null sender.
    pub sender: String,
    /// The first `MAX_RECIPIENTS` of the envelope.
    pub recipients: Vec<String>,
    /// How many there are.
    pub recipient_count: u64,
    /// Why, where the MTA keeps it: Sendmail.
    pub reason: Option<String>,
}

/// How many recipients of a held mail are named.
pub const MAX_RECIPIENTS: usize = 20;

/// The hold queue, as far as `MAX_ENTRIES` goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldQueue {
    pub held: Vec<HeldEntry>,
    /// There are more than are listed.
    pub more: bool,
}

/// How many held mails are listed.
pub const MAX_ENTRIES: usize = 50_000;

/// Where a mail is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the hold queue.
    Held,
    /// In another queue, on its way: Postfix `incoming`, `active`, `deferred`, `maildrop`.
    Queued(String),
    /// In no queue: delivered, bounced or deleted, which only the log knows.
    Gone,
}

/// How much of a message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Header,
    /// Header and body.
    Message,
}

/// A message as it lies in the queue, with what milters put into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub octets: Vec<u8>,
    /// It is longer than `MAX_SHOWN`.
    pub cut: bool,
}

/// How many octets of a message are shown.
pub const MAX_SHOWN: usize = 32 << 20;

/// What releasing a held mail did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Under which id it goes on: another one if it was requeued. `None`: it was requeued and taken out of
    /// the queue again before it was seen; the log's line with `orig_id=` tells.
    pub queue_id: Option<QueueId>,
    /// Put in as new, so that it has its whole lifetime in the queue before it.
    pub requeued: bool,
    /// Where it was seen last.
    pub place: Place,
    /// Why its delivery wasn't begun at once: it leaves with the MTA's next queue run.
    pub waits: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("in the hold queue"),
            Self::Queued(queue) => write!(f, "in the queue `{queue}`"),
            Self::Gone => f.write_str("in no queue"),
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mta: MtaKind::Postfix,
            mta_config: None,
            helper_socket: PathBuf::from("/run/alignd-mta-helper.sock"),
        }
    }
}
