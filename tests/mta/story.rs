//! What alignd is for, told once: a newsletter of a domain with p=reject breaks on its way through a list, is
//! held, is released with the exception that its evidence supports, and is delivered; the next issue passes
//! under it; and the day's report says so to the domain's owner, in RFC 9990's words.

use crate::house::{Kind, for_both};
use crate::release::Kept;
use crate::report::{Night, Owners};
use crate::schema;
use crate::wait;
use crate::world::{EVIL, LIST, RSA};
use alignd::report::aggregate::Format;

for_both![a_newsletter_is_held_released_and_passes_from_then_on];

/// Hears the story: a text for people, and what a command prints.
pub trait Listener {
    fn tell(&self, text: &str);
    fn show(&self, command: &[&str], printed: &str);
}

struct Nobody;

impl Listener for Nobody {
    fn tell(&self, _: &str) {}
    fn show(&self, _: &[&str], _: &str) {}
}

fn a_newsletter_is_held_released_and_passes_from_then_on(mta: Kind) {
    told(mta, &Nobody);
}

/// Where it happens, and who listens.
struct Stage<'l> {
    kept: Kept,
    listener: &'l dyn Listener,
}

impl Stage<'_> {
    fn run(&self, command: &[&str]) -> String {
        let printed = self.kept.house.alignd.run(command);
        self.listener.show(command, &printed);
        printed
    }

    fn held(&self, id: &str) {
        wait::until(&format!("{id} to be held"), || self.kept.house.mta.held(id));
        assert_eq!(self.kept.house.verdict(id)["outcome"], "held");
    }
}

const AUTHORS_TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=rsa;\r\n\
    \th=from:to:subject:message-id; bh={bh};\r\n\tb={b}";
const LISTS_TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=list.example; s=rsa;\r\n\
    \th=from:to:subject:message-id:list-id; bh={bh};\r\n\tb={b}";

/// An issue as the list passes it on: signed by its author, a footer added, signed by the list.
fn issue(number: u32) -> Vec<u8> {
    let letter = format!(
        "List-Id: Talk <talk.list.example>\r\nFrom: News <news@sender.example>\r\n\
         To: talk@list.example\r\nSubject: Issue {number}\r\n\
         Message-ID: <issue-{number}@sender.example>\r\n\r\nAll the news.\r\n"
    );
    let signed = RSA.sign(letter.as_bytes(), AUTHORS_TAGS);
    let footer = b"-- \r\nTo leave this list, write to leave@list.example\r\n";
    RSA.sign(&[&signed[..], footer].concat(), LISTS_TAGS)
}

const SPOOF: &[u8] = b"From: News <news@sender.example>\r\nTo: reader@receiver.example\r\n\
    Subject: Your invoice\r\nMessage-ID: <invoice@evil.example>\r\n\r\nPay at once.\r\n";

/// The whole story, on this MTA.
pub fn told(mta: Kind, listener: &dyn Listener) {
    let stage = Stage {
        kept: Kept::open(mta),
        listener,
    };
    let released = a_newsletter_is_held_and_released(&stage);
    the_next_issue_passes(&stage);
    a_spoof_is_held_and_deleted(&stage);
    the_report_says_so(&stage);
    let why = stage.run(&["why", &released]);
    assert!(why.contains("In report 1 about sender.example"), "{why}");
}

fn a_newsletter_is_held_and_released(stage: &Stage<'_>) -> String {
    stage.listener.tell(
        "policy.on_reject = \"hold\". A newsletter of sender.example, which publishes p=reject, comes by a list \
         that adds a footer: the author's signature breaks, and SPF passes for the list alone.",
    );
    let answer = stage
        .kept
        .house
        .send(&LIST, "<bounces@list.example>", &issue(1));
    let id = answer.queue_id();
    stage.held(&id);
    stage.listener.tell(&format!(
        "The MTA answers \"{}\", and keeps it in its hold queue.",
        answer.0
    ));
    stage.run(&["quarantine", "list"]);
    let shown = stage.run(&["quarantine", "show", &id]);
    assert!(
        shown.contains("mailing_list") && shown.contains("list.example"),
        "{shown}"
    );
    stage.listener.tell(
        "It failed as mail fails that a list passed on, and the list's own signature verifies. The postmaster \
         releases it, and makes the first suggestion an exception for 90 days.",
    );
    let release = [
        "quarantine",
        "release",
        &id,
        "--allow",
        "1",
        "--because",
        "mailing_list",
        "--expires",
        "90d",
    ];
    let told = stage.run(&release);
    assert!(told.starts_with("released "), "{told}");
    stage.kept.house.mta.delivered(&id);
    assert_eq!(stage.kept.house.mta.mailbox().len(), 1, "delivered once");
    stage.run(&["exception", "list"]);
    id
}

fn the_next_issue_passes(stage: &Stage<'_>) {
    stage.listener.tell("The next issue comes the same way.");
    let (_, verdict) = stage
        .kept
        .house
        .deliver(&LIST, "<bounces@list.example>", &issue(2));
    assert_eq!(verdict["outcome"], "accepted", "{verdict}");
    assert_eq!(verdict["dmarc"]["disposition"], "none", "{verdict}");
    stage.run(&["messages"]);
}

fn a_spoof_is_held_and_deleted(stage: &Stage<'_>) {
    stage.listener.tell(
        "A stranger in the same name has nothing to show: held, and deleted by the postmaster.",
    );
    let id = stage
        .kept
        .house
        .send(&EVIL, "<x@evil.example>", SPOOF)
        .queue_id();
    stage.held(&id);
    let told = stage.run(&["quarantine", "delete", &id]);
    assert!(told.starts_with("deleted "), "{told}");
    assert!(stage.kept.house.mta.held(&id).is_none());
}

fn the_report_says_so(stage: &Stage<'_>) {
    stage
        .listener
        .tell("The night after, the owner of sender.example gets a report.");
    let owners = Owners::start();
    let mut night = Night::after(&stage.kept.house.alignd.store(), &owners);
    night.at(60);
    night.at(290);
    let arrived = owners.reports(1).remove(0);
    let valid = schema::validate(Format::Rfc9990, &[arrived.xml.clone().into_bytes()]);
    assert_eq!(valid, 1);
    let records: Vec<&str> = arrived.xml.split("<record>").skip(1).collect();
    for record in &records {
        stage
            .listener
            .tell(&format!("<record>{}", record.trim_end()));
        for said in [
            "<disposition>none</disposition>",
            "<dkim>fail</dkim>",
            "<spf>fail</spf>",
            "<type>mailing_list</type>",
            "<header_from>sender.example</header_from>",
        ] {
            assert!(record.contains(said), "{said}: {record}");
        }
        assert!(record.contains(&LIST.address.to_string()), "{record}");
    }
    assert_eq!(arrived.messages(), 2, "{}", arrived.xml);
    assert!(
        !arrived.xml.contains(&EVIL.address.to_string()),
        "{}",
        arrived.xml
    );
    stage.listener.tell(
        "Two messages, both accepted, each with the reason why the policy was not followed; not a word of what \
         was deleted.",
    );
}
