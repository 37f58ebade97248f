//! The milter entrance: mail comes in here from Postfix or Sendmail.
//!
//! From the wire upwards: `listener` and `accept` (sockets, the loop), `packet` and `stream` (octets
//! below indymilter), `link` (what a connection's stream and callbacks share). `settings` is what the
//! operator says about it.

mod accept;
mod link;
mod listener;
mod packet;
pub mod settings;
mod stream;

pub use accept::{Limits, serve};
pub use link::{Fate, Link, OnAnswer, Phase, Socket};
pub use listener::{BindError, Listener, bind};
pub use settings::{HostPattern, MilterSettings, SenderPattern, SocketSpec, TrustSettings};
