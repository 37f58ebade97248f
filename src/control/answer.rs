//! Does what is asked: one function, for the socket and for the command line when no daemon runs.
//!
//! Owns the translation of requests into operations, and of what these return into words. Judges
//! nothing itself; whoever calls has made sure that the caller may ask.

use super::access::Caller;
use super::held::{HeldRows, held_rows};
use super::protocol::{
    Answer, HeldAsked, Named, OutcomeTold, Refusal, RefusalKind, Release, Request,
};
use crate::mta::HelperError;
use crate::outcome::OutcomeState;
use crate::policy::OverrideType;
use crate::quarantine::{Brought, Done, Quarantine, QuarantineError, Queue, Target, What, Wish};
use crate::store::{ChangeError, Changed, OpenError, Reader, Store};
use crate::tell_outcome::{self, TellError, Telling, Told, Which};
use crate::time::Clock;
use crate::verdict::VerdictId;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// The handles that answering takes.
pub struct Desk<Q> {
    pub quarantine: Arc<Quarantine<Q>>,
    pub store: Store,
    /// The directory of the store, for readers.
    pub directory: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// What held mail is sealed with, where that is ours to make: a rule that holds needs it.
    pub site_key: Option<PathBuf>,
}

/// Does what `caller` asks, who may, and tells what came of it.
pub async fn answer<Q: Queue>(request: Request, caller: &Caller, desk: &Desk<Q>) -> Answer {
    let answer = match request {
        Request::Ping(_) => Ok(Answer::done(json!({"version": env!("CARGO_PKG_VERSION")}))),
        Request::Outcome(told) => desk.tell(told, caller).await,
        Request::Release(release) => desk.release(release, caller).await,
        Request::Delete(named) => desk.carry_out(named, What::Delete, caller).await,
        Request::Expire(named) => desk.carry_out(named, What::Expire, caller).await,
        Request::AddException(added) => desk.add_exception(added, caller).await,
        Request::RemoveException(removed) => desk.remove_exception(removed, caller).await,
        Request::Held(asked) => desk.held(asked).await,
    };
    answer.unwrap_or_else(Answer::Refused)
}

impl<Q: Queue> Desk<Q> {
    pub fn new(queue: Q, store: Store, directory: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            quarantine: Arc::new(Quarantine::new(
                queue,
                store.clone(),
                directory.clone(),
                clock.clone(),
            )),
            store,
            directory,
            clock,
            site_key: None,
        }
    }

    /// A refusal for a peer that means another store than this daemon's.
    pub fn refuse_other_store(&self, meant: &str) -> Option<Refusal> {
        let canonical = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
        let (ours, meant) = (canonical(self.directory.clone()), canonical(meant.into()));
        (ours != meant).then(|| {
            usage(format!(
                "the alignd behind this socket keeps its store in {}, not in {}: give each its own control.socket",
                ours.display(),
                meant.display()
            ))
        })
    }

    async fn tell(&self, told: OutcomeTold, caller: &Caller) -> Result<Answer, Refusal> {
        let telling = telling(told, caller)?;
        let now = self.clock.now();
        let Told { verdict, changed } =
            tell_outcome::tell(&telling, &self.store, &self.directory, now)
                .await
                .map_err(refusal)?;
        Ok(Answer::done(json!({
            "verdict": verdict.to_string(),
            "outcome": telling.state.as_str(),
            "changed": changed == Changed::Moved,
        })))
    }

    async fn release(&self, release: Release, caller: &Caller) -> Result<Answer, Refusal> {
        let because = match release.because.as_deref() {
            None => None,
            Some(word) => {
                let because = OverrideType::parse(word);
                let because = because.filter(|because| *because != OverrideType::PolicyTestMode);
                Some(because.ok_or_else(|| {
                    usage(
                        "because: one of local_policy, mailing_list, trusted_forwarder, other"
                            .to_owned(),
                    )
                })?)
            }
        };
        let exception = self.exception_of(&release, because, caller).await?;
        let of_exception = exception.as_ref().map(|rule| rule.because);
        let what = What::Release {
            because: because
                .or(of_exception)
                .unwrap_or(OverrideType::LocalPolicy),
            exception: exception.map(Box::new),
        };
        let named = Named {
            id: release.id,
            comment: release.comment,
        };
        self.carry_out(named, what, caller).await
    }

    async fn carry_out(
        &self,
        named: Named,
        what: What,
        caller: &Caller,
    ) -> Result<Answer, Refusal> {
        let wish = Wish {
            what,
            by: caller.who.clone(),
            comment: named.comment.as_deref().map(tell_outcome::one_line),
        };
        let target = Target::parse(&named.id);
        let done = self.quarantine.carry_out(&target, &wish).await;
        let Done {
            verdict,
            state,
            at,
            by,
            was_so,
            detail,
            exception,
        } = done.map_err(of_quarantine)?;
        Ok(Answer::done(json!({
            "verdict": verdict.to_string(),
            "outcome": state.as_str(),
            "at": at.to_string(),
            "by": by,
            "was_so": was_so,
            "detail": detail,
            "exception": match exception {
                Brought::Exception(id) => Some(id.key().to_string()),
                Brought::Nothing | Brought::NoRoom => None,
            },
            "no_exception": (exception == Brought::NoRoom).then(|| format!(
                "no exception was made: {}; then repeat this, with the same --allow",
                ChangeError::NoRoom
            )),
        })))
    }

    async fn held(&self, asked: HeldAsked) -> Result<Answer, Refusal> {
        let (directory, now) = (self.directory.clone(), self.clock.now());
        let filter = asked.filter(now)?;
        let reading = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&directory).map_err(QuarantineError::Open)?;
            held_rows(&reader, &filter, now)
        });
        let HeldRows { rows, more } = match reading.await {
            Ok(rows) => rows.map_err(of_quarantine)?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        Ok(Answer::done(json!({"held": rows, "more": more})))
    }
}

fn telling(told: OutcomeTold, caller: &Caller) -> Result<Telling, Refusal> {
    let message = match (told.verdict, told.queue_id, told.message_id) {
        (Some(id), None, None) => {
            let id = VerdictId::parse(&id);
            Which::Verdict(id.ok_or_else(|| usage("verdict: no id of a verdict".to_owned()))?)
        }
        (None, Some(id), None) => Which::QueueId(id),
        (None, None, Some(id)) => Which::MessageId(id),
        (None, Some(queue_id), Some(message_id)) => Which::BothIds {
            queue_id,
            message_id,
        },
        _ => {
            let error = "name the message by its verdict, or by queue_id, message_id or both";
            return Err(usage(error.to_owned()));
        }
    };
    let may_be_told = |state: &OutcomeState| tell_outcome::STATES.contains(state);
    let state = OutcomeState::parse(&told.outcome).filter(may_be_told);
    let state = state.ok_or_else(|| {
        let words: Vec<&str> = tell_outcome::STATES.iter().map(|s| s.as_str()).collect();
        usage(format!("outcome: one of {}", words.join(", ")))
    })?;
    Ok(Telling {
        message,
        state,
        reason: told.reason,
        by: caller.who.clone(),
    })
}

fn refusal(error: TellError) -> Refusal {
    let kind = match &error {
        TellError::NoMessage(_) | TellError::Illegal(..) => RefusalKind::No,
        TellError::Store(error) => of_change(error),
        TellError::Open(error) => of_open(error),
        TellError::Read(_) => RefusalKind::Internal,
    };
    Refusal {
        kind,
        error: error.to_string(),
    }
}

/// Why a wish was not carried out, by who can act.
pub fn of_quarantine(error: QuarantineError) -> Refusal {
    let kind = match &error {
        QuarantineError::NoMessage(_)
        | QuarantineError::NotHeld(..)
        | QuarantineError::OtherWish { .. }
        | QuarantineError::HeldByOthers(_)
        | QuarantineError::NoQueueId(_)
        | QuarantineError::AnotherMail { .. }
        | QuarantineError::NotInQueue { .. } => RefusalKind::No,
        QuarantineError::StillHeld { .. } | QuarantineError::Unsettled(_) => RefusalKind::Temporary,
        QuarantineError::Helper(error) => match error {
            HelperError::NotHeld(_) => RefusalKind::No,
            HelperError::Unreachable(_)
            | HelperError::Refused(_)
            | HelperError::Busy(_)
            | HelperError::Failed(_) => RefusalKind::Temporary,
        },
        QuarantineError::Store(error) => of_change(error),
        QuarantineError::Open(error) => of_open(error),
        QuarantineError::Read(_) => RefusalKind::Internal,
    };
    Refusal {
        kind,
        error: error.to_string(),
    }
}

pub(super) fn usage(error: String) -> Refusal {
    Refusal {
        kind: RefusalKind::Usage,
        error,
    }
}

pub(super) fn of_change(error: &ChangeError) -> RefusalKind {
    match error {
        ChangeError::Illegal { .. }
        | ChangeError::UnknownVerdict(_)
        | ChangeError::UnknownException(_)
        | ChangeError::NoRoom => RefusalKind::No,
        ChangeError::TooMany => RefusalKind::Internal,
        ChangeError::Store(_) => RefusalKind::Temporary,
    }
}

fn of_open(error: &OpenError) -> RefusalKind {
    match error {
        OpenError::Access { .. }
        | OpenError::Missing(_)
        | OpenError::InUse { .. }
        | OpenError::Newer { .. }
        | OpenError::Older { .. }
        | OpenError::Foreign(_) => RefusalKind::Temporary,
        OpenError::Database { .. } | OpenError::Thread(_) => RefusalKind::Internal,
    }
}
