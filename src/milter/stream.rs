//! `MtaStream`: the stream under indymilter, between its packets and the socket.
//!
//! Owns when octets go out: the changes of a message stay here until the final reply joins them, so
//! that the whole answer is one write; everything else, progress above all, goes out at once. Hands
//! indymilter one packet at a time, so that the link always knows the command being handled, and none
//! that it would end the session over without need. Header fields, two thirds of all packets, and the body, most
//! of the octets, go past it where nobody waits for a reply to them. Tells the link whether an answer was written.

use super::link::{Fate, Link};
use super::packet::{CONTINUE, FieldFront, Framer, Front, HEADER, body_front, field_front};
use super::packet::{front, is_change, is_final, packet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One MTA connection, as indymilter reads and writes it.
#[derive(Debug)]
pub struct MtaStream {
    link: Arc<Link>,
    /// Octets read from the socket that are not handed on yet, from `handed` on.
    incoming: Vec<u8>,
    handed: usize,
    reading: Framer,
    /// Octets still to come of a body packet that goes past indymilter.
    passing: usize,
    /// Octets of the body that did, since indymilter was last given a packet.
    passed: usize,
    outgoing: Vec<u8>,
    written: usize,
    writing: Framer,
    /// The MTA waits for a reply to a packet that indymilter never saw.
    owed: bool,
    /// The MTA had closed its side before the answer went out.
    too_late: bool,
    /// Something was read that the peer may not know of.
    unacknowledged: bool,
}

impl MtaStream {
    pub fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            incoming: Vec::new(),
            handed: 0,
            reading: Framer::default(),
            passing: 0,
            passed: 0,
            outgoing: Vec::new(),
            written: 0,
            writing: Framer::default(),
            owed: false,
            too_late: false,
            unacknowledged: false,
        }
    }

    /// Reads what the socket has, behind what is left. An idle connection holds no buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.drain(..self.handed);
        self.handed = 0;
        let left = self.incoming.len();
        let room = self.passing.clamp(READ_BUFFER, BODY_BUFFER);
        self.incoming.resize(room.max(left), 0);
        let place = self.incoming.get_mut(left..).unwrap_or_default();
        let read = poll_socket(&self.link, &mut self.unacknowledged, cx, place);
        let octets = match &read {
            Poll::Ready(Ok(octets)) => *octets,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.incoming.truncate(left.saturating_add(octets));
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        read
    }

    /// Looks at the next packet before indymilter does. False: more of it must be read first.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            // A reply that is owed goes out before anything else is taken.
            ready!(self.poll_owed(cx))?;
            let waiting = self.incoming.get(self.handed..).unwrap_or_default();
            if self.passing > 0 {
                let here = waiting.get(..self.passing).unwrap_or(waiting);
                if here.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.link.pass_body(here);
                self.passing = self.passing.saturating_sub(here.len());
                self.handed = self.handed.saturating_add(here.len());
                continue;
            }
            if let Some(length) = body_front(waiting)
                && self.passed < PASSING_AT_MOST
                && self.link.wants_body()
            {
                self.passing = length;
                self.passed = self.passed.saturating_add(length);
                self.handed = self.handed.saturating_add(HEADER);
                continue;
            }
            if self.link.wants_fields() {
                match field_front(waiting) {
                    FieldFront::Unknown => return Poll::Ready(Ok(false)),
                    FieldFront::Field(payload) if self.link.keep_field(payload) => {
                        let octets = HEADER.saturating_add(payload.len());
                        self.handed = self.handed.saturating_add(octets);
                        continue;
                    }
                    FieldFront::Field(_) | FieldFront::Other => {}
                }
            }
            match front(waiting) {
                Front::Unknown => return Poll::Ready(Ok(false)),
                Front::Fine => return Poll::Ready(Ok(true)),
                Front::TooLong(octets) => {
                    tracing::warn!(octets, "no packet is so long: not an MTA? hanging up");
                    // indymilter itself would take up to 1 MiB of any kind.
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Front::Mended { instead_of, packet } => {
                    let end = self.handed.saturating_add(instead_of);
                    self.incoming.splice(self.handed..end, packet);
                    return Poll::Ready(Ok(true));
                }
                Front::Idle(octets) => self.handed = self.handed.saturating_add(octets),
                Front::EmptyBody => {
                    self.handed = self.handed.saturating_add(HEADER);
                    self.owed = self.link.replies_to_body();
                }
            }
        }
    }

    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.owed {
            if self.outgoing.is_empty() {
                self.outgoing = packet(CONTINUE, b"");
            }
            ready!(self.poll_drain(cx))?;
            self.owed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands on what fits, up to the end of the packet.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let in_payload = !self.reading.is_complete() && self.reading.kind().is_some();
        let waiting = self.incoming.get(self.handed..).unwrap_or_default();
        let fitting = waiting.get(..buffer.remaining()).unwrap_or(waiting);
        let taken = self.reading.take(fitting);
        buffer.put_slice(fitting.get(..taken).unwrap_or_default());
        self.handed += taken;
        if let Some(kind) = self.reading.kind()
            && !in_payload
        {
            self.passed = 0;
            self.link.command_began(kind);
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.written..).filter(|r| !r.is_empty()) {
            match ready!(self.link.socket().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                octets => self.written += octets,
            }
        }
        self.outgoing = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// The changes of a message wait for the reply that gives them their meaning.
    fn is_holding(&self) -> bool {
        let unfinished = match self.writing.kind() {
            Some(kind) => is_change(kind) || !self.writing.is_complete(),
            None => true,
        };
        unfinished && self.outgoing.len() < MAX_HELD
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answers = self.link.is_answering() && self.writing.kind().is_some_and(is_final);
        if !answers {
            return self.poll_drain(cx);
        }
        // What is written after the peer has closed is taken by the system all the same, and lost.
        if self.written == 0 {
            self.too_late = self.link.socket().peer_has_finished();
        }
        let drained = ready!(self.poll_drain(cx));
        let fate = match drained {
            Ok(()) if !self.too_late => Fate::Written,
            Ok(()) | Err(_) => Fate::Lost,
        };
        self.link.answered(fate);
        Poll::Ready(drained)
    }
}

/// Reads; before a wait for more, the peer learns what has come.
fn poll_socket(
    link: &Link,
    unacknowledged: &mut bool,
    cx: &mut Context<'_>,
    place: &mut [u8],
) -> Poll<io::Result<usize>> {
    let read = link.socket().poll_read(cx, place);
    let was_unacknowledged = std::mem::replace(unacknowledged, read.is_ready());
    if was_unacknowledged && read.is_pending() {
        link.socket().acknowledge();
    }
    read
}

impl AsyncRead for MtaStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.reading.is_complete() {
            while !ready!(this.poll_front(cx))? {
                if ready!(this.poll_fill(cx))? == 0 {
                    break;
                }
            }
        } else if this.handed == this.incoming.len() {
            let direct = this.reading.left().min(buffer.remaining());
            if direct >= READ_BUFFER {
                let place = buffer.initialize_unfilled_to(direct);
                let unacknowledged = &mut this.unacknowledged;
                let octets = ready!(poll_socket(&this.link, unacknowledged, cx, place))?;
                let read = place.get(..octets).unwrap_or_default();
                this.reading.take(read);
                buffer.advance(octets);
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_fill(cx))?;
        }
        this.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MtaStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.len() >= MAX_HELD {
            ready!(this.poll_drain(cx))?;
        }
        this.outgoing.extend_from_slice(octets);
        let mut rest = octets;
        while !rest.is_empty() {
            let taken = this.writing.take(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_holding() {
            return Poll::Ready(Ok(()));
        }
        this.poll_answer(cx)
    }

    /// Nothing is left to send once the session is over; the socket closes when it is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for MtaStream {
    fn drop(&mut self) {
        self.link.closed();
    }
}

/// Octets read at once: a header of usual size in one system call.
const READ_BUFFER: usize = 8 * 1024;

/// Octets of a body read at once.
const BODY_BUFFER: usize = 32 * 1024;

/// Octets of a body that go past indymilter until it is given a packet of it: it counts the time without one.
const PASSING_AT_MOST: usize = 1024 * 1024;

/// Octets of changes that wait for their final reply; beyond it they go out early.
const MAX_HELD: usize = 256 * 1024;
