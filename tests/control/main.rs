//! The control socket as its peers see it: what is asked and answered, who may ask, and what becomes of
//! peers that mean harm.

#[path = "../support/plain_verdict.rs"]
mod plain_verdict;

mod answers;
mod hostile;
mod peers;

use alignd::control::{self, ControlSettings, Desk};
use alignd::mta::Helper;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Reader, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use alignd::verdict::VerdictId;
use plain_verdict::plain_verdict;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A served socket with a store behind it.
struct Served {
    home: TempDir,
    store: Store,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(outcome_users: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        // Other users' processes come here, too.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(home.path(), open).unwrap();
        let settings = StoreSettings {
            path: home.path().join("store"),
            ..StoreSettings::default()
        };
        let store = Store::open(&settings, NOW).unwrap();
        let helper = Helper::new(&home.path().join("no-helper.sock"));
        let desk = Desk::new(helper, store.clone(), settings.path, Arc::new(Still));
        let desk = Arc::new(desk);
        let (stop, stopped) = watch::channel(false);
        let users = ControlSettings {
            outcome_users: outcome_users.iter().map(|&name| name.to_owned()).collect(),
            ..ControlSettings::default()
        };
        // Nobody changes them here, and a receiver outlives its sender.
        let (_, users) = watch::channel(Arc::new(users));
        let listener = control::bind(&home.path().join("control.sock")).unwrap();
        let serving = tokio::spawn(control::serve(listener, users, desk, stopped));
        Self {
            home,
            store,
            stop,
            serving,
        }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("control.sock")
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.home.path().join("store")).unwrap()
    }

    /// Stores a message with this queue id at this second of the day, answered so.
    async fn message(&self, queue_id: &str, second: i64, state: Option<OutcomeState>) -> VerdictId {
        let at = NOW.plus_micros(second * 1_000_000);
        let mut verdict = plain_verdict("a.example", at, second.unsigned_abs() as u32);
        verdict.envelope.queue_id = Some(queue_id.to_owned());
        let id = verdict.id;
        self.store.record(Arc::new(verdict)).await.unwrap();
        if let Some(state) = state {
            let answered = Outcome::new(state, at, OutcomeSource::Reply);
            self.store.confirm(id, answered);
        }
        id
    }

    /// What `why` would tell of it: states with who said so.
    fn history(&self, id: VerdictId) -> String {
        let outcomes = self.reader().outcomes(id).unwrap();
        let words = outcomes.iter().map(|o| match &o.by {
            Some(by) => format!("{} by {by}", o.state),
            None => o.state.to_string(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    async fn connect(&self) -> Peer {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        Peer(BufReader::new(stream))
    }

    /// One question on a connection of its own.
    async fn ask(&self, line: &str) -> Value {
        self.connect().await.ask(line).await
    }

    async fn stop(self) -> TempDir {
        self.stop.send_replace(true);
        self.serving.await.unwrap();
        self.store.close().await;
        self.home
    }
}

/// A connection to it.
struct Peer(BufReader<UnixStream>);

impl Peer {
    async fn ask(&mut self, line: &str) -> Value {
        let line = format!("{line}\n");
        self.0.get_mut().write_all(line.as_bytes()).await.unwrap();
        self.hear().await.expect("an answer")
    }

    /// The next answer; `None` at the end of the connection.
    async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("one object a line")),
        }
    }
}
