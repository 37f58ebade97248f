//! Peers that are no MTAs, MTAs that are broken, bodies cut anywhere.

use crate::dkim_signer::SigningKey;
use crate::mta::{Mail, Mta, Session};
use crate::raw::Raw;
use crate::running::{Running, settings, start, start_with, zone};
use alignd::dns::QueryName;
use alignd::dns::TxtRecord;
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::message::parse::Message;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn good() -> Mail<'static> {
    Mail::plain("<a@good.example>").field("From", " a@good.example")
}

fn cases(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

/// A message on a connection of its own is judged as ever.
async fn still_works(running: &Running) {
    let mut session = running.session(Mta::Postfix).await;
    assert_eq!(session.deliver(&good()).await.last.kind, 'c');
    session.quit().await;
}

#[tokio::test]
async fn what_is_no_milter_protocol_ends_the_connection_and_nothing_else() {
    let running = start(settings()).await;
    let offer = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff";
    for (octets, answers) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 0),
        (b"EHLO client.example\r\n", 0),
        (b"\xff\xff\xff\xffB", 0),
        (b"\0\0\0\0", 0),
        (b"\0\0", 0),
        (b"\0\0\0\x01z", 0),
        (b"\0\0\0\x01O", 0),
        (b"\0\0\0\x0dO\0\0\0\x01\0\0\0\0\0\0\0\0", 0),
        (offer, 1),
    ] {
        let mut raw = running.raw("unix").await;
        raw.send_octets(octets).await;
        raw.stop_sending().await;
        for _ in 0..answers {
            assert_eq!(raw.read().await.kind, 'O');
        }
        assert!(raw.is_hung_up_on().await, "{octets:?}");
    }
    still_works(&running).await;
    assert_eq!(running.stop().await.verdicts.len(), 1);
}

/// A macro packet, a command, a field and a piece of the body, each one octet over its bound.
#[tokio::test]
async fn packets_over_their_bound_end_the_connection() {
    let running = start(settings()).await;
    for (kind, most) in [
        ('D', 16 << 10),
        ('C', 16 << 10),
        ('H', 16 << 10),
        ('M', 16 << 10),
        ('R', 16 << 10),
        ('L', (1 << 20) - 1),
        ('B', (1 << 20) - 1),
    ] {
        let mut raw = running.raw("unix").await;
        raw.negotiate().await;
        let length = u32::try_from(most + 2).unwrap().to_be_bytes();
        raw.send_octets(&[&length[..], &[kind as u8], b"x"].concat())
            .await;
        // Without waiting for the rest of it.
        assert!(raw.is_hung_up_on().await, "{kind}");
    }
    still_works(&running).await;
    assert_eq!(running.stop().await.verdicts.len(), 1);
}

#[tokio::test]
async fn no_more_is_agreed_on_than_was_offered_whatever_was() {
    let all = u32::MAX;
    for [version, actions, options] in [
        [2, 0, 0],
        [6, 0, 0],
        [7, 0x1ff, 0x1f_ffff],
        [all, all, all],
        [3, 0x8000_0000, 0x8000_0000],
        // Sendmail's large packets.
        [6, 0x1ff, 0x301f_ffff],
        [6, 1, 0x0f_f080],
    ] {
        let running = start(settings()).await;
        let mut raw = running
            .raw("unix")
            .await
            .offering(version, actions, options);
        let agreed = raw.negotiate().await.payload;
        let word = |at: usize| u32::from_be_bytes(agreed[at..at + 4].try_into().unwrap());
        assert!(word(0) <= version.min(6));
        // An MTA that offers nothing known is one of the first, which knew these without a word.
        let actions = if actions & 0x1ff == 0 { 0x1f } else { actions };
        let options = if options & 0x1f_ffff == 0 {
            0x7f
        } else {
            options
        };
        assert_eq!((word(4) & !actions, word(8) & !options), (0, 0));
        for (kind, payload) in [
            ('H', &b"mx\0"[..]),
            ('M', b"<a@b.example>\0"),
            ('R', b"<a@b.example>\0"),
            ('L', b"From\0 a@good.example\0"),
            ('N', b""),
            ('E', b""),
        ] {
            raw.send(kind, payload).await;
        }
        raw.stop_sending().await;
        let mut last = 'O';
        while let Ok(packet) = raw.try_read().await {
            last = packet.kind;
        }
        assert_eq!(last, 'c', "{version:x} {actions:x} {options:x}");
        drop(raw);
        assert_eq!(running.stop().await.verdicts.len(), 1);
    }
}

#[tokio::test]
async fn packets_that_only_libmilter_takes_are_taken() {
    for options in [0x1f_ffff, 0x10_0000] {
        let running = start(settings()).await;
        let raw = running.raw("unix").await.offering(6, 0x1ff, options);
        // As Sendmail shows a client's IPv6 address.
        let mut session = Mta::Sendmail
            .connected(raw, "mx", "IPv6:2001:db8::25")
            .await;
        session.begin(&good()).await;
        session.content(&good()).await;
        session.body(b"").await;
        session.body(b"more\r\n").await;
        session.body(b"").await;
        // Body octets with the end of the message.
        session.raw.send('E', b"the end\r\n").await;
        assert_eq!(session.read_answer().await.last.kind, 'c');
        session.quit().await;
        let stopped = running.stop().await;
        let verdict = &stopped.verdicts[0].verdict;
        assert_eq!(
            verdict.envelope.client,
            Some("2001:db8::25".parse().unwrap())
        );
        let header = "Subject: hello\r\nFrom: a@good.example\r\n";
        let body = "Hello\r\nmore\r\nthe end\r\n";
        assert_eq!(verdict.message.size, (header.len() + body.len()) as u64);
    }
}

/// Sends packets in any order, then waits for the hang-up that answers the end of the stream.
async fn send_all(running: &Running, packets: &[(char, Vec<u8>)]) {
    let mut raw: Raw = running.raw("unix").await;
    raw.negotiate().await;
    for (kind, payload) in packets {
        raw.send(*kind, payload).await;
    }
    raw.stop_sending().await;
    while raw.try_read().await.is_ok() {}
}

#[test]
fn no_order_of_packets_disturbs_the_next_message() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(start(settings()));
    let payload = prop_oneof![
        Just(b"<a@b.example>\0SIZE=1\0".to_vec()),
        Just(b"From\0 a@good.example\0".to_vec()),
        Just(b"mx\x004\0\x19192.0.2.9\0".to_vec()),
        Just(Vec::new()),
        Just(b"Mi\0stale\0{auth_authen}\0me\0".to_vec()),
        vec(any::<u8>(), 0..200),
    ];
    let kind = proptest::sample::select("ABCDEHKLMNOQRTUMRTLNBE".chars().collect::<Vec<_>>());
    let mut runner = TestRunner::new(cases(200));
    runner
        .run(&vec((kind, payload), 0..30), |packets| {
            runtime.block_on(send_all(&running, &packets));
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        let mut session = running.session(Mta::Postfix).await;
        session.prefix = "GOOD".to_owned();
        let answer = session.deliver(&good()).await;
        assert!(answer.results().contains("dmarc=pass"));
        session.quit().await;
        let stopped = running.stop().await;
        let of_us = stopped
            .summary()
            .into_iter()
            .filter(|s| s.starts_with("GOOD"));
        assert_eq!(of_us.count(), 1);
    });
}

/// A milter whose zone has `key` at `s._domainkey.good.example`.
async fn start_with_key(key: &SigningKey) -> Running {
    start_with(zone_with(key), settings()).await
}

fn zone_with(key: &SigningKey) -> Zone {
    let mut zone = zone();
    let name = QueryName::parse("s._domainkey.good.example").unwrap();
    zone.add(&name, ZoneRecord::Txt(TxtRecord::from_text(&key.record())));
    zone
}

/// Header fields as an MTA shows them.
async fn send_header(session: &mut Session, message: &Message<'_>) {
    for field in &message.fields {
        let name = std::str::from_utf8(&field.name).unwrap();
        let value = String::from_utf8_lossy(&field.value).replace("\r\n", "\n");
        session.header(name, value.as_bytes()).await;
    }
    session.end_of_header().await;
}

/// The results of a message whose body comes in these pieces, the last one with the end of the message or
/// before it.
async fn results_in_pieces(running: &Running, file: &[u8], cuts: &[usize], at_end: bool) -> String {
    let message = Message::parse(file);
    answer_in_pieces(running, &message, &message.body, cuts, at_end).await
}

/// The same with another body.
async fn answer_in_pieces(
    running: &Running,
    message: &Message<'_>,
    body: &[u8],
    cuts: &[usize],
    at_end: bool,
) -> String {
    let mut session = running.session(Mta::Postfix).await;
    session.begin(&Mail::plain("<a@elsewhere.example>")).await;
    send_header(&mut session, message).await;
    let mut from = 0;
    for cut in cuts {
        session.body(&body[from..*cut]).await;
        from = *cut;
    }
    if at_end {
        session.raw.send('E', &body[from..]).await;
    } else {
        session.body(&body[from..]).await;
        session.raw.send('E', b"").await;
    }
    let results = session.read_answer().await.results();
    session.quit().await;
    results
}

#[test]
fn a_verdict_does_not_depend_on_how_the_body_is_cut() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = SigningKey::generate("ed25519");
    let body =
        "A line  with spaces \r\n\r\n\r\n\tand tabs\t \r\nbare \r and \n\r\nthe end\r\n\r\n\r\n";
    let mail = format!("From: a@good.example\r\nSubject: \r\n folded\r\n\r\n{body}");
    let sign = |more: &str| {
        let tags = format!(
            "v=1; a=ed25519-sha256; d=good.example; s=s; h=from:subject; {more}; bh={{bh}}; b={{b}}"
        );
        key.sign(mail.as_bytes(), &tags)
    };
    let simple = sign("c=simple/simple");
    let mut broken = simple.clone();
    broken.extend(b"\r\nmore\r\n");
    let files = [simple, broken, sign("c=relaxed/relaxed")];
    let running = runtime.block_on(start_with_key(&key));
    let whole: Vec<String> = files
        .iter()
        .map(|file| runtime.block_on(results_in_pieces(&running, file, &[], false)))
        .collect();
    for (results, expected) in whole.iter().zip(["pass", "fail", "pass"]) {
        assert!(results.contains(&format!("dkim={expected}")), "{results}");
    }
    let check = |which: usize, cuts: &[usize], at_end: bool| {
        let cut = results_in_pieces(&running, &files[which], cuts, at_end);
        assert_eq!(
            runtime.block_on(cut),
            whole[which],
            "{which} cut at {cuts:?}"
        );
    };
    let everywhere: Vec<usize> = (0..=body.len()).collect();
    for which in 0..files.len() {
        check(which, &everywhere, false);
        check(which, &everywhere, true);
        for cut in &everywhere {
            check(which, &[*cut], cut % 2 == 0);
        }
    }
    let mut runner = TestRunner::new(cases(100));
    let cuts = vec(0..=body.len(), 0..8);
    runner
        .run(
            &(0..files.len(), cuts, any::<bool>()),
            |(which, mut cuts, at_end)| {
                cuts.sort_unstable();
                check(which, &cuts, at_end);
                Ok(())
            },
        )
        .unwrap();
}

/// Bodies of octets that canonicalization and the stream could stumble over, some of them too large to be
/// evaluated: what is said and what is stored is the same however they are cut.
#[test]
fn nor_does_any_verdict_on_any_body() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = SigningKey::generate("ed25519");
    let mut settings = settings();
    settings.milter.max_message_bytes = 1_200;
    let running = runtime.block_on(start_with(zone_with(&key), settings));
    let pieces = [
        "\r\n",
        "\r",
        "\n",
        " ",
        "\t",
        "\r\n\r\n",
        " \r\n",
        "a",
        "\0",
        "\u{fc}",
        ".",
        "long line ",
    ];
    let body = vec(prop::sample::select(pieces.to_vec()), 0..120);
    let signed = prop::sample::select(vec![
        "c=simple/simple",
        "c=relaxed/relaxed",
        "c=relaxed/simple",
        "c=simple/relaxed; l=20",
        "c=relaxed/relaxed; l=0",
    ]);
    let cuts = vec(any::<prop::sample::Index>(), 0..8);
    let (mut runner, delivered) = (TestRunner::new(cases(150)), std::cell::Cell::new(0));
    let property =
        |(body, signed, cuts, at_end): (Vec<&str>, &str, Vec<prop::sample::Index>, bool)| {
            let body = body.concat();
            let mail = format!("From: a@good.example\r\n\r\n{body}");
            let tags = format!(
                "v=1; a=ed25519-sha256; d=good.example; s=s; h=from; {signed}; bh={{bh}}; b={{b}}"
            );
            let file = key.sign(mail.as_bytes(), &tags);
            let message = Message::parse(&file);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.sort_unstable();
            let deliver = |cuts: &[usize], at_end| {
                runtime.block_on(answer_in_pieces(
                    &running,
                    &message,
                    body.as_bytes(),
                    cuts,
                    at_end,
                ))
            };
            prop_assert_eq!(deliver(&cuts, at_end), deliver(&[], false));
            delivered.set(delivered.get() + 2);
            Ok(())
        };
    let strategy = (body, signed, cuts, any::<bool>());
    runner.run(&strategy, property).unwrap();
    let stopped = runtime.block_on(running.stop());
    assert_eq!(stopped.verdicts.len(), delivered.get());
    for pair in stopped.verdicts.chunks(2) {
        let [cut, whole] = [&pair[0].verdict, &pair[1].verdict];
        assert_eq!(cut.message, whole.message);
        assert_eq!(
            (&cut.evidence, &cut.evaluation),
            (&whole.evidence, &whole.evaluation)
        );
        assert_eq!(cut.decision, whole.decision);
    }
}

/// A body of several MiB goes past the protocol's tasks for the most part, where it needs no replies: as fast as
/// it comes or in octets that are no whole packets, it is the same mail as one of which every packet is answered.
#[tokio::test]
async fn a_long_body_is_the_same_with_and_without_replies() {
    let key = SigningKey::generate("ed25519");
    let body: String = (0..40_000)
        .map(|line| format!("line {line}  of a body that is longer than any buffer\t \r\n"))
        .collect();
    let mail = format!("From: a@good.example\r\n\r\n{body}");
    let tags =
        "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=good.example; s=s; h=from; bh={bh}; b={b}";
    let file = key.sign(mail.as_bytes(), tags);
    let message = Message::parse(&file);
    let running = start_with_key(&key).await;
    const NO_REPLY_TO_BODY: u32 = 0x8_0000;
    for (options, chunk, octets) in [
        (0x1f_ffff & !NO_REPLY_TO_BODY, 65_535, None),
        (0x1f_ffff, 65_535, None),
        (0x1f_ffff, 65_535, Some(40_009)),
        (0x1f_ffff, 3_001, Some(1_009)),
    ] {
        let raw = running.raw("unix").await.offering(6, 0x1ff, options);
        let mut session = Mta::Postfix.connected(raw, "mx", "198.51.100.7:4711").await;
        session.helo("mx").await;
        session.begin(&Mail::plain("<a@elsewhere.example>")).await;
        send_header(&mut session, &message).await;
        let chunks = message.body.chunks(chunk);
        match octets {
            None => {
                for chunk in chunks {
                    session.body(chunk).await;
                }
            }
            Some(octets) => {
                let packets = chunks.map(|chunk| {
                    let length = u32::try_from(chunk.len() + 1).unwrap();
                    [&length.to_be_bytes()[..], b"B", chunk].concat()
                });
                let stream = packets.collect::<Vec<_>>().concat();
                for octets in stream.chunks(octets) {
                    session.raw.send_octets(octets).await;
                }
            }
        }
        let results = session.end().await.results();
        assert!(results.contains("dkim=pass"), "{options:x} {results}");
        session.quit().await;
    }
    let verdicts = running.stop().await.verdicts;
    assert_eq!(verdicts.len(), 4);
    for kept in &verdicts {
        assert_eq!(kept.verdict.message, verdicts[0].verdict.message);
        assert_eq!(
            kept.verdict.evidence.dkim,
            verdicts[0].verdict.evidence.dkim
        );
    }
}
