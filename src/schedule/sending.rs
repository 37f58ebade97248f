//! The half of the loop that sends: the outbox, while the send window is open.
//!
//! Owns when a round is made, and the way out: opened with the settings, anew when they change. What a
//! round does, its pace and its second tries are `send_report`'s.

use super::Reporting;
use crate::deliver::{DeliverySettings, Signer, SignerError, Smtp, SmtpError, Timeouts};
use crate::dns::Resolver;
use crate::key_file::{self, KeyError};
use crate::send_report::{Round, SendSettings, Sender};
use crate::store::Reports;
use crate::time::{Clock, Timestamp};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, warn};

/// What of the settings the way out needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOut {
    pub send: SendSettings,
    pub delivery: DeliverySettings,
    /// `identity.site_key`
    pub site_key: PathBuf,
    /// Our name in EHLO.
    pub host_name: String,
}

/// Why nothing can be sent. The operator must act.
#[derive(Debug)]
pub enum WayOutError {
    Smtp(SmtpError),
    Signer(SignerError),
    Key(KeyError),
}

/// The handles that sending takes.
pub struct Sending<R> {
    /// `None`: reports are off.
    pub settings: watch::Receiver<Option<Arc<Reporting>>>,
    pub reports: Reports,
    pub resolver: Arc<R>,
    pub clock: Arc<dyn Clock>,
    /// How often it looks at least; [`super::TURN`] but in tests.
    pub turn: Duration,
    pub opened: Opened<R>,
}

/// The way out as it was opened last.
pub struct Opened<R> {
    /// Under these settings.
    of: Option<WayOut>,
    sender: Option<Sender<R>>,
    /// It could be; else `sender` is the last one, which holds what it could not finish.
    works: bool,
}

impl<R> Default for Opened<R> {
    fn default() -> Self {
        Self {
            of: None,
            sender: None,
            works: false,
        }
    }
}

impl WayOut {
    /// Opens it. Blocks for some files.
    pub fn open<R: Resolver + 'static>(
        &self,
        reports: Reports,
        resolver: Arc<R>,
    ) -> Result<Sender<R>, WayOutError> {
        let smtp = Smtp::open(&self.delivery, &self.host_name, Timeouts::default());
        let signer = match (&self.delivery.dkim_key_file, &self.delivery.dkim_selector) {
            (Some(file), Some(selector)) => {
                Some(Signer::open(file, &self.send.report_domain, selector)?)
            }
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        let key = key_file::open_or_make(&self.site_key)?;
        Ok(Sender::new(
            self.send.clone(),
            reports,
            key,
            (smtp?, signer),
            resolver,
        ))
    }
}

impl<R: Resolver + 'static> Sending<R> {
    /// Sends what is due until `stopped` turns true; a mail under way then is finished. Who doesn't wait
    /// for that may have it arrive twice, with the same Report-ID.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let watched = stopped.clone();
            let again = self.send_until(&|| *watched.borrow()).await.again;
            let pause = self.pause(again);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.changed() => break,
            }
        }
        self.close().await;
    }

    /// Sends what is due now, if the window is open. What goes wrong is logged.
    pub async fn send_due(&mut self) -> Round {
        self.send_until(&|| false).await
    }

    async fn send_until(&mut self, is_over: &(dyn Fn() -> bool + Sync)) -> Round {
        let settings = self.settings.borrow_and_update().clone();
        let now = self.clock.now();
        let open = settings.and_then(|settings| {
            let window = settings.schedule.opening(now);
            window.contains(now).then_some((settings, window))
        });
        let Some((settings, window)) = open else {
            self.close().await;
            return Round::default();
        };
        self.open(&settings.way_out).await;
        let Some(sender) = self.opened.sender.as_mut().filter(|_| self.opened.works) else {
            return Round::default();
        };
        // What doesn't fit goes on in the next window, or under the new settings.
        let ends = || {
            is_over()
                || !window.contains(self.clock.now())
                || self.settings.has_changed().unwrap_or(false)
        };
        match sender.round_until(&*self.clock, &ends).await {
            Ok(round) => round,
            Err(error) => {
                warn!(%error, "reports cannot be sent now; trying again");
                Round::default()
            }
        }
    }

    /// Opens the way out under new settings. What is wrong with them is told once.
    async fn open(&mut self, way_out: &WayOut) {
        let tried = self.opened.of.as_ref() == Some(way_out);
        if tried && self.opened.works {
            return;
        }
        self.close().await;
        let opened = way_out.open(self.reports.clone(), self.resolver.clone());
        self.opened.works = opened.is_ok();
        match opened {
            Ok(mut sender) => {
                if let Some(last) = self.opened.sender.take() {
                    sender.take_over(last);
                }
                self.opened.sender = Some(sender);
            }
            Err(problem) if !tried => error!(%problem, "reports cannot be sent"),
            Err(_) => {}
        }
        self.opened.of = Some(way_out.clone());
    }

    /// Keeps no connection that is not going to be used soon.
    async fn close(&mut self) {
        if let Some(sender) = &mut self.opened.sender {
            sender.close().await;
        }
    }

    /// Until there is something to do, a turn at most.
    fn pause(&self, again: Option<Timestamp>) -> Duration {
        let now = self.clock.now();
        let micros = again.map(|again| again.micros().saturating_sub(now.micros()));
        let pause = micros.map(|micros| Duration::from_micros(micros.try_into().unwrap_or(0)));
        pause.map_or(self.turn, |pause| {
            pause.clamp(BREATH.min(self.turn), self.turn)
        })
    }
}

impl From<SmtpError> for WayOutError {
    fn from(error: SmtpError) -> Self {
        Self::Smtp(error)
    }
}

impl From<SignerError> for WayOutError {
    fn from(error: SignerError) -> Self {
        Self::Signer(error)
    }
}

impl From<KeyError> for WayOutError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl fmt::Display for WayOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(error) => error.fmt(f),
            Self::Signer(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
        }
    }
}

/// Between two rounds, whatever they say.
const BREATH: Duration = Duration::from_millis(100);
