//! Which new id a requeued mail has.
//!
//! `postsuper -r` lets Postfix take the mail in as new, and Postfix names the old id in the log alone. So the queue files
//! that weren't there before are looked through for a line that only this mail has, while they are there; a
//! mail that is delivered faster than that is not found, and the log's `orig_id=` tells. Reads queue files, changes
//! nothing.

use crate::mta::QueueId;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A line of a mail's header that no other mail has.
#[derive(Debug, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// Our own field, or else its Message-ID.
    pub fn of(header: &[u8]) -> Option<Self> {
        let named = |name: &str| {
            header.split(|b| *b == b'\n').find(|line| {
                let start = line.get(..name.len());
                line.len() > name.len() + 8
                    && start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            })
        };
        let line = named("X-Alignd-Verdict:").or_else(|| named("Message-ID:"))?;
        Some(Self(
            line.get(..line.len().min(LONGEST_LINE))
                .unwrap_or(line)
                .to_vec(),
        ))
    }

    /// Looks until it is found, for `PATIENCE` at most.
    pub fn wait_for(&self, queue: &Path, before: &BTreeSet<QueueId>) -> Option<QueueId> {
        let end = Instant::now() + PATIENCE;
        // Each file is read until it is whole, then never again.
        let mut known = before.clone();
        while Instant::now() < end {
            for name in QUEUES {
                for (id, path) in files_of(&queue.join(name)) {
                    if known.contains(&id) {
                        continue;
                    }
                    match self.is_in(&path) {
                        Some(true) => return Some(id),
                        Some(false) => _ = known.insert(id),
                        // Still being written, or moved on.
                        None => {}
                    }
                }
            }
            thread::sleep(PAUSE);
        }
        None
    }

    /// `None`: not known yet.
    fn is_in(&self, path: &Path) -> Option<bool> {
        let mut start = Vec::new();
        let file = File::open(path).ok()?;
        file.take(HEADER_SPAN).read_to_end(&mut start).ok()?;
        if start.windows(self.0.len()).any(|window| window == self.0) {
            return Some(true);
        }
        let full = u64::try_from(start.len()).is_ok_and(|length| length >= HEADER_SPAN);
        (full || Path::new("incoming") != path.parent()?.file_name()?).then_some(false)
    }
}

/// The mails that are on their way now.
pub fn files(queue: &Path) -> BTreeSet<QueueId> {
    let all = QUEUES.iter().flat_map(|name| files_of(&queue.join(name)));
    all.map(|(id, _)| id).collect()
}

fn files_of(directory: &Path) -> Vec<(QueueId, std::path::PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let id = QueueId::parse(entry.file_name().to_str()?)?;
        Some((id, entry.path()))
    });
    named.take(MOST_FILES).collect()
}

/// Where a mail taken in as new appears; `deferred` is where it ends up when it is late, and in `hold` when
/// header_checks hold it again.
const QUEUES: [&str; 3] = ["incoming", "active", "hold"];
/// A record of a queue file is no longer than `line_length_limit` (2048).
const LONGEST_LINE: usize = 1_000;
const HEADER_SPAN: u64 = 262_144;
const MOST_FILES: usize = 100_000;
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);
