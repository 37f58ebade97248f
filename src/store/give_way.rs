//! Long work beside mail.
//!
//! Owns the moment at which it lets others have the processor. Touches nothing else.

use std::thread;

/// Lets whoever waits for this processor have it. Building a day takes a processor for a minute, and where mail
/// needs both, it must not wait until the system takes one away, a few milliseconds later.
pub fn give_way() {
    thread::yield_now();
}
