//! The fuzz targets with random input, on a stable compiler: pieces of real syntax glued, cut and
//! mutated. `ALIGND_FUZZ_SECONDS` gives each target so long; without it a fixed number of rounds.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::time::{Duration, Instant};

/// Rounds of each target when no time is given.
const ROUNDS: u64 = 3_000;

/// A small xorshift generator: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn fuzz(name: &str, target: impl Fn(&[u8]), pieces: &[&str]) {
    let seconds = std::env::var("ALIGND_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut rounds = 0;
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        target(&input(&mut random, pieces));
        rounds += 1;
    }
    println!("fuzz {name}: {rounds} inputs");
}

fn input(random: &mut Random, pieces: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    for _ in 0..random.below(12) + 1 {
        match random.below(8) {
            0 => data.extend((0..random.below(20)).map(|_| random.below(256) as u8)),
            1 => data.extend(std::iter::repeat_n(
                b"(\\\" \t.;@"[random.below(8)],
                random.below(80),
            )),
            _ => data.extend(pieces[random.below(pieces.len())].as_bytes()),
        }
    }
    for _ in 0..random.below(4) {
        let at = random.below(data.len());
        match (random.below(3), data.get_mut(at)) {
            (0, Some(octet)) => *octet = random.below(256) as u8,
            (1, Some(_)) => drop(data.remove(at)),
            _ => data.truncate(at),
        }
    }
    data
}

#[test]
fn header() {
    fuzz(
        "header",
        targets::header,
        &[
            "From: a\r\n",
            "X:",
            "\r\n",
            "\r",
            "\n",
            " fold",
            ": x",
            "From a\n",
            "\0",
            "Name : v\n",
            " from h (n [192.0.2.1]) by r; x",
            " from [127.0.0.1] (helo=h) by r; x",
            " from h (192.0.2.1) by r; x",
            " L <l.example>",
        ],
    );
}

#[test]
fn from() {
    let pieces = [
        "a@s.example",
        "<",
        ">",
        "\"q\\\"\" ",
        "(c (d))",
        ",",
        ";",
        "g:",
        "\r\n ",
        "=?utf-8?q?a?=",
        "@r.example:",
        "bücher.example",
        "[192.0.2.1]",
        " ",
    ];
    fuzz("from", targets::from, &pieces);
}

#[test]
fn authentication_results() {
    let pieces = [
        "mx.example",
        " 1",
        ";",
        " spf=pass",
        " smtp.mailfrom=",
        "a@b.example",
        "\"q\"",
        " (c)",
        " reason=",
        "dkim/1=fail",
        " header.d=",
        "\r\n\t",
        "none",
        "=",
        "/",
    ];
    fuzz(
        "authentication_results",
        targets::authentication_results,
        &pieces,
    );
}

#[test]
fn dkim_signature() {
    let pieces = [
        "v=1;",
        "a=rsa-sha256;",
        "a=ed25519-sha256;",
        "c=relaxed/simple;",
        "d=s.example;",
        "s=s;",
        "h=from:to;",
        "bh=",
        "b=",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;",
        "l=3;",
        "t=1;",
        "x=2;",
        "i=@s.example;",
        "q=dns/txt;",
        "z=",
        "\r\n ",
    ];
    fuzz("dkim_signature", targets::dkim_signature, &pieces);
}

#[test]
fn dkim_key() {
    let pieces = [
        "v=DKIM1;",
        "k=rsa;",
        "k=ed25519;",
        "h=sha256;",
        "s=email;",
        "t=y:s;",
        "n=;",
        "p=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ",
    ];
    fuzz("dkim_key", targets::dkim_key, &pieces);
}

#[test]
fn spf_record() {
    let pieces = [
        "v=spf1 ",
        "a ",
        "mx:",
        "include:s.example ",
        "redirect=s.example",
        "ip4:192.0.2.0/24 ",
        "ip6:::1/",
        "exists:%{ir}.",
        "s.example",
        "ptr ",
        "-all",
        "~",
        "//64 ",
        "exp=e.example",
        "128",
    ];
    fuzz("spf_record", targets::spf_record, &pieces);
}

#[test]
fn spf_macros() {
    let pieces = [
        "%{s}",
        "%{d2r}",
        "%{L9r.+-}",
        "%{i}",
        "%{p}",
        "%{v}",
        "%{h}",
        "%%",
        "%_",
        "%-",
        "%{",
        "}",
        ".s.example",
        "\n",
        "a",
        "ü",
        "128",
    ];
    fuzz("spf_macros", targets::spf_macros, &pieces);
}

#[test]
fn dmarc_record() {
    let pieces = [
        "v=DMARC1;",
        "p=reject;",
        "sp=",
        "none",
        "np=quarantine;",
        "t=y;",
        "psd=n;",
        "rua=mailto:a@b.example!10m,",
        "ruf=",
        "fo=1:d:s;",
        "adkim=s;",
        " ",
        "=",
        "\u{1}",
    ];
    fuzz("dmarc_record", targets::dmarc_record, &pieces);
}

#[test]
fn zone_file() {
    let pieces = [
        "$ORIGIN a.example.\n",
        "$TTL 5\n",
        "@ IN ",
        "name ",
        "TXT ",
        "\"t\\\"x\\065\"",
        "A 192.0.2.1\n",
        "MX 10 m\n",
        "( ",
        ")",
        ";servfail x\n",
        "; c\n",
        "CNAME .\n",
        "\n",
    ];
    fuzz("zone_file", targets::zone_file, &pieces);
}

#[test]
fn mime() {
    let pieces = [
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: multipart/report;\r\n boundary=\"c d\"\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "\r\n",
        "\n",
        "--b\r\n",
        "--c d\n",
        "--b--\r\n",
        "--c d-- \n",
        "QWN0aW9uOiBmYWlsZWQK=",
        "=41=\r\n=4x",
        "text\r\n",
    ];
    fuzz("mime", targets::mime, &pieces);
}

#[test]
fn dsn() {
    let pieces = [
        "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n",
        "Content-Type: message/delivery-status\r\n\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "X-Failed-Recipients: a@b.example\r\n",
        "Reporting-MTA: dns; m\r\n",
        "\r\n\r\n",
        "\n\n",
        "Action: failed\r\n",
        "Action: delayed (for now)\n",
        "Status: 5.1.1\r\n",
        "Status: 4.",
        "Diagnostic-Code: smtp; 550 5.1.1 <a@b>:\r\n unknown\r\n",
        "Hi. This is the ",
        "the following addresses had permanent fatal error",
        "#5.1.1 550 no",
        "--b--\r\n",
        "\u{1b}[31m\u{85}\t",
    ];
    fuzz("dsn", targets::dsn, &pieces);
}

#[test]
fn whole_message() {
    let pieces = [
        "From: a@s.example\r\n",
        "DKIM-Signature: v=1; a=rsa-sha256; d=s.example; s=s; h=from; l=",
        "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;",
        "b=AAAA;\r\n",
        "c=relaxed/relaxed;",
        "Received: x\r\n",
        "\r\n",
        "\r\n\r\n",
        "body  \t text\r\n",
        "\n",
        "\r",
        " ",
        "\t\t",
    ];
    fuzz("whole_message", targets::whole_message, &pieces);
}

#[test]
fn milter_session() {
    let next = "\u{1}";
    let pieces = [
        "\u{1}!Hello\r|\nyou\r\n\u{1}",
        "\u{1}!\u{1}",
        "\u{1}M<x@s.example>\0SIZE=1\0\u{1}",
        "\u{1}R<y@r.example>\0\u{1}",
        "\u{1}T\u{1}",
        "\u{1}M<x@s.example>\0\u{1}R<y@r.example>\0\u{1}LFrom\0 x@s.example\0\u{1}",
        "\u{1}LFrom\0 x@s.example\0\u{1}",
        "\u{1}LDKIM-Signature\0 v=1; a=rsa-sha256; d=s.example; s=s; h=from; l=3; bh=AAAA; b=AAAA\0\u{1}",
        "\u{1}LAuthentication-Results\0 mx.example; spf=pass\0\u{1}",
        "\u{1}N\u{1}Bbody\r\n\u{1}E\u{1}",
        "\u{1}E\u{1}",
        "\u{1}A\u{1}",
        "\u{1}B\u{1}",
        "\u{1}DMi\0stale\0{auth_authen}\0me\0\u{1}",
        "\u{1}D\u{1}",
        "\u{1}Hother.example\0\u{1}",
        "\u{1}UXYZZY\0\u{1}",
        "\u{1}K\u{1}Cmx\x006\0\x19IPv6:::1\0\u{1}",
        "\u{1}Q\u{1}",
        "\u{1}=\0\0\0\x05B\u{1}",
        "\u{1}=\0\0\0\0\u{1}",
        next,
    ];
    fuzz("milter_session", targets::milter_session, &pieces);
}
