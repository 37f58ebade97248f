//! DKIM's costs: a whole verification beside mail-auth's, its parts, and bodies of many kinds.
//!
//! `cargo bench --bench dkim`. Figures are per core; compare them on an idle machine only, or as a
//! ratio to mail-auth in the same run.

#[path = "../tests/support/dkim.rs"]
mod dkim;
#[path = "../tests/support/dkim_signer.rs"]
mod dkim_signer;
#[path = "../tests/support/mail_auth_dkim.rs"]
mod mail_auth_dkim;

use alignd::auth::dkim::{DkimSettings, KeyCache, Signatures};
use alignd::message::HeaderField;
use alignd::message::parse::Message;
use alignd::time::Timestamp;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dkim_signer::SigningKey;
use mail_auth_dkim::MailAuth;
use std::hint::black_box;
use std::time::Instant;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// What Postfix hands over at a time.
const CHUNK: usize = 65_535;
const RUNS: usize = 20_000;

/// A message of some 10 KiB with an ordinary header and two RSA-2048 signatures.
fn ten_kib() -> (Vec<u8>, Vec<(String, String)>) {
    let mut message = HEADER.replace('\n', "\r\n").into_bytes();
    message.extend_from_slice(b"\r\n");
    message.extend(text(10 * 1024));
    let mut records = Vec::new();
    for domain in ["example.org", "esp.example"] {
        let key = SigningKey::generate("rsa");
        records.push((format!("s2026._domainkey.{domain}"), key.record()));
        message = key.sign(&message, &TAGS.replace("{d}", domain));
    }
    (message, records)
}

fn pairs(records: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    records.iter().map(|(n, r)| (n.as_str(), r.as_str()))
}

fn whole(criterion: &mut Criterion) {
    let (file, records) = ten_kib();
    let message = Message::parse(&file);
    let zone = dkim::zone(pairs(&records));
    let settings = DkimSettings::default();
    let cache = KeyCache::default();
    let verify = || {
        let signatures = Signatures::read(&message.fields, None, &settings, NOW);
        let mut hasher = signatures.body_hasher();
        hasher.update(&message.body);
        let keys = dkim::ready(signatures.look_up_keys(&zone, &cache));
        signatures.conclude(keys, hasher.finish())
    };
    let evidence = dkim::judge(&file, &zone, &settings, NOW.seconds(), CHUNK);
    assert_eq!(dkim::lines(&evidence), ["pass", "pass"]);
    let peer = MailAuth::new(pairs(&records));
    assert_eq!(
        peer.judge(&file),
        [mail_auth::DkimResult::Pass, mail_auth::DkimResult::Pass]
    );
    let mut group = criterion.benchmark_group("10 KiB, two RSA-2048");
    group.bench_function("alignd", |b| b.iter(verify));
    group.bench_function("mail-auth", |b| b.iter(|| peer.judge(black_box(&file))));
    group.finish();

    println!("fastest of {RUNS} single runs, which a busy machine disturbs least:");
    fastest("alignd", || (), |()| verify());
    fastest("mail-auth", || (), |()| peer.judge(black_box(&file)));
    let read = || Signatures::read(black_box(&message.fields), None, &settings, NOW);
    let hash = |signatures: &Signatures| {
        let mut hasher = signatures.body_hasher();
        hasher.update(black_box(&message.body));
        hasher.finish()
    };
    let look_up = |signatures: &Signatures| dkim::ready(signatures.look_up_keys(&zone, &cache));
    fastest("  read", || (), |()| read());
    fastest("  body", read, |signatures| hash(&signatures));
    fastest("  keys", read, |signatures| look_up(&signatures));
    let ready = || {
        let signatures = read();
        let (keys, body) = (look_up(&signatures), hash(&signatures));
        (signatures, keys, body)
    };
    fastest("  conclude", ready, |(s, keys, body)| {
        s.conclude(keys, body)
    });
}

/// Prints the time of the fastest run; `prepare` is not part of it.
fn fastest<T, R>(name: &str, prepare: impl Fn() -> T, run: impl Fn(T) -> R) {
    let time = |_| {
        let input = prepare();
        let begin = Instant::now();
        let output = run(input);
        let took = begin.elapsed();
        drop(black_box(output));
        took
    };
    let best = (0..RUNS).map(time).min();
    println!(
        "{name:12} {:8.1} µs",
        best.map_or(0.0, |b| b.as_secs_f64() * 1e6)
    );
}

/// The body alone, in pieces as they come from an MTA.
fn bodies(criterion: &mut Criterion) {
    for canon in ["relaxed", "simple"] {
        let mut group = criterion.benchmark_group(format!("body {canon}"));
        let signatures = signed_with(canon);
        for (name, body) in [
            ("text 1 KiB", text(1 << 10)),
            ("text 64 KiB", text(1 << 16)),
            ("text 1 MiB", text(1 << 20)),
            ("text 64 MiB", text(1 << 26)),
            ("base64 1 MiB", base64(1 << 20)),
            ("indented 1 MiB", indented(1 << 20)),
            ("empty lines 1 MiB", b"\r\n".repeat(1 << 19)),
            ("spaces 1 MiB", b"a ".repeat(1 << 19)),
            ("two spaces 1 MiB", b"a  ".repeat(1 << 19)),
        ] {
            if body.len() > 1 << 20 {
                group.sample_size(10);
            }
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(name, |b| {
                b.iter(|| {
                    let mut hasher = signatures.body_hasher();
                    for chunk in body.chunks(CHUNK) {
                        hasher.update(black_box(chunk));
                    }
                    hasher.finish()
                });
            });
        }
        group.finish();
    }
}

/// Not a time: what stays resident while 1 GiB of body passes.
fn memory(_: &mut Criterion) {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|n| n.parse::<u64>().ok()).expect("KiB")
    };
    let chunk = text(CHUNK);
    for canon in ["relaxed", "simple"] {
        let mut hasher = signed_with(canon).body_hasher();
        hasher.update(&chunk);
        let (before, mut most) = (resident(), 0);
        for round in 0..(1 << 30) / CHUNK {
            hasher.update(black_box(&chunk));
            if round % 256 == 0 {
                most = most.max(resident());
            }
        }
        drop(hasher.finish());
        println!("memory {canon}: {before} KiB resident, {most} KiB at most while 1 GiB passed");
    }
}

fn signed_with(canon: &str) -> Signatures {
    let value = format!(
        "v=1; a=rsa-sha256; c=relaxed/{canon}; d=example.org; s=s; h=from; bh=AAAA; b=AAAA"
    );
    let fields = [
        HeaderField::new("DKIM-Signature", value),
        HeaderField::new("From", " a@example.org"),
    ];
    Signatures::read(&fields, None, &DkimSettings::default(), NOW)
}

/// Paragraphs of words, an empty line between them.
fn text(size: usize) -> Vec<u8> {
    let line = "The quick brown fox jumps over the lazy dog, and it does so again.\r\n";
    let paragraph = line.repeat(7) + "\r\n";
    cut(paragraph.as_bytes(), size)
}

fn base64(size: usize) -> Vec<u8> {
    let line = "R2V0IG1vcmUgcHJvZHVjdGl2ZSB3aXRoIEdpdEh1YiBDb3BpbG90IHRvZGF5LiAgIA0KDQrNj+KA\r\n";
    cut(line.as_bytes(), size)
}

/// What HTML mail looks like.
fn indented(size: usize) -> Vec<u8> {
    let lines = "<table width=3D\"720\">\r\n                  <tr>\r\n\t\t<td align=3D\"center\">\r\n      x </td>\r\n";
    cut(lines.as_bytes(), size)
}

fn cut(piece: &[u8], size: usize) -> Vec<u8> {
    let mut body = piece.repeat(size / piece.len() + 1);
    body.truncate(size - 2);
    body.extend_from_slice(b"\r\n");
    body
}

const TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d={d}; s=s2026; t=1799999999;\r\n\
    \ti=@{d}; h=Date:From:To:Subject:Message-ID:List-Unsubscribe:MIME-Version:\r\n\
    \t Content-Type:From:Subject; bh={bh};\r\n\tb={b}";

const HEADER: &str = "Received: from mail.example.org (mail.example.org [192.0.2.1])
\tby mx.example.net (Postfix) with ESMTPS id 4Zt0ab12Cd
\tfor <bob@example.net>; Sun, 22 Nov 2026 16:30:00 +0000 (UTC)
Received: from app-7.internal (app-7.internal [10.0.0.7])
\tby mail.example.org (Postfix) with ESMTP id 4Zt0aa99zz
\tfor <bob@example.net>; Sun, 22 Nov 2026 16:29:59 +0000 (UTC)
Return-Path: <bounce+12345@example.org>
Date: Sun, 22 Nov 2026 16:29:59 +0000
From: =?utf-8?q?Ann_Example?= <ann@example.org>
Reply-To: <reply@example.org>
To: Bob <bob@example.net>
Subject: Your order 4711 has been sent, and what happens
 next with it
Message-ID: <20261122162959.4711@example.org>
List-Unsubscribe: <https://example.org/unsubscribe?u=12345&t=abcdefghijklmnop>,
 <mailto:unsubscribe@example.org>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Feedback-ID: 12345:example:orders
X-Mailer: example 1.0
X-Campaign: orders-2026
Precedence: bulk
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: multipart/alternative;
 boundary=\"----=_Part_12345_67890.1763829000\"
";

criterion_group!(benches, whole, bodies, memory);
criterion_main!(benches);
