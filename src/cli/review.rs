//! `alignd review`: mail that may have been treated wrongly, both ways, the most doubtful first.

use super::moment::Moment;
use super::output::{Cell, Format, Listing, Screen, Tone};
use super::replay::walk;
use super::{Exit, Failure, Outcome, now, settings, stored};
use crate::auth::DmarcResult;
use crate::outcome::OutcomeState;
use crate::replay::{Candidate, Doubt, Review, is_for_rules};
use crate::store::{CountBy, Filter, Reader};
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Mail received at or after this time: 7d (ago), 2026-11-01, 2026-11-22T16:30:00Z
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, default_value = "7d")]
    since: Moment,
    /// Mail received before this time
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// At most this many lines; 0 for all [default: 30 as table, else all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd review                     the last week, the most doubtful first
  alignd review --since 30d --format json | jq 'select(.doubt == \"blocked\")'

Mail that failed DMARC is summed up by author domain and stream (the list, the signing domain, the host
it came by), and each sum ranked by its grounds:
  blocked (held or refused, perhaps wrongly)
    released_before 4   such mail was released
    forwarded 3         it failed as forwarded mail fails
    verified_list 2     a verified domain vouches for the list
    verified 1          a signature or SPF verifies who handed it over
  let_in (accepted although its domain asks for quarantine or reject, perhaps wrongly)
    nothing_verified 3  nobody vouches for it
    passes_otherwise 2  the domain's own mail passes
    no_reverse_name 1   not even the client's name is confirmed
    p_reject 1          its domain asks for reject
Equal ranks by number of messages. A rank says where to look first; it decides nothing.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let candidates = reviewed(&reader, arguments)?;
    let limit = match (arguments.limit, arguments.format) {
        (Some(0), _) | (None, Format::Json | Format::Csv) => candidates.len(),
        (Some(limit), _) => limit,
        (None, Format::Table) => SCREENFUL,
    };
    let mut screen = Screen::new();
    if candidates.is_empty() && arguments.format == Format::Table {
        screen.line("Nothing stands out.")?;
    } else {
        let listing = Listing {
            keys: KEYS.to_vec(),
            rows: candidates.iter().take(limit).map(row).collect(),
        };
        screen.listing(&listing, arguments.format)?;
    }
    screen.finish()?;
    if candidates.len() > limit {
        let more = candidates.len() - limit;
        eprintln!("There are {more} more lines: --limit 0 shows all.");
    }
    Ok(Exit::Ok)
}

fn reviewed(reader: &Reader, arguments: &Arguments) -> Result<Vec<Candidate>, Failure> {
    let now = now();
    let filter = Filter {
        since: Some(arguments.since.before(now)),
        until: Some(arguments.until.map_or(now, |moment| moment.before(now))),
        ..Filter::default()
    };
    let mut review = Review::default();
    let mut failed = reader.decided(&filter)?;
    failed.retain(|decided| is_for_rules(decided.cause));
    walk(reader, &filter, &failed, |stored| {
        let outcome = stored.outcomes.last();
        let outcome = outcome.map_or(OutcomeState::Unknown, |outcome| outcome.state);
        review.add(&stored.verdict, outcome);
    })?;
    let passing = Filter {
        dmarc: Some(DmarcResult::Pass),
        ..filter
    };
    let passing = reader.count_by(CountBy::AuthorDomain, &passing)?;
    review.pass(
        &passing
            .into_iter()
            .filter_map(|count| count.value)
            .collect(),
    );
    Ok(review.candidates())
}

const KEYS: &[&str] = &[
    "doubt",
    "rank",
    "author_domain",
    "stream",
    "messages",
    "held",
    "grounds",
    "next",
];

fn row(candidate: &Candidate) -> Vec<Cell> {
    let tone = match candidate.doubt {
        Doubt::Blocked => Tone::Doubtful,
        Doubt::LetIn => Tone::Bad,
    };
    let grounds = candidate.grounds.iter().map(|grounds| grounds.as_str());
    let grounds: Vec<&str> = grounds.collect();
    vec![
        Cell::toned(candidate.doubt.as_str(), tone),
        Cell::new(candidate.rank()),
        Cell::new(candidate.author_domain.as_str()),
        Cell::new(candidate.stream.to_string()),
        Cell::new(candidate.messages),
        Cell::new(candidate.held),
        Cell::new(grounds.join(", ")),
        Cell::new(next(candidate)),
    ]
}

/// The command that comes next.
fn next(candidate: &Candidate) -> String {
    let id = candidate.example;
    match candidate.doubt {
        Doubt::Blocked if candidate.held > 0 => format!("alignd quarantine show {id}"),
        Doubt::Blocked => format!("alignd exception suggest {id}"),
        Doubt::LetIn => format!("alignd why {id}"),
    }
}

const SCREENFUL: usize = 30;
