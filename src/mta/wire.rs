//! What the daemon and the helper say to each other: one JSON object a line, a request and its answer.
//!
//! Owns the two forms, apart from the words of `mta`; reads leniently what a newer helper may add to an
//! answer, and takes no request that it doesn't know. A listing is one line for each mail and one at the end.

use super::{HeldEntry, Part, Place, QueueError, QueueId, Released, Shown};
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// `{"ask":"release","queue_id":"4jXW5m5GBtz1StgL"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    List,
    Show { queue_id: String, part: WirePart },
    Release { queue_id: String },
    Requeue { queue_id: String },
    Delete { queue_id: String },
    Locate { queue_id: String },
    Find { queue_ids: Vec<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WirePart {
    Header,
    Message,
}

/// `{"released":{…}}`, `{"refused":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// One mail of a listing.
    Held(WireEntry),
    /// The end of a listing; whether there are more.
    Listed {
        more: bool,
    },
    Shown {
        base64: String,
        cut: bool,
    },
    Released(WireReleased),
    Deleted {},
    Place(WirePlace),
    /// In the order in which they were asked for.
    Found(Vec<WirePlace>),
    /// The mail isn't held: it is there.
    NotHeld(WirePlace),
    /// Who asks may not.
    Refused(String),
    /// It makes no sense, to this helper.
    NotUnderstood(String),
    /// Too much at once: ask again later.
    Busy(String),
    /// The MTA didn't do it.
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireEntry {
    queue_id: String,
    queue: String,
    /// Seconds since 1970.
    arrived: i64,
    size: u64,
    sender: String,
    recipients: Vec<String>,
    recipient_count: u64,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireReleased {
    queue_id: Option<String>,
    requeued: bool,
    place: WirePlace,
    #[serde(default)]
    waits: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WirePlace {
    Held,
    Queued(String),
    Gone,
}

impl From<&Shown> for Answer {
    fn from(shown: &Shown) -> Self {
        Self::Shown {
            base64: BASE64.encode(&shown.octets),
            cut: shown.cut,
        }
    }
}

impl From<QueueError> for Answer {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NotHeld(place) => Self::NotHeld(place.into()),
            QueueError::Failed(text) => Self::Failed(text),
        }
    }
}

/// `None`: it isn't base64.
pub fn shown(base64: &str, cut: bool) -> Option<Shown> {
    let octets = BASE64.decode(base64).ok()?;
    Some(Shown { octets, cut })
}

impl From<HeldEntry> for WireEntry {
    fn from(entry: HeldEntry) -> Self {
        Self {
            queue_id: entry.queue_id.to_string(),
            queue: entry.queue,
            arrived: entry.arrived.seconds(),
            size: entry.size,
            sender: entry.sender,
            recipients: entry.recipients,
            recipient_count: entry.recipient_count,
            reason: entry.reason,
        }
    }
}

impl TryFrom<WireEntry> for HeldEntry {
    type Error = super::NoQueueId;

    fn try_from(entry: WireEntry) -> Result<Self, Self::Error> {
        Ok(Self {
            queue_id: entry.queue_id.parse()?,
            queue: entry.queue,
            arrived: Timestamp::from_seconds(entry.arrived),
            size: entry.size,
            sender: entry.sender,
            recipients: entry.recipients,
            recipient_count: entry.recipient_count,
            reason: entry.reason,
        })
    }
}

impl From<Released> for WireReleased {
    fn from(released: Released) -> Self {
        Self {
            queue_id: released.queue_id.map(|id| id.to_string()),
            requeued: released.requeued,
            place: released.place.into(),
            waits: released.waits,
        }
    }
}

impl TryFrom<WireReleased> for Released {
    type Error = super::NoQueueId;

    fn try_from(released: WireReleased) -> Result<Self, Self::Error> {
        let queue_id = released.queue_id.map(|id| id.parse::<QueueId>());
        Ok(Self {
            queue_id: queue_id.transpose()?,
            requeued: released.requeued,
            place: released.place.into(),
            waits: released.waits,
        })
    }
}

impl From<Place> for WirePlace {
    fn from(place: Place) -> Self {
        match place {
            Place::Held => Self::Held,
            Place::Queued(queue) => Self::Queued(queue),
            Place::Gone => Self::Gone,
        }
    }
}

impl From<WirePlace> for Place {
    fn from(place: WirePlace) -> Self {
        match place {
            WirePlace::Held => Self::Held,
            WirePlace::Queued(queue) => Self::Queued(queue),
            WirePlace::Gone => Self::Gone,
        }
    }
}

impl From<Part> for WirePart {
    fn from(part: Part) -> Self {
        match part {
            Part::Header => Self::Header,
            Part::Message => Self::Message,
        }
    }
}

impl From<WirePart> for Part {
    fn from(part: WirePart) -> Self {
        match part {
            WirePart::Header => Self::Header,
            WirePart::Message => Self::Message,
        }
    }
}

/// The longest line of a request, in octets, its end included: `MAX_FOUND` queue ids, the longest there are.
pub const MAX_REQUEST: u64 = 32_768;
/// The longest line of an answer: a message in base64.
pub const MAX_ANSWER: u64 = (super::MAX_SHOWN as u64 / 3 + 1) * 4 + 1_024;
