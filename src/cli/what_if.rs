//! `alignd what-if`: the stored verdicts under other settings and rules, without DNS.

use super::moment::Moment;
use super::output::{Cell, Format, Listing, Screen, Tone};
use super::replay::{rules, walk};
use super::{Exit, Failure, Outcome, now, settings, stored};
use crate::config::Config;
use crate::domain::DomainName;
use crate::policy::rules::RuleSet;
use crate::policy::{Action, AuthorAction, FailAction, PolicySettings};
use crate::replay::{Changed, Tally, is_for_rules, replay, situation};
use crate::store::{Decided, Filter, Reader};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A settings file with the policy, exceptions, stricter rules and trusted sealers to try instead
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Try this for policy.on_reject: accept, hold, reject
    #[arg(long, value_name = "WORD", value_parser = fail_action)]
    on_reject: Option<FailAction>,
    /// Try this for policy.on_quarantine: accept, hold, reject
    #[arg(long, value_name = "WORD", value_parser = fail_action)]
    on_quarantine: Option<FailAction>,
    /// Try this for mail without exactly one readable author domain: accept, hold, reject
    #[arg(long, value_name = "WORD", value_parser = author_action)]
    on_bad_author: Option<AuthorAction>,
    /// Without the exceptions that `alignd exception` keeps in the store
    #[arg(long)]
    without_stored: bool,
    /// Mail received at or after this time: 30d (ago), 2026-11-01, 2026-11-22T16:30:00Z
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, default_value = "30d")]
    since: Moment,
    /// Mail received before this time
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// At most this many lines; 0 for all [default: 50 as table, else all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd what-if --on-reject reject               what would rejecting have cost me this month?
  alignd what-if --on-reject hold --since 7d      and holding, in the last week?
  alignd what-if --rules /tmp/try.toml            with the rules of that file instead
  alignd what-if                                  what the rules of today make of older mail
  alignd why VERDICT                              about one of the messages named

Nothing is looked up anew and nothing is changed: the verdicts are taken as they were found, and decided
again. So policy.discovery, [dkim] and arc.enabled make no difference here. Rules that name recipients
need whole addresses (store.local_parts) to be replayed exactly.
`forwarded` counts the messages that failed as forwarded mail fails: look at those first.";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let config = settings(file)?.config;
    let reader = stored::open(&config)?;
    let tried = Tried::of(arguments, &config, &reader)?;
    let filter = filter(arguments);
    let tally = replayed(&reader, &filter, &tried)?;
    let messages = tally.messages;
    let changed = tally.changed();
    let mut screen = Screen::new();
    if arguments.format == Format::Table {
        for line in summary(messages, &changed) {
            screen.line(&line)?;
        }
    }
    if !changed.is_empty() || arguments.format != Format::Table {
        list(&changed, arguments, &mut screen)?;
    }
    screen.finish()?;
    Ok(Exit::Ok)
}

/// What is tried.
struct Tried {
    settings: PolicySettings,
    rules: RuleSet,
}

impl Tried {
    fn of(arguments: &Arguments, config: &Config, reader: &Reader) -> Result<Self, Failure> {
        let other = match &arguments.rules {
            Some(file) => Some(settings(Some(file))?.config),
            None => None,
        };
        let config = other.as_ref().unwrap_or(config);
        let mut settings = config.policy.clone();
        settings.on_reject = arguments.on_reject.unwrap_or(settings.on_reject);
        settings.on_quarantine = arguments.on_quarantine.unwrap_or(settings.on_quarantine);
        if let Some(action) = arguments.on_bad_author {
            settings.on_missing_author = action;
            settings.on_multiple_authors = action;
            settings.on_unparseable_author = action;
        }
        let rules = if arguments.without_stored {
            config.rules([])
        } else {
            rules(config, reader)?
        };
        Ok(Self { settings, rules })
    }

    /// Whether mail that was decided like this may be decided otherwise; what rules see isn't known here.
    fn may_change(&self, decided: &Decided) -> bool {
        let situation = situation(decided.cause, decided.published, decided.applied);
        let none = RuleSet::default();
        let by_settings = crate::policy::decide::decide(situation, None, &self.settings, &none);
        let rules_matter = is_for_rules(decided.cause) && !self.rules.rules().is_empty();
        rules_matter || by_settings.action() != decided.action
    }
}

fn filter(arguments: &Arguments) -> Filter {
    let now = now();
    Filter {
        since: Some(arguments.since.before(now)),
        until: Some(arguments.until.map_or(now, |moment| moment.before(now))),
        ..Filter::default()
    }
}

/// Goes through the mail that may be decided otherwise; of the rest the number is enough.
fn replayed(reader: &Reader, filter: &Filter, tried: &Tried) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let decided = reader.decided(filter)?.into_iter();
    let (open, rest): (Vec<Decided>, Vec<Decided>) =
        decided.partition(|decided| tried.may_change(decided));
    tally.unchanged(rest.iter().map(|decided| decided.messages).sum());
    walk(reader, filter, &open, |stored| {
        let decision = replay(&stored.verdict, &tried.settings, &tried.rules);
        tally.add(&stored.verdict, decision.action());
    })?;
    Ok(tally)
}

/// The answer in words, first of all.
fn summary(messages: u64, changed: &[Changed]) -> Vec<String> {
    let mut moved: BTreeMap<(Action, Action), (u64, u64)> = BTreeMap::new();
    for group in changed {
        let sums = moved.entry((group.was, group.would_be)).or_default();
        sums.0 += group.messages;
        sums.1 += group.forwarded;
    }
    if moved.is_empty() {
        return vec![format!(
            "Nothing: all {messages} messages would have been treated as they were."
        )];
    }
    let lines = moved
        .into_iter()
        .map(|((was, would_be), (count, forwarded))| {
            let forwarded = match forwarded {
                0 => "none of them looks forwarded".to_owned(),
                some => format!("{some} of them look forwarded"),
            };
            format!(
                "{count} of {messages} messages that were {} would have been {}; {forwarded}.",
                done(was),
                done(would_be)
            )
        });
    lines.collect()
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Accept => "accepted",
        Action::Hold => "held",
        Action::Reject => "rejected",
        Action::Tempfail => "deferred",
    }
}

fn list(changed: &[Changed], arguments: &Arguments, screen: &mut Screen) -> Result<(), Failure> {
    let limit = match (arguments.limit, arguments.format) {
        (Some(0), _) | (None, Format::Json | Format::Csv) => changed.len(),
        (Some(limit), _) => limit,
        (None, Format::Table) => SCREENFUL,
    };
    let listing = Listing {
        keys: KEYS.to_vec(),
        rows: changed.iter().take(limit).map(row).collect(),
    };
    screen.listing(&listing, arguments.format)?;
    if changed.len() > limit {
        let more = changed.len() - limit;
        eprintln!("There are {more} more lines: --limit 0 shows all.");
    }
    Ok(())
}

const KEYS: &[&str] = &[
    "was",
    "would_be",
    "author_domain",
    "stream",
    "messages",
    "forwarded",
    "newest",
];

fn row(changed: &Changed) -> Vec<Cell> {
    let tone = match changed.would_be {
        Action::Accept => Tone::Good,
        Action::Hold | Action::Tempfail => Tone::Doubtful,
        Action::Reject => Tone::Bad,
    };
    let stream = changed.stream.as_ref().map(ToString::to_string);
    vec![
        Cell::new(done(changed.was)),
        Cell::toned(done(changed.would_be), tone),
        Cell::new(changed.author_domain.as_ref().map(DomainName::as_str)),
        Cell::new(stream.unwrap_or_else(|| "(others)".to_owned())),
        Cell::new(changed.messages),
        Cell::new(changed.forwarded),
        Cell::new(changed.newest.to_string()),
    ]
}

fn fail_action(text: &str) -> Result<FailAction, String> {
    FailAction::parse(text).ok_or_else(|| "write accept, hold or reject".to_owned())
}

fn author_action(text: &str) -> Result<AuthorAction, String> {
    AuthorAction::parse(text).ok_or_else(|| "write accept, hold or reject".to_owned())
}

const SCREENFUL: usize = 50;
