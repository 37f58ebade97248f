//! What is asked of the MTA's hold queue, and whether the mail there is the one that is meant.
//!
//! Owns that trait, so that the steps can be tried with a queue that fails at each of them, the look at a held
//! mail's header, and what proves that it is the message of a verdict.

use super::QuarantineError;
use crate::message::identifiers::message_id;
use crate::message::parse::Message;
use crate::mta::{Helper, HelperError, Part, Place, QueueId, Released, Shown};
use crate::policy::Action;
use crate::store::Stored;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use crate::verdict::header::{VERDICT_HEADER, VerdictHeader};
use std::future::Future;

/// The hold queue, as far as wishes reach into it.
pub trait Queue: Send + Sync {
    /// Where the mail is now.
    fn locate(&self, id: &QueueId) -> impl Future<Output = Result<Place, HelperError>> + Send;
    /// A held mail as it lies there, or its header.
    fn show(
        &self,
        id: &QueueId,
        part: Part,
    ) -> impl Future<Output = Result<Shown, HelperError>> + Send;
    /// When a held mail came in, to the second; `None`: it isn't listed.
    fn arrived(
        &self,
        id: &QueueId,
    ) -> impl Future<Output = Result<Option<Timestamp>, HelperError>> + Send;
    fn release(&self, id: &QueueId) -> impl Future<Output = Result<Released, HelperError>> + Send;
    fn delete(&self, id: &QueueId) -> impl Future<Output = Result<(), HelperError>> + Send;
}

impl Queue for Helper {
    async fn locate(&self, id: &QueueId) -> Result<Place, HelperError> {
        Helper::locate(self, id).await
    }

    async fn show(&self, id: &QueueId, part: Part) -> Result<Shown, HelperError> {
        Helper::show(self, id, part).await
    }

    async fn arrived(&self, id: &QueueId) -> Result<Option<Timestamp>, HelperError> {
        let mut arrived = None;
        Helper::list(self, |entry| {
            if entry.queue_id == *id {
                arrived = Some(entry.arrived);
            }
        })
        .await?;
        Ok(arrived)
    }

    async fn release(&self, id: &QueueId) -> Result<Released, HelperError> {
        Helper::release(self, id).await
    }

    async fn delete(&self, id: &QueueId) -> Result<(), HelperError> {
        Helper::delete(self, id).await
    }
}

/// What a look into the queue found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The mail that is meant, on hold.
    Held,
    /// Not on hold: on its way, or gone.
    Elsewhere(Place),
    /// On hold under this queue id is another mail: a sentence's end.
    Another(String),
}

/// What a mail in the hold queue is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    verdict: VerdictId,
    received: Timestamp,
    /// Where others put it on hold, and it bears no header of ours.
    message_id: Option<String>,
}

impl Marks {
    pub fn of(stored: &Stored) -> Self {
        let verdict = &stored.verdict;
        // What we held bears our header: without it, it is another mail.
        let by_others = verdict.decision.action() != Action::Hold;
        Self {
            verdict: verdict.id,
            received: verdict.received,
            message_id: verdict.message.message_id.clone().filter(|_| by_others),
        }
    }
}

/// Looks for the mail with these marks.
pub(super) async fn look(
    queue: &impl Queue,
    id: &QueueId,
    marks: &Marks,
) -> Result<Found, HelperError> {
    match queue.locate(id).await? {
        Place::Held => {}
        place @ (Place::Queued(_) | Place::Gone) => return Ok(Found::Elsewhere(place)),
    }
    let shown = match queue.show(id, Part::Header).await {
        Ok(shown) => shown,
        // It went between two looks.
        Err(HelperError::NotHeld(place)) => return Ok(Found::Elsewhere(place)),
        Err(error) => return Err(error),
    };
    Ok(match foreign(queue, id, &shown.octets, marks).await? {
        None => Found::Held,
        Some(found) => Found::Another(found),
    })
}

/// The held message of this verdict, as it lies in the MTA's queue.
pub async fn message(queue: &impl Queue, stored: &Stored) -> Result<Shown, QuarantineError> {
    let verdict = stored.verdict.id;
    let told = stored.verdict.envelope.queue_id.as_deref();
    let id = told.and_then(QueueId::parse);
    let id = id.ok_or(QuarantineError::NoQueueId(verdict))?;
    let shown = queue.show(&id, Part::Message).await;
    let shown = shown.map_err(QuarantineError::Helper)?;
    let foreign = foreign(queue, &id, &shown.octets, &Marks::of(stored)).await;
    match foreign.map_err(QuarantineError::Helper)? {
        None => Ok(shown),
        Some(found) => Err(QuarantineError::AnotherMail {
            verdict,
            queue_id: id.to_string(),
            found,
        }),
    }
}

/// Whose mail it is, if not the one with these marks: a sentence's end. What others put on hold is proven as it was when
/// it became `held`: by its queue id, when it came in, and its Message-ID.
async fn foreign(
    queue: &impl Queue,
    id: &QueueId,
    octets: &[u8],
    marks: &Marks,
) -> Result<Option<String>, HelperError> {
    let found = match (verdicts_named(octets).as_slice(), &marks.message_id) {
        ([only], _) if *only == marks.verdict => return Ok(None),
        ([first, ..], _) => format!("bears the X-Alignd-Verdict of {first}"),
        ([], None) => "bears no X-Alignd-Verdict, and nothing else proves whose it is".to_owned(),
        ([], Some(told)) => match message_id(&Message::parse(octets).fields) {
            Some(found) if found == *told => match queue.arrived(id).await? {
                Some(arrived) if !is_after(arrived, marks.received) => return Ok(None),
                Some(arrived) => format!("came in after that, {arrived}"),
                None => {
                    return Err(HelperError::Failed(format!(
                        "{id} isn't among the held mails that the MTA lists, so when it came in can't be told"
                    )));
                }
            },
            Some(found) => format!("bears the Message-ID <{found}>"),
            None => "bears neither an X-Alignd-Verdict nor a Message-ID".to_owned(),
        },
    };
    Ok(Some(found))
}

/// Whether a queued mail with this header is the message of this verdict. Only what we held bears our field, once;
/// other mail is told by its Message-ID, which MTAs add where there was none.
pub fn is_that(header: &[u8], verdict: VerdictId, stored_message_id: Option<&str>) -> bool {
    match verdicts_named(header).as_slice() {
        [] => stored_message_id.is_none_or(|stored| {
            let found = message_id(&Message::parse(header).fields);
            found.as_deref() == Some(stored)
        }),
        [only] => *only == verdict,
        [..] => false,
    }
}

/// Whether a mail that came in at `arrived`, to the second, did so after this message had been judged: then
/// it is another one, which was given the id again.
pub fn is_after(arrived: Timestamp, received: Timestamp) -> bool {
    arrived > received.plus_micros(COARSE)
}

/// The verdicts that a mail's header names in our field.
fn verdicts_named(octets: &[u8]) -> Vec<VerdictId> {
    let message = Message::parse(octets);
    let ours = message
        .fields
        .iter()
        .filter(|field| field.is(VERDICT_HEADER));
    ours.filter_map(|field| VerdictHeader::parse(&field.value))
        .map(|header| header.id())
        .collect()
}

/// Microseconds: the MTA's clock is ours, but it cuts to the second.
const COARSE: i64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> VerdictId {
        VerdictId::from_bytes([number; 16])
    }

    #[test]
    fn the_header_says_whose_it_is() {
        let field = |number| {
            let seal = "0".repeat(32);
            format!(
                "X-Alignd-Verdict: {}; exp=1797955200;\n\thmac={seal}\n",
                id(number)
            )
        };
        let (ours, other) = (field(1), field(2));
        let named = "Message-ID: <m@a.example>\n";
        for (header, message_id, expected) in [
            (ours.clone(), Some("m@a.example"), true),
            (format!("{ours}{named}"), Some("other@a.example"), true),
            (other.clone(), None, false),
            (format!("{other}{named}"), Some("m@a.example"), false),
            (format!("{ours}{ours}"), None, false),
            (named.to_owned(), Some("m@a.example"), true),
            (named.to_owned(), Some("M@a.example"), false),
            (named.to_owned(), None, true),
            ("Subject: x\n".to_owned(), None, true),
            ("Subject: x\n".to_owned(), Some("m@a.example"), false),
            (String::new(), None, true),
        ] {
            let found = is_that(header.as_bytes(), id(1), message_id);
            assert_eq!(found, expected, "{header} {message_id:?}");
        }
    }
}
