//! The program itself: `alignd schedule` builds what is due with nobody asking, `alignd report send --now`
//! sends it. DNS is a port where nobody answers: the record that was seen last holds.

use crate::kept_reports::{keep, open, verified};
use crate::plain_verdict::plain_verdict;
use crate::smtp_server::{Does, SmtpServer};
use crate::wait;
use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::report::aggregate::Format;
use alignd::store::{Destination, Standing, Store, StoreSettings};
use alignd::time::{Timestamp, UtcDay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const SETTINGS: &str = "\
[identity]
org_name = \"Receiver\"
report_domain = \"reports.example\"
contact = \"postmaster@reports.example\"
site_key = \"{}/site.key\"
[dns]
servers = [\"127.0.0.1:9\"]
timeout = \"100ms\"
[control]
socket = \"{}/control.sock\"
[store]
path = \"{}/store\"
[report]
enabled = true
send_window = \"00:00-24:00\"
settle = \"0s\"
[delivery]
smtp = \"127.0.0.1:PORT\"
tls = \"none\"
";

fn alignd(settings: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alignd"));
    command.args(arguments).arg("--config").arg(settings);
    command
}

fn run(settings: &Path, arguments: &[&str]) -> Output {
    let output = alignd(settings, arguments).output();
    output.expect("the binary runs")
}

/// A store with two messages of b.example, accepted at noon yesterday, and settings for it.
fn filled(home: &Path, port: u16) -> PathBuf {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let today = Timestamp::from_seconds(now.as_secs() as i64).day();
    let yesterday = UtcDay::from_number(today.number() - 1);
    let noon = yesterday.begin().plus_micros(12 * 3_600_000_000);
    let store = StoreSettings {
        path: home.join("store"),
        ..StoreSettings::default()
    };
    let work = async {
        let store = Store::open(&store, noon).expect("a store");
        for nth in 0..2 {
            let verdict = Arc::new(plain_verdict("b.example", noon, nth));
            let id = verdict.id;
            let accepted = Outcome::new(OutcomeState::Accepted, noon, OutcomeSource::Reply);
            store.record(verdict).await.expect("recorded");
            store.confirm(id, accepted);
        }
        store.close().await;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work);
    let text = SETTINGS.replace("{}", &home.display().to_string());
    let file = home.join("alignd.toml");
    std::fs::write(&file, text.replace("PORT", &port.to_string())).expect("our own directory");
    file
}

#[test]
fn it_builds_by_itself_and_sends_when_told() {
    let home = tempfile::tempdir().expect("a directory");
    let server = SmtpServer::start(|_| Does::Well);
    let settings = filled(home.path(), server.port());
    assert_eq!(run(&settings, &["report", "due"]).status.code(), Some(0));
    let mut schedule = alignd(&settings, &["schedule"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    wait::until("what was due is built", || {
        (run(&settings, &["report", "due"]).status.code() == Some(1)).then_some(())
    });
    let process = Pid::from_raw(schedule.id().try_into().expect("a process id"));
    kill(process, Signal::SIGTERM).expect("it runs");
    assert!(schedule.wait().expect("it is our child").success());
    gauges_are_served(&settings);
    let send = ["report", "send", "--now", "--format", "csv"];
    let sent = run(&settings, &send);
    let told = String::from_utf8_lossy(&sent.stdout);
    let said = String::from_utf8_lossy(&sent.stderr);
    let expected = "verified,sent,deferred,refused,expired\n0,1,0,0,0\n";
    assert_eq!((sent.status.code(), &*told), (Some(0), expected), "{said}");
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].to, ["<dmarc-reports@b.example>"]);
    assert_eq!(run(&settings, &send).status.code(), Some(1));
    assert_eq!(server.received().len(), 1);
}

#[test]
fn what_waits_for_its_time_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let server = SmtpServer::start(|_| Does::Well);
    let settings = filled(home.path(), server.port());
    let reports = open(&home.path().join("store"));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let now = Timestamp::from_seconds(now.as_secs() as i64);
    for (name, wait) in [("due.example", 0), ("later.example", 7 * 86_400)] {
        let to = Destination {
            standing: Standing::Verified(now.plus_micros(wait * 1_000_000)),
            ..verified(&format!("d@{name}"))
        };
        keep(&reports, name, Format::Rfc9990, vec![to], now);
    }
    for (arguments, code, arrived) in [
        (["report", "send"].as_slice(), 3, 1),
        (&["report", "send"], 1, 1),
        (&["report", "send", "--now"], 0, 2),
    ] {
        let sent = run(&settings, arguments);
        let said = String::from_utf8_lossy(&sent.stderr);
        assert_eq!(sent.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(said.contains("1 wait for their time"), code == 3, "{said}");
        assert_eq!(server.received().len(), arrived);
    }
}

/// On its own it serves numbers too: one report waits, and no day is due any more.
fn gauges_are_served(settings: &Path) {
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut schedule = alignd(
        settings,
        &["schedule", "--metrics-listen", &address.to_string()],
    )
    .stderr(Stdio::null())
    .spawn()
    .expect("the binary runs");
    let page = wait::until("the gauges are set", || {
        let page = scrape(address).ok()?;
        page.contains("alignd_report_oldest").then_some(page)
    });
    schedule.kill().expect("it runs");
    schedule.wait().expect("it is our child");
    for line in [
        "alignd_outbox_entries{state=\"to_verify\"} 0",
        "alignd_outbox_entries{state=\"queued\"} 1",
        "alignd_outbox_entries{state=\"refused\"} 0",
        "alignd_outbox_entries{state=\"expired\"} 0",
        "alignd_report_days_due 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    let oldest = page
        .lines()
        .find_map(|line| line.strip_prefix("alignd_report_oldest_waiting_seconds "));
    let oldest: f64 = oldest.and_then(|age| age.parse().ok()).expect("an age");
    assert!(oldest > 0.0 && oldest < 3_600.0, "{oldest}");
}

fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}
