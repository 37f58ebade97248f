//! alignd beside what people use today, on the same mail at the same time of day: Debian's OpenDKIM
//! with OpenDMARC behind it, and Rspamd. `contrib/bench` runs this.
//!
//! One table: messages a second, CPU time of the milters a message (the client's and the DNS server's
//! are not in it), how long an MTA waits at the end of a message and for the whole of it, and memory.
//! Latencies are for messages of up to 64 KiB, on a machine that the client shares. Under it, what a
//! message takes of alignd's allocator.
//! `--quick`: a tenth of the messages. `--only NAME`: one of the milters. The variable `ALIGND` may name
//! another build of it.

mod allocations;
mod corpus;
mod figures;
mod milters;
mod mta;

#[path = "../../tests/support/aside.rs"]
mod aside;
#[path = "../../tests/support/dkim_signer.rs"]
mod dkim_signer;
#[path = "../../tests/support/loopback.rs"]
mod loopback;
#[path = "../../tests/support/nsd.rs"]
mod nsd;
#[path = "../../tests/support/signal.rs"]
mod signal;
#[path = "../../tests/support/wait.rs"]
mod wait;

use corpus::Corpus;
use figures::{Processes, milliseconds, percentile};
use milters::Milters;
use mta::{Chain, Place, Took};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let only = arguments.iter().skip_while(|a| *a != "--only").nth(1);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit");
    let corpus = Corpus::generate(1_000);
    let nsd = nsd::Nsd::start(&corpus.zone);
    // The others find it in resolv.conf, which knows no ports.
    let dns = SocketAddrV4::new(*nsd.address().ip(), 53);
    let run = Run {
        corpus: &corpus,
        messages: if quick { 800 } else { 8_000 },
        sent: AtomicUsize::new(0),
    };
    run.introduce();
    for (name, start) in milters::ALL {
        if only.is_none_or(|only| only == name) {
            run.measure(&start(dns));
        }
    }
    if only.is_none_or(|only| only == "alignd") {
        let (allocations, octets) = allocations::a_message(&corpus, dns);
        println!("\nalignd allocates {allocations} times a message, {octets} octets together");
    }
}

struct Run<'c> {
    corpus: &'c Corpus,
    /// In each line of the table.
    messages: usize,
    sent: AtomicUsize,
}

impl Run<'_> {
    fn introduce(&self) {
        let [median, mean, largest] = self.corpus.sizes().map(|size| size / 1_024);
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|l| l.strip_prefix("model name\t: "));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        println!(
            "{}, {cores} cores, Linux {}",
            model.unwrap_or("an unknown processor"),
            kernel.trim()
        );
        println!(
            "{} domains, {} messages a line, bodies: median {median} KiB, mean {mean} KiB, largest {largest} KiB\n",
            corpus::DOMAINS,
            self.messages
        );
        println!(
            "| milter | connections | messages/s | CPU ms a message | end of message p50 / p99 ms | message p50 / p99 ms | peak MiB |\n\
             |---|---|---:|---:|---:|---:|---:|"
        );
    }

    fn measure(&self, milters: &Milters) {
        let processes = Processes(milters.processes());
        let places: Vec<&[Place]> = match milters.name {
            // It listens at both.
            "alignd" => milters.places.iter().map(std::slice::from_ref).collect(),
            _ => vec![&milters.places],
        };
        self.send(places[0], 8, self.messages / 4);
        for connections in [1, 8, 64] {
            self.line(
                milters.name,
                &connections.to_string(),
                places[0],
                connections,
                &processes,
            );
        }
        for place in places.iter().skip(1) {
            for connections in [1, 8] {
                let words = format!("{connections}, TCP");
                self.line(milters.name, &words, place, connections, &processes);
            }
        }
        let before = processes.resident();
        let open = |client| Chain::open(places[0], client).expect("connects");
        let idle: Vec<Chain> = (0..1_000).map(open).collect();
        let more = processes.resident().saturating_sub(before);
        let words = format!("8 and 1,000 idle (+{:.0} MiB)", more as f64 / 1_024.0);
        self.line(milters.name, &words, places[0], 8, &processes);
        drop(idle);
    }

    /// One line of the table.
    fn line(
        &self,
        name: &str,
        words: &str,
        places: &[Place],
        connections: usize,
        processes: &Processes,
    ) {
        processes.forget_peak();
        let (cpu, began) = (processes.cpu(), Instant::now());
        let took = self.send(places, connections, self.messages);
        let (cpu, wall) = (processes.cpu().saturating_sub(cpu), began.elapsed());
        let count = self.messages as f64;
        let sorted = |time: fn(&Took) -> Duration| {
            let mut times: Vec<Duration> = took.iter().map(time).collect();
            times.sort_unstable();
            [0.5, 0.99].map(|share| milliseconds(percentile(&times, share)))
        };
        let ([end, ends], [whole, wholes]) = (sorted(|t| t.end), sorted(|t| t.whole));
        println!(
            "| {name} | {words} | {:.0} | {:.3} | {end:.2} / {ends:.2} | {whole:.2} / {wholes:.2} | {:.1} |",
            count / wall.as_secs_f64(),
            milliseconds(cpu) / count,
            processes.peak() as f64 / 1_024.0
        );
    }

    /// Sends so many messages through so many connections, and returns how long the smaller ones took.
    fn send(&self, places: &[Place], connections: usize, messages: usize) -> Vec<Took> {
        let next = AtomicUsize::new(0);
        let one_connection = |client: usize| {
            let mut chain = Chain::open(places, client).expect("connects");
            let mut all = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= messages {
                    return all;
                }
                let message = &self.corpus.messages[nth % self.corpus.messages.len()];
                let id = self.sent.fetch_add(1, Ordering::Relaxed);
                let took = chain.deliver(message, id).expect("an answer");
                if message.body.len() <= SMALL {
                    all.push(took);
                }
            }
        };
        std::thread::scope(|scope| {
            let one_connection = &one_connection;
            let clients: Vec<_> = (0..connections)
                .map(|client| scope.spawn(move || one_connection(client)))
                .collect();
            let took = clients.into_iter().map(|c| c.join().expect("a client"));
            took.flatten().collect()
        })
    }
}

/// Messages whose latencies count.
const SMALL: usize = 64 * 1_024;
