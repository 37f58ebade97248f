//! The milter while reports are built: `alignd milter` on the same store, with 200 mails a second over its
//! sockets, alone and beside the build.
//!
//! The mail is that of `contrib/bench`; half of the connections are TCP's. Each has its turns: a mail that
//! is not answered by then delays the next one on its connection alone.

use crate::corpus::{self, Corpus};
use crate::loopback;
use crate::mta::{Chain, Place, Took};
use crate::nsd::Nsd;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A milter under load.
pub struct Milter {
    corpus: Corpus,
    places: [Place; 2],
    process: Child,
    sent: AtomicUsize,
    _nsd: Nsd,
    _home: tempfile::TempDir,
}

/// What the MTA saw.
pub struct Seen {
    /// At the end of the message, sorted.
    end: Vec<Duration>,
    /// For the whole of it, sorted.
    whole: Vec<Duration>,
    took: Duration,
}

impl Milter {
    /// Starts it on the store in this directory.
    pub fn start(store: &Path) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let corpus = Corpus::generate(1_000);
        let nsd = Nsd::start(&corpus.zone);
        let (socket, port) = (home.path().join("milter.sock"), loopback::free_address());
        let settings = format!(
            "identity.authserv_id = \"mx.receiver.example\"\n\
             milter.listen = [\"unix:{}\", \"inet:{port}\"]\nmilter.socket_group = \"\"\n\
             dns.servers = [\"{}\"]\nstore.path = \"{}\"\nstore.keep_messages = \"3650d\"\nlog.level = \"warn\"\n",
            socket.display(),
            nsd.address(),
            store.display()
        );
        let file = home.path().join("alignd.toml");
        fs::write(&file, settings).expect("our own directory");
        let process = Command::new(env!("CARGO_BIN_EXE_alignd"))
            .args(["milter", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("our own binary runs");
        let places = [Place::Unix(socket), Place::Tcp(port.into())];
        crate::wait::until("the milter listens", || {
            Chain::open(&places[..1], 0).ok().map(drop)
        });
        Self {
            corpus,
            places,
            process,
            sent: AtomicUsize::new(0),
            _nsd: nsd,
            _home: home,
        }
    }

    pub fn introduce(&self) {
        let [median, mean, largest] = self.corpus.sizes().map(|size| size / 1_024);
        println!(
            "  the milter meanwhile: {RATE} mails/s of {} domains, bodies: median {median} KiB, mean {mean} KiB, \
             largest {largest} KiB; durably stored, nsd on loopback",
            corpus::DOMAINS
        );
    }

    /// Sends mail at `RATE` until `is_over`.
    pub fn send(&self, is_over: impl Fn() -> bool + Sync) -> Seen {
        let (began, over) = (Instant::now(), AtomicBool::new(false));
        let one_connection = |nth: usize| {
            let place = &self.places[nth % self.places.len()];
            let mut chain = Chain::open(std::slice::from_ref(place), nth).expect("connects");
            let mut all: Vec<Took> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let turn = (all.len() * CONNECTIONS + nth) as u32 * (Duration::from_secs(1) / RATE);
                std::thread::sleep(turn.saturating_sub(began.elapsed()));
                let id = self.sent.fetch_add(1, Ordering::Relaxed);
                let message = &self.corpus.messages[id % self.corpus.messages.len()];
                all.push(chain.deliver(message, id).expect("an answer"));
            }
            all
        };
        let all: Vec<Took> = std::thread::scope(|scope| {
            let one_connection = &one_connection;
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|nth| scope.spawn(move || one_connection(nth)))
                .collect();
            while !is_over() {
                std::thread::sleep(Duration::from_millis(20));
            }
            over.store(true, Ordering::Relaxed);
            let all = clients.into_iter().map(|c| c.join().expect("a client"));
            all.flatten().collect()
        });
        let sorted = |time: fn(&Took) -> Duration| {
            let mut times: Vec<Duration> = all.iter().map(time).collect();
            times.sort_unstable();
            times
        };
        Seen {
            end: sorted(|t| t.end),
            whole: sorted(|t| t.whole),
            took: began.elapsed(),
        }
    }
}

impl Drop for Milter {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Seen {
    /// The 99th percentile at the end of the message, in milliseconds.
    pub fn end_p99(&self) -> f64 {
        percentile(&self.end, 0.99)
    }

    pub fn tell(&self, words: &str) {
        let [end, whole] =
            [&self.end, &self.whole].map(|times| [0.5, 0.99].map(|share| percentile(times, share)));
        println!(
            "    {words}: end of message p50 / p99 {:.2} / {:.2} ms, whole message {:.2} / {:.2} ms, {} mails, {:.0}/s",
            end[0],
            end[1],
            whole[0],
            whole[1],
            self.end.len(),
            self.end.len() as f64 / self.took.as_secs_f64()
        );
    }
}

/// In milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    let time = sorted.get(place.min(sorted.len().saturating_sub(1)));
    time.copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// Mails a second, of all connections together.
pub const RATE: u32 = 200;
const CONNECTIONS: usize = 8;
