//! Mail that is passed over, and mail from trusted relays.

use crate::house::{House, Kind, Plan, for_both};
use crate::smtp::{Client, Session};
use crate::wait;
use crate::world::{EVIL, FORWARDER, READER, SENDER};
use ::alignd::message::HeaderField;
use ::alignd::message::received::client_behind;

for_both![
    what_is_passed_over_has_no_verdict_and_nobody_elses_word_for_ours,
    a_program_of_this_host_is_no_client,
    a_program_of_this_host_that_speaks_smtp_is_none_either,
    behind_a_relay_the_client_is_the_one_it_names,
    a_relay_that_names_no_client_is_never_held_against_the_sender,
    no_helo_keeps_this_mta_from_naming_the_client,
];

const FORGED: &str = "Authentication-Results: mx.receiver.example; dmarc=pass\r\n";
const LETTER: &str = "From: <a@sender.example>\r\n\r\nbody\r\n";

/// Mail under these settings that is not evaluated; whether a forged field survives.
#[track_caller]
fn check(mta: Kind, settings: &[(&str, &str)], client: &Client, from: &str, kept: usize) {
    let house = House::open(&Plan {
        alignd: settings,
        ..Plan::of(mta)
    });
    let message = format!("{FORGED}{LETTER}");
    let id = house.send(client, from, message.as_bytes()).queue_id();
    let results = house.mta.delivered(&id).fields("Authentication-Results");
    assert_eq!(results.len(), kept, "{settings:?}: {results:?}");
    assert_eq!(house.alignd.messages(&[]).len(), 0);
    // The next client of the same alignd is no such exception.
    house.deliver(&EVIL, "<x@evil.example>", LETTER.as_bytes());
}

fn what_is_passed_over_has_no_verdict_and_nobody_elses_word_for_ours(mta: Kind) {
    let user = Client {
        login: "ann",
        ..EVIL
    };
    check(mta, &[], &user, "<x@evil.example>", 0);
    check(
        mta,
        &[("trust.networks", "[\"192.0.2.0/24\"]")],
        &SENDER,
        "<a@sender.example>",
        1,
    );
    check(
        mta,
        &[("trust.skip_hosts", "[\"192.0.2.25\"]")],
        &SENDER,
        "<a@sender.example>",
        0,
    );
    check(
        mta,
        &[("trust.skip_hosts", "[\".sender.example\"]")],
        &SENDER,
        "<a@sender.example>",
        0,
    );
    check(
        mta,
        &[("trust.skip_mail_from", "[\"list.example\"]")],
        &EVIL,
        "<x@list.example>",
        0,
    );
}

/// Postfix shows sendmail(1) as loopback's port 0, when it asks at all. Sendmail's own takes mail to its
/// daemon by SMTP: a client on loopback, in `trust.networks` by default, and so one whose word is believed.
fn a_program_of_this_host_is_no_client(mta: Kind) {
    let (networks, kept) = match mta {
        Kind::Postfix => ("[]", 0),
        Kind::Sendmail => ("[\"127.0.0.0/8\", \"::1/128\"]", 1),
    };
    let house = House::open(&Plan {
        main_cf: "non_smtpd_milters = unix:alignd/milter.sock",
        alignd: &[("trust.networks", networks)],
        ..Plan::of(mta)
    });
    let message = format!("{FORGED}{LETTER}").replace("\r\n", "\n");
    house.mta.submit("cron@sender.example", message.as_bytes());
    let mail = wait::until("the mail", || house.mta.mailbox().pop());
    let results = mail.fields("Authentication-Results");
    assert_eq!(results.len(), kept, "{results:?}");
    assert_eq!(house.alignd.messages(&[]).len(), 0);
}

/// SMTP on standard input, as some mail programs speak it.
fn a_program_of_this_host_that_speaks_smtp_is_none_either(mta: Kind) {
    let house = House::open(&Plan {
        main_cf: "non_smtpd_milters = unix:alignd/milter.sock",
        ..Plan::of(mta)
    });
    // -Am: by the daemon's own settings, its milters among them.
    let arguments: &[&str] = match mta {
        Kind::Postfix => &["-bs"],
        Kind::Sendmail => &["-bs", "-Am"],
    };
    let mut session = Session::with(house.mta.command().args(arguments));
    session.command("EHLO localhost").expect(250);
    let message = format!("{FORGED}{LETTER}");
    let answer = session.mail("<cron@sender.example>", &[READER], message.as_bytes());
    answer.expect(250);
    session.command("QUIT").expect(221);
    let mail = wait::until("the mail", || house.mta.mailbox().pop());
    let results = mail.fields("Authentication-Results");
    assert!(results.is_empty(), "{results:?}");
    assert_eq!(house.alignd.messages(&[]).len(), 0);
}

const RELAYED: [(&str, &str); 2] = [
    ("trust.relays", "[\"198.51.100.20\"]"),
    ("policy.on_reject", "\"reject\""),
];

fn behind_a_relay_the_client_is_the_one_it_names(mta: Kind) {
    let house = House::open(&Plan {
        alignd: &RELAYED,
        ..Plan::of(mta)
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

fn a_relay_that_names_no_client_is_never_held_against_the_sender(mta: Kind) {
    let house = House::open(&Plan {
        alignd: &RELAYED,
        ..Plan::of(mta)
    });
    let (mail, verdict) = house.deliver(&FORWARDER, "<a@sender.example>", LETTER.as_bytes());
    assert_eq!(verdict["spf"]["mailfrom"]["result"], "none");
    let results = mail.fields("Authentication-Results").join("");
    assert!(results.contains("dmarc=fail"), "{results}");
}

/// What the MTA, as somebody's relay, writes down of a client is read, whatever that called itself.
fn no_helo_keeps_this_mta_from_naming_the_client(mta: Kind) {
    let house = House::plain(mta);
    let long = "a".repeat(1_900);
    for helo in [
        "evil.example",
        "[192.0.2.25]",
        "192.0.2.25",
        "b\u{fc}cher.example",
        "two words",
        "a (b [192.0.2.25]) c",
        "a([192.0.2.25])",
        "a\\b\"c;d",
        &long,
    ] {
        let mut session = house.mta.session(&EVIL);
        if session.command(&format!("EHLO {helo}")).code() != 250 {
            // Sendmail wants a name.
            continue;
        }
        let answer = session.mail("<x@evil.example>", &[READER], LETTER.as_bytes());
        let mail = house.mta.delivered(&answer.queue_id());
        let received = mail.fields("Received").swap_remove(0);
        let field = HeaderField::new("Received", format!(" {received}"));
        let client = client_behind(&[field], |_| false).map(|client| client.address);
        assert_eq!(client, Some(EVIL.address), "{helo}: {received}");
    }
}
