//! `alignd quarantine list | show | release | delete | expire | digest`: the mail that is held.
//!
//! Looks are taken in the store and, for the message itself, at the MTA's helper. What changes something
//! is asked of the daemon, or done here when none runs (`ask`).

mod act;
mod digest;
mod expire;
mod list;
mod show;

use super::Outcome;
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is held, the oldest first
    List(list::Arguments),
    /// One held message: all its grounds, or the message itself
    Show(show::Arguments),
    /// Let held messages go to their recipients
    Release(act::ReleaseArguments),
    /// Delete held messages; nobody gets a bounce
    Delete(act::DeleteArguments),
    /// Delete what has been held for too long; nobody gets a bounce
    Expire(expire::Arguments),
    /// The daily mail about what is held, as it would be sent now
    Digest(digest::Arguments),
}

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    match &arguments.what {
        What::List(arguments) => list::run(arguments, file),
        What::Show(arguments) => show::run(arguments, file),
        What::Release(arguments) => act::release(arguments, file),
        What::Delete(arguments) => act::delete(arguments, file),
        What::Expire(arguments) => expire::run(arguments, file),
        What::Digest(arguments) => digest::run(arguments, file),
    }
}
