//! Mail made to be expensive: what it may cost is counted, in look-ups, in what is written and kept, and in
//! memory, not in time.

use crate::limits::{is_child, peak, resident};
use crate::mta::{Mail, Mta, Session};
use crate::running::{Running, Stopped, settings, start_with};
use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, MxRecord, QueryName, Resolver, TxtRecord, master};
use alignd::outcome::OutcomeState;
use alignd::policy::{Action, Cause};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// DNS made to be asked much: SPF records with all the terms that may be asked for, a client with many names,
/// domains deep enough for a whole walk.
fn zone() -> Zone {
    let mut text = "$ORIGIN example.\n".to_owned();
    let terms: String = (0..10).map(|n| format!("mx:x{n}.example ")).collect();
    for domain in ["spf", "helo", DEEP] {
        writeln!(text, "{domain} TXT \"v=spf1 {terms} ?all\"").unwrap();
    }
    for term in 0..10 {
        for exchange in 0..10 {
            writeln!(text, "x{term} MX {exchange} y{term}-{exchange}").unwrap();
            writeln!(text, "y{term}-{exchange} A 203.0.113.1").unwrap();
        }
    }
    for name in 0..20 {
        writeln!(text, "9.2.0.192.in-addr.arpa. PTR n{name}").unwrap();
        writeln!(text, "n{name} A 203.0.113.1").unwrap();
    }
    master::parse(&text).unwrap()
}

/// Counts what is asked.
struct Counting {
    zone: Zone,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    fn one_more(&self) -> &Zone {
        self.asked.fetch_add(1, Ordering::Relaxed);
        &self.zone
    }
}

impl Resolver for Counting {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.one_more().txt(name).await
    }
    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.one_more().a(name).await
    }
    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.one_more().aaaa(name).await
    }
    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.one_more().mx(name).await
    }
    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.one_more().ptr(address).await
    }
}

/// A message: so many fields of this name, with these values.
struct Bomb {
    what: &'static str,
    fields: Box<dyn Iterator<Item = (&'static str, String)>>,
}

fn bomb(
    what: &'static str,
    name: &'static str,
    count: usize,
    value: impl Fn(usize) -> String + 'static,
) -> Bomb {
    Bomb {
        what,
        fields: Box::new((0..count).map(move |number| (name, value(number)))),
    }
}

fn bombs() -> Vec<Bomb> {
    let line = || format!(" {}", "x".repeat(1_000_000));
    let folded = || " word\n".repeat(160_000);
    let signature = |number: usize, more: &str| {
        format!(
            " v=1; a=rsa-sha256; d=d{number}.{DEEP}.example; s=s{number}; c=simple/relaxed; h=from{more}; \
             l={number}; i=user@d{number}.{DEEP}.example; bh={HASH}; b=AAAA"
        )
    };
    let names = ":x".repeat(999);
    let long = "x".repeat(200_000);
    vec![
        bomb("nothing but From", "X", 0, |_| String::new()),
        bomb("100,000 fields", "X-Field", 100_000, |_| {
            " value".to_owned()
        }),
        bomb("60,000 empty fields", "X", 60_000, |_| String::new()),
        bomb("10 MB in fields of 1 MB", "X", 10, move |_| line()),
        bomb("10 MB of folds", "X", 10, move |_| folded()),
        bomb("60,000 From", "From", 60_000, |n| {
            format!(" a@b{n}.example")
        }),
        bomb("10 MB of From", "From", 10, move |_| line()),
        bomb("100,000 authors in one From", "From", 1, |_| {
            " a@b.example,".repeat(70_000)
        }),
        bomb("2,000 signatures", "DKIM-Signature", 2_000, move |n| {
            signature(n, "")
        }),
        bomb(
            "500 signatures over 1,000 fields",
            "DKIM-Signature",
            500,
            move |n| signature(n, &names),
        ),
        bomb("20 signatures of 200 KB", "DKIM-Signature", 20, move |n| {
            signature(n, &format!("; z={long}"))
        }),
        bomb("10,000 Received", "Received", 10_000, |n| {
            format!(" from h{n} (h{n} [192.0.2.1]) by x; Sun, 22 Nov 2026 12:00:00 +0000")
        }),
        Bomb {
            what: "50 sets of ARC",
            fields: Box::new((0..150).map(arc_field)),
        },
        bomb("10,000 List-Id", "List-Id", 10_000, |n| {
            format!(" L <l{n}.example>")
        }),
        bomb("10,000 Subject", "Subject", 10_000, |_| {
            " Report Domain: x Submitter: y".to_owned()
        }),
        bomb(
            "1,000 forged results",
            "Authentication-Results",
            1_000,
            |_| " mx.test; none".to_owned(),
        ),
        bomb(
            "10,000 results of others",
            "Authentication-Results",
            10_000,
            |n| format!(" mx{n}.example; spf=pass"),
        ),
        bomb("10 MB of results", "Authentication-Results", 10, |_| {
            format!(" {}", "a(b)\"c\" ".repeat(110_000))
        }),
        bomb("too many forged results", FORGED, 1_001, |_| {
            " mx.test; none".to_owned()
        }),
    ]
}

/// The fields of set after set, each with a key of its own to ask for.
fn arc_field(number: usize) -> (&'static str, String) {
    let instance = number / 3 + 1;
    let cv = if instance == 1 { "none" } else { "pass" };
    let signed = format!("a=rsa-sha256; d=d{instance}.{DEEP}.example; s=s; b=AAAA");
    let results = "x".repeat(5_000);
    match number % 3 {
        0 => (
            "ARC-Authentication-Results",
            format!(" i={instance}; mx.example; spf=pass ({results})"),
        ),
        1 => (
            "ARC-Message-Signature",
            format!(" i={instance}; c=relaxed/relaxed; h=from; bh={HASH}; {signed}"),
        ),
        _ => ("ARC-Seal", format!(" i={instance}; cv={cv}; {signed}")),
    }
}

async fn start() -> (Running, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Counting {
        zone: zone(),
        asked: Arc::clone(&asked),
    };
    let mut settings = settings();
    settings.local_parts = true;
    settings.arc.enabled = true;
    (start_with(resolver, settings).await, asked)
}

async fn session(running: &Running) -> Session {
    let raw = running.raw("unix").await;
    Mta::Postfix
        .session(raw, "h", "192.0.2.9:25", "helo.example")
        .await
}

/// Sends a bomb under an author deep enough for a whole walk, up to its end.
async fn send(session: &mut Session, bomb: Bomb) {
    session.begin(&Mail::plain("<a@spf.example>")).await;
    let author = format!(" a@a.b.c.d.{DEEP}.example");
    session.header("From", author.as_bytes()).await;
    for (name, value) in bomb.fields {
        session.header(name, value.as_bytes()).await;
    }
    session.end_of_header().await;
    for _ in 0..16 {
        session.body(&[b'x'; 65_535]).await;
    }
}

#[tokio::test]
async fn bombs_cost_bounded_questions_octets_and_memory() {
    if !is_child(
        "bombs::bombs_cost_bounded_questions_octets_and_memory",
        1_024,
    ) {
        return;
    }
    let (running, asked) = start().await;
    let mut session = session(&running).await;
    let (mut worst, before) = (Cost::default(), resident());
    let mut sent = Vec::new();
    for bomb in bombs() {
        let what = bomb.what;
        sent.push(what);
        let cost = cost(&mut session, bomb, &asked).await;
        println!("{what}: {cost:?}");
        worst = Cost {
            questions: worst.questions.max(cost.questions),
            results: worst.results.max(cost.results),
        };
    }
    let memory = peak().saturating_sub(before);
    session.quit().await;
    let kept = kept(&running.stop().await, &sent);
    println!(
        "the worst mail: {} questions, {} octets of results, {kept} octets kept, {memory} KiB of memory",
        worst.questions, worst.results
    );
    assert!(worst.questions <= MAX_QUESTIONS);
    assert!(worst.results <= MAX_RESULTS);
    assert!(memory <= MAX_MEMORY);
    assert!(kept <= MAX_KEPT);
}

/// What one message takes.
#[derive(Debug, Default)]
struct Cost {
    questions: usize,
    results: usize,
}

async fn cost(session: &mut Session, bomb: Bomb, asked: &AtomicUsize) -> Cost {
    let (what, before) = (bomb.what, asked.load(Ordering::Relaxed));
    send(session, bomb).await;
    let answer = session.end().await;
    let refused = what == "too many forged results";
    assert_eq!(answer.last.kind, if refused { 'y' } else { 'c' }, "{what}");
    Cost {
        questions: asked.load(Ordering::Relaxed) - before,
        results: if refused { 0 } else { answer.results().len() },
    }
}

/// The most that is kept of one of these messages, in octets of its description.
fn kept(stopped: &Stopped, sent: &[&str]) -> usize {
    assert_eq!(stopped.verdicts.len(), sent.len());
    let of = |what: &str| {
        let at = sent.iter().position(|sent| *sent == what).unwrap();
        &stopped.verdicts[at]
    };
    let removed = of("1,000 forged results").verdict.message.forged_results;
    assert_eq!(removed, 1_000);
    let refused = of("too many forged results");
    let decision = &refused.verdict.decision;
    assert_eq!(
        (decision.cause(), decision.action()),
        (Cause::ForgedResults, Action::Reject)
    );
    let outcome = refused.outcomes.last().map(|outcome| outcome.state);
    assert_eq!(outcome, Some(OutcomeState::Rejected));
    let verdicts = stopped.verdicts.iter();
    let most = verdicts.map(|stored| format!("{:?}", stored.verdict).len());
    most.max().unwrap_or_default()
}

#[tokio::test]
async fn ten_thousand_recipients_are_counted_and_a_thousand_domains_kept() {
    let (running, asked) = start().await;
    let recipients: Vec<String> = (0..10_000)
        .map(|n| format!("<u{n}@{}.d{n}.example>", "x".repeat(60)))
        .collect();
    let mut mail = Mail::plain("<a@spf.example>").field("From", " a@b.example");
    mail.to = recipients.iter().map(String::as_str).collect();
    let mut session = session(&running).await;
    assert_eq!(session.deliver(&mail).await.last.kind, 'c');
    session.quit().await;
    assert!(asked.load(Ordering::Relaxed) <= MAX_QUESTIONS);
    let stopped = running.stop().await;
    let envelope = &stopped.verdicts[0].verdict.envelope;
    let kept = (
        envelope.recipients,
        envelope.recipient_domains.len(),
        envelope.recipient_addresses.len(),
    );
    assert_eq!(kept, (10_000, 1_000, 1_000));
}

/// A domain eight labels deep, with its `example`.
const DEEP: &str = "e.f.g.h";

const FORGED: &str = "Authentication-Results";

const HASH: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// DNS look-ups for one message.
const MAX_QUESTIONS: usize = 450;

/// Octets of our results field.
const MAX_RESULTS: usize = 16 * 1024;

/// Octets that stay of one message.
const MAX_KEPT: usize = 512 * 1024;

/// KiB that one message needs while it passes, the test's own packets included.
const MAX_MEMORY: u64 = 16 * 1024;
