//! What a message takes of the allocator: alignd's milter in this process, the client's threads left out.

use crate::corpus::Corpus;
use crate::mta::{Chain, Place};
use alignd::milter::{self, PROGRESS, Service, Settings, SocketSpec};
use alignd::resolver::{DnsSettings, LiveResolver};
use alignd::store::{Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The system's allocator, and how often and for how much it is asked; growing counts as asking.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static OCTETS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count(octets: usize) {
    // A thread that ends has no such variable any more.
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        OCTETS.fetch_add(octets as u64, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system allocator's doing; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the same contract with us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[derive(Debug)]
struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

/// Allocations and octets a message, of the whole corpus, once it has been seen: caches are full.
pub fn a_message(corpus: &Corpus, dns: SocketAddrV4) -> (u64, u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("milter.sock");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let mut settings = Settings::defaults("mx.receiver.example");
    settings.milter.listen = vec![SocketSpec::Unix(socket.clone())];
    settings.milter.socket_group.clear();
    let listeners = runtime.block_on(milter::bind(&settings.milter));
    let store = StoreSettings {
        path: directory.path().to_owned(),
        ..StoreSettings::default()
    };
    let dns = DnsSettings {
        servers: vec![dns.into()],
        ..DnsSettings::default()
    };
    let service = Service {
        bounces: watch::channel(None).1,
        settings: watch::channel(Arc::new(settings)).1,
        resolver: Arc::new(LiveResolver::new(&dns).expect("a resolver")),
        keys: Default::default(),
        store: Store::open(&store, Now.now()).expect("a store"),
        clock: Arc::new(Now),
        progress: PROGRESS,
    };
    let (_stop, stopped) = watch::channel(false);
    let listeners = listeners.expect("sockets");
    runtime.spawn(milter::run(
        listeners,
        Arc::new(service),
        stopped,
        Duration::ZERO,
    ));
    IS_CLIENT.set(true);
    let mut chain = Chain::open(&[Place::Unix(socket)], 0).expect("connects");
    let mut send = || {
        let (allocations, octets) = read();
        for (nth, message) in corpus.messages.iter().enumerate() {
            chain.deliver(message, nth).expect("an answer");
        }
        (read().0 - allocations, read().1 - octets)
    };
    send();
    let (allocations, octets) = send();
    let messages = corpus.messages.len() as u64;
    (allocations / messages, octets / messages)
}

fn read() -> (u64, u64) {
    (
        ALLOCATIONS.load(Ordering::Relaxed),
        OCTETS.load(Ordering::Relaxed),
    )
}
