//! How far the mail log was read, kept on the disk so that a restart goes on where the last run ended.
//!
//! Owns `mail-log.json` in the store's directory. Written beside it and renamed: it is there whole or as it was. Where
//! it is lost, the log is read again, which changes nothing.

use super::LogSource;
use crate::mta::QueueId;
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The place, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogPlace {
    /// Of which log, as `outcome.log` says.
    source: String,
    pub(super) file: FilePlace,
    /// journald's name for the last entry.
    pub(super) cursor: Option<String>,
    /// Microseconds: the stamp of the last line that told something.
    read_until: Option<i64>,
    /// Microseconds: when everything that was there had been read.
    caught_up: Option<i64>,
    resubmitted: VecDeque<Resubmitted>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FilePlace {
    /// Octets from its beginning.
    pub offset: u64,
    /// Within a line that is too long to be read.
    pub skipping: bool,
    /// How many octets `begin` is the digest of.
    pub begin_length: u64,
    /// Which file it is, whatever it is called by now: SHA-256 of its first octets.
    pub begin: String,
}

/// A mail that was put in again as new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Resubmitted {
    id: String,
    verdict: String,
    at: i64,
}

/// The place cannot be kept. The operator must act.
#[derive(Debug)]
pub struct PlaceError {
    path: PathBuf,
    source: io::Error,
}

impl LogPlace {
    /// The place kept in this directory; the beginning, when there is none of this log.
    pub fn open(directory: &Path, source: &LogSource) -> Result<Self, PlaceError> {
        let path = directory.join(NAME);
        let source = source.to_string();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(PlaceError { path, source }),
        };
        // Damaged or of another log: from the beginning, which changes nothing that is known.
        let kept: Self = serde_json::from_slice(&text).unwrap_or_default();
        if kept.source == source {
            return Ok(kept);
        }
        Ok(Self {
            source,
            ..Self::default()
        })
    }

    pub(super) fn keep(&self, directory: &Path) -> Result<(), PlaceError> {
        let path = directory.join(NAME);
        let beside = directory.join(format!("{NAME}.new"));
        let written = (|| {
            let text = serde_json::to_vec(self)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o640)
                .open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        })();
        written.map_err(|source| PlaceError { path, source })
    }

    /// The stamp of the last line that told something.
    pub fn read_until(&self) -> Option<Timestamp> {
        self.read_until.map(Timestamp::from_micros)
    }

    /// When everything that was there had been read.
    pub fn caught_up(&self) -> Option<Timestamp> {
        self.caught_up.map(Timestamp::from_micros)
    }

    pub(super) fn was_read_until(&mut self, at: Timestamp) {
        self.read_until = Some(at.micros());
    }

    pub(super) fn has_caught_up(&mut self, now: Timestamp) {
        self.caught_up = Some(now.micros());
    }

    /// From now on `id` means this message. Forgets the oldest of too many.
    pub(super) fn resubmitted(&mut self, id: &QueueId, verdict: VerdictId, at: Timestamp) {
        let (id, verdict) = (id.to_string(), verdict.to_string());
        self.resubmitted.retain(|known| known.id != id);
        if self.resubmitted.len() >= MAX_RESUBMITTED {
            self.resubmitted.pop_front();
        }
        let at = at.micros();
        self.resubmitted.push_back(Resubmitted { id, verdict, at });
    }

    /// The message that was put in again under this id, and when.
    pub(super) fn known_as(&self, id: &QueueId) -> Option<(VerdictId, Timestamp)> {
        let known = self
            .resubmitted
            .iter()
            .find(|known| known.id == id.as_str())?;
        let verdict = VerdictId::parse(&known.verdict)?;
        Some((verdict, Timestamp::from_micros(known.at)))
    }
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, source) = (self.path.display(), &self.source);
        write!(f, "{path}: {source}; it belongs to the user alignd runs as")
    }
}

impl std::error::Error for PlaceError {}

const NAME: &str = "mail-log.json";

/// How many of them are known by both their ids.
const MAX_RESUBMITTED: usize = 1_000;
