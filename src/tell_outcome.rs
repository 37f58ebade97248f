//! What another program, or a person, says became of a message: `alignd outcome`.
//!
//! Finds the message by any name it has, and moves its outcome if that can be. Which moves are legal
//! is `outcome`'s to say. Asks no MTA: this is hearsay, kept as such, with the name of who said it.

use crate::outcome::{IllegalMove, Outcome, OutcomeSource, OutcomeState};
use crate::store::{Change, ChangeError, Changed, OpenError, ReadError, Reader, Store};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    pub message: Which,
    pub state: OutcomeState,
    /// One line, at most [`MAX_REASON`] characters; longer ones are cut.
    pub reason: Option<String>,
    pub by: String,
}

/// Which message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Verdict(VerdictId),
    /// The newest message with this id: MTAs use theirs again.
    QueueId(String),
    /// Without its brackets; the newest message of the last two days with it, among the newest 100,000.
    MessageId(String),
    /// The newest message with both. For who can't know whether alignd has judged this message at all:
    /// by the queue id alone it might be an older one.
    BothIds {
        queue_id: String,
        message_id: String,
    },
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub verdict: VerdictId,
    pub changed: Changed,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum TellError {
    /// Nothing is known of such a message.
    NoMessage(Which),
    Illegal(VerdictId, IllegalMove),
    Store(ChangeError),
    Open(OpenError),
    Read(ReadError),
}

/// What may be told: the other states are alignd's own to find out.
pub const STATES: &[OutcomeState] = &[
    OutcomeState::Accepted,
    OutcomeState::Rejected,
    OutcomeState::Held,
    OutcomeState::Released,
    OutcomeState::RefusedLater,
];

/// Moves the outcome, durably. Repeated, it changes nothing.
pub async fn tell(
    telling: &Telling,
    store: &Store,
    directory: &Path,
    now: Timestamp,
) -> Result<Told, TellError> {
    let verdict = find(telling.message.clone(), directory, now).await?;
    let outcome = Outcome {
        detail: telling.reason.as_deref().map(one_line),
        by: Some(telling.by.clone()),
        ..Outcome::new(telling.state, now, OutcomeSource::Operator)
    };
    let mut patience = TRIES;
    loop {
        let change = Change::Outcome {
            verdict,
            outcome: outcome.clone(),
        };
        match store.change(vec![change]).await {
            Ok(changed) => {
                let changed = changed.into_iter().next().unwrap_or(Changed::Unchanged);
                return Ok(Told { verdict, changed });
            }
            Err(ChangeError::Illegal { illegal, .. }) => {
                // A later milter may be faster than the MTA is in taking our answer.
                if illegal.from != OutcomeState::Answering || patience == 0 {
                    return Err(TellError::Illegal(verdict, illegal));
                }
                patience -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(ChangeError::UnknownVerdict(_)) => {
                return Err(TellError::NoMessage(telling.message.clone()));
            }
            Err(error) => return Err(TellError::Store(error)),
        }
    }
}

async fn find(which: Which, directory: &Path, now: Timestamp) -> Result<VerdictId, TellError> {
    if let Which::Verdict(id) = which {
        return Ok(id);
    }
    let directory = directory.to_owned();
    let search = tokio::task::spawn_blocking(move || {
        let reader = Reader::open(&directory).map_err(TellError::Open)?;
        let found = match &which {
            Which::Verdict(id) => Ok(Some(*id)),
            Which::QueueId(id) => reader.newest_with_queue_id(id),
            Which::MessageId(id) => {
                reader.newest_with_message_id(bare(id), now.plus_micros(-WINDOW))
            }
            Which::BothIds {
                queue_id,
                message_id,
            } => reader.newest_with_both_ids(queue_id, bare(message_id)),
        };
        found
            .map_err(TellError::Read)?
            .ok_or(TellError::NoMessage(which))
    });
    match search.await {
        Ok(found) => found,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Message-ID as people and programs copy it.
fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<')
        .and_then(|id| id.strip_suffix('>'))
        .unwrap_or(id)
}

/// What somebody else wrote, as one line of at most [`MAX_REASON`] characters: it is printed, and kept
/// for long.
pub fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let line: String = plain.take(MAX_REASON).collect();
    line.trim().to_owned()
}

/// Characters of a reason.
pub const MAX_REASON: usize = 500;
/// How far back a Message-ID is looked for, in microseconds.
const WINDOW: i64 = 2 * 86_400 * 1_000_000;
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(id) => write!(f, "no verdict {id}"),
            Self::QueueId(id) => write!(f, "no message with the queue id {id}"),
            Self::MessageId(id) => {
                write!(
                    f,
                    "no message with the Message-ID <{}> among the newest 100,000 of the last two days",
                    bare(id)
                )
            }
            Self::BothIds {
                queue_id,
                message_id,
            } => write!(
                f,
                "no message with the queue id {queue_id} and the Message-ID <{}>",
                bare(message_id)
            ),
        }
    }
}

impl fmt::Display for TellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage(which) => write!(f, "{which} in the store"),
            Self::Illegal(verdict, illegal) => {
                write!(f, "{verdict}: {illegal}")?;
                f.write_str(advice(illegal))
            }
            Self::Store(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TellError {}

/// What was probably meant.
fn advice(illegal: &IllegalMove) -> &'static str {
    use OutcomeState::{
        Accepted, Answering, Deleted, Held, RefusedLater, Rejected, Released, Tempfailed, Unknown,
    };
    match (illegal.from, illegal.to) {
        (Accepted | Held | Released, Rejected) => {
            ": it was accepted first; a refusal after that is refused_later"
        }
        (Accepted, Released) => ": it isn't held; tell held first, or leave it accepted",
        (Released | Held, Accepted) => ": mail that was held ends as released",
        (RefusedLater | Rejected | Deleted | Tempfailed, _) => ": that is the end of a message",
        (Answering, _) => ": the MTA has not taken alignd's answer yet",
        (Unknown, _)
        | (
            Accepted | Held | Released,
            Answering | Accepted | Held | Released | RefusedLater | Deleted | Tempfailed | Unknown,
        ) => "",
    }
}
