//! The digest's words.

use super::{Digest, Example, Expiry, Group, NOTICE, Purpose};
use crate::time::Timestamp;
use chrono::{DateTime, Offset, TimeZone, Timelike};
use chrono_tz::{OffsetName, Tz};
use std::time::Duration;

/// One line, without control characters.
pub fn subject(digest: &Digest) -> String {
    let host = plain(&digest.host, MAX_NAME);
    let trial = match digest.purpose {
        Purpose::Daily => "",
        Purpose::Trial => " (trial)",
    };
    if digest.held == 0 {
        return format!("alignd at {host}{trial}: nothing is held");
    }
    let mut subject = format!("alignd at {host}{trial}: {} held", digest.held);
    if digest.new > 0 {
        subject.push_str(&format!(", {} new", digest.new));
    }
    if let Some(expiry) = digest.expiry.filter(|expiry| expiry.messages > 0) {
        subject.push_str(&format!(", {} to be deleted", expiry.messages));
    }
    subject
}

/// Lines of printable ASCII that end in a line feed.
pub fn text(digest: &Digest) -> String {
    let mut paragraphs = Vec::new();
    if digest.purpose == Purpose::Trial {
        paragraphs.push(TRIAL.to_owned());
    }
    paragraphs.push(summary(digest));
    if let Some(expiry) = digest.expiry.filter(|expiry| expiry.messages > 0) {
        paragraphs.push(announcement(&expiry, digest));
    }
    if !digest.groups.is_empty() {
        let order = match digest.groups.iter().any(|group| group.going > 0) {
            true => "what is to be deleted first, then ",
            false => "",
        };
        paragraphs.push(format!(
            "By the domain in From, {order}most messages first:\n"
        ));
    }
    paragraphs.extend(digest.groups.iter().map(|g| group(g, digest)));
    if digest.rest.messages > 0 {
        let rest = &digest.rest;
        paragraphs.push(format!(
            "and {} more, of {}: alignd quarantine list\n",
            rest.messages,
            counted(rest.domains, "domain")
        ));
    }
    paragraphs.push(closing(digest));
    paragraphs.join("\n")
}

fn summary(digest: &Digest) -> String {
    let host = plain(&digest.host, MAX_NAME);
    let Some(oldest) = digest.oldest.filter(|_| digest.held > 0) else {
        return format!("Nothing is held at {host}.\n");
    };
    let mut summary = format!("{} held at {host}", are(digest.held, "message"));
    match digest.last {
        Some(last) => summary.push_str(&format!(
            ",\n{} of them since the last digest, {}.\n",
            digest.new,
            local(last, digest.zone)
        )),
        None => summary.push_str(".\n"),
    }
    summary.push_str(&format!(
        "The oldest has been held since {}, for {}.\n",
        local(oldest, digest.zone),
        age(oldest, digest.at)
    ));
    if digest.expiry.is_none() {
        summary.push_str("Nothing of it is deleted unless you do (quarantine.expire_after).\n");
    }
    summary
}

fn announcement(expiry: &Expiry, digest: &Digest) -> String {
    let mut text = match digest.purpose {
        Purpose::Daily => format!(
            "TO BE DELETED: {}, from {} on.\n",
            counted(expiry.messages, "message"),
            local(expiry.from, digest.zone)
        ),
        Purpose::Trial => format!(
            "The daily digest would announce the deletion of {} a day later.\n",
            counted(expiry.messages, "message")
        ),
    };
    if expiry.earlier > 0 {
        text.push_str(&format!(
            "{} of them were announced before, and may go sooner.\n",
            expiry.earlier
        ));
    }
    text.push_str(&format!(
        "They have been held for {} by then (quarantine.expire_after). Nobody gets a bounce.\n\
         To see them; what you release before then is kept:\n  \
         alignd quarantine list --older-than {}\n",
        words(expiry.after),
        short(expiry.after.saturating_sub(A_DAY))
    ));
    text
}

fn group(group: &Group, digest: &Digest) -> String {
    let author = match &group.author {
        Some(domain) => plain(domain.as_str(), MAX_NAME),
        None => "no author domain, or several".to_owned(),
    };
    let mut text = format!("{author}: {}", counted(group.messages, "message"));
    if digest.last.is_some() && group.new > 0 {
        text.push_str(&format!(", {} new", group.new));
    }
    text.push_str(&format!(", oldest {}", age(group.oldest, digest.at)));
    if group.going > 0 {
        text.push_str(&format!(", {} to be deleted", group.going));
    }
    text.push('\n');
    let causes = group.causes.iter();
    let causes: Vec<String> = causes.map(|(cause, n)| format!("{n} {cause}")).collect();
    item(&mut text, "cause", &causes.join(", "));
    let mut to: Vec<String> = group
        .recipients
        .iter()
        .map(|domain| plain(domain.as_str(), MAX_NAME))
        .collect();
    if group.more_recipients > 0 {
        to.push(format!("{} more", group.more_recipients));
    }
    item(&mut text, "to", &to.join(", "));
    if let Some(shown) = &group.example {
        example(&mut text, shown, group);
    }
    text
}

fn example(text: &mut String, example: &Example, group: &Group) {
    let id = plain(&example.id, MAX_NAME);
    let sender = match example.envelope_from.as_deref() {
        Some("") => "<>".to_owned(),
        Some(domain) => plain(domain, MAX_NAME),
        None => "unreadable".to_owned(),
    };
    item(text, "newest", &format!("{id}, MAIL FROM {sender}"));
    item(text, "grounds", &plain(&example.grounds, MAX_NAME));
    item(text, "look", &format!("alignd quarantine show {id}"));
    item(text, "release", &format!("alignd quarantine release {id}"));
    match &example.suggestion {
        Some(rule) => {
            item(text, "exception", &plain(rule, MAX_RULE));
            let release = format!("alignd quarantine release {id} --allow 1 --expires 90d");
            item(text, "with it", &release);
        }
        None => item(text, "exception", "none: nothing in it is verified"),
    }
    if let Some(author) = group.author.as_ref().filter(|_| group.messages > 1) {
        let author = plain(author.as_str(), MAX_NAME);
        let all = format!("alignd quarantine release --all --author-domain {author}");
        item(text, "all", &all);
    }
}

fn closing(digest: &Digest) -> String {
    let host = plain(&digest.host, MAX_NAME);
    match digest.purpose {
        Purpose::Daily => format!(
            "-- \nSent by alignd on {host} to quarantine.notify, once a day while mail is held.\n"
        ),
        Purpose::Trial => format!("-- \nSent by alignd on {host} to quarantine.notify.\n"),
    }
}

fn item(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("  {name:<10} {value}\n"));
}

/// What strangers may have written, harmless: printable ASCII, at most `limit` characters.
pub(super) fn plain(text: &str, limit: usize) -> String {
    let harmless = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let mut plain: String = text.chars().take(limit).map(harmless).collect();
    if text.chars().nth(limit).is_some() {
        plain.push_str("...");
    }
    plain
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn are(count: u64, what: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", counted(count, what))
}

/// `2026-11-23 08:00 CET`
fn local(at: Timestamp, zone: Tz) -> String {
    let at = DateTime::from_timestamp(at.seconds(), 0).unwrap_or(DateTime::UNIX_EPOCH);
    let local = zone.from_utc_datetime(&at.naive_utc());
    let (hour, minute) = (local.hour(), local.minute());
    let name = match local.offset().abbreviation() {
        Some(name) => name.to_owned(),
        None => local.offset().fix().to_string(),
    };
    format!("{} {hour:02}:{minute:02} {name}", local.date_naive())
}

/// From `since` until `now`, in the largest unit that says something.
fn age(since: Timestamp, now: Timestamp) -> String {
    let micros = now.micros().saturating_sub(since.micros());
    words(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let unit = units.iter().find(|(length, _)| seconds >= *length);
    match unit {
        Some((length, unit)) => counted(seconds / length, unit),
        None => "less than a minute".to_owned(),
    }
}

/// As commands take it.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units
        .iter()
        .find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    match unit {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{seconds}s"),
    }
}

/// Between an announcement and what it announces.
const A_DAY: Duration = Duration::from_micros(NOTICE.unsigned_abs());

const TRIAL: &str = "This is a trial: somebody asked for it with alignd quarantine digest --send.\n\
    It announces nothing and stands for no daily digest.\n";

/// Of a domain name, an id, a few words: as much as a domain name has.
const MAX_NAME: usize = 253;
const MAX_RULE: usize = 500;
