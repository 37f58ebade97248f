//! Moving the log into the database.
//!
//! Owns the moment and the thread. What is long is done by that thread, with a connection of its own, while verdicts
//! go on being written to the log; what came meanwhile is moved by the writer between two groups, for only when all
//! of it is moved the log begins anew. Readers that still need a part of the log are never waited for.

use rusqlite::Connection;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

/// What the writer has of it.
pub(super) struct Checkpoints {
    /// The other thread; `None` after `end`.
    mover: Option<Mover>,
    /// Due when the log has this many pages.
    due_at: i64,
    /// What was written since the last look at the log, as [`LOOK_AFTER`] counts it.
    unlooked: usize,
}

struct Mover {
    asks: SyncSender<()>,
    ended: Receiver<rusqlite::Result<()>>,
    is_moving: bool,
    thread: JoinHandle<()>,
}

/// Pages in the log, and how many of them are in the database.
#[derive(Debug, Clone, Copy)]
struct Log {
    pages: i64,
    moved: i64,
}

/// Pages in the log before they are moved into the database, 32 MiB: seldom, for the same page then stands in the log
/// many times but is moved once.
const CHECKPOINT_PAGES: i64 = 8_000;

/// So many the writer moves itself, between two groups.
const FEW_PAGES: i64 = 1_000;

/// With so many, 96 MiB, it moves them all itself, however long it takes: the thread does not keep up.
const MOST_PAGES: i64 = 3 * CHECKPOINT_PAGES;

/// Verdicts, confirmations and batches between two looks at how much the log holds.
const LOOK_AFTER: usize = 64;

impl Checkpoints {
    /// Starts the thread. `connection`: its own, to the same database.
    pub fn start(connection: Connection) -> io::Result<Self> {
        let (asks, asked) = sync_channel(1);
        let (ends, ended) = sync_channel(1);
        let thread = Builder::new()
            .name("alignd-checkpoint".to_owned())
            .spawn(move || {
                while asked.recv().is_ok() {
                    if ends.send(move_pages(&connection).map(drop)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            mover: Some(Mover {
                asks,
                ended,
                is_moving: false,
                thread,
            }),
            due_at: CHECKPOINT_PAGES,
            unlooked: 0,
        })
    }

    /// Counts what was written.
    pub fn count(&mut self, written: usize) {
        self.unlooked = self.unlooked.saturating_add(written);
    }

    /// Has the log looked at next time: what was written may be many pages.
    pub fn look_soon(&mut self) {
        self.unlooked = LOOK_AFTER;
    }

    /// Sees to it that what is due is moved. `writer`: the writer's connection, with no transaction under way.
    pub fn tend(&mut self, writer: &Connection) -> rusqlite::Result<()> {
        if self.unlooked < LOOK_AFTER {
            return Ok(());
        }
        self.unlooked = 0;
        let moving = self.mover.as_mut().map_or(Moving::No, Mover::look);
        let log = look(writer)?;
        match moving {
            Moving::Still => return Ok(()),
            Moving::Ended(Err(error)) => return Err(error),
            // Of what was there when it began a reader needs a part, or as much came meanwhile: not again before there
            // is as much more.
            Moving::Ended(Ok(())) if log.rest() > FEW_PAGES => {
                self.due_at = log.pages.saturating_add(CHECKPOINT_PAGES);
            }
            Moving::Ended(Ok(())) | Moving::No => {}
        }
        if log.pages < self.due_at {
            return Ok(());
        }
        let is_long = log.rest() > FEW_PAGES && log.pages < MOST_PAGES;
        if is_long && self.mover.as_mut().is_some_and(Mover::begin) {
            return Ok(());
        }
        let log = move_pages(writer)?;
        self.due_at = match log.rest() {
            0 => CHECKPOINT_PAGES,
            _ => log.pages.saturating_add(CHECKPOINT_PAGES),
        };
        Ok(())
    }

    /// Ends the thread, after what it has under way.
    pub fn end(&mut self) {
        if let Some(mover) = self.mover.take() {
            drop(mover.asks);
            // Should it have panicked, that was said.
            _ = mover.thread.join();
        }
    }
}

/// What the thread is at.
enum Moving {
    No,
    Still,
    Ended(rusqlite::Result<()>),
}

impl Mover {
    /// Lets it begin; false when it is gone.
    fn begin(&mut self) -> bool {
        self.is_moving = self.asks.try_send(()).is_ok();
        self.is_moving
    }

    fn look(&mut self) -> Moving {
        if !self.is_moving {
            return Moving::No;
        }
        let moving = match self.ended.try_recv() {
            Err(TryRecvError::Empty) => return Moving::Still,
            Err(TryRecvError::Disconnected) => Moving::No,
            Ok(ended) => Moving::Ended(ended),
        };
        self.is_moving = false;
        moving
    }
}

impl Log {
    /// Pages that are only in the log.
    fn rest(self) -> i64 {
        self.pages.saturating_sub(self.moved)
    }
}

fn look(connection: &Connection) -> rusqlite::Result<Log> {
    checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")
}

/// Moves what no reader needs in the log.
fn move_pages(connection: &Connection) -> rusqlite::Result<Log> {
    checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
}

/// Moves all of it and empties the log, where no reader holds it.
pub(super) fn empty(connection: &Connection) -> rusqlite::Result<()> {
    checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)").map(drop)
}

fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<Log> {
    connection.prepare_cached(pragma)?.query_row([], |row| {
        Ok(Log {
            pages: row.get(1)?,
            moved: row.get(2)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{open_to_write, set};
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn open(directory: &Path) -> (Connection, Checkpoints) {
        let path = directory.join("x.db");
        let create = Connection::open(&path).unwrap();
        set(&create, "journal_mode", "WAL").unwrap();
        create.execute_batch("CREATE TABLE t (x)").unwrap();
        let beside = open_to_write(&path).unwrap();
        let writer = open_to_write(&path).unwrap();
        (writer, Checkpoints::start(beside).unwrap())
    }

    fn write_pages(writer: &Connection, pages: i64) {
        let sql = "INSERT INTO t VALUES (zeroblob(?1 * 4096))";
        writer.execute(sql, [pages]).unwrap();
    }

    /// Tends the log as after verdicts, until it is as wanted.
    fn tend_until(
        checkpoints: &mut Checkpoints,
        writer: &Connection,
        is_so: impl Fn(&Checkpoints, Log) -> bool,
    ) {
        let began = Instant::now();
        loop {
            checkpoints.count(LOOK_AFTER);
            checkpoints.tend(writer).unwrap();
            let log = look(writer).unwrap();
            if is_so(checkpoints, log) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{log:?}");
            std::thread::yield_now();
        }
    }

    fn is_moving(checkpoints: &Checkpoints) -> bool {
        checkpoints.mover.as_ref().is_some_and(|m| m.is_moving)
    }

    #[test]
    fn a_long_log_is_moved_by_the_thread_and_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = open(directory.path());
        write_pages(&writer, CHECKPOINT_PAGES - 10);
        checkpoints.count(LOOK_AFTER);
        checkpoints.tend(&writer).unwrap();
        assert!(!is_moving(&checkpoints), "not due yet");
        write_pages(&writer, 100);
        checkpoints.count(LOOK_AFTER - 1);
        checkpoints.tend(&writer).unwrap();
        assert!(!is_moving(&checkpoints), "not looked at yet");
        checkpoints.count(1);
        checkpoints.tend(&writer).unwrap();
        assert!(is_moving(&checkpoints));
        // What comes meanwhile.
        write_pages(&writer, 100);
        tend_until(&mut checkpoints, &writer, |_, log| log.rest() == 0);
        assert!(!is_moving(&checkpoints));
        write_pages(&writer, 1);
        let log = look(&writer).unwrap();
        assert!(log.pages < 100, "{log:?}");
        checkpoints.end();
        let rows: i64 = writer
            .query_row("SELECT sum(length(x)) FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, (CHECKPOINT_PAGES - 10 + 100 + 100 + 1) * 4096);
    }

    /// It is not tried at every look, and done once the reader has ended.
    #[test]
    fn what_a_reader_needs_is_moved_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = open(directory.path());
        let reader = Connection::open(directory.path().join("x.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        write_pages(&writer, CHECKPOINT_PAGES + 10);
        tend_until(&mut checkpoints, &writer, |checkpoints, _| {
            checkpoints.due_at > CHECKPOINT_PAGES
        });
        let log = look(&writer).unwrap();
        assert!(log.rest() > CHECKPOINT_PAGES, "{log:?}");
        for _ in 0..10 {
            checkpoints.count(LOOK_AFTER);
            checkpoints.tend(&writer).unwrap();
            assert!(!is_moving(&checkpoints));
        }
        reader.execute_batch("COMMIT").unwrap();
        write_pages(&writer, CHECKPOINT_PAGES);
        tend_until(&mut checkpoints, &writer, |_, log| log.rest() == 0);
        assert_eq!(checkpoints.due_at, CHECKPOINT_PAGES);
        checkpoints.end();
    }

    /// A thread that has ended leaves it to the writer; so does one that doesn't keep up.
    #[test]
    fn the_writer_moves_what_nobody_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = open(directory.path());
        write_pages(&writer, MOST_PAGES);
        checkpoints.count(LOOK_AFTER);
        checkpoints.tend(&writer).unwrap();
        assert_eq!(look(&writer).unwrap().rest(), 0);
        checkpoints.end();
        write_pages(&writer, CHECKPOINT_PAGES);
        checkpoints.count(LOOK_AFTER);
        checkpoints.tend(&writer).unwrap();
        assert_eq!(look(&writer).unwrap().rest(), 0);
    }
}
