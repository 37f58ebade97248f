//! Memory and file descriptors, each in a process of its own: this test binary, run once more.

use crate::mta::{Mail, Mta};
use crate::raw::Raw;
use crate::running::{settings, start};
use std::process::Command;
use std::time::Duration;

/// Runs `test` of this binary in a process that may have `files` open, unless this is that process.
pub fn is_child(test: &str, files: u32) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
        .arg(this)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("1 passed"), "{told}");
    println!("{told}");
    false
}

/// The most memory this process ever had, in KiB.
pub fn peak() -> u64 {
    of_status("VmHWM:")
}

/// The memory this process has, in KiB.
pub fn resident() -> u64 {
    of_status("VmRSS:")
}

fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `ALIGND_BODY_MIB` sets the size of the largest body; without it 64 MiB, to be quick.
#[tokio::test]
async fn memory_does_not_grow_with_the_message() {
    if !is_child("limits::memory_does_not_grow_with_the_message", 1_024) {
        return;
    }
    let running = start(settings()).await;
    let mut session = running.session(Mta::Postfix).await;
    let signature =
        " v=1; a=rsa-sha256; c=relaxed/relaxed; d=good.example; s=s; h=from; bh=AAAA; b=AAAA";
    let mail = Mail::plain("<a@good.example>")
        .field("DKIM-Signature", signature)
        .field("From", " a@good.example");
    let chunk = b"A line of a body, with some  spaces at its end  \r\n".repeat(1_310);
    let mut peaks = Vec::new();
    let largest = std::env::var("ALIGND_BODY_MIB").map_or(64, |text| text.parse().unwrap());
    for megabytes in [0, 1, largest] {
        session.begin(&mail).await;
        session.content(&mail).await;
        for _ in 0..megabytes * 16 {
            session.body(&chunk).await;
        }
        assert_eq!(session.end().await.last.kind, 'c');
        peaks.push(peak());
    }
    println!("peak memory after 0, 1 and {largest} MiB of body: {peaks:?} KiB");
    assert!(peaks[2] < peaks[0] + 4_096, "{peaks:?}");
    session.quit().await;
    assert_eq!(running.stop().await.verdicts.len(), 3);
}

#[tokio::test]
async fn a_thousand_idle_connections_cost_little() {
    if !is_child("limits::a_thousand_idle_connections_cost_little", 4_096) {
        return;
    }
    let mut settings = settings();
    settings.milter.max_connections = 2_000;
    let running = start(settings).await;
    let mail = Mail::plain("<a@good.example>").field("From", " a@good.example");
    let mut first = running.session(Mta::Postfix).await;
    first.deliver(&mail).await;
    let before = resident();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        let mut session = running.session(Mta::Postfix).await;
        if idle.len() % 2 == 0 {
            session.deliver(&mail).await;
        }
        idle.push(session);
    }
    let took = resident() - before;
    println!("1,000 idle connections, their clients included: {took} KiB");
    // 16 KiB of each are indymilter's buffers.
    assert!(took < 32 * 1_024, "{took} KiB");
    assert_eq!(first.deliver(&mail).await.last.kind, 'c');
    drop(idle);
    first.quit().await;
    assert_eq!(running.stop().await.verdicts.len(), 502);
}

#[tokio::test]
async fn running_out_of_file_descriptors_is_survived() {
    if !is_child("limits::running_out_of_file_descriptors_is_survived", 64) {
        return;
    }
    let running = start(settings()).await;
    // The clients take descriptors of this process too, so that accept is the first to find none.
    let mut waiting = Vec::new();
    while let Ok(stream) = std::os::unix::net::UnixStream::connect(&running.path) {
        waiting.push(stream);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(waiting.len() > 10);
    drop(waiting);
    let raw = loop {
        if let Ok(raw) = Raw::try_unix(&running.path).await {
            break raw;
        }
        tokio::task::yield_now().await;
    };
    let mut session = Mta::Postfix.session(raw, "mx", "192.0.2.9:25", "mx").await;
    let mail = Mail::plain("<a@good.example>").field("From", " a@good.example");
    assert_eq!(session.deliver(&mail).await.last.kind, 'c');
    session.quit().await;
}

const MARK: &str = "ALIGND_TEST_LIMITS_CHILD";
