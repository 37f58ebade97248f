//! `alignd report export DIR`: the reports as files, under the names they are sent by.

use super::kept::{self, Pieces};
use crate::cli::{Exit, Failure, Outcome, settings};
use crate::domain::DomainName;
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

Files that are there already are left as they are: a report never changes.
Exit codes: 0 there are some, 1 there are none.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    let (mut written, mut there) = (0_u64, 0_u64);
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
            if export(&reports, report, &arguments.directory)? {
                written += 1;
            } else {
                there += 1;
            }
        }
    }
    println!("{written} written, {there} were there");
    let none = written + there == 0;
    Ok(if none { Exit::No } else { Exit::Ok })
}

/// Writes one file, whole or not at all; false when it is there.
fn export(reports: &Reports, report: &KeptReport, directory: &Path) -> Result<bool, Failure> {
    let path = directory.join(report.head.file_name());
    if path.exists() {
        return Ok(false);
    }
    let unfinished = directory.join(format!(".{}.part", report.head.id.unique));
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        io::copy(&mut Pieces::of(reports, report), &mut file)?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    Ok(true)
}
