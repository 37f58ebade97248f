//! What a mail host does besides taking mail: it follows the mail log and looks into the hold queue, so that what
//! became of a message after our answer is known.
//!
//! Owns the settings of that, and its loops. Moves outcomes by evidence alone; judges nothing, answers nobody.
//!
//! - `log_move`: what an event in the log says of a message. Pure.
//! - `log_file`, `journal`: the lines, from where the last read ended · `place`: where that was, kept on the disk
//! - `follow`: the loop over them
//! - `missing`, `appeared`: what it means that a mail is in the hold queue no longer, or all of a sudden. Pure.
//! - `hold_view`: the queue, as it is looked at · `reconcile`: the loop over it
//! - `moving`: what was found, into the store

mod appeared;
mod follow;
mod hold_view;
mod journal;
mod local_time;
mod log_file;
mod log_move;
mod missing;
mod moving;
mod place;
mod reconcile;

pub use follow::{FollowError, Followed, Follower, TURN};
pub use hold_view::{HoldView, Listing};
pub use local_time::system_zone;
pub use place::{LogPlace, PlaceError};
pub use reconcile::{ReconcileError, Reconciler, Scanned};

use std::path::PathBuf;
use std::time::Duration;

/// `[outcome]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeSettings {
    /// `None`: nothing is followed, and accepted mail stays unconfirmed.
    pub log: Option<LogSource>,
    /// How long held mail must have been missed in the hold queue before nobody knows what became of it.
    pub settle: Duration,
}

/// `outcome.log`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// A file that a syslog daemon writes.
    File(PathBuf),
    /// systemd's journal, read through journalctl.
    Journal,
}

impl OutcomeSettings {
    /// How often the hold queue is looked at: every 30 s, and more often only where `settle` is short.
    pub fn pace(&self) -> Duration {
        (self.settle / 4).clamp(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl Default for OutcomeSettings {
    fn default() -> Self {
        Self {
            log: None,
            settle: Duration::from_secs(120),
        }
    }
}

impl std::fmt::Display for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Journal => f.write_str("journal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_a_short_settle() {
        for (settle, expected) in [(1, 1), (8, 2), (119, 29), (120, 30), (86_400, 30)] {
            let settings = OutcomeSettings {
                log: None,
                settle: Duration::from_secs(settle),
            };
            assert_eq!(settings.pace().as_secs(), expected, "{settle}");
        }
    }
}
