//! `alignd messages`: lists and counts stored verdicts.

use super::json::Stored;
use super::moment::Moment;
use super::output::{Cell, Format, Listing, Screen, Tone};
use super::{Exit, Failure, Outcome, now, settings, stored};
use crate::auth::DmarcResult;
use crate::auth::dmarc::Policy;
use crate::config::value::network;
use crate::domain::DomainName;
use crate::outcome::OutcomeState;
use crate::policy::{Action, Disposition};
use crate::store::{CountBy, Filter, Reader, Summary};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Received at or after this time: 2h, 3d (ago), 2026-11-22, 2026-11-22T16:30:00Z
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// The domain in From
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    author_domain: Option<DomainName>,
    /// The client's address, or a network
    #[arg(long, value_name = "IP", value_parser = address)]
    ip: Option<IpNet>,
    /// The DMARC result
    #[arg(long, value_name = "RESULT", value_parser = of_words(DmarcResult::ALL, DmarcResult::as_str))]
    dmarc: Option<DmarcResult>,
    /// What the message is reported to have met
    #[arg(long, value_name = "WORD", value_parser = of_words(Disposition::ALL, Disposition::as_str))]
    disposition: Option<Disposition>,
    /// What became of it
    #[arg(long, value_name = "WORD", value_parser = of_words(OutcomeState::ALL, OutcomeState::as_str))]
    outcome: Option<OutcomeState>,
    /// The MTA's id of the message
    #[arg(long, value_name = "ID")]
    queue_id: Option<String>,
    /// At most this many, the newest; 0 for all [default: 100 as table, else all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Count instead, by one of these
    #[arg(long, value_name = "WHAT", value_parser = of_words(CountBy::ALL, CountBy::as_str))]
    count_by: Option<CountBy>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd messages --since 2h                        what came in lately, newest first
  alignd messages --dmarc fail --count-by ip        who fails, the most first
  alignd messages --author-domain example.org --since 2026-11-01 --until 2026-11-08
  alignd messages --queue-id 4jXW5m5GBtz1StgL       then: alignd why 4jXW5m5GBtz1StgL
  alignd messages --format json | jq -r .queue_id   one object a line, with all grounds

JSON has the keys of `alignd check --json` and id, queue_id, received, client_ip, outcome and more.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let mut screen = Screen::new();
    let filter = filter(arguments);
    match arguments.count_by {
        Some(by) => {
            let listing = counted(&reader, by, &filter, arguments.limit)?;
            screen.listing(&listing, arguments.format)?;
        }
        None => list(&reader, filter, arguments.format, &mut screen)?,
    }
    screen.finish()?;
    Ok(Exit::Ok)
}

fn filter(arguments: &Arguments) -> Filter {
    let now = now();
    let limit = match (arguments.limit, arguments.format) {
        (Some(0), _) | (None, Format::Json | Format::Csv) => None,
        (Some(limit), _) => Some(limit),
        (None, Format::Table) => Some(SCREENFUL),
    };
    Filter {
        since: arguments.since.map(|moment| moment.before(now)),
        until: arguments.until.map(|moment| moment.before(now)),
        author_domain: arguments.author_domain.clone(),
        ip: arguments.ip,
        dmarc: arguments.dmarc,
        disposition: arguments.disposition,
        outcome: arguments.outcome,
        queue_id: arguments.queue_id.clone(),
        decided: None,
        limit,
    }
}

fn counted(
    reader: &Reader,
    by: CountBy,
    filter: &Filter,
    limit: Option<usize>,
) -> Result<Listing, Failure> {
    let counts = reader.count_by(by, filter)?;
    let shown = match limit {
        Some(0) | None => counts.len(),
        Some(limit) => limit,
    };
    let rows = counts
        .into_iter()
        .take(shown)
        .map(|count| vec![Cell::new(count.value), Cell::new(count.messages)]);
    Ok(Listing {
        keys: vec![by.as_str(), "messages"],
        rows: rows.collect(),
    })
}

fn list(
    reader: &Reader,
    filter: Filter,
    format: Format,
    screen: &mut Screen,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            for found in reader.whole_messages(&filter) {
                let found = found?;
                screen.json(&Stored::of(&found.verdict, &found.outcomes, false))?;
            }
            Ok(())
        }
        Format::Csv => {
            screen.csv_row(CSV_KEYS.iter().map(|key| (*key).to_owned()))?;
            for summary in reader.messages(&filter) {
                screen.csv_row(in_csv(&summary?).iter().map(Cell::text))?;
            }
            Ok(())
        }
        Format::Table => table(reader, filter, screen),
    }
}

fn table(reader: &Reader, filter: Filter, screen: &mut Screen) -> Result<(), Failure> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    let one_more = Filter {
        limit: Some(limit.saturating_add(1)),
        ..filter
    };
    let mut rows = Vec::new();
    for summary in reader.messages(&one_more) {
        rows.push(in_table(&summary?));
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    screen.listing(
        &Listing {
            keys: TABLE_KEYS.to_vec(),
            rows,
        },
        Format::Table,
    )?;
    if more {
        eprintln!("There are more than these {limit}: --limit 0 shows all.");
    }
    Ok(())
}

/// The columns that fit a screen.
const TABLE_KEYS: &[&str] = &[
    "received",
    "queue_id",
    "client_ip",
    "author_domain",
    "dmarc",
    "policy",
    "disposition",
    "action",
    "outcome",
];

fn in_table(summary: &Summary) -> Vec<Cell> {
    let seconds = summary.received.to_string();
    let seconds = seconds.split('.').next().unwrap_or_default();
    // `alignd why` takes either.
    let id = summary.queue_id.clone();
    let dmarc = match summary.dmarc {
        Some(DmarcResult::Pass) => Tone::Good,
        Some(DmarcResult::Fail | DmarcResult::Permerror) => Tone::Bad,
        Some(DmarcResult::Temperror) => Tone::Doubtful,
        Some(DmarcResult::None) | None => Tone::Plain,
    };
    let action = match summary.action {
        Action::Accept => Tone::Plain,
        Action::Reject => Tone::Bad,
        Action::Hold | Action::Tempfail => Tone::Doubtful,
    };
    vec![
        Cell::new(format!("{seconds}Z")),
        Cell::new(id.unwrap_or_else(|| summary.id.to_string())),
        Cell::new(summary.client_ip.map(|ip| ip.to_string())),
        Cell::new(summary.author_domain.as_ref().map(DomainName::as_str)),
        Cell::toned(summary.dmarc.map(DmarcResult::as_str), dmarc),
        Cell::new(summary.applied.map(Policy::as_str)),
        Cell::new(summary.disposition.as_str()),
        Cell::toned(summary.action.as_str(), action),
        Cell::new(summary.outcome.as_str()),
    ]
}

/// The columns of CSV.
const CSV_KEYS: &[&str] = &[
    "received",
    "queue_id",
    "client_ip",
    "author_domain",
    "envelope_from",
    "dmarc",
    "spf_aligned",
    "dkim_aligned",
    "policy_domain",
    "policy",
    "cause",
    "disposition",
    "action",
    "outcome",
    "id",
];

fn in_csv(summary: &Summary) -> Vec<Cell> {
    let domain = |domain: &Option<DomainName>| domain.as_ref().map(|d| d.as_str().to_owned());
    vec![
        Cell::new(summary.received.to_string()),
        Cell::new(summary.queue_id.clone()),
        Cell::new(summary.client_ip.map(|ip| ip.to_string())),
        Cell::new(domain(&summary.author_domain)),
        Cell::new(summary.envelope_from.clone()),
        Cell::new(summary.dmarc.map(DmarcResult::as_str)),
        Cell::new(summary.spf_aligned),
        Cell::new(summary.dkim_aligned),
        Cell::new(domain(&summary.policy_domain)),
        Cell::new(summary.applied.map(Policy::as_str)),
        Cell::new(summary.cause.as_str()),
        Cell::new(summary.disposition.as_str()),
        Cell::new(summary.action.as_str()),
        Cell::new(summary.outcome.as_str()),
        Cell::new(summary.id.to_string()),
    ]
}

fn domain(text: &str) -> Result<DomainName, String> {
    DomainName::parse(text).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<IpNet, String> {
    network(text).map_err(|why| why.unwrap_or_else(|| "no address and no network".to_owned()))
}

/// One of a list of words.
fn of_words<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    as_str: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let words = PossibleValuesParser::new(all.iter().map(|word| as_str(*word)));
    words.try_map(move |text| {
        let found = all.iter().copied().find(|word| as_str(*word) == text);
        found.ok_or("not one of the words")
    })
}

/// Messages in a table when no limit is asked for.
const SCREENFUL: usize = 100;
