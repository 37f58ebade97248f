//! Postfix's lines: each program says its own thing, and only that one is believed.

use super::{Attempt, LogEvent, Refusal, behind_address, bounded};
use crate::mta::QueueId;

/// `program` is the tag's last part, `text` what follows the queue id.
pub fn event(program: &str, text: &str) -> Option<LogEvent> {
    match program {
        "postsuper" => match text {
            "released from hold" => Some(LogEvent::Released),
            "placed on hold" => Some(LogEvent::HeldByHand),
            "removed" => Some(LogEvent::DeletedByHand),
            "requeued" => Some(LogEvent::Requeued),
            _ => None,
        },
        "qmgr" => match text {
            "removed" => Some(LogEvent::Finished),
            _ => expired(text).then_some(LogEvent::Expired),
        },
        "pickup" => resubmitted(text),
        "cleanup" => by_milter(text),
        "smtp" | "lmtp" | "local" | "virtual" | "pipe" | "error" | "retry" | "discard" => {
            attempt(text).map(LogEvent::Attempt)
        }
        _ => None,
    }
}

/// `from=<…>, status=expired, returned to sender`, or `force-expired` after `postsuper -e`; all other lines with
/// `from=` end otherwise, whatever the sender is.
fn expired(text: &str) -> bool {
    let rest = text.strip_prefix("from=<").and_then(behind_address);
    matches!(
        rest,
        Some(", status=expired, returned to sender" | ", status=force-expired, returned to sender")
    )
}

/// `uid=103 from=<…> orig_id=QID`. Without an orig_id the line ends in the sender's `>`, which no queue id
/// does: so the last word of the line is Postfix's or no id.
fn resubmitted(text: &str) -> Option<LogEvent> {
    let (before, id) = text.rsplit_once(" orig_id=")?;
    let ours = before.starts_with("uid=") && before.ends_with('>');
    let from = QueueId::parse(id).filter(|id| ours && id.is_postfix())?;
    Some(LogEvent::Resubmitted { from })
}

/// `milter-hold: END-OF-MESSAGE from NAME[ADDRESS]: text; from=<…> …`
fn by_milter(text: &str) -> Option<LogEvent> {
    let (action, rest) = text.split_once(": END-OF-MESSAGE from ")?;
    let words = client_stepped_over(rest)?;
    let milter = None;
    match action {
        "milter-hold" => Some(LogEvent::Held { milter }),
        "milter-discard" => Some(LogEvent::Refused {
            milter,
            refusal: Refusal::Discarded,
        }),
        "milter-reject" => {
            let words = bounded(words.split("; from=<").next().unwrap_or(words));
            let refusal = match words.bytes().next() {
                Some(b'5') => Refusal::Rejected(words),
                // RFC 3463 §2: a class of its own is 4 or 5; what is none isn't final.
                _ => Refusal::Tempfailed(words),
            };
            Some(LogEvent::Refused { milter, refusal })
        }
        _ => None,
    }
}

/// What stands behind `NAME[ADDRESS]: `; neither part has blanks.
fn client_stepped_over(text: &str) -> Option<&str> {
    let (client, words) = text.split_once(' ')?;
    client.ends_with("]:").then_some(words)
}

/// `to=<…>, orig_to=<…>, relay=…, delay=…, delays=…, dsn=2.0.0, status=sent (…)`: what is in parentheses was
/// said by others.
fn attempt(text: &str) -> Option<Attempt> {
    let mut rest = behind_address(text.strip_prefix("to=<")?)?;
    while let Some(more) = rest.strip_prefix(", ") {
        if let Some(original) = more.strip_prefix("orig_to=<") {
            rest = behind_address(original)?;
            continue;
        }
        let end = more.find([',', ' ']).unwrap_or(more.len());
        let (field, behind) = more.split_at_checked(end)?;
        let (name, value) = field.split_once('=')?;
        if name == "status" {
            return match value {
                "sent" => Some(Attempt::Sent),
                "deferred" => Some(Attempt::Deferred),
                "bounced" => Some(Attempt::Bounced),
                _ => None,
            };
        }
        rest = behind;
    }
    None
}
