//! What a mail host does besides taking mail: it follows the mail log, so that what became of a message after
//! our answer is known.
//!
//! Owns the settings of that, and its loop. Moves outcomes by evidence alone; judges nothing, answers nobody.
//!
//! - `log_move`: what an event in the log says of a message. Pure.
//! - `log_file`, `journal`: the lines, from where the last read ended · `place`: where that was, kept on the disk
//! - `follow`: the loop over them

mod follow;
mod journal;
mod local_time;
mod log_file;
mod log_move;
mod place;

pub use follow::{FollowError, Followed, Follower, TURN};
pub use local_time::system_zone;
pub use place::{LogPlace, PlaceError};

use std::path::PathBuf;

/// `[outcome]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutcomeSettings {
    /// `None`: nothing is followed, and accepted mail stays unconfirmed.
    pub log: Option<LogSource>,
}

/// `outcome.log`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// A file that a syslog daemon writes.
    File(PathBuf),
    /// systemd's journal, read through journalctl.
    Journal,
}

impl std::fmt::Display for LogSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Journal => f.write_str("journal"),
        }
    }
}
