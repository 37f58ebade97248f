//! The MTA's own hold queue, and how the privileged helper that alone may touch it is asked.
//!
//! Owns the queue ids (`queue_id`), the commands and files that list, show, release, requeue and delete held mail on
//! Postfix (`postfix`) and Sendmail (`sendmail`), the protocol in which the daemon asks for that (`wire`) and its end of
//! it (`client`; the other end is the room `mta_helper`), and what a line of the mail log says (`log`). Keeps
//! nothing and decides nothing: the mail stays the MTA's, what is to become of it is said by whoever asks.

mod client;
mod command;

pub mod log;

mod postfix;
mod queue_id;
mod sendmail;
pub mod wire;

pub use client::{Helper, HelperError};
pub use command::Commands;
pub use queue_id::{NoQueueId, QueueId};

use crate::time::Timestamp;
use crate::word::words;
use postfix::Postfix;
use sendmail::Sendmail;
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

/// The hold queue of this host, for those who may touch it: root.
#[derive(Debug, Clone)]
pub struct Queue(Adapter);

#[derive(Debug, Clone)]
enum Adapter {
    Postfix(Postfix),
    Sendmail(Sendmail),
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

/// How many held mails are listed.
pub const MAX_ENTRIES: usize = 50_000;

/// How many mails are looked for at once.
pub const MAX_FOUND: usize = 1_000;

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

impl Queue {
    pub fn new(settings: &QueueSettings, commands: Commands) -> Self {
        let config = settings.mta_config.as_deref();
        Self(match settings.mta {
            MtaKind::Postfix => Adapter::Postfix(Postfix::new(commands, config)),
            MtaKind::Sendmail => Adapter::Sendmail(Sendmail::new(commands, config)),
        })
    }

    /// Takes `text` if this MTA can have given it.
    pub fn id(&self, text: &str) -> Option<QueueId> {
        QueueId::parse(text).filter(match self.0 {
            Adapter::Postfix(_) => QueueId::is_postfix,
            Adapter::Sendmail(_) => QueueId::is_sendmail,
        })
    }

    /// Hands over each held mail. `true`: there are more than `MAX_ENTRIES`.
    pub fn list(&self, each: impl FnMut(HeldEntry)) -> Result<bool, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.list(each),
            Adapter::Sendmail(sendmail) => sendmail.list(each),
        }
    }

    pub fn show(&self, id: &QueueId, part: Part) -> Result<Shown, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.show(id, part),
            Adapter::Sendmail(sendmail) => sendmail.show(id, part),
        }
    }

    /// `now` tells how long it was held.
    pub fn release(&self, id: &QueueId, now: Timestamp) -> Result<Released, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.release(id, now),
            Adapter::Sendmail(sendmail) => sendmail.release(id),
        }
    }

    pub fn requeue(&self, id: &QueueId) -> Result<Released, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.requeue(id),
            Adapter::Sendmail(_) => Err(QueueError::Failed(
                "Sendmail cannot put mail in as new: release it".to_owned(),
            )),
        }
    }

    pub fn delete(&self, id: &QueueId) -> Result<(), QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.delete(id),
            Adapter::Sendmail(sendmail) => sendmail.delete(id),
        }
    }

    /// Where each of them is now, by one look at the whole queue, in which a mail that moves may be missed.
    pub fn find(&self, ids: &[QueueId]) -> Result<Vec<Place>, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.find(ids),
            Adapter::Sendmail(sendmail) => sendmail.find(ids),
        }
    }

    /// Where a mail is now, looked for twice before it is believed to be gone.
    pub fn locate(&self, id: &QueueId) -> Result<Place, QueueError> {
        match &self.0 {
            Adapter::Postfix(postfix) => postfix.locate(id),
            Adapter::Sendmail(sendmail) => sendmail.locate(id),
        }
    }
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

/// Why the queue couldn't be asked, or didn't do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueError {
    /// The mail isn't held.
    NotHeld(Place),
    /// A sentence for the operator: what the MTA said.
    Failed(String),
}
