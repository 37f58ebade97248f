//! `alignd quarantine release | delete`: what is to become of held messages, one or many.

use super::list::domain;
use crate::cli::ask;
use crate::cli::exception::{End, numbered, reasons};
use crate::cli::output::printable;
use crate::cli::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::control::{Answer, HeldRows, Named, RefusalKind, Release, Request, held_rows};
use crate::domain::DomainName;
use crate::quarantine::{HeldFilter, MOST_LISTED, Target};
use crate::store::HeldIn;
use clap::{ArgGroup, Args};
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = RELEASE_EXAMPLES, group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub struct ReleaseArguments {
    #[command(flatten)]
    which: Which,
    /// The reason that the domain owner's report gives; without it local_policy, or what the suggestion says
    #[arg(long, value_name = "TYPE", value_parser = reasons())]
    because: Option<String>,
    /// Make this one of the suggestions, by its number, an exception for such mail from now on
    #[arg(long, value_name = "SUGGESTION")]
    allow: Option<usize>,
    /// Make no exception; that is so in any case without --allow, but then one is proposed
    #[arg(long, conflicts_with = "allow")]
    once: bool,
    /// With --allow: when the exception ends: 90d from now, 2027-01-31; never, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = End::parse, requires = "allow")]
    expires: Option<End>,
}

#[derive(Debug, Args)]
#[command(after_help = DELETE_EXAMPLES, group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub struct DeleteArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// Verdicts' ids, or the MTA's queue ids
    #[arg(value_name = "VERDICT|QUEUE-ID")]
    ids: Vec<String>,
    /// Every held message of --author-domain
    #[arg(long, requires = "author_domain")]
    all: bool,
    /// With --all: of this domain in From
    #[arg(long, value_name = "DOMAIN", value_parser = domain, requires = "all")]
    author_domain: Option<DomainName>,
    /// With --all: do it; without this only their number is told
    #[arg(long)]
    yes: bool,
    /// Your own words, kept with the outcome and shown by `alignd why`; nobody else reads them
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  alignd quarantine release 4jXW5m5GBtz1StgL --because mailing_list
  alignd quarantine release 4jXW5m5GBtz1StgL 4jXW5m5KZfz1StH0 --comment ticket-4711
  alignd quarantine release 4jXW5m5GBtz1StgL --allow 1 --expires 90d      as show and suggest number them
  alignd quarantine release --all --author-domain example.org --yes

Goes by the queue id and by the verdict's header in the queued message, since MTAs use their ids again. Interrupted
anywhere, it can be repeated and ends the same. The report of the day on which a message is released counts it.";

const DELETE_EXAMPLES: &str = "\
Examples:
  alignd quarantine delete 4jXW5m5GBtz1StgL
  alignd quarantine delete --all --author-domain example.org --yes";

pub fn release(arguments: &ReleaseArguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let expires = arguments.expires.map(|end| end.after(now()).to_string());
    let exit = arguments.which.act(&config, "released", |named| {
        Request::Release(Release {
            id: named.id,
            because: arguments.because.clone(),
            comment: named.comment,
            allow: arguments.allow,
            expires: expires.clone(),
        })
    })?;
    if exit == Exit::Ok && arguments.allow.is_none() && !arguments.once {
        arguments.which.propose(&config)?;
    }
    Ok(exit)
}

pub fn delete(arguments: &DeleteArguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    arguments.which.act(&config, "deleted", Request::Delete)
}

impl Which {
    /// Says, to a person, how the next such message could pass.
    fn propose(&self, config: &Config) -> Result<(), Failure> {
        let ([id], true) = (self.ids.as_slice(), std::io::stdout().is_terminal()) else {
            return Ok(());
        };
        let reader = stored::open(config)?;
        if let Ok(found) = Target::parse(id).find(&reader)
            && let Some(first) = numbered(&found.verdict).first()
        {
            eprintln!(
                "The next one is held again. To let it pass: {}",
                printable(first)
            );
            eprintln!(
                "See alignd exception suggest {}, and alignd exception add.",
                found.verdict.id
            );
        }
        Ok(())
    }

    fn act(&self, config: &Config, becomes: &str, request: impl Fn(Named) -> Request) -> Outcome {
        let Found { ids, more } = if self.all {
            let filter = HeldFilter {
                author_domain: self.author_domain.clone(),
                ..everything()
            };
            let found = held(config, &filter)?;
            if !self.yes {
                return told_only(&found, becomes);
            }
            found
        } else {
            Found {
                ids: self.ids.clone(),
                more: false,
            }
        };
        let comment = self.comment.clone();
        let named = |id| {
            request(Named {
                id,
                comment: comment.clone(),
            })
        };
        let exit = all(config, ids.into_iter().map(named).collect())?;
        Ok(match more {
            true => there_is_more(),
            false => exit,
        })
    }
}

/// What is to be acted on.
pub(super) struct Found {
    /// The verdicts' ids, or the MTA's queue ids.
    pub ids: Vec<String>,
    /// There is more of it than is done at a time.
    pub more: bool,
}

/// What lies in the hold queue, as much as is done at a time.
pub(super) fn everything() -> HeldFilter {
    HeldFilter {
        place: HeldIn::Queue,
        limit: MOST_LISTED,
        ..HeldFilter::default()
    }
}

/// The verdicts' ids of what is held, oldest first.
pub(super) fn held(config: &Config, filter: &HeldFilter) -> Result<Found, Failure> {
    let reader = stored::open(config)?;
    let found = held_rows(&reader, filter, now());
    let HeldRows { rows, more } = found.map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(Found {
        ids: rows.into_iter().map(|row| row.id).collect(),
        more,
    })
}

pub(super) fn told_only(found: &Found, becomes: &str) -> Outcome {
    let count = found.ids.len();
    let plural = if count == 1 { "" } else { "s" };
    let and_more = match found.more {
        true => ", the oldest of more,",
        false => "",
    };
    eprintln!("{count} message{plural}{and_more} would be {becomes}: say --yes to do it");
    Ok(if count == 0 { Exit::Ok } else { Exit::No })
}

/// Not everything that was asked for is done.
pub(super) fn there_is_more() -> Exit {
    eprintln!("These were the oldest {MOST_LISTED}; there are more: repeat this for the next.");
    Exit::No
}

/// Asks one after the other, and tells of each. What can't be done now is likely to be the same for the
/// rest, so that ends it; a no concerns one message only.
pub(super) fn all(config: &Config, requests: Vec<Request>) -> Outcome {
    let asked = requests.len();
    let mut done = 0;
    let mut exit = Exit::Ok;
    ask::each(config, requests, |answer| match answer {
        Answer::Done(fields) => {
            done += 1;
            println!("{}", sentence(&fields));
            if let Some(problem) = fields.get("no_exception").and_then(Value::as_str) {
                eprintln!("alignd: {}", printable(problem));
                exit = Exit::No;
            }
            Ok(())
        }
        Answer::Refused(refusal) if refusal.kind == RefusalKind::No => {
            exit = ask::refused(&refusal)?;
            Ok(())
        }
        Answer::Refused(refusal) => {
            if asked > 1 {
                eprintln!("alignd: {done} of {asked} were done before this:");
            }
            ask::refused(&refusal).map(|_| ())
        }
    })?;
    Ok(exit)
}

fn sentence(fields: &Map<String, Value>) -> String {
    let word = |key| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut sentence = format!("{} {}", word("outcome"), word("verdict"));
    if fields.get("was_so") == Some(&Value::Bool(true)) {
        // What was seen in the queue or in the log names nobody.
        let by = match word("by") {
            "" => String::new(),
            by => format!(", by {by}"),
        };
        sentence.push_str(&format!(" already{by} at {}", word("at")));
    }
    if !word("detail").is_empty() {
        sentence.push_str(&format!("; {}", word("detail")));
    }
    if !word("exception").is_empty() {
        sentence.push_str(&format!("; {} lets such mail pass", word("exception")));
    }
    printable(&sentence)
}
