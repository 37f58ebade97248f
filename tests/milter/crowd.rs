//! Many connections at once, good and bad ones side by side: every answer belongs to its own message.

use crate::limits::is_child;
use crate::mta::{Mail, Mta, Session};
use crate::running::{Running, settings, start, start_with};
use alignd::dns::master;
use alignd::dns::zone::Zone;
use futures_util::future::join_all;
use std::fmt::Write;

/// Domains `m0.example` to `m499.example`, all with `p=reject`; mail of the even ones passes.
fn zone() -> Zone {
    let mut text = "$ORIGIN example.\n".to_owned();
    for number in 0..CROWD {
        let client = if number % 2 == 0 {
            "192.0.2.9"
        } else {
            "192.0.2.10"
        };
        writeln!(text, "m{number} TXT \"v=spf1 ip4:{client} -all\"").unwrap();
        writeln!(text, "_dmarc.m{number} TXT \"v=DMARC1; p=reject\"").unwrap();
    }
    master::parse(&text).unwrap()
}

/// What a message of this domain must be told.
fn expected(number: usize) -> String {
    let result = if number.is_multiple_of(2) {
        "pass"
    } else {
        "fail"
    };
    format!("dmarc={result} (p=reject dis=none) header.from=m{number}.example ")
}

struct Guest {
    session: Session,
    sender: String,
    from: String,
    recipients: Vec<String>,
}

impl Guest {
    async fn enter(running: &Running, number: usize) -> Self {
        let mta = Mta::BOTH[number % 2];
        let socket = ["unix", "tcp"][number / 2 % 2];
        let raw = running.raw(socket).await;
        let name = format!("h{number}.example");
        let mut session = mta.session(raw, &name, "192.0.2.9:4025", &name).await;
        session.prefix = format!("N{number}x");
        Self {
            session,
            sender: format!("<a@m{number}.example>"),
            from: format!(" a@m{number}.example"),
            recipients: (0..=number % 5)
                .map(|n| format!("<b@r{n}.example>"))
                .collect(),
        }
    }

    fn mail(&self) -> Mail<'_> {
        let mut mail = Mail::plain(&self.sender).field("From", &self.from);
        mail.to = self.recipients.iter().map(String::as_str).collect();
        mail
    }

    async fn begin(&mut self) {
        let (sender, recipients) = (self.sender.clone(), self.recipients.clone());
        let mut mail = Mail::plain(&sender);
        mail.to = recipients.iter().map(String::as_str).collect();
        self.session.begin(&mail).await;
    }

    async fn content(&mut self) {
        let from = self.from.clone();
        let mail = Mail::plain("").field("From", &from);
        self.session.content(&mail).await;
    }
}

/// 500 messages at every stage at once, twice on each connection.
#[tokio::test]
async fn five_hundred_busy_connections_each_get_their_own_verdicts() {
    if !is_child(
        "crowd::five_hundred_busy_connections_each_get_their_own_verdicts",
        4_096,
    ) {
        return;
    }
    let running = start_with(zone(), settings()).await;
    let mut guests = Vec::new();
    for number in 0..CROWD {
        guests.push(Guest::enter(&running, number).await);
    }
    for _ in 0..2 {
        for guest in &mut guests {
            guest.begin().await;
        }
        for guest in &mut guests {
            guest.content().await;
        }
        let answers = join_all(guests.iter_mut().map(|guest| guest.session.end())).await;
        for (number, answer) in answers.iter().enumerate() {
            let results = answer.results();
            assert!(results.contains(&expected(number)), "{number}: {results}");
            assert!(results.contains(&format!("smtp.helo=h{number}.example")));
        }
    }
    let stopped = {
        for guest in guests {
            guest.session.quit().await;
        }
        running.stop().await
    };
    assert_eq!(stopped.verdicts.len(), 2 * CROWD);
    for stored in &stopped.verdicts {
        let verdict = &stored.verdict;
        let id = verdict.envelope.queue_id.as_deref().unwrap();
        let (number, _) = id[1..].split_once('x').unwrap();
        let number: usize = number.parse().unwrap();
        let domain = verdict.evaluation.as_ref().unwrap().author_domain.as_str();
        assert_eq!(domain, format!("m{number}.example"), "{id}");
        assert_eq!(verdict.envelope.recipients as usize, number % 5 + 1);
        assert_eq!(stored.outcomes.last().unwrap().state.as_str(), "accepted");
    }
}

/// Connections that break at any point, in any way, while others have a message in hand.
#[tokio::test]
async fn a_broken_connection_disturbs_no_other() {
    let running = start_with(zone(), settings()).await;
    let breaks: [&[u8]; 8] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\x01Z",
        b"\0\x0f\xff\xffLhalf a header",
        b"\0\0\0\x03LA",
        b"\0\0\0\x05Enone",
        b"\0\0\0\x01A\0\0\0\x01E\0\0\0\x01E",
        b"\0\0\0\x02DM\0\0\0\x01Q\0\0\0\x01E",
    ];
    for (at, octets) in breaks.into_iter().enumerate() {
        let mut good = Guest::enter(&running, 10 * at).await;
        good.begin().await;
        let mut broken = Guest::enter(&running, 10 * at + 1).await;
        broken.begin().await;
        broken.content().await;
        broken.session.raw.send_octets(octets).await;
        good.content().await;
        drop(broken);
        let results = good.session.end().await.results();
        assert!(
            results.contains(&expected(10 * at)),
            "{octets:?}: {results}"
        );
        good.session.quit().await;
    }
    let stopped = running.stop().await;
    let of_good = |summary: &&String| summary.contains(" pass accept accepted");
    let summary = stopped.summary();
    assert_eq!(summary.iter().filter(of_good).count(), breaks.len());
}

/// What of one message stays behind when it ends in no way that MTAs know: nothing.
#[tokio::test]
async fn a_broken_end_of_one_message_leaves_nothing_to_the_next() {
    let running = start_with(zone(), settings()).await;
    for ends in [
        &b"\0\0\0\x01A"[..],
        b"\0\0\0\x01A\0\0\0\x01A\0\0\0\x01A",
        b"\0\0\0\x09Anonsense",
        // Macros of the end without the end; a header after the body; a body after nothing.
        b"\0\0\0\x0cDEi\0STALE\0x\0",
        b"\0\0\0\x02Bx\0\0\0\x10LFrom\0 x@y.test\0",
        b"\0\0\0\x01A\0\0\0\x02Bx\0\0\0\x01N",
        b"\0\0\0\x11R<x@stale.test>\0\0",
        b"\0\0\0\x01T\0\0\0\x01N\0\0\0\x01T",
        b"\0\0\0\x0fHstale.example\0",
    ] {
        let mut guest = Guest::enter(&running, 2).await;
        guest.session.prefix = "FIRST".to_owned();
        let first = Guest::enter(&running, 3).await;
        guest.session.begin(&first.mail()).await;
        guest.session.header("From", b" a@m3.example").await;
        guest
            .session
            .header("Message-ID", b" <stale@m3.example>")
            .await;
        guest.session.raw.send_octets(ends).await;
        guest.session.prefix = "SECOND".to_owned();
        guest.begin().await;
        guest.content().await;
        let results = guest.session.end().await.results();
        assert!(results.contains(&expected(2)), "{ends:?}: {results}");
        assert!(!results.contains("m3.example"), "{ends:?}: {results}");
        guest.session.quit().await;
    }
    for stored in running.stop().await.verdicts {
        let (envelope, message) = (&stored.verdict.envelope, &stored.verdict.message);
        assert!(envelope.queue_id.as_deref().unwrap().starts_with("SECOND"));
        assert_eq!(
            (envelope.recipients, message.message_id.as_deref()),
            (3, None)
        );
    }
}

/// Ten times as many MTAs as there are places: all wait their turn, none is turned away.
#[tokio::test]
async fn a_flood_of_connections_is_served_in_turn() {
    let mut settings = settings();
    settings.milter.max_connections = 20;
    let running = start_with(zone(), settings).await;
    let deliveries = (0..200).map(|number| {
        let running = &running;
        async move {
            let mut guest = Guest::enter(running, number).await;
            let (sender, from) = (guest.sender.clone(), guest.from.clone());
            let mail = Mail::plain(&sender).field("From", &from);
            let results = guest.session.deliver(&mail).await.results();
            assert!(results.contains(&expected(number)), "{number}: {results}");
            guest.session.quit().await;
        }
    });
    join_all(deliveries).await;
    assert_eq!(running.stop().await.verdicts.len(), 200);
}

/// Peers that connect and say nothing, or half a packet, take every place only until one is wanted.
#[tokio::test]
async fn a_thousand_silent_connections_keep_nobody_out() {
    if !is_child(
        "crowd::a_thousand_silent_connections_keep_nobody_out",
        4_096,
    ) {
        return;
    }
    let running = start(settings()).await;
    let mut silent = Vec::new();
    for number in 0..1_000 {
        let mut raw = running.raw("unix").await;
        if number % 3 == 1 {
            raw.send_octets(b"\0\0\0\x0dO\0\0").await;
        }
        if number % 3 == 2 {
            raw.negotiate().await;
            raw.send_octets(b"\0\x0f\xff\xffL").await;
        }
        silent.push(raw);
    }
    let mut busy = Vec::new();
    for _ in 0..100 {
        let mut session = running.session(Mta::Postfix).await;
        session.begin(&Mail::plain("<a@good.example>")).await;
        busy.push(session);
    }
    for mut session in busy {
        let mail = Mail::plain("").field("From", " a@good.example");
        session.content(&mail).await;
        let results = session.end().await.results();
        assert!(results.contains("dmarc=pass"), "{results}");
        session.quit().await;
    }
    drop(silent);
    assert_eq!(running.stop().await.verdicts.len(), 100);
}

const CROWD: usize = 500;
