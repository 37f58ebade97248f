//! `alignd report show ID`: one report: what it is about, where it went, and its XML as it was sent.

use super::kept::{self, Pieces};
use crate::cli::output::{Screen, Tone};
use crate::cli::page::Page;
use crate::cli::{Exit, Failure, Outcome, settings};
use crate::store::{KeptReport, OutboxEntry, OutboxState, Reports};
use clap::Args;
use flate2::read::GzDecoder;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A report's number, its unique-id or its Report-ID
    #[arg(value_name = "ID")]
    id: String,
    /// Print its XML instead, as it was sent
    #[arg(long)]
    xml: bool,
}

const EXAMPLES: &str = "\
Examples:
  alignd report show 17                                where it went, and what the servers said
  alignd report show 17 --xml | xmllint --format -";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let Some(reports) = super::reports(&config)? else {
        return kept::none();
    };
    let Some(report) = kept::find(&reports, &arguments.id)? else {
        return kept::unknown(&arguments.id);
    };
    if arguments.xml {
        return xml(&reports, &report);
    }
    let outbox = reports.outbox_of(report.number)?;
    let mut screen = Screen::new();
    page(&report, &outbox, &mut Page::new(&mut screen))?;
    screen.finish()?;
    Ok(Exit::Ok)
}

/// Unpacks to standard output; a reader that went away ends it.
fn xml(reports: &Reports, report: &KeptReport) -> Outcome {
    let mut unpacked = GzDecoder::new(Pieces::of(reports, report));
    let mut out = BufWriter::new(io::stdout());
    let copied = io::copy(&mut unpacked, &mut out).and_then(|_| out.flush());
    match copied {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(error) => Err(Failure::Internal(format!(
            "report {}: {error}",
            report.number.0
        ))),
    }
}

fn page(report: &KeptReport, outbox: &[OutboxEntry], page: &mut Page<'_>) -> Result<(), Failure> {
    let head = &report.head;
    page.heading(&format!("Report {}", report.number.0))?;
    page.item("report id", &head.id.to_string())?;
    page.item("about", &format!("{} on {}", head.policy_domain, head.day))?;
    page.item("policy", &policy(report))?;
    for error in &head.errors {
        page.item("error", error)?;
    }
    let what = format!("{} in {} rows", report.messages, report.rows);
    page.item("messages", &what)?;
    page.item("built", &report.built.to_string())?;
    page.item("format", report.format.as_str())?;
    page.item("file", &head.file_name())?;
    page.item("octets", &report.octets.to_string())?;
    page.heading("Where it goes")?;
    for entry in outbox {
        page.item("to", entry.address.as_deref().unwrap_or(&entry.uri))?;
        page.toned("", &standing(entry), tone(entry.state))?;
        if let Some(answer) = &entry.last_answer {
            page.item("", answer)?;
        }
    }
    if outbox.is_empty() {
        page.text("Nowhere.")?;
    }
    Ok(())
}

fn policy(report: &KeptReport) -> String {
    let policy = &report.head.policy;
    let mut tags = vec![format!("p={}", policy.p)];
    tags.extend(policy.sp.map(|sp| format!("sp={sp}")));
    tags.extend(policy.np.map(|np| format!("np={np}")));
    tags.push(format!("adkim={}", policy.adkim));
    tags.push(format!("aspf={}", policy.aspf));
    tags.push(format!("fo={}", policy.fo));
    if policy.testing {
        tags.push("t=y".to_owned());
    }
    format!("{} (by {})", tags.join("; "), policy.method)
}

fn standing(entry: &OutboxEntry) -> String {
    let mut text = match entry.state {
        OutboxState::ToVerify => "waits: whether it may go there is not known yet".to_owned(),
        OutboxState::Queued => "waits to be sent".to_owned(),
        OutboxState::Sent => "sent".to_owned(),
        OutboxState::Refused => "refused".to_owned(),
        OutboxState::Expired => "given up".to_owned(),
    };
    if let Some(last) = entry.last_try {
        text.push_str(&format!(", tried {} times, last at {last}", entry.attempts));
    }
    if let Some(next) = entry.next_try {
        text.push_str(&format!(", next at {next}"));
    }
    text
}

fn tone(state: OutboxState) -> Tone {
    match state {
        OutboxState::Sent => Tone::Good,
        OutboxState::ToVerify | OutboxState::Queued => Tone::Plain,
        OutboxState::Refused | OutboxState::Expired => Tone::Bad,
    }
}
