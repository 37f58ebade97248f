//! Deletes held mail whose time is over, round after round.
//!
//! Owns the pace and what is told of it. Which mail goes, and how, is `quarantine`'s.

use super::digest::Holding;
use crate::quarantine::{Expired, Quarantine, Queue, Resting};
use crate::time::{Clock, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// The handles that deleting takes.
pub struct Expiring<Q> {
    pub settings: watch::Receiver<Arc<Holding>>,
    pub quarantine: Arc<Quarantine<Q>>,
    pub clock: Arc<dyn Clock>,
    /// How often it looks; [`super::TURN`] but in tests.
    pub turn: Duration,
    pub pause: ExpiryPause,
}

/// What it waits for, where something keeps it from going on.
#[derive(Debug, Default)]
pub struct ExpiryPause {
    failures: u32,
    until: Option<Timestamp>,
    /// What was last logged as being wrong.
    told: Option<String>,
    resting: Resting,
}

impl<Q: Queue> Expiring<Q> {
    /// Deletes what may be until `stopped` turns true; the message in hand then is finished.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let watched = stopped.clone();
            let round = self.round_until(&|| *watched.borrow()).await;
            if round.more {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(self.turn) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One round, unless there is a pause. What goes wrong is logged, once.
    pub async fn round(&mut self) -> Expired {
        self.round_until(&|| false).await
    }

    async fn round_until(&mut self, is_over: &(dyn Fn() -> bool + Sync)) -> Expired {
        let settings = self.settings.borrow_and_update().clone();
        // Where nobody is told, nothing is deleted.
        let terms = settings.digest.as_ref().map(|digest| &digest.terms);
        let Some(after) = terms.and_then(|terms| terms.expire_after) else {
            return Expired::default();
        };
        let now = self.clock.now();
        if self.pause.until.is_some_and(|until| now < until) {
            return Expired::default();
        }
        let resting = &mut self.pause.resting;
        let round = self.quarantine.expire(after, resting, is_over).await;
        self.note(&round);
        round
    }

    fn note(&mut self, round: &Expired) {
        metrics::counter!("alignd_quarantine_expired_total").increment(round.deleted.into());
        if round.deleted > 0 {
            info!(
                deleted = round.deleted,
                "held mail deleted: quarantine.expire_after is over"
            );
        }
        let Some(problem) = &round.stopped_by else {
            self.pause.failures = 0;
            self.pause.until = None;
            self.pause.told = None;
            return;
        };
        let doublings = self.pause.failures.min(10);
        self.pause.failures = self.pause.failures.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LAST_PAUSE);
        self.pause.until = Some(self.clock.now().plus_micros(pause));
        let told = problem.to_string();
        if self.pause.told.as_ref() != Some(&told) {
            warn!(
                problem = told,
                "held mail whose time is over can't be deleted now; trying again"
            );
            self.pause.told = Some(told);
        }
    }
}

const MINUTE: i64 = 60_000_000;
/// Until the second try, in microseconds, and between later ones.
const FIRST_PAUSE: i64 = MINUTE;
const LAST_PAUSE: i64 = 30 * MINUTE;
