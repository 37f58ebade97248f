//! `Link`: what the stream below indymilter and the callbacks above it know of one MTA connection
//! together, since neither sees the other.
//!
//! Owns the socket, whether a message is in hand, which command is being handled, where header fields and
//! body octets go that pass by the callbacks, and what to do once the answer at the end of a message has been
//! written, or can't be. Speaks no protocol.

use super::packet;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// A connected socket. Only the stream reads and writes; others may look.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No message in hand since then.
    Idle(Instant),
    /// Between MAIL and the answer at the end of the message.
    Busy,
    Closed,
}

/// What became of the answer at the end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The system took it for an MTA that was there.
    Written,
    /// The MTA had hung up, or the write failed: nobody knows what it did with the message.
    Lost,
}

/// Called once with what became of an answer.
pub type OnAnswer = Box<dyn FnOnce(Fate) + Send>;

/// Called with the octets of a body as they come. Must not panic.
pub type OnBody = Box<dyn FnMut(&[u8]) + Send>;

/// One MTA connection.
pub struct Link {
    socket: Socket,
    phase: watch::Sender<Phase>,
    command: AtomicU8,
    replies_to_body: AtomicBool,
    answering: AtomicBool,
    on_answer: Mutex<Option<OnAnswer>>,
    /// The next commands may be header fields of the message in hand, to which no reply is wanted.
    wants_fields: AtomicBool,
    /// Payloads of header field packets, one behind the other, until a callback takes them.
    fields: Mutex<Vec<u8>>,
    /// The next commands may be body packets of the message in hand, to which no reply is wanted: who takes
    /// their octets.
    body: Mutex<Option<OnBody>>,
}

impl Link {
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            phase: watch::Sender::new(Phase::Idle(Instant::now())),
            command: AtomicU8::new(0),
            replies_to_body: AtomicBool::new(true),
            answering: AtomicBool::new(false),
            on_answer: Mutex::new(None),
            wants_fields: AtomicBool::new(false),
            fields: Mutex::default(),
            body: Mutex::new(None),
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A message begins.
    pub fn begin(&self) {
        self.phase.send_replace(Phase::Busy);
    }

    /// The message in hand is over without an answer to wait for.
    pub fn end(&self) {
        self.phase.send_if_modified(|phase| {
            let busy = *phase == Phase::Busy;
            if busy {
                *phase = Phase::Idle(Instant::now());
            }
            busy
        });
    }

    /// The command being handled is the end of a message, whose packet may carry body octets too.
    pub fn at_end_of_message(&self) -> bool {
        self.command.load(Ordering::Relaxed) == packet::END_OF_MESSAGE
    }

    /// From the stream: the packet of a command has begun.
    pub fn command_began(&self, kind: u8) {
        self.command.store(kind, Ordering::Relaxed);
        // After any other command its callback must say so anew: only then has indymilter let it pass.
        if kind != packet::MACROS {
            self.wants_fields.store(false, Ordering::Release);
            *self.body() = None;
        }
    }

    /// From a callback: header fields may come next, and none of them gets a reply.
    pub fn want_fields(&self) {
        self.wants_fields.store(true, Ordering::Release);
    }

    pub fn wants_fields(&self) -> bool {
        self.wants_fields.load(Ordering::Acquire)
    }

    /// From the stream: the payload of a header field's packet, as `packet::field_front` finds it. False
    /// when there is no room: it goes to the callbacks, which take the others first.
    pub fn keep_field(&self, payload: &[u8]) -> bool {
        let mut fields = self.fields();
        let room = MAX_FIELDS.saturating_sub(fields.len()) >= payload.len();
        if room {
            if fields.capacity() == 0 {
                fields.reserve(USUAL_FIELDS);
            }
            fields.extend_from_slice(payload);
        }
        room
    }

    /// The fields that have gone past the callbacks so far, in their order.
    pub fn take_fields(&self) -> Vec<u8> {
        std::mem::take(&mut *self.fields())
    }

    /// From a callback: body packets may come next, and none of them gets a reply. It is dropped before any
    /// other command reaches its callback.
    pub fn want_body(&self, take: OnBody) {
        *self.body() = Some(take);
    }

    pub fn wants_body(&self) -> bool {
        self.body().is_some()
    }

    /// From the stream: octets of a body packet's payload.
    pub fn pass_body(&self, octets: &[u8]) {
        if let Some(take) = &mut *self.body() {
            take(octets);
        }
    }

    /// It was agreed that body packets get no reply.
    pub fn leave_body_unanswered(&self) {
        self.replies_to_body.store(false, Ordering::Relaxed);
    }

    pub fn replies_to_body(&self) -> bool {
        self.replies_to_body.load(Ordering::Relaxed)
    }

    /// The next final reply answers the message in hand.
    pub fn expect_answer(&self) {
        self.answering.store(true, Ordering::Release);
    }

    /// What to do once that reply is written, or can't be. One left over from before is lost.
    pub fn on_answer(&self, then: OnAnswer) {
        let before = self.pending().replace(then);
        if let Some(before) = before {
            before(Fate::Lost);
        }
    }

    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Acquire)
    }

    /// From the stream: a final reply is out, or lost.
    pub fn answered(&self, fate: Fate) {
        if self.answering.swap(false, Ordering::AcqRel) {
            let then = self.pending().take();
            if let Some(then) = then {
                then(fate);
            }
            self.end();
        }
    }

    /// From the stream: it is gone.
    pub fn closed(&self) {
        *self.body() = None;
        let left = self.pending().take();
        if let Some(left) = left {
            left(Fate::Lost);
        }
        self.phase.send_replace(Phase::Closed);
    }

    fn fields(&self) -> MutexGuard<'_, Vec<u8>> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn body(&self) -> MutexGuard<'_, Option<OnBody>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, Option<OnAnswer>> {
        self.on_answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("socket", &self.socket)
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Reads up to a buffer of octets; 0 at the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let read = match self {
                Self::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read(buffer)
                }
                Self::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_read(buffer)
                }
            };
            if !would_block(&read) {
                return Poll::Ready(read);
            }
        }
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let written = match self {
                Self::Tcp(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write(octets)
                }
                Self::Unix(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    stream.try_write(octets)
                }
            };
            if !would_block(&written) {
                return Poll::Ready(written);
            }
        }
    }

    /// Has the system tell a TCP peer at once what has been read. It would wait up to 40 ms for an answer
    /// to send it with, and Postfix, which leaves Nagle's algorithm on, would as long hold a message's
    /// header and body back: to the envelope there is no answer.
    pub fn acknowledge(&self) {
        if let Self::Tcp(stream) = self {
            // It only takes longer where this fails.
            let _ = stream.set_quickack(true);
        }
    }

    /// Ends the connection for both sides; whoever reads or writes is told.
    pub fn hang_up(&self) {
        // It fails only where there is no connection any more.
        let _ = shutdown(self.as_raw_fd(), Shutdown::Both);
    }

    /// Whether the peer has said that it sends no more, or is gone. What it sent before may be
    /// unread still. A TCP peer that closed its socket looks like one that only stopped sending.
    pub fn peer_has_finished(&self) -> bool {
        match self.peek() {
            Ok(octets) => octets == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Waits until the peer is gone for certain, so that no answer can reach it; perhaps forever.
    pub async fn peer_gone(&self) {
        loop {
            if self.ready(Interest::READABLE).await.is_err() {
                return;
            }
            match self.try_peek() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
                Ok(0) if self.write_closed().await => return,
                // It stopped sending, or has sent more: either way it may be waiting for us.
                Ok(_) => std::future::pending().await,
            }
        }
    }

    async fn write_closed(&self) -> bool {
        match self.ready(Interest::WRITABLE).await {
            Ok(ready) => ready.is_write_closed(),
            Err(_) => true,
        }
    }

    async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    /// Peeks, and lets the runtime know when there is nothing.
    fn try_peek(&self) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || self.peek()),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || self.peek()),
        }
    }

    fn peek(&self) -> io::Result<usize> {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        Ok(recv(self.as_raw_fd(), &mut [0; 1], flags)?)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Octets of header fields that wait for a callback.
const MAX_FIELDS: usize = 64 * 1024;

/// What the header of most mail fits into.
const USUAL_FIELDS: usize = 6 * 1024;
