//! The real program: signals, what systemd hears, reload and stop under load, and how it refuses to start.

use crate::mta::{Mail, Mta, Session};
use crate::raw::Raw;
use crate::signal;
use alignd::outcome::OutcomeState;
use alignd::store::{Filter, Reader};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// `alignd run` in a directory of its own.
pub struct Daemon {
    process: Child,
    told: UnixDatagram,
    home: TempDir,
}

/// Everything that doesn't matter here is out of the way: no DNS server, a store of its own.
const SETTINGS: &str = "\
[identity]
authserv_id = \"ID\"
site_key = \"HOME/store/site.key\"
[control]
socket = \"HOME/control.sock\"
[milter]
listen = [\"unix:HOME/milter.sock\"]
socket_group = \"\"
[trust]
networks = []
[dns]
servers = [\"127.0.0.1:9\"]
timeout = \"100ms\"
[store]
path = \"HOME/store\"
";

impl Daemon {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With further settings.
    pub async fn start_with(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let told = UnixDatagram::bind(home.path().join("notify")).unwrap();
        configure(&home, "one.test", more);
        let mut daemon = Self {
            process: command(&home).stderr(log(&home)).spawn().unwrap(),
            told,
            home,
        };
        daemon.hears("READY=1").await;
        daemon
    }

    /// Waits until systemd is told this.
    async fn hears(&mut self, expected: &str) {
        loop {
            let mut buffer = [0; 1_024];
            let heard = tokio::time::timeout(Duration::from_secs(60), self.told.recv(&mut buffer));
            let length = heard.await.expect("nothing was told").unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == expected) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        signal::send(&self.process, signal).unwrap();
    }

    async fn reload(&mut self) {
        self.signal(Signal::SIGHUP);
        self.hears("RELOADING=1").await;
        self.hears("READY=1").await;
    }

    /// SIGTERM, its end, and what it stored.
    pub async fn stop(mut self) -> (ExitStatus, Reader) {
        self.signal(Signal::SIGTERM);
        self.hears("STOPPING=1").await;
        let status = tokio::task::block_in_place(|| self.process.wait().unwrap());
        (
            status,
            Reader::open(&self.home.path().join("store")).unwrap(),
        )
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("milter.sock")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log"));
            eprintln!("{}", log.unwrap_or_default());
        }
        // It may have ended already; there is nothing more to be done.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alignd"));
    command
        .args(["run", "--config"])
        .arg(home.path().join("alignd.toml"))
        .env("NOTIFY_SOCKET", home.path().join("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn log(home: &TempDir) -> std::fs::File {
    std::fs::File::create(home.path().join("log")).unwrap()
}

fn configure(home: &TempDir, id: &str, more: &str) {
    // Last what may hold any letters: the name of a directory made by chance.
    let text = SETTINGS.replace("ID", id);
    let text = text.replace("HOME", home.path().to_str().unwrap());
    std::fs::write(home.path().join("alignd.toml"), text + more).unwrap();
}

fn mail() -> Mail<'static> {
    Mail::plain("<>").field("X-No-Author", " here")
}

async fn session(socket: PathBuf) -> std::io::Result<Session> {
    let raw = Raw::try_unix(&socket).await?;
    Ok(Mta::Sendmail.session(raw, "mx", "192.0.2.9:25", "mx").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_holds_from_the_next_message_on_and_a_bad_one_changes_nothing() {
    let mut daemon = Daemon::start().await;
    let mut session = session(daemon.socket()).await.unwrap();
    assert!(
        session
            .deliver(&mail())
            .await
            .results()
            .starts_with(" one.test;")
    );
    configure(&daemon.home, "two.test", "");
    daemon.reload().await;
    assert!(
        session
            .deliver(&mail())
            .await
            .results()
            .starts_with(" two.test;")
    );
    configure(&daemon.home, "three.test", "nonsense = 1\n");
    daemon.reload().await;
    assert!(
        session
            .deliver(&mail())
            .await
            .results()
            .starts_with(" two.test;")
    );
    let socket = daemon.socket();
    let (status, reader) = daemon.stop().await;
    assert!(status.success());
    assert!(!socket.exists());
    assert_eq!(reader.messages(&Filter::default()).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_a_reload_loses_nothing_and_a_stop_nothing_that_was_answered() {
    let mut daemon = Daemon::start().await;
    let load = Arc::new(Load::default());
    let senders: Vec<_> = (0..8)
        .map(|sender| tokio::spawn(send(sender, daemon.socket(), Arc::clone(&load))))
        .collect();
    let mut reloads = 0;
    while reloads < 10 || load.answered.load(Ordering::Relaxed) < 100 {
        daemon.reload().await;
        reloads += 1;
    }
    load.enough.store(true, Ordering::Relaxed);
    let (status, reader) = daemon.stop().await;
    assert!(status.success());
    let mut answered = BTreeSet::new();
    for sender in senders {
        answered.extend(sender.await.unwrap());
    }
    let stored: Result<Vec<_>, _> = reader.messages(&Filter::default()).collect();
    let accepted = stored
        .unwrap()
        .into_iter()
        .filter(|s| s.outcome == OutcomeState::Accepted);
    let accepted: BTreeSet<_> = accepted.filter_map(|s| s.queue_id).collect();
    println!(
        "answered during {reloads} reloads and a stop: {}",
        answered.len()
    );
    assert_eq!(accepted, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_judged_can_be_scraped() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let daemon = Daemon::start_with(&format!("[metrics]\nlisten = \"{address}\"\n")).await;
    let mut session = session(daemon.socket()).await.unwrap();
    session.deliver(&mail()).await;
    let judged =
        "alignd_messages_total{result=\"none\",disposition=\"none\",outcome=\"accepted\"} 1";
    // The counter moves once the answer is written, which the MTA may see a little earlier.
    let mut pages = (0..10_000).map(|_| scrape(address));
    let page = pages
        .find(|page| page.contains("alignd_messages_total"))
        .expect("no message");
    assert!(page.contains(judged), "{page}");
    assert!(page.contains("alignd_message_seconds_bucket"), "{page}");
    let (status, _) = daemon.stop().await;
    assert!(status.success());
}

fn scrape(address: std::net::SocketAddr) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// What the senders and the test know together.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    enough: AtomicBool,
}

/// Delivers until the milter goes away, which it may only once it was told to stop; says which
/// messages were answered.
async fn send(sender: usize, socket: PathBuf, load: Arc<Load>) -> Vec<String> {
    let mut answered = Vec::new();
    let mut session = session(socket).await.unwrap();
    session.prefix = format!("S{sender}");
    while let Ok(answer) = session.try_deliver(&mail()).await {
        assert_eq!(answer.last.kind, 'c');
        load.answered.fetch_add(1, Ordering::Relaxed);
        answered.push(session.queue_ids.last().unwrap().clone());
    }
    assert!(
        load.enough.load(Ordering::Relaxed),
        "hung up on without a stop"
    );
    answered
}

/// What holds mail needs the key for its headers, which lies in the store's directory.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_the_directory_and_then_the_key() {
    let daemon = Daemon::start_with("[policy]\non_reject = \"hold\"\n").await;
    assert!(daemon.home().join("store/site.key").exists());
    assert!(daemon.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_told_with_an_exit_code() {
    let daemon = Daemon::start().await;
    let other = tempfile::tempdir().unwrap();
    let _told = UnixDatagram::bind(other.path().join("notify")).unwrap();
    let theirs = daemon.home.path().to_str().unwrap();
    let settings = SETTINGS.replace("ID", "x.test");
    for (settings, code, words) in [
        (
            settings.replace("HOME", theirs),
            3,
            "in use by another alignd",
        ),
        (
            settings.replace("HOME/milter", &format!("{theirs}/milter")),
            2,
            "another process listens there",
        ),
        (
            settings.replace("socket_group = \"\"", "socket_group = \"no-such-group\""),
            2,
            "milter.socket_group",
        ),
        (
            settings.replace("[store]", "[stor]"),
            2,
            "did you mean [store]",
        ),
        (
            settings.replace("unix:HOME", "unix:HOME/no/such"),
            2,
            "the directory",
        ),
    ] {
        let settings = settings.replace("HOME", other.path().to_str().unwrap());
        std::fs::write(other.path().join("alignd.toml"), settings).unwrap();
        let output = tokio::task::block_in_place(|| command(&other).output().unwrap());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
    assert!(daemon.stop().await.0.success());
}
