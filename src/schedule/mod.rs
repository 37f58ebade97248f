//! The clock's entrance: asks again and again what is due, and has it built and sent.
//!
//! Owns the loop and its order: the oldest day first, each at most once in a window unless something
//! failed, and never outside of one. Time comes from the `Clock`: a jump of it does no harm, since what is
//! done is in the store. Settings are read anew at every turn. RFC 9990 is `report`'s, the steps are
//! `build_report`'s and `send_report`'s.
//!
//! - `destinations`: whom a report goes to, and when · `sending`: the loop's other half · `gauges`: how it
//!   stands
//! - `digest`: the daily mail about what is held · `expiry`: what of it that announced is deleted

mod destinations;
mod digest;
mod expiry;
mod gauges;
mod sending;

pub use destinations::{LiveDestinations, Notes};
pub use digest::{Course, DigestSettings, DigestTurn, Digests, Holding};
pub use expiry::{Expiring, ExpiryPause};
pub use gauges::Gauges;
pub use sending::{Opened, Sending, WayOut, WayOutError};

use crate::build_report::{BuildError, BuildSettings, Builder, Built, look};
use crate::dns::Resolver;
use crate::report::period::{Readiness, SendSchedule};
use crate::send_report::Asker;
use crate::store::{OpenError, Reader, Reports};
use crate::time::{Clock, Period, Timestamp, UtcDay};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{info, warn};

/// What of the settings reporting needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporting {
    pub schedule: SendSchedule,
    pub build: BuildSettings,
    /// `report.max_destinations`
    pub max_destinations: usize,
    pub way_out: WayOut,
}

/// The handles that building takes.
pub struct Scheduler<R> {
    /// `None`: reports are off.
    pub settings: watch::Receiver<Option<Arc<Reporting>>>,
    pub resolver: Arc<R>,
    pub reports: Reports,
    /// `store.path`, where alignd.db is.
    pub store: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// How often it looks; [`TURN`] but in tests.
    pub turn: Duration,
    /// Days that are left alone for a while.
    pub resting: Resting,
}

/// Days that were built, or could not be, each with the time in which it is not tried again.
#[derive(Debug, Default)]
pub struct Resting(HashMap<UtcDay, Period>);

/// Why the days that are due cannot be told or built. Later is soon enough.
#[derive(Debug)]
pub enum ScheduleError {
    Open(OpenError),
    Build(BuildError),
    /// The thread that built panicked: ours.
    Ended(String),
}

impl<R: Resolver + 'static> Scheduler<R> {
    /// Builds what is due until `stopped` turns true. A build that is under way then is left: it is
    /// taken up again by whoever runs next.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut turns = tokio::time::interval(self.turn);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                _ = stopped.changed() => return,
            }
            tokio::select! {
                _ = self.build_due() => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// Builds the days that are due now, the oldest first. What goes wrong is logged.
    pub async fn build_due(&mut self) -> Built {
        let mut total = Built::default();
        let Some(settings) = self.settings.borrow_and_update().clone() else {
            return total;
        };
        let now = self.clock.now();
        let days = match self.days_with_news(now).await {
            Ok(days) => days,
            // Nothing was judged yet.
            Err(ScheduleError::Open(OpenError::Missing(_))) => return total,
            Err(error) => {
                warn!(%error, "what is due to be reported cannot be told; trying again");
                return total;
            }
        };
        for day in days {
            let now = self.clock.now();
            let Readiness::Ready { window } = settings.schedule.readiness(day, now) else {
                continue;
            };
            if self.resting.holds(day, now) {
                continue;
            }
            let built = self.build(day, window, settings.clone()).await;
            self.resting.note(day, now, window, &built);
            match built {
                Ok(built) => {
                    log(day, &built);
                    add(&mut total, &built);
                }
                Err(error) => warn!(%day, %error, "reports cannot be built now; trying again"),
            }
        }
        total
    }

    /// The days that have something new to report, the oldest first.
    async fn days_with_news(&self, now: Timestamp) -> Result<Vec<UtcDay>, ScheduleError> {
        let (store, reports) = (self.store.clone(), self.reports.clone());
        apart(move || {
            let reader = Reader::open(&store)?;
            look(&reader, &reports, now.day())?;
            let days = reports.open_days().map_err(BuildError::from)?;
            Ok(days.into_iter().map(|(day, _)| day).collect())
        })
        .await
    }

    async fn build(
        &self,
        day: UtcDay,
        window: Period,
        settings: Arc<Reporting>,
    ) -> Result<Built, ScheduleError> {
        let (store, reports) = (self.store.clone(), self.reports.clone());
        let (resolver, clock) = (self.resolver.clone(), self.clock.clone());
        let runtime = Handle::current();
        apart(move || {
            let reader = Reader::open(&store)?;
            let builder = Builder {
                settings: &settings.build,
                reader: &reader,
                reports: &reports,
                destinations: &LiveDestinations {
                    resolver: &resolver,
                    reports: &reports,
                    asker: Asker {
                        report_domain: &settings.build.reporter.domain,
                        max_destinations: settings.max_destinations,
                        now: clock.now(),
                    },
                    day,
                    window,
                    notes: Notes::default(),
                },
                runtime: &runtime,
                clock: &*clock,
            };
            Ok(builder.build_day(day, |_| {})?)
        })
        .await
    }
}

impl Resting {
    fn holds(&self, day: UtcDay, now: Timestamp) -> bool {
        self.0.get(&day).is_some_and(|rest| rest.contains(now))
    }

    /// A day that is done with waits for the next window: what comes late makes one supplement, not one
    /// at every turn. Where something failed, it is soon tried again.
    fn note(
        &mut self,
        day: UtcDay,
        now: Timestamp,
        window: Period,
        built: &Result<Built, ScheduleError>,
    ) {
        self.0.retain(|_, rest| rest.contains(now));
        let done = matches!(built, Ok(built) if built.failed == 0 && built.elsewhere == 0);
        let end = match done {
            true => window.end,
            false => now.plus_micros(TRY_AGAIN),
        };
        self.0.insert(day, Period { begin: now, end });
    }
}

/// Runs what blocks on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ScheduleError> + Send + 'static,
) -> Result<T, ScheduleError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| ScheduleError::Ended(error.to_string()))?
}

fn log(day: UtcDay, built: &Built) {
    info!(
        %day,
        domains = built.domains,
        reports = built.reports,
        messages = built.messages,
        left_out = built.left_out,
        dropped = built.dropped,
        elsewhere = built.elsewhere,
        failed = built.failed,
        "reports of a day built"
    );
}

fn add(total: &mut Built, built: &Built) {
    total.domains += built.domains;
    total.reports += built.reports;
    total.rows += built.rows;
    total.messages += built.messages;
    total.left_out += built.left_out;
    total.dropped += built.dropped;
    total.elsewhere += built.elsewhere;
    total.failed += built.failed;
}

/// How often the loop looks.
pub const TURN: Duration = Duration::from_secs(30);
/// Microseconds until a day that could not be built is tried again.
const TRY_AGAIN: i64 = 10 * 60 * 1_000_000;

impl From<OpenError> for ScheduleError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<BuildError> for ScheduleError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
            Self::Ended(problem) => write!(f, "building ended by itself: {problem}"),
        }
    }
}
