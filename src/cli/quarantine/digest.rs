//! `alignd quarantine digest`: the daily mail about what is held, shown, or sent as a trial.
//!
//! Announces nothing and writes nothing down: that is the daemon's.

use crate::cli::{Exit, Failure, Outcome, dns, host_name, now, settings, stored};
use crate::config::Config;
use crate::daemon::{digest_terms, holding};
use crate::deliver::Delivery;
use crate::digest::{Digest, Purpose, subject, text};
use crate::host::system_zone;
use crate::quarantine::gather;
use crate::schedule::DigestSettings;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Mail it now to quarantine.notify: a trial, which announces nothing and doesn't replace the daily one
    #[arg(long)]
    send: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd quarantine digest              what would be mailed now; nothing is sent
  alignd quarantine digest --send       does quarantine.notify get it?

The daemon sends it once a day at quarantine.notify_at while anything is held, and once more when
nothing is any longer. What quarantine.expire_after is to delete, it announces a day before. Run
--send as a user who can read the keys, such as root. Exit codes: 0 shown or sent, 1 the mail
server refuses it, 3 it doesn't take it now.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    match (arguments.send, holding(&config, &host_name()).digest) {
        (true, Some(way)) => send(&config, &way),
        (true, None) => Err(Failure::Usage(
            "nobody gets a digest: set quarantine.notify, and identity.report_domain or delivery.from to send it from"
                .to_owned(),
        )),
        (false, way) => show(&config, way.as_ref()),
    }
}

fn show(config: &Config, way: Option<&DigestSettings>) -> Outcome {
    let digest = digest(config, Purpose::Daily)?;
    if let Some(way) = way {
        println!("From: {}", way.from);
        println!("To: {}", way.to);
    }
    println!(
        "Subject: {}\n\n{}",
        subject(&digest),
        text(&digest).trim_end()
    );
    match way {
        Some(way) => {
            let next = way.at.next(now(), system_zone());
            eprintln!("The next one is due at {next} (quarantine.notify_at).");
        }
        None => eprintln!("Nobody gets it: quarantine.notify is not set."),
    }
    Ok(Exit::Ok)
}

fn send(config: &Config, way: &DigestSettings) -> Outcome {
    let digest = digest(config, Purpose::Trial)?;
    let key = format!("trial-{}", now().micros());
    let sent = dns::wait(async { Ok(way.send(&digest, key).await) })?;
    match sent.map_err(|error| Failure::Usage(error.to_string()))? {
        Delivery::Sent { answer } => {
            println!("{} sent to {}: {answer}", subject(&digest), way.to);
            Ok(Exit::Ok)
        }
        Delivery::Refused { answer } => {
            eprintln!("alignd: {} refuses it: {answer}", way.delivery.smtp);
            Ok(Exit::No)
        }
        Delivery::Deferred { answer, .. } => Err(Failure::Temporary(format!(
            "{} (delivery.smtp) doesn't take it now: {answer}",
            way.delivery.smtp
        ))),
    }
}

fn digest(config: &Config, purpose: Purpose) -> Result<Digest, Failure> {
    let reader = stored::open(config)?;
    let last = reader.digest();
    let last = last.map_err(|error| Failure::Internal(error.to_string()))?;
    let gathered = gather(&reader, &digest_terms(config), purpose, last, now());
    gathered
        .map(|gathered| gathered.digest)
        .map_err(|error| Failure::Internal(error.to_string()))
}
