//! Addresses of the envelope: `Mailbox` and `ReversePath`, read from what an SMTP client said.
//!
//! Owns RFC 5321 §4.1.2 paths as milters see them: with or without angle brackets, source routes,
//! quoted local parts, UTF-8 (RFC 6531). Addresses inside header fields are `message::author`'s.

use crate::domain::DomainName;
use std::fmt;

/// `local@domain`. The local part keeps its case and, if it was quoted, its quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    pub local_part: String,
    pub domain: DomainName,
}

/// The argument of MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: bounces and other mail that must not be answered.
    Null,
    Mailbox(Mailbox),
    /// What the client sent is no path; kept for the log and for SPF, at most 320 characters, no controls.
    Unparseable(String),
}

impl Mailbox {
    /// Reads a path: `<@relay:local@domain>`, brackets and source route optional.
    pub fn parse(path: &str) -> Option<Self> {
        let inner = strip_brackets(path);
        let inner = match inner.strip_prefix('@') {
            // RFC 5321 §4.1.1.3: "receiving systems MUST ... strip off" source routes.
            Some(routed) => routed.split_once(':')?.1,
            None => inner,
        };
        let (local_part, domain) = split_at_domain(inner)?;
        if !is_local_part(local_part) {
            return None;
        }
        Some(Self {
            local_part: local_part.to_owned(),
            domain: DomainName::parse(domain).ok()?,
        })
    }
}

impl ReversePath {
    /// Reads the argument of MAIL FROM as the MTA hands it over.
    pub fn parse(path: &str) -> Self {
        let path = path.trim();
        if strip_brackets(path).is_empty() {
            return Self::Null;
        }
        match Mailbox::parse(path) {
            Some(mailbox) => Self::Mailbox(mailbox),
            None => Self::Unparseable(path.chars().map(without_control).take(320).collect()),
        }
    }

    /// The domain of MAIL FROM; `None` for a null or unreadable path.
    pub fn domain(&self) -> Option<&DomainName> {
        match self {
            Self::Mailbox(mailbox) => Some(&mailbox.domain),
            Self::Null | Self::Unparseable(_) => None,
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
            Self::Unparseable(text) => f.write_str(text),
        }
    }
}

/// What stands for a character of a text that is kept only to be shown.
pub fn without_control(c: char) -> char {
    if c.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

fn strip_brackets(path: &str) -> &str {
    let path = path.trim();
    path.strip_prefix('<')
        .and_then(|p| p.strip_suffix('>'))
        .unwrap_or(path)
}

/// Splits at the last `@` outside quotes.
fn split_at_domain(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind('@')?;
    Some((&text[..at], &text[at + 1..]))
}

/// RFC 5321 §4.1.2 `Local-part`, widened by RFC 6531 to UTF-8: no controls, quotes closed, not endless.
fn is_local_part(text: &str) -> bool {
    if text.len() > MAX_LOCAL_PART || text.chars().any(char::is_control) {
        return false;
    }
    match text.strip_prefix('"') {
        Some(rest) => closes_quote(rest),
        None => {
            !text.is_empty()
                && !text.contains([
                    ' ', '"', '<', '>', '(', ')', ',', ';', ':', '[', ']', '\\', '@',
                ])
        }
    }
}

fn closes_quote(rest: &str) -> bool {
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '"' => return chars.next().is_none(),
            _ => {}
        }
    }
    false
}

/// RFC 5321 §4.5.3.1.1 has 64 octets; senders that wrap one address into another need more.
const MAX_LOCAL_PART: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths() {
        for (input, expected) in [
            ("<a@client.example>", "a@client.example"),
            ("a@client.example", "a@client.example"),
            (
                "<@relay.example,@b.example:A.b@Client.Example>",
                "A.b@client.example",
            ),
            ("<\"a b@c\"@client.example>", "\"a b@c\"@client.example"),
            ("<jürgen@bücher.example>", "jürgen@xn--bcher-kva.example"),
            ("<>", "<>"),
            ("", "<>"),
        ] {
            assert_eq!(ReversePath::parse(input).to_string(), expected);
        }
    }

    #[test]
    fn keeps_what_is_no_path() {
        for input in [
            "<root>",
            "<a b@c.example>",
            "<@relay.example>",
            "<\"a@c.example>",
            "<a@>",
            "<@c>",
        ] {
            assert!(
                matches!(ReversePath::parse(input), ReversePath::Unparseable(_)),
                "{input}"
            );
        }
        let long = format!("<{}@c.example>", "x".repeat(MAX_LOCAL_PART + 1));
        assert_eq!(ReversePath::parse(&long).to_string().len(), 320);
        let shown = ReversePath::parse("<a\r\n@c.example\0>").to_string();
        assert_eq!(shown, "<a\u{fffd}\u{fffd}@c.example\u{fffd}>");
    }
}
