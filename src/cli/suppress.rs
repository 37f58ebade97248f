//! `alignd suppress list | add | remove`: addresses and domains that get no reports because mail to them
//! fails, or because the operator says so.

use super::output::{Cell, Format, Listing, Screen, Tone};
use super::{Exit, Outcome, now, settings};
use crate::config::value::duration;
use crate::domain::DomainName;
use crate::report::destination::PlainAddress;
use crate::store::{Reports, Suppression};
use crate::time::Timestamp;
use clap::{Args, Subcommand};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Addresses and domains whose mail failed, and until when they get none
    List(ListArguments),
    /// Send no reports to an address, or to any address of a domain
    Add(AddArguments),
    /// Send reports to it again
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct AddArguments {
    /// An address or a domain
    #[arg(value_name = "ADDRESS|DOMAIN", value_parser = who)]
    who: String,
    /// For how long: 12h, 30d
    #[arg(long = "for", value_name = "TIME", default_value = "365d", value_parser = term)]
    term: Duration,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", default_value = "by the operator")]
    reason: String,
}

#[derive(Debug, Args)]
struct RemoveArguments {
    /// An address or a domain
    #[arg(value_name = "ADDRESS|DOMAIN", value_parser = who)]
    who: String,
}

const EXAMPLES: &str = "\
Examples:
  alignd suppress add dmarc@example.org --for 30d --reason asked
  alignd suppress add example.org";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reports = Reports::open_existing(&config.store.path)?;
    match &arguments.what {
        What::List(arguments) => {
            let mut screen = Screen::new();
            screen.listing(&listing(reports.suppressions()?), arguments.format)?;
            screen.finish()?;
            Ok(Exit::Ok)
        }
        What::Add(arguments) => {
            let micros = i64::try_from(arguments.term.as_micros()).unwrap_or(i64::MAX);
            let until = now().plus_micros(micros);
            reports.suppress(&arguments.who, until, &arguments.reason, now())?;
            Ok(Exit::Ok)
        }
        What::Remove(arguments) => match reports.unsuppress(&arguments.who)? {
            true => Ok(Exit::Ok),
            false => {
                eprintln!("alignd: {} is not in the list", arguments.who);
                Ok(Exit::No)
            }
        },
    }
}

fn listing(suppressions: Vec<Suppression>) -> Listing {
    let now = now();
    let rows = suppressions.into_iter().map(|s| {
        let holds = s.until.is_some_and(|until| until > now);
        let tone = if holds { Tone::Bad } else { Tone::Plain };
        let time = |at: Timestamp| at.to_string();
        vec![
            Cell::toned(s.who, tone),
            Cell::new(s.until.filter(|_| holds).map(time)),
            Cell::new(s.failures),
            Cell::new(s.times),
            Cell::new(time(s.since)),
            Cell::new(s.reason),
        ]
    });
    Listing {
        keys: vec!["who", "until", "failures", "times", "since", "reason"],
        rows: rows.collect(),
    }
}

fn who(text: &str) -> Result<String, String> {
    let address = PlainAddress::parse(text).map(|address| address.to_string());
    let domain = || {
        DomainName::parse(text)
            .ok()
            .map(|domain| domain.to_string())
    };
    address
        .or_else(domain)
        .ok_or_else(|| "neither an address nor a domain".to_owned())
}

fn term(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "not a time such as \"12h\" or \"30d\"".to_owned())
}
