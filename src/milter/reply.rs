//! An `Answer` as milter actions, safe for Postfix and Sendmail alike.
//!
//! Owns what both MTAs do with header changes and reply texts: deletions from the highest place down,
//! our fields at index 0, their leading space, `%` doubled, ASCII only. Knows no reason for any of it.

use super::header::{RESULTS, Removals};
use super::judge::Answer;
use super::negotiate::Negotiated;
use crate::policy::reply::Reply;
use crate::verdict::header::VERDICT_HEADER;
use indymilter::{ActionError, ContextActions, EomActions, SetErrorReply, SmtpReply, Status};
use std::ffi::CString;
use tracing::warn;

/// Sends the changes of the message; what is left is the final status. A message that is refused needs
/// none.
pub async fn give(
    answer: &Answer,
    negotiated: Negotiated,
    actions: &EomActions,
    reply: &mut SmtpReply,
) -> Status {
    if let Some(refusal) = &answer.refusal {
        return refuse(refusal, reply);
    }
    for changed in [
        remove(&answer.removals, actions).await,
        insert(
            VERDICT_HEADER,
            answer.verdict_header.as_deref(),
            negotiated,
            actions,
        )
        .await,
        insert(RESULTS, answer.results.as_deref(), negotiated, actions).await,
        hold(answer.hold.as_deref(), actions).await,
    ] {
        match changed {
            // What isn't available was told when the connection began.
            Ok(()) | Err(ActionError::NotAvailable) => {}
            Err(error @ (ActionError::InvalidParam | ActionError::Io(_))) => {
                warn!(%error, "the header cannot be changed");
            }
        }
    }
    Status::Continue
}

async fn remove(removals: &Removals, actions: &EomActions) -> Result<(), ActionError> {
    let results = removals.results.iter().map(|place| (RESULTS, *place));
    let verdicts = (1..=removals.verdict_headers).rev();
    for (name, place) in results.chain(verdicts.map(|place| (VERDICT_HEADER, place))) {
        let place = i32::try_from(place).map_err(|_| ActionError::InvalidParam)?;
        let name = CString::new(name).map_err(|_| ActionError::InvalidParam)?;
        actions.change_header(name, place, None::<CString>).await?;
    }
    Ok(())
}

/// Puts a field on top of the message, if there is one to put.
async fn insert(
    name: &str,
    value: Option<&str>,
    negotiated: Negotiated,
    actions: &EomActions,
) -> Result<(), ActionError> {
    let Some(value) = value else {
        return Ok(());
    };
    // The MTA puts the space in unless it was told to leave spaces alone.
    let value = if negotiated.leading_space() {
        value
    } else {
        value.strip_prefix(' ').unwrap_or(value)
    };
    let name = CString::new(name).map_err(|_| ActionError::InvalidParam)?;
    let value = CString::new(value).map_err(|_| ActionError::InvalidParam)?;
    actions.insert_header(0, name, value).await
}

async fn hold(reason: Option<&str>, actions: &EomActions) -> Result<(), ActionError> {
    match reason {
        Some(reason) => actions.quarantine(text(reason)).await,
        None => Ok(()),
    }
}

fn refuse(refusal: &Reply, reply: &mut SmtpReply) -> Status {
    let permanent = refusal.code >= 500;
    let code = refusal.code.to_string();
    let set = reply.set_error_reply(&code, Some(&refusal.enhanced), [text(&refusal.text)]);
    if let Err(error) = set {
        warn!(%error, code, enhanced = refusal.enhanced, "no SMTP reply; the MTA's own is used");
    }
    if permanent {
        Status::Reject
    } else {
        Status::Tempfail
    }
}

/// Postfix drops a single `%`, Sendmail the whole text for one; 8-bit octets arrive broken.
fn text(text: &str) -> CString {
    let mut octets = Vec::with_capacity(text.len());
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '%' => octets.extend(b"%%"),
            ' '..='~' => octets.push(c as u8),
            _ => octets.push(b'?'),
        }
    }
    CString::new(octets).unwrap_or_default()
}

/// RFC 5321 §4.5.3.1.5: a reply line has 512 octets at most, its codes included.
const MAX_TEXT: usize = 450;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_texts_are_what_both_mtas_pass_on() {
        for (given, expected) in [
            ("per policy for a.example", "per policy for a.example"),
            ("100% sure", "100%% sure"),
            ("bücher\r\n250 ok\0", "b?cher??250 ok?"),
        ] {
            assert_eq!(text(given).to_str(), Ok(expected));
        }
        assert_eq!(text(&"x".repeat(10_000)).to_bytes().len(), MAX_TEXT);
    }
}
