//! The milter session under any stream of packets, through a real socket, with a zone in memory and a
//! store in a directory of its own.
//!
//! The first octet of the input chooses what the MTA offers. The rest is cut at octet 1 into packets:
//! `!` is a whole message of ours, which must be answered once and with its own verdict as long as the
//! connection cannot have ended; `=` is octets without a frame, so anything; any other first octet is the
//! kind of a packet with the rest as its payload.

use alignd::dns::zone::Zone;
use alignd::milter::{self, Service, Settings, SocketSpec};
use alignd::store::{Durability, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

/// No stream of packets is answered with another message's verdict, or with more than it asks for.
pub fn milter_session(data: &[u8]) {
    let script = Script::read(data);
    let told = HOUSE.with_borrow_mut(|house| {
        let house = house.get_or_insert_with(House::open);
        house.connections += 1;
        let told = house.converse(&script.octets);
        if house.connections == CONNECTIONS_PER_STORE {
            *house = House::open();
        }
        told
    });
    script.check(&told);
}

thread_local! {
    static HOUSE: RefCell<Option<House>> = const { RefCell::new(None) };
}

/// What is sent, and what must come back.
struct Script {
    octets: Vec<u8>,
    /// Whole messages of ours.
    ours: usize,
    /// Those of them that must be answered, since nothing before may end the connection.
    certain: usize,
    /// Ends of messages and unknown commands among the other packets: each has one reply at most.
    may_answer: usize,
    /// Every step has a reply of its own.
    replies_to_all: bool,
}

impl Script {
    fn read(data: &[u8]) -> Self {
        let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
        let offer = OFFERS[usize::from(*choice) % OFFERS.len()];
        let mut script = Self {
            octets: packet(b'O', &offer.map(u32::to_be_bytes).concat()),
            ours: 0,
            certain: 0,
            may_answer: 0,
            replies_to_all: offer[2] & NO_REPLIES != NO_REPLIES,
        };
        script.send(b'C', b"mx.s.example\x004\0\x19192.0.2.1\0");
        script.send(b'H', b"s.example\0");
        let mut sure = true;
        for piece in rest.split(|octet| *octet == 1) {
            let Some((kind, payload)) = piece.split_first() else {
                continue;
            };
            // Nobody else's message may bear our name.
            if contains(piece, OURS) {
                sure = false;
                continue;
            }
            match kind {
                b'!' => {
                    script.send_ours(payload);
                    script.certain += usize::from(sure);
                }
                b'=' => {
                    script.octets.extend_from_slice(payload);
                    script.may_answer += payload.len();
                    sure = false;
                }
                _ => {
                    script.may_answer += usize::from(matches!(kind, b'E' | b'U'));
                    script.send(*kind, payload);
                    sure &= is_survived(*kind, payload);
                }
            }
        }
        script
    }

    fn send(&mut self, kind: u8, payload: &[u8]) {
        self.octets.extend(packet(kind, payload));
    }

    /// A message of ours, its body cut where the input says.
    fn send_ours(&mut self, body: &[u8]) {
        let sender = format!("<a@m{}.{OURS}>\0", self.ours);
        let from = format!("From\0 a@m{}.{OURS}\0", self.ours);
        self.send(b'D', format!("Mi\0id{}\0", self.ours).as_bytes());
        self.send(b'M', sender.as_bytes());
        self.send(b'R', b"<b@r.example>\0");
        self.send(b'T', b"");
        self.send(b'L', from.as_bytes());
        self.send(b'N', b"");
        for chunk in body.split(|octet| *octet == b'|') {
            self.send(b'B', chunk);
        }
        self.send(b'E', b"");
        self.ours += 1;
    }

    fn check(&self, told: &[u8]) {
        let replies = replies(told);
        assert!(replies.first().is_none_or(|(kind, _)| *kind == b'O'));
        let mut answered = 0;
        for (at, (kind, payload)) in replies.iter().enumerate() {
            if *kind != b'i' {
                continue;
            }
            let text = inserted(payload);
            if let Some(number) = our_number(text) {
                assert_eq!(number, answered, "an answer for another message");
                let sender = format!("smtp.mailfrom=m{number}.{OURS}");
                assert!(text.contains(&sender), "another message's sender: {text}");
                assert!(replies.get(at + 1).is_some_and(|(kind, _)| *kind == b'c'));
                answered += 1;
            }
        }
        assert!(answered >= self.certain && answered <= self.ours);
        if !self.replies_to_all {
            let finals = replies.iter().filter(|(kind, _)| b"acdrty".contains(kind));
            let finals = finals.count();
            assert!(finals >= answered && finals <= self.ours + self.may_answer);
        }
    }
}

/// Whether a packet, wherever it comes, leaves the connection as it is.
fn is_survived(kind: u8, payload: &[u8]) -> bool {
    let strings = payload.iter().filter(|octet| **octet == 0).count();
    payload.len() < 2_048
        && match kind {
            b'A' | b'B' | b'D' | b'E' | b'N' | b'T' => true,
            b'U' => !payload.is_empty(),
            b'H' | b'M' | b'R' => strings >= 1 && payload.ends_with(b"\0"),
            b'L' => strings >= 2 && payload.ends_with(b"\0") && !payload.starts_with(b"\0"),
            _ => false,
        }
}

/// The reply packets, each whole.
fn replies(mut told: &[u8]) -> Vec<(u8, &[u8])> {
    let mut replies = Vec::new();
    while let Some((length, rest)) = told.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (reply, rest) = rest.split_at_checked(length).expect("a whole reply");
        let (kind, payload) = reply.split_first().expect("a reply has a kind");
        replies.push((*kind, payload));
        told = rest;
    }
    assert!(told.is_empty(), "a reply was cut off");
    replies
}

/// The value of an inserted field, which is one field and no bomb.
fn inserted(payload: &[u8]) -> &str {
    let payload = payload.get(4..).expect("a place");
    let name = payload.strip_prefix(b"Authentication-Results\0");
    let value = name.and_then(|value| value.strip_suffix(b"\0"));
    let text = std::str::from_utf8(value.expect("our field")).expect("UTF-8");
    let mut lines = text.split('\n').skip(1);
    assert!(lines.all(|line| line.starts_with(['\t', ' '])), "{text:?}");
    assert!(!text.contains(['\r', '\0']) && text.len() < MAX_RESULTS);
    text
}

/// Which message of ours an inserted field is about.
fn our_number(results: &str) -> Option<usize> {
    let (_, rest) = results.split_once("header.from=m")?;
    let (number, rest) = rest.split_once('.')?;
    rest.starts_with(OURS).then(|| number.parse().ok())?
}

fn contains(data: &[u8], text: &str) -> bool {
    let mut windows = data.windows(text.len());
    windows.any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("short");
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// A running milter and the runtime it runs in.
struct House {
    path: PathBuf,
    runtime: Runtime,
    connections: u32,
    _shutdown: watch::Sender<bool>,
    _directory: TempDir,
}

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        super::NOW
    }
}

impl House {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("milter.sock");
        let mut settings = Settings::defaults("mx.example");
        settings.trust.networks.clear();
        settings.trust.skip_authenticated = false;
        settings.milter.listen = vec![SocketSpec::Unix(path.clone())];
        settings.milter.socket_group.clear();
        let store = StoreSettings {
            path: directory.path().to_owned(),
            durability: Durability::Relaxed,
            local_parts: true,
            ..StoreSettings::default()
        };
        let store = Store::open(&store, super::NOW).expect("a store");
        let listeners = runtime.block_on(milter::bind(&settings.milter));
        let zone: Zone = super::zone(b"v=spf1 a mx ?all");
        let service = Service {
            bounces: watch::channel(None).1,
            settings: watch::channel(Arc::new(settings)).1,
            resolver: Arc::new(zone),
            keys: Default::default(),
            store,
            clock: Arc::new(Standing),
            progress: milter::PROGRESS,
        };
        let (shutdown, stop) = watch::channel(false);
        let listeners = listeners.expect("a socket");
        runtime.spawn(milter::run(listeners, Arc::new(service), stop, PATIENCE));
        Self {
            path,
            runtime,
            connections: 0,
            _shutdown: shutdown,
            _directory: directory,
        }
    }

    /// Sends `octets` on a connection of its own and reads until the milter hangs up.
    fn converse(&self, octets: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let stream = UnixStream::connect(&self.path).await.expect("a milter");
            let (mut reader, mut writer) = stream.into_split();
            let send = async {
                // A milter that hangs up in between may well do so.
                if writer.write_all(octets).await.is_ok() {
                    let _ = writer.shutdown().await;
                }
            };
            let mut told = Vec::new();
            let read = reader.read_to_end(&mut told);
            let both = async { tokio::join!(send, read) };
            let ended = timeout(PATIENCE, both).await;
            let (_, _cut_off) = ended.expect("the milter neither answers nor hangs up");
            told
        })
    }
}

/// What an MTA offers: version, actions, options.
const OFFERS: [[u32; 3]; 4] = [
    [6, 0x1ff, 0x1f_ffff],
    [6, 0x1ff, 0x10_0400],
    [6, 0x1, 0x1f_fbff],
    [2, 0x1f, 0x7f],
];

/// Every SMFIP_NR option.
const NO_REPLIES: u32 = 0xf_f080;

/// Under this name all our messages stand, and no other.
const OURS: &str = "own.example";

/// Octets of a results field, at most.
const MAX_RESULTS: usize = 32 * 1024;

/// The store grows with each message.
const CONNECTIONS_PER_STORE: u32 = 5_000;

const PATIENCE: Duration = Duration::from_secs(30);
