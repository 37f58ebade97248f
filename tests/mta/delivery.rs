//! The mails every postmaster knows, through the MTA to the mailbox, and signatures over every shape
//! of message that the MTA passes on unharmed.

use crate::dkim_signer::SigningKey;
use crate::house::{Chain, House, Kind, Plan, for_both};
use crate::postfix::Jail;
use crate::smtp::Client;
use crate::world::{ED25519, EVIL, FORWARDER, LIST, NEIGHBOUR, READER, RSA, SENDER, SENDER6};

for_both![
    clients_of_every_kind_are_known_by_address_and_name,
    an_aligned_mail_passes,
    a_spoof_of_a_rejecting_domain_fails_and_is_marked,
    a_list_that_changed_the_message_breaks_its_signature,
    a_forwarded_mail_passes_by_its_signature,
    one_good_signature_of_two_is_enough,
    signatures_survive_in_every_shape,
    an_internationalized_sender_is_judged_by_its_a_labels,
];

const PLAIN: &[u8] =
    b"From: Ann <ann@sender.example>\r\nTo: reader@receiver.example\r\nSubject: hello\r\n\
    Message-ID: <1@sender.example>\r\n\r\nGood morning.\r\n";

const SIGNED: &str = "from:to:subject:message-id";

fn sign(key: &SigningKey, domain: &str, canon: &str, message: &[u8]) -> Vec<u8> {
    let (a, s) = match key {
        SigningKey::Rsa(_) => ("rsa-sha256", "rsa"),
        SigningKey::Ed25519(_) => ("ed25519-sha256", "ed"),
    };
    let tags = format!(
        "v=1; a={a}; c={canon}; d={domain}; s={s};\r\n\th={SIGNED};\r\n\tbh={{bh}};\r\n\tb={{b}}"
    );
    key.sign(message, &tags)
}

/// Delivers, and looks for every expected part in our one field, which is on top of the message.
#[track_caller]
fn check(house: &House, client: &Client, from: &str, message: &[u8], expected: &[&str]) {
    let (mail, verdict) = house.deliver(client, from, message);
    let header = mail.header();
    let ours = header.find("\nAuthentication-Results: mx.receiver.example");
    let theirs = header.find("\nReceived: from").expect("the MTA traces");
    assert!(ours.is_some_and(|ours| ours < theirs), "{header}");
    let results = mail.fields("Authentication-Results");
    assert_eq!(results.len(), 1, "{header}");
    for part in expected {
        assert!(results[0].contains(part), "{part} not in {}", results[0]);
    }
    assert_eq!(verdict["outcome"], "accepted", "{verdict}");
    let dmarc = verdict["dmarc"]["result"]
        .as_str()
        .expect("it was evaluated");
    assert!(results[0].contains(&format!("dmarc={dmarc}")), "{verdict}");
}

fn an_aligned_mail_passes(mta: Kind) {
    let house = House::plain(mta);
    let mail = sign(&RSA, "sender.example", "relaxed/relaxed", PLAIN);
    let expected = [
        "spf=pass smtp.mailfrom=sender.example",
        "spf=pass smtp.helo=mx.sender.example",
        "dkim=pass (2048-bit key) header.d=sender.example",
        "dmarc=pass (p=reject dis=none) header.from=sender.example",
        "policy.dmarc=reject",
        "iprev=pass",
    ];
    check(&house, &SENDER, "<ann@sender.example>", &mail, &expected);
}

fn clients_of_every_kind_are_known_by_address_and_name(mta: Kind) {
    let house = House::plain(mta);
    for client in [SENDER, SENDER6, NEIGHBOUR] {
        let found = format!("iprev=pass ({})", client.name);
        let expected = [
            "spf=pass smtp.mailfrom=sender.example",
            "dmarc=pass",
            found.as_str(),
        ];
        check(&house, &client, "<ann@sender.example>", PLAIN, &expected);
        let stored = &house.alignd.messages(&[])[0];
        assert_eq!(stored["client_ip"], client.address.to_string());
    }
}

#[test]
fn debians_chroot_and_our_lines_for_main_cf_need_nothing_else() {
    let house = House::open(&Plan {
        chain: Chain::Unsaid,
        jail: Jail::AsDebian,
        main_cf: include_str!("../../contrib/postfix/main.cf"),
        ..Plan::of(Kind::Postfix)
    });
    let mail = sign(&RSA, "sender.example", "simple/simple", PLAIN);
    let expected = [
        "dkim=pass (2048-bit key) header.d=sender.example",
        "dmarc=pass",
    ];
    check(&house, &SENDER, "<ann@sender.example>", &mail, &expected);
}

fn a_spoof_of_a_rejecting_domain_fails_and_is_marked(mta: Kind) {
    let house = House::plain(mta);
    let expected = [
        "spf=pass smtp.mailfrom=evil.example",
        "dmarc=fail (p=reject dis=none) header.from=sender.example",
    ];
    check(&house, &EVIL, "<x@evil.example>", PLAIN, &expected);
}

fn a_list_that_changed_the_message_breaks_its_signature(mta: Kind) {
    let house = House::plain(mta);
    let mut mail = sign(&RSA, "sender.example", "relaxed/relaxed", PLAIN);
    mail.extend_from_slice(b"-- \r\nto leave this list\r\n");
    let mail = sign(&RSA, "list.example", "relaxed/relaxed", &mail);
    let expected = [
        "dkim=pass (2048-bit key) header.d=list.example",
        "dkim=fail (2048-bit key) reason=\"body hash did not verify\" header.d=sender.example",
        "dmarc=fail (p=reject dis=none) header.from=sender.example",
    ];
    check(&house, &LIST, "<bounces@list.example>", &mail, &expected);
}

fn a_forwarded_mail_passes_by_its_signature(mta: Kind) {
    let house = House::plain(mta);
    let mail = sign(&RSA, "sender.example", "relaxed/relaxed", PLAIN);
    let expected = [
        "spf=fail smtp.mailfrom=sender.example",
        "dkim=pass (2048-bit key) header.d=sender.example",
        "dmarc=pass",
    ];
    check(&house, &FORWARDER, "<ann@sender.example>", &mail, &expected);
}

fn one_good_signature_of_two_is_enough(mta: Kind) {
    let house = House::plain(mta);
    let mail = sign(&RSA, "sender.example", "relaxed/relaxed", PLAIN);
    // Its body hash is not that of the body, and the other's is.
    let broken = ED25519.sign(
        &mail,
        "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=sender.example; s=ed; h=from;\
         bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b={b}",
    );
    let expected = [
        "dkim=fail",
        "dkim=pass (2048-bit key) header.d=sender.example",
        "dmarc=pass",
    ];
    check(&house, &EVIL, "<x@evil.example>", &broken, &expected);
}

/// Shapes of messages, and the parameters of MAIL they need.
fn shapes() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let with = |header: &str, body: &[u8]| {
        let start = "From: ann@sender.example\r\nMessage-ID: <2@sender.example>\r\n";
        [start.as_bytes(), header.as_bytes(), b"\r\n", body].concat()
    };
    let words = "a word and another\r\n\t  ".repeat(800);
    let megabytes = b"A line of seventy octets or so, as they are in most of the mail we see.\r\n";
    let megabytes = megabytes.repeat(5 * 1024 * 1024 / megabytes.len() + 1);
    vec![
        (
            "plain",
            "",
            with("Subject: hello\r\nTo: r\r\n", b"Good morning.\r\n"),
        ),
        ("no body", "", with("Subject: hello\r\n", b"")),
        (
            "spaces",
            "",
            with(
                "Subject:  a \t b\t\r\nTo:none\r\n",
                b"a  b \t\r\n\r\n c\r\n\r\n\r\n",
            ),
        ),
        (
            "folded",
            "",
            with(
                "Subject: one\r\n two\r\n\tthree\r\n   four\r\nTo:\r\n r\r\n",
                b".\r\n..\r\n.x\r\n",
            ),
        ),
        (
            "long, folded",
            "",
            with(&format!("Subject: {words}end\r\n"), b"x\r\n"),
        ),
        (
            "long line",
            "",
            with(
                &format!("Subject: {}\r\n", "y".repeat(20_000)),
                &[&b"z".repeat(5_000)[..], b"\r\n"].concat(),
            ),
        ),
        (
            "8 bit",
            " BODY=8BITMIME",
            with("Subject: ol\u{e9}\r\n", b"\xe9\xff\xa0 \xf0\x9f\r\n"),
        ),
        (
            "UTF-8",
            " BODY=8BITMIME",
            with(
                "Subject: 日本\r\nTo: jürgen@bücher.example\r\n",
                "ß\r\n".as_bytes(),
            ),
        ),
        ("5 MiB", "", with("Subject: large\r\n", &megabytes)),
    ]
}

fn signatures_survive_in_every_shape(mta: Kind) {
    let house = House::plain(mta);
    let mut session = house.mta.session(&EVIL);
    for (shape, parameters, message) in shapes() {
        for key in [&RSA, &ED25519] {
            for canon in ["simple/simple", "relaxed/relaxed"] {
                let mail = sign(key, "sender.example", canon, &message);
                let from = format!("<x@evil.example>{parameters}");
                let id = session.mail(&from, &[READER], &mail).queue_id();
                let results = house.mta.delivered(&id).fields("Authentication-Results");
                assert_eq!(results.len(), 1);
                let passes = ["dkim=pass (", "header.d=sender.example", "dmarc=pass"]
                    .iter()
                    .all(|part| results[0].contains(part));
                assert!(passes, "{shape}, {canon}: {}", results[0]);
            }
        }
    }
}

fn an_internationalized_sender_is_judged_by_its_a_labels(mta: Kind) {
    let house = House::plain(mta);
    let mail = "From: Jürgen <jürgen@bücher.example>\r\nSubject: grüße\r\n\r\nß\r\n";
    let mail = sign(
        &ED25519,
        "bücher.example",
        "relaxed/relaxed",
        mail.as_bytes(),
    );
    let keyword = match mta {
        Kind::Postfix => " SMTPUTF8",
        // It doesn't know the keyword, but takes the address.
        Kind::Sendmail => "",
    };
    let from = format!("<jürgen@bücher.example> BODY=8BITMIME{keyword}");
    let expected = [
        "spf=pass",
        "dkim=pass",
        "dmarc=pass (p=quarantine dis=none)",
    ];
    check(&house, &SENDER, &from, &mail, &expected);
    let stored = house.alignd.messages(&[]);
    assert_eq!(stored[0]["author_domain"], "xn--bcher-kva.example");
}

#[test]
fn older_milter_protocols_do_too() {
    for protocol in ["2", "3", "4", "6"] {
        let house = House::open(&Plan {
            main_cf: &format!("milter_protocol = {protocol}"),
            ..Plan::of(Kind::Postfix)
        });
        let forged = [
            b"Authentication-Results: mx.receiver.example; dmarc=pass\r\n",
            PLAIN,
        ]
        .concat();
        let mail = sign(&RSA, "sender.example", "simple/simple", &forged);
        let expected = [
            "dkim=pass (2048-bit key) header.d=sender.example",
            "dmarc=pass",
        ];
        check(&house, &EVIL, "<x@evil.example>", &mail, &expected);
    }
}
