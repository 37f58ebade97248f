//! The message that carries a digest: whole, unsigned, as SMTP takes it.
//!
//! ASCII, lines of at most 998 octets that end in CRLF (RFC 5322 §2.1.1); the same input gives the same octets.

use super::Digest;
use super::text::{subject, text};
use crate::report::aggregate::mail::rfc5322_date;
use crate::report::destination::PlainAddress;

/// Whom it is from and to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub from: PlainAddress,
    pub to: PlainAddress,
    /// What this mail is known by; sent once more after a lost answer, it bears the same.
    pub key: String,
}

/// The message.
pub fn compose(digest: &Digest, letter: &Letter) -> Vec<u8> {
    let mut mail = String::new();
    for line in [
        &format!("Date: {}", rfc5322_date(digest.at)),
        &format!("From: {}", letter.from),
        &format!("To: {}", letter.to),
        &format!("Subject: {}", subject(digest)),
        &format!("Message-ID: <{}>", message_id(digest, letter)),
        // RFC 3834 §5: nobody's vacation notice shall answer.
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
    ] {
        mail.push_str(line);
        mail.push_str("\r\n");
    }
    for line in text(digest).lines() {
        mail.push_str(line);
        mail.push_str("\r\n");
    }
    mail.into_bytes()
}

/// RFC 5322 §3.6.4: a dot-atom on the left.
fn message_id(digest: &Digest, letter: &Letter) -> String {
    let name = format!("alignd-digest.{}.{}", letter.key, digest.host);
    let atoms = name
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|atom| !atom.is_empty());
    let atoms: Vec<&str> = atoms.collect();
    format!("{}@{}", atoms.join("."), letter.from.domain())
}
