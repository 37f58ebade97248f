//! `alignd status`: one screen for a person, with what is wrong and the next step.

mod held;
mod reports;

use super::config::{Subject, look};
use super::output::{Screen, Tone};
use super::page::Page;
use super::{Exit, Failure, Outcome, now, settings};
use crate::config::check::Severity;
use crate::config::value::write_duration;
use crate::config::{Config, Loaded};
use crate::host::LogPlace;
use crate::milter::SocketSpec;
use crate::outcome::OutcomeState;
use crate::store::{Count, CountBy, Filter, OpenError, Reader, StoreStats};
use crate::time::{Timestamp, UtcDay};
use clap::Args;
use nix::sys::statvfs::statvfs;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all well, 1 something needs a hand.")]
pub struct Arguments {}

/// Something that needs a hand, and the next step.
struct Problem {
    what: String,
    next: String,
}

pub fn run(_: &Arguments, file: Option<&Path>) -> Outcome {
    let loaded = settings(file)?;
    let mut screen = Screen::new();
    let mut page = Page::new(&mut screen);
    let mut problems = Vec::new();
    page.heading(&format!("alignd {}", env!("CARGO_PKG_VERSION")))?;
    running(&loaded, &mut problems, &mut page)?;
    let reader = Reader::open(&loaded.config.store.path);
    match &reader {
        Ok(reader) => {
            store(reader, &loaded.config, &mut problems, &mut page)?;
            held::held(reader, &loaded.config, now(), &mut problems, &mut page)?;
            today(reader, &loaded.config, now(), &mut problems, &mut page)?;
        }
        Err(error) => problems.push(Problem {
            next: match error {
                OpenError::Missing(_) => "it is made when alignd first runs",
                OpenError::Access { .. } => "ask as root, or as the user alignd runs as",
                OpenError::InUse { .. }
                | OpenError::Newer { .. }
                | OpenError::Older { .. }
                | OpenError::Foreign(_)
                | OpenError::Database { .. }
                | OpenError::Thread(_) => "alignd config check may say more",
            }
            .to_owned(),
            what: error.to_string(),
        }),
    }
    let reader = reader.as_ref().ok();
    reports::reports(&loaded.config, reader, now(), &mut problems, &mut page)?;
    contradictions(&loaded, &mut problems)?;
    told(&problems, &mut page)?;
    screen.finish()?;
    Ok(if problems.is_empty() {
        Exit::Ok
    } else {
        Exit::No
    })
}

fn running(
    loaded: &Loaded,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let source = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no settings file, defaults".to_owned(),
    };
    page.item("settings", &source)?;
    page.item("results as", &loaded.config.identity.authserv_id)?;
    for socket in &loaded.config.milter.listen {
        match answers(socket) {
            Ok(()) => page.toned("milter", &format!("listening on {socket}"), Tone::Good)?,
            Err(error) => {
                page.toned("milter", &format!("silent on {socket}: {error}"), Tone::Bad)?;
                problems.push(Problem {
                    what: format!(
                        "nobody answers on {socket}: mail waits at the MTA, or passes unevaluated"
                    ),
                    next: "systemctl start alignd; journalctl -u alignd tells why it stopped"
                        .to_owned(),
                });
            }
        }
    }
    if let Some(metrics) = loaded.config.metrics.listen {
        page.item("metrics", &format!("http://{metrics}/metrics"))?;
    }
    Ok(())
}

/// Whether somebody listens. The connection is dropped without a word.
fn answers(socket: &SocketSpec) -> std::io::Result<()> {
    match socket {
        SocketSpec::Unix(path) => UnixStream::connect(path).map(drop),
        SocketSpec::Inet { host, port } => {
            let mut last = std::io::Error::other("no such host");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn store(
    reader: &Reader,
    config: &Config,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let StoreStats {
        file_bytes,
        free_bytes,
        verdicts,
        oldest,
        newest,
        answering,
        ..
    } = reader.stats()?;
    page.heading("Store")?;
    page.item("in", &config.store.path.display().to_string())?;
    let free = match free_bytes {
        0 => String::new(),
        free => format!(", {} of it free again", octets(free)),
    };
    let plural = if verdicts == 1 { "" } else { "s" };
    page.item(
        "size",
        &format!("{verdicts} verdict{plural}, {}{free}", octets(file_bytes)),
    )?;
    if let (Some(oldest), Some(newest)) = (oldest, newest) {
        let keep = write_duration(config.store.keep_messages);
        page.item("oldest", &format!("{oldest}; kept for {keep}"))?;
        page.item("newest", &newest.to_string())?;
    }
    if answering > 0 {
        let text = format!("{answering} recorded, their answers to the MTA not confirmed yet");
        page.item("answering", &text)?;
    }
    if let Ok(disk) = statvfs(&config.store.path) {
        let left = disk.blocks_available().saturating_mul(disk.fragment_size());
        page.item("room left", &octets(left))?;
        if left < LITTLE {
            problems.push(Problem {
                what: format!("only {} left for the store", octets(left)),
                next: "make room: when the disk is full, mail is deferred (store.on_failure)"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn today(
    reader: &Reader,
    config: &Config,
    now: Timestamp,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let day = now.day();
    let filter = Filter {
        since: Some(day.begin()),
        ..Filter::default()
    };
    page.heading(&format!("Today, {day} (UTC)"))?;
    for (label, by) in [
        ("DMARC", CountBy::Dmarc),
        ("action", CountBy::Action),
        ("outcome", CountBy::Outcome),
    ] {
        page.item(label, &counts(&reader.count_by(by, &filter)?))?;
    }
    skips(reader, day, page)?;
    let unknown = Filter {
        outcome: Some(OutcomeState::Unknown),
        ..filter
    };
    let unknown: u64 = total(&reader.count_by(CountBy::Outcome, &unknown)?);
    if unknown > 0 {
        problems.push(Problem {
            what: format!("what became of {unknown} messages of today is unknown: alignd was stopped or hung up on, or held mail has vanished"),
            next: "alignd messages --outcome unknown; the mail log tells what became of each".to_owned(),
        });
    }
    mail_log(config, now, problems, page)
}

/// Whether accepted means accepted.
fn mail_log(
    config: &Config,
    now: Timestamp,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let Some(source) = &config.outcome.log else {
        return page.text(
            "Accepted is unconfirmed: a filter behind alignd may have refused the message still. \
             The mail log would tell: outcome.log.",
        );
    };
    let mut wrong = |what: String| {
        problems.push(Problem {
            what,
            next: "alignd's log says why; the user alignd runs as must be able to read it"
                .to_owned(),
        });
    };
    let place = match LogPlace::open(&config.store.path, source) {
        Ok(place) => place,
        Err(problem) => {
            wrong(problem.to_string());
            return Ok(());
        }
    };
    let Some(caught_up) = place.caught_up() else {
        wrong(format!("the mail log, {source}, was never read to its end"));
        return page.item("mail log", &format!("{source}, not read yet"));
    };
    let last = match place.read_until() {
        Some(at) => format!("its last line about a mail is of {at}"),
        None => "no line about a mail yet".to_owned(),
    };
    if now.micros().saturating_sub(caught_up.micros()) > BEHIND {
        wrong(format!(
            "the mail log, {source}, was last read to its end at {caught_up}: what became of later mail is unconfirmed"
        ));
    }
    page.item(
        "mail log",
        &format!("{source}, read at {caught_up}; {last}"),
    )
}

fn skips(reader: &Reader, day: UtcDay, page: &mut Page<'_>) -> Result<(), Failure> {
    let skips = reader.skips(day..=day)?;
    let skips = skips
        .iter()
        .map(|skip| format!("{} {}", skip.messages, skip.reason));
    let skips: Vec<String> = skips.collect();
    let text = if skips.is_empty() {
        "none".to_owned()
    } else {
        skips.join(", ")
    };
    page.item("not evaluated", &text)
}

/// `12 pass, 3 fail`
fn counts(counts: &[Count]) -> String {
    if counts.is_empty() {
        return "no messages".to_owned();
    }
    let parts = counts.iter().map(|count| {
        let value = count.value.as_deref().unwrap_or("not evaluated");
        format!("{} {value}", count.messages)
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn total(counts: &[Count]) -> u64 {
    counts
        .iter()
        .fold(0, |sum, count| sum.saturating_add(count.messages))
}

/// What `config check` finds, but for notes.
fn contradictions(loaded: &Loaded, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let (_, findings) = look(loaded, Subject::Daemon)?;
    for finding in findings {
        if finding.severity != Severity::Note {
            problems.push(Problem {
                what: format!("{}: {}", finding.setting, finding.what),
                next: finding.next,
            });
        }
    }
    Ok(())
}

fn told(problems: &[Problem], page: &mut Page<'_>) -> Result<(), Failure> {
    if problems.is_empty() {
        page.heading("Nothing needs a hand")?;
        return Ok(());
    }
    page.heading("What needs a hand")?;
    for (at, problem) in problems.iter().enumerate() {
        page.item(&format!("{}.", at + 1), &problem.what)?;
        page.more(&format!("→ {}", problem.next))?;
    }
    Ok(())
}

/// `1.5 MiB`
fn octets(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["octets", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return match unit {
                "octets" => format!("{count} octets"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// How long a TCP socket may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// A mail log that wasn't read to its end for so long is a problem, in microseconds.
const BEHIND: i64 = 5 * 60 * 1_000_000;

/// Less room than this on the store's disk is a problem.
const LITTLE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (count, expected) in [
            (0, "0 octets"),
            (1023, "1023 octets"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(octets(count), expected);
        }
    }
}
