//! What a control file (hf, qf) of Sendmail's says of its mail: one line for each fact, the first letter its kind.
//!
//! "Sendmail Installation and Operation Guide", appendix B. Reads, changes nothing.

use crate::mta::MAX_RECIPIENTS;
use crate::time::Timestamp;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    pub created: Timestamp,
    /// Without brackets; empty is the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    pub recipient_count: u64,
    /// Why it is quarantined.
    pub reason: Option<String>,
    /// The header fields as they will be sent, without those that Sendmail only writes for some mailers.
    pub header: Vec<u8>,
}

impl ControlFile {
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut octets = Vec::new();
        File::open(path)?.take(LONGEST).read_to_end(&mut octets)?;
        Ok(Self::parse(&octets))
    }

    fn parse(octets: &[u8]) -> Self {
        let mut parsed = Self {
            created: Timestamp::from_seconds(0),
            sender: String::new(),
            recipients: Vec::new(),
            recipient_count: 0,
            reason: None,
            header: Vec::new(),
        };
        let mut field: Option<Vec<u8>> = None;
        for line in octets.split(|b| *b == b'\n') {
            if let (Some(field), Some(b' ' | b'\t')) = (&mut field, line.first()) {
                field.push(b'\n');
                field.extend_from_slice(line);
                continue;
            }
            if let Some(whole) = field.take() {
                parsed.header.extend(whole);
                parsed.header.push(b'\n');
            }
            let Some((kind, rest)) = line.split_first() else {
                continue;
            };
            match kind {
                b'H' => field = unconditional(rest),
                // "A single dot by itself on a line": the end.
                b'.' if rest.is_empty() => break,
                _ => parsed.take(*kind, &String::from_utf8_lossy(rest)),
            }
        }
        parsed
    }

    fn take(&mut self, kind: u8, text: &str) {
        match kind {
            b'T' => self.created = Timestamp::from_seconds(text.trim().parse().unwrap_or_default()),
            b'S' => self.sender = bare(text),
            b'q' => self.reason = Some(text.to_owned()),
            // `RPFD:<address>`: flags, then the address.
            b'R' => {
                self.recipient_count = self.recipient_count.saturating_add(1);
                if self.recipients.len() < MAX_RECIPIENTS {
                    let address = text.split_once(':').map_or(text, |(_, address)| address);
                    self.recipients.push(bare(address));
                }
            }
            _ => {}
        }
    }
}

fn bare(address: &str) -> String {
    let inside = address
        .strip_prefix('<')
        .and_then(|address| address.strip_suffix('>'));
    inside.unwrap_or(address).to_owned()
}

/// `H?flags?Name: value`. A field whose value has a macro is one of sendmail.cf's, made anew for each mailer.
fn unconditional(rest: &[u8]) -> Option<Vec<u8>> {
    let rest = match rest.strip_prefix(b"?") {
        None => rest,
        Some(rest) => rest.get(rest.iter().position(|b| *b == b'?')? + 1..)?,
    };
    (!rest.contains(&MACRO)).then(|| rest.to_vec())
}

/// How `$` is kept before a macro's name.
const MACRO: u8 = 0o201;
const LONGEST: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantined_mail() {
        let file = b"V8\nT1795356252\nK0\nN0\nP38887\nI254/1/2\nqv-0123 held, with <angle>\nFbs\n$_mx.evil.example [198.51.100.251]\n$rESMTP\n${daemon_flags}\n${if_addr}127.0.0.1\nS<x@evil.example>\nrRFC822; user48@receiver.example\nRPFD:<user48@receiver.example>\nrRFC822; b@receiver.example\nRPFD:<b@receiver.example>\nH?P?Return-Path: <\x81g>\nH??Received: from a\n\tby b\nH??Subject: q\n S<no@sender.example>\nH?D?Date: today\nH??X-8bit: \xe4\n.\nS<after@the.end>\n";
        let read = ControlFile::parse(file);
        assert_eq!(read.created.to_string(), "2026-11-22T14:04:12.000Z");
        assert_eq!(read.sender, "x@evil.example");
        assert_eq!(
            read.recipients,
            ["user48@receiver.example", "b@receiver.example"]
        );
        assert_eq!(read.recipient_count, 2);
        assert_eq!(read.reason.as_deref(), Some("v-0123 held, with <angle>"));
        let header: &[u8] = b"Received: from a\n\tby b\nSubject: q\n S<no@sender.example>\nDate: today\nX-8bit: \xe4\n";
        assert_eq!(read.header, header);
    }

    #[test]
    fn anything_is_read() {
        for file in [
            &b""[..],
            b"\n\n",
            b"H",
            b"H?",
            b"H?x",
            b"T",
            b"Tx",
            b"S",
            b"R",
            b" ",
            b".\n.",
            b"S<>\n",
        ] {
            assert_eq!(ControlFile::parse(file).sender, "", "{file:?}");
        }
    }
}
