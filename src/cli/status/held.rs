//! What is held, who is told of it, and what will be deleted.

use super::super::Failure;
use super::super::output::Tone;
use super::super::page::Page;
use super::Problem;
use crate::config::Config;
use crate::store::{HeldCounts, Reader};
use crate::time::Timestamp;

/// What waits in the MTA's hold queue for somebody, where anything can; and what is held elsewhere.
pub fn held(
    reader: &Reader,
    config: &Config,
    now: Timestamp,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let counts = reader.held_counts()?;
    in_queue(reader, &counts, config, now, problems, page)?;
    match counts.told {
        0 => Ok(()),
        1 => page.item("elsewhere", "1 message is held, as another filter said"),
        told => page.item(
            "elsewhere",
            &format!("{told} messages are held, as other filters said"),
        ),
    }
}

fn in_queue(
    reader: &Reader,
    counts: &HeldCounts,
    config: &Config,
    now: Timestamp,
    problems: &mut Vec<Problem>,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let HeldCounts {
        messages, since, ..
    } = *counts;
    let Some(since) = since else {
        return match config.policy.can_hold() || config.rules([]).can_hold() {
            true => page.item("held", "nothing"),
            false => Ok(()),
        };
    };
    let (word, oldest) = match messages {
        1 => ("message", ""),
        _ => ("messages", "the oldest "),
    };
    let text = format!("{messages} {word}, {oldest}since {since}");
    page.toned("held", &text, Tone::Doubtful)?;
    page.more("alignd quarantine list says what it is, and how to go on")?;
    if let Some(to) = &config.quarantine.notify {
        let last = reader.digest()?.and_then(|mark| mark.sent);
        let told = last.map_or_else(|| "none yet".to_owned(), |last| format!("the last {last}"));
        page.item("digest", &format!("{told}, to {to}"))?;
        problems.extend(overdue(last, since, now));
    }
    match reader.announced()? {
        0 => Ok(()),
        1 => page.item("to be deleted", "1 message, as announced"),
        announced => page.item(
            "to be deleted",
            &format!("{announced} messages, as announced"),
        ),
    }
}

/// A digest is due every day on which something is held; two days without one are one too many.
fn overdue(last: Option<Timestamp>, since: Timestamp, now: Timestamp) -> Option<Problem> {
    let waited_from = last.map_or(since, |last| last.max(since));
    let what = match last {
        Some(last) => format!("the mail server has taken no digest of held mail since {last}"),
        None => format!("no digest has told of what is held since {since}"),
    };
    (waited_from.plus_micros(TWO_DAYS) < now).then_some(Problem {
        what,
        next: "alignd quarantine digest --send tries it out".to_owned(),
    })
}

/// In microseconds.
const TWO_DAYS: i64 = 2 * 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days_without_a_digest_are_one_too_many() {
        let day = |number: i64| Timestamp::from_seconds(number * 86_400);
        for (last, since, now, expected) in [
            (None, 10, 12, false),
            (None, 10, 13, true),
            (Some(11), 10, 13, false),
            (Some(11), 10, 14, true),
            // Nothing was held in between.
            (Some(2), 10, 12, false),
        ] {
            let found = overdue(last.map(day), day(since), day(now));
            assert_eq!(found.is_some(), expected, "{last:?} {since} {now}");
        }
    }
}
