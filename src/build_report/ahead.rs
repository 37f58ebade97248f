//! Destinations, looked up ahead of the building: a thread of its own asks for many domains side by
//! side, while the reports of those before them are written.
//!
//! Owns the bounds of that. Answers come in the order of the domains, since rows do; a domain whose DNS
//! takes long holds up those behind it only when nothing else is left to do.

use super::{Asked, BuildError, Builder, Destinations, came_to};
use crate::report::period::Place;
use crate::store::{DaySummary, Destination};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::{Semaphore, mpsc};

/// The domains of a day that may get a report, and where those go.
pub(super) struct Lookups<'d> {
    /// Not asked for yet.
    rest: std::iter::Enumerate<std::slice::Iter<'d, DaySummary>>,
    /// All of the day's.
    domains: usize,
    asks: mpsc::Sender<Asked>,
    found: Receiver<Vec<Destination>>,
    /// Asked for and not handed out, in order; with the trouble there was in asking.
    awaited: VecDeque<Result<(), BuildError>>,
}

/// Does `work` while the destinations of `domains` are looked up. Ends when both have.
pub(super) fn looking_ahead<'d, D: Destinations, T>(
    builder: &Builder<'_, D>,
    domains: &'d [DaySummary],
    work: impl FnOnce(Lookups<'d>) -> T,
) -> T {
    let (asks, asked) = mpsc::channel(AHEAD);
    let (answers, found) = sync_channel(AHEAD);
    let (runtime, destinations) = (builder.runtime, builder.destinations);
    std::thread::scope(|scope| {
        scope.spawn(move || runtime.block_on(answer(destinations, asked, answers)));
        work(Lookups {
            rest: domains.iter().enumerate(),
            domains: domains.len(),
            asks,
            found,
            awaited: VecDeque::new(),
        })
    })
}

impl Lookups<'_> {
    /// Those of the next domain, if `came_to` says nothing against its report. Err: its record cannot be
    /// read, which is its own trouble; or ours.
    pub fn next<D>(&mut self, builder: &Builder<'_, D>) -> Result<Vec<Destination>, BuildError> {
        self.ask(builder)?;
        match self.awaited.pop_front() {
            Some(Ok(())) => self.found.recv().map_err(|_| ended()),
            Some(Err(error)) => Err(error),
            None => Ok(Vec::new()),
        }
    }

    /// Many at a time: what is kept for them would else lie between the writers' large buffers, and
    /// memory would come to pieces.
    fn ask<D>(&mut self, builder: &Builder<'_, D>) -> Result<(), BuildError> {
        if self.awaited.len() > AHEAD - AT_A_TIME {
            return Ok(());
        }
        while self.awaited.len() < AHEAD {
            let Some((nth, summary)) = self.rest.next() else {
                return Ok(());
            };
            if came_to(builder.settings, summary).is_some() {
                continue;
            }
            let record = builder.reader.last_record(summary);
            let awaited = match record {
                Ok(record) => {
                    let asked = Asked {
                        policy_domain: summary.policy_domain.clone(),
                        method: record.method,
                        record,
                        place: Place {
                            nth: nth as u64,
                            of: self.domains as u64,
                        },
                    };
                    self.asks.try_send(asked).map_err(|_| ended())?;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            self.awaited.push_back(awaited);
        }
        Ok(())
    }
}

/// Until nobody asks or listens any more.
async fn answer<D: Destinations>(
    destinations: &D,
    asked: mpsc::Receiver<Asked>,
    answers: SyncSender<Vec<Destination>>,
) {
    let places = Semaphore::new(AT_ONCE);
    let asked = stream::unfold(asked, |mut asked| async {
        let next = asked.recv().await?;
        Some((next, asked))
    });
    let found = asked.map(|asked| {
        let places = &places;
        async move {
            // Never closed.
            let _place = places.acquire().await;
            boxed(destinations, &asked).await
        }
    });
    let mut found = pin!(found.buffered(AHEAD));
    while let Some(found) = found.next().await {
        if answers.send(found).is_err() {
            return;
        }
    }
}

/// The look-ups of one domain, many octets: of thousands that wait for theirs, only those under way have
/// them. Not within the `async` block above, which would keep room for them from the start.
fn boxed<'a, D: Destinations>(
    destinations: &'a D,
    asked: &'a Asked,
) -> BoxFuture<'a, Vec<Destination>> {
    Box::pin(destinations.of(asked))
}

fn ended() -> BuildError {
    BuildError::Write(io::Error::other("the look-ups of destinations ended"))
}

/// Domains that are looked up side by side: a recursive resolver takes a thousand questions at a time and
/// more, and the milter's must find room.
const AT_ONCE: usize = 256;

/// Domains that are looked up before their turn. So many must get through while one of them waits for dead
/// servers to answer: some 2,000 a second for 4 s.
const AHEAD: usize = 8_000;

/// Asked for at a time.
const AT_A_TIME: usize = 1_000;
