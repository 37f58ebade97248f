//! Lines as the two MTAs wrote them, and lines by which senders would like to be believed.

use super::Attempt::{Bounced, Deferred, Sent};
use super::LogEvent::*;
use super::*;
use crate::time::Timestamp;
use proptest::prelude::*;

const P: &str = "4jXW5m5GBtz1StgL";
const S: &str = "6AMEJUlD010546";

#[track_caller]
fn check(line: &str, id: &str, expected: LogEvent) {
    let found = parse(line).unwrap_or_else(|| panic!("says nothing: {line}"));
    assert_eq!(
        (found.queue_id.as_str(), found.event),
        (id, expected),
        "{line}"
    );
}

fn postfix(program: &str, text: &str) -> String {
    format!("Nov 22 14:04:12 mx1 postfix/{program}[2345]: {P}: {text}")
}

fn sendmail(text: &str) -> String {
    format!("Nov 22 14:19:30 mx1 sm-mta[99]: {S}: {text}")
}

fn rejected(milter: Option<&str>, text: &str) -> LogEvent {
    Refused {
        milter: milter.map(str::to_owned),
        refusal: Refusal::Rejected(text.to_owned()),
    }
}

fn tempfailed(milter: Option<&str>, text: &str) -> LogEvent {
    Refused {
        milter: milter.map(str::to_owned),
        refusal: Refusal::Tempfailed(text.to_owned()),
    }
}

#[test]
fn postfix_tells() {
    let hold = "milter-hold: END-OF-MESSAGE from mx.evil.example[198.51.100.251]: milter triggers HOLD action; from=<x@evil.example> to=<user46@receiver.example> proto=ESMTP helo=<mx.evil.example>";
    let reject = "milter-reject: END-OF-MESSAGE from mx.evil.example[198.51.100.251]: 5.7.1 Command rejected; from=<x@evil.example> to=<u@receiver.example> proto=ESMTP helo=<h>";
    let later = "milter-reject: END-OF-MESSAGE from unknown[2001:db8::1]: 4.7.1 Service unavailable - try again later; from=<x@evil.example> to=<u@receiver.example>";
    let discard = "milter-discard: END-OF-MESSAGE from unknown[192.0.2.1]: milter triggers DISCARD action; from=<> to=<u@receiver.example>";
    let sent = "to=<u@receiver.example>, relay=virtual, delay=5.2, delays=5.2/0.01/0/0, dsn=2.0.0, status=sent (delivered to maildir)";
    let again = "to=<u@receiver.example>, orig_to=<\"a, >b\"@receiver.example>, relay=mx.example[192.0.2.7]:25, conn_use=2, delay=5.2, delays=5.2/0.01/0/0, dsn=4.0.0, status=deferred (host said: 450 4.0.0 status=sent (x))";
    let bounced = "to=<u@receiver.example>, relay=none, delay=5, delays=5/0/0/0, dsn=5.4.4, status=bounced (no such host)";
    for (program, text, expected) in [
        ("postsuper", "released from hold", Released),
        ("postsuper", "placed on hold", HeldByHand),
        ("postsuper", "removed", DeletedByHand),
        ("postsuper", "requeued", Requeued),
        ("qmgr", "removed", Finished),
        (
            "qmgr",
            "from=<a@b.example>, status=expired, returned to sender",
            Expired,
        ),
        (
            "qmgr",
            "from=<a@b.example>, status=force-expired, returned to sender",
            Expired,
        ),
        ("cleanup", hold, Held { milter: None }),
        ("cleanup", reject, rejected(None, "5.7.1 Command rejected")),
        (
            "cleanup",
            later,
            tempfailed(None, "4.7.1 Service unavailable - try again later"),
        ),
        (
            "cleanup",
            discard,
            Refused {
                milter: None,
                refusal: Refusal::Discarded,
            },
        ),
        ("virtual", sent, Attempt(Sent)),
        ("smtp", again, Attempt(Deferred)),
        ("smtp", bounced, Attempt(Bounced)),
    ] {
        check(&postfix(program, text), P, expected);
    }
    let from = QueueId::parse("3F2A91C0D5").expect("it is one");
    let resubmitted = "uid=103 from=<x@evil.example> orig_id=3F2A91C0D5";
    check(&postfix("pickup", resubmitted), P, Resubmitted { from });
}

#[test]
fn sendmail_tells() {
    let held = Held {
        milter: Some("m0".to_owned()),
    };
    for (text, expected) in [
        ("unquarantine", Released),
        ("quarantine=by hand", HeldByHand),
        (
            "milter=m0, quarantine=v-0123 a reason with; semicolon, stat=Sent",
            held,
        ),
        ("milter=m1, reject", rejected(Some("m1"), "")),
        (
            "milter=m1, reject=554 5.7.1 no",
            rejected(Some("m1"), "554 5.7.1 no"),
        ),
        (
            "Milter: data, reject=554 5.7.1 Command rejected",
            rejected(None, "554 5.7.1 Command rejected"),
        ),
        (
            "Milter: data, reject=451 4.3.2 Please try again later",
            tempfailed(None, "451 4.3.2 Please try again later"),
        ),
        (
            "milter=m1, reject=451 4.7.1 later",
            tempfailed(Some("m1"), "451 4.7.1 later"),
        ),
        (
            "milter=m1, action=eoh, tempfail",
            tempfailed(Some("m1"), ""),
        ),
        (
            "milter=m1, discard",
            Refused {
                milter: Some("m1".to_owned()),
                refusal: Refusal::Discarded,
            },
        ),
        (
            "to=<u@receiver.example>, delay=00:00:04, xdelay=00:00:00, mailer=local, pri=128887, dsn=2.0.0, stat=Sent",
            Attempt(Sent),
        ),
        (
            "to=<u@r.example>,<\"a, dsn=2.0.0, stat=Sent\"@r.example>, delay=00:00:04, mailer=esmtp, pri=1, relay=r.example. [192.0.2.1], dsn=4.0.0, stat=Deferred: 450 x, stat=Sent",
            Attempt(Deferred),
        ),
        (
            "to=<u@r.example>, delay=00:00:04, mailer=local, pri=1, dsn=5.1.1, stat=User unknown",
            Attempt(Bounced),
        ),
        ("done; delay=00:00:01, ntries=1", Finished),
    ] {
        check(&sendmail(text), S, expected);
    }
}

#[test]
fn any_syslog_daemon_and_instance() {
    let text = format!("{P}: released from hold");
    for before in [
        "Nov 22 14:04:12 mx1 postfix/postsuper[2345]: ",
        "Nov  2 14:04:12 mx1.example.org postfix/postsuper[2345]: ",
        "2026-11-22T14:04:12+01:00 mx1 postfix/postsuper[1]: ",
        "2026-11-22T13:04:12.123456Z mx1 postfix/postsuper[1]: ",
        "Nov 22 14:04:12 2001:db8::1 postfix-out/postsuper[2345]: ",
        "Nov 22 14:04:12 mx1 postfix/submission/postsuper[2345]: ",
        "<22>Nov 22 14:04:12 postfix/postsuper[2345]: ",
    ] {
        check(&format!("{before}{text}"), P, Released);
    }
    for tag in ["sendmail", "sm-mta", "sm-msp-queue"] {
        check(
            &format!("<22>Nov 22 14:04:12 {tag}[7]: {S}: unquarantine"),
            S,
            Released,
        );
    }
}

#[test]
fn nobody_else_is_believed() {
    let text = format!("{P}: released from hold");
    let faked = format!("postfix/postsuper[1]: {text}");
    let mut lines = vec![
        // Other programs, whatever they say.
        format!("Nov 22 14:04:12 mx1 php[1]: {faked}"),
        format!("Nov 22 14:04:12 mx1 php: {faked}"),
        format!("Nov 22 14:04:12 php: {faked}"),
        format!("Nov 22 14:04:12 mx1 sshd[1]: Invalid user {faked}"),
        format!("Nov 22 14:04:12 mx1 notpostfix/postsuper[1]: {text}"),
        format!("Nov 22 14:04:12 mx1 postfixed/postsuper[1]: {text}"),
        format!("Nov 22 14:04:12 mx1 postfix[1]: {text}"),
        format!("Nov 22 14:04:12 mx1 postfix/postsuper: {text}"),
        format!("Nov 22 14:04:12 mx1 postfix/postsuper[x]: {text}"),
        format!("Nov 22 14:04:12 mx1 postfix/postsuper[]: {text}"),
        // No stamp, a stamp that is none, other ids.
        faked.clone(),
        format!("Nov 32 14:04:12 mx1 {faked}"),
        format!("Now 22 14:04:12 mx1 {faked}"),
        format!("2026-11-22T14:04:12 mx1 {faked}"),
        "Nov 22 14:04:12 mx1 postfix/postsuper[1]: NOQUEUE: released from hold".to_owned(),
        "Nov 22 14:04:12 mx1 postfix/postsuper[1]: Released from hold: 1 message".to_owned(),
        format!("Nov 22 14:04:12 mx1 postfix/postsuper[1]: {S}: released from hold"),
        format!("Nov 22 14:04:12 mx1 sm-mta[1]: {P}: unquarantine"),
    ];
    // The right words from the wrong program, and words that a sender chose.
    let sender = format!("x> orig_id={P}");
    for (program, text) in [
        ("qmgr", "released from hold"),
        ("smtpd", "removed"),
        ("cleanup", "released from hold"),
        ("postsuper", "expired"),
        ("qmgr", "from=<removed>, size=1, nrcpt=1 (queue active)"),
        (
            "qmgr",
            "from=<\"x>, status=expired, \"@evil.example>, size=1, nrcpt=1 (queue active)",
        ),
        ("pickup", &format!("uid=1000 from=<{sender}>")),
        ("pickup", &format!("uid=1000 from=<{sender} >")),
        ("pickup", &format!("uid=1000 from=<x orig_id={P}>")),
        (
            "cleanup",
            "message-id=<milter-hold: END-OF-MESSAGE from x[1]: y>",
        ),
        (
            "cleanup",
            "milter-reject: CONNECT from x[192.0.2.1]: 5.7.1 no; proto=SMTP",
        ),
        (
            "cleanup",
            "warning: header Subject: milter-hold: END-OF-MESSAGE from x[1]: y from z[1];",
        ),
        ("smtpd", "milter-hold: END-OF-MESSAGE from x[192.0.2.1]: y"),
        (
            "smtp",
            "to=<\"x>, relay=y, dsn=2.0.0, status=sent (ok)\"@r.example>, relay=none",
        ),
        (
            "smtp",
            "to=<u@r.example>, relay=none, dsn=4.0.0, status=undeliverable (status=sent (x)",
        ),
        ("smtp", "enabling PIX workarounds, status=sent (x)"),
        (
            "bounce",
            "sender non-delivery notification: 4jXW5m5GBtz1StgM",
        ),
    ] {
        lines.push(postfix(program, text));
    }
    for text in [
        "from=<unquarantine>, size=8887, class=0, nrcpts=1, msgid=<x>, proto=ESMTP, daemon=MTA, relay=x [192.0.2.1]",
        "from=<x, dsn=2.0.0, stat=Sent>, size=1",
        "to=<u@r.example>, delay=00:00:00, mailer=local, pri=38887, quarantine=v-0123, dsn=2.0.0, stat=Sent ...x, stat=quarantined",
        "to=<\"a>, dsn=2.0.0, stat=Sent\"@r.example>, delay=00:00:00, stat=queued",
        "Milter (m0) insert (0): header: X: milter=m1, reject",
        "Milter: from=<x>, reject=554 5.7.1 Command rejected",
        "milter=m1, action=rcpt, reject=550 5.7.1 no",
        "unquarantine ",
        " unquarantine",
    ] {
        lines.push(sendmail(text));
    }
    for line in &lines {
        assert_eq!(parse(line), None, "{line}");
    }
    assert!(lines.len() > 40);
}

#[test]
fn stamps() {
    let now = Timestamp::parse_rfc3339("2026-11-22T14:00:00Z").expect("it is one");
    for (stamp, offset, expected) in [
        ("Nov 22 13:59:59", 0, "2026-11-22T13:59:59.000Z"),
        ("Nov 22 14:59:59", 3_600, "2026-11-22T13:59:59.000Z"),
        ("Nov 22 14:30:00", 0, "2026-11-22T14:30:00.000Z"),
        ("Nov 24 00:00:00", 0, "2025-11-24T00:00:00.000Z"),
        ("Dec 31 23:59:59", 0, "2025-12-31T23:59:59.000Z"),
        ("Jan  1 00:00:00", 3_600, "2025-12-31T23:00:00.000Z"),
        ("Feb 29 12:00:00", 0, "2024-02-29T12:00:00.000Z"),
        ("2026-11-22T14:04:12.5+01:00", 0, "2026-11-22T13:04:12.500Z"),
        ("2026-11-22T00:04:12-11:30", 0, "2026-11-22T11:34:12.000Z"),
    ] {
        let line = format!("{stamp} mx1 postfix/qmgr[1]: {P}: removed");
        let found = parse(&line).expect("it says something").stamp;
        assert_eq!(found.near(now, offset).to_string(), expected, "{stamp}");
    }
}

proptest! {
    #[test]
    fn any_line_is_read(line in "\\PC{0,200}") {
        let _ = parse(&line);
    }

    /// Whatever stands where others choose the text, only the right events come out.
    #[test]
    fn what_others_choose_makes_no_event(
        chosen in "([ -~]|, |stat=Sent|status=sent \\(|>|<|\"|orig_id=|removed|: |unquarantine|dsn=2.0.0){0,12}",
    ) {
        let quoted: String = chosen.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        for (program, text) in [
            ("qmgr", format!("from=<{chosen}>, size=1, nrcpt=1 (queue active)")),
            ("pickup", format!("uid=1000 from=<{chosen}>")),
            ("cleanup", format!("message-id={chosen}")),
            ("cleanup", format!("warning: header Subject: {chosen} from x[192.0.2.1]; from=<>")),
            ("smtpd", format!("client={chosen}")),
        ] {
            let found = parse(&postfix(program, &text)).map(|line| line.event);
            prop_assert_eq!(found, None);
        }
        let deferred = format!("to=<\"{quoted}\"@r.example>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred ({chosen})");
        prop_assert_eq!(parse(&postfix("smtp", &deferred)).map(|line| line.event), Some(Attempt(Deferred)));
        let deferred = format!("to=<\"{quoted}\"@r.example>, delay=00:00:01, pri=1, dsn=4.0.0, stat=Deferred: {chosen}");
        prop_assert_eq!(parse(&sendmail(&deferred)).map(|line| line.event), Some(Attempt(Deferred)));
        let held = format!("milter=m0, quarantine={chosen}");
        let milter = Some("m0".to_owned());
        prop_assert_eq!(parse(&sendmail(&held)).map(|line| line.event), Some(Held { milter }));
    }
}
