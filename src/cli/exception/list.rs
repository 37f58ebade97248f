//! `alignd exception list` and `show`: what may pass, and who said so.

use crate::cli::output::{Cell, Format, Listing, Screen, Tone, printable};
use crate::cli::page::Page;
use crate::cli::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::policy::rules::{KeyedRule, Rule, RuleKey};
use crate::store::{
    ExceptionFilter, ExceptionId, ExceptionStanding, History, Reader, RuleUses, StoredException,
};
use crate::time::Timestamp;
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Those that have ended, too
    #[arg(long)]
    all: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub struct ShowArguments {
    /// Its key in `alignd exception list`
    #[arg(value_name = "KEY")]
    key: String,
}

const EXAMPLES: &str = "\
Examples:
  alignd exception list
  alignd exception list --all --format json | jq -r .rule";

const SHOW_EXAMPLES: &str = "\
Examples:
  alignd exception show stored-7";

/// A line of the listing.
struct Line {
    key: RuleKey,
    standing: ExceptionStanding,
    /// Why not, where it cannot be read.
    rule: Result<Rule, String>,
    /// How often it decided, if ever.
    uses: Option<RuleUses>,
}

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let now = now();
    let mut lines = written(&config, now);
    // Without a store there are none in it.
    if let Ok(reader) = Reader::open(&config.store.path) {
        lines.extend(kept(&reader, arguments.all, now)?);
        let mut uses = reader.rule_uses()?;
        for line in &mut lines {
            line.uses = uses.remove(&line.key);
        }
    }
    lines.retain(|line| arguments.all || line.standing == ExceptionStanding::InForce);
    let mut screen = Screen::new();
    let rows = lines.iter().map(row).collect();
    let keys = vec![
        "key", "standing", "rule", "because", "hits", "last_hit", "owner", "expires", "comment",
    ];
    screen.listing(&Listing { keys, rows }, arguments.format)?;
    screen.finish()?;
    Ok(Exit::Ok)
}

fn written(config: &Config, now: Timestamp) -> Vec<Line> {
    let rules = config.rules([]);
    let lines = rules.rules().iter().map(|KeyedRule { key, rule }| Line {
        key: key.clone(),
        standing: match rule.is_expired(now) {
            true => ExceptionStanding::Expired,
            false => ExceptionStanding::InForce,
        },
        rule: Ok(rule.clone()),
        uses: None,
    });
    lines.collect()
}

fn kept(reader: &Reader, all: bool, now: Timestamp) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    let mut filter = ExceptionFilter {
        in_force_at: (!all).then_some(now),
        ..ExceptionFilter::default()
    };
    loop {
        let page = reader.exceptions(&filter)?;
        let Some(last) = page.last() else {
            return Ok(lines);
        };
        filter.below = Some(last.id);
        lines.extend(page.into_iter().map(|exception| Line {
            key: exception.id.key(),
            standing: exception.standing(now),
            rule: exception.rule,
            uses: None,
        }));
    }
}

fn row(line: &Line) -> Vec<Cell> {
    let tone = match line.standing {
        ExceptionStanding::InForce => Tone::Plain,
        ExceptionStanding::Expired | ExceptionStanding::Removed => Tone::Quiet,
    };
    let rule = line.rule.as_ref().ok();
    let text = match &line.rule {
        Ok(rule) if rule.is_unsafe => format!("unsafe {rule}"),
        Ok(rule) => rule.to_string(),
        Err(why) => format!("cannot be read: {why}"),
    };
    vec![
        Cell::new(line.key.as_str()),
        Cell::toned(line.standing.as_str(), tone),
        Cell::toned(text, tone),
        Cell::new(rule.map(|rule| rule.because.as_str())),
        Cell::new(line.uses.as_ref().map_or(0, |uses| uses.hits)),
        Cell::new(line.uses.as_ref().map(|uses| uses.last.to_string())),
        Cell::new(rule.and_then(|rule| rule.owner.clone())),
        Cell::new(rule.and_then(|rule| rule.expires).map(|at| at.to_string())),
        Cell::new(rule.and_then(|rule| rule.comment.clone())),
    ]
}

pub fn show(arguments: &ShowArguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let mut screen = Screen::new();
    let mut page = Page::new(&mut screen);
    let key = RuleKey::parse(&arguments.key);
    let number = key.as_ref().and_then(RuleKey::stored_id);
    let found = match (key, number) {
        (Some(_), Some(number)) => {
            let reader = stored::open(&config)?;
            match reader.exception(ExceptionId(number), now())? {
                Some(History { exception, events }) => {
                    of_store(&exception, &mut page)?;
                    used(reader.rule_uses()?.get(&exception.id.key()), &mut page)?;
                    page.heading("History")?;
                    for event in events {
                        let who = event.who.map_or(String::new(), |who| format!(" by {who}"));
                        let why = event.why.map_or(String::new(), |why| format!(": {why}"));
                        page.item("at", &event.at.to_string())?;
                        page.more(&format!("{}{who}{why}", event.what))?;
                    }
                    true
                }
                None => false,
            }
        }
        (Some(key), None) => {
            let rules = config.rules([]);
            let rule = rules.rules().iter().find(|keyed| keyed.key == key);
            match rule {
                Some(keyed) => {
                    page.heading(&format!("{}, of the settings file", keyed.key))?;
                    terms(&keyed.rule, &mut page)?;
                    // Without a store nothing was decided.
                    if let Ok(reader) = Reader::open(&config.store.path) {
                        used(reader.rule_uses()?.get(&key), &mut page)?;
                    }
                    true
                }
                None => false,
            }
        }
        (None, _) => false,
    };
    screen.finish()?;
    if !found {
        let key = printable(&arguments.key);
        eprintln!("alignd: no exception {key}; alignd exception list --all shows them");
        return Ok(Exit::No);
    }
    Ok(Exit::Ok)
}

fn of_store(exception: &StoredException, page: &mut Page<'_>) -> Result<(), Failure> {
    let standing = exception.standing(now());
    page.heading(&format!("{}, {standing}", exception.id.key()))?;
    match &exception.rule {
        Ok(rule) => terms(rule, page)?,
        Err(why) => page.item("rule", &format!("cannot be read: {why}"))?,
    }
    page.item("created", &exception.created.to_string())?;
    if let Some(verdict) = exception.from {
        page.item("from", &format!("the release of {verdict}"))?;
    }
    Ok(())
}

fn used(uses: Option<&RuleUses>, page: &mut Page<'_>) -> Result<(), Failure> {
    match uses {
        None => page.item("hits", "none yet"),
        Some(uses) => {
            let (hits, first, last) = (uses.hits, uses.first, uses.last);
            page.item("hits", &format!("{hits}, from {first} to {last}"))
        }
    }
}

fn terms(rule: &Rule, page: &mut Page<'_>) -> Result<(), Failure> {
    page.item("rule", &rule.to_string())?;
    page.item("because", rule.because.as_str())?;
    for (label, text) in [("comment", &rule.comment), ("owner", &rule.owner)] {
        if let Some(text) = text {
            page.item(label, text)?;
        }
    }
    let expires = rule.expires.map_or("never".to_owned(), |at| at.to_string());
    page.item("expires", &expires)?;
    if rule.is_unsafe {
        page.item("unsafe", "it may require nothing that can be verified")?;
    }
    Ok(())
}
