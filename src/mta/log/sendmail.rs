//! Sendmail's lines: `key=value` with commas between, where the first key says what it is about.

use super::{Attempt, LogEvent, Refusal, bounded};

/// `text` is what follows the queue id.
pub fn event(text: &str) -> Option<LogEvent> {
    if text == "unquarantine" {
        return Some(LogEvent::Released);
    }
    if text.starts_with("quarantine=") {
        return Some(LogEvent::HeldByHand);
    }
    // Only with a LogLevel above 10.
    if text.starts_with("done; delay=") {
        return Some(LogEvent::Finished);
    }
    // The last word on the content, whichever milter said it; `milter=…` comes before it with a LogLevel above 9.
    if let Some(did) = text.strip_prefix("Milter: data, ") {
        return refusal(did).map(|refusal| LogEvent::Refused {
            milter: None,
            refusal,
        });
    }
    if let Some(rest) = text.strip_prefix("milter=") {
        return by_milter(rest);
    }
    text.starts_with("to=")
        .then(|| attempt(text))?
        .map(LogEvent::Attempt)
}

/// `m0, quarantine=reason`, `m1, reject`, `m1, reject=554 5.7.1 text`, `m1, discard`; before the action may stand
/// `action=body, ` and the like. The name is the operator's.
fn by_milter(rest: &str) -> Option<LogEvent> {
    let (name, rest) = rest.split_once(", ")?;
    let did = match rest.strip_prefix("action=") {
        None => rest,
        // Content goes whole to one milter after the other, so a later one's refusal of a header is later
        // than our end of message; the envelope comes to all before any content.
        Some(stage) => match stage.split_once(", ")? {
            ("header" | "eoh" | "body" | "eom", did) => did,
            _ => return None,
        },
    };
    let milter = Some(bounded(name));
    if did.starts_with("quarantine=") {
        return Some(LogEvent::Held { milter });
    }
    refusal(did).map(|refusal| LogEvent::Refused { milter, refusal })
}

/// `reject=554 5.7.1 text`, `reject`, `tempfail`, `discard`
fn refusal(did: &str) -> Option<Refusal> {
    let (did, words) = did.split_once('=').unwrap_or((did, ""));
    match did {
        "discard" => Some(Refusal::Discarded),
        "tempfail" => Some(Refusal::Tempfailed(bounded(words))),
        "reject" if words.starts_with('4') => Some(Refusal::Tempfailed(bounded(words))),
        "reject" => Some(Refusal::Rejected(bounded(words))),
        _ => None,
    }
}

/// `to=…, delay=…, …, dsn=2.0.0, stat=Sent`: everything behind `stat=` may be a remote server's. A line with
/// `quarantine=` before it tells of no attempt.
fn attempt(text: &str) -> Option<Attempt> {
    let mut class = None;
    for field in fields(text) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name {
            "quarantine" => return None,
            "dsn" => class = value.bytes().next(),
            "stat" if value.starts_with("Sent") => return Some(Attempt::Sent),
            "stat" => {
                return match class {
                    Some(b'4') => Some(Attempt::Deferred),
                    Some(b'5') => Some(Attempt::Bounced),
                    Some(_) | None => None,
                };
            }
            _ => {}
        }
    }
    None
}

/// Split at `, ` outside quotes and angle brackets.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = field_end(text);
        let (field, behind) = text.split_at_checked(end).unwrap_or((text, ""));
        rest = behind.strip_prefix(", ");
        Some(field)
    })
}

fn field_end(text: &str) -> usize {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => depth = depth.saturating_add(1),
            '>' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted
                && depth == 0
                && text.get(at..).is_some_and(|rest| rest.starts_with(", ")) =>
            {
                return at;
            }
            _ => {}
        }
    }
    text.len()
}
