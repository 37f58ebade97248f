//! The half of the loop that sends: the outbox, while the send window is open.
//!
//! Owns when a round is made. What a round does, its pace and its second tries are `send_report`'s.

use super::Reporting;
use crate::dns::Resolver;
use crate::send_report::{Round, Sender};
use crate::time::{Clock, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

/// The handles that sending takes.
pub struct Sending<R> {
    /// `None`: reports are off.
    pub settings: watch::Receiver<Option<Arc<Reporting>>>,
    pub sender: Sender<R>,
    pub clock: Arc<dyn Clock>,
    /// How often it looks at least; [`super::TURN`] but in tests.
    pub turn: Duration,
}

impl<R: Resolver + 'static> Sending<R> {
    /// Sends what is due until `stopped` turns true. A mail under way then may arrive twice, with the
    /// same Report-ID.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let again = tokio::select! {
                round = self.send_due() => round.again,
                _ = stopped.changed() => return,
            };
            let pause = self.pause(again);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// Sends what is due now, if the window is open. What goes wrong is logged.
    pub async fn send_due(&mut self) -> Round {
        let Some(settings) = self.settings.borrow_and_update().clone() else {
            return Round::default();
        };
        let now = self.clock.now();
        if !settings.schedule.opening(now).contains(now) {
            return Round::default();
        }
        match self.sender.round(&*self.clock).await {
            Ok(round) => round,
            Err(error) => {
                warn!(%error, "reports cannot be sent now; trying again");
                Round::default()
            }
        }
    }

    /// Until there is something to do, a turn at most.
    fn pause(&self, again: Option<Timestamp>) -> Duration {
        let now = self.clock.now();
        let micros = again.map(|again| again.micros().saturating_sub(now.micros()));
        let pause = micros.map(|micros| Duration::from_micros(micros.try_into().unwrap_or(0)));
        pause.map_or(self.turn, |pause| pause.clamp(BREATH, self.turn))
    }
}

/// Between two rounds, whatever they say.
const BREATH: Duration = Duration::from_millis(100);
