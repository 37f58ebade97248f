//! The loop over the hold queue: what lies there, what the store believes to lie there, and what follows.
//!
//! Owns the order and the bounds. The queue is listed first and the store read after it, so that what was held in
//! between is looked for once more, alone, before anything is made of it. A message that an operator is about to let
//! go is left to him. Every move is made once: a scan that is broken off, or repeated after a restart, changes
//! nothing. Touches no mail, and nobody waits for it.

use super::Follower;
use super::appeared::{Guest, recognise};
use super::hold_view::{HoldView, Listing};
use super::missing::{Found, Missing};
use super::moving::make_moves;
use crate::mta::{HelperError, MAX_FOUND, MtaKind, Place, QueueId};
use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::quarantine::{is_after, is_that};
use crate::store::{
    ChangeError, HeldCounts, HeldFilter, HeldIn, HeldMessage, MAX_CHANGES, OpenError, ReadError,
    Reader, Store,
};
use crate::time::{Clock, Timestamp};
use crate::verdict::VerdictId;
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::{info, warn};

/// Compares the hold queue with the store.
pub struct Reconciler<Q> {
    queue: Q,
    mta: MtaKind,
    store: Store,
    /// The directory of the store.
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    /// Microseconds.
    settle: i64,
    /// Up to when the mail log has told everything, where one is followed.
    heard: Option<watch::Receiver<Timestamp>>,
    /// How long the MTA took to list its queue.
    listed_in: Duration,
    missing: Missing,
    /// Held under an id whose mail seems to be younger, and ours by its header.
    proven: HashSet<VerdictId>,
    /// Another filter said that it holds them, and they lay here: if they hadn't, it has a quarantine of its own.
    told_here: HashSet<VerdictId>,
    /// Since the last start, or a look that failed, not all that was told was looked for.
    behind: bool,
    /// On hold, and none of ours.
    strangers: HashSet<QueueId>,
    /// Seen on hold in the last scan, and not held by the store.
    appeared: HashSet<VerdictId>,
    /// Until then the queue is looked at though nothing is held: mail may lie there that is in doubt.
    doubtful_until: Timestamp,
}

/// What one look at the queue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scanned {
    /// Mails in the hold queue, whosoever.
    pub listed: usize,
    /// Messages that were moved on.
    pub moved: u64,
}

/// One scan under way.
struct Scan {
    listing: Listing,
    /// Listed, and known to the store as held.
    claimed: HashSet<QueueId>,
    /// Messages that an operator is about to let go.
    intended: HashSet<VerdictId>,
    /// Up to when the mail log has told everything.
    heard: Timestamp,
    looks: u32,
    failures: u32,
    /// The first of these.
    problem: Option<HelperError>,
    scanned: Scanned,
}

type Moves = Vec<(VerdictId, Outcome)>;

impl<Q: HoldView> Reconciler<Q> {
    /// `directory` is the store's; `settle` is `outcome.settle`.
    pub fn new(
        queue: Q,
        mta: MtaKind,
        store: Store,
        directory: PathBuf,
        clock: Arc<dyn Clock>,
        settle: Duration,
    ) -> Self {
        let settle = i64::try_from(settle.as_micros()).unwrap_or(i64::MAX);
        let reconciler = Self {
            queue,
            mta,
            store,
            directory,
            clock,
            settle,
            heard: None,
            listed_in: Duration::ZERO,
            missing: Missing::new(settle),
            proven: HashSet::new(),
            told_here: HashSet::new(),
            behind: true,
            strangers: HashSet::new(),
            appeared: HashSet::new(),
            doubtful_until: Timestamp::from_micros(0),
        };
        // A crash left answers in doubt.
        match reconciler.store.unanswered_at_start() {
            0 => reconciler,
            _ => reconciler.looking_at_first(),
        }
    }

    /// Looks at first though nothing may be held: mail that is in doubt since the last run may lie there.
    pub fn looking_at_first(mut self) -> Self {
        let while_after = self.settle.saturating_add(AT_FIRST);
        self.doubtful_until = self.clock.now().plus_micros(while_after);
        self
    }

    /// What the mail log may tell still is waited for.
    pub fn listening_to(mut self, log: &Follower) -> Self {
        self.heard = Some(log.heard());
        self
    }

    /// Looks every `pace` until it is told to stop, and more seldom where the MTA's queue is so long that
    /// looking would keep it busy.
    pub async fn run(mut self, pace: Duration, mut stopped: watch::Receiver<bool>) {
        let mut in_trouble = false;
        loop {
            tokio::select! {
                looked = tokio::time::timeout(PATIENCE, self.turn()) => {
                    let looked = looked.unwrap_or(Err(ReconcileError::Slow));
                    tell(&mut in_trouble, looked);
                }
                _ = stopped.changed() => return,
            }
            let pause = self.listed_in.saturating_mul(SHARE).min(PATIENCE).max(pace);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// One look, if there is anything to look for; `None`: there isn't.
    pub async fn turn(&mut self) -> Result<Option<Scanned>, ReconcileError> {
        let counts = self.read(|reader| reader.held_counts()).await?;
        let now = self.clock.now();
        show(&counts, now);
        let young = now.plus_micros(self.settle.saturating_add(AT_FIRST).saturating_neg());
        let all_told = self.behind || !self.told_here.is_empty();
        let may_be_here = match all_told {
            true => counts.told > 0,
            false => counts.last_told.is_some_and(|told| told >= young),
        };
        if counts.messages == 0 && !may_be_here && self.doubtful_until <= now {
            self.missing.end_scan();
            self.proven.clear();
            self.told_here.clear();
            self.strangers.clear();
            self.appeared.clear();
            return Ok(None);
        }
        let place = match all_told {
            true => HeldIn::Anywhere,
            false => HeldIn::QueueOrToldSince(young),
        };
        self.behind = true;
        let scanned = self.scan(place).await?;
        self.behind = false;
        Ok(Some(scanned))
    }

    async fn scan(&mut self, place: HeldIn) -> Result<Scanned, ReconcileError> {
        let began = Instant::now();
        let listing = self.queue.list().await?;
        self.listed_in = began.elapsed();
        let intents = self.read(|reader| reader.intents()).await?;
        let mut scan = Scan {
            claimed: HashSet::new(),
            intended: intents.iter().map(|intent| intent.verdict).collect(),
            heard: self.heard(),
            looks: 0,
            failures: 0,
            problem: None,
            scanned: Scanned {
                listed: listing.len(),
                moved: 0,
            },
            listing,
        };
        let mut filter = HeldFilter {
            place,
            ..HeldFilter::default()
        };
        let (mut proven, mut told_here) = (HashSet::new(), HashSet::new());
        loop {
            let page = filter.clone();
            let page = self.read(move |reader| reader.held(&page)).await?;
            let Some(last) = page.last() else { break };
            filter.beyond = Some(last.id);
            self.compare(&page, &mut scan).await?;
            for message in &page {
                // A scan that is broken off forgets nothing.
                proven.extend(self.proven.get(&message.id));
                told_here.extend(self.told_here.get(&message.id));
            }
        }
        self.missing.end_scan();
        self.proven = proven;
        self.told_here = told_here;
        self.meet_guests(&mut scan).await?;
        match scan.problem {
            Some(problem) => Err(ReconcileError::Helper(problem)),
            None => Ok(scan.scanned),
        }
    }

    /// Some of the messages that the store believes to be held.
    async fn compare(
        &mut self,
        page: &[HeldMessage],
        scan: &mut Scan,
    ) -> Result<(), ReconcileError> {
        let mut seen = Vec::new();
        let mut absent = Vec::new();
        for message in page {
            let told = message.queue_id.as_deref().and_then(QueueId::parse);
            let Some(queue_id) = told.filter(|id| self.is_of_this_mta(id)) else {
                continue;
            };
            if scan.intended.contains(&message.id) {
                scan.claimed.insert(queue_id);
                continue;
            }
            let listed = scan.listing.get(&queue_id);
            let is_there = listed.is_some_and(|arrived| {
                !is_after(*arrived, message.received) || self.proven.contains(&message.id)
            });
            if is_there {
                if message.told {
                    self.told_here.insert(message.id);
                }
                scan.claimed.insert(queue_id);
                seen.push((message, Found::Held));
            } else if self.is_elsewhere(message)
                || !self.missing.is_due(message.id, self.clock.now())
            {
                continue;
            } else if listed.is_none() {
                absent.push((message, queue_id));
            } else if let Some(found) = self.look_at(message, queue_id, scan).await? {
                seen.push((message, found));
            }
        }
        self.look_for(absent, &mut seen).await?;
        let moves = self.conclude(seen, scan.heard);
        self.make(moves, scan).await
    }

    /// What follows from where they were found.
    fn conclude(&mut self, seen: Vec<(&HeldMessage, Found)>, heard: Timestamp) -> Moves {
        let mut moves = Moves::new();
        for (message, found) in seen {
            let (id, now) = (message.id, self.clock.now());
            let Some(gone) = self.missing.see(id, message.since, found, heard, now) else {
                continue;
            };
            if gone.state == OutcomeState::Unknown {
                let until = now.plus_micros(SECOND_THOUGHTS);
                self.doubtful_until = self.doubtful_until.max(until);
            }
            let mut outcome = Outcome::new(gone.state, now, OutcomeSource::Queue);
            outcome.detail = Some(gone.detail);
            moves.push((id, outcome));
        }
        moves
    }

    /// In a quarantine of the filter that said so.
    fn is_elsewhere(&self, message: &HeldMessage) -> bool {
        message.told && !self.told_here.contains(&message.id)
    }

    fn heard(&self) -> Timestamp {
        let heard = self.heard.as_ref();
        heard.map_or_else(|| self.clock.now(), |heard| *heard.borrow())
    }

    /// Under its queue id lies a mail that seems to be younger. `None`: that can't be told now.
    async fn look_at(
        &mut self,
        message: &HeldMessage,
        queue_id: QueueId,
        scan: &mut Scan,
    ) -> Result<Option<Found>, ReconcileError> {
        if !scan.may_look() {
            return Ok(None);
        }
        match self.is_that(&queue_id, message.id).await {
            Ok(true) => {
                self.proven.insert(message.id);
                scan.claimed.insert(queue_id);
                Ok(Some(Found::Held))
            }
            // Its id is another mail's by now.
            Ok(false) => Ok(Some(Found::Nowhere)),
            // It went just now: the next scan looks for it.
            Err(ReconcileError::Helper(HelperError::NotHeld(_))) => Ok(None),
            Err(error) => scan.forgive(error).map(|()| None),
        }
    }

    /// Where those are that aren't listed.
    async fn look_for<'m>(
        &self,
        absent: Vec<(&'m HeldMessage, QueueId)>,
        seen: &mut Vec<(&'m HeldMessage, Found)>,
    ) -> Result<(), ReconcileError> {
        for some in absent.chunks(MAX_FOUND) {
            let ids: Vec<QueueId> = some.iter().map(|(_, id)| id.clone()).collect();
            let places = self.queue.find(&ids).await?;
            for ((message, queue_id), place) in some.iter().zip(places) {
                let found = match place {
                    Place::Held => Found::Held,
                    Place::Gone => Found::Nowhere,
                    Place::Queued(queue) if self.is_the_last(message.id, queue_id).await? => {
                        Found::Queued(queue)
                    }
                    Place::Queued(_) => Found::Nowhere,
                };
                seen.push((message, found));
            }
        }
        Ok(())
    }

    /// Whether nobody has borne the queue id since.
    async fn is_the_last(&self, id: VerdictId, queue_id: &QueueId) -> Result<bool, ReconcileError> {
        let queue_id = queue_id.to_string();
        let newest = self.read(move |reader| reader.newest_with_queue_id(&queue_id));
        Ok(newest.await? == Some(id))
    }

    /// Mail on hold that the store doesn't know to be held.
    async fn meet_guests(&mut self, scan: &mut Scan) -> Result<(), ReconcileError> {
        self.strangers.retain(|id| scan.listing.contains_key(id));
        let guests = scan
            .listing
            .iter()
            .filter(|(id, _)| !scan.claimed.contains(*id) && !self.strangers.contains(*id));
        let guests: Vec<(QueueId, Timestamp)> = guests.map(|(id, at)| (id.clone(), *at)).collect();
        let (now, settle) = (self.clock.now(), self.settle);
        let recognised = self.read(move |reader| {
            let recognise = |(id, arrived): (QueueId, Timestamp)| {
                let bearers = reader.bearers(id.as_str())?;
                Ok((id, recognise(arrived, bearers.first(), now, settle)))
            };
            guests
                .into_iter()
                .map(recognise)
                .collect::<Result<Vec<_>, _>>()
        });
        let recognised = recognised.await?;
        let before = std::mem::take(&mut self.appeared);
        let mut moves = Moves::new();
        for (queue_id, guest) in recognised {
            match guest {
                Guest::Later => {}
                Guest::Stranger => _ = self.strangers.insert(queue_id),
                Guest::Perhaps(id) => {
                    self.appeared.insert(id);
                    if !before.contains(&id) || !scan.may_look() {
                        continue;
                    }
                    match self.is_that(&queue_id, id).await {
                        Ok(true) => moves.push((id, self.held_after_all())),
                        Ok(false) => _ = self.strangers.insert(queue_id),
                        Err(ReconcileError::Helper(HelperError::NotHeld(_))) => {}
                        Err(error) => scan.forgive(error)?,
                    }
                }
            }
        }
        self.make(moves, scan).await
    }

    fn held_after_all(&self) -> Outcome {
        Outcome::new(OutcomeState::Held, self.clock.now(), OutcomeSource::Queue)
    }

    /// Whether the mail on hold under this id is the message of this verdict, by its header.
    async fn is_that(
        &self,
        queue_id: &QueueId,
        verdict: VerdictId,
    ) -> Result<bool, ReconcileError> {
        let shown = self.queue.header(queue_id).await?;
        let stored = self.read(move |reader| reader.find(verdict)).await?;
        Ok(stored.is_some_and(|stored| {
            let message_id = stored.verdict.message.message_id.as_deref();
            is_that(&shown.octets, verdict, message_id)
        }))
    }

    fn is_of_this_mta(&self, id: &QueueId) -> bool {
        match self.mta {
            MtaKind::Postfix => id.is_postfix(),
            MtaKind::Sendmail => id.is_sendmail(),
        }
    }

    async fn make(&self, moves: Moves, scan: &mut Scan) -> Result<(), ReconcileError> {
        for some in moves.chunks(MAX_CHANGES) {
            let made = make_moves(&self.store, some, told).await;
            let made = made.map_err(ReconcileError::Change)?;
            scan.scanned.moved = scan.scanned.moved.saturating_add(made);
        }
        Ok(())
    }

    /// Reads the store in a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReconcileError> {
        let directory = self.directory.clone();
        let reading = move || {
            let reader = Reader::open(&directory)?;
            Ok(read(&reader)?)
        };
        tokio::task::spawn_blocking(reading).await?
    }
}

impl Scan {
    /// Counts a look at one mail's header, while there are any left.
    fn may_look(&mut self) -> bool {
        self.looks = self.looks.saturating_add(1);
        self.looks <= MAX_LOOKS
    }

    /// What the MTA could not do for one mail is no reason not to look at the others, unless it is all of them.
    fn forgive(&mut self, error: ReconcileError) -> Result<(), ReconcileError> {
        match error {
            ReconcileError::Helper(error @ HelperError::Failed(_))
                if self.failures < MAX_FAILURES =>
            {
                self.failures = self.failures.saturating_add(1);
                self.problem.get_or_insert(error);
                Ok(())
            }
            error => Err(error),
        }
    }
}

fn show(counts: &HeldCounts, now: Timestamp) {
    let age = |since: Timestamp| now.micros().saturating_sub(since.micros()).max(0);
    let oldest = counts.since.map_or(0, age);
    metrics::gauge!("alignd_held_messages").set(counts.messages as f64);
    metrics::gauge!("alignd_held_oldest_seconds").set(oldest as f64 / 1e6);
}

fn told(verdict: VerdictId, outcome: &Outcome) {
    let state = outcome.state.as_str();
    metrics::counter!("alignd_hold_queue_moves_total", "outcome" => state).increment(1);
    let detail = outcome.detail.as_deref().unwrap_or_default();
    info!(%verdict, outcome = state, detail, "the hold queue tells what became of a message");
}

/// Says what is wrong when it begins, and when it is over.
fn tell(in_trouble: &mut bool, looked: Result<Option<Scanned>, ReconcileError>) {
    match looked {
        Err(problem) => {
            metrics::counter!("alignd_hold_queue_errors_total").increment(1);
            if !*in_trouble {
                warn!(
                    %problem,
                    "the hold queue cannot be looked at, so nobody sees what is let go there by hand; trying again"
                );
            }
            *in_trouble = true;
        }
        Ok(Some(_)) if *in_trouble => {
            info!("the hold queue can be looked at again");
            *in_trouble = false;
        }
        // Nothing was held, so nobody was asked.
        Ok(None | Some(_)) => {}
    }
}

/// Why a look came to nothing, or not to its end. The next one makes up for it.
#[derive(Debug)]
pub enum ReconcileError {
    /// The operator must act, or the MTA is busy.
    Helper(HelperError),
    Open(OpenError),
    Read(ReadError),
    /// The store doesn't take it: later.
    Change(ChangeError),
    /// It took too long.
    Slow,
    /// A fault of ours.
    Ended,
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Change(error) => error.fmt(f),
            Self::Slow => write!(
                f,
                "alignd mta-helper took more than {} s to tell what lies in the hold queue",
                PATIENCE.as_secs()
            ),
            Self::Ended => f.write_str("a step of it ended by itself"),
        }
    }
}

impl std::error::Error for ReconcileError {}

impl From<HelperError> for ReconcileError {
    fn from(error: HelperError) -> Self {
        Self::Helper(error)
    }
}

impl From<OpenError> for ReconcileError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<ReadError> for ReconcileError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<JoinError> for ReconcileError {
    fn from(_: JoinError) -> Self {
        Self::Ended
    }
}

/// Looks at the headers of single mails in one scan.
const MAX_LOOKS: u32 = 100;
/// Mails that the MTA can tell nothing about, in one scan.
const MAX_FAILURES: u32 = 10;
/// Of the time between two scans at most one part in so many is the MTA's, for listing its queue.
const SHARE: u32 = 10;
/// For one scan, and between two of them.
const PATIENCE: Duration = Duration::from_secs(300);
/// Microseconds after `outcome.settle` in which what was in doubt at the start is looked for, and what another
/// filter said to be held: it may have done so in our hold queue.
const AT_FIRST: i64 = 300_000_000;
/// Microseconds in which mail that seemed to be gone may be seen again: the queue may have been another
/// MTA's, or not been there for a while.
const SECOND_THOUGHTS: i64 = 3_600_000_000;
