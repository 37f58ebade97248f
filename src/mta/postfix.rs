//! Postfix's hold queue, by Postfix's own commands.
//!
//! Owns their arguments and what they print: postqueue(1), postcat(1), postsuper(1), postconf(1). They exit 0
//! whatever happens, so what counts is the line in which they count, or another look at the queue.

mod queue_files;
mod requeued;

use super::command::{Commands, Said, arguments};
use super::{
    HeldEntry, MAX_ENTRIES, MAX_RECIPIENTS, MAX_SHOWN, Part, Place, QueueError, QueueId, Released,
    Shown,
};
use crate::time::{Timestamp, UtcDay};
use queue_files::Found;
use requeued::Token;
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// One instance of Postfix.
#[derive(Debug, Clone)]
pub struct Postfix {
    commands: Commands,
    /// For `-c`, postmulti(1).
    config: Option<OsString>,
}

impl Postfix {
    pub fn new(commands: Commands, config: Option<&Path>) -> Self {
        Self {
            commands,
            config: config.map(|config| config.as_os_str().to_owned()),
        }
    }

    /// Hands over each held mail. `true`: there are more than `MAX_ENTRIES`.
    pub fn list(&self, mut each: impl FnMut(HeldEntry)) -> Result<bool, QueueError> {
        let mut left = MAX_ENTRIES;
        let mut more = false;
        self.each_queued(|line| {
            if let Some(entry) = held(line) {
                more = left == 0;
                left = left.saturating_sub(1);
                if !more {
                    each(entry);
                }
            }
            !more
        })?;
        Ok(more)
    }

    /// Where each of them is.
    pub fn find(&self, ids: &[QueueId]) -> Result<Vec<Place>, QueueError> {
        let mut places: HashMap<&str, Place> =
            ids.iter().map(|id| (id.as_str(), Place::Gone)).collect();
        self.each_queued(|line| {
            if let Ok(queued) = serde_json::from_slice::<Queued>(line)
                && let Some(place) = places.get_mut(queued.queue_id.as_str())
            {
                *place = place_in(&queued.queue_name);
            }
            true
        })?;
        let place = |id: &QueueId| places.get(id.as_str()).cloned().unwrap_or(Place::Gone);
        Ok(ids.iter().map(place).collect())
    }

    /// Every line of `postqueue -j`, which is a mail in whichever queue, until it has enough.
    fn each_queued(&self, each: impl FnMut(&[u8]) -> bool) -> Result<(), QueueError> {
        let arguments = arguments(self.config.as_ref(), "-c", &["-j"]);
        match self.commands.each_line("postqueue", &arguments, each) {
            Ok(said) if said.succeeded => Ok(()),
            Ok(said) => Err(QueueError::Failed(format!(
                "postqueue -j: {}",
                said.complaint()
            ))),
            Err(problem) => Err(QueueError::Failed(problem)),
        }
    }

    pub fn show(&self, id: &QueueId, part: Part) -> Result<Shown, QueueError> {
        self.must_be_held(id)?;
        let flags = match part {
            Part::Header => "-hq",
            Part::Message => "-bhq",
        };
        let said = self.run("postcat", &[flags, id.as_str()], MAX_SHOWN)?;
        if !said.succeeded {
            self.must_be_held(id)?;
            return Err(QueueError::Failed(format!("postcat: {}", said.complaint())));
        }
        Ok(Shown {
            octets: said.output,
            cut: said.cut,
        })
    }

    /// Releases under the same id, or as new if it was held for longer than a third of
    /// `maximal_queue_lifetime`: mail that old would bounce at the first host that says "later".
    pub fn release(&self, id: &QueueId, now: Timestamp) -> Result<Released, QueueError> {
        let arrived = self.envelope(id)?.held()?.arrived;
        let age = arrived.map_or(0, |arrived| now.seconds().saturating_sub(arrived.seconds()));
        let lifetime = self.lifetime()?;
        if lifetime > 0 && age > lifetime / 3 {
            return self.requeue(id);
        }
        self.superintend("-H", "Released from hold: ", id)?;
        // It is released, whatever comes now.
        let waits = self.wake("postqueue", &["-i", id.as_str()]).err();
        Ok(Released {
            queue_id: Some(id.clone()),
            requeued: false,
            place: self
                .locate(id)
                .unwrap_or(Place::Queued("deferred".to_owned())),
            waits,
        })
    }

    pub fn requeue(&self, id: &QueueId) -> Result<Released, QueueError> {
        self.envelope(id)?.held()?;
        let header = self.run("postcat", &["-hq", id.as_str()], MAX_SHOWN)?;
        let token = Token::of(&header.output);
        let queue = self.queue_directory()?;
        let before = requeued::files(&queue);
        self.superintend("-r", "Requeued: ", id)?;
        // pickup(8) would look by itself within a minute.
        let woken = self.wake("postkick", &["public", "pickup", "W"]);
        let token = token.filter(|_| woken.is_ok());
        let found = token.and_then(|token| token.wait_for(&queue, &before));
        // In `maildrop` it still has the old name.
        let place = self.locate(found.as_ref().unwrap_or(id));
        Ok(Released {
            queue_id: found,
            requeued: true,
            place: place.unwrap_or(Place::Queued("maildrop".to_owned())),
            waits: woken.err(),
        })
    }

    pub fn delete(&self, id: &QueueId) -> Result<(), QueueError> {
        self.must_be_held(id)?;
        self.superintend("-d", "Deleted: ", id)
    }

    /// Mail that moves from queue to queue may be missed by one look, not by two.
    pub fn locate(&self, id: &QueueId) -> Result<Place, QueueError> {
        let queue = self.queue_directory()?;
        let look = || match queue_files::find(&queue, id) {
            Found::In("hold") => Ok(Place::Held),
            Found::In(other) => Ok(Place::Queued(other.to_owned())),
            Found::Nowhere => Ok(Place::Gone),
            Found::Unknown => Ok(self.envelope(id)?.place),
        };
        match look()? {
            Place::Gone => {}
            place => return Ok(place),
        }
        thread::sleep(A_MOMENT);
        look()
    }

    fn must_be_held(&self, id: &QueueId) -> Result<(), QueueError> {
        match self.locate(id)? {
            Place::Held => Ok(()),
            place => Err(QueueError::NotHeld(place)),
        }
    }

    /// One of postsuper's deeds on a mail that was held a moment ago. It was done when postsuper counts it, or
    /// when it counts nothing (as while Postfix is down) and the mail isn't held any more.
    fn superintend(&self, flag: &str, counted: &str, id: &QueueId) -> Result<(), QueueError> {
        let said = self.run("postsuper", &[flag, id.as_str(), "hold"], 0)?;
        let count = count(&said.words, counted);
        if count == Some(1) {
            return Ok(());
        }
        match self.locate(id)? {
            Place::Held => {
                let complaint = said.complaint();
                Err(QueueError::Failed(format!("postsuper {flag}: {complaint}")))
            }
            Place::Queued(_) | Place::Gone if count.is_none() => Ok(()),
            place => Err(QueueError::NotHeld(place)),
        }
    }

    /// Has Postfix look at once. `Err`: it looks by itself later; why not now.
    fn wake(&self, name: &str, rest: &[&str]) -> Result<(), String> {
        let arguments = arguments(self.config.as_ref(), "-c", rest);
        let problem = match self.commands.for_at_most(A_WHILE).run(name, &arguments, 0) {
            // Who can't be reached is complained of. Without a word postkick(1) ends by SIGPIPE: pickup(8)
            // hung up before it had read, since to be connected to wakes it.
            Ok(said) if said.succeeded || said.words.trim().is_empty() => return Ok(()),
            Ok(said) => said.complaint(),
            Err(problem) => problem,
        };
        Err(format!("Postfix takes it up later ({problem})"))
    }

    fn envelope(&self, id: &QueueId) -> Result<Envelope, QueueError> {
        let arguments = arguments(self.config.as_ref(), "-c", &["-eq", id.as_str()]);
        let mut found = Envelope::NOWHERE;
        let said = self
            .commands
            .in_utc()
            .until(ABSENT)
            .each_line("postcat", &arguments, |line| {
                found.read(line);
                true
            })
            .map_err(QueueError::Failed)?;
        let absent = said.words.contains(ABSENT);
        if found.place == Place::Gone && !absent {
            return Err(QueueError::Failed(format!("postcat: {}", said.complaint())));
        }
        Ok(found)
    }

    /// `maximal_queue_lifetime` in seconds.
    fn lifetime(&self) -> Result<i64, QueueError> {
        let text = self.setting("maximal_queue_lifetime")?;
        let unreadable =
            || QueueError::Failed(format!("postconf: maximal_queue_lifetime is `{text}`"));
        lifetime(&text).ok_or_else(unreadable)
    }

    fn queue_directory(&self) -> Result<PathBuf, QueueError> {
        Ok(PathBuf::from(self.setting("queue_directory")?))
    }

    fn setting(&self, name: &str) -> Result<String, QueueError> {
        let said = self.run("postconf", &["-xh", name], 4_096)?;
        let value = String::from_utf8_lossy(&said.output).trim_end().to_owned();
        if value.is_empty() || !said.succeeded {
            let complaint = said.complaint();
            return Err(QueueError::Failed(format!("postconf {name}: {complaint}")));
        }
        Ok(value)
    }

    fn run(&self, name: &str, rest: &[&str], limit: usize) -> Result<Said, QueueError> {
        let arguments = arguments(self.config.as_ref(), "-c", rest);
        self.commands
            .run(name, &arguments, limit)
            .map_err(QueueError::Failed)
    }
}

/// What `postcat -e` tells of a mail.
#[derive(Debug, PartialEq, Eq)]
struct Envelope {
    place: Place,
    arrived: Option<Timestamp>,
}

impl Envelope {
    const NOWHERE: Self = Self {
        place: Place::Gone,
        arrived: None,
    };

    /// One line: `*** ENVELOPE RECORDS hold/4jXW5m5GBtz1StgL ***`, `message_arrival_time: Sun Nov 22 14:04:12 2026`. The
    /// first of each counts: nothing that the sender chose stands before them.
    fn read(&mut self, line: &[u8]) {
        let Ok(line) = str::from_utf8(line) else {
            return;
        };
        if let Some(path) = line.strip_prefix("*** ENVELOPE RECORDS ")
            && let Some((queue, _)) = path.split_once('/')
            && self.place == Place::Gone
        {
            self.place = place_in(queue);
        }
        if let Some(time) = line.strip_prefix("message_arrival_time: ") {
            self.arrived = self.arrived.or_else(|| ctime(time));
        }
    }

    fn held(self) -> Result<Self, QueueError> {
        match self.place {
            Place::Held => Ok(self),
            place => Err(QueueError::NotHeld(place)),
        }
    }
}

fn place_in(queue: &str) -> Place {
    match queue {
        "hold" => Place::Held,
        other => Place::Queued(other.to_owned()),
    }
}

/// One line of `postqueue -j`; `None` for mail in other queues and for what can't be read.
fn held(line: &[u8]) -> Option<HeldEntry> {
    let listed: Listed = serde_json::from_slice(line).ok()?;
    if listed.queue_name != "hold" {
        return None;
    }
    let recipient_count = u64::try_from(listed.recipients.len()).ok()?;
    let recipients = listed.recipients.into_iter().take(MAX_RECIPIENTS);
    Some(HeldEntry {
        queue_id: QueueId::parse(&listed.queue_id).filter(QueueId::is_postfix)?,
        queue: listed.queue_name,
        arrived: Timestamp::from_seconds(listed.arrival_time),
        size: listed.message_size,
        sender: match listed.sender.as_str() {
            "MAILER-DAEMON" => String::new(),
            _ => listed.sender,
        },
        recipients: recipients.map(|recipient| recipient.address).collect(),
        recipient_count,
        reason: None,
    })
}

#[derive(Deserialize)]
struct Queued {
    queue_name: String,
    queue_id: String,
}

#[derive(Deserialize)]
struct Listed {
    queue_name: String,
    queue_id: String,
    arrival_time: i64,
    message_size: u64,
    sender: String,
    recipients: Vec<ListedRecipient>,
}

#[derive(Deserialize)]
struct ListedRecipient {
    address: String,
}

/// The number in `postsuper: Deleted: 1 message`.
fn count(words: &str, counted: &str) -> Option<u64> {
    let mut lines = words.lines().filter_map(|line| line.split_once(counted));
    let (_, number) = lines.next()?;
    number.split(' ').next()?.parse().ok()
}

/// postconf(5): "Specify a non-negative time value (an integral value plus an optional one-letter suffix …) s (seconds),
/// m (minutes), h (hours), d (days), w (weeks). The default time unit is d (days)."
fn lifetime(text: &str) -> Option<i64> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at_checked(at)?,
        None => (text, "d"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds)
}

/// `Sun Nov 22 14:04:12 2026`, in UTC.
fn ctime(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (day, clock, year) = (words.next()?, words.next()?, words.next()?);
    let date = format!("{year}-{month:02}-{day:0>2}");
    UtcDay::parse(&date).and_then(|_| Timestamp::parse_rfc3339(&format!("{date}T{clock}Z")))
}

/// What postcat says of a mail that is in no queue, before it sleeps for a second and ends.
const ABSENT: &str = "No such file or directory";
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Longer than a rename takes.
const A_MOMENT: Duration = Duration::from_millis(30);
/// For a word to a running Postfix.
const A_WHILE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
