//! The sender: takes what is due from the outbox, one mail at a time, and records what came of it. What is to
//! be verified is, meanwhile.
//!
//! Owns the order of composing, signing, delivering and recording. SMTP is never inside a transaction.

use super::delay::{SERVER, later};
use super::failure::note_failure;
use super::pace::Pace;
use super::verifying::{self, Verifying, deferred};
use crate::auth::dmarc::uri::ReportUri;
use crate::deliver::{Delivery, Signer, Smtp, Whose};
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::report::aggregate::{Format, mail};
use crate::report::bounce::return_path;
use crate::report::destination::PlainAddress;
use crate::site_key::SiteKey;
use crate::store::{Attempt, Failure, KeptReport, Noted, OutboxEntry, Reports, ReportsError, Turn};
use crate::time::{Clock, Timestamp};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// What of `identity`, `[report]` and `[delivery]` sending needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendSettings {
    /// The author of report mail, aligned with `report_domain`.
    pub from: PlainAddress,
    /// The domain of the return paths.
    pub report_domain: DomainName,
    pub max_destinations: usize,
    /// Mails a minute.
    pub rate: u32,
    pub retry_for: Duration,
}

/// Sends what is due. One a process: its pace is its own.
pub struct Sender<R> {
    settings: SendSettings,
    reports: Reports,
    key: SiteKey,
    smtp: Smtp,
    signer: Option<Signer>,
    resolver: Arc<R>,
    pace: Pace,
    /// The host that was last served: the next one's turn comes first.
    last_host: String,
    /// Failures of the server in a row, and until when it is left alone.
    server_failures: u32,
    paused_until: Option<Timestamp>,
    /// Beside the mail.
    verifying: Verifying,
    /// While an entry is in hand, or may be.
    turn: Option<Turn>,
    /// What the store could not take down: written before anything else is taken.
    unwritten: Option<Unwritten>,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    pub verified: u32,
    pub sent: u32,
    pub deferred: u32,
    pub refused: u32,
    pub expired: u32,
    /// The server is in trouble, and left alone for a while.
    pub paused: bool,
    /// When there will be something to do; `None`: nothing waits.
    pub again: Option<Timestamp>,
}

/// Why a round ended early. What was recorded stands.
#[derive(Debug)]
pub enum SendError {
    Store(ReportsError),
    /// A thread died: ours.
    Thread(String),
}

/// What came of an entry, on its way to the store.
#[derive(Clone)]
struct Unwritten {
    entry: OutboxEntry,
    attempt: Attempt,
    /// A permanent failure of the address, to be counted.
    failed: bool,
    at: Timestamp,
}

/// What is to be recorded about an entry.
struct Fate {
    attempt: Attempt,
    /// A permanent failure of the address, to be counted.
    failed: bool,
    /// The server is in trouble: nobody else is tried now.
    pause: bool,
}

impl<R: Resolver + 'static> Sender<R> {
    pub fn new(
        settings: SendSettings,
        reports: Reports,
        key: SiteKey,
        (smtp, signer): (Smtp, Option<Signer>),
        resolver: Arc<R>,
    ) -> Self {
        Self {
            pace: Pace::new(settings.rate),
            settings,
            reports,
            key,
            smtp,
            signer,
            resolver,
            last_host: String::new(),
            server_failures: 0,
            paused_until: None,
            verifying: Verifying::new(),
            turn: None,
            unwritten: None,
        }
    }

    /// Sends what is due and what the pace allows. Ends when there is nothing more to do at the moment.
    pub async fn round(&mut self, clock: &dyn Clock) -> Result<Round, SendError> {
        self.round_until(clock, &|| false).await
    }

    /// The same, ended after the mail in hand once `is_over`: its answer is not lost.
    pub async fn round_until(
        &mut self,
        clock: &dyn Clock,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<Round, SendError> {
        let mut round = Round::default();
        self.begin_turn(clock.now()).await?;
        let result = self.work(clock, is_over, &mut round).await;
        if self.unwritten.is_none() && self.verifying.is_empty() {
            self.turn = None;
        }
        if let Err(error) = result {
            self.close().await;
            return Err(error);
        }
        let waiting = self.blocking(|reports| reports.outbox_counts()).await?;
        let mut again = waiting.next_try;
        for bound in [Some(self.pace.ready()), self.paused_until] {
            again = again.map(|again| bound.map_or(again, |bound| again.max(bound)));
        }
        let now = clock.now();
        round.again = again;
        round.paused = self.paused_until.is_some_and(|until| until > now);
        // At a slow pace the next mail has its own round, and need not greet and log in again.
        let soon = again.is_some_and(|again| again <= later(now, IDLE));
        if !soon || is_over() {
            self.close().await;
        }
        Ok(round)
    }

    /// Says good-bye to the server. The next round greets it again.
    pub async fn close(&mut self) {
        self.smtp.close().await;
    }

    /// Takes over what another one could not finish: an answer that the store did not take down, and the
    /// right to what it has in hand. For a sender under new settings.
    pub fn take_over(&mut self, other: Self) {
        self.unwritten = other.unwritten;
        self.verifying = other.verifying;
        self.turn = other.turn;
    }

    /// From here on others know that entries may be in our hand. Those that were in the hand of the dead
    /// go again: the server may have taken such a mail, but whoever knew is gone.
    async fn begin_turn(&mut self, now: Timestamp) -> Result<(), SendError> {
        if self.turn.is_none() {
            let turn = self
                .blocking(move |reports| reports.begin_turn(now))
                .await?;
            if turn.taken_back > 0 {
                info!(
                    mails = turn.taken_back,
                    "in hand when alignd ended, and sent again"
                );
            }
            self.turn = Some(turn);
        }
        Ok(())
    }

    /// Sends and verifies what is due, until there is nothing to do or it `is_over`; then what is under way
    /// is finished.
    async fn work(
        &mut self,
        clock: &dyn Clock,
        is_over: &(dyn Fn() -> bool + Sync),
        round: &mut Round,
    ) -> Result<(), SendError> {
        if let Some(unwritten) = self.unwritten.clone() {
            self.write(unwritten).await?;
        }
        let mut patience = Duration::ZERO;
        loop {
            self.take_answers(clock, patience, round).await?;
            patience = Duration::ZERO;
            if !is_over() {
                self.ask_due(clock.now()).await?;
                if self.send_next(clock, round).await? {
                    continue;
                }
            }
            if self.verifying.is_empty() {
                return Ok(());
            }
            // Mail that becomes due meanwhile does not wait for all of it.
            patience = GLANCE;
        }
    }

    /// Has what is to be verified asked about, as much at a time as may be.
    async fn ask_due(&mut self, now: Timestamp) -> Result<(), SendError> {
        let room = self.verifying.room();
        if room == 0 {
            return Ok(());
        }
        let taken = self
            .blocking(move |reports| reports.take_unverified(room, now, LEASE))
            .await?;
        for entry in taken {
            let sources = (&self.reports, &self.resolver);
            self.verifying.ask(entry, &self.settings, sources, now);
        }
        Ok(())
    }

    /// Writes down what was answered by now.
    async fn take_answers(
        &mut self,
        clock: &dyn Clock,
        patience: Duration,
        round: &mut Round,
    ) -> Result<(), SendError> {
        let answered = self.verifying.answered(patience).await;
        let answered = answered.map_err(|error| SendError::Thread(error.to_string()))?;
        if answered.is_empty() {
            return Ok(());
        }
        let (settings, now) = (self.settings.clone(), clock.now());
        let written = self
            .blocking(move |reports| verifying::write(answered, &settings, reports, now))
            .await?;
        for (entry, attempt) in &written {
            round.count(attempt);
            tell(entry, attempt);
        }
        Ok(())
    }

    /// Sends one mail, if one is due and may go now. True: one was tried.
    async fn send_next(&mut self, clock: &dyn Clock, round: &mut Round) -> Result<bool, SendError> {
        let now = clock.now();
        if self.paused_until.is_some_and(|until| until > now) || self.pace.ready() > now {
            return Ok(false);
        }
        let host = self.last_host.clone();
        let taken = self
            .blocking(move |reports| reports.take_due(&host, 1, now, LEASE))
            .await?;
        let Some(entry) = taken.into_iter().next() else {
            return Ok(false);
        };
        self.last_host = host_of(&entry);
        let fate = match self.attempt(&entry, now).await {
            // One report's trouble is its own.
            Err(SendError::Store(error @ ReportsError::Damaged(_))) => {
                Fate::of(self.deferred(&entry, error.to_string(), now))
            }
            other => other?,
        };
        self.record(entry, fate, clock.now(), round).await?;
        Ok(true)
    }

    async fn attempt(&mut self, entry: &OutboxEntry, now: Timestamp) -> Result<Fate, SendError> {
        let number = entry.report;
        let report = self.blocking(move |reports| reports.find(number)).await?;
        let Some(report) = report else {
            return Ok(Fate::refused("the report is not kept any more".to_owned()));
        };
        self.send(entry, &report, now).await
    }

    async fn send(
        &mut self,
        entry: &OutboxEntry,
        report: &KeptReport,
        now: Timestamp,
    ) -> Result<Fate, SendError> {
        let address = entry.address.clone().unwrap_or_default();
        let Some(recipient) = PlainAddress::parse(&address) else {
            return Ok(Fate::refused(
                "not an address that mail is sent to".to_owned(),
            ));
        };
        let known = self
            .blocking(move |reports| reports.suppressed(&address, now))
            .await?;
        if let Some(suppression) = known {
            let until = suppression
                .until
                .map_or_else(String::new, |at| format!(" until {at}"));
            let (who, reason) = (suppression.who, suppression.reason);
            return Ok(Fate::refused(format!(
                "{who} is suppressed{until}: {reason}"
            )));
        }
        let mail = match self.compose(entry, report, &recipient, now).await? {
            Ok(mail) => mail,
            Err(fate) => return Ok(*fate),
        };
        let domain = &self.settings.report_domain;
        let unique = &report.head.id.unique;
        let Some(from) = return_path(entry.number, unique, &recipient, domain, &self.key) else {
            let answer = "identity.report_domain is too long for an address".to_owned();
            return Ok(Fate::of(self.deferred(entry, answer, now)));
        };
        self.pace.spend(now);
        let delivery = self.smtp.send(&from, &recipient, &mail).await;
        Ok(self.judge(delivery, entry, now))
    }

    /// The signed mail; or what becomes of an entry without one.
    async fn compose(
        &self,
        entry: &OutboxEntry,
        report: &KeptReport,
        recipient: &PlainAddress,
        now: Timestamp,
    ) -> Result<Result<Vec<u8>, Box<Fate>>, SendError> {
        let number = report.number;
        let gz = self
            .blocking(move |reports| {
                let mut gz = Vec::new();
                let mut nth = 0;
                while let Some(piece) = reports.piece(number, nth)? {
                    gz.extend_from_slice(&piece);
                    nth += 1;
                }
                Ok(gz)
            })
            .await?;
        // The time it was built: the same bytes at every try.
        let mail = mail::compose(
            &report.head,
            &self.settings.from,
            recipient,
            report.built,
            &gz,
        );
        drop(gz);
        if let Some(limit) = size_limit(entry, report.format)
            && mail.len() as u64 > limit
        {
            let size = mail.len();
            let answer = format!("{size} octets, more than the {limit} that its rua allows");
            return Ok(Err(Box::new(Fate::refused(answer))));
        }
        let Some(signer) = &self.signer else {
            return Ok(Ok(mail));
        };
        Ok(signer.sign(&mail).map_err(|error| {
            // A key that cannot sign is no reason to lose a report; it is told as the last answer.
            Box::new(Fate::of(self.deferred(entry, error.to_string(), now)))
        }))
    }

    fn judge(&self, delivery: Delivery, entry: &OutboxEntry, now: Timestamp) -> Fate {
        match delivery {
            Delivery::Sent { answer } => Fate::of(Attempt::Sent { answer }),
            Delivery::Refused { answer } => Fate {
                failed: true,
                ..Fate::refused(answer)
            },
            Delivery::Deferred {
                answer,
                whose: Whose::Recipient,
                ..
            } => Fate::of(self.deferred(entry, answer, now)),
            Delivery::Deferred {
                answer,
                whose: Whose::Server,
                maybe_sent,
            } => {
                let attempt = match self.deferred(entry, answer, now) {
                    // What may have arrived is not tried again at once.
                    Attempt::Deferred { answer, .. } if !maybe_sent => Attempt::Deferred {
                        next_try: SERVER.after(self.server_failures.saturating_add(1), now),
                        answer,
                    },
                    other => other,
                };
                Fate {
                    pause: true,
                    ..Fate::of(attempt)
                }
            }
        }
    }

    fn deferred(&self, entry: &OutboxEntry, answer: String, now: Timestamp) -> Attempt {
        deferred(entry, answer, &self.settings, now)
    }

    /// Writes down what came of a mail, and leaves the server alone for a while if it is in trouble.
    async fn record(
        &mut self,
        entry: OutboxEntry,
        fate: Fate,
        now: Timestamp,
        round: &mut Round,
    ) -> Result<(), SendError> {
        round.count(&fate.attempt);
        tell(&entry, &fate.attempt);
        let unwritten = Unwritten {
            entry,
            attempt: fate.attempt,
            failed: fate.failed,
            at: now,
        };
        if fate.pause {
            self.server_failures = self.server_failures.saturating_add(1);
            self.paused_until = Some(SERVER.after(self.server_failures, now));
        } else {
            self.server_failures = 0;
            self.paused_until = None;
        }
        self.write(unwritten).await
    }

    /// Err: kept, and written by the next round; the server's answer isn't lost for a full disk.
    async fn write(&mut self, unwritten: Unwritten) -> Result<(), SendError> {
        self.unwritten = Some(unwritten.clone());
        let noted = self
            .blocking(move |reports| unwritten.write(reports))
            .await?;
        self.unwritten = None;
        if let Some(Noted::Address(who) | Noted::Domain(who)) = noted {
            let domain = who.who.rsplit('@').next().unwrap_or_default();
            info!(
                domain,
                reason = who.reason,
                "suppressed: reports to it fail"
            );
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reports) -> Result<T, ReportsError> + Send + 'static,
    ) -> Result<T, SendError> {
        let reports = self.reports.clone();
        let done = tokio::task::spawn_blocking(move || work(&reports)).await;
        done.map_err(|error| SendError::Thread(error.to_string()))?
            .map_err(SendError::Store)
    }
}

impl Unwritten {
    fn write(self, reports: &Reports) -> Result<Option<Noted>, ReportsError> {
        reports.record_attempt(&self.entry, &self.attempt)?;
        match (&self.attempt, &self.entry.address) {
            (Attempt::Refused { answer }, Some(address)) if self.failed => {
                let failure = Failure {
                    address,
                    reason: answer,
                    returned: None,
                };
                note_failure(reports, failure, self.at).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Round {
    fn count(&mut self, attempt: &Attempt) {
        let count = match attempt {
            Attempt::Verified { .. } => &mut self.verified,
            Attempt::Sent { .. } => &mut self.sent,
            Attempt::Deferred { .. } => &mut self.deferred,
            Attempt::Refused { .. } => &mut self.refused,
            Attempt::Expired { .. } => &mut self.expired,
        };
        *count = count.saturating_add(1);
    }
}

impl Fate {
    fn of(attempt: Attempt) -> Self {
        Self {
            attempt,
            failed: false,
            pause: false,
        }
    }

    fn refused(answer: String) -> Self {
        Self::of(Attempt::Refused { answer })
    }
}

/// One line, and one count, for each attempt; the domain alone, never an address.
fn tell(entry: &OutboxEntry, attempt: &Attempt) {
    let (result, answer) = match attempt {
        Attempt::Verified { .. } => ("verified", ""),
        Attempt::Sent { answer } => ("sent", answer.as_str()),
        Attempt::Deferred { answer, .. } => ("deferred", answer.as_str()),
        Attempt::Refused { answer } => ("refused", answer.as_str()),
        Attempt::Expired { answer } => ("expired", answer.as_str()),
    };
    metrics::counter!("alignd_report_attempts_total", "result" => result).increment(1);
    let (report, domain) = (entry.report.0, host_of(entry));
    match attempt {
        Attempt::Expired { .. } => {
            warn!(
                report,
                domain, answer, "report not delivered: delivery.retry_for is over"
            );
        }
        Attempt::Verified { .. }
        | Attempt::Sent { .. }
        | Attempt::Deferred { .. }
        | Attempt::Refused { .. } => info!(report, domain, result, answer, "report mail"),
    }
}

/// The domain that an entry goes to, as the store orders them.
fn host_of(entry: &OutboxEntry) -> String {
    let address = entry.address.as_deref().unwrap_or_default();
    address
        .rsplit_once('@')
        .map_or("", |(_, host)| host)
        .to_owned()
}

/// RFC 9989 §4.8: "reporters should ignore the obs-dmarc-report-size"; RFC 7489 §6.3 honoured it.
fn size_limit(entry: &OutboxEntry, format: Format) -> Option<u64> {
    match format {
        Format::Rfc9990 => None,
        Format::Rfc7489 => ReportUri::parse(&entry.uri).ok()?.max_octets,
    }
}

impl<R> fmt::Debug for Sender<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Thread(problem) => write!(f, "sending stopped: {problem}"),
        }
    }
}

impl std::error::Error for SendError {}

/// Longer than one mail can take: five minutes for each command, ten for the content. Who dies with a mail
/// keeps nobody waiting for so long: see [`Turn`].
const LEASE: Duration = Duration::from_secs(60 * 60);
/// How long a connection is kept for the next mail. RFC 5321 §4.5.3.2.7 has servers wait for five minutes.
const IDLE: Duration = Duration::from_secs(60);
/// How long answers about destinations are waited for before it is looked whether mail is due.
const GLANCE: Duration = Duration::from_millis(100);
