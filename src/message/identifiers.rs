//! What a message calls itself: Message-ID, List-Id, and whether it is itself a report or a bounce.
//!
//! Lenient readers: these tell messages apart and find lists, they never decide who an author is. All
//! of it is the sender's word; everything is bounded and free of control characters.
//! RFC 5322 §3.6.4, RFC 2919, RFC 3834 §5, RFC 6522, RFC 9990 §3.5.2.

use super::HeaderField;
use super::cursor::{Cursor, is_atext, unescaped};

/// Message-ID without its brackets, as written: at most 998 characters, none of them a control character
/// or a space. The first field counts, where there are several; `None` where it holds nothing.
pub fn message_id(fields: &[HeaderField]) -> Option<String> {
    let field = fields.iter().find(|field| field.is("Message-ID"))?;
    let text = String::from_utf8_lossy(&field.value);
    // RFC 5322 §3.6.4: "msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]".
    let inside = text.split_once('<').map_or(&*text, |(_, rest)| {
        rest.split('>').next().unwrap_or_default()
    });
    let id: String = inside
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .take(MAX_MESSAGE_ID)
        .collect();
    (!id.is_empty()).then_some(id)
}

/// The identifier of List-Id without its brackets, in lower case, since case makes no difference in it.
/// `None` where there are several fields that differ, or none that holds one.
pub fn list_id(fields: &[HeaderField]) -> Option<String> {
    let mut ids = fields
        .iter()
        .filter(|field| field.is("List-Id"))
        .map(|field| read_list_id(&field.value));
    let first = ids.next()??;
    ids.all(|id| id.as_ref() == Some(&first)).then_some(first)
}

/// RFC 2919 §3: `[phrase] "<" list-id ">"`. Some lists leave the brackets out.
fn read_list_id(value: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(value);
    let mut words = 0usize;
    let mut last: &[u8] = b"";
    loop {
        cursor.skip_cfws().ok()?;
        match cursor.peek()? {
            b'"' => {
                cursor.quoted_string().ok()?;
            }
            b'<' => {
                cursor.step();
                cursor.skip_cfws().ok()?;
                last = cursor.take_while(is_list_id);
                cursor.skip_cfws().ok()?;
                cursor.expect(b'>', "an angle bracket is not closed").ok()?;
                break;
            }
            octet if is_list_id(octet) => last = cursor.take_while(is_list_id),
            _ => cursor.step(),
        }
        words = words.saturating_add(1);
        if cursor.peek().is_none() && words == 1 && last.contains(&b'.') {
            break;
        }
    }
    // RFC 2919 §2 allows 255 octets.
    let fits = !last.is_empty() && last.len() <= 255;
    let id = std::str::from_utf8(last).ok().filter(|_| fits)?;
    // Octets of 128 and more are of international atoms, and of C1 controls too.
    (!id.contains(char::is_control)).then(|| id.to_lowercase())
}

fn is_list_id(octet: u8) -> bool {
    is_atext(octet) || octet == b'.'
}

/// What a message calls itself, for one that is itself a report must not cause another: else two hosts that
/// report to each other never stop. The sender's word, to be believed only where the message passes DMARC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Anything else.
    Mail,
    /// A DMARC, ARF or TLS report, as its subject or its content type says.
    Report,
    /// A bounce or another automatic answer.
    Bounce,
}

/// Reads a message's nature off its header; `null_sender`: MAIL FROM was `<>`.
///
/// A null sender alone is not enough: anyone can use one, and forged mail must be reported.
pub fn nature(fields: &[HeaderField], null_sender: bool) -> Nature {
    let content = fields.iter().find(|field| field.is("Content-Type"));
    let content = content.map(|field| multipart_report(&field.value));
    if matches!(content, Some(Content::OtherReport)) || fields.iter().any(is_report_subject) {
        return Nature::Report;
    }
    // RFC 3834 §5: "auto-replied" answers one message, "auto-generated" is any automatic mail.
    let submitted = fields.iter().find(|field| field.is("Auto-Submitted"));
    let submitted = submitted
        .map(|field| first_word(&field.value))
        .unwrap_or_default();
    let automatic = !submitted.is_empty() && submitted != "no";
    let is_bounce = submitted == "auto-replied"
        || matches!(content, Some(Content::Notification))
        || null_sender && (automatic || from_mailer_daemon(fields));
    if is_bounce {
        Nature::Bounce
    } else {
        Nature::Mail
    }
}

enum Content {
    /// `multipart/report` about delivery or disposition.
    Notification,
    /// `multipart/report` of another type: `feedback-report`, `tlsrpt`.
    OtherReport,
    Other,
}

/// RFC 6522 §3: "Content-Type: multipart/report; report-type=...".
fn multipart_report(value: &[u8]) -> Content {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    if parts.next() != Some("multipart/report") {
        return Content::Other;
    }
    let report_type = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim() == "report-type")
        .map(|(_, value)| value.trim().trim_matches('"'));
    match report_type {
        Some("feedback-report" | "tlsrpt") => Content::OtherReport,
        _ => Content::Notification,
    }
}

/// RFC 9990 §3.5.2: `Report Domain: <policy domain> Submitter: <reporter> [Report-ID: <id>]`. Case and
/// white space are read leniently here: a reporter that errs in them loops just as well.
fn is_report_subject(field: &HeaderField) -> bool {
    if !field.is("Subject") {
        return false;
    }
    let text = String::from_utf8_lossy(&field.value).to_ascii_lowercase();
    let mut words = text.split_ascii_whitespace();
    words.next() == Some("report")
        && words.next().is_some_and(|word| word.starts_with("domain:"))
        && words.any(|word| word.starts_with("submitter:"))
}

/// How bounces that are no multipart/report (qmail's) name their author.
fn from_mailer_daemon(fields: &[HeaderField]) -> bool {
    let mut froms = fields.iter().filter(|field| field.is("From"));
    froms.any(|field| {
        let text = String::from_utf8_lossy(&field.value).to_ascii_lowercase();
        text.contains("mailer-daemon@") || text.trim() == "mailer-daemon"
    })
}

/// The first word outside comments, in lower case; empty if there is none.
fn first_word(value: &[u8]) -> String {
    let mut cursor = Cursor::new(value);
    if cursor.skip_cfws().is_err() {
        return String::new();
    }
    let word = cursor.take_while(is_atext);
    String::from_utf8_lossy(&unescaped(word)).to_ascii_lowercase()
}

/// RFC 5322 §2.1.1: no line, hence no msg-id, is longer.
const MAX_MESSAGE_ID: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(header: &str) -> Vec<HeaderField> {
        crate::message::parse::Message::parse(header.as_bytes()).fields
    }

    #[test]
    fn message_ids() {
        for (header, expected) in [
            ("Message-ID: <a@x.example>", Some("a@x.example")),
            ("message-id:<a@x.example>", Some("a@x.example")),
            ("Message-ID:\n <a@x.example> (c)", Some("a@x.example")),
            ("Message-ID: a@x.example", Some("a@x.example")),
            ("Message-ID: <a@x.example", Some("a@x.example")),
            (
                "Message-ID: <\"a b\"@[192.0.2.1]>",
                Some("\"ab\"@[192.0.2.1]"),
            ),
            ("Message-ID: <a\u{fc}\tb\u{7f}c>", Some("a\u{fc}bc")),
            (
                "Message-ID: <a@x.example>\nMessage-ID: <b@x.example>",
                Some("a@x.example"),
            ),
            ("Message-ID: <>", None),
            ("Message-ID:", None),
            ("Subject: <a@x.example>", None),
        ] {
            assert_eq!(
                message_id(&fields(header)).as_deref(),
                expected,
                "{header:?}"
            );
        }
        let long = format!("Message-ID: <{}>", "\u{fc}".repeat(1 << 20));
        assert_eq!(
            message_id(&fields(&long)).map(|id| id.chars().count()),
            Some(998)
        );
        let not_utf8 = [HeaderField::new("Message-ID", b" <a\xff>")];
        assert_eq!(message_id(&not_utf8).as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn list_ids() {
        let long = format!("List-Id: <{}.example>", "a".repeat(300));
        for (header, expected) in [
            (
                "List-Id: List Header Mailing List <list-header.nisto.com>",
                Some("list-header.nisto.com"),
            ),
            (
                "List-Id: <commonspace-users.list-id.within.com>",
                Some("commonspace-users.list-id.within.com"),
            ),
            (
                "List-ID: \"Lena's <Personal> Joke List\"\n <lenas-jokes.DA39EFC.example>",
                Some("lenas-jokes.da39efc.example"),
            ),
            (
                "List-Id: (<no.example>) a: b, [c] <d.example> (e)",
                Some("d.example"),
            ),
            ("List-Id: d.example", Some("d.example")),
            (
                "List-Id: <d.example>\nList-Id: D <D.Example>",
                Some("d.example"),
            ),
            ("List-Id: <d.example>\nList-Id: <e.example>", None),
            ("List-Id: A list", None),
            ("List-Id: list", None),
            ("List-Id: <a b.example>", None),
            ("List-Id: <a@b.example>", None),
            ("List-Id: <d.example", None),
            ("List-Id: \"<d.example>", None),
            ("List-Id: <>", None),
            ("List-Id:", None),
            // C1 controls are octets that international atoms are made of.
            ("List-Id: .\u{80}.", None),
            ("List-Id: <d\u{9b}2J.example>", None),
            (
                "List-Id: <b\u{fc}cher.example>",
                Some("b\u{fc}cher.example"),
            ),
            ("Subject: <d.example>", None),
            (&long, None),
        ] {
            assert_eq!(list_id(&fields(header)).as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn natures() {
        use Nature::{Bounce, Mail, Report};
        // With an ordinary sender, and with the null one.
        for (header, usual, null) in [
            ("Subject: hello", Mail, Mail),
            (
                "Subject: Report Domain: x.example Submitter: y.example Report-ID: <1>",
                Report,
                Report,
            ),
            (
                "Subject: Report domain:x.example\n Submitter: y.example",
                Report,
                Report,
            ),
            (
                "Subject: Re: Report Domain: x.example Submitter: y.example",
                Mail,
                Mail,
            ),
            ("Subject: Report Domain of the month", Mail, Mail),
            (
                "Content-Type: multipart/report; report-type=delivery-status; boundary=a",
                Bounce,
                Bounce,
            ),
            (
                "Content-Type: Multipart/Report;\n boundary=\"a\";\n Report-Type=disposition-notification",
                Bounce,
                Bounce,
            ),
            (
                "Content-Type: multipart/report; report-type=\"feedback-report\"",
                Report,
                Report,
            ),
            (
                "Content-Type: multipart/report; report-type=tlsrpt",
                Report,
                Report,
            ),
            (
                "Content-Type: multipart/mixed; report-type=tlsrpt",
                Mail,
                Mail,
            ),
            ("Auto-Submitted: auto-replied (vacation)", Bounce, Bounce),
            (
                "Auto-Submitted: (a) Auto-Replied; owner-email=\"a\"",
                Bounce,
                Bounce,
            ),
            ("Auto-Submitted: auto-generated", Mail, Bounce),
            ("Auto-Submitted: no", Mail, Mail),
            (
                "From: MAILER-DAEMON@x.example\nSubject: failure notice",
                Mail,
                Bounce,
            ),
            (
                "From: Mail Delivery <Mailer-Daemon@x.example>",
                Mail,
                Bounce,
            ),
            ("From: MAILER-DAEMON", Mail, Bounce),
            ("From: a@mailer-daemon.example", Mail, Mail),
        ] {
            let fields = fields(header);
            assert_eq!(nature(&fields, false), usual, "{header:?}");
            assert_eq!(nature(&fields, true), null, "{header:?}, null sender");
        }
    }

    #[test]
    fn hostile_fields_take_linear_time() {
        const MIB: usize = 1 << 20;
        for name in [
            "Message-ID",
            "List-Id",
            "Subject",
            "Content-Type",
            "Auto-Submitted",
            "From",
        ] {
            for piece in [
                "<",
                "a.",
                "()",
                "(",
                "\"\"",
                "report domain:",
                "; report-type",
                " ",
            ] {
                let field = HeaderField::new(name, piece.repeat(MIB / piece.len()));
                let field = [field];
                std::hint::black_box((message_id(&field), list_id(&field), nature(&field, true)));
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in prop::collection::vec(any::<u8>(), 0..200), null_sender in any::<bool>()) {
            for name in ["Message-ID", "List-Id", "Subject", "Content-Type", "Auto-Submitted", "From"] {
                let field = [HeaderField::new(name, &value)];
                let ids = [message_id(&field), list_id(&field)];
                prop_assert!(ids.iter().flatten().all(|id| !id.contains(char::is_control)));
                nature(&field, null_sender);
            }
        }
    }
}
