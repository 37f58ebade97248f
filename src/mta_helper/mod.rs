//! `alignd mta-helper`: the one process that may touch the MTA's queue, for those who may ask it to.
//!
//! Owns the socket's loop, who is served (root and alignd's own user, as the kernel names the peer), and the bounds:
//! so many connections, one short request each, a time for everything. Runs nothing but what `mta` does with a
//! queue id that has the MTA's own shape. Speaks to no network.

use crate::local_socket::{LocalListener, Peer};
use crate::mta::wire::{Answer, MAX_REQUEST, Request};
use crate::mta::{MAX_FOUND, Queue, QueueError, QueueId};
use crate::time::Clock;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{info, warn};

/// Where requests come from.
#[derive(Debug)]
pub enum Entrance {
    /// Made by us; it stays until we are told to stop.
    Own(LocalListener),
    /// Handed over by systemd, which listens on when we leave.
    Inherited {
        listener: UnixListener,
        /// How long nobody must have come for us to leave.
        idle: Duration,
    },
}

/// What the helper knows.
pub struct Keeper {
    queue: Queue,
    /// Its owner is alignd's own user.
    store: PathBuf,
    clock: Arc<dyn Clock>,
    /// One change of the queue at a time, so that what was looked at is what is changed.
    turn: Mutex<()>,
}

impl Entrance {
    /// A socket that systemd listens on. Must be called within a tokio runtime.
    pub fn inherited(
        listener: std::os::unix::net::UnixListener,
        idle: Duration,
    ) -> io::Result<Self> {
        // The MTA's commands are not to have it.
        fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self::Inherited { listener, idle })
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        match self {
            Self::Own(listener) => listener.accept().await,
            Self::Inherited { listener, .. } => Ok(listener.accept().await?.0),
        }
    }

    fn idle(&self) -> Duration {
        match self {
            Self::Own(_) => Duration::MAX,
            Self::Inherited { idle, .. } => *idle,
        }
    }
}

impl Keeper {
    pub fn new(queue: Queue, store: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            store,
            clock,
            turn: Mutex::new(()),
        }
    }

    /// Serves until nobody has come for a while, if systemd calls us again; else for ever.
    pub async fn serve(self, entrance: Entrance) {
        let keeper = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = entrance.accept() => accepted,
                () = quiet(&places, entrance.idle()) => return,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let keeper = Arc::clone(&keeper);
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    tokio::spawn(async move {
                        keeper.attend(stream).await;
                        drop(place);
                    });
                }
                Err(_) => drop(tokio::spawn(turn_away(stream))),
            }
        }
    }

    /// One connection: who it is, one request, its answer.
    async fn attend(self: Arc<Self>, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let answer = match Peer::of(stream.get_ref()) {
            Ok(peer) if self.serves(peer) => match request(&mut stream).await {
                Ok(request) => return self.answer(request, peer, stream).await,
                Err(problem) => Answer::NotUnderstood(problem),
            },
            Ok(peer) => {
                let name = peer.name();
                warn!(uid = peer.uid, %name, "refused: neither root nor alignd's own user");
                Answer::Refused(format!(
                    "alignd mta-helper serves root and the owner of store.path ({}), not {name}",
                    self.store.display()
                ))
            }
            Err(error) => Answer::Refused(format!("who asks cannot be known: {error}")),
        };
        // Who doesn't wait for an answer needs none.
        let _ = write(&mut stream, &answer).await;
        linger(stream).await;
    }

    fn serves(&self, peer: Peer) -> bool {
        let owner = || std::fs::metadata(&self.store).map(|store| store.uid()).ok();
        peer.uid == 0 || Some(peer.uid) == owner()
    }

    /// Does it in a thread of its own, and sends what it says while it is done.
    async fn answer(
        self: Arc<Self>,
        request: Request,
        peer: Peer,
        mut stream: BufReader<UnixStream>,
    ) {
        let (say, mut said) = mpsc::channel(16);
        let work = tokio::task::spawn_blocking(move || self.carry_out(&request, peer, &say));
        while let Some(answer) = said.recv().await {
            if write(&mut stream, &answer).await.is_err() {
                break;
            }
        }
        drop(said);
        if let Err(panicked) = work.await {
            tracing::error!(%panicked, "a request ended by itself");
        }
    }

    /// Answers in order, to `say`; a peer that is gone doesn't change what is done.
    fn carry_out(&self, request: &Request, peer: Peer, say: &mpsc::Sender<Answer>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match request {
            Request::List => self.list(say),
            Request::Show { queue_id, part } => self.with(queue_id, |id| {
                self.queue
                    .show(id, (*part).into())
                    .map(|shown| Answer::from(&shown))
            }),
            Request::Locate { queue_id } => self.with(queue_id, |id| {
                self.queue
                    .locate(id)
                    .map(|place| Answer::Place(place.into()))
            }),
            Request::Find { queue_ids } => self.find(queue_ids),
            Request::Release { queue_id } => self.with(queue_id, |id| {
                let released = self.queue.release(id, self.clock.now());
                logged("release", id, peer, &released);
                released.map(|released| Answer::Released(released.into()))
            }),
            Request::Requeue { queue_id } => self.with(queue_id, |id| {
                let requeued = self.queue.requeue(id);
                logged("requeue", id, peer, &requeued);
                requeued.map(|requeued| Answer::Released(requeued.into()))
            }),
            Request::Delete { queue_id } => self.with(queue_id, |id| {
                let deleted = self.queue.delete(id);
                logged("delete", id, peer, &deleted);
                deleted.map(|()| Answer::Deleted {})
            }),
        };
        let _ = say.blocking_send(answer);
    }

    fn list(&self, say: &mpsc::Sender<Answer>) -> Answer {
        let listed = self.queue.list(|entry| {
            let _ = say.blocking_send(Answer::Held(entry.into()));
        });
        match listed {
            Ok(more) => Answer::Listed { more },
            Err(error) => error.into(),
        }
    }

    fn find(&self, queue_ids: &[String]) -> Answer {
        let ids: Option<Vec<QueueId>> = queue_ids.iter().map(|id| self.queue.id(id)).collect();
        match ids.filter(|ids| ids.len() <= MAX_FOUND) {
            Some(ids) => match self.queue.find(&ids) {
                Ok(places) => Answer::Found(places.into_iter().map(Into::into).collect()),
                Err(error) => error.into(),
            },
            None => {
                warn!("refused: not queue ids of this MTA's, or too many");
                Answer::NotUnderstood(format!(
                    "queue_ids: at most {MAX_FOUND}, each a queue id of this MTA's"
                ))
            }
        }
    }

    /// Only what is a queue id of this MTA's goes any further.
    fn with(
        &self,
        queue_id: &str,
        act: impl FnOnce(&QueueId) -> Result<Answer, QueueError>,
    ) -> Answer {
        match self.queue.id(queue_id) {
            Some(id) => act(&id).unwrap_or_else(Answer::from),
            None => {
                warn!(queue_id, "refused: not a queue id of this MTA's");
                Answer::NotUnderstood("queue_id: not a queue id of this MTA's".to_owned())
            }
        }
    }
}

fn logged<T>(deed: &str, id: &QueueId, peer: Peer, result: &Result<T, QueueError>) {
    let (queue_id, uid) = (id.as_str(), peer.uid);
    match result {
        Ok(_) => info!(deed, queue_id, uid, "done"),
        Err(QueueError::NotHeld(place)) => info!(deed, queue_id, uid, %place, "not held"),
        Err(QueueError::Failed(problem)) => warn!(deed, queue_id, uid, problem, "not done"),
    }
}

/// Until nobody has been here for that long.
async fn quiet(places: &Semaphore, idle: Duration) {
    loop {
        tokio::time::sleep(idle).await;
        if places.available_permits() == MAX_CONNECTIONS {
            return;
        }
    }
}

/// Reads the one line. `Err`: what to say to the peer.
async fn request(stream: &mut BufReader<UnixStream>) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut bounded = stream.take(MAX_REQUEST);
    match timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if line.last() == Some(&b'\n') => {
            serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))
        }
        Ok(Ok(_)) => Err(format!(
            "a request is one line of at most {MAX_REQUEST} octets"
        )),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no request came".to_owned()),
    }
}

async fn write(stream: &mut BufReader<UnixStream>, answer: &Answer) -> io::Result<()> {
    let line = serde_json::to_string(answer)? + "\n";
    match timeout(PATIENCE, stream.write_all(line.as_bytes())).await {
        Ok(written) => written,
        Err(late) => Err(late.into()),
    }
}

async fn turn_away(stream: UnixStream) {
    let mut stream = BufReader::new(stream);
    let text = format!(
        "alignd mta-helper has {MAX_CONNECTIONS} connections already: ask again in a moment"
    );
    let _ = write(&mut stream, &Answer::Busy(text)).await;
    linger(stream).await;
}

/// A socket that is closed with something unread in it loses the answer: the peer sees a reset.
async fn linger(mut stream: BufReader<UnixStream>) {
    let _ = stream.shutdown().await;
    let mut rest = stream.take(MAX_REQUEST * 4);
    let _ = timeout(PAUSE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

const MAX_CONNECTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
