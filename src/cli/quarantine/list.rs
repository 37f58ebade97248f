//! `alignd quarantine list`: what is held.

use crate::cli::output::{Cell, Format, Listing, Screen};
use crate::cli::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::value::duration;
use crate::control::{HeldRow, HeldRows, held_rows};
use crate::domain::DomainName;
use crate::quarantine::HeldFilter;
use crate::store::HeldIn;
use crate::time::Timestamp;
use clap::Args;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only of this domain in From
    #[arg(long, value_name = "DOMAIN", value_parser = domain)]
    author_domain: Option<DomainName>,
    /// Only what has been held for longer: 12h, 3d
    #[arg(long, value_name = "TIME", value_parser = term)]
    older_than: Option<Duration>,
    /// What other filters said that they hold, in place of what lies in the MTA's hold queue
    #[arg(long)]
    told: bool,
    /// At most this many, the oldest
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd quarantine list
  alignd quarantine list --older-than 2d --format json | jq -r .queue_id
  alignd quarantine show 4jXW5m5GBtz1StgL        one of them, with all grounds";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let HeldRows { rows, more } = held_rows(&reader, &arguments.filter(), now())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    let mut screen = Screen::new();
    match arguments.format {
        Format::Json => rows.iter().try_for_each(|row| screen.json(row))?,
        Format::Table => screen.listing(&table(&rows), Format::Table)?,
        Format::Csv => screen.listing(&csv(&rows), Format::Csv)?,
    }
    screen.finish()?;
    if rows.is_empty() && arguments.format == Format::Table {
        eprintln!("Nothing is held.");
    }
    if more {
        eprintln!(
            "More are held: these are the oldest {}. See --limit, --author-domain, --older-than.",
            rows.len()
        );
    }
    let told = reader.held_counts()?.told;
    if told > 0 && !arguments.told && arguments.format == Format::Table {
        eprintln!("What other filters said that they hold isn't among these: see --told.");
    }
    Ok(Exit::Ok)
}

impl Arguments {
    fn filter(&self) -> HeldFilter {
        HeldFilter {
            author_domain: self.author_domain.clone(),
            before: self.older_than.map(ago),
            place: match self.told {
                true => HeldIn::Told,
                false => HeldIn::Queue,
            },
            limit: self.limit,
        }
    }
}

/// So long before now.
pub fn ago(age: Duration) -> Timestamp {
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    now().plus_micros(-micros)
}

fn table(rows: &[HeldRow]) -> Listing {
    let rows = rows.iter().map(|row| {
        vec![
            Cell::new(age(row.age_seconds)),
            Cell::new(row.queue_id.clone().unwrap_or_else(|| row.id.clone())),
            Cell::new(row.author_domain.clone()),
            Cell::new(row.envelope_from.clone()),
            Cell::new(some(&row.recipient_domains)),
            Cell::new(row.grounds.clone()),
            Cell::new(row.suggestion.clone()),
        ]
    });
    Listing {
        keys: vec![
            "age",
            "queue_id",
            "author_domain",
            "mail_from",
            "to",
            "grounds",
            "suggestion",
        ],
        rows: rows.collect(),
    }
}

fn csv(rows: &[HeldRow]) -> Listing {
    let rows = rows.iter().map(|row| {
        vec![
            Cell::new(row.received.clone()),
            Cell::new(row.age_seconds),
            Cell::new(row.queue_id.clone()),
            Cell::new(row.author_domain.clone()),
            Cell::new(row.envelope_from.clone()),
            Cell::new(row.recipient_domains.clone()),
            Cell::new(row.recipients),
            Cell::new(row.cause),
            Cell::new(row.grounds.clone()),
            Cell::new(row.size),
            Cell::new(row.suggestion.clone()),
            Cell::new(row.id.clone()),
        ]
    });
    Listing {
        keys: vec![
            "received",
            "age_seconds",
            "queue_id",
            "author_domain",
            "envelope_from",
            "recipient_domains",
            "recipients",
            "cause",
            "grounds",
            "size",
            "suggestion",
            "id",
        ],
        rows: rows.collect(),
    }
}

/// The first domains, and how many more there are.
fn some(domains: &[String]) -> String {
    let shown: Vec<&str> = domains.iter().take(SHOWN).map(String::as_str).collect();
    match domains.len().saturating_sub(SHOWN) {
        0 => shown.join(" "),
        more => format!("{} +{more}", shown.join(" ")),
    }
}

/// In the largest unit that says something: `3d`, `5h`, `12m`, `40s`.
pub fn age(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.iter().find(|(length, _)| seconds >= *length);
    match unit {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{}s", seconds.max(0)),
    }
}

pub fn domain(text: &str) -> Result<DomainName, String> {
    DomainName::parse(text).map_err(|error| error.to_string())
}

pub fn term(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "not a time such as \"12h\" or \"30d\"".to_owned())
}

const SHOWN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7_199, "1h"),
            (86_400 * 400, "400d"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn many_domains_are_counted() {
        let domains = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
        for (count, expected) in [(0, ""), (1, "0"), (2, "0 1"), (9, "0 1 +7")] {
            assert_eq!(some(&domains(count)), expected);
        }
    }
}
