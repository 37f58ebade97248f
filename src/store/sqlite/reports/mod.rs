//! `Reports`: the handle to `reports.db`, which the daemon and the commands both write to.
//!
//! Owns the connection and the rules of sharing it: every verb is one transaction, short, begun for
//! writing at once, and waits at most [`BUSY_TIMEOUT`] for another process'. Verbs block; async callers
//! use `spawn_blocking`. No transaction spans this file and `alignd.db`.
//!
//! - `claim`: leases · `keep`: spooling and keeping reports · `list`: reading them
//! - `outbox`: what waits to be sent · `take`: whose turn it is · `standing`: how much, and for how long · `suppress`: destinations that are not to be used
//! - `turn`: who takes from the outbox just now · `expire`: retention

mod claim;
mod expire;
mod keep;
mod list;
mod outbox;
mod standing;
mod suppress;
mod take;
mod turn;

pub use claim::LEASE;
pub use take::PER_HOST;
pub use turn::Turn;

use crate::store::error::{OpenError, ReportsError};
use crate::store::sqlite::migrate::REPORTS;
use crate::store::sqlite::read::collect as rows;
use crate::store::sqlite::rebuild::Trouble;
use crate::store::sqlite::{
    BUSY_TIMEOUT, WAL_LIMIT_BYTES, check_writable, create_directory, prepare, set, use_wal,
};
use crate::store::{Durability, StoreSettings};
use crate::time::Timestamp;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The reports: kept, on their way, and what is known of where they go. Clones share a connection.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// SQLite's word for `store.durability`.
    synchronous: &'static str,
}

/// Why a verb's transaction was not committed.
enum Undone {
    Trouble(Trouble),
    /// The lease is somebody else's by now.
    Fenced,
}

impl Reports {
    /// Opens `reports.db`, creating it or bringing it up to this version's schema.
    pub fn open(settings: &StoreSettings, now: Timestamp) -> Result<Self, OpenError> {
        create_directory(&settings.path)?;
        let path = path_in(&settings.path);
        for file in ["reports.db", "reports.db-wal", "reports.db-shm"] {
            check_writable(&settings.path.join(file), file == "reports.db")?;
        }
        let mut connection = connect(&path)?;
        REPORTS.check_ours(&connection, &path)?;
        let error = |e| OpenError::database(&path, &e);
        use_wal(&connection, &path)?;
        let synchronous = match settings.durability {
            Durability::Full => "FULL",
            Durability::Relaxed => UNSYNCED,
        };
        set(&connection, "synchronous", synchronous).map_err(error)?;
        REPORTS.migrate(&mut connection, &path, REPORTS.known(), now)?;
        // The name of a new file must outlive a crash of the machine, as its content does.
        File::open(&settings.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|e| OpenError::access(&settings.path, e))?;
        Ok(Self::of(connection, path, synchronous))
    }

    /// Opens the `reports.db` of this directory, which must exist and have this version's schema.
    pub fn open_existing(directory: &Path) -> Result<Self, OpenError> {
        let path = path_in(directory);
        File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => OpenError::Missing(path.clone()),
            _ => OpenError::access(&path, e),
        })?;
        let connection = connect(&path)?;
        REPORTS.check_ours(&connection, &path)?;
        REPORTS.check_current(&connection, &path)?;
        Ok(Self::of(connection, path, "FULL"))
    }

    /// Returns once all that was kept is on the disk.
    pub fn sync(&self) -> Result<(), ReportsError> {
        let connection = self.connection();
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.translate(checkpoint.map_err(Undone::from))
    }

    fn of(connection: Connection, path: PathBuf, synchronous: &'static str) -> Self {
        Self(Arc::new(Inner {
            connection: Mutex::new(connection),
            path,
            synchronous,
        }))
    }

    /// One transaction that writes.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Undone>,
    ) -> Result<T, ReportsError> {
        self.translate(commit(&mut self.connection(), work))
    }

    /// One transaction that writes what is worth nothing once the machine has crashed. It doesn't wait for
    /// the disk: the next one of [`Self::write`] takes it there, before itself.
    fn write_unsynced<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Undone>,
    ) -> Result<T, ReportsError> {
        let mut connection = self.connection();
        let result = (|| {
            set(&connection, "synchronous", UNSYNCED)?;
            let result = commit(&mut connection, work);
            set(&connection, "synchronous", self.0.synchronous)?;
            result
        })();
        self.translate(result)
    }

    /// One look.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Undone>,
    ) -> Result<T, ReportsError> {
        self.translate(work(&self.connection()))
    }

    /// What a panic left behind was rolled back.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        let lock = self.0.connection.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn translate<T>(&self, result: Result<T, Undone>) -> Result<T, ReportsError> {
        result.map_err(|undone| match undone {
            Undone::Fenced => ReportsError::Fenced,
            Undone::Trouble(Trouble::Sqlite(error)) => ReportsError::new(&self.0.path, &error),
            Undone::Trouble(Trouble::Read(error)) => ReportsError::Damaged(error.to_string()),
        })
    }
}

fn commit<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Undone>,
) -> Result<T, Undone> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("reports.db")
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let error = |e| OpenError::database(path, &e);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(error)?;
    prepare(&connection).map_err(error)?;
    set(&connection, "journal_size_limit", WAL_LIMIT_BYTES).map_err(error)?;
    set(&connection, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(error)?;
    set(&connection, "cache_size", -CACHE_KIB).map_err(error)?;
    Ok(connection)
}

/// SQLite's word for commits that are on the disk in order, but not at once.
const UNSYNCED: &str = "NORMAL";

/// Pages in the log before a commit moves them into the database: the fewer, the shorter the time in which the disk
/// has nothing left for mail that is recorded meanwhile.
const CHECKPOINT_PAGES: i64 = 300;

/// Room for the pages that a few hundred small reports change: what doesn't fit is written before its time, and
/// read again.
const CACHE_KIB: i64 = 8_192;

/// All rows of a query, each read by `read`.
fn collect<T>(
    c: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Trouble>,
) -> Result<Vec<T>, Undone> {
    Ok(rows(c, sql, values, read)?)
}

/// A count as SQLite takes it.
fn as_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Trouble(Trouble::Sqlite(error))
    }
}

impl From<Trouble> for Undone {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("path", &self.0.path)
            .field("busy_timeout", &BUSY_TIMEOUT)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn word_of(reports: &Reports) -> i64 {
        let connection = reports.connection();
        connection
            .query_row("PRAGMA synchronous", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn only_what_says_so_goes_unsynced() {
        let directory = tempfile::tempdir().unwrap();
        for (durability, expected) in [(Durability::Full, 2), (Durability::Relaxed, 1)] {
            let settings = StoreSettings {
                path: directory.path().to_owned(),
                durability,
                ..StoreSettings::default()
            };
            let reports = Reports::open(&settings, Timestamp::from_micros(0)).unwrap();
            assert_eq!(word_of(&reports), expected);
            let inside = reports.write_unsynced(|c| {
                Ok(c.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?)
            });
            assert_eq!((inside.unwrap(), word_of(&reports)), (1, expected));
            let failed = reports.write_unsynced(|_| Err::<(), _>(Undone::Fenced));
            assert!(matches!(failed, Err(ReportsError::Fenced)), "{failed:?}");
            assert_eq!(word_of(&reports), expected);
        }
    }

    #[test]
    fn a_sync_takes_the_log_into_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            path: directory.path().to_owned(),
            ..StoreSettings::default()
        };
        let reports = Reports::open(&settings, Timestamp::from_micros(0)).unwrap();
        reports.sync().unwrap();
        let before = reports.0.path.metadata().unwrap().size();
        let write = |c: &Transaction<'_>| {
            let sql =
                "INSERT INTO piece (fence, part, nth, octets) VALUES (1, 0, 0, zeroblob(100000))";
            Ok(c.execute(sql, [])?)
        };
        assert_eq!(reports.write_unsynced(write).unwrap(), 1);
        reports.sync().unwrap();
        assert!(reports.0.path.metadata().unwrap().size() >= before + 90_000);
    }
}
