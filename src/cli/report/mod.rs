//! `alignd report`: what is due, what a report would say, building and sending without waiting for
//! the night, and the reports that were built.
//!
//! One file per command. Building and previewing are `build_report`'s; what holds the settings against
//! that is here.

mod build;
mod due;
mod export;
mod kept;
mod list;
mod preview;
mod resend;
mod send;
mod show;

pub(super) use due::days;

use super::{Failure, Outcome};
use crate::build_report::{BuildError, BuildSettings};
use crate::config::Config;
use crate::store::{CoveredTo, OpenError, Reports};
use crate::time::UtcDay;
use clap::{Args, Subcommand};
use std::collections::HashMap;
use std::path::Path;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the reports of days that are over now, without waiting for the send window
    Build(build::Arguments),
    /// Show which days have something to report, when they are due, and why not yet
    Due(due::Arguments),
    /// Write the reports as files, under the names they are sent by
    Export(export::Arguments),
    /// List the reports that were built, and how far they got
    List(list::Arguments),
    /// Print the report that a domain would get about a day
    Preview(preview::Arguments),
    /// Send a report again, the same octets under the same name
    Resend(resend::Arguments),
    /// Send what waits in the outbox
    Send(send::Arguments),
    /// Show one report: what it is about, where it went, its XML
    Show(show::Arguments),
}

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    match &arguments.command {
        Command::Build(arguments) => build::run(arguments, file),
        Command::Due(arguments) => due::run(arguments, file),
        Command::Export(arguments) => export::run(arguments, file),
        Command::List(arguments) => list::run(arguments, file),
        Command::Preview(arguments) => preview::run(arguments, file),
        Command::Resend(arguments) => resend::run(arguments, file),
        Command::Send(arguments) => send::run(arguments, file),
        Command::Show(arguments) => show::run(arguments, file),
    }
}

/// What building needs. Err: what is not set and must be.
fn build_settings(config: &Config) -> Result<BuildSettings, Failure> {
    crate::daemon::build_settings(config).map_err(no_sender)
}

fn no_sender(missing: &str) -> Failure {
    let why = "every report says who sends it";
    Failure::Usage(format!("identity.{missing} is not set: {why}"))
}

/// The kept reports; `None` when nothing was ever reported.
pub(super) fn reports(config: &Config) -> Result<Option<Reports>, Failure> {
    match Reports::open_existing(&config.store.path) {
        Ok(reports) => Ok(Some(reports)),
        Err(OpenError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How far a day is covered, by policy domain.
pub(super) fn covered(
    reports: Option<&Reports>,
    day: UtcDay,
) -> Result<HashMap<String, CoveredTo>, Failure> {
    match reports {
        Some(reports) => Ok(reports.covered_to(day).map_err(BuildError::from)?),
        None => Ok(HashMap::new()),
    }
}

fn day(text: &str) -> Result<UtcDay, String> {
    UtcDay::parse(text).ok_or_else(|| "write a UTC day such as 2026-11-21".to_owned())
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Reports(_) => Self::Temporary(error.to_string()),
            BuildError::Read(_) | BuildError::Write(_) => Self::Internal(error.to_string()),
        }
    }
}
