//! `alignd config check | show | sample`.

use super::output::{Cell, Format, Listing, Screen, Tone};
use super::{Exit, Failure, Outcome, settings};
use crate::auth::dmarc::Policy;
use crate::config::sample::SAMPLE;
use crate::config::{Loaded, show};
use crate::policy::decide::{Situation, decide};
use crate::policy::{Action, PolicySettings};
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print every setting in force, and which of them the file sets
    Show(ShowArguments),
    /// Print the commented sample: every setting with its default and the reason for it
    Sample,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Print what is done with a message instead: its cause and published policy, and the
    /// disposition, action and reported reason that follow from these settings
    #[arg(long)]
    matrix: bool,
    /// How to print the matrix
    #[arg(long, value_enum, default_value_t, requires = "matrix")]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  alignd config sample > /etc/alignd/alignd.toml    begin with a file that changes nothing
  alignd config show                                what holds now, defaults included
  alignd config show --matrix                       what is done with which mail, and what is reported";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let mut screen = Screen::new();
    match &arguments.what {
        What::Show(show) => {
            let loaded = settings(file)?;
            if show.matrix {
                screen.listing(&matrix(&loaded.config.policy), show.format)?;
            } else {
                all(&loaded, &mut screen)?;
            }
        }
        What::Sample => {
            for line in SAMPLE.lines() {
                screen.line(line)?;
            }
        }
    }
    screen.finish()?;
    Ok(Exit::Ok)
}

/// The settings as a file that can be loaded again.
fn all(loaded: &Loaded, screen: &mut Screen) -> Result<(), Failure> {
    let source = match &loaded.file {
        Some(file) => format!(
            "# {}; a setting with # behind it has its default",
            file.display()
        ),
        None => "# no settings file: every setting has its default".to_owned(),
    };
    screen.line(&screen.tone(&source, Tone::Quiet))?;
    let mut section = "";
    for setting in show::settings(&loaded.config) {
        if setting.section != section {
            section = setting.section;
            screen.line(&format!("\n[{section}]"))?;
        }
        let line = format!("{} = {}", setting.key, setting.value);
        if loaded.lines.contains_key(&(section, setting.key)) {
            screen.line(&line)?;
        } else {
            screen.line(&screen.tone(&format!("{line}  # default"), Tone::Quiet))?;
        }
    }
    Ok(())
}

/// The action matrix under these settings, asked of `policy::decide` itself.
fn matrix(settings: &PolicySettings) -> Listing {
    let rows = situations().into_iter().map(|situation| {
        let decision = decide(situation, settings);
        let action = decision.action();
        let tone = match action {
            Action::Accept => Tone::Plain,
            Action::Tempfail => Tone::Doubtful,
            Action::Reject => Tone::Bad,
        };
        let reasons = decision.overrides().iter().map(|o| match &o.comment {
            Some(comment) => format!("{}: {comment}", o.kind),
            None => o.kind.to_string(),
        });
        let reasons: Vec<String> = reasons.collect();
        vec![
            Cell::new(decision.cause().as_str()),
            Cell::new(decision.published().map(Policy::as_str)),
            Cell::new(decision.disposition().as_str()),
            Cell::toned(action.as_str(), tone),
            Cell::new(reasons.join("; ")),
        ]
    });
    Listing {
        keys: vec!["cause", "published", "disposition", "action", "reason"],
        rows: rows.collect(),
    }
}

fn situations() -> Vec<Situation> {
    let each = |make: fn(Policy) -> Situation| Policy::ALL.iter().copied().map(make);
    let mut situations: Vec<Situation> = Vec::new();
    situations.extend(each(|selected| Situation::Pass { selected }));
    situations.push(Situation::NoPolicy);
    situations.extend(each(|selected| Situation::Fail {
        selected,
        applied: selected,
    }));
    // RFC 9989 §4.7 `t`: one level less.
    for (selected, applied) in [
        (Policy::Quarantine, Policy::None),
        (Policy::Reject, Policy::Quarantine),
    ] {
        situations.push(Situation::Fail { selected, applied });
    }
    situations.extend(each(|selected| Situation::FailBehindRelay {
        selected,
        applied: selected,
    }));
    situations.extend([
        Situation::Temperror { selected: None },
        Situation::MissingAuthor,
        Situation::MultipleAuthors,
        Situation::UnparseableAuthor,
        Situation::TooLarge,
    ]);
    situations
}
