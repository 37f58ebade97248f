//! `alignd report export DIR`: the reports as files, under the names they are sent by.

use super::kept::{self, Pieces};
use crate::cli::{Exit, Failure, Outcome, settings};
use crate::domain::DomainName;
use crate::report::aggregate::Head;
use crate::store::{KeptReport, ReportFilter, Reports};
use crate::time::UtcDay;
use clap::Args;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// An existing directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// About this UTC day
    #[arg(long, value_name = "DAY", value_parser = super::day)]
    day: Option<UtcDay>,
    /// About this DMARC Policy Domain
    #[arg(long, value_name = "DOMAIN", value_parser = kept::domain)]
    domain: Option<DomainName>,
}

const EXAMPLES: &str = "\
Examples:
  alignd report export /tmp/reports --day 2026-11-21    RECEIVER!DOMAIN!BEGIN!END!ID.xml.gz each

A name longer than 255 octets is cut to BEGIN!END!ID.xml.gz. Files that are there already are left as
they are: a report never changes.
Exit codes: 0 there are some, 1 there are none, 2 some could not be written.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    let (mut written, mut there, mut failed) = (0_u64, 0_u64, 0_u64);
    let mut filter = ReportFilter {
        day: arguments.day,
        policy_domain: arguments.domain.clone(),
        ..ReportFilter::default()
    };
    loop {
        let page = reports.list(&filter)?;
        let Some(last) = page.last() else { break };
        filter.below = Some(last.number);
        for report in &page {
            match export(&reports, report, &arguments.directory) {
                Ok(true) => written += 1,
                Ok(false) => there += 1,
                Err(error) => {
                    failed += 1;
                    eprintln!("alignd: report {}: {error}", report.number.0);
                }
            }
        }
    }
    println!("{written} written, {there} were there");
    match failed {
        0 if written + there == 0 => Ok(Exit::No),
        0 => Ok(Exit::Ok),
        _ => Err(Failure::Usage(format!(
            "{failed} of {} reports were not written to {}: mend what is said above, and export again",
            written + there + failed,
            arguments.directory.display()
        ))),
    }
}

/// Writes one file, whole or not at all; false when it is there.
fn export(reports: &Reports, report: &KeptReport, directory: &Path) -> io::Result<bool> {
    let path = directory.join(name(&report.head));
    if path.exists() {
        return Ok(false);
    }
    let unfinished = directory.join(format!(".{}.part", report.head.id.unique));
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        io::copy(&mut Pieces::of(reports, report), &mut file)?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|error| {
        // What is left of it helps nobody; it may not be there.
        _ = fs::remove_file(&unfinished);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })?;
    Ok(true)
}

/// The name it is sent by; where that is too long for a file, what still tells it from every other.
fn name(head: &Head) -> String {
    let name = head.file_name();
    match name.len() <= NAME_MAX {
        true => name,
        false => {
            let (begin, end) = (head.begin().max(0), head.end().max(0));
            format!("{begin}!{end}!{}.xml.gz", head.id.unique)
        }
    }
}

/// Octets of a file's name, for Linux and its file systems.
const NAME_MAX: usize = 255;
