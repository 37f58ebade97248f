//! Numbers about reports for whoever watches: what waits, since when, and which days are not built yet.
//!
//! Owns three gauges and how often they are set. What went well or wrong is counted where it happens.

use super::Reporting;
use crate::store::{OutboxCounts, OutboxState, Reports, ReportsError};
use crate::time::{Clock, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::debug;

/// The handles that setting them takes.
pub struct Gauges {
    /// `None`: reports are off, and no day is due.
    pub settings: watch::Receiver<Option<Arc<Reporting>>>,
    pub reports: Reports,
    pub clock: Arc<dyn Clock>,
}

/// What they show.
struct Shown {
    counts: OutboxCounts,
    /// Days that could be built, had the window been open or somebody built them.
    days_due: usize,
    /// Microseconds since the oldest report that waits was built.
    oldest: i64,
}

impl Gauges {
    /// Sets them until `stopped` turns true.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => self.set().await,
                _ = stopped.changed() => return,
            }
        }
    }

    async fn set(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        let (reports, now) = (self.reports.clone(), self.clock.now());
        let looked = tokio::task::spawn_blocking(move || look(&reports, settings.as_deref(), now));
        match looked.await {
            Ok(Ok(shown)) => shown.show(),
            // Whoever builds and sends has the same trouble, and says so.
            Ok(Err(error)) => debug!(%error, "gauges stay as they were"),
            Err(error) => debug!(%error, "gauges stay as they were"),
        }
    }
}

fn look(
    reports: &Reports,
    settings: Option<&Reporting>,
    now: Timestamp,
) -> Result<Shown, ReportsError> {
    let open = match settings {
        Some(_) => reports.open_days()?,
        None => Vec::new(),
    };
    let is_due = |settings: &Reporting| {
        let due = open
            .iter()
            .filter(|(day, _)| settings.schedule.due(*day) <= now);
        due.count()
    };
    let oldest = reports.oldest_waiting()?;
    Ok(Shown {
        counts: reports.outbox_counts()?,
        days_due: settings.map_or(0, is_due),
        oldest: oldest.map_or(0, |built| {
            now.micros().saturating_sub(built.micros()).max(0)
        }),
    })
}

impl Shown {
    fn show(&self) {
        let counts = &self.counts;
        for (state, count) in [
            (OutboxState::ToVerify, counts.to_verify),
            (OutboxState::Queued, counts.queued),
            (OutboxState::Refused, counts.refused),
            (OutboxState::Expired, counts.expired),
        ] {
            metrics::gauge!("alignd_outbox_entries", "state" => state.as_str()).set(count as f64);
        }
        metrics::gauge!("alignd_report_days_due").set(self.days_due as f64);
        metrics::gauge!("alignd_report_oldest_waiting_seconds").set(self.oldest as f64 / 1e6);
    }
}

/// How often they are set.
const TURN: Duration = Duration::from_secs(10);
