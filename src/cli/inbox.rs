//! `alignd inbox bounce`: takes a bounce of a report from an MTA's pipe.
//!
//! Speaks to the MTA by sysexits(3): whatever is wrong on our side is temporary, so that no bounce is lost.

use super::{Exit, Failure, Outcome, settings};
use crate::daemon::SystemClock;
use crate::inbox::{Inbox, read_bounce};
use crate::key_file;
use crate::send_report::Taken;
use crate::store::{Noted, Reports};
use clap::{Args, Subcommand};
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take a bounce of a report from standard input, for an MTA's pipe
    Bounce(BounceArguments),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct BounceArguments {
    /// The recipient, as the MTA knows it; else it is taken from the environment of Postfix's local(8) and
    /// from the header
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  bounce: \"|/usr/local/bin/alignd inbox bounce\"      in an alias file that belongs to alignd's user
  argv=/usr/local/bin/alignd inbox bounce --recipient ${recipient}      in master.cf, with pipe(8)

What has no return path signed by us does nothing. The second mail to an address that fails for good
suppresses the address: see alignd suppress.

Exit codes: 0 taken, or nothing to be done, 75 try again later.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let What::Bounce(arguments) = &arguments.what;
    let config = settings(file)?.config;
    let domain = config.identity.report_domain.clone().ok_or_else(|| {
        Failure::Usage("identity.report_domain is not set, so no report can bounce".to_owned())
    })?;
    let inbox = Inbox {
        reports: Reports::open_existing(&config.store.path)?,
        report_domain: domain,
        key: key_file::open(&config.identity.site_key)
            .map_err(|error| Failure::Usage(error.to_string()))?,
        clock: Arc::new(SystemClock),
    };
    let environment = ["ORIGINAL_RECIPIENT", "RECIPIENT", "EXTENSION"];
    let environment = environment
        .iter()
        .filter_map(|name| std::env::var(name).ok());
    let named = arguments.recipient.clone().into_iter().chain(environment);
    let bounce = read_bounce(std::io::stdin().lock(), named)
        .map_err(|error| Failure::Temporary(format!("standard input: {error}")))?;
    match inbox.take(&bounce)? {
        Taken::NotOurs | Taken::NotABounce | Taken::NoFailure | Taken::KnownAlready => {}
        Taken::GivenUp { domain } => {
            println!(
                "a report to {domain} was given up on the way; alignd report resend sends it again"
            );
        }
        Taken::Failed { domain, noted } => println!("{}", words(&domain.to_string(), &noted)),
    }
    Ok(Exit::Ok)
}

fn words(domain: &str, noted: &Noted) -> String {
    match noted {
        Noted::Known => format!("this report to {domain} came back before"),
        Noted::Suppressed => format!("a report to {domain}, which is suppressed already, failed"),
        Noted::Counted => {
            format!("a report to {domain} failed; the next one suppresses the address")
        }
        Noted::Address(_) => format!("an address at {domain} is suppressed"),
        Noted::Domain(_) => format!("{domain} is suppressed"),
    }
}
