//! Turns: whoever takes entries from the outbox holds a lock meanwhile, which the kernel lets go of when
//! the process ends, however it ends.
//!
//! Owns `reports.lock`. While nobody else holds it, what is marked as in hand was left by the dead, and
//! is due at once: it need not wait for its next try, an hour later. Several processes may hold it side
//! by side; then everything in hand may be in somebody's, and stays.

use super::Reports;
use crate::store::error::ReportsError;
use crate::store::sqlite::{BUSY_TIMEOUT, give_to_owner_of_directory};
use crate::time::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::params;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The right to take entries, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    /// Entries that others died with, due again from now on.
    pub taken_back: usize,
    _lock: Flock<File>,
}

impl Reports {
    /// Begins to take entries. Who has one in hand must not drop the turn before its fate is recorded.
    pub fn begin_turn(&self, now: Timestamp) -> Result<Turn, ReportsError> {
        let path = self.0.path.with_file_name("reports.lock");
        let refused = |error: io::Error| ReportsError::Database {
            path: path.clone(),
            message: error.to_string(),
        };
        let began = Instant::now();
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(&path)
                .map_err(refused)?;
            give_to_owner_of_directory(&file, &path).map_err(refused)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return self.take_back(lock, now),
                Err((file, Errno::EWOULDBLOCK)) => file,
                Err((_, errno)) => return Err(refused(errno.into())),
            };
            match Flock::lock(file, FlockArg::LockSharedNonblock) {
                Ok(lock) => {
                    return Ok(Turn {
                        taken_back: 0,
                        _lock: lock,
                    });
                }
                // Somebody is taking back just now, which is soon done.
                Err((_, Errno::EWOULDBLOCK)) if began.elapsed() < BUSY_TIMEOUT => {
                    std::thread::sleep(AGAIN);
                }
                Err((_, Errno::EWOULDBLOCK)) => return Err(ReportsError::Busy(path)),
                Err((_, errno)) => return Err(refused(errno.into())),
            }
        }
    }

    /// Nobody else holds the lock.
    fn take_back(&self, lock: Flock<File>, now: Timestamp) -> Result<Turn, ReportsError> {
        let taken_back = self.write(|c| {
            let taken_back = c.execute(
                "UPDATE outbox SET in_hand = 0, next_try = min(next_try, ?1)
                 WHERE in_hand = 1 AND state IN ('to_verify', 'queued')",
                params![now.micros()],
            )?;
            Ok(taken_back)
        })?;
        let shared = lock.relock(FlockArg::LockShared);
        shared.map_err(|errno| ReportsError::Database {
            path: self.0.path.with_file_name("reports.lock"),
            message: errno.to_string(),
        })?;
        Ok(Turn {
            taken_back,
            _lock: lock,
        })
    }
}

/// How soon the lock is tried again.
const AGAIN: Duration = Duration::from_millis(20);
