//! Delivery status notifications: did a mail of ours fail, and for good?
//!
//! Owns RFC 3464 as Postfix, Sendmail and Exchange write it, and the forms of those that don't: Exim's
//! header field, qmail's text. Lenient and bounded: everything in a bounce is the word of whoever sent
//! it. To whom the mail went is not read here: the return path tells that, and is signed.

use super::HeaderField;
use super::mime::{ContentType, parts};
use super::parse::Message;

/// What a message says about a mail that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It failed and will fail again: what the server said, or the status, printable and short.
    Permanent(String),
    /// A server on the way had only transient trouble, and gave it up after some days.
    GivenUp(String),
    /// It failed this time, or is late.
    Temporary(String),
    /// It arrived, or was passed on.
    Delivered,
    /// The message is not about delivery.
    NotADsn,
}

/// Reads a message. Of several recipients the worst counts.
pub fn read(message: &Message<'_>) -> Notice {
    let parts = parts(message);
    let mut worst = Notice::NotADsn;
    for part in &parts {
        // RFC 3464 §2.1, and RFC 6533 §3 for international addresses.
        let media = part.content_type.media.as_str();
        if matches!(
            media,
            "message/delivery-status" | "message/global-delivery-status"
        ) {
            for group in groups(&part.body) {
                worst = worse(worst, recipient(&group));
            }
        }
    }
    if worst != Notice::NotADsn {
        return worst;
    }
    let text = parts
        .iter()
        .find(|part| part.content_type.media == "text/plain");
    let text = text.map(|part| String::from_utf8_lossy(&part.body).into_owned());
    without_status(&message.fields, &text.unwrap_or_default())
}

/// The per-recipient fields of one group; RFC 3464 §2.1: groups are divided by empty lines, and the first
/// is about the message.
fn groups(body: &[u8]) -> Vec<Vec<HeaderField>> {
    let mut groups = Vec::new();
    let mut rest = body.to_vec();
    while !rest.trim_ascii().is_empty() && groups.len() < MAX_GROUPS {
        let begin = rest.iter().position(|b| !b.is_ascii_whitespace());
        let text = rest.get(begin.unwrap_or_default()..).unwrap_or_default();
        let group = Message::parse(text);
        let after = group.body.into_owned();
        if group.fields.is_empty() && after.len() >= text.len() {
            // No field at all: not a group, and nothing behind it can be trusted to be one.
            break;
        }
        groups.push(group.fields);
        rest = after;
    }
    groups
}

/// RFC 3464 §2.3.3 and §2.3.4. `NotADsn`: not a group about a recipient.
fn recipient(fields: &[HeaderField]) -> Notice {
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.is(name))?;
        Some(printable(&String::from_utf8_lossy(&field.value)))
    };
    let action = value("Action").unwrap_or_default().to_ascii_lowercase();
    let status = value("Status").unwrap_or_default();
    let diagnostic = value("Diagnostic-Code").map(|text| match text.split_once(';') {
        Some((_, said)) => said.trim().to_owned(),
        None => text,
    });
    let said = diagnostic.filter(|said| !said.is_empty());
    let code = said.as_deref().and_then(first_digit);
    let class = class(&status).or(code);
    let grounds = || said.clone().unwrap_or_else(|| status.clone());
    match action.split([' ', '(']).next().unwrap_or_default() {
        // RFC 3464 §2.3.3: "The Reporting MTA has abandoned any attempts to deliver the message". What it met
        // may pass by all the same.
        "failed" if class == Some('4') => Notice::GivenUp(grounds()),
        "failed" => Notice::Permanent(grounds()),
        "delayed" => Notice::Temporary(grounds()),
        "delivered" | "relayed" | "expanded" => Notice::Delivered,
        // Some leave Action out, or write it in their own language.
        _ => match class {
            Some('5') => Notice::Permanent(grounds()),
            Some('4') => Notice::Temporary(grounds()),
            Some('2') => Notice::Delivered,
            Some(_) | None => Notice::NotADsn,
        },
    }
}

/// RFC 3463 §2: `class.subject.detail`.
fn class(status: &str) -> Option<char> {
    let (class, rest) = status.split_once('.')?;
    let rest = rest.split([' ', '(', ';']).next()?;
    let (subject, detail) = rest.split_once('.')?;
    let number =
        |text: &str| matches!(text.len(), 1..=3) && text.bytes().all(|b| b.is_ascii_digit());
    let known = matches!(class, "2" | "4" | "5") && number(subject) && number(detail);
    known.then(|| class.chars().next()).flatten()
}

/// The class of a reply code: three digits, not more.
fn first_digit(said: &str) -> Option<char> {
    let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
    (digits.len() == 3).then(|| digits.chars().next()).flatten()
}

/// Bounces of MTAs that write no status: Exim names the address in a field, qmail speaks QSBMF, and old
/// Sendmails head their list.
fn without_status(fields: &[HeaderField], text: &str) -> Notice {
    let text: String = text.chars().take(MAX_TEXT).collect();
    let lower = text.to_ascii_lowercase();
    let said = || {
        let is_code = |word: &str| matches!(first_digit(word), Some('4' | '5'));
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.clone().next();
        let line = lines
            .find(|line| line.split_whitespace().any(is_code))
            .or(first);
        printable(line.unwrap_or_default())
    };
    let exim = fields.iter().any(|field| field.is("X-Failed-Recipients"));
    let qmail = text.trim_start().starts_with("Hi. This is the ");
    let sendmail = lower.contains("the following addresses had");
    let report = ContentType::of(fields);
    let notification = report.media == "multipart/report"
        && report.parameter("report-type") == Some("delivery-status");
    if !(exim || qmail || sendmail || notification) {
        return Notice::NotADsn;
    }
    let late = [
        "not yet been delivered",
        "will continue to try",
        "transient",
        "delayed",
        "#4.",
    ];
    let fatal = [
        "permanent error",
        "permanent fatal error",
        "#5.",
        "retry timeout exceeded",
    ];
    let is = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if is(&fatal) || exim && !is(&late) {
        Notice::Permanent(said())
    } else {
        Notice::Temporary(said())
    }
}

fn worse(a: Notice, b: Notice) -> Notice {
    let rank = |notice: &Notice| match notice {
        Notice::NotADsn => 0,
        Notice::Delivered => 1,
        Notice::Temporary(_) => 2,
        Notice::GivenUp(_) => 3,
        Notice::Permanent(_) => 4,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// One line, white space as single blanks, at most `MAX_SAID` characters.
fn printable(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_SAID).collect()
}

/// Recipients that one notice is read for.
const MAX_GROUPS: usize = 100;
/// Characters of a text that is searched, and of what is kept of an answer.
const MAX_TEXT: usize = 8_192;
const MAX_SAID: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(message: &str, expected: &str) {
        let found = match read(&Message::parse(message.as_bytes())) {
            Notice::Permanent(said) => format!("permanent: {said}"),
            Notice::GivenUp(said) => format!("given up: {said}"),
            Notice::Temporary(said) => format!("temporary: {said}"),
            Notice::Delivered => "delivered".to_owned(),
            Notice::NotADsn => "not a dsn".to_owned(),
        };
        assert_eq!(found, expected, "{message}");
    }

    fn report(status: &str) -> String {
        format!(
            "Content-Type: multipart/report; report-type=delivery-status;\n boundary=\"b\"\n\n--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\n{status}\n--b\nContent-Type: message/rfc822\n\nStatus: 5.0.0\nAction: failed\n\n--b--\n"
        )
    }

    #[test]
    fn status_of_recipients() {
        for (status, expected) in [
            // Postfix.
            (
                "Reporting-MTA: dns; mx.example\nX-Postfix-Queue-ID: 4jX\nArrival-Date: Sun, 22 Nov 2026 16:00:00 +0000 (UTC)\n\nFinal-Recipient: rfc822; a@b.example\nOriginal-Recipient: rfc822;a@b.example\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; b.example\nDiagnostic-Code: smtp; 550 5.1.1 <a@b.example>: Recipient address\n    rejected: User unknown\n",
                "permanent: 550 5.1.1 <a@b.example>: Recipient address rejected: User unknown",
            ),
            (
                "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b.example\nAction: delayed\nStatus: 4.4.1\nDiagnostic-Code: X-Postfix; connect to b.example[192.0.2.1]:25: Connection refused\nWill-Retry-Until: x\n",
                "temporary: connect to b.example[192.0.2.1]:25: Connection refused",
            ),
            // Given up after five days of transient trouble.
            (
                "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 4.4.1\n",
                "given up: 4.4.1",
            ),
            // Sendmail.
            (
                "Reporting-MTA: dns; mx.example\nReceived-From-MTA: DNS; localhost\n\nFinal-Recipient: RFC822; a@b.example\nAction: failed\nStatus: 5.1.1\nRemote-MTA: DNS; b.example\nDiagnostic-Code: SMTP; 550 5.1.1 no such user\nLast-Attempt-Date: x\n",
                "permanent: 550 5.1.1 no such user",
            ),
            // Exchange.
            (
                "Reporting-MTA: dns;EX.corp.example\nReceived-From-MTA: dns;mx.example\n\nFinal-Recipient: rfc822;a@b.example\nAction: failed\nStatus: 5.1.10\nDiagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup\nX-Display-Name: a\n",
                "permanent: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            ),
            (
                "Reporting-MTA: dns; m\n\nAction: relayed\nStatus: 2.0.0\n",
                "delivered",
            ),
            (
                "Reporting-MTA: dns; m\n\nStatus: 5.2.2 (mailbox full)\n",
                "permanent: 5.2.2 (mailbox full)",
            ),
            ("Action: failed\n", "permanent: "),
            (
                "Action: fehlgeschlagen\nStatus: x\nDiagnostic-Code: smtp; 452 full\n",
                "temporary: 452 full",
            ),
            (
                "\n\n\nReporting-MTA: dns; m\n\n\n\nAction: failed\nStatus: 5.0.0\n",
                "permanent: 5.0.0",
            ),
            (
                "Reporting-MTA: dns; m\n\nAction: delivered\nStatus: 2.0.0\n\nAction: failed\nStatus: 5.0.0\n\nAction: delayed\nStatus: 4.0.0\n",
                "permanent: 5.0.0",
            ),
            (
                "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 a\0\u{7}\u{1b}[31m b\n",
                "permanent: 550 a [31m b",
            ),
            // Nothing about a recipient; a notification all the same.
            ("Reporting-MTA: dns; m\n", "temporary: Sorry."),
            ("", "temporary: Sorry."),
        ] {
            // NUL ends a field.
            let status = status.replace('\0', "");
            check(&report(&status), expected);
        }
    }

    #[test]
    fn odd_shapes() {
        let status = "Reporting-MTA: dns; m\n\nAction: failed\nStatus: 5.1.1\n";
        for (message, expected) in [
            (
                format!("Content-Type: multipart/mixed; boundary=m\n\n--m\n{}\n--m--\n", report(status)),
                "permanent: 5.1.1",
            ),
            (format!("Content-Type: message/delivery-status\n\n{status}"), "permanent: 5.1.1"),
            (
                "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: base64\n\nQWN0aW9uOiBmYWlsZWQKU3RhdHVzOiA1LjEuMQo=\n".to_owned(),
                "permanent: 5.1.1",
            ),
            (
                "From: Mail Delivery System <Mailer-Daemon@m.example>\nX-Failed-Recipients: a@b.example\n\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  a@b.example\n    550 no such user\n".to_owned(),
                "permanent: 550 no such user",
            ),
            (
                "\nHi. This is the qmail-send program at m.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<a@b.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 no\nGiving up. (#5.1.1)\n".to_owned(),
                "permanent: Remote host said: 550 no",
            ),
            (
                "Subject: Warning: could not send message for past 4 hours\n\n   ----- The following addresses had transient non-fatal errors -----\n<a@b.example>\n".to_owned(),
                "temporary: ----- The following addresses had transient non-fatal errors -----",
            ),
            ("Subject: Out of office\nAuto-Submitted: auto-replied\n\nI am away. 550 reasons.\n".to_owned(), "not a dsn"),
            ("Content-Type: message/rfc822\n\nContent-Type: message/delivery-status\n\nAction: failed\n".to_owned(), "not a dsn"),
            ("\n".to_owned(), "not a dsn"),
        ] {
            check(&message, expected);
        }
    }

    proptest! {
        #[test]
        fn never_more_than_a_line(text in "((Action|Status|Diagnostic-Code): ?\\PC{0,20}(failed|5\\.1\\.1|smtp; )?\\PC{0,400}\r?\n|\n){0,12}") {
            match read(&Message::parse(report(&text).as_bytes())) {
                Notice::Permanent(said) | Notice::GivenUp(said) | Notice::Temporary(said) => {
                    prop_assert!(said.chars().count() <= MAX_SAID);
                    prop_assert!(!said.contains(char::is_control));
                }
                Notice::Delivered | Notice::NotADsn => {}
            }
        }
    }
}
