//! The daily digest and what it announces, over a real store, with an SMTP server that misbehaves on demand and an
//! MTA in memory: what is sent on which day, what is deleted when, and what a restart changes about it.

#[path = "../support/dkim.rs"]
mod dkim;
#[path = "../support/plain_verdict.rs"]
mod plain_verdict;
#[path = "../support/smtp_server.rs"]
mod smtp_server;

mod course;
mod expiry;
mod hold_queue;
mod signing;
mod trial;
mod words;

use alignd::auth::dmarc::Policy;
use alignd::deliver::{DeliverySettings, Server, TlsMode};
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::policy::{Action, Cause, Decision, Disposition};
use alignd::quarantine::{DigestTerms, Quarantine};
use alignd::report::destination::PlainAddress;
use alignd::report::period::TimeOfDay;
use alignd::schedule::{
    Course, DigestSettings, DigestTurn, Digests, Expiring, ExpiryPause, Holding, TURN,
};
use alignd::store::{Change, Reader, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use alignd::verdict::VerdictId;
use hold_queue::HoldQueue;
use plain_verdict::plain_verdict;
use smtp_server::{Does, SmtpServer, Step};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// A clock that stands until it is moved.
pub struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A host with its store, its hold queue, its mail server and what runs over them.
struct House {
    home: TempDir,
    store: Store,
    queue: HoldQueue,
    server: SmtpServer,
    answer: Arc<AtomicU8>,
    clock: Arc<Moved>,
    settings: watch::Sender<Arc<Holding>>,
    digests: Digests,
    expiring: Expiring<HoldQueue>,
    held: Mutex<u32>,
}

/// What the mail server says to the end of a mail.
const WELL: u8 = 0;
const LATER: u8 = 1;
const NEVER: u8 = 2;
const HANGS_UP: u8 = 3;
const HUSHES: u8 = 4;

impl House {
    /// In Berlin, digests at 08:00.
    fn new(expire_after: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(Moved(AtomicI64::new(at("2026-03-01T00:00").micros())));
        let store = open(&home, clock.now());
        let answer = Arc::new(AtomicU8::new(WELL));
        let told = Arc::clone(&answer);
        let server = SmtpServer::start(move |step| match (step, told.load(Ordering::SeqCst)) {
            (Step::Content(_), LATER) => Does::Says("451 4.3.0 later"),
            (Step::Content(_), HANGS_UP) => Does::HangsUp,
            (Step::Greeting, HUSHES) => Does::Hushes,
            (Step::Rcpt(_), NEVER) => Does::Says("550 5.1.1 nobody here"),
            _ => Does::Well,
        });
        let holding = holding(server.port(), expire_after);
        let (settings, taken) = watch::channel(Arc::new(holding));
        let queue = HoldQueue::default();
        let (digests, expiring) = tasks(&home, &store, &queue, &clock, &taken);
        Self {
            home,
            store,
            queue,
            server,
            answer,
            clock,
            settings,
            digests,
            expiring,
            held: Mutex::new(0),
        }
    }

    /// The process ends, and another takes its place.
    async fn restart(&mut self) {
        let spare = tempfile::tempdir().unwrap();
        let other = open(&spare, self.clock.now());
        let store = std::mem::replace(&mut self.store, other.clone());
        let taken = self.settings.subscribe();
        (self.digests, self.expiring) = tasks(&spare, &other, &self.queue, &self.clock, &taken);
        store.close().await;
        self.store = open(&self.home, self.clock.now());
        (self.digests, self.expiring) =
            tasks(&self.home, &self.store, &self.queue, &self.clock, &taken);
    }

    /// Holds a message of this domain since then.
    async fn hold(&self, domain: &str, since: &str) -> VerdictId {
        let id = self.record(domain, since, Action::Hold).await;
        self.tell(id, OutcomeState::Held, at(since), OutcomeSource::Reply)
            .await;
        id
    }

    /// Somebody else puts one on hold that alignd accepted.
    async fn hold_by_hand(&self, domain: &str, since: &str) -> VerdictId {
        let id = self.record(domain, since, Action::Accept).await;
        for (state, source) in [
            (OutcomeState::Accepted, OutcomeSource::Reply),
            (OutcomeState::Held, OutcomeSource::Queue),
        ] {
            self.tell(id, state, at(since), source).await;
        }
        id
    }

    async fn record(&self, domain: &str, since: &str, action: Action) -> VerdictId {
        let nth = {
            let mut held = self.held.lock().unwrap();
            *held += 1;
            *held
        };
        let mut verdict = plain_verdict(domain, at(since), nth);
        let (cause, disposition) = (Cause::FailReject, Disposition::Quarantine);
        verdict.decision = Decision::follow(cause, Some(Policy::Reject), disposition, action);
        let queue_id = format!("4jXW5m5GBtz{nth:04}");
        verdict.envelope.queue_id = Some(queue_id.clone());
        let id = verdict.id;
        self.store.record(Arc::new(verdict)).await.unwrap();
        self.queue.hold(&queue_id, id);
        id
    }

    async fn tell(&self, id: VerdictId, state: OutcomeState, at: Timestamp, by: OutcomeSource) {
        let outcome = Outcome::new(state, at, by);
        let change = Change::Outcome {
            verdict: id,
            outcome,
        };
        self.store.change(vec![change]).await.unwrap();
    }

    /// Releases it by hand now.
    async fn release(&self, id: VerdictId) {
        let now = self.clock.now();
        self.tell(id, OutcomeState::Released, now, OutcomeSource::Operator)
            .await;
    }

    fn set_clock(&self, time: &str) {
        self.clock.0.store(at(time).micros(), Ordering::SeqCst);
    }

    fn answers(&self, answer: u8) {
        self.answer.store(answer, Ordering::SeqCst);
    }

    fn expire_after(&self, expire_after: Option<&str>) {
        let holding = holding(self.server.port(), expire_after);
        self.settings.send_replace(Arc::new(holding));
    }

    /// One turn of the digests at this time.
    async fn digest(&mut self, time: &str) -> DigestTurn {
        self.set_clock(time);
        self.digests.turn().await
    }

    /// How many one round at this time deletes.
    async fn expire(&mut self, time: &str) -> u32 {
        self.set_clock(time);
        self.expiring.round().await.deleted
    }

    /// The mails that arrived: their subjects and bodies.
    fn mails(&self) -> Vec<(String, String)> {
        let mails = self.server.received().into_iter().map(|mail| {
            let text = String::from_utf8(mail.content).unwrap();
            let subject = text.lines().find_map(|l| l.strip_prefix("Subject: "));
            (subject.unwrap().to_owned(), text.clone())
        });
        mails.collect()
    }

    fn subjects(&self) -> Vec<String> {
        self.mails()
            .into_iter()
            .map(|(subject, _)| subject)
            .collect()
    }

    fn history(&self, id: VerdictId) -> String {
        let reader = Reader::open(self.home.path()).unwrap();
        let outcomes = reader.outcomes(id).unwrap();
        let words = outcomes
            .iter()
            .map(|o| format!("{} ({})", o.state, o.source));
        words.collect::<Vec<_>>().join(", ")
    }

    fn detail(&self, id: VerdictId) -> String {
        let reader = Reader::open(self.home.path()).unwrap();
        let outcomes = reader.outcomes(id).unwrap();
        outcomes.last().unwrap().detail.clone().unwrap_or_default()
    }
}

fn tasks(
    home: &TempDir,
    store: &Store,
    queue: &HoldQueue,
    clock: &Arc<Moved>,
    settings: &watch::Receiver<Arc<Holding>>,
) -> (Digests, Expiring<HoldQueue>) {
    let directory = home.path().to_owned();
    let clock: Arc<dyn Clock> = clock.clone();
    let quarantine = Quarantine::new(
        queue.clone(),
        store.clone(),
        directory.clone(),
        clock.clone(),
    );
    let digests = Digests {
        settings: settings.clone(),
        store: store.clone(),
        directory,
        clock: clock.clone(),
        turn: TURN,
        course: Course::default(),
    };
    let expiring = Expiring {
        settings: settings.clone(),
        quarantine: Arc::new(quarantine),
        clock,
        turn: TURN,
        pause: ExpiryPause::default(),
    };
    (digests, expiring)
}

fn holding(port: u16, expire_after: Option<&str>) -> Holding {
    let address = |text| PlainAddress::parse(text).unwrap();
    Holding {
        digest: Some(DigestSettings {
            to: address("postmaster@receiver.example"),
            from: address("dmarc-reports@receiver.example"),
            at: TimeOfDay::parse("08:00").unwrap(),
            terms: DigestTerms {
                host: "mx.receiver.example".to_owned(),
                zone: "Europe/Berlin".parse().unwrap(),
                expire_after: expire_after.map(days),
            },
            delivery: DeliverySettings {
                smtp: Server {
                    host: "127.0.0.1".to_owned(),
                    port,
                },
                tls: TlsMode::None,
                ..DeliverySettings::default()
            },
            signed_by: None,
            host_name: "mx.receiver.example".to_owned(),
        }),
    }
}

fn days(text: &str) -> Duration {
    let days: u64 = text.strip_suffix('d').unwrap().parse().unwrap();
    Duration::from_secs(days * 86_400)
}

fn open(home: &TempDir, now: Timestamp) -> Store {
    let settings = StoreSettings {
        path: home.path().to_owned(),
        ..StoreSettings::default()
    };
    Store::open(&settings, now).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{text}Z")).unwrap()
}
