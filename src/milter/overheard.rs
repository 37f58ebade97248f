//! Bounces of our reports that pass the milter on their way to our return path: overheard, before
//! anything else is done with them, and handed over to whoever takes bounces.
//!
//! Owns the bound: their first 64 KiB, and no more of them than wait for their turn. Judges nothing, and
//! changes nothing about what is done with the message.

use crate::message::HeaderField;
use crate::send_report::{BOUNCE_OCTETS, Bounce};
use tokio::sync::mpsc;

/// A bounce while it passes.
pub(super) struct Overheard {
    bounces: mpsc::Sender<Bounce>,
    bounce: Bounce,
}

impl Overheard {
    /// The header of a message from `<>` to `recipients`, our return paths.
    pub fn begin(
        bounces: mpsc::Sender<Bounce>,
        recipients: Vec<String>,
        fields: &[HeaderField],
    ) -> Self {
        let mut overheard = Self {
            bounces,
            bounce: Bounce {
                recipients,
                message: Vec::new(),
            },
        };
        for field in fields {
            overheard.body(&field.name);
            overheard.body(b":");
            overheard.body(&field.value);
            overheard.body(b"\r\n");
        }
        overheard.body(b"\r\n");
        overheard
    }

    pub fn body(&mut self, octets: &[u8]) {
        let room = BOUNCE_OCTETS.saturating_sub(self.bounce.message.len());
        let kept = octets.get(..room).unwrap_or(octets);
        self.bounce.message.extend_from_slice(kept);
    }

    /// Whether the rest makes no difference.
    pub fn is_done(&self) -> bool {
        self.bounce.message.len() >= BOUNCE_OCTETS
    }

    /// The end of the message. One that finds no room is lost: mail doesn't wait for it, and the alias
    /// that it goes to takes it too.
    pub fn hand_over(self) {
        if self.bounces.try_send(self.bounce).is_err() {
            metrics::counter!("alignd_bounces_total", "result" => "lost").increment(1);
        }
    }
}
