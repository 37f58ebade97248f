//! The command line: one file per command, and what they share: settings, exit codes, output.
//!
//! Owns argv and standard output. Evaluates nothing itself: commands call the same pieces as the
//! daemon and show what these return.

mod config;
mod output;

use crate::config::{LoadError, Loaded, load};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

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
            eprintln!("{failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) | Failure::Settings(_) => USAGE,
                Failure::Temporary(_) => TEMPORARY,
                Failure::Internal(_) => INTERNAL,
            })
        }
    }
}

fn dispatch(cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Config(arguments) => config::run(arguments, cli.config.as_deref()),
    }
}

/// The settings in force.
fn settings(file: Option<&std::path::Path>) -> Result<Loaded, Failure> {
    Ok(load(file, &host_name())?)
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
