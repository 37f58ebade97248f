//! The milter with everything behind it, on free sockets, with a store in a directory of its own.

use crate::mta::{Mta, Session};
use crate::raw::Raw;
use alignd::dns::Resolver;
use alignd::dns::master;
use alignd::dns::zone::Zone;
use alignd::milter::{self, Listener, Service, Settings, SocketSpec};
use alignd::send_report::Bounce;
use alignd::store::{Filter, Reader, SkipCount, Store, StoreSettings, Stored};
use alignd::time::{Clock, Timestamp};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A running milter.
pub struct Running {
    pub path: PathBuf,
    pub address: SocketAddr,
    pub settings: watch::Sender<Arc<Settings>>,
    pub shutdown: watch::Sender<bool>,
    pub store: Store,
    task: JoinHandle<usize>,
    directory: TempDir,
}

/// A clock that stands.
#[derive(Debug)]
pub struct Standing;

/// The zone all tests look into.
pub fn zone() -> Zone {
    master::parse(include_str!("zone.txt")).unwrap()
}

/// Observing, under the name `mx.test`, nobody trusted.
pub fn settings() -> Settings {
    let mut settings = Settings::defaults("mx.test");
    settings.trust.networks.clear();
    settings
}

pub async fn start(settings: Settings) -> Running {
    start_with(zone(), settings).await
}

pub async fn start_with<R: Resolver + 'static>(resolver: R, settings: Settings) -> Running {
    start_overhearing(resolver, settings, None).await
}

/// With somebody who takes the bounces of reports that pass.
pub async fn start_overhearing<R: Resolver + 'static>(
    resolver: R,
    mut settings: Settings,
    bounces: Option<mpsc::Sender<Bounce>>,
) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("milter.sock");
    let inet = SocketSpec::parse("inet:127.0.0.1:0").unwrap();
    settings.milter.listen = vec![SocketSpec::Unix(path.clone()), inet];
    settings.milter.socket_group.clear();
    let listeners = milter::bind(&settings.milter).await.unwrap();
    let address = listeners.iter().find_map(Listener::address).unwrap();
    let store = Store::open(&store_settings(&directory), Standing.now()).unwrap();
    let (send_settings, take_settings) = watch::channel(Arc::new(settings));
    let service = Service {
        bounces: watch::channel(bounces).1,
        settings: take_settings,
        resolver: Arc::new(resolver),
        keys: Default::default(),
        store: store.clone(),
        clock: Arc::new(Standing),
        progress: Duration::from_millis(10),
    };
    let (shutdown, stop) = watch::channel(false);
    let grace = Duration::from_secs(60);
    let task = tokio::spawn(milter::run(listeners, Arc::new(service), stop, grace));
    Running {
        path,
        address,
        settings: send_settings,
        shutdown,
        store,
        task,
        directory,
    }
}

impl Running {
    pub async fn raw(&self, socket: &str) -> Raw {
        match socket {
            "tcp" => Raw::tcp(self.address).await,
            _ => Raw::unix(&self.path).await,
        }
    }

    /// A session of the zone's good client.
    pub async fn session(&self, mta: Mta) -> Session {
        let raw = self.raw("unix").await;
        mta.session(raw, "mx.good.example", "192.0.2.9:4025", "mx.good.example")
            .await
    }

    /// Stops the milter and tells what it stored, oldest first.
    pub async fn stop(self) -> Stopped {
        self.shutdown.send_replace(true);
        assert_eq!(self.task.await.unwrap(), 0);
        self.store.close().await;
        let reader = Reader::open(self.directory.path()).unwrap();
        let summaries: Result<Vec<_>, _> = reader.messages(&Filter::default()).collect();
        let stored = summaries.unwrap().into_iter().rev();
        let day = Standing.now().day();
        Stopped {
            verdicts: stored
                .map(|s| reader.find(s.id).unwrap().unwrap())
                .collect(),
            skips: reader.skips(day..=day).unwrap(),
        }
    }
}

/// What a milter left behind.
pub struct Stopped {
    pub verdicts: Vec<Stored>,
    pub skips: Vec<SkipCount>,
}

impl Stopped {
    /// `QUEUE-ID RESULT ACTION OUTCOME` of each verdict.
    pub fn summary(&self) -> Vec<String> {
        self.verdicts.iter().map(summary).collect()
    }
}

fn summary(stored: &Stored) -> String {
    let verdict = &stored.verdict;
    let result = verdict
        .evaluation
        .as_ref()
        .map_or("-", |e| e.result.as_str());
    format!(
        "{} {result} {} {}",
        verdict.envelope.queue_id.as_deref().unwrap_or("-"),
        verdict.decision.action(),
        stored.outcomes.last().unwrap().state
    )
}

fn store_settings(directory: &TempDir) -> StoreSettings {
    StoreSettings {
        path: directory.path().to_owned(),
        local_parts: true,
        ..StoreSettings::default()
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
    }
}
