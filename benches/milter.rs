//! A message through the whole milter, from MAIL to the answer, with its verdict stored: what it costs
//! to leave replies out, and to skip a body that nobody needs.
//!
//! One connection, one message after the other; DNS is in memory, nothing is signed, so that what is
//! measured is the way there and back: the CPU time of this process, the client's side included, which
//! other load on the machine hardly changes. `no_reply`: as agreed with today's MTAs; `body_reply`: each
//! body chunk is answered, and the rest of an unneeded body skipped; `replies`: everything is answered.

use alignd::dns::master;
use alignd::milter::{self, Listener, PROGRESS, Service, Settings, SocketSpec};
use alignd::store::{Durability, Store, StoreSettings};
use alignd::time::{Clock, Timestamp};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_795_356_000)
    }
}

/// CPU time of all threads, user and system.
struct CpuTime(WallTime);

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let micros = [usage.user_time(), usage.system_time()].map(|t| t.num_microseconds());
        Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs())
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// An MTA's side of a connection.
struct Mta {
    stream: Box<dyn Stream>,
    options: u32,
}

impl Mta {
    fn connect(mut stream: Box<dyn Stream>, options: u32) -> Self {
        let mut offer = vec![0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xff];
        offer.extend(options.to_be_bytes());
        stream.write_all(&offer).unwrap();
        let mut mta = Self { stream, options };
        let agreed = mta.read();
        mta.options = u32::from_be_bytes(agreed.1[8..12].try_into().unwrap());
        mta.step(b'C', b"mx.bench.example\x004\0\x19192.0.2.9\0", 0x1000);
        mta.step(b'H', b"mx.bench.example\0", 0x2000);
        mta
    }

    fn deliver(&mut self, body: &[u8]) {
        self.step(b'M', b"<a@bench.example>\0", 0x4000);
        self.step(b'R', b"<b@receiver.example>\0", 0x8000);
        self.step(b'T', b"", 0x1_0000);
        self.step(b'L', b"From\0 a@bench.example\0", 0x80);
        for _ in 0..19 {
            self.step(
                b'L',
                b"X-Some-Field\0 with a value of usual length, as they go\0",
                0x80,
            );
        }
        self.step(b'N', b"", 0x4_0000);
        for chunk in body.chunks(65_535) {
            if self.step(b'B', chunk, 0x8_0000) == b's' {
                break;
            }
        }
        self.send(b'E', b"");
        while self.read().0 != b'c' {}
    }

    fn send(&mut self, command: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len() + 1).unwrap();
        let packet = [&length.to_be_bytes()[..], &[command], payload].concat();
        self.stream.write_all(&packet).unwrap();
    }

    fn step(&mut self, command: u8, payload: &[u8], no_reply: u32) -> u8 {
        self.send(command, payload);
        if self.options & no_reply == 0 {
            self.read().0
        } else {
            b'c'
        }
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).unwrap();
        let [a, b, c, d, kind] = header;
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize - 1];
        self.stream.read_exact(&mut payload).unwrap();
        (kind, payload)
    }
}

fn benches(criterion: &mut Criterion<CpuTime>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("milter.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut settings = Settings::defaults("mx.bench.example");
    settings.milter.listen = vec![
        SocketSpec::Unix(socket.clone()),
        SocketSpec::parse("inet:127.0.0.1:0").unwrap(),
    ];
    settings.milter.socket_group.clear();
    let listeners = runtime.block_on(milter::bind(&settings.milter)).unwrap();
    let address = listeners.iter().find_map(Listener::address).unwrap();
    let zone = "bench.example. TXT \"v=spf1 ip4:192.0.2.9 -all\"\n_dmarc.bench.example. TXT \"v=DMARC1; p=none\"\n";
    let store = StoreSettings {
        path: directory.path().to_owned(),
        durability: Durability::Relaxed,
        ..StoreSettings::default()
    };
    let service = Service {
        bounces: watch::channel(None).1,
        settings: watch::channel(Arc::new(settings)).1,
        resolver: Arc::new(master::parse(zone).unwrap()),
        keys: Default::default(),
        store: Store::open(&store, Standing.now()).unwrap(),
        clock: Arc::new(Standing),
        progress: PROGRESS,
    };
    let (_stop, stopped) = watch::channel(false);
    runtime.spawn(milter::run(
        listeners,
        Arc::new(service),
        stopped,
        Duration::ZERO,
    ));
    for (name, size) in [("10KiB", 10 * 1024), ("1MiB", 1024 * 1024)] {
        let body = b"A line of a body, seventy octets long, as they often are in mail...\r\n"
            .repeat(size / 70);
        let mut group = criterion.benchmark_group(format!("message_{name}"));
        group.throughput(Throughput::Elements(1));
        for (way, options) in [
            ("no_reply", 0x1f_ffff),
            ("body_reply", 0x17_ffff),
            ("replies", 0x10_0400),
        ] {
            let unix = UnixStream::connect(&socket).unwrap();
            let tcp = TcpStream::connect(address).unwrap();
            tcp.set_nodelay(true).unwrap();
            let streams: [(&str, Box<dyn Stream>); 2] =
                [("unix", Box::new(unix)), ("tcp", Box::new(tcp))];
            for (kind, stream) in streams {
                let mut mta = Mta::connect(stream, options);
                group.bench_function(BenchmarkId::new(way, kind), |bencher| {
                    bencher.iter(|| mta.deliver(&body));
                });
            }
        }
    }
}

criterion_group! {
    name = milter_benches;
    config = Criterion::default().with_measurement(CpuTime(WallTime));
    targets = benches
}
criterion_main!(milter_benches);
