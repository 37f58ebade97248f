//! Octets that have no business in a field: NULs, bare CR and LF, controls, broken UTF-8, everywhere an
//! MTA could let them through. None reaches our header, a DNS question, the log or a terminal.

use crate::daemon::Daemon;
use crate::raw::{Packet, Raw};
use crate::running::{settings, start_with, zone};
use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, MxRecord, QueryName, Resolver, TxtRecord};
use alignd::message::HeaderField;
use alignd::message::authentication_results::Field;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What stands in every place of a message at once.
const NASTY: &[&[u8]] = &[
    b"a\rb.example",
    b"a\nb.example",
    b"a.example\r\nX-Injected: yes",
    b"a.example\n\tdmarc=pass header.from=bank.example",
    b"a.example\r\n\r\nbody",
    b"a.example; dmarc=pass",
    b"a\"b(c\\.example",
    b"\x1b[2J\x07.example",
    b"a\x85\xc2\x85\xe2\x80\xae.example",
    b"\xff\xfe\xc0\xaf.example",
    b"'; DROP TABLE verdict; --",
    b"%s%n%{i}%%.example",
    b"a.example\xe2\x80\xa8level=ERROR",
    // To the protocol, two texts.
    b"a\0b.example",
    b"",
];

/// A message with `nasty` in every place, up to the answer.
async fn deliver(raw: &mut Raw, nasty: &[u8]) -> Vec<Packet> {
    let path = [b"<u@", nasty, b">"].concat();
    let signature = [
        b" v=1; a=rsa-sha256; s=s; h=from; bh=AAAA; b=AAAA; d=",
        nasty,
        b"; i=@",
        nasty,
    ]
    .concat();
    let packets: [(char, Vec<u8>); 18] = [
        (
            'D',
            [b"C", &strings(&[b"{daemon_name}", nasty])[..]].concat(),
        ),
        (
            'C',
            [&strings(&[nasty])[..], b"4\0\x19192.0.2.9\0"].concat(),
        ),
        ('H', strings(&[nasty])),
        (
            'D',
            [b"M", &strings(&[b"i", nasty, b"x", nasty, nasty])[..]].concat(),
        ),
        ('M', strings(&[&path, nasty])),
        ('R', strings(&[&path, nasty])),
        ('T', Vec::new()),
        ('L', strings(&[b"From", b" a@good.example"])),
        // What has no name is no field to indymilter, and ends the session.
        ('L', strings(&[&[b"X", nasty].concat(), nasty])),
        ('L', strings(&[b"Message-ID", &path])),
        ('L', strings(&[b"List-Id", &path])),
        ('L', strings(&[b"Subject", nasty])),
        ('L', strings(&[b"Authentication-Results", nasty])),
        ('L', strings(&[b"DKIM-Signature", &signature])),
        ('L', strings(&[b"Received", nasty, nasty])),
        ('N', Vec::new()),
        ('B', [b"x", nasty].concat()),
        ('E', Vec::new()),
    ];
    for (kind, payload) in &packets {
        raw.send(*kind, payload).await;
    }
    let mut answer = Vec::new();
    loop {
        let packet = raw.read().await;
        let kind = packet.kind;
        answer.push(packet);
        if !matches!(kind, 'i' | 'm' | 'p') {
            return answer;
        }
    }
}

/// Each ended by a NUL.
fn strings(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| [part, &b"\0"[..]].concat())
        .collect()
}

/// The tests' zone, with the names that are asked for written down.
struct Overheard {
    zone: Zone,
    names: Arc<Mutex<Vec<String>>>,
}

impl Overheard {
    fn note(&self, name: &QueryName) {
        self.names.lock().unwrap().push(name.to_string());
    }
}

impl Resolver for Overheard {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.note(name);
        self.zone.txt(name).await
    }
    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.note(name);
        self.zone.a(name).await
    }
    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.note(name);
        self.zone.aaaa(name).await
    }
    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.note(name);
        self.zone.mx(name).await
    }
    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.zone.ptr(address).await
    }
}

#[tokio::test]
async fn none_reaches_our_header_or_a_question() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let resolver = Overheard {
        zone: zone(),
        names: Arc::clone(&names),
    };
    let running = start_with(resolver, settings()).await;
    for nasty in NASTY {
        let mut raw = running.raw("unix").await;
        raw.negotiate().await;
        let answer = deliver(&mut raw, nasty).await;
        let told = String::from_utf8_lossy(nasty);
        assert_eq!(answer.last().map(|p| p.kind), Some('c'), "{told:?}");
        let inserted: Vec<_> = answer.iter().filter(|p| p.kind == 'i').collect();
        assert_eq!(inserted.len(), 1, "{told:?}");
        let value = inserted[0].payload[4..].strip_prefix(b"Authentication-Results\0");
        let value = value.and_then(|v| v.strip_suffix(b"\0")).unwrap();
        let text = std::str::from_utf8(value).unwrap();
        // One field, in the grammar of RFC 8601, that says nothing of what the message asks it to say.
        let field = Field::parse(&HeaderField::from_milter(b"A-R", value).value);
        let field = field.unwrap_or_else(|error| panic!("{told:?}: {error:?}: {text}"));
        assert_eq!(field.authserv_id, "mx.test");
        let dmarc = field.results.iter().filter(|r| r.method == "dmarc");
        assert_eq!(dmarc.count(), 1, "{text}");
        assert!(text.contains("header.from=good.example"), "{text}");
        let fine = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        assert!(text.chars().all(fine), "{text:?}");
        assert!(!text.contains("X-Injected: yes"), "{text}");
    }
    let names = std::mem::take(&mut *names.lock().unwrap());
    assert!(names.len() > NASTY.len());
    let fine = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '(' | ';' | '\'');
    for name in &names {
        assert!(name.chars().all(fine), "asked for {name:?}");
    }
    let stopped = running.stop().await;
    assert_eq!(stopped.verdicts.len(), NASTY.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn none_reaches_the_log_or_a_terminal() {
    for format in ["text", "json"] {
        let more = format!("[log]\nformat = \"{format}\"\nlevel = \"debug\"\n");
        let daemon = Daemon::start_with(&more).await;
        for nasty in NASTY {
            let mut raw = Raw::unix(&daemon.socket()).await;
            raw.negotiate().await;
            assert_eq!(deliver(&mut raw, nasty).await.last().unwrap().kind, 'c');
        }
        let config = daemon.home().join("alignd.toml");
        for arguments in [
            &["messages"][..],
            &["messages", "--format", "csv"],
            &["messages", "--format", "json"],
            &["status"],
            &["why", "a\nb.example"],
        ] {
            let ran = Command::new(env!("CARGO_BIN_EXE_alignd"))
                .args(arguments)
                .arg("--config")
                .arg(&config)
                .output()
                .unwrap();
            let shown = [ran.stdout, ran.stderr].concat();
            let shown = String::from_utf8(shown).unwrap();
            assert!(!shown.is_empty());
            // What is for programs keeps what can be kept.
            let for_people = !arguments.contains(&"--format");
            let hidden = |c: char| matches!(c, '\u{202e}' | '\u{2028}');
            let risky = |c: char| c.is_control() && c != '\n' || for_people && hidden(c);
            assert!(!shown.contains(risky), "{arguments:?}: {shown:?}");
            assert!(!shown.contains("\nb.example"), "{arguments:?}: {shown}");
        }
        let log = std::fs::read(daemon.home().join("log")).unwrap();
        daemon.stop().await;
        let log = String::from_utf8(log).unwrap();
        let judged = log.lines().filter(|line| line.contains("judged"));
        assert_eq!(judged.count(), NASTY.len(), "{log}");
        for line in log.lines() {
            assert!(!line.contains(char::is_control), "{line:?}");
            let begins = if format == "json" { "{\"" } else { "20" };
            assert!(line.starts_with(begins), "{line:?}");
        }
    }
}
