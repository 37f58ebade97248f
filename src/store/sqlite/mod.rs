//! The SQLite side of the store: its files, its connections, and the rooms that speak SQL.
//!
//! Owns `alignd.db`, `alignd.lock`, `reports.db` and `reports.lock` in the store's directory. WAL mode: readers never block the
//! writer, nor it them.
//!
//! - `migrate`: the schema · `dictionary`: contents stored once · `write`: one verb per function
//! - `change`: what operators change · `digest`: what the daily digest told · `uses`: how often rules decided
//! - `writer`: the thread · `checkpoint`: the log into the database · `expire`: retention
//! - `read`, `list`, `held`, `exceptions`, `bearer`: the reader · `rebuild`: rows to verdicts
//! - `fold`: days to the rows of reports · `reports`: `reports.db`

mod bearer;
mod change;
mod checkpoint;
mod dictionary;
mod digest;
mod exceptions;
mod expire;
pub(super) mod fold;
mod held;
mod intent;
pub(super) mod list;
mod migrate;
pub(super) mod read;
mod rebuild;
pub(super) mod reports;
mod take_back;
mod uses;
mod write;
pub(super) mod writer;

use crate::store::Durability;
use crate::store::error::OpenError;
use crate::store::sqlite::migrate::VERDICTS;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection waits for another process' transaction, which stays under 20 ms.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this when it is done with.
const WAL_LIMIT_BYTES: i64 = 64 << 20;

/// The pages a writer keeps in memory, in KiB: what the right-hand edges of the indexes need.
const WRITER_CACHE_KIB: i64 = 4_096;

/// A reader's, in KiB.
const READER_CACHE_KIB: i64 = 2_048;

/// Prepared statements kept per connection; the writer uses about 30.
const STATEMENTS: usize = 64;

pub(super) fn database_path(directory: &Path) -> PathBuf {
    directory.join("alignd.db")
}

/// Opens the file for the writer, creating it and its directory if need be, and takes the lock.
fn open_for_writing(
    directory: &Path,
    durability: Durability,
) -> Result<(Connection, Flock<File>), OpenError> {
    create_directory(directory)?;
    let lock = lock(directory)?;
    let path = database_path(directory);
    for file in ["alignd.db", "alignd.db-wal", "alignd.db-shm"] {
        check_writable(&directory.join(file), file == "alignd.db")?;
    }
    let error = |e| OpenError::database(&path, &e);
    let connection = open_to_write(&path).map_err(error)?;
    VERDICTS.check_ours(&connection, &path)?;
    use_wal(&connection, &path)?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    set(&connection, "synchronous", synchronous).map_err(error)?;
    set(&connection, "cache_size", -WRITER_CACHE_KIB).map_err(error)?;
    Ok((connection, lock))
}

/// Opens the file once more, for what the process of the writer does beside it: no transaction of its own.
fn open_beside_writer(path: &Path) -> Result<Connection, OpenError> {
    open_to_write(path).map_err(|e| OpenError::database(path, &e))
}

fn open_to_write(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection)?;
    // The log is moved into the database beside what is written, not inside a COMMIT.
    set(&connection, "wal_autocheckpoint", 0)?;
    set(&connection, "journal_size_limit", WAL_LIMIT_BYTES)?;
    Ok(connection)
}

/// Creates the store's directory unless it is there. Its parent must be there.
pub fn create_directory(directory: &Path) -> Result<(), OpenError> {
    if directory.exists() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(0o750)
        .create(directory)
        .map_err(|e| OpenError::access(directory, e))
}

/// Readers never block the writer, nor it them.
fn use_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let error = |e| OpenError::database(path, &e);
    set(connection, "journal_mode", "WAL").map_err(error)?;
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(error)?;
    if mode == "wal" {
        return Ok(());
    }
    Err(OpenError::Database {
        path: path.to_owned(),
        message: format!("journal mode {mode}: this file system cannot share memory"),
    })
}

/// Opens the file for a reader. It must exist and have this version's schema.
fn open_for_reading(directory: &Path) -> Result<Connection, OpenError> {
    let path = database_path(directory);
    File::open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing(path.clone()),
        _ => OpenError::access(&path, e),
    })?;
    let error = |e| OpenError::database(&path, &e);
    let connection = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(error)?;
    prepare(&connection).map_err(error)?;
    VERDICTS.check_ours(&connection, &path)?;
    VERDICTS.check_current(&connection, &path)?;
    set(&connection, "cache_size", -READER_CACHE_KIB).map_err(error)?;
    Ok(connection)
}

/// What every connection needs.
fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans that don't depend on the values bound: with partial indexes about, SQLite would otherwise
    // prepare some statements anew for every value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Takes the writer's lock. The kernel lets go of it when the process ends, however it ends.
fn lock(directory: &Path) -> Result<Flock<File>, OpenError> {
    let path = directory.join("alignd.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(|e| OpenError::access(&path, e))?;
    give_to_owner_of_directory(&file, &path).map_err(|e| OpenError::access(&path, e))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let pid = format!("{}\n", std::process::id());
            // Who holds it is told for people only; the lock holds without.
            _ = lock.set_len(0);
            _ = lock.rewind();
            _ = lock.write_all(pid.as_bytes());
            Ok(lock)
        }
        Err((file, Errno::EWOULDBLOCK)) => Err(OpenError::InUse {
            path: database_path(directory),
            pid: read_pid(file),
        }),
        Err((_, errno)) => Err(OpenError::access(&path, errno.into())),
    }
}

fn read_pid(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Finds out with the system's own words whether a file can be written: SQLite has only "unable to
/// open database file" for all causes.
fn check_writable(path: &Path, create: bool) -> Result<(), OpenError> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o640)
        .open(path);
    match opened {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !create => Ok(()),
        Err(e) => Err(OpenError::access(path, e)),
        Ok(file) => give_to_owner_of_directory(&file, path).map_err(|e| OpenError::access(path, e)),
    }
}

/// What root makes, the daemon must be able to write: a new file gets the directory's owner. SQLite
/// gives the files beside it the same.
fn give_to_owner_of_directory(file: &File, path: &Path) -> std::io::Result<()> {
    let found = file.metadata()?;
    let (Some(directory), true) = (path.parent(), found.uid() == 0 && found.len() == 0) else {
        return Ok(());
    };
    let owner = fs::metadata(directory)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

fn set(
    connection: &Connection,
    pragma: &str,
    value: impl rusqlite::ToSql,
) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, pragma, value)
}
