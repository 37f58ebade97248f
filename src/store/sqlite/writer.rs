//! The writer: one thread that owns the only connection that writes verdicts.
//!
//! Owns group commit: what is there is committed at once, what comes meanwhile gathers for the next
//! group; nobody waits for a timer. Answers after the COMMIT, then tends the log (`checkpoint`). A group that
//! fails is rolled back whole; what nobody waits for goes back to the queue.

use crate::outcome::{IllegalMove, Outcome, OutcomeSource, OutcomeState};
use crate::store::StoreSettings;
use crate::store::change::ChangeError;
use crate::store::error::{OpenError, RecordError};
use crate::store::queue::{Batch, Changing, Queue, Recording, Skips};
use crate::store::sqlite::change::{self, Undone};
use crate::store::sqlite::checkpoint::{self, Checkpoints};
use crate::store::sqlite::expire::Expiring;
use crate::store::sqlite::migrate::VERDICTS;
use crate::store::sqlite::take_back::take_back;
use crate::store::sqlite::uses::Uses;
use crate::store::sqlite::write::{self, Confirmed, Dictionaries, PairsOfDay};
use crate::store::sqlite::{database_path, open_beside_writer, open_for_writing};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use nix::fcntl::Flock;
use rusqlite::{Connection, TransactionBehavior};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The connection and what belongs to it.
pub(in crate::store) struct Writer {
    connection: Connection,
    path: PathBuf,
    dictionaries: Dictionaries,
    pairs: PairsOfDay,
    keep: Duration,
    expiring: Option<Expiring>,
    /// Counts the changes of exceptions.
    exceptions: watch::Sender<u64>,
    checkpoints: Checkpoints,
    /// The last commit failed: said once.
    in_trouble: bool,
    /// Held as long as the connection.
    _lock: Flock<File>,
}

/// What goes with a group without anybody waiting for it.
#[derive(Default)]
struct Riders {
    confirmations: Vec<(VerdictId, Outcome)>,
    skips: Skips,
}

/// A transaction takes no further verdict after this long, so that it stays under 20 ms.
const LONGEST_GROUP: Duration = Duration::from_millis(12);

/// Runs the writer in a thread of its own, which sets the flag when everything is written.
pub(in crate::store) fn start(
    mut writer: Writer,
    queue: Arc<Queue>,
) -> Result<watch::Receiver<bool>, OpenError> {
    let (ended, ending) = watch::channel(false);
    std::thread::Builder::new()
        .name("alignd-store".to_owned())
        .spawn(move || {
            // Should the thread panic, nobody must wait for it.
            let closing = CloseOnDrop(&queue);
            writer.run(&queue);
            writer.close();
            drop(closing);
            _ = ended.send(true);
        })
        .map_err(OpenError::Thread)?;
    Ok(ending)
}

struct CloseOnDrop<'q>(&'q Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        loop {
            let batch = self.0.take_now();
            count_lost_confirmations(batch.confirmations.len());
            if batch.closed {
                return;
            }
        }
    }
}

/// Counts confirmations that will never be written.
pub(in crate::store) fn count_lost_confirmations(count: usize) {
    if count > 0 {
        metrics::counter!("alignd_store_confirmations_lost_total").increment(count as u64);
    }
}

impl Writer {
    /// Opens the file and brings it up to this version.
    pub fn open(settings: &StoreSettings, now: Timestamp) -> Result<Self, OpenError> {
        let path = database_path(&settings.path);
        let (mut connection, lock) = open_for_writing(&settings.path, settings.durability)?;
        VERDICTS.migrate(&mut connection, &path, VERDICTS.known(), now)?;
        // The name of a new file must outlive a crash of the machine, as its content does.
        File::open(&settings.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|e| OpenError::access(&settings.path, e))?;
        let beside = open_beside_writer(&path)?;
        let checkpoints = Checkpoints::start(beside).map_err(OpenError::Thread)?;
        Ok(Self {
            connection,
            path,
            dictionaries: Dictionaries::new(),
            pairs: PairsOfDay::default(),
            keep: settings.keep_messages,
            expiring: None,
            exceptions: watch::Sender::new(0),
            checkpoints,
            in_trouble: false,
            _lock: lock,
        })
    }

    /// Tells of changes of the exceptions.
    pub fn exceptions(&self) -> watch::Receiver<u64> {
        self.exceptions.subscribe()
    }

    /// Makes `unknown` what a crash left `answering`, and tells how many that were.
    pub fn doubt_unanswered(&mut self, now: Timestamp) -> Result<u64, OpenError> {
        let mut doubted = 0;
        let mut after = 0;
        loop {
            let ids = self
                .doubt_some(after, now)
                .map_err(|e| OpenError::database(&self.path, &e))?;
            match ids.last() {
                Some((last, _)) => after = *last,
                None => return Ok(doubted),
            }
            doubted += ids.len() as u64;
        }
    }

    fn doubt_some(
        &mut self,
        after: i64,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<(i64, VerdictId)>> {
        let transaction = begin(&mut self.connection)?;
        let ids = write::awaiting(&transaction, OutcomeState::Answering, after, 1_000)?;
        for (_, id) in &ids {
            let unknown = Outcome::new(OutcomeState::Unknown, now, OutcomeSource::Restart);
            write::confirm(&transaction, &mut self.dictionaries, *id, &unknown)?;
        }
        transaction.commit()?;
        Ok(ids)
    }

    fn run(&mut self, queue: &Queue) {
        loop {
            let mut batch = match self.expiring {
                Some(_) => queue.take_now(),
                None => queue.take(),
            };
            let closed = batch.closed;
            let written = 1 + batch.recordings.len() + batch.confirmations.len();
            self.checkpoints.count(written);
            let changing = std::mem::take(&mut batch.changing);
            let returning = std::mem::take(&mut batch.returning);
            for expiry in batch.expiries.drain(..) {
                Expiring::add(&mut self.expiring, expiry, self.keep);
            }
            if self.expiring.is_some() || !changing.is_empty() {
                self.checkpoints.look_soon();
            }
            self.write(batch, queue);
            // After the verdicts and confirmations that came before them.
            for changing in changing {
                self.change(changing);
            }
            // After the confirmations that came before them.
            take_back(
                &mut self.connection,
                &mut self.dictionaries,
                returning,
                &self.path,
            );
            if closed {
                return;
            }
            if let Err(error) = self.checkpoints.tend(&self.connection) {
                self.note_failure(&error);
            }
            self.expire_some();
        }
    }

    fn write(&mut self, batch: Batch, queue: &Queue) {
        let mut recordings = batch.recordings;
        let mut riders = Riders {
            confirmations: batch.confirmations,
            skips: batch.skips,
        };
        while !recordings.is_empty() || !riders.is_empty() {
            let started = Instant::now();
            match self.commit_group(&recordings, &riders) {
                Ok((written, refused)) => {
                    metrics::histogram!("alignd_store_commit_seconds").record(started.elapsed());
                    for recording in recordings.drain(..written) {
                        // Whoever waited may have gone.
                        _ = recording.done.send(Ok(()));
                    }
                    if recordings.is_empty() {
                        riders = Riders::default();
                    }
                    report_refused(&refused);
                    self.note_success();
                }
                Err(error) => {
                    self.note_failure(&error);
                    let group = std::mem::take(&mut recordings);
                    let riders = std::mem::take(&mut riders);
                    if is_everybodys(&error) {
                        refuse(group, &RecordError::new(&self.path, &error));
                        let lost = queue.give_back(riders.confirmations, riders.skips);
                        count_lost_confirmations(lost);
                    } else {
                        self.write_one_by_one(group, &riders);
                    }
                }
            }
        }
    }

    /// One verdict, or a rider, cannot be written: the others can.
    fn write_one_by_one(&mut self, group: Vec<Recording>, riders: &Riders) {
        for recording in group {
            let alone = std::slice::from_ref(&recording);
            let result = match self.commit_group(alone, &Riders::default()) {
                Ok(_) => Ok(()),
                Err(error) => Err(RecordError::new(&self.path, &error)),
            };
            _ = recording.done.send(result);
        }
        match self.commit_group(&[], riders) {
            Ok((_, refused)) => report_refused(&refused),
            Err(error) => {
                tracing::error!(%error, "confirmations could not be stored");
                count_lost_confirmations(riders.confirmations.len());
            }
        }
    }

    /// Writes as many verdicts as the time allows in one transaction, and with the last of them the riders: what
    /// they confirm may be among the others.
    fn commit_group(
        &mut self,
        recordings: &[Recording],
        riders: &Riders,
    ) -> rusqlite::Result<(usize, Refused)> {
        let written = self.try_group(recordings, riders);
        if written.is_err() {
            // SQLite has undone the transaction, or the drop of it has.
            self.dictionaries.forget();
            self.pairs.forget();
        }
        written
    }

    fn try_group(
        &mut self,
        recordings: &[Recording],
        riders: &Riders,
    ) -> rusqlite::Result<(usize, Refused)> {
        let started = Instant::now();
        let transaction = begin(&mut self.connection)?;
        let mut written = 0;
        let mut uses = Uses::default();
        for recording in recordings {
            if write::record(&transaction, &mut self.dictionaries, &recording.row)? {
                uses.count(&recording.row.verdict);
            }
            written += 1;
            if started.elapsed() > LONGEST_GROUP {
                break;
            }
        }
        uses.write(&transaction)?;
        let refused = match written == recordings.len() {
            true => riders.write(&transaction, &mut self.dictionaries, &mut self.pairs)?,
            false => Refused::new(),
        };
        transaction.commit()?;
        Ok((written, refused))
    }

    fn change(&mut self, changing: Changing) {
        let changed = change::change(
            &mut self.connection,
            &mut self.dictionaries,
            &changing.changes,
        );
        if changed.is_err() {
            self.dictionaries.forget();
        }
        let result = match changed {
            Ok(changed) => {
                self.note_success();
                if changed.iter().any(|changed| changed.is_of_exceptions()) {
                    self.exceptions
                        .send_modify(|count| *count = count.wrapping_add(1));
                }
                Ok(changed)
            }
            Err(Undone::Refused(refused)) => Err(refused),
            Err(Undone::Sqlite(error)) => {
                self.note_failure(&error);
                Err(ChangeError::Store(RecordError::new(&self.path, &error)))
            }
        };
        // Whoever waited may have gone.
        _ = changing.done.send(result);
    }

    fn note_failure(&mut self, error: &rusqlite::Error) {
        metrics::counter!("alignd_store_commit_failures_total").increment(1);
        if !self.in_trouble {
            let path = self.path.display();
            tracing::error!(%path, %error, "the store cannot be written; trying again with every message");
        }
        self.in_trouble = true;
    }

    fn note_success(&mut self) {
        if self.in_trouble {
            tracing::warn!(path = %self.path.display(), "the store can be written again");
        }
        self.in_trouble = false;
    }

    fn expire_some(&mut self) {
        let Some(expiring) = &mut self.expiring else {
            return;
        };
        match expiring.slice(&mut self.connection) {
            Ok(false) => {}
            Ok(true) => self.end_expiry(Ok(())),
            Err(error) => {
                let error = RecordError::new(&self.path, &error);
                self.end_expiry(Err(error));
            }
        }
    }

    fn end_expiry(&mut self, result: Result<(), RecordError>) {
        // Rows may be gone that the caches know.
        self.dictionaries.forget();
        self.pairs.forget();
        if let Some(expiring) = self.expiring.take() {
            expiring.end(result);
        }
    }

    /// Leaves one file, without a log, where no reader holds it.
    fn close(mut self) {
        self.end_expiry(Err(RecordError::Closed));
        self.checkpoints.end();
        if let Err(error) = checkpoint::empty(&self.connection) {
            tracing::warn!(path = %self.path.display(), %error, "the store's log could not be emptied");
        }
    }
}

/// Confirmations that would have been illegal moves.
type Refused = Vec<(VerdictId, IllegalMove)>;

impl Riders {
    fn is_empty(&self) -> bool {
        self.confirmations.is_empty() && self.skips.is_empty()
    }

    fn write(
        &self,
        c: &Connection,
        dictionaries: &mut Dictionaries,
        pairs: &mut PairsOfDay,
    ) -> rusqlite::Result<Refused> {
        let mut refused = Vec::new();
        for (id, outcome) in &self.confirmations {
            match write::confirm(c, dictionaries, *id, outcome)? {
                Confirmed::Moved | Confirmed::Unchanged | Confirmed::UnknownVerdict => {}
                Confirmed::Illegal(illegal) => refused.push((*id, illegal)),
            }
        }
        for ((day, reason), messages) in &self.skips.sums {
            write::add_skips(c, *day, *reason, *messages)?;
        }
        for ((day, author, recipient), messages) in &self.skips.pairs {
            write::add_skip_pair(c, pairs, (*day, author.as_ref(), recipient), *messages)?;
        }
        Ok(refused)
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn refuse(group: Vec<Recording>, error: &RecordError) {
    for recording in group {
        _ = recording.done.send(Err(error.clone()));
    }
}

fn report_refused(refused: &Refused) {
    for (id, illegal) in refused {
        metrics::counter!("alignd_store_illegal_moves_total").increment(1);
        tracing::warn!(verdict = %id, "{illegal}");
    }
}

/// Whether every write fails as this one did, now and for a while.
fn is_everybodys(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
        OutOfMemory, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(
            CannotOpen
                | DatabaseBusy
                | DatabaseCorrupt
                | DatabaseLocked
                | DiskFull
                | NotADatabase
                | OutOfMemory
                | ReadOnly
                | SystemIoFailure
        )
    )
}
