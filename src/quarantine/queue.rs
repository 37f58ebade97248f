//! What is asked of the MTA's hold queue, and whether the mail there is the one that is meant.
//!
//! Owns that trait, so that the steps can be tried with a queue that fails at each of them, and the
//! look at a held mail's header.

use crate::message::parse::Message;
use crate::mta::{Helper, HelperError, Part, Place, QueueId, Released};
use crate::verdict::VerdictId;
use crate::verdict::header::{VERDICT_HEADER, VerdictHeader};
use std::future::Future;

/// The hold queue, as far as wishes reach into it.
pub trait Queue: Send + Sync {
    /// Where the mail is now.
    fn locate(&self, id: &QueueId) -> impl Future<Output = Result<Place, HelperError>> + Send;
    /// The header of a held mail.
    fn header(&self, id: &QueueId) -> impl Future<Output = Result<Vec<u8>, HelperError>> + Send;
    fn release(&self, id: &QueueId) -> impl Future<Output = Result<Released, HelperError>> + Send;
    fn delete(&self, id: &QueueId) -> impl Future<Output = Result<(), HelperError>> + Send;
}

impl Queue for Helper {
    async fn locate(&self, id: &QueueId) -> Result<Place, HelperError> {
        Helper::locate(self, id).await
    }

    async fn header(&self, id: &QueueId) -> Result<Vec<u8>, HelperError> {
        Ok(self.show(id, Part::Header).await?.octets)
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
    let header = match queue.header(id).await {
        Ok(header) => header,
        // It went between two looks.
        Err(HelperError::NotHeld(place)) => return Ok(Found::Elsewhere(place)),
        Err(error) => return Err(error),
    };
    let message = Message::parse(&header);
    let ours = message
        .fields
        .iter()
        .filter(|field| field.is(VERDICT_HEADER));
    let named: Vec<VerdictId> = ours
        .filter_map(|field| VerdictHeader::parse(&field.value))
        .map(|header| header.id())
        .collect();
    Ok(match named.as_slice() {
        [only] if *only == verdict => Found::Held,
        [] => {
            Found::Another("bears no X-Alignd-Verdict, so it wasn't alignd that held it".to_owned())
        }
        [first, ..] => Found::Another(format!("bears the X-Alignd-Verdict of {first}")),
    })
}
