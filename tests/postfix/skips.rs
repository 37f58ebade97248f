//! Mail that is passed over, and mail from trusted relays.

use crate::house::{House, Plan};
use crate::smtp::Client;
use crate::wait;
use crate::world::{EVIL, FORWARDER, SENDER};

const FORGED: &str = "Authentication-Results: mx.receiver.example; dmarc=pass\r\n";
const LETTER: &str = "From: <a@sender.example>\r\n\r\nbody\r\n";

/// Mail under these settings that is not evaluated; whether a forged field survives.
#[track_caller]
fn check(settings: &[(&str, &str)], client: &Client, from: &str, kept: usize) {
    let house = House::open(&Plan {
        alignd: settings,
        ..Plan::PLAIN
    });
    let message = format!("{FORGED}{LETTER}");
    let id = house.send(client, from, message.as_bytes()).queue_id();
    let results = house
        .postfix
        .delivered(&id)
        .fields("Authentication-Results");
    assert_eq!(results.len(), kept, "{settings:?}: {results:?}");
    assert_eq!(house.alignd.messages(&[]).len(), 0);
    // The next client of the same alignd is no such exception.
    house.deliver(&EVIL, "<x@evil.example>", LETTER.as_bytes());
}

#[test]
fn what_is_passed_over_has_no_verdict_and_nobody_elses_word_for_ours() {
    let user = Client {
        login: "ann",
        ..EVIL
    };
    check(&[], &user, "<x@evil.example>", 0);
    check(
        &[("trust.networks", "[\"192.0.2.0/24\"]")],
        &SENDER,
        "<a@sender.example>",
        1,
    );
    check(
        &[("trust.skip_hosts", "[\"192.0.2.25\"]")],
        &SENDER,
        "<a@sender.example>",
        0,
    );
    check(
        &[("trust.skip_hosts", "[\".sender.example\"]")],
        &SENDER,
        "<a@sender.example>",
        0,
    );
    check(
        &[("trust.skip_mail_from", "[\"list.example\"]")],
        &EVIL,
        "<x@list.example>",
        0,
    );
}

#[test]
fn a_program_of_this_host_is_no_client() {
    let house = House::open(&Plan {
        main_cf: "non_smtpd_milters = unix:alignd/milter.sock",
        ..Plan::PLAIN
    });
    let message = format!("{FORGED}{LETTER}").replace("\r\n", "\n");
    house
        .postfix
        .submit("cron@sender.example", message.as_bytes());
    let mail = wait::until("the mail", || house.postfix.mailbox().pop());
    let results = mail.fields("Authentication-Results");
    assert!(results.is_empty(), "{results:?}");
    assert_eq!(house.alignd.messages(&[]).len(), 0);
}

const RELAYED: [(&str, &str); 2] = [
    ("trust.relays", "[\"198.51.100.20\"]"),
    ("policy.on_reject", "\"reject\""),
];

#[test]
fn behind_a_relay_the_client_is_the_one_it_names() {
    let house = House::open(&Plan {
        alignd: &RELAYED,
        ..Plan::PLAIN
    });
    let traced = |client: &Client| {
        let (name, address) = (client.name, client.address);
        format!(
            "Received: from {name} ({name} [{address}])\r\n\tby mx.forwarder.example (Postfix) with ESMTP id 4jX\r\n\
             \tfor <reader@receiver.example>; Sun, 22 Nov 2026 16:00:00 +0000 (UTC)\r\n{LETTER}"
        )
    };
    let good = traced(&SENDER);
    let (_, verdict) = house.deliver(&FORWARDER, "<a@sender.example>", good.as_bytes());
    assert_eq!(verdict["client_ip"], "192.0.2.25");
    assert_eq!(verdict["dmarc"]["result"], "pass");
    let bad = traced(&EVIL);
    house
        .send(&FORWARDER, "<a@sender.example>", bad.as_bytes())
        .expect(550);
}

#[test]
fn a_relay_that_names_no_client_is_never_held_against_the_sender() {
    let house = House::open(&Plan {
        alignd: &RELAYED,
        ..Plan::PLAIN
    });
    let (mail, verdict) = house.deliver(&FORWARDER, "<a@sender.example>", LETTER.as_bytes());
    assert_eq!(verdict["spf"]["mailfrom"]["result"], "none");
    let results = mail.fields("Authentication-Results").join("");
    assert!(results.contains("dmarc=fail"), "{results}");
}
