//! What is asked of the MTA's hold queue, and whether the mail there is the one that is meant.
//!
//! Owns that trait, so that the steps can be tried with a queue that fails at each of them, and the
//! look at a held mail's header.

use super::QuarantineError;
use crate::message::parse::Message;
use crate::mta::{Helper, HelperError, Part, Place, QueueId, Released, Shown};
use crate::store::Stored;
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

/// Looks for the mail of this verdict.
pub(super) async fn look(
    queue: &impl Queue,
    id: &QueueId,
    verdict: VerdictId,
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
    Ok(match foreign(&shown.octets, verdict) {
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
    match foreign(&shown.octets, verdict) {
        None => Ok(shown),
        Some(found) => Err(QuarantineError::AnotherMail {
            verdict,
            queue_id: id.to_string(),
            found,
        }),
    }
}

/// Whose mail it is, if not this verdict's: a sentence's end.
fn foreign(octets: &[u8], verdict: VerdictId) -> Option<String> {
    match verdicts_named(octets).as_slice() {
        [only] if *only == verdict => None,
        [] => Some("bears no X-Alignd-Verdict, so it wasn't alignd that held it".to_owned()),
        [first, ..] => Some(format!("bears the X-Alignd-Verdict of {first}")),
    }
}

/// The verdicts that a mail's header names in our field.
pub fn verdicts_named(octets: &[u8]) -> Vec<VerdictId> {
    let message = Message::parse(octets);
    let ours = message
        .fields
        .iter()
        .filter(|field| field.is(VERDICT_HEADER));
    ours.filter_map(|field| VerdictHeader::parse(&field.value))
        .map(|header| header.id())
        .collect()
}
