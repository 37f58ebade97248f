//! How long a day's reports take, and how much memory: from verdicts to gzipped reports in the outbox.
//!
//! Days are filled by direct insertion. Each is built by a process of its own (this program again), whose
//! peak memory and CPU time are then the build's; where its reports go is asked of DNS that is as slow as
//! in life (`dns`). The largest day is built a second time beside a milter at work (`meanwhile`).
//! `contrib/bench-reports` says what is run.

mod dns;
mod meanwhile;

#[path = "../../tests/support/aside.rs"]
mod aside;
#[path = "../../tests/support/bulk.rs"]
mod bulk;
#[path = "../chain/corpus.rs"]
mod corpus;
#[path = "../../tests/support/dkim_signer.rs"]
mod dkim_signer;
#[path = "../../tests/support/loopback.rs"]
mod loopback;
#[path = "../chain/mta.rs"]
mod mta;
#[path = "../../tests/support/nsd.rs"]
mod nsd;
#[path = "../../tests/support/signal.rs"]
mod signal;
#[path = "../../tests/support/wait.rs"]
mod wait;

use alignd::build_report::{BuildSettings, Builder, look, preview};
use alignd::domain::DomainName;
use alignd::report::aggregate::{Format, Reporter};
use alignd::schedule::{LiveDestinations, Notes};
use alignd::send_report::Asker;
use alignd::store::{Include, Reader, Reports, StoreSettings};
use alignd::time::{Clock, Period, Timestamp, UtcDay};
use bulk::Bulk;
use dns::{DEAD, Distant, LATENCY};
use flate2::Compression;
use flate2::write::GzEncoder;
use meanwhile::Milter;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DAY: UtcDay = UtcDay::from_number(20_779);
/// Mail::DMARC runs beside days of at most this many messages: its time grows with their square.
const BESIDE: u64 = 10_000;
/// How long the milter is watched without a build.
const ALONE: Duration = Duration::from_secs(30);
const PART: &str = "ALIGND_BENCH_REPORTS_PART";
const PLACE: &str = "ALIGND_BENCH_REPORTS_PLACE";
/// The line of the table that the build leaves to its parent.
const FIGURES: &str = "figures.txt";

fn main() {
    let place = std::env::var_os(PLACE).map(PathBuf::from);
    match (std::env::var(PART).as_deref(), place) {
        (Ok("build"), Some(place)) => build(&place),
        (Ok("largest"), Some(place)) => largest(&place),
        _ => bench(),
    }
}

/// Words on the command line: messages:domains, such as 100000:1000; `--meanwhile` for a milter at work
/// beside the last one.
fn bench() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word.contains(':'))
        .collect();
    let days = if asked.is_empty() {
        vec!["100000:1000".to_owned()]
    } else {
        asked
    };
    println!(
        "DNS in memory: {} ms an answer, none at all for one domain in {DEAD}",
        LATENCY.as_millis()
    );
    let meanwhile = std::env::args().any(|word| word == "--meanwhile");
    let mut curve = Vec::new();
    for (nth, day) in days.iter().enumerate() {
        let (messages, domains) = day.split_once(':').expect("messages:domains");
        let bulk = Bulk {
            day: DAY,
            messages: messages.parse().expect("a number"),
            domains: domains.parse().expect("a number"),
            addresses: 50_000,
            grounds: 300,
        };
        let directory = tempfile::tempdir().expect("a directory");
        let started = Instant::now();
        let counts = bulk::fill(directory.path(), &bulk);
        let largest = counts.values().max().copied().unwrap_or(0);
        let size = fs::metadata(directory.path().join("alignd.db")).map_or(0, |m| m.len());
        println!(
            "{messages} messages of {domains} domains, the largest {largest}: filled in {:.0} s, {} MiB",
            started.elapsed().as_secs_f64(),
            size >> 20
        );
        if bulk.messages <= BESIDE {
            mail_dmarc(directory.path());
        }
        for part in ["largest", "build"] {
            let status = ourselves(part, directory.path()).wait();
            assert!(status.expect("our child").success(), "{part}");
        }
        curve.push(fs::read_to_string(directory.path().join(FIGURES)).expect("the build's"));
        if meanwhile && nth + 1 == days.len() {
            beside_the_milter(directory.path());
        }
    }
    println!(
        "\n  {:>9} {:>8} {:>9} {:>8} {:>8} {:>9} {:>8} {:>5}\n{}",
        "messages",
        "reports",
        "rows",
        "s",
        "s folded",
        "ms/report",
        "us/row",
        "MiB",
        curve.concat()
    );
}

fn ourselves(part: &str, place: &Path) -> Child {
    Command::new(std::env::current_exe().expect("our own path"))
        .env(PART, part)
        .env(PLACE, place)
        .spawn()
        .expect("starts itself")
}

/// The same day again, while mail comes in.
fn beside_the_milter(directory: &Path) {
    for file in ["reports.db", "reports.db-wal", "reports.db-shm"] {
        // The last ones go with their database.
        _ = fs::remove_file(directory.join(file));
    }
    let milter = Milter::start(directory);
    milter.introduce();
    let for_so_long = |duration: Duration| {
        let began = Instant::now();
        milter.send(move || began.elapsed() > duration)
    };
    for_so_long(Duration::from_secs(10));
    let before = for_so_long(ALONE);
    before.tell("alone");
    let build = Mutex::new(ourselves("build", directory));
    let over = || {
        let ended = build.lock().expect("nobody panics with it").try_wait();
        ended.expect("our child").is_some()
    };
    let beside = milter.send(over);
    beside.tell("beside the build");
    let after = for_so_long(ALONE);
    after.tell("alone again");
    let alone = (before.end_p99() + after.end_p99()) / 2.0;
    println!(
        "    p99 at the end of the message: {:.2} times that alone",
        beside.end_p99() / alone
    );
}

/// Mail::DMARC on the same messages, unless it is not unpacked.
fn mail_dmarc(directory: &Path) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = target.unwrap_or_else(|| root.join("target"));
    let tree = target.join("aside/libmail-dmarc-perl/usr");
    if !tree.exists() {
        println!("  Mail::DMARC: not unpacked (contrib/lib/aside libmail-dmarc-perl)");
        return;
    }
    let messages = directory.join("messages.tsv");
    write_messages(directory, &messages);
    let libraries = [
        "share/perl5",
        "lib/x86_64-linux-gnu/perl5/5.36",
        "share/perl/5.36",
    ];
    let mut command = Command::new("perl");
    for library in libraries {
        command.arg("-I").arg(tree.join(library));
    }
    let status = command
        .arg(root.join("benches/reports/mail_dmarc.pl"))
        .arg(directory)
        .arg(&messages)
        .env("LD_LIBRARY_PATH", tree.join("lib/x86_64-linux-gnu"))
        .current_dir(tree.join("share/perl5"))
        .status()
        .expect("perl starts");
    assert!(status.success(), "Mail::DMARC: {status}");
}

/// One line for each message: domain, address, disposition, dkim, spf.
fn write_messages(directory: &Path, file: &Path) {
    let connection = rusqlite::Connection::open(directory.join("alignd.db")).expect("opens");
    let mut statement = connection
        .prepare(
            "SELECT n.name, v.source_ip, e.dkim, e.spf FROM verdict v
             JOIN name n ON n.id = v.header_from
             JOIN policy_evaluated e ON e.id = v.policy_evaluated ORDER BY v.header_from, v.number",
        )
        .expect("a query");
    let lines = statement
        .query_map([], |row| {
            let octets: [u8; 4] = row.get(1)?;
            let (name, dkim, spf): (String, String, String) =
                (row.get(0)?, row.get(2)?, row.get(3)?);
            let address = std::net::Ipv4Addr::from(octets);
            Ok(format!("{name}\t{address}\tnone\t{dkim}\t{spf}\n"))
        })
        .expect("rows");
    let text: String = lines.map(|line| line.expect("a row")).collect();
    fs::write(file, text).expect("writes");
}

/// The clock of the system: leases are real here.
struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before 294000"))
    }
}

fn settings(directory: &Path) -> BuildSettings {
    let domain = DomainName::parse("reports.example").expect("a domain");
    BuildSettings {
        reporter: Reporter {
            org_name: "Example".to_owned(),
            contact: "postmaster@reports.example".to_owned(),
            domain,
        },
        format: Format::Rfc9990,
        include: Include::Accepted,
        envelope_to: false,
        min_messages: 1,
        skip_domains: Vec::new(),
        only_domains: Vec::new(),
        spool: directory.to_owned(),
    }
}

/// The whole day.
fn build(directory: &Path) {
    let started = Instant::now();
    let store = StoreSettings {
        path: directory.to_owned(),
        ..StoreSettings::default()
    };
    let reports = Reports::open(&store, Now.now()).expect("opens");
    let reader = Reader::open(directory).expect("a reader");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    look(&reader, &reports, DAY).expect("looks");
    let looked = started.elapsed();
    let (settings, now) = (settings(directory), Now.now());
    let destinations = LiveDestinations {
        resolver: &Arc::new(Distant),
        reports: &reports,
        asker: Asker {
            report_domain: &settings.reporter.domain,
            max_destinations: 10,
            now,
        },
        day: DAY,
        window: Period {
            begin: now,
            end: now.plus_micros(4 * 3_600_000_000),
        },
        notes: Notes::default(),
    };
    let builder = Builder {
        settings: &settings,
        reader: &reader,
        reports: &reports,
        destinations: &destinations,
        runtime: runtime.handle(),
        clock: &Now,
    };
    let mut folded = None;
    let built = builder
        .build_day(DAY, |_| {
            folded.get_or_insert(started.elapsed());
        })
        .expect("builds");
    let (took, looked) = (started.elapsed().as_secs_f64(), looked.as_secs_f64());
    let first = folded.unwrap_or_default().as_secs_f64();
    let (messages, reports, rows) = (built.messages, built.reports, built.rows);
    println!(
        "  all: {reports} reports of {messages} messages in {rows} rows, {took:.2} s ({looked:.2} s to look, \
         {first:.2} s till all is folded), {:.1} s of CPU, {} MiB peak",
        cpu_seconds(),
        peak_mib()
    );
    let of = |seconds: f64, count: u64, unit: f64| seconds * unit / count as f64;
    println!(
        "       {:.1} us a message to look and fold, then {:.2} ms a report, {:.1} us a row",
        of(first, messages, 1e6),
        of(took - first, reports, 1e3),
        of(took - first, rows, 1e6)
    );
    let line = format!(
        "  {messages:>9} {reports:>8} {rows:>9} {took:>8.1} {first:>8.1} {:>9.2} {:>8.1} {:>5}\n",
        of(took, reports, 1e3),
        of(took, rows, 1e6),
        peak_mib()
    );
    fs::write(directory.join(FIGURES), line).expect("writes");
}

/// The report of the largest domain alone.
fn largest(directory: &Path) {
    let started = Instant::now();
    let reader = Reader::open(directory).expect("a reader");
    let domain = DomainName::parse(&bulk::domain(1)).expect("a domain");
    let settings = settings(directory);
    let mut out = GzEncoder::new(Vec::new(), Compression::new(6));
    let planned = preview(&settings, &reader, None, (DAY, &domain), &mut out)
        .expect("a preview")
        .expect("the largest domain has mail");
    let gz = out.finish().expect("gzip");
    println!(
        "  the largest: {} messages in {:.2} s, {} KiB of gzip, {} MiB peak",
        planned.summary.messages,
        started.elapsed().as_secs_f64(),
        gz.len() >> 10,
        peak_mib()
    );
}

/// The most memory this process ever had (`VmHWM`).
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number") >> 10
}

/// User and system time of this process, from clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a command");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    (ticks(11) + ticks(12)) as f64 / 100.0
}
