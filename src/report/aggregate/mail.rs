//! The message that carries an aggregate report, RFC 9990 §3.5.2: whole, unsigned, as SMTP takes it.
//!
//! Pure. ASCII, lines of at most 998 octets that end in CRLF; the same input gives the same bytes.
//! Nothing gets into a header field but checked addresses, domain names and numbers.

use super::Head;
use crate::report::destination::PlainAddress;
use crate::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, Timelike, Utc};

/// The message with report `gz` (gzip) from `from`, which must be of `identity.report_domain` to be
/// aligned, to `to`.
pub fn compose(
    head: &Head,
    from: &PlainAddress,
    to: &PlainAddress,
    date: Timestamp,
    gz: &[u8],
) -> Vec<u8> {
    // Room for base64 with its line ends, and for the rest.
    let mut mail = String::with_capacity(gz.len() / 54 * 78 + 8 * 1024);
    let boundary = format!("=_alignd_{}", head.id.unique);
    let date = rfc5322_date(date);
    let file_name = head.file_name();
    for line in [
        &format!("Date: {date}"),
        &format!("From: {from}"),
        &format!("To: {to}"),
        &subject(head),
        // RFC 9990 §3.5.2: "the report sender MAY choose to use the same "ridtxt" as a part or whole
        // of the RFC5322.Message-Id header".
        &format!("Message-ID: <{}>", head.id),
        // RFC 3834 §5: nobody's vacation notice shall answer.
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        &format!("Content-Type: multipart/mixed; boundary=\"{boundary}\""),
        "",
        &format!("--{boundary}"),
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
        &explanation(head),
        &format!("--{boundary}"),
        // RFC 9990 §3.5.2: "MUST be present using the media type "application/gzip" if compressed".
        "Content-Type: application/gzip",
        "Content-Transfer-Encoding: base64",
        // Many readers don't join the pieces of RFC 2231: one `filename`, on one line.
        "Content-Disposition: attachment;",
        &format!(" filename=\"{file_name}\""),
        "",
    ] {
        push_line(&mut mail, line);
    }
    for piece in gz.chunks(OCTETS_A_LINE) {
        STANDARD.encode_string(piece, &mut mail);
        mail.push_str("\r\n");
    }
    push_line(&mut mail, &format!("--{boundary}--"));
    mail.into_bytes()
}

/// RFC 9990 §3.5.2: `dmarc-subject`, folded before each keyword where one line would be long.
fn subject(head: &Head) -> String {
    let pieces = [
        format!("Subject: Report Domain: {}", head.policy_domain),
        format!("Submitter: {}", head.reporter.domain),
        format!("Report-ID: <{}>", head.id),
    ];
    let mut field = String::new();
    let mut line = 0;
    for piece in pieces {
        if !field.is_empty() {
            // RFC 5322 §2.1.1: "SHOULD be no more than 78 characters, excluding the CRLF."
            let fold = line + 1 + piece.len() > SOFT_LIMIT;
            field.push_str(if fold { "\r\n " } else { " " });
            line = if fold { 1 } else { line + 1 };
        }
        line += piece.len();
        field.push_str(&piece);
    }
    field
}

fn explanation(head: &Head) -> String {
    let about = &head.policy_domain;
    let mut text = format!(
        "This is a DMARC aggregate report (RFC 9990) by\r\n{}\r\nabout mail in the name of\r\n{about}\r\n\
         received on {} (UTC). It is attached.\r\n\r\n\
         It is sent because the DMARC record at _dmarc.{about}\r\nasks for it with rua=. \
         Take the address out of the record to stop it.\r\n",
        head.reporter.domain, head.day
    );
    let contact = &head.reporter.contact;
    if contact.len() <= MAX_CONTACT && contact.bytes().all(|b| b.is_ascii_graphic()) {
        text.push_str(&format!("\r\nQuestions about it: {contact}\r\n"));
    }
    text
}

/// RFC 5322 §3.3, in UTC: `Sun, 22 Nov 2026 16:30:00 +0000`.
pub fn rfc5322_date(at: Timestamp) -> String {
    let date = DateTime::<Utc>::from_timestamp(at.seconds(), 0).unwrap_or(DateTime::UNIX_EPOCH);
    let month = MONTHS.get(date.month0() as usize).unwrap_or(&"Jan");
    format!(
        "{}, {} {month} {:04} {:02}:{:02}:{:02} +0000",
        date.weekday(),
        date.day(),
        date.year(),
        date.hour(),
        date.minute(),
        date.second()
    )
}

fn push_line(mail: &mut String, line: &str) {
    mail.push_str(line);
    mail.push_str("\r\n");
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 76 characters of base64, RFC 2045 §6.8.
const OCTETS_A_LINE: usize = 57;
const SOFT_LIMIT: usize = 78;
const MAX_CONTACT: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_rfc_5322() {
        for (at, expected) in [
            ("2026-11-22T16:30:00Z", "Sun, 22 Nov 2026 16:30:00 +0000"),
            ("2024-02-29T00:00:59Z", "Thu, 29 Feb 2024 00:00:59 +0000"),
            ("1970-01-01T00:00:00Z", "Thu, 1 Jan 1970 00:00:00 +0000"),
        ] {
            let at = Timestamp::parse_rfc3339(at).expect("a time");
            assert_eq!(rfc5322_date(at), expected);
        }
    }
}
