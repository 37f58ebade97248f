//! `alignd config check | show | sample`.

use super::output::{Cell, Format, Listing, Screen, Tone, printable};
use super::{Exit, Failure, Outcome, host_name, now, settings};
use crate::auth::dmarc::Policy;
use crate::config::check::account::Account;
use crate::config::check::{Finding, Host, Severity, findings};
use crate::config::sample::SAMPLE;
use crate::config::{Config, Loaded, show};
use crate::policy::decide::{Situation, by_rule, by_settings};
use crate::policy::rules::{Chosen, KeyedRule};
use crate::policy::{Action, Decision};
use crate::time::Timestamp;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say what is wrong in the settings file, and what this host or its MTA contradicts
    Check(CheckArguments),
    /// Print every setting in force, and which of them the file sets
    Show(ShowArguments),
    /// Print the commented sample: every setting with its default and the reason for it
    Sample,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The user the daemon runs as [default: alignd, if there is such a user; else the caller]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
  alignd config sample > /etc/alignd/alignd.toml   a file that changes nothing yet
  alignd config check                              before every restart
  alignd config check --user postfix               when the daemon runs as postfix
  alignd config show                               what holds now, defaults too
  alignd config show --matrix                      what is done with which mail";

pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    let mut screen = Screen::new();
    let mut exit = Ok(Exit::Ok);
    match &arguments.what {
        What::Check(check) => exit = self::check(check, file, &mut screen),
        What::Show(show) => {
            let loaded = settings(file)?;
            if show.matrix {
                screen.listing(&matrix(&loaded.config, now()), show.format)?;
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
    exit
}

fn check(arguments: &CheckArguments, file: Option<&Path>, screen: &mut Screen) -> Outcome {
    let loaded = settings(file)?;
    let subject = match &arguments.user {
        Some(name) => Subject::User(name),
        None => Subject::Daemon,
    };
    let (host, findings) = look(&loaded, subject)?;
    let errors = findings.iter().filter(|f| f.severity == Severity::Error);
    let errors = errors.count();
    match arguments.format {
        Format::Table => told(&loaded, &host, &findings, screen)?,
        Format::Json | Format::Csv => screen.listing(&listed(&findings), arguments.format)?,
    }
    if errors == 0 {
        return Ok(Exit::Ok);
    }
    Err(Failure::Usage(match errors {
        1 => "1 error in the settings".to_owned(),
        _ => format!("{errors} errors in the settings"),
    }))
}

/// For whom permissions are judged.
pub enum Subject<'a> {
    /// The user `alignd` if there is one, else the caller.
    Daemon,
    User(&'a str),
}

/// What this host contradicts in the settings.
pub fn look(loaded: &Loaded, subject: Subject<'_>) -> Result<(Host, Vec<Finding>), Failure> {
    let account = match subject {
        Subject::User(name) => Account::named(name)
            .ok_or_else(|| Failure::Usage(format!("--user: there is no user \"{name}\" here")))?,
        Subject::Daemon => Account::named("alignd").unwrap_or_else(Account::current),
    };
    let sendmail = PathBuf::from("/etc/mail/sendmail.cf");
    let postfix = PathBuf::from("/etc/postfix");
    // A user left behind by a Postfix that was removed is nobody to Sendmail.
    let only_sendmail = sendmail.exists() && !postfix.join("main.cf").exists();
    let host = Host {
        account,
        mta: Account::named("postfix").filter(|_| !only_sendmail),
        postfix,
        sendmail,
        filters: vec!["/etc/opendkim.conf".into(), "/etc/opendmarc.conf".into()],
        name: host_name(),
    };
    let findings = findings(loaded, &host, now());
    Ok((host, findings))
}

/// The findings as paragraphs, since they are sentences.
fn told(
    loaded: &Loaded,
    host: &Host,
    findings: &[Finding],
    screen: &mut Screen,
) -> Result<(), Failure> {
    let source = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no settings file, defaults".to_owned(),
    };
    let verdict = if findings.is_empty() {
        screen.tone("nothing wrong", Tone::Good)
    } else {
        let count = |one: Severity| {
            let count = findings.iter().filter(|f| f.severity == one).count();
            let (word, _) = severity(one);
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let all = [Severity::Error, Severity::Warning, Severity::Note].map(count);
        all.join(", ")
    };
    screen.line(&format!(
        "{source}: {verdict} (for user {})",
        host.account.name
    ))?;
    for finding in findings {
        let (word, tone) = severity(finding.severity);
        let line = finding
            .line
            .map_or(String::new(), |line| format!(", line {line}"));
        let setting = screen.tone(&finding.setting, Tone::Strong);
        screen.line("")?;
        screen.line(&format!("{} {setting}{line}", screen.tone(word, tone)))?;
        screen.line(&format!("  {}", printable(&finding.what)))?;
        screen.line(&format!("  → {}", printable(&finding.next)))?;
    }
    Ok(())
}

fn listed(findings: &[Finding]) -> Listing {
    let rows = findings.iter().map(|finding| {
        let (word, tone) = severity(finding.severity);
        vec![
            Cell::toned(word, tone),
            Cell::new(finding.setting.as_str()),
            Cell::new(finding.line),
            Cell::new(finding.what.as_str()),
            Cell::new(finding.next.as_str()),
        ]
    });
    Listing {
        keys: vec!["severity", "setting", "line", "what", "next"],
        rows: rows.collect(),
    }
}

fn severity(severity: Severity) -> (&'static str, Tone) {
    match severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Doubtful),
        Severity::Note => ("note", Tone::Quiet),
    }
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
    for (name, keys) in show::rules(&loaded.config) {
        screen.line(&format!("\n[[{name}]]"))?;
        for (key, value) in keys {
            screen.line(&format!("{key} = {value}"))?;
        }
    }
    Ok(())
}

/// The action matrix under these settings and rules, asked of `policy::decide` itself.
fn matrix(config: &Config, now: Timestamp) -> Listing {
    let settings = &config.policy;
    let of_settings = situations().into_iter();
    let mut rows: Vec<Vec<Cell>> = of_settings
        .map(|situation| row(&by_settings(situation, settings), None))
        .collect();
    let rules = config.rules([]);
    let in_force = rules.rules().iter();
    for KeyedRule { key, rule } in in_force.filter(|keyed| !keyed.rule.is_expired(now)) {
        for &policy in Policy::ALL {
            let situation = Situation::Fail {
                selected: policy,
                applied: policy,
            };
            let chosen = Chosen {
                key,
                rule,
                met: Vec::new(),
                arc: None,
            };
            let decision = by_rule(situation, settings, &chosen);
            rows.push(row(&decision, Some(format!("{key}: {rule}"))));
        }
    }
    Listing {
        keys: vec![
            "cause",
            "published",
            "disposition",
            "action",
            "reason",
            "rule",
        ],
        rows,
    }
}

/// `rule`: the one that applies, in words.
fn row(decision: &Decision, rule: Option<String>) -> Vec<Cell> {
    let action = decision.action();
    let tone = match action {
        Action::Accept => Tone::Plain,
        Action::Hold | Action::Tempfail => Tone::Doubtful,
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
        Cell::new(rule),
    ]
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
        Situation::ForgedResults { selected: None },
    ]);
    situations
}
