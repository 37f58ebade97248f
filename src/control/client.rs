//! The other end of the control socket, for the command line.
//!
//! Owns one question and its answer. Blocks, with limits. Does nothing that is asked.

use super::protocol::{Answer, Line, Refusal};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// No daemon listens there.
    NobodyThere,
    /// It cannot be asked, or says what is no answer: a sentence.
    Failed(String),
    /// The question cannot be put.
    Unspeakable(Refusal),
}

/// Asks the daemon behind this socket.
pub fn ask(socket: &Path, line: &Line) -> Result<Answer, Unanswered> {
    let question = line.write().map_err(Unanswered::Unspeakable)?;
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Err(Unanswered::NobodyThere),
        Err(error) => return Err(failed(socket, &error)),
    };
    converse(&mut stream, &question)
        .map_err(|error| failed(socket, &error))
        .and_then(|answer| {
            Answer::parse(&answer).map_err(|problem| {
                Unanswered::Failed(format!(
                    "{}: what answers there is no alignd of this version: {problem}",
                    socket.display()
                ))
            })
        })
}

fn converse(stream: &mut UnixStream, question: &str) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(SEND))?;
    stream.set_read_timeout(Some(WAIT))?;
    // A daemon that refuses us may have closed before it took the question: its answer is there.
    let sent = stream.write_all(question.as_bytes());
    let mut answer = Vec::new();
    let read = BufReader::new(stream)
        .take(MAX_ANSWER)
        .read_until(b'\n', &mut answer);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "no answer for {} s; what was asked for may still be done: look, then ask again",
                WAIT.as_secs()
            ),
        ),
        _ => error,
    })?;
    if answer.pop() == Some(b'\n') {
        return Ok(answer);
    }
    sent?;
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection ended without an answer",
    ))
}

/// The socket isn't there, or its process is gone.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn failed(socket: &Path, error: &io::Error) -> Unanswered {
    Unanswered::Failed(format!("control.socket: {}: {error}", socket.display()))
}

const SEND: Duration = Duration::from_secs(10);
/// For an answer: longer than the MTA's helper may be silent for once.
const WAIT: Duration = Duration::from_secs(180);
const MAX_ANSWER: u64 = 64 << 20;
