//! What waits for the writer's thread: verdicts, confirmations, counts of skips, jobs. All bounded.
//!
//! Owns the hand-over between the handles, which never block, and the one thread that takes. Names
//! no SQL.

use crate::domain::DomainName;
use crate::outcome::Outcome;
use crate::store::change::{Change, ChangeError, Changed};
use crate::store::error::RecordError;
use crate::store::row::Row;
use crate::store::{CameBack, Skip, SkipReason, TakenBack};
use crate::time::{Timestamp, UtcDay};
use crate::verdict::VerdictId;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Verdicts that may wait for the disk; each belongs to a message in hand.
pub(super) const MAX_WAITING: usize = 4_096;
/// Confirmations that may wait: more than verdicts, since nobody waits for them.
pub(super) const MAX_CONFIRMATIONS: usize = 65_536;
/// Pairs of domains counted between two commits; beyond it only the sum is.
const MAX_PAIRS: usize = 4_096;
/// Verdicts in one transaction.
pub(super) const MAX_GROUP: usize = 1_024;
/// What nobody waits for rides on the next group of verdicts, or goes alone after this long.
const RIDE: Duration = Duration::from_millis(50);

/// The hand-over.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// A verdict and whoever waits for it.
pub(super) struct Recording {
    pub row: Row,
    pub done: oneshot::Sender<Result<(), RecordError>>,
}

/// Changes that belong together, and whoever waits for them.
pub(super) struct Changing {
    pub changes: Vec<Change>,
    pub done: oneshot::Sender<Result<Vec<Changed>, ChangeError>>,
}

/// A job of its own, done between groups.
pub(super) struct Expiry {
    pub now: Timestamp,
    pub done: oneshot::Sender<Result<u64, RecordError>>,
}

/// A verdict header to be used, and whoever waits for it.
pub(super) struct Returning {
    pub id: VerdictId,
    pub back: CameBack,
    pub done: oneshot::Sender<Result<TakenBack, RecordError>>,
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Batch {
    pub recordings: Vec<Recording>,
    pub confirmations: Vec<(VerdictId, Outcome)>,
    pub skips: Skips,
    pub changing: Vec<Changing>,
    pub returning: Vec<Returning>,
    pub expiries: Vec<Expiry>,
    /// Nothing will come after this.
    pub closed: bool,
}

/// Counts of messages passed over.
#[derive(Default)]
pub(super) struct Skips {
    pub sums: HashMap<(UtcDay, SkipReason), u64>,
    pub pairs: HashMap<(UtcDay, Option<DomainName>, DomainName), u64>,
}

#[derive(Default)]
struct Waiting {
    recordings: VecDeque<Recording>,
    confirmations: Vec<(VerdictId, Outcome)>,
    skips: Skips,
    changing: VecDeque<Changing>,
    returning: Vec<Returning>,
    expiries: Vec<Expiry>,
    closed: bool,
    /// When the first of what nobody waits for came.
    riding_since: Option<Instant>,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Hands a verdict over.
    pub fn record(&self, recording: Recording) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Closed);
        }
        if waiting.recordings.len() >= MAX_WAITING {
            return Err(RecordError::QueueFull);
        }
        waiting.recordings.push_back(recording);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes a verdict back that the writer has not taken yet.
    pub fn withdraw(&self, id: VerdictId) -> bool {
        let recordings = &mut self.lock().recordings;
        let before = recordings.len();
        recordings.retain(|recording| recording.row.verdict.id != id);
        recordings.len() < before
    }

    /// Hands a confirmation over; false when there is no room, or nobody to take it.
    pub fn confirm(&self, id: VerdictId, outcome: Outcome) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.confirmations.len() >= MAX_CONFIRMATIONS {
            return false;
        }
        waiting.confirmations.push((id, outcome));
        self.ride(waiting);
        true
    }

    /// Counts a message that was passed over.
    pub fn count_skip(&self, skip: Skip) {
        let mut waiting = self.lock();
        waiting.skips.add(skip);
        self.ride(waiting);
    }

    /// Hands changes over.
    pub fn change(&self, changing: Changing) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Closed);
        }
        if waiting.changing.len() >= MAX_CHANGING {
            return Err(RecordError::QueueFull);
        }
        waiting.changing.push_back(changing);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Hands a verdict header over.
    pub fn take_back(&self, returning: Returning) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Closed);
        }
        if waiting.returning.len() >= MAX_WAITING {
            return Err(RecordError::QueueFull);
        }
        waiting.returning.push(returning);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Hands a job over.
    pub fn expire(&self, expiry: Expiry) -> Result<(), RecordError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(RecordError::Closed);
        }
        if waiting.expiries.len() >= MAX_EXPIRIES {
            return Err(RecordError::QueueFull);
        }
        waiting.expiries.push(expiry);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Lets nothing more in; the writer takes what is there and ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do, and takes it: at most `MAX_GROUP` verdicts, everything
    /// else whole but for what is known already of verdicts that are left.
    pub fn take(&self) -> Batch {
        let mut waiting = self.lock();
        loop {
            let patience = match waiting.riding_since {
                _ if waiting.is_urgent() => break,
                None => None,
                Some(since) => match RIDE.checked_sub(since.elapsed()) {
                    None => break,
                    left => left,
                },
            };
            waiting = match patience {
                None => self
                    .wake
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.wake.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        drop(waiting);
        // Where the processor is busy, others have verdicts to hand over: in one group they share its fsync. Where
        // it isn't, this returns at once.
        std::thread::yield_now();
        self.take_now()
    }

    /// Takes what is there now, without waiting.
    pub fn take_now(&self) -> Batch {
        self.lock().take()
    }

    /// Gives back what could not be written and nobody waits for. It goes with the next group.
    pub fn give_back(&self, confirmations: Vec<(VerdictId, Outcome)>, skips: Skips) -> usize {
        let mut waiting = self.lock();
        let newer = std::mem::replace(&mut waiting.confirmations, confirmations);
        waiting.confirmations.extend(newer);
        let lost = waiting
            .confirmations
            .len()
            .saturating_sub(MAX_CONFIRMATIONS);
        waiting.confirmations.truncate(MAX_CONFIRMATIONS);
        waiting.skips.merge(skips);
        waiting.riding_since = Some(Instant::now());
        lost
    }

    fn ride(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.riding_since.is_none() {
            waiting.riding_since = Some(Instant::now());
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// No code that may panic runs under the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls with changes that may wait.
const MAX_CHANGING: usize = 1_024;

/// Of those, what goes between two groups of verdicts: each costs an fsync.
const CHANGING_AT_ONCE: usize = 4;

/// Expiries that may wait: one runs, one is asked for again.
const MAX_EXPIRIES: usize = 2;

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.closed
            || !self.recordings.is_empty()
            || !self.changing.is_empty()
            || !self.returning.is_empty()
            || !self.expiries.is_empty()
    }

    fn take(&mut self) -> Batch {
        self.riding_since = None;
        let group = self.recordings.len().min(MAX_GROUP);
        let changing = self.changing.len().min(CHANGING_AT_ONCE);
        let recordings: Vec<Recording> = self.recordings.drain(..group).collect();
        let confirmations = std::mem::take(&mut self.confirmations);
        // Of those that are not written yet nothing could be confirmed.
        let left = self.recordings.iter().map(|waiting| waiting.row.verdict.id);
        let left: HashSet<VerdictId> = left.collect();
        let (later, confirmations) = confirmations
            .into_iter()
            .partition(|(id, _)| left.contains(id));
        self.confirmations = later;
        Batch {
            recordings,
            confirmations,
            skips: std::mem::take(&mut self.skips),
            changing: self.changing.drain(..changing).collect(),
            returning: std::mem::take(&mut self.returning),
            expiries: std::mem::take(&mut self.expiries),
            closed: self.closed && self.recordings.is_empty() && self.changing.is_empty(),
        }
    }
}

impl Skips {
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    fn add(&mut self, skip: Skip) {
        let day = skip.at.day();
        let sum = self.sums.entry((day, skip.reason)).or_default();
        *sum = sum.saturating_add(1);
        if skip.reason != SkipReason::Authenticated {
            return;
        }
        for recipient in skip.recipient_domains {
            self.add_pair((day, skip.author_domain.clone(), recipient), 1);
        }
    }

    fn add_pair(&mut self, pair: (UtcDay, Option<DomainName>, DomainName), messages: u64) {
        if self.pairs.len() < MAX_PAIRS || self.pairs.contains_key(&pair) {
            let count = self.pairs.entry(pair).or_default();
            *count = count.saturating_add(messages);
        }
    }

    fn merge(&mut self, other: Self) {
        for (key, messages) in other.sums {
            let sum = self.sums.entry(key).or_default();
            *sum = sum.saturating_add(messages);
        }
        for (pair, messages) in other.pairs {
            self.add_pair(pair, messages);
        }
    }
}
