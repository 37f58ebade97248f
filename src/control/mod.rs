//! The control entrance: a Unix socket on which operators and other programs say what is to be done
//! with mail that is held, what became of mail, and what may pass in spite of DMARC.
//!
//! One JSON object a line, both ways (`protocol`; described in alignd(1)). Who asks is told by the
//! kernel: root and alignd's own user may ask everything, those in `control.outcome_users` may tell
//! outcomes, every other is refused. `answer` is the one function that does what is asked; the command
//! line calls it, too, when no daemon runs. `server` has the loop and its bounds, `client` the other
//! end.

mod access;
mod answer;
mod client;
mod exceptions;
mod held;
mod protocol;
mod server;

pub use access::{Caller, Rank};
pub use answer::{Desk, answer, of_quarantine};
pub use client::{Unanswered, ask};
pub use held::{HeldRow, HeldRows, held_rows};
pub use protocol::{
    Answer, HeldAsked, Line, MAX_REQUEST, Named, Nothing, OutcomeTold, Refusal, RefusalKind,
    Release, Request, RuleAdded, RuleRemoved,
};
pub use server::{bind, serve};

use std::path::PathBuf;

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSettings {
    /// `None`: there is no socket.
    pub socket: Option<PathBuf>,
    /// Users who may tell outcomes, by name.
    pub outcome_users: Vec<String>,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            socket: Some(PathBuf::from("/run/alignd/control.sock")),
            outcome_users: Vec::new(),
        }
    }
}
