//! `Store`, the writer's handle: what entrances call.
//!
//! Owns opening and closing, the wait for the disk, and the projection of a verdict before it is
//! queued. The SQL runs in the writer's thread (`sqlite::writer`).

use crate::outcome::Outcome;
use crate::store::change::{Change, ChangeError, Changed, MAX_CHANGES};
use crate::store::error::{OpenError, RecordError};
use crate::store::queue::{Changing, Expiry, Queue, Recording, Returning};
use crate::store::redact::without_local_parts;
use crate::store::row::Row;
use crate::store::sqlite::writer::{self, Writer};
use crate::store::{CameBack, Skip, StoreSettings, TakenBack};
use crate::time::Timestamp;
use crate::verdict::{Verdict, VerdictId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The store, for whoever writes to it. Clones share one writer. When the last clone goes, what was
/// handed over is written and the store closed; [`Store::close`] also waits for that.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    queue: Arc<Queue>,
    /// Set when the writer's thread has ended.
    ended: watch::Receiver<bool>,
    exceptions: watch::Receiver<u64>,
    wait: Duration,
    local_parts: bool,
    unanswered_at_start: u64,
}

impl Store {
    /// Opens the store, for this process alone: creates it or brings it up to this version's schema,
    /// and marks what a crash left `answering` as `unknown`.
    pub fn open(settings: &StoreSettings, now: Timestamp) -> Result<Self, OpenError> {
        let mut writer = Writer::open(settings, now)?;
        let unanswered_at_start = writer.doubt_unanswered(now)?;
        let queue = Arc::new(Queue::new());
        let exceptions = writer.exceptions();
        let ended = writer::start(writer, Arc::clone(&queue))?;
        Ok(Self(Arc::new(Handle {
            queue,
            ended,
            exceptions,
            wait: settings.wait,
            local_parts: settings.local_parts,
            unanswered_at_start,
        })))
    }

    /// Verdicts that a crash had left `answering`, and that opening made `unknown`.
    pub fn unanswered_at_start(&self) -> u64 {
        self.0.unanswered_at_start
    }

    /// Records a verdict, as `answering`. `Ok` means that it is on the disk and will be there after a
    /// crash, of the machine too when the durability is full. Recording the same id again changes
    /// nothing and is `Ok`. Waits at most `store.wait`; after [`RecordError::Late`] the verdict may
    /// be stored nevertheless, so the answer given instead is worth confirming too.
    pub async fn record(&self, verdict: Arc<Verdict>) -> Result<(), RecordError> {
        let id = verdict.id;
        let kept = if self.0.local_parts {
            verdict
        } else {
            Arc::new(without_local_parts(Arc::unwrap_or_clone(verdict)))
        };
        let (done, answer) = oneshot::channel();
        let row = Row::of(kept);
        self.0.queue.record(Recording { row, done })?;
        match tokio::time::timeout(self.0.wait, answer).await {
            Ok(Ok(result)) => result,
            // The writer's thread is gone, and the verdict with it.
            Ok(Err(_)) => Err(RecordError::Closed),
            Err(_) => {
                self.0.queue.withdraw(id);
                Err(RecordError::Late)
            }
        }
    }

    /// Says what became of a recorded message. Not waited for: it is written with the next group of
    /// verdicts, or alone within 50 ms. If it cannot be (a full disk for so long that more than 65,536
    /// wait, a crash), the verdict stays `answering` and the next start makes it `unknown`, which is
    /// never reported; `alignd_store_confirmations_lost_total` counts those. A move that
    /// `OutcomeState::check_move` refuses changes nothing; it is logged and counted.
    pub fn confirm(&self, id: VerdictId, outcome: Outcome) {
        if !self.0.queue.confirm(id, outcome) {
            writer::count_lost_confirmations(1);
        }
    }

    /// Changes outcomes and exceptions: all of it in one transaction, or nothing. `Ok` means that it is on
    /// the disk; there is one answer for each change, in order. What was so before is no error, and the
    /// rest is done: a call that was interrupted can be repeated. Seen by it is what was recorded and
    /// confirmed before. Waits at most `store.wait`.
    pub async fn change(&self, changes: Vec<Change>) -> Result<Vec<Changed>, ChangeError> {
        if changes.len() > MAX_CHANGES {
            return Err(ChangeError::TooMany);
        }
        let (done, answer) = oneshot::channel();
        let handed_over = self.0.queue.change(Changing { changes, done });
        handed_over.map_err(ChangeError::Store)?;
        match tokio::time::timeout(self.0.wait, answer).await {
            Ok(Ok(result)) => result,
            // The writer's thread is gone, and the changes with it.
            Ok(Err(_)) => Err(ChangeError::Store(RecordError::Closed)),
            Err(_) => Err(ChangeError::Store(RecordError::Late)),
        }
    }

    /// Tells of every change of the exceptions, once it is on the disk, by counting up. Whoever decides by
    /// them then reads them anew.
    pub fn exceptions_changed(&self) -> watch::Receiver<u64> {
        self.0.exceptions.clone()
    }

    /// Counts a message that was passed over. Written like a confirmation; a crash may lose the
    /// counts of the last 50 ms.
    pub fn count_skip(&self, skip: Skip) {
        self.0.queue.count_skip(skip);
    }

    /// Uses the verdict header of a message that came back. Every header can be used once: of several at
    /// the same time exactly one is [`TakenBack::Taken`], and that is on the disk. A message that was held,
    /// or of which nobody knows, is then released (`OutcomeSource::Reinjected`); for one that is known to
    /// have left the hold queue, or to have been accepted, it is noted. Waits at most `store.wait`; after
    /// [`RecordError::Late`] the header may be used up nevertheless.
    pub async fn take_back(&self, id: VerdictId, back: CameBack) -> Result<TakenBack, RecordError> {
        let (done, answer) = oneshot::channel();
        self.0.queue.take_back(Returning { id, back, done })?;
        match tokio::time::timeout(self.0.wait, answer).await {
            Ok(answer) => answer.unwrap_or(Err(RecordError::Closed)),
            Err(_) => Err(RecordError::Late),
        }
    }

    /// Deletes the verdicts that are older than `store.keep_messages` at `now`, in slices between the
    /// groups, and tells how many they were. Keeps those whose outcome is awaited from elsewhere than
    /// the reply (held mail), and for as long again those that were released.
    pub async fn expire(&self, now: Timestamp) -> Result<u64, RecordError> {
        let (done, answer) = oneshot::channel();
        self.0.queue.expire(Expiry { now, done })?;
        answer.await.unwrap_or(Err(RecordError::Closed))
    }

    /// Writes what was handed over, then closes the store for all its handles.
    pub async fn close(self) {
        self.0.queue.close();
        let mut ended = self.0.ended.clone();
        // An error means that the thread is gone: ended, too.
        _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
