//! `alignd report preview DOMAIN`: the XML of what a domain would be told about a day.

use super::{build_settings, reports};
use crate::build_report::{BuildError, preview};
use crate::cli::{Exit, Outcome, now, sentences, settings, stored};
use crate::config::Config;
use crate::domain::DomainName;
use crate::store::CameTo;
use crate::time::UtcDay;
use clap::Args;
use std::io::{self, BufWriter, Write};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The DMARC Policy Domain: where the record stands
    #[arg(value_name = "DOMAIN", value_parser = domain)]
    domain: DomainName,
    /// The UTC day [default: today, as far as it has come]
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    day: Option<UtcDay>,
}

const EXAMPLES: &str = "\
Examples:
  alignd report preview example.com                    what it would learn about today so far
  alignd report preview example.com --day 2026-11-21

Nothing is sent, kept or asked of DNS, and reports need not be enabled. What was reported before is left
out. Where several policies were published that day, each has a document of its own.
Exit codes: 0 printed, 1 there is nothing to report; standard error says why.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let day = arguments.day.unwrap_or_else(|| now().day());
    let reports = reports(&config)?;
    let settings = build_settings(&stand_in(config))?;
    let mut out = BufWriter::new(io::stdout());
    let about = (day, &arguments.domain);
    let planned = match preview(&settings, &reader, reports.as_ref(), about, &mut out) {
        // A reader that went away wants no more.
        Err(BuildError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(Exit::Ok);
        }
        planned => planned?,
    };
    _ = out.flush();
    let reason = match planned.map(|planned| planned.came_to) {
        Some(CameTo::Reported) => return Ok(Exit::Ok),
        None => "no mail of that day is new",
        Some(dropped) => sentences::no_report(dropped),
    };
    eprintln!(
        "alignd: no report about {} on {day}: {reason}",
        arguments.domain
    );
    Ok(Exit::No)
}

/// Who would report, where that is not set yet: a preview can be had before reports are wanted.
fn stand_in(mut config: Config) -> Config {
    if config.identity.reporter().is_err() {
        let name = config.identity.authserv_id.clone();
        let domain = DomainName::parse(&name).ok();
        let identity = &mut config.identity;
        if identity.org_name.is_empty() {
            identity.org_name = name;
        }
        identity.report_domain = identity.report_domain.take().or(domain);
        if let (None, Some(domain)) = (&identity.contact, &identity.report_domain) {
            identity.contact =
                crate::report::destination::PlainAddress::new("postmaster", domain.clone());
        }
    }
    config
}

fn domain(text: &str) -> Result<DomainName, String> {
    DomainName::parse(text).map_err(|_| "write a domain such as example.com".to_owned())
}
