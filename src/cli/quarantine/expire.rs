//! `alignd quarantine expire`: deletes held mail whose time is over, by the setting's rule or by the operator's word.

use super::act::{Found, all, everything, held, there_is_more, told_only};
use super::list::{ago, term};
use crate::cli::{Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::control::{Named, Request};
use crate::quarantine::{HeldFilter, MOST_LISTED, expired};
use crate::store::HeldIn;
use clap::Args;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What has been held for longer than this: 30d; announced or not. Without it, by quarantine.expire_after
    #[arg(long, value_name = "TIME", value_parser = term)]
    older_than: Option<Duration>,
    /// Do it; without this only their number is told
    #[arg(long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd quarantine expire                           how many would go by quarantine.expire_after now
  alignd quarantine expire --yes                     as the daemon does by itself
  alignd quarantine expire --older-than 30d          how many would go, announced or not
  alignd quarantine expire --older-than 30d --yes

By quarantine.expire_after goes only what a digest announced at least a day ago (quarantine.notify).";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let (found, comment) = match (arguments.older_than, config.quarantine.expire_after) {
        (Some(term), _) => (older(&config, term)?, None),
        (None, Some(after)) => (due(&config, after)?, Some(OVER.to_owned())),
        (None, None) => {
            return Err(Failure::Usage(
                "quarantine.expire_after is not set: say --older-than".to_owned(),
            ));
        }
    };
    if !arguments.yes {
        return told_only(&found, "deleted");
    }
    let named = |id| Named {
        id,
        comment: comment.clone(),
    };
    let Found { ids, more } = found;
    let requests = ids.into_iter().map(named).map(Request::Expire).collect();
    let exit = all(&config, requests)?;
    Ok(match more {
        true => there_is_more(),
        false => exit,
    })
}

fn older(config: &Config, term: Duration) -> Result<Found, Failure> {
    let filter = HeldFilter {
        place: HeldIn::QueueByUs,
        before: Some(ago(term)),
        ..everything()
    };
    held(config, &filter)
}

/// What the daemon would delete by now; tells how many must be announced first.
fn due(config: &Config, after: Duration) -> Result<Found, Failure> {
    let over = older(config, after)?.ids.len();
    let reader = stored::open(config)?;
    let mut ids = Vec::new();
    let mut beyond = None;
    let mut more = false;
    while !more {
        let page = expired(&reader, after, beyond, now());
        let page = page.map_err(|error| Failure::Internal(error.to_string()))?;
        let Some(last) = page.last() else { break };
        beyond = Some(last.id);
        ids.extend(page.iter().map(|message| message.id.to_string()));
        more = ids.len() > MOST_LISTED;
    }
    ids.truncate(MOST_LISTED);
    match over.saturating_sub(ids.len()) {
        0 => {}
        waiting if config.quarantine.notify.is_some() => {
            eprintln!("{waiting} more: deleted a day after the digest that announces it");
        }
        waiting => eprintln!(
            "{waiting} more: never deleted, for nothing announces it; set quarantine.notify"
        ),
    }
    Ok(Found { ids, more })
}

const OVER: &str = "quarantine.expire_after is over";
