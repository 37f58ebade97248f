//! How commands change something: by asking the daemon, or, when none runs, by doing it here.
//!
//! Owns the choice between the two and what is said about it. Both ways end in `control::answer`.

use super::{Exit, Failure, Outcome, stored};
use crate::config::Config;
use crate::control::{
    self, Answer, Caller, Desk, Line, Rank, Refusal, RefusalKind, Request, Unanswered,
};
use crate::daemon::SystemClock;
use crate::local_socket::Peer;
use crate::mta::Helper;
use crate::quarantine::QuarantineError;
use crate::store::Store;
use crate::time::Clock;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Has it done, and hands what there is to tell to `show`. A refusal that the operator can't help by
/// other words is no failure but a no.
pub fn ask(
    config: &Config,
    request: Request,
    show: impl FnOnce(&Map<String, Value>) -> Result<(), Failure>,
) -> Outcome {
    match reply(config, request)? {
        Answer::Done(fields) => {
            show(&fields)?;
            Ok(Exit::Ok)
        }
        Answer::Refused(refusal) => refused(&refusal),
    }
}

/// What the daemon answers, or what comes of it here.
fn reply(config: &Config, request: Request) -> Result<Answer, Failure> {
    let mut reply = None;
    each(config, vec![request], |answer| {
        reply = Some(answer);
        Ok(())
    })?;
    reply.ok_or_else(|| Failure::Internal("no answer, and no reason why".to_owned()))
}

/// Has one thing done after the other, and hands each answer to `take`, whose error ends it.
pub fn each(
    config: &Config,
    requests: Vec<Request>,
    mut take: impl FnMut(Answer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let person = behind_sudo();
    let mut waiting = requests.into_iter();
    while let Some(request) = waiting.next() {
        match asked(config, &request, &person)? {
            Some(answer) => take(answer)?,
            None => {
                let left = std::iter::once(request).chain(waiting);
                return here(config, left, person.as_deref(), take);
            }
        }
    }
    Ok(())
}

/// `None`: no daemon runs.
fn asked(
    config: &Config,
    request: &Request,
    person: &Option<String>,
) -> Result<Option<Answer>, Failure> {
    let Some(socket) = &config.control.socket else {
        return Ok(None);
    };
    let line = Line {
        request: request.clone(),
        store: config.store.path.to_str().map(str::to_owned),
        on_behalf_of: person.clone(),
    };
    match control::ask(socket, &line) {
        Ok(answer) => Ok(Some(answer)),
        Err(Unanswered::NobodyThere) => Ok(None),
        Err(Unanswered::Failed(problem)) => Err(Failure::Temporary(problem)),
        Err(Unanswered::Unspeakable(refusal)) => Err(Failure::Internal(refusal.error)),
    }
}

/// What a look at held mail ran into.
pub fn quarantine_failed(error: QuarantineError) -> Outcome {
    refused(&control::of_quarantine(error))
}

/// Says no on standard error, or fails, by who can act.
pub fn refused(refusal: &Refusal) -> Outcome {
    match refusal.kind {
        RefusalKind::No => {
            eprintln!("alignd: {}", super::output::printable(&refusal.error));
            Ok(Exit::No)
        }
        RefusalKind::Usage | RefusalKind::Forbidden => Err(Failure::Usage(refusal.error.clone())),
        RefusalKind::Temporary => Err(Failure::Temporary(refusal.error.clone())),
        RefusalKind::Internal => Err(Failure::Internal(refusal.error.clone())),
    }
}

/// Opens the store itself; only a user whom the file rights let do that.
fn here(
    config: &Config,
    requests: impl Iterator<Item = Request>,
    person: Option<&str>,
    mut take: impl FnMut(Answer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Creates and migrates nothing.
    drop(stored::open(config)?);
    let now = SystemClock.now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("the system refuses threads: {error}")))?;
    runtime.block_on(async {
        let store = Store::open(&config.store, now)?;
        eprintln!("alignd: no daemon runs; done in the store itself");
        let queue = Helper::new(&config.quarantine.queue.helper_socket);
        let directory = config.store.path.clone();
        let desk = Desk::new(queue, store.clone(), directory, Arc::new(SystemClock));
        let caller = Caller {
            who: Peer::ourselves().name(),
            rank: Rank::Operator,
        };
        let caller = caller.on_behalf_of(person);
        let mut result = Ok(());
        for request in requests {
            result = take(control::answer(request, &caller, &desk).await);
            if result.is_err() {
                break;
            }
        }
        drop(desk);
        store.close().await;
        result
    })
}

/// Who called `sudo`, if that is how we came to be root.
fn behind_sudo() -> Option<String> {
    let is_root = Peer::ourselves().uid == 0;
    let person = std::env::var("SUDO_USER").ok();
    person.filter(|person| is_root && person != "root")
}
