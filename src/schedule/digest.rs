//! The daily digest of what is held: when it is due, its second tries, and its way out.
//!
//! Owns that loop. A digest is due at `quarantine.notify_at` and may be sent up to `LATE` later: after a downtime, or
//! when the mail server wouldn't take it. That it took one, and what that announced, is written down at once; a crash
//! between the two sends the same digest again, under the same Message-ID, rather than none. What it says is
//! `digest`'s, where that comes from `quarantine`'s.

use super::sending::WayOutError;
use crate::deliver::{Delivery, DeliverySettings, Signer, Smtp, Timeouts};
use crate::digest::{Digest, Letter, Purpose, compose};
use crate::domain::DomainName;
use crate::quarantine::{DigestTerms, Gathered, QuarantineError, gather};
use crate::report::destination::PlainAddress;
use crate::report::period::TimeOfDay;
use crate::store::{
    Change, ChangeError, DigestMark, HeldFilter, MAX_CHANGES, OpenError, Reader, Store,
};
use crate::time::{Clock, Timestamp};
use crate::verdict::VerdictId;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// What of the settings held mail needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// `None`: nobody is told, so nothing is deleted.
    pub digest: Option<DigestSettings>,
}

/// What of the settings the digest needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestSettings {
    /// `quarantine.notify`
    pub to: PlainAddress,
    pub from: PlainAddress,
    /// `quarantine.notify_at`
    pub at: TimeOfDay,
    pub terms: DigestTerms,
    pub delivery: DeliverySettings,
    /// In whose name it is signed, if there is a key; `None`: it isn't.
    pub signed_by: Option<DomainName>,
    /// Our name in EHLO.
    pub host_name: String,
}

/// The handles that digests take.
pub struct Digests {
    pub settings: watch::Receiver<Arc<Holding>>,
    pub store: Store,
    /// The directory of the store, for readers.
    pub directory: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// How often it looks; [`super::TURN`] but in tests.
    pub turn: Duration,
    pub course: Course,
}

/// How far the digest that is due is.
#[derive(Debug, Default)]
pub struct Course {
    /// This one is done with.
    settled: Option<Timestamp>,
    /// What is still to be written down of one that was sent.
    unwritten: VecDeque<Change>,
    /// How often the one that is due was tried in vain.
    failures: u32,
    next_try: Option<Timestamp>,
    /// What was last logged as being wrong.
    told: Option<String>,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestTurn {
    /// It isn't time, or there is nobody to be told.
    NotDue,
    /// Nothing is held, and the last digest said so or had nothing to say either.
    NothingToSay,
    Sent,
    /// It is tried again.
    Failed,
}

/// Why there is no digest now.
enum Trouble {
    Held(QuarantineError),
    WayOut(WayOutError),
    Refused(String),
    Deferred(String),
    Store(ChangeError),
    /// The thread that read panicked: ours.
    Ended(String),
}

impl DigestSettings {
    /// Hands one over to the mail server. `key` tells it from others.
    pub async fn send(&self, digest: &Digest, key: String) -> Result<Delivery, WayOutError> {
        let letter = Letter {
            from: self.from.clone(),
            to: self.to.clone(),
            key,
        };
        let mut mail = compose(digest, &letter);
        let mut smtp = Smtp::open(&self.delivery, &self.host_name, Timeouts::default())?;
        if let (Some(domain), Some(file), Some(selector)) = (
            &self.signed_by,
            &self.delivery.dkim_key_file,
            &self.delivery.dkim_selector,
        ) {
            mail = Signer::open(file, domain, selector)?.sign(&mail)?;
        }
        let delivery = smtp.send(&self.from, &self.to, &mail).await;
        smtp.close().await;
        Ok(delivery)
    }
}

impl Digests {
    /// Sends each digest when it is due, until `stopped` turns true; a mail under way then is finished.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            self.turn().await;
            tokio::select! {
                () = tokio::time::sleep(self.turn) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Sends the digest if it is due now. What goes wrong is logged, once.
    pub async fn turn(&mut self) -> DigestTurn {
        match self.try_turn().await {
            Ok(turn) => {
                if turn != DigestTurn::NotDue {
                    self.course.begin_anew();
                }
                turn
            }
            // Nothing was judged yet.
            Err(Trouble::Held(QuarantineError::Open(OpenError::Missing(_)))) => DigestTurn::NotDue,
            Err(trouble) => {
                self.fail(&trouble);
                DigestTurn::Failed
            }
        }
    }

    async fn try_turn(&mut self) -> Result<DigestTurn, Trouble> {
        self.write_down().await?;
        let holding = self.settings.borrow_and_update().clone();
        let terms = holding.digest.as_ref().map(|digest| &digest.terms);
        if terms.is_none_or(|terms| terms.expire_after.is_none()) {
            self.withdraw_all().await?;
        }
        let Some(settings) = &holding.digest else {
            return Ok(DigestTurn::NotDue);
        };
        let now = self.clock.now();
        let due = settings.at.last(now, settings.terms.zone);
        if now >= due.plus_micros(LATE) {
            self.course.begin_anew();
            return Ok(DigestTurn::NotDue);
        }
        let rests = self.course.next_try.is_some_and(|at| now < at);
        if rests || self.course.settled == Some(due) {
            return Ok(DigestTurn::NotDue);
        }
        let last = self.read(|reader| reader.digest().map_err(QuarantineError::Read));
        let last = last.await?;
        // A clock that was far ahead must not keep digests back for as long.
        let is_settled = |mark: &DigestMark| due <= mark.due && mark.due <= now.plus_micros(DAY);
        if last.as_ref().is_some_and(is_settled) {
            self.course.settled = Some(due);
            return Ok(DigestTurn::NotDue);
        }
        self.send(settings, due, last).await
    }

    async fn send(
        &mut self,
        settings: &DigestSettings,
        due: Timestamp,
        last: Option<DigestMark>,
    ) -> Result<DigestTurn, Trouble> {
        let (terms, now) = (settings.terms.clone(), self.clock.now());
        let gathered = self
            .read(move |reader| gather(reader, &terms, Purpose::Daily, last, now))
            .await?;
        let digest = &gathered.digest;
        let sent = if digest.held == 0 && last.is_none_or(|mark| mark.messages == 0) {
            count("nothing_to_say");
            None
        } else {
            let key = due.seconds().to_string();
            match settings.send(digest, key).await.map_err(Trouble::WayOut)? {
                Delivery::Sent { answer } => {
                    count("sent");
                    info!(
                        held = digest.held,
                        new = digest.new,
                        to_be_deleted = digest.expiry.map_or(0, |expiry| expiry.messages),
                        answer,
                        "digest of held mail sent"
                    );
                }
                Delivery::Deferred { answer, .. } => return Err(Trouble::Deferred(answer)),
                Delivery::Refused { answer } => return Err(Trouble::Refused(answer)),
            }
            Some(self.clock.now())
        };
        let mark = DigestMark {
            due,
            sent: sent.or(last.and_then(|mark| mark.sent)),
            messages: digest.held,
        };
        self.course.settled = Some(due);
        self.course.unwritten = written_down(mark, sent, &gathered);
        self.write_down().await?;
        Ok(match sent {
            Some(_) => DigestTurn::Sent,
            None => DigestTurn::NothingToSay,
        })
    }

    /// Writes down what is left to be: the digest first, so that it isn't sent again.
    async fn write_down(&mut self) -> Result<(), Trouble> {
        while !self.course.unwritten.is_empty() {
            let next = self.course.unwritten.iter().take(MAX_CHANGES).cloned();
            let next: Vec<Change> = next.collect();
            let written = next.len();
            self.store.change(next).await.map_err(Trouble::Store)?;
            self.course.unwritten.drain(..written);
        }
        Ok(())
    }

    /// What was announced under other settings: set again, they announce it anew.
    async fn withdraw_all(&mut self) -> Result<(), Trouble> {
        let now = self.clock.now();
        let announced = self.read(move |reader| announced(reader, now)).await?;
        let withdrawn = announced.into_iter().map(|id| announce(id, None));
        self.course.unwritten.extend(withdrawn);
        self.write_down().await
    }

    fn fail(&mut self, trouble: &Trouble) {
        count("failed");
        let doublings = self.course.failures.min(10);
        self.course.failures = self.course.failures.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LAST_PAUSE);
        self.course.next_try = Some(self.clock.now().plus_micros(pause));
        let told = trouble.to_string();
        if self.course.told.as_ref() == Some(&told) {
            return;
        }
        match trouble {
            Trouble::WayOut(_) | Trouble::Refused(_) => {
                error!(problem = told, "the digest of held mail cannot be sent");
            }
            Trouble::Held(_) | Trouble::Deferred(_) | Trouble::Store(_) | Trouble::Ended(_) => {
                warn!(problem = told, "no digest of held mail now; trying again");
            }
        }
        self.course.told = Some(told);
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, QuarantineError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let directory = self.directory.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&directory).map_err(QuarantineError::Open)?;
            read(&reader)
        });
        let read = reading.await.map_err(|e| Trouble::Ended(e.to_string()))?;
        read.map_err(Trouble::Held)
    }
}

impl Course {
    /// The tries in vain say nothing about the next digest.
    fn begin_anew(&mut self) {
        self.failures = 0;
        self.next_try = None;
        self.told = None;
    }
}

fn written_down(
    mark: DigestMark,
    sent: Option<Timestamp>,
    gathered: &Gathered,
) -> VecDeque<Change> {
    let mut changes = VecDeque::from([Change::Digest(mark)]);
    if sent.is_some() {
        let withdrawn = gathered.withdrawn.iter();
        changes.extend(withdrawn.map(|id| announce(*id, None)));
        let announced = gathered.announced.iter();
        changes.extend(announced.map(|id| announce(*id, sent)));
    }
    changes
}

fn announce(verdict: VerdictId, at: Option<Timestamp>) -> Change {
    Change::Announce { verdict, at }
}

/// What is announced to be deleted.
fn announced(reader: &Reader, now: Timestamp) -> Result<Vec<VerdictId>, QuarantineError> {
    let mut found = Vec::new();
    if reader.announced().map_err(QuarantineError::Read)? == 0 {
        return Ok(found);
    }
    let mut page = HeldFilter {
        // A clock may have been ahead.
        announced_before: Some(now.plus_micros(i64::MAX / 4)),
        ..HeldFilter::default()
    };
    loop {
        let messages = reader.held(&page).map_err(QuarantineError::Read)?;
        let Some(last) = messages.last() else {
            return Ok(found);
        };
        page.beyond = Some(last.id);
        found.extend(messages.iter().map(|message| message.id));
    }
}

fn count(result: &'static str) {
    metrics::counter!("alignd_quarantine_digests_total", "result" => result).increment(1);
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held(error) => error.fmt(f),
            Self::WayOut(error) => error.fmt(f),
            Self::Refused(answer) => write!(
                f,
                "the mail server refuses it: {answer}; see quarantine.notify and delivery.from"
            ),
            Self::Deferred(answer) => write!(f, "the mail server doesn't take it: {answer}"),
            Self::Store(error) => error.fmt(f),
            Self::Ended(problem) => write!(f, "it ended by itself: {problem}"),
        }
    }
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// How long after it was due a digest is still sent; behind that the next one is near.
const LATE: i64 = 18 * HOUR;
/// Until the second try, in microseconds, and between later ones.
const FIRST_PAUSE: i64 = HOUR / 12;
const LAST_PAUSE: i64 = HOUR;
