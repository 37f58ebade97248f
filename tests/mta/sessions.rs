//! SMTP sessions as they really go: several mails, RSET, pipelining, BDAT, hanging up at any point.

use crate::house::{House, Kind, for_both};
use crate::smtp::{Session, dotted};
use crate::wait;
use crate::world::{EVIL, READER, SENDER};

for_both![
    several_mails_of_a_session_are_judged_each_on_its_own,
    a_second_ehlo_keeps_the_session_whole,
    pipelined_and_chunked_mail_is_the_same_mail,
    hanging_up_leaves_no_verdict_and_harms_no_later_mail,
    a_client_gone_before_the_answer_has_its_mail_judged_all_the_same,
];

const MAIL: &[u8] = b"From: <a@sender.example>\r\nSubject: hello\r\n\r\nbody\r\n";

fn several_mails_of_a_session_are_judged_each_on_its_own(mta: Kind) {
    let house = House::plain(mta);
    let mut session = house.mta.session(&SENDER);
    let senders = [
        "sender.example",
        "list.example",
        "sender.example",
        "evil.example",
    ];
    let mut ids = Vec::new();
    for domain in senders {
        let from = format!("<a@{domain}>");
        let message = format!("From: {from}\r\n\r\nbody\r\n");
        ids.push(
            session
                .mail(&from, &[READER], message.as_bytes())
                .queue_id(),
        );
        // Begun and given up: leaves nothing behind, whatever was said.
        session.command("MAIL FROM:<x@evil.example>").expect(250);
        session.command(&format!("RCPT TO:{READER}")).expect(250);
        session.command("RSET").expect(250);
    }
    session.quit();
    for (domain, id) in senders.into_iter().zip(&ids) {
        let verdict = house.verdict(id);
        assert_eq!(verdict["author_domain"], domain);
        let spf = if domain == "sender.example" {
            "pass"
        } else {
            "fail"
        };
        assert_eq!(verdict["spf"]["mailfrom"]["result"], spf, "{verdict}");
    }
    assert_eq!(house.alignd.messages(&[]).len(), senders.len());
}

fn a_second_ehlo_keeps_the_session_whole(mta: Kind) {
    let house = House::plain(mta);
    let mut session = house.mta.session(&SENDER);
    session.command("EHLO mx.sender.example").expect(250);
    let id = session.mail("<>", &[READER], MAIL).queue_id();
    let verdict = house.verdict(&id);
    // RFC 7208 §2.4: without a reverse-path the MAIL FROM identity is postmaster at the HELO name.
    assert_eq!(verdict["spf"]["mailfrom"]["domain"], "mx.sender.example");
    assert_eq!(verdict["spf"]["mailfrom"]["result"], "pass");
}

fn pipelined_and_chunked_mail_is_the_same_mail(mta: Kind) {
    let house = House::plain(mta);
    let mut session = house.mta.session(&SENDER);
    session.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<reader@receiver.example>\r\nDATA\r\n");
    for code in [250, 250, 354] {
        session.reply().expect(code);
    }
    // The next message's commands follow the final dot at once.
    session.send(&dotted(MAIL));
    session.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<reader@receiver.example>\r\n");
    let first = session.reply().queue_id();
    session.reply().expect(250);
    session.reply().expect(250);
    let second = match mta {
        Kind::Postfix => chunked(&mut session),
        // It has no BDAT.
        Kind::Sendmail => {
            session.command("DATA").expect(354);
            session.send(&dotted(MAIL));
            session.reply().queue_id()
        }
    };
    session.quit();
    for id in [first, second] {
        assert_eq!(house.verdict(&id)["dmarc"]["result"], "pass");
        assert_eq!(house.mta.delivered(&id).body(), b"body\n");
    }
}

/// The mail by BDAT, RFC 3030, after its envelope.
fn chunked(session: &mut Session) -> String {
    let (head, tail) = MAIL.split_at(30);
    session.send(format!("BDAT {}\r\n", head.len()).as_bytes());
    session.send(head);
    session.reply().expect(250);
    session.send(format!("BDAT {} LAST\r\n", tail.len()).as_bytes());
    session.send(tail);
    session.reply().queue_id()
}

fn hanging_up_leaves_no_verdict_and_harms_no_later_mail(mta: Kind) {
    let house = House::plain(mta);
    let stages: [&[&str]; 7] = [
        &[],
        &["EHLO mx.evil.example"],
        &["MAIL FROM:<x@evil.example>"],
        &[
            "MAIL FROM:<x@evil.example>",
            "RCPT TO:<reader@receiver.example>",
        ],
        &[
            "MAIL FROM:<x@evil.example>",
            "RCPT TO:<reader@receiver.example>",
            "DATA",
        ],
        &[
            "MAIL FROM:<x@evil.example>",
            "RCPT TO:<nobody@elsewhere.example>",
        ],
        &[
            "MAIL FROM:<x@evil.example>",
            "RCPT TO:<reader@receiver.example>",
            "RSET",
        ],
    ];
    for stage in stages {
        let mut session = house.mta.session(&EVIL);
        for line in stage {
            session.command(line);
        }
        drop(session);
    }
    for part in [
        "From: <x@sender.example>\r\n",
        "From: <x@sender.example>\r\n\r\nhalf",
    ] {
        let mut session: Session = house.mta.session(&EVIL);
        session.envelope("<x@evil.example>", &[READER]).expect(354);
        session.send(part.as_bytes());
        drop(session);
    }
    let (_, verdict) = house.deliver(&SENDER, "<a@sender.example>", MAIL);
    assert_eq!(verdict["dmarc"]["result"], "pass");
    assert_eq!(house.alignd.messages(&[]).len(), 1);
}

fn a_client_gone_before_the_answer_has_its_mail_judged_all_the_same(mta: Kind) {
    let house = House::plain(mta);
    let mut session = house.mta.session(&SENDER);
    session
        .envelope("<a@sender.example>", &[READER])
        .expect(354);
    session.send(&dotted(MAIL));
    drop(session);
    let mail = wait::until("the mail", || house.mta.mailbox().pop());
    assert_eq!(mail.fields("Authentication-Results").len(), 1);
    wait::until("its outcome", || {
        let verdicts = house.alignd.messages(&[]);
        (verdicts.len() == 1 && verdicts[0]["outcome"] == "accepted").then_some(())
    });
}
