//! The socket's loop: peers are accepted, recognised and answered, line by line.
//!
//! Owns every bound: connections, octets of a line, time for a line and for an answer. A peer that is
//! slow, talkative or a stranger costs one task for a while and nothing else. What is in hand at a stop
//! is finished. Knows nothing of what is asked.

use super::ControlSettings;
use super::access::{Caller, Rank};
use super::answer::{Desk, answer};
use super::protocol::{Answer, Line, MAX_REQUEST, Refusal, RefusalKind};
use crate::local_socket::{self, LocalListener, Peer};
use crate::quarantine::Queue;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// Makes the socket. Every user may connect, since who asks is told by the kernel and not by the
/// rights of a file. Err: a sentence for the operator.
pub fn bind(path: &Path) -> Result<LocalListener, String> {
    local_socket::bind(path, 0o666, None)
        .map_err(|problem| format!("control.socket: {}: {problem}", path.display()))
}

/// Answers whoever connects until `shutdown` turns true, then finishes what is in hand, for
/// `GRACE` at most.
pub async fn serve<Q: Queue + 'static>(
    listener: LocalListener,
    settings: watch::Receiver<Arc<ControlSettings>>,
    desk: Arc<Desk<Q>>,
    mut shutdown: watch::Receiver<bool>,
) {
    info!(socket = %listener.path().display(), "control: listening");
    let room = Arc::new(Room::default());
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "control: cannot accept a connection; trying again");
                sleep(PAUSE).await;
                continue;
            }
        };
        let users = settings.borrow().outcome_users.clone();
        let conversation = Conversation {
            desk: Arc::clone(&desk),
            room: Arc::clone(&room),
            shutdown: shutdown.clone(),
        };
        open.spawn(conversation.hold(stream, users));
        if open.len() >= MAX_CONNECTIONS {
            open.join_next().await;
        }
    }
    drop(listener);
    let finished = async { while open.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        warn!("control: stopped with a request in hand; asked again, it ends the same");
    }
}

/// What the conversations share.
#[derive(Default)]
struct Room {
    tellers: AtomicUsize,
    strangers: AtomicU64,
    told_of_strangers: Mutex<Option<Instant>>,
}

struct Conversation<Q> {
    desk: Arc<Desk<Q>>,
    room: Arc<Room>,
    shutdown: watch::Receiver<bool>,
}

/// A place among the tellers, so that they never take the operator's.
struct Place(Arc<Room>);

impl<Q: Queue> Conversation<Q> {
    async fn hold(self, stream: UnixStream, users: Vec<String>) {
        let Ok(peer) = Peer::of(&stream) else { return };
        // The host's users may be asked for in a directory far away.
        let caller = tokio::task::spawn_blocking(move || Caller::of(peer, &users));
        let (reader, mut writer) = stream.into_split();
        let Ok(Some(caller)) = caller.await else {
            self.room.note_stranger(peer);
            let refusal = Answer::refused(
                RefusalKind::Forbidden,
                format!(
                    "{} may not ask anything here: only root, alignd's own user and those in control.outcome_users",
                    peer.name()
                ),
            );
            _ = send(&mut writer, &refusal).await;
            return;
        };
        let place = match caller.rank {
            Rank::Operator => None,
            Rank::Teller => match Place::take(&self.room) {
                Some(place) => Some(place),
                None => {
                    let refusal = "too many connections of control.outcome_users; try again";
                    let refusal = Answer::refused(RefusalKind::Temporary, refusal);
                    _ = send(&mut writer, &refusal).await;
                    return;
                }
            },
        };
        self.talk(BufReader::new(reader), &mut writer, &caller)
            .await;
        drop(place);
    }

    async fn talk(
        mut self,
        mut reader: impl AsyncBufRead + Unpin,
        writer: &mut (impl AsyncWrite + Unpin),
        caller: &Caller,
    ) {
        loop {
            let line = tokio::select! {
                line = timeout(PATIENCE, read_line(&mut reader)) => line,
                _ = self.shutdown.wait_for(|stop| *stop) => return,
            };
            let (reply, goes_on) = match line {
                Ok(Ok(Read::Line(line))) => (self.reply(&line, caller.clone()).await, true),
                Ok(Ok(Read::TooLong)) => (too_long(), false),
                Ok(Ok(Read::End)) | Ok(Err(_)) => return,
                Err(_) => (too_slow(), false),
            };
            if send(writer, &reply).await.is_err() || !goes_on {
                return;
            }
        }
    }

    async fn reply(&self, line: &[u8], caller: Caller) -> Answer {
        let line = match Line::parse(line) {
            Ok(line) => line,
            Err(refusal) => return Answer::Refused(refusal),
        };
        let caller = caller.on_behalf_of(line.on_behalf_of.as_deref());
        if !caller.may(&line.request) {
            self.room.note_forbidden(&caller);
            return Answer::Refused(Refusal {
                kind: RefusalKind::Forbidden,
                error: format!(
                    "{} may only tell outcomes (control.outcome_users); ask as root or as alignd's own user",
                    caller.who
                ),
            });
        }
        if let Some(refusal) = line
            .store
            .and_then(|meant| self.desk.refuse_other_store(&meant))
        {
            return Answer::Refused(refusal);
        }
        answer(line.request, &caller, &self.desk).await
    }
}

impl Room {
    /// Counted each time, logged once a minute at most: a stranger must not fill the log.
    fn note_stranger(&self, peer: Peer) {
        metrics::counter!("alignd_control_refused_total").increment(1);
        let refused = self.strangers.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut told = self
            .told_of_strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| now.duration_since(at) >= TELL_AGAIN) {
            *told = Some(now);
            warn!(
                user = peer.name(),
                refused, "control: refused a user that may ask nothing"
            );
        }
    }

    fn note_forbidden(&self, caller: &Caller) {
        metrics::counter!("alignd_control_refused_total").increment(1);
        debug!(
            user = caller.who,
            "control: refused what this user may not ask"
        );
    }
}

impl Place {
    fn take(room: &Arc<Room>) -> Option<Self> {
        let place = Self(Arc::clone(room));
        let taken = room.tellers.fetch_add(1, Ordering::Relaxed);
        (taken < MAX_TELLERS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tellers.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Read {
    Line(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Read> {
    let mut line = Vec::new();
    let bound = MAX_REQUEST as u64 + 1;
    reader.take(bound).read_until(b'\n', &mut line).await?;
    Ok(match line.pop() {
        Some(b'\n') => Read::Line(line),
        // Without its newline it may have been cut off: nothing is done.
        Some(_) if line.len() < MAX_REQUEST => Read::End,
        Some(_) => Read::TooLong,
        None => Read::End,
    })
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let line = answer.write();
    let sending = writer.write_all(line.as_bytes());
    timeout(PATIENCE, sending)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

fn too_long() -> Answer {
    let error = format!("a request has at most {MAX_REQUEST} octets");
    Answer::refused(RefusalKind::Usage, error)
}

fn too_slow() -> Answer {
    let error = format!("no request within {} s", PATIENCE.as_secs());
    Answer::refused(RefusalKind::Usage, error)
}

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// Of them, those of `control.outcome_users`.
const MAX_TELLERS: usize = 32;
/// For a whole line, and for a whole answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// Between two lines of the log about strangers.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// For requests in hand at a stop.
pub const GRACE: Duration = Duration::from_secs(20);
