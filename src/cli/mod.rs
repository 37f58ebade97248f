//! The command line: one file per command, and what they share: settings, exit codes, output.
//!
//! Owns argv and standard output. Evaluates nothing itself: commands call the same pieces as the
//! daemon and show what these return.

mod ask;
mod check;
mod config;
mod dns;
mod exception;
mod explain;
mod inbox;
mod json;
mod messages;
mod moment;
mod mta_helper;
mod outcome;
mod output;
mod page;
mod policy;
mod quarantine;
mod replay;
mod report;
mod review;
mod run;
mod sentences;
mod status;
mod stored;
mod suppress;
mod what_if;
mod why;

use crate::config::{LoadError, Loaded, load};
use crate::daemon::Role;
use crate::time::Timestamp;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// alignd evaluates SPF, DKIM and DMARC on inbound mail for Postfix and Sendmail, and remembers why.
#[derive(Debug, Parser)]
#[command(name = "alignd", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Settings file [default: /etc/alignd/alignd.toml, when there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at the settings: the commented sample, what is in force, what is wrong
    Config(config::Arguments),
    /// Evaluate a message from a file and explain each result; nothing is stored
    Check(check::Arguments),
    /// Mail that may pass in spite of DMARC, since something else about it is verified
    Exception(exception::Arguments),
    /// Take mail that is about our own: bounces of reports
    Inbox(inbox::Arguments),
    /// List or count the messages that were judged
    Messages(messages::Arguments),
    /// Keep the MTA's hold queue for alignd, as root
    MtaHelper(mta_helper::Arguments),
    /// Tell what became of a message: for filters that take mail after alignd
    Outcome(outcome::Arguments),
    /// Show how the DMARC policy of a domain is found, step by step
    Policy(policy::Arguments),
    /// Held mail: what it is, letting it go, deleting it
    Quarantine(quarantine::Arguments),
    /// Aggregate reports: what is due, what they would say, building them now
    Report(report::Arguments),
    /// What was held or refused and should perhaps not have been, and the other way round
    Review(review::Arguments),
    /// Run the daemon, all of it, in the foreground
    Run(run::Arguments),
    /// Run what a mail host needs: the milter
    Milter(run::Arguments),
    /// Run what one host of many needs besides: building and sending reports
    Schedule(run::Arguments),
    /// One screen: is it running, what came in today, what needs a hand
    Status(status::Arguments),
    /// Addresses and domains that get no reports, because mail to them fails
    Suppress(suppress::Arguments),
    /// What other settings and rules would have done with the mail that came in
    WhatIf(what_if::Arguments),
    /// Explain one stored verdict: grounds, rule, header, what became of the message
    Why(why::Arguments),
}

const AFTER_HELP: &str = "\
Exit codes: 0 ok, 1 no (a check said no, nothing was found), 2 usage or settings, 3 temporary
(DNS, a busy store), 4 internal error.
Times are UTC, RFC 3339. Colours only on a terminal, and never when NO_COLOR is set.";

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// A check said no, or what was asked for isn't there.
    No,
}

/// Why a command could not do what it was asked to; sorted by who can act.
#[derive(Debug)]
pub enum Failure {
    /// The operator: arguments, or a file that isn't there.
    Usage(String),
    /// The operator: the settings file, each line with its place.
    Settings(LoadError),
    /// Time: try again.
    Temporary(String),
    /// We.
    Internal(String),
}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;

/// Runs the command in `args`, the program's name first.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(message) => {
            let code = if message.use_stderr() { USAGE } else { 0 };
            // Nothing is left to be said when even this cannot be written.
            let _ = message.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(&cli) {
        Ok(Exit::Ok) => ExitCode::SUCCESS,
        Ok(Exit::No) => ExitCode::from(NO),
        Err(failure) => {
            for line in failure.to_string().lines() {
                eprintln!("{}", output::printable(line));
            }
            if matches!(cli.command, Command::Inbox(_)) {
                return ExitCode::from(EX_TEMPFAIL);
            }
            ExitCode::from(match failure {
                Failure::Usage(_) | Failure::Settings(_) => USAGE,
                Failure::Temporary(_) => TEMPORARY,
                Failure::Internal(_) => INTERNAL,
            })
        }
    }
}

fn dispatch(cli: &Cli) -> Outcome {
    let file = cli.config.as_deref();
    match &cli.command {
        Command::Check(arguments) => check::run(arguments, file),
        Command::Config(arguments) => config::run(arguments, file),
        Command::Exception(arguments) => exception::run(arguments, file),
        Command::Inbox(arguments) => inbox::run(arguments, file),
        Command::Messages(arguments) => messages::run(arguments, file),
        Command::MtaHelper(arguments) => mta_helper::run(arguments, file),
        Command::Outcome(arguments) => outcome::run(arguments, file),
        Command::Policy(arguments) => policy::run(arguments, file),
        Command::Quarantine(arguments) => quarantine::run(arguments, file),
        Command::Report(arguments) => report::run(arguments, file),
        Command::Review(arguments) => review::run(arguments, file),
        Command::Run(arguments) => run::run(arguments, Role::All, file),
        Command::Milter(arguments) => run::run(arguments, Role::Milter, file),
        Command::Schedule(arguments) => run::run(arguments, Role::Schedule, file),
        Command::Status(arguments) => status::run(arguments, file),
        Command::Suppress(arguments) => suppress::run(arguments, file),
        Command::WhatIf(arguments) => what_if::run(arguments, file),
        Command::Why(arguments) => why::run(arguments, file),
    }
}

/// The settings in force.
fn settings(file: Option<&std::path::Path>) -> Result<Loaded, Failure> {
    Ok(load(file, &host_name())?)
}

/// This moment.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// This host's name, as the kernel has it.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Settings(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Temporary(text) | Self::Internal(text) => {
                write!(f, "alignd: {text}")
            }
            // `FILE:LINE:COLUMN: …`, as editors and other checkers have it.
            Self::Settings(error) => error.fmt(f),
        }
    }
}

const NO: u8 = 1;
const USAGE: u8 = 2;
const TEMPORARY: u8 = 3;
const INTERNAL: u8 = 4;
/// sysexits(3), for an MTA's pipe: it keeps the mail and tries again.
const EX_TEMPFAIL: u8 = 75;
