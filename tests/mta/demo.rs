//! The main job once, told to a person: `contrib/demo` runs this and shows what it prints.

use crate::house::{House, Kind};
use crate::report::{Night, Owners};
use crate::smtp::Client;
use crate::story::{self, Listener};
use crate::world::{self, ED25519, EVIL, FORWARDER, LIST, RSA, SENDER};

const LETTER: &[u8] = b"From: Ann <ann@sender.example>\r\nTo: reader@receiver.example\r\n\
    Subject: Minutes of Monday's meeting\r\nMessage-ID: <monday@sender.example>\r\n\r\nGood morning.\r\n";

const RSA_TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=rsa;\r\n\
    \th=from:to:subject:message-id; bh={bh};\r\n\tb={b}";

const ED25519_TAGS: &str = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=sender.example; s=ed;\r\n\
    \th=from:to:subject:message-id; bh={bh};\r\n\tb={b}";

/// A mail and what a postmaster would say about it.
struct Scene {
    title: &'static str,
    story: &'static str,
    client: Client,
    mail_from: &'static str,
    message: Vec<u8>,
    expected: &'static str,
}

fn scenes() -> Vec<Scene> {
    let signed = RSA.sign(LETTER, RSA_TAGS);
    let spoof =
        String::from_utf8_lossy(LETTER).replace("Minutes of Monday's meeting", "Your invoice");
    let with_footer = [
        &signed[..],
        b"-- \r\nTo leave this list, write to leave@list.example\r\n",
    ]
    .concat();
    // Signed by both keys, and the Ed25519 signature then damaged.
    let twice = ED25519.sign(&signed, ED25519_TAGS);
    let twice = String::from_utf8_lossy(&twice).replacen("\tb=", "\tb=AAAA", 1);
    vec![
        Scene {
            title: "An aligned mail",
            story: "Sent by the domain's own host and signed by the domain.",
            client: SENDER,
            mail_from: "<ann@sender.example>",
            message: signed.clone(),
            expected: "dmarc=pass",
        },
        Scene {
            title: "A spoof of a domain with p=reject",
            story: "A stranger's host, its own envelope sender, the victim's From. (Observing: marked, not refused.)",
            client: EVIL,
            mail_from: "<x@evil.example>",
            message: spoof.into_bytes(),
            expected: "dmarc=fail",
        },
        Scene {
            title: "A mailing list that broke the signature",
            story: "The list added a footer, so the body is no longer what sender.example signed.",
            client: LIST,
            mail_from: "<bounces@list.example>",
            message: with_footer,
            expected: "dmarc=fail",
        },
        Scene {
            title: "A forwarder",
            story: "SPF knows nothing of the forwarder's host; the signature came through whole.",
            client: FORWARDER,
            mail_from: "<ann@sender.example>",
            message: signed,
            expected: "dmarc=pass",
        },
        Scene {
            title: "Two signatures, one of them broken",
            story: "One good aligned signature is enough.",
            client: FORWARDER,
            mail_from: "<ann@sender.example>",
            message: twice.into_bytes(),
            expected: "dmarc=pass",
        },
    ]
}

#[test]
fn five_mails_come_in() {
    let house = House::plain(Kind::Postfix);
    tell("A real Postfix, a DNS server and alignd run on loopback addresses.\n\nDNS says:\n");
    let records = world::POLICIES.lines().filter(|line| !line.is_empty());
    tell(&indented(records.take(8)));
    tell("Five mails come in by SMTP.");
    let mut spoof = String::new();
    for (at, scene) in scenes().into_iter().enumerate() {
        tell(&format!(
            "\n{}. {}\n   {}",
            at + 1,
            scene.title,
            scene.story
        ));
        let client = scene.client;
        tell(&format!(
            "   from {} [{}], MAIL FROM:{}",
            client.name, client.address, scene.mail_from
        ));
        let answer = house.send(&client, scene.mail_from, &scene.message);
        tell(&format!(
            "   Postfix answers: {}\n   The delivered header:\n",
            answer.0
        ));
        let id = answer.queue_id();
        let header = house.mta.delivered(&id).header();
        tell(&indented(header.trim_end().lines()));
        assert!(header.contains(scene.expected), "{header}");
        house.verdict(&id);
        if scene.client.name == EVIL.name {
            spoof = id;
        }
    }
    show(&house, &["messages"]);
    show(&house, &["why", &spoof]);
    show(&house, &["report", "preview", "sender.example"]);
    a_night_later(&house);
}

/// Whoever reads what `contrib/demo` prints.
struct Reader;

impl Listener for Reader {
    fn tell(&self, text: &str) {
        tell(&format!("\n{text}"));
    }

    fn show(&self, command: &[&str], printed: &str) {
        tell(&format!("\n$ alignd {}\n", command.join(" ")));
        tell(printed);
    }
}

#[test]
fn then_a_newsletter_is_held_and_released() {
    tell("\n\nThe second story: holding, release, and an exception.");
    story::told(Kind::Postfix, &Reader);
}

/// The report that the owner of sender.example gets about these five mails.
fn a_night_later(house: &House) {
    tell(
        "\nThe clock is set to the night after. The send window opens at 01:00; before it closes at 05:00,",
    );
    tell("a report is built and goes by SMTP to the address in the record of sender.example.");
    let owners = Owners::start();
    let mut night = Night::after(&house.alignd.store(), &owners);
    night.at(60);
    night.at(290);
    let arrived = owners.reports(1).remove(0);
    tell("\nIn the mailbox of dmarc@sender.example:\n");
    tell(&indented(arrived.mail.header().trim_end().lines()));
    tell("Attached, unpacked:\n");
    tell(&indented(arrived.xml.lines()));
    assert_eq!(arrived.messages(), 5);
    assert!(
        arrived.xml.contains("<type>local_policy</type>"),
        "{}",
        arrived.xml
    );
    tell("It counts all five mails: they were all accepted.");
}

/// Lines as a part of the story; the long ones, such as signatures, are cut.
fn indented<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let cut = |line: &str| match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("      {}…\n", &line[..at]),
        None => format!("      {line}\n"),
    };
    lines.map(cut).collect()
}

const WIDTH: usize = 100;

/// A command as a person would give it, and what it prints.
fn show(house: &House, command: &[&str]) {
    tell(&format!("\n$ alignd {}\n", command.join(" ")));
    let printed = house.alignd.run(command);
    assert!(
        !printed.trim().is_empty(),
        "alignd {command:?} says nothing"
    );
    tell(&printed);
}

/// To standard error, which `contrib/demo` shows; the test harness has standard output for itself.
fn tell(text: &str) {
    eprintln!("{text}");
}
