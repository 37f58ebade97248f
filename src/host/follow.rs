//! The loop over the mail log: lines → events → moves of outcomes, durable before the place is.
//!
//! Owns the order: what was found is in the store before the place moves on, so that a crash between the two reads
//! lines again, which changes nothing. A log that cannot be read is told once, and tried again.

use super::log_file::LogFile;
use super::log_move::{Conclusion, conclude, meant};
use super::moving::make_moves;
use super::place::{LogPlace, PlaceError};
use super::{LogSource, journal, local_time};
use crate::mta::QueueId;
use crate::mta::log::{self, LogEvent, LogLine};
use crate::outcome::Outcome;
use crate::store::{Bearer, ChangeError, MAX_CHANGES, OpenError, ReadError, Reader, Store};
use crate::time::{Clock, Timestamp};
use crate::verdict::VerdictId;
use chrono_tz::Tz;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tracing::{debug, info, warn};

/// Follows the mail log of this host.
pub struct Follower {
    store: Store,
    clock: Arc<dyn Clock>,
    turn: Duration,
    heard: watch::Sender<Timestamp>,
    /// `None` only while a step is under way.
    reading: Option<Reading>,
}

/// What one look at the log came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followed {
    pub lines: u64,
    /// Messages that were moved on.
    pub moved: u64,
    /// A line waits for whoever did it to say so first.
    pub waits: bool,
}

/// How often it is looked at in the daemon. A journal costs a process for each look.
pub const TURN: Duration = Duration::from_secs(2);

impl Follower {
    /// Goes on at the place kept in `directory`, the store's.
    pub fn open(
        source: &LogSource,
        directory: &Path,
        zone: Tz,
        store: Store,
        clock: Arc<dyn Clock>,
        turn: Duration,
    ) -> Result<Self, PlaceError> {
        let log = match source {
            LogSource::File(path) => Log::File(LogFile::new(path)),
            LogSource::Journal => Log::Journal,
        };
        let reading = Reading {
            log,
            place: LogPlace::open(directory, source)?,
            directory: directory.to_owned(),
            zone,
            reader: None,
            waiting_since: None,
        };
        Ok(Self {
            store,
            clock,
            turn,
            heard: watch::Sender::new(Timestamp::from_micros(0)),
            reading: Some(reading),
        })
    }

    /// Up to when everything that the log told has been taken into the store, from now on.
    pub fn heard(&self) -> watch::Receiver<Timestamp> {
        self.heard.subscribe()
    }

    /// Until it is told to stop.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut trouble = None;
        loop {
            let now = self.clock.now();
            tell(&mut trouble, self.catch_up().await.err());
            self.measure(now);
            tokio::select! {
                () = tokio::time::sleep(self.turn) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// Reads everything that is there.
    pub async fn catch_up(&mut self) -> Result<Followed, FollowError> {
        let mut all = Followed::default();
        loop {
            let now = self.clock.now();
            let gathered = self.blocking(move |reading| reading.gather(now)).await?;
            all.lines = all.lines.saturating_add(gathered.lines);
            all.waits = gathered.waits;
            let moved = make_moves(&self.store, &gathered.moves, told).await;
            all.moved = all
                .moved
                .saturating_add(moved.map_err(FollowError::Change)?);
            let (at_end, lines) = (gathered.at_end, gathered.lines);
            let keep = move |reading: &mut Reading| reading.keep(gathered, now);
            self.blocking(keep).await?;
            if at_end {
                self.heard.send_replace(now);
            }
            if at_end || all.waits {
                return Ok(all);
            }
            debug!(lines, "lines of the mail log were read");
        }
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reading) -> Result<T, FollowError> + Send + 'static,
    ) -> Result<T, FollowError> {
        let Some(mut reading) = self.reading.take() else {
            return Err(FollowError::Ended);
        };
        let work = move || {
            let result = work(&mut reading);
            (reading, result)
        };
        let (reading, result) = tokio::task::spawn_blocking(work).await?;
        self.reading = Some(reading);
        result
    }

    /// How far behind the log it is.
    fn measure(&self, now: Timestamp) {
        let caught_up = self.reading.as_ref().and_then(|r| r.place.caught_up());
        let behind = caught_up.map_or(0, |at| now.micros().saturating_sub(at.micros()));
        metrics::gauge!("alignd_mail_log_lag_seconds").set(behind.max(0) as f64 / 1e6);
    }
}

fn told(verdict: VerdictId, outcome: &Outcome) {
    let state = outcome.state.as_str();
    metrics::counter!("alignd_mail_log_moves_total", "outcome" => state).increment(1);
    let detail = outcome.detail.as_deref().unwrap_or_default();
    info!(%verdict, outcome = state, detail, "the mail log tells what became of a message");
}

/// Says what is wrong when it begins, and when it is over.
fn tell(trouble: &mut Option<String>, problem: Option<FollowError>) {
    let problem = problem.map(|problem| problem.to_string());
    match &problem {
        Some(text) => {
            metrics::counter!("alignd_mail_log_errors_total").increment(1);
            if trouble.as_ref() != Some(text) {
                warn!(
                    problem = text,
                    "the mail log cannot be followed; trying again"
                );
            }
        }
        None if trouble.is_some() => info!("the mail log is followed again"),
        None => {}
    }
    *trouble = problem;
}

/// The reading half, which blocks.
struct Reading {
    log: Log,
    place: LogPlace,
    directory: PathBuf,
    zone: Tz,
    reader: Option<Reader>,
    /// Since when the line at the place waits.
    waiting_since: Option<Timestamp>,
}

enum Log {
    File(LogFile),
    Journal,
}

/// A place behind a line.
#[derive(Debug, Clone)]
enum Behind {
    Offset(u64),
    Cursor(String),
}

/// What some lines came to.
#[derive(Debug, Default)]
struct Gathered {
    moves: Vec<(VerdictId, Outcome)>,
    /// Mail that was put in again, by its new id.
    resubmitted: Vec<(QueueId, VerdictId, Timestamp)>,
    lines: u64,
    behind: Option<Behind>,
    last: Option<Timestamp>,
    at_end: bool,
    waits: bool,
}

impl Reading {
    fn gather(&mut self, now: Timestamp) -> Result<Gathered, FollowError> {
        let (lines, at_end) = self.lines()?;
        let mut known = HashMap::new();
        let mut gathered = Gathered::default();
        for (line, behind) in lines {
            let event = line.as_deref().and_then(log::parse);
            if let Some(event) = event
                && !self.take(&event, &mut known, &mut gathered, now)?
            {
                gathered.waits = true;
                return Ok(gathered);
            }
            gathered.lines += 1;
            gathered.behind = Some(behind);
            if gathered.moves.len() == MAX_CHANGES {
                return Ok(gathered);
            }
        }
        gathered.at_end = at_end;
        Ok(gathered)
    }

    /// Whether it is done with.
    fn take(
        &mut self,
        line: &LogLine,
        known: &mut HashMap<VerdictId, Bearer>,
        gathered: &mut Gathered,
        now: Timestamp,
    ) -> Result<bool, FollowError> {
        let at = self.point(line, now);
        gathered.last = Some(at);
        if let LogEvent::Resubmitted { from } = &line.event {
            let bearers = self.bearers(from, known, gathered)?;
            if let Some(bearer) = meant(at, &bearers) {
                let again = (line.queue_id.clone(), bearer.id, at);
                gathered.resubmitted.push(again);
            }
            return Ok(true);
        }
        let bearers = self.bearers(&line.queue_id, known, gathered)?;
        // Its stamp may be of another clock: one that waits here ages all the same.
        let waiting = self.waiting_since.filter(|_| gathered.lines == 0);
        let since = waiting.unwrap_or(at).min(at);
        let age = now.micros().saturating_sub(since.micros());
        match conclude(&line.event, at, &bearers, age) {
            Conclusion::Nothing => {}
            Conclusion::Wait => return Ok(false),
            Conclusion::Move(bearer, outcome) => {
                let moved = Bearer {
                    state: outcome.state,
                    since: outcome.at,
                    ..bearer
                };
                known.insert(bearer.id, moved);
                gathered.moves.push((bearer.id, outcome));
            }
        }
        Ok(true)
    }

    fn point(&self, line: &LogLine, now: Timestamp) -> Timestamp {
        let offset = |at| local_time::offset(self.zone, at);
        // By the offset of now, then by the one of then.
        let near = line.stamp.near(now, offset(now));
        line.stamp.near(now, offset(near)).min(now)
    }

    /// Who bears the id, as they stand after the moves found so far.
    fn bearers(
        &mut self,
        id: &QueueId,
        known: &HashMap<VerdictId, Bearer>,
        gathered: &Gathered,
    ) -> Result<Vec<Bearer>, FollowError> {
        if self.reader.is_none() {
            self.reader = Some(Reader::open(&self.directory)?);
        }
        let Some(reader) = &self.reader else {
            return Ok(Vec::new());
        };
        let mut bearers = reader.bearers(id.as_str())?;
        let now = gathered
            .resubmitted
            .iter()
            .rev()
            .find(|(new, ..)| new == id);
        let again = now.map(|(_, verdict, at)| (*verdict, *at));
        if let Some((verdict, at)) = again.or_else(|| self.place.known_as(id)) {
            let again = reader.bearer(verdict)?;
            // Under this id it is as old as the id.
            bearers.extend(again.map(|bearer| Bearer {
                received: at,
                ..bearer
            }));
            bearers.sort_by_key(|bearer| std::cmp::Reverse(bearer.received));
        }
        for bearer in &mut bearers {
            if let Some(moved) = known.get(&bearer.id) {
                (bearer.state, bearer.since) = (moved.state, moved.since);
            }
        }
        Ok(bearers)
    }

    fn lines(&mut self) -> Result<(Lines, bool), FollowError> {
        match &mut self.log {
            Log::File(file) => {
                let read = file.read(&mut self.place.file);
                let read = read.map_err(FollowError::Log)?;
                let lines = read.lines.into_iter();
                let lines = lines.map(|(line, end)| (Some(line), Behind::Offset(end)));
                Ok((lines.collect(), read.at_end))
            }
            Log::Journal => {
                let program = OsStr::new(JOURNALCTL);
                let entries = journal::read(program, self.place.cursor.as_deref());
                let entries = entries.map_err(FollowError::Log)?;
                let at_end = entries.is_empty();
                let lines = entries.into_iter();
                let lines = lines.map(|entry| (entry.line, Behind::Cursor(entry.cursor)));
                Ok((lines.collect(), at_end))
            }
        }
    }

    /// Moves the place on: what was gathered is in the store.
    fn keep(&mut self, gathered: Gathered, now: Timestamp) -> Result<(), FollowError> {
        let moves_on = gathered.behind.is_some();
        match (gathered.behind, &self.log) {
            (Some(Behind::Offset(end)), Log::File(file)) => {
                let done = file.done(&mut self.place.file, end);
                done.map_err(FollowError::Log)?;
            }
            (Some(Behind::Cursor(cursor)), _) => self.place.cursor = Some(cursor),
            (Some(Behind::Offset(_)), Log::Journal) | (None, _) => {}
        }
        for (id, verdict, at) in gathered.resubmitted {
            self.place.resubmitted(&id, verdict, at);
        }
        if let Some(last) = gathered.last {
            self.place.was_read_until(last);
        }
        self.waiting_since = match (gathered.waits, self.waiting_since) {
            (false, _) => None,
            (true, Some(since)) if !moves_on => Some(since),
            (true, _) => Some(now),
        };
        let kept = self.place.caught_up();
        if gathered.at_end {
            let stale = kept.is_none_or(|at| at.plus_micros(REFRESH) <= now);
            if !moves_on && !stale {
                return Ok(());
            }
            self.place.has_caught_up(now);
        } else if !moves_on {
            return Ok(());
        }
        Ok(self.place.keep(&self.directory)?)
    }
}

type Lines = Vec<(Option<String>, Behind)>;

/// Why it goes no further for now.
#[derive(Debug)]
pub enum FollowError {
    /// The log cannot be read. The operator must act.
    Log(io::Error),
    Place(PlaceError),
    Open(OpenError),
    Read(ReadError),
    /// The store doesn't take it: later.
    Change(ChangeError),
    /// A fault of ours.
    Ended,
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(
                f,
                "outcome.log: {error}; the user alignd runs as must be able to read it"
            ),
            Self::Place(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Change(error) => error.fmt(f),
            Self::Ended => f.write_str("a step of it ended by itself"),
        }
    }
}

impl std::error::Error for FollowError {}

impl From<PlaceError> for FollowError {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

impl From<OpenError> for FollowError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<ReadError> for FollowError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<JoinError> for FollowError {
    fn from(_: JoinError) -> Self {
        Self::Ended
    }
}

const JOURNALCTL: &str = "/usr/bin/journalctl";

/// A place that doesn't move is written this often, in microseconds, so that `status` sees that it is kept.
const REFRESH: i64 = 60 * 1_000_000;
