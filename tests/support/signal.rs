//! Signals to the processes that a test started itself.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Child;

/// Sends `signal` to a child that hasn't been waited for.
pub fn send(child: &Child, signal: Signal) -> nix::Result<()> {
    let id = i32::try_from(child.id()).expect("Linux's process ids fit");
    kill(Pid::from_raw(id), signal)
}
