//! The milter entrance: mail comes in here from Postfix or Sendmail.
//!
//! `settings` is what the operator says about it.

pub mod settings;

pub use settings::{HostPattern, MilterSettings, SenderPattern, SocketSpec, TrustSettings};
