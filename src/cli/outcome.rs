//! `alignd outcome`: another filter, or a person, tells what became of a message.

use super::ask::ask;
use super::{Outcome, settings};
use crate::control::{OutcomeTold, Request};
use crate::tell_outcome::STATES;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("message").required(true).multiple(true).args(["verdict", "queue_id", "message_id"]))]
pub struct Arguments {
    /// The message, by its verdict
    #[arg(long, value_name = "ID", conflicts_with_all = ["queue_id", "message_id"])]
    verdict: Option<String>,
    /// The newest message with this id of the MTA's
    #[arg(long, value_name = "ID")]
    queue_id: Option<String>,
    /// The newest message of the last two days, of 100,000 at most, with this Message-ID; with --queue-id: with both
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// What became of it
    #[arg(value_name = "WORD", value_parser = words())]
    word: String,
    /// Why, in a few words: kept with it, shown by `alignd why`, never reported
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  alignd outcome --queue-id 4jXW5m5GBtz1StgL refused_later --reason virus
  alignd outcome --message-id '<20261122.1@example.org>' held --reason spam
  alignd outcome --verdict 0192d3c4-7f2e-7abc-9def-0123456789ab released

For filters that take mail after alignd: what they refuse must not be reported as accepted. Their users
may say so when control.outcome_users names them. Illegal moves are refused, exit code 1.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let told = OutcomeTold {
        verdict: arguments.verdict.clone(),
        queue_id: arguments.queue_id.clone(),
        message_id: arguments.message_id.clone(),
        outcome: arguments.word.clone(),
        reason: arguments.reason.clone(),
    };
    ask(&config, Request::Outcome(told), |_| Ok(()))
}

fn words() -> PossibleValuesParser {
    PossibleValuesParser::new(STATES.iter().map(|state| state.as_str()))
}
