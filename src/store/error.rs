//! What can go wrong with the store, sorted by who must act, in words that say what to do.
//!
//! Owns the error types and their texts. Touches nothing but the name of the user we run as.

use nix::unistd::{User, geteuid};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot be opened. The operator must act.
#[derive(Debug)]
pub enum OpenError {
    /// A file or directory cannot be used by the user we run as.
    Access { path: PathBuf, source: io::Error },
    /// Nothing has been recorded there yet. Readers only.
    Missing(PathBuf),
    /// Another process writes to it.
    InUse { path: PathBuf, pid: Option<u32> },
    /// Made by a later version of alignd.
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// Made by an earlier version, and not yet migrated. Readers only.
    Older {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// An SQLite database, but not ours.
    Foreign(PathBuf),
    /// SQLite says no.
    Database { path: PathBuf, message: String },
    /// A thread could not be started.
    Thread(io::Error),
}

/// Why a verdict was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// The disk, or the quota, is full. Nothing was recorded; later ones will be once there is room.
    DiskFull(PathBuf),
    /// More verdicts wait for the disk than may wait. Nothing was recorded.
    QueueFull,
    /// Not on the disk within `store.wait`. It may still get there.
    Late,
    /// The store has been closed. Nothing was recorded.
    Closed,
    /// SQLite says no. Nothing was recorded.
    Database { path: PathBuf, message: String },
}

/// Why something cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// What is stored cannot be understood: written by a later version, or damaged.
    Damaged(String),
    /// What does not fit into memory cannot be put on the disk meanwhile.
    Spool(String),
    /// What `reports.db` was asked beside it.
    Reports(ReportsError),
    /// SQLite says no.
    Database { path: PathBuf, message: String },
}

/// Why something cannot be done to the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportsError {
    /// The disk, or the quota, is full.
    DiskFull(PathBuf),
    /// Another process keeps it: later.
    Busy(PathBuf),
    /// Somebody else has taken the lease over: nothing was written.
    Fenced,
    /// What is stored cannot be understood: written by a later version, or damaged.
    Damaged(String),
    /// SQLite says no.
    Database { path: PathBuf, message: String },
}

impl OpenError {
    pub(super) fn access(path: &Path, source: io::Error) -> Self {
        Self::Access {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        Self::Database {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }
}

impl RecordError {
    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        if is_disk_full(error) {
            return Self::DiskFull(path.to_owned());
        }
        Self::Database {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }
}

impl ReadError {
    pub(super) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        Self::Database {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }
}

impl ReportsError {
    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        if is_disk_full(error) {
            return Self::DiskFull(path.to_owned());
        }
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
            return Self::Busy(path.to_owned());
        }
        Self::Database {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }
}

/// SQLite reports a full disk as `SQLITE_FULL`, but as an I/O error while it extends the WAL index.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| {
        e.code == rusqlite::ErrorCode::DiskFull
            || e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// The user we run as: `alignd (uid 110)`.
fn user() -> String {
    let uid = geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { path, source } => write!(
                f,
                "{}: {source}, as user {}; make it readable and writable for that user, or set store.path",
                path.display(),
                user()
            ),
            Self::Missing(path) => write!(
                f,
                "{}: no such store; nothing has been recorded yet, or store.path names another directory",
                path.display()
            ),
            Self::InUse { path, pid } => {
                write!(f, "{}: in use by another alignd", path.display())?;
                if let Some(pid) = pid {
                    write!(f, ", process {pid}")?;
                }
                write!(f, "; stop that one, or give this one its own store.path")
            }
            Self::Newer { path, found, known } => write!(
                f,
                "{}: written by a later alignd (schema {found}, this one knows {known}); run that version, or restore a backup",
                path.display()
            ),
            Self::Older { path, found, known } => write!(
                f,
                "{}: written by an earlier alignd (schema {found}, this one needs {known}); start alignd once to migrate it",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{}: not a database of alignd; move it away, or set store.path",
                path.display()
            ),
            Self::Database { path, message } => {
                write!(f, "{}: {message}, as user {}", path.display(), user())
            }
            Self::Thread(source) => write!(f, "cannot start the store's thread: {source}"),
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull(path) => {
                write!(
                    f,
                    "{}: no room left on the disk or in the quota",
                    path.display()
                )
            }
            Self::QueueFull => f.write_str("too many verdicts wait for the disk"),
            Self::Late => f.write_str("the disk did not answer within store.wait"),
            Self::Closed => f.write_str("the store is closed"),
            Self::Database { path, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl fmt::Display for ReportsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull(path) => write!(
                f,
                "{}: no room left on the disk or in the quota",
                path.display()
            ),
            Self::Busy(path) => write!(
                f,
                "{}: another process keeps it; try again later",
                path.display()
            ),
            Self::Fenced => f.write_str("another process has taken this report over"),
            Self::Damaged(what) => write!(
                f,
                "a stored report cannot be read ({what}): written by a later alignd, or damaged"
            ),
            Self::Database { path, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(
                f,
                "a stored verdict cannot be read ({what}): written by a later alignd, or damaged"
            ),
            Self::Reports(error) => error.fmt(f),
            Self::Spool(what) => write!(f, "no room to sort a day's messages: {what}"),
            Self::Database { path, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Access { source, .. } | Self::Thread(source) => Some(source),
            Self::Missing(_)
            | Self::InUse { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Foreign(_)
            | Self::Database { .. } => None,
        }
    }
}

impl std::error::Error for RecordError {}
impl std::error::Error for ReportsError {}
impl std::error::Error for ReadError {}
