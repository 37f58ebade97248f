//! The hold queue as far as it is looked at here: read, never touched.
//!
//! Owns that trait, so that what follows from a queue can be tried with one in memory.

use crate::mta::{Helper, HelperError, Part, Place, QueueId, Shown};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::future::Future;

/// The hold queue, read through whoever may touch it.
pub trait HoldView: Send + Sync {
    /// What lies in it, each with when it came in, to the second. Mail that isn't listed may be there
    /// nevertheless: a listing is bounded.
    fn list(&self) -> impl Future<Output = Result<Listing, HelperError>> + Send;
    /// Where each of them is now, at most `MAX_FOUND`, in this order.
    fn find(&self, ids: &[QueueId])
    -> impl Future<Output = Result<Vec<Place>, HelperError>> + Send;
    /// The header of a held mail.
    fn header(&self, id: &QueueId) -> impl Future<Output = Result<Shown, HelperError>> + Send;
}

/// When each held mail came in.
pub type Listing = HashMap<QueueId, Timestamp>;

impl HoldView for Helper {
    async fn list(&self) -> Result<Listing, HelperError> {
        let mut listing = Listing::new();
        Helper::list(self, |entry| {
            listing.insert(entry.queue_id, entry.arrived);
        })
        .await?;
        Ok(listing)
    }

    async fn find(&self, ids: &[QueueId]) -> Result<Vec<Place>, HelperError> {
        Helper::find(self, ids).await
    }

    async fn header(&self, id: &QueueId) -> Result<Shown, HelperError> {
        self.show(id, Part::Header).await
    }
}
