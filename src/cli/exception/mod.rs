//! `alignd exception list | show | add | remove | suggest`: mail that may pass in spite of DMARC, because
//! something else about it is verified.
//!
//! Exceptions of the settings file are listed with those of the store; changed are those of the store.

mod add;
mod list;
mod suggest;

pub use add::{End, reasons};
pub use suggest::numbered;

use super::ask::ask;
use super::output::printable;
use super::{Failure, Outcome, settings};
use crate::control::{Request, RuleRemoved};
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The exceptions and stricter rules, of the settings and of the store
    List(list::Arguments),
    /// One of them, with its history: who, when, why
    Show(list::ShowArguments),
    /// Let mail pass that is verified in another way than DMARC asks for
    Add(Box<add::Arguments>),
    /// End one of the store's before its time; its history stays
    Remove(RemoveArguments),
    /// The exceptions that would have let a message pass, the narrowest first
    Suggest(suggest::Arguments),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct RemoveArguments {
    /// Its key in `alignd exception list`
    #[arg(value_name = "KEY")]
    key: String,
    /// Why, for whoever reads its history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  alignd exception remove stored-7 --why moved

Those of the settings file, config-…, are removed there.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    match &arguments.what {
        What::List(arguments) => list::run(arguments, file),
        What::Show(arguments) => list::show(arguments, file),
        What::Add(arguments) => add::run(arguments, file),
        What::Remove(arguments) => remove(arguments, file),
        What::Suggest(arguments) => suggest::run(arguments, file),
    }
}

fn remove(arguments: &RemoveArguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    if arguments.key.starts_with("config-") {
        let key = printable(&arguments.key);
        let words = format!("{key} stands in the settings file: remove it there and reload alignd");
        return Err(Failure::Usage(words));
    }
    let removed = RuleRemoved {
        key: arguments.key.clone(),
        why: arguments.why.clone(),
    };
    ask(&config, Request::RemoveException(removed), |_| Ok(()))
}
