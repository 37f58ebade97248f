//! What one line of the mail log says of one queued mail. Pure.
//!
//! Owns the forms of Postfix's and Sendmail's lines that tell what became of a mail. Anyone who sends mail chooses
//! parts of these lines (addresses, names, a remote server's answers), so a line counts only by what the
//! program itself wrote at a fixed place: its tag, the id after it, and a text that is matched from its beginning
//! or whole; addresses are stepped over, never searched. Other programs' lines are nothing, whatever they
//! say. Reads no file and no clock.

mod postfix;
mod sendmail;
mod stamp;

use super::QueueId;
pub use stamp::Stamp;

/// One line that tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub stamp: Stamp,
    pub queue_id: QueueId,
    pub event: LogEvent,
}

/// What happened to the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// A milter had it held at the end of the message; which one, only Sendmail says.
    Held { milter: Option<String> },
    /// The operator put it on hold.
    HeldByHand,
    /// It left the hold queue under the same id: by us or by hand.
    Released,
    /// Its id ends here: it is put in again as new (Postfix).
    Requeued,
    /// The id begins here, for a mail that was known as `from` (Postfix).
    Resubmitted { from: QueueId },
    /// The operator deleted it (Postfix; Sendmail has no command for that).
    DeletedByHand,
    /// The MTA is through with it: everything delivered or returned.
    Finished,
    /// It was too long in the queue and goes back to its sender.
    Expired,
    /// A milter didn't take it, at the end of the message; which one, only Sendmail says. Our own
    /// refusals are logged in the same words.
    Refused {
        milter: Option<String>,
        refusal: Refusal,
    },
    /// One attempt for some of its recipients.
    Attempt(Attempt),
}

/// How a milter didn't take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// For good, in these words (at most `MAX_TEXT` octets).
    Rejected(String),
    /// For now, in these words; the client may come again.
    Tempfailed(String),
    /// Taken from the client and thrown away.
    Discarded,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Sent,
    Deferred,
    Bounced,
}

/// How much of a refusal's words is kept, in octets.
pub const MAX_TEXT: usize = 500;

/// What a line says; `None`: nothing that matters here. A line without its line end.
pub fn parse(line: &str) -> Option<LogLine> {
    let (stamp, rest) = stamp::read(line)?;
    let (program, text) = tagged(rest)?;
    let (id, text) = text.split_once(": ")?;
    let queue_id = QueueId::parse(id)?;
    let event = match program {
        Program::Postfix(name) if queue_id.is_postfix() => postfix::event(name, text),
        Program::Sendmail if queue_id.is_sendmail() => sendmail::event(text),
        Program::Postfix(_) | Program::Sendmail => None,
    }?;
    Some(LogLine {
        stamp,
        queue_id,
        event,
    })
}

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program<'a> {
    /// The last part of its tag: `qmgr`.
    Postfix(&'a str),
    Sendmail,
}

/// `HOST TAG[PID]: text`, or without the host as programs hand lines to the log itself. The tag is the first
/// word or the second, and what stands behind it is text.
fn tagged(rest: &str) -> Option<(Program<'_>, &str)> {
    let (first, tail) = rest.split_once(' ')?;
    if let Some(program) = program(first) {
        return Some((program, tail));
    }
    // A word with a colon at its end is another program's tag.
    let (second, text) = tail.split_once(' ').filter(|_| !first.ends_with(':'))?;
    Some((program(second)?, text))
}

/// `postfix/qmgr[2345]:`, `postfix-out/smtp[17]:`, `sm-mta[99]:`
fn program(word: &str) -> Option<Program<'_>> {
    let (tag, pid) = word.strip_suffix("]:")?.split_once('[')?;
    if pid.is_empty() || !pid.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match tag.split_once('/') {
        // `syslog_name` is the instance's name, which begins so unless it is set by hand.
        Some((instance, _)) if instance == "postfix" || instance.starts_with("postfix-") => {
            Some(Program::Postfix(tag.rsplit('/').next()?))
        }
        None if matches!(tag, "sendmail" | "sm-mta" | "sm-msp-queue" | "sm-que") => {
            Some(Program::Sendmail)
        }
        Some(_) | None => None,
    }
}

/// The first `MAX_TEXT` octets, cut between characters.
fn bounded(text: &str) -> String {
    let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
    let end = end.unwrap_or_default().min(text.len());
    text.get(..end).unwrap_or(text).to_owned()
}

/// What stands behind an address that `text` begins with, up to its `>`. RFC 5321 §4.1.2: in a quoted local
/// part any character may stand, `>` too.
fn behind_address(text: &str) -> Option<&str> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
