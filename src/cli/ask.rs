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
use crate::store::{OpenError, Store};
use crate::time::Clock;
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

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
    let mut patience = TRIES;
    let mut waiting = requests.into_iter();
    while let Some(request) = waiting.next() {
        let answer = loop {
            if let Some(answer) = asked(config, &request, &person)? {
                break answer;
            }
            // Creates and migrates nothing.
            drop(stored::open(config)?);
            match Here::open(config) {
                Ok(here) => {
                    let left = std::iter::once(request).chain(waiting);
                    return here.serve(left, person.as_deref(), take);
                }
                // A daemon that begins or ends just now has the store, and no socket.
                Err(HereError::Store(OpenError::InUse { .. }))
                    if config.control.socket.is_some() && patience > 0 =>
                {
                    patience -= 1;
                    std::thread::sleep(PAUSE);
                }
                Err(HereError::Store(error)) => return Err(error.into()),
                Err(HereError::Threads(error)) => {
                    let problem = format!("the system refuses threads: {error}");
                    return Err(Failure::Internal(problem));
                }
            }
        };
        take(answer)?;
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

/// The store in our own hands; only a user whom the file rights let do that.
struct Here {
    runtime: Runtime,
    store: Store,
    desk: Desk<Helper>,
}

enum HereError {
    Threads(io::Error),
    Store(OpenError),
}

impl Here {
    fn open(config: &Config) -> Result<Self, HereError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(HereError::Threads)?;
        let store = Store::open(&config.store, SystemClock.now()).map_err(HereError::Store)?;
        let queue = Helper::new(&config.quarantine.queue.helper_socket);
        let directory = config.store.path.clone();
        let desk = Desk::new(queue, store.clone(), directory, Arc::new(SystemClock));
        Ok(Self {
            runtime,
            store,
            desk,
        })
    }

    fn serve(
        self,
        requests: impl Iterator<Item = Request>,
        person: Option<&str>,
        mut take: impl FnMut(Answer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        eprintln!("alignd: no daemon runs; done in the store itself");
        let caller = Caller {
            who: Peer::ourselves().name(),
            rank: Rank::Operator,
        };
        let caller = caller.on_behalf_of(person);
        let Self {
            runtime,
            store,
            desk,
        } = self;
        runtime.block_on(async {
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
}

/// Who called `sudo`, if that is how we came to be root.
fn behind_sudo() -> Option<String> {
    let is_root = Peer::ourselves().uid == 0;
    let person = std::env::var("SUDO_USER").ok();
    person.filter(|person| is_root && person != "root")
}

/// For a daemon that begins or ends: 5 s.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
