//! Why a wish was not carried out, in words that say what to do.

use super::Target;
use crate::mta::HelperError;
use crate::outcome::OutcomeState;
use crate::store::{ChangeError, OpenError, ReadError};
use crate::verdict::VerdictId;
use std::fmt;

/// Nothing was changed, unless it says so.
#[derive(Debug)]
pub enum QuarantineError {
    /// Nothing is known of such a message.
    NoMessage(Target),
    /// It isn't held: it stands so.
    NotHeld(VerdictId, OutcomeState),
    /// It ended in another way, by somebody else's wish: who and how.
    OtherWish {
        verdict: VerdictId,
        state: OutcomeState,
        by: String,
    },
    /// It wasn't alignd that put it on hold, so alignd doesn't let its time be over.
    HeldByOthers(VerdictId),
    /// The MTA told no id for it that could be looked for.
    NoQueueId(VerdictId),
    /// Under its queue id another mail is held.
    AnotherMail {
        verdict: VerdictId,
        queue_id: String,
        found: String,
    },
    /// It is no longer on hold, and nobody says by whom.
    NotInQueue {
        verdict: VerdictId,
        queue_id: String,
    },
    /// The MTA was asked, and the mail is on hold still.
    StillHeld {
        queue_id: String,
        problem: Option<String>,
    },
    /// The MTA was asked, and what came of it can't be seen now. The intent stands.
    Unsettled(HelperError),
    Helper(HelperError),
    Store(ChangeError),
    Open(OpenError),
    Read(ReadError),
}

impl fmt::Display for QuarantineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage(target) => write!(
                f,
                "{target}: no verdict and no queue id in the store; alignd quarantine list shows what is held"
            ),
            Self::NotHeld(verdict, state) => write!(
                f,
                "{verdict} is not held: it is {state}; alignd why {verdict} tells its history"
            ),
            Self::OtherWish { verdict, state, by } => {
                write!(f, "{verdict} was {state} by {by} already")
            }
            Self::HeldByOthers(verdict) => write!(
                f,
                "{verdict} was put on hold by others, so it does not expire; alignd quarantine delete {verdict} deletes it"
            ),
            Self::NoQueueId(verdict) => write!(
                f,
                "{verdict}: the MTA told no queue id for it, so it can't be found; look for its X-Alignd-Verdict in the MTA's queue, then tell alignd outcome --verdict {verdict} released"
            ),
            Self::AnotherMail {
                verdict,
                queue_id,
                found,
            } => write!(
                f,
                "{queue_id}: the mail on hold under this queue id is not that of verdict {verdict}: it {found}; nothing was touched"
            ),
            Self::NotInQueue { verdict, queue_id } => write!(
                f,
                "{queue_id} is no longer on hold, and not by alignd: the MTA's log tells whether it was released or deleted; then alignd outcome --verdict {verdict} released"
            ),
            Self::StillHeld { queue_id, problem } => {
                write!(f, "{queue_id} is on hold still, though the MTA was asked")?;
                match problem {
                    Some(problem) => write!(f, ": {problem}"),
                    None => Ok(()),
                }
            }
            Self::Unsettled(error) => write!(
                f,
                "the MTA was asked, but what came of it can't be seen now: {error}; ask again, it ends the same"
            ),
            Self::Helper(error) => write!(f, "{error}; nothing was changed"),
            Self::Store(error) => write!(f, "{error}; ask again, it ends the same"),
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for QuarantineError {}
