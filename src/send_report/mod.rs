//! Sending reports: the outbox's loop step, and what bounces say about it afterwards.
//!
//! Owns when an entry is tried again and when no more, whom nothing is sent to, and how fast mail goes.
//! One mail is taken at a time: composed, signed, delivered, its fate recorded. A crash between any
//! two steps repeats the step; only where the answer of the server was lost can a report arrive twice,
//! and then with the same Report-ID. Time comes from a `Clock`. RFC 9990 §3.5.
//!
//! - `sender`: the step · `pace`: so many mails a minute · `delay`: how long until the next try
//! - `verifying`: destinations that DNS said nothing about, asked again beside the mail
//! - `destinations`: who may get reports, from DNS to the store's words · `bounce`: mail that came back
//! - `failure`: permanent failures, and the suppression that follows

mod bounce;
mod delay;
mod destinations;
mod failure;
mod pace;
mod sender;
mod verifying;

pub use bounce::{BOUNCE_OCTETS, Bounce, Taken, take_bounce};
pub use destinations::{Asker, Destinations, destinations};
pub use failure::note_failure;
pub use sender::{Round, SendError, SendSettings, Sender};
