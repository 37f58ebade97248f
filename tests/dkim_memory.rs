//! The memory of hashing a body does not grow with it. Alone in its process, since what is watched is
//! the process's resident memory (`VmRSS`, Linux) while the body passes. `benches/dkim.rs` does the
//! same with 1 GiB.

use alignd::auth::dkim::{DkimSettings, Signatures};
use alignd::message::HeaderField;
use alignd::time::Timestamp;
use std::fs;

/// KiB that may be resident beyond what a body of 1 KiB takes: two chunks.
const ALLOWED: u64 = 128;
const CHUNK: usize = 65_535;

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect("a size").parse().expect("KiB")
}

/// Hashes `octets` of body, `chunk` after `chunk`, for both canonicalizations and a few `l=`; the most
/// that was resident meanwhile.
fn hash(chunk: &[u8], octets: usize) -> u64 {
    let value = |canon: &str, length: &str| {
        let value = format!("v=1; a=rsa-sha256; c={canon}; d=s.example; s=s; h=from; {length}");
        HeaderField::new("DKIM-Signature", value + "bh=AAAA; b=AAAA")
    };
    let fields = [
        value("simple/simple", ""),
        value("simple/relaxed", ""),
        value("simple/relaxed", "l=1000000;"),
        value("simple/relaxed", "l=99999999999;"),
        HeaderField::new("From", " a@s.example"),
    ];
    let now = Timestamp::from_seconds(1_800_000_000);
    let signatures = Signatures::read(&fields, None, &DkimSettings::default(), now);
    let mut hasher = signatures.body_hasher();
    assert!(!hasher.is_done());
    let (mut left, mut most) = (octets, 0);
    while left > 0 {
        let piece = &chunk[..left.min(chunk.len())];
        hasher.update(piece);
        left -= piece.len();
        most = most.max(resident());
    }
    drop(hasher.finish());
    most
}

#[test]
fn memory_is_flat() {
    let fill = |text: &str| text.repeat(CHUNK / text.len() + 1).into_bytes();
    let kinds = [
        "The quick brown fox\t jumps.  \r\n\r\n",
        "\r\n",
        " ",
        "\r",
        "x",
    ];
    let chunks = kinds.map(fill);
    let small = chunks.iter().map(|chunk| hash(chunk, 1 << 10)).max();
    let large = chunks.iter().map(|chunk| hash(chunk, 1 << 22)).max();
    let (small, large) = (small.expect("a body"), large.expect("a body"));
    println!("dkim memory: {small} KiB resident with bodies of 1 KiB, {large} KiB with 4 MiB");
    assert!(large <= small + ALLOWED, "{large} KiB, {small} KiB before");
}
