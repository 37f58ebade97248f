//! A whole message as bytes: where its header fields are and where its body begins.
//!
//! Owns the two ways a message reaches us: as a file (`Message::parse`, CRLF or LF, with or without an
//! mbox "From " line) and field by field from a milter (`HeaderField::from_milter`). Both yield the
//! same fields, so a file is judged like the same mail through an MTA; where RFC 5322 leaves broken
//! input open, what Postfix shows its milters decides. Bodies are never copied unless their line
//! ends need it. RFC 5322 §2.1, §2.2, §4.5 (`Name : value`).

use super::HeaderField;
use std::borrow::Cow;

/// A message split in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Top first.
    pub fields: Vec<HeaderField>,
    /// Everything after the header, with CRLF line ends.
    pub body: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// Splits a message read from a file. Any octets are a message: what is no header field begins
    /// the body.
    pub fn parse(file: &'a [u8]) -> Self {
        let mut rest = without_mbox_line(file);
        let mut fields = Vec::new();
        loop {
            let (line, after) = next_line(rest);
            // RFC 5322 §2.1: the body "is separated from the header section by an empty line".
            if line.is_empty() && after.len() < rest.len() {
                rest = after;
                break;
            }
            let Some((name, start)) = split_at_colon(line) else {
                break;
            };
            let mut value = start.to_vec();
            rest = after;
            while matches!(rest.first(), Some(b' ' | b'\t')) {
                let (line, after) = next_line(rest);
                value.extend_from_slice(b"\r\n");
                value.extend_from_slice(line);
                rest = after;
            }
            fields.push(HeaderField::new(name, as_postfix_shows(value)));
        }
        Self {
            fields,
            body: with_crlf(rest),
        }
    }
}

impl HeaderField {
    /// A field as a milter gets it: folds are LF and white space (both Postfix and Sendmail), the
    /// value keeps its leading space only if that was negotiated.
    pub fn from_milter(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        let end = name
            .iter()
            .rposition(|octet| !is_wsp(*octet))
            .map_or(0, |last| last.saturating_add(1));
        Self {
            name: name.get(..end).unwrap_or_default().into(),
            value: with_crlf_folds(value.as_ref()).into(),
        }
    }
}

/// Only bare LFs change: a bare CR that an MTA passed on is in the mail it delivers, too.
fn with_crlf_folds(value: &[u8]) -> Vec<u8> {
    // It becomes a box, which has no room to spare.
    let folds = value.iter().filter(|octet| **octet == b'\n').count();
    let mut fixed = Vec::with_capacity(value.len().saturating_add(folds));
    for line in value.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(bare) if !bare.ends_with(b"\r") => {
                fixed.extend_from_slice(bare);
                fixed.extend_from_slice(b"\r\n");
            }
            Some(_) | None => fixed.extend_from_slice(line),
        }
    }
    fixed
}

/// Takes off the lines that mbox files put before each message ("From a@x.example Sun Nov 22 ...",
/// ">From ..." where one was quoted). No header field can look like it: a space stands where the colon must.
fn without_mbox_line(file: &[u8]) -> &[u8] {
    let mut rest = file;
    loop {
        let (line, after) = next_line(rest);
        let quoted = line.iter().take_while(|octet| **octet == b'>').count();
        let text = line.get(quoted..).unwrap_or_default();
        if !text.starts_with(b"From ") || split_at_colon(line).is_some() {
            return rest;
        }
        rest = after;
    }
}

/// The first line without its end, and what follows. The last line needs no end.
fn next_line(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = text.iter().position(|octet| *octet == b'\n') else {
        return (text, b"");
    };
    let (line, after) = text.split_at(end);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (line, after.get(1..).unwrap_or_default())
}

/// Name and value of a header field's first line; `None` for any other line.
///
/// RFC 5322 §2.2: a name is of "printable US-ASCII characters ... except colon"; §4.5 lets white space
/// stand before the colon. A line such as `: x` has no name: both MTAs end the header there.
fn split_at_colon(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let (name, value) = line.split_at(colon);
    let end = name.iter().position(|octet| is_wsp(*octet));
    let (name, gap) = name.split_at(end.unwrap_or(name.len()));
    let fits =
        !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && gap.iter().all(|b| is_wsp(*b));
    fits.then_some((name, value.get(1..).unwrap_or_default()))
}

/// Postfix cuts a field at a NUL and turns a bare CR into a space, for milters and for the mail alike.
fn as_postfix_shows(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = value.iter().position(|octet| *octet == 0) {
        value.truncate(nul);
    }
    let mut rest = value.iter_mut().peekable();
    while let Some(octet) = rest.next() {
        if *octet == b'\r' && rest.peek().is_none_or(|next| **next != b'\n') {
            *octet = b' ';
        }
    }
    value
}

/// The same text with every line end a CRLF, as milters get it; a bare CR is a space (see above).
fn with_crlf(text: &[u8]) -> Cow<'_, [u8]> {
    let bare = |at: usize, octet: u8| match octet {
        b'\n' => at.checked_sub(1).and_then(|at| text.get(at)) != Some(&b'\r'),
        b'\r' => text.get(at.saturating_add(1)) != Some(&b'\n'),
        _ => false,
    };
    let Some(first) = text.iter().enumerate().position(|(at, b)| bare(at, *b)) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut fixed = Vec::with_capacity(text.len().saturating_add(text.len() / 32));
    fixed.extend_from_slice(clean);
    for (at, octet) in rest.iter().enumerate() {
        match (*octet, bare(first.saturating_add(at), *octet)) {
            (b'\n', true) => fixed.extend_from_slice(b"\r\n"),
            (b'\r', true) => fixed.push(b' '),
            (octet, _) => fixed.push(octet),
        }
    }
    Cow::Owned(fixed)
}

fn is_wsp(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(file: &[u8], fields: &[(&str, &str)], body: &str) {
        let message = Message::parse(file);
        let expected: Vec<_> = fields
            .iter()
            .map(|(name, value)| HeaderField::new(name, value))
            .collect();
        let shown = String::from_utf8_lossy(file);
        assert_eq!(message.fields, expected, "{shown:?}");
        assert_eq!(&*message.body, body.as_bytes(), "{shown:?}");
    }

    #[test]
    fn splits() {
        let plain = &[("From", " a@x.example"), ("Subject", " b")];
        for file in [
            "From: a@x.example\r\nSubject: b\r\n\r\nc\r\n",
            "From: a@x.example\nSubject: b\n\nc\n",
            "From a@x.example Sun Nov 22 14:04:12 2026\nFrom: a@x.example\nSubject: b\n\nc\n",
            "From a\n>From b\nFrom: a@x.example\nSubject: b\n\nc\n",
            "From : a@x.example\nSubject \t: b\n\nc\n",
        ] {
            check(file.as_bytes(), plain, "c\r\n");
        }
        let a = &[("A", "b")];
        for (file, body) in [
            ("A:b", ""),
            ("A:b\r\n", ""),
            ("A:b\r\n\r\n", ""),
            ("A:b\r\n\r\n\r\n", "\r\n"),
            ("A:b\r\n\r\nc", "c"),
            ("A:b\nno field\nC: d\n\n", "no field\r\nC: d\r\n\r\n"),
            ("A:b\n: x\nC: d\n", ": x\r\nC: d\r\n"),
            ("A:b\nB\u{fc}: x\n", "B\u{fc}: x\r\n"),
            ("A:b\nB c: x\n", "B c: x\r\n"),
            ("A:b\n\nc\rd\r\n\ne\r", "c d\r\n\r\ne "),
        ] {
            check(file.as_bytes(), a, body);
        }
    }

    #[test]
    fn keeps_every_octet_of_a_value_and_its_folds() {
        for (file, value) in [
            ("A:\n\n", ""),
            ("A: b \n\n", " b "),
            ("A:\tb: c\n\n", "\tb: c"),
            ("A: b\n c\n\td\n\n", " b\r\n c\r\n\td"),
            ("A:\n \n b\n\n", "\r\n \r\n b"),
            ("A: b\0c\n d\n\n", " b"),
            ("A: b\rc\n\n", " b c"),
            ("A: \u{fc}\n\n", " \u{fc}"),
        ] {
            check(file.as_bytes(), &[("A", value)], "");
        }
    }

    #[test]
    fn anything_is_a_message() {
        check(b"", &[], "");
        check(b"\n", &[], "");
        check(b" A: b\n\nc", &[], " A: b\r\n\r\nc");
        check(b"hello\nworld\n", &[], "hello\r\nworld\r\n");
        check(b"From x\n\nb", &[], "b");
    }

    #[test]
    fn reads_what_milters_get() {
        for (name, value, expected) in [
            ("From", " a\n b", HeaderField::new("From", " a\r\n b")),
            ("From ", "a", HeaderField::new("From", "a")),
            ("A", " b\r\n c", HeaderField::new("A", " b\r\n c")),
            ("A", "b\rc\n d", HeaderField::new("A", "b\rc\r\n d")),
            ("A", "", HeaderField::new("A", "")),
        ] {
            assert_eq!(HeaderField::from_milter(name, value), expected);
        }
    }

    #[test]
    fn hostile_messages_take_linear_time() {
        const MIB: usize = 1 << 20;
        for piece in ["A:b\n", "A:\n ", "\n", "\r", "\0", ":", "a", " "] {
            let file = piece.repeat(MIB / piece.len());
            std::hint::black_box(Message::parse(file.as_bytes()));
        }
    }

    #[test]
    fn a_bare_lf_of_a_milter_becomes_a_line_end() {
        for (value, fixed) in [
            ("", ""),
            (" a", " a"),
            (" a\n b", " a\r\n b"),
            (" a\r\n b", " a\r\n b"),
            ("\n\n\tb\n", "\r\n\r\n\tb\r\n"),
            ("a\r\r\n\nb\r", "a\r\r\n\r\nb\r"),
        ] {
            let field = HeaderField::from_milter("A", value);
            assert_eq!(&*field.value, fixed.as_bytes(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_ends_lines_rightly(file in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0: \tA".to_vec())], 0..300)) {
            let message = Message::parse(&file);
            let bodies = std::iter::once(&*message.body);
            for text in bodies.chain(message.fields.iter().map(|field| &*field.value)) {
                let text = String::from_utf8_lossy(text).replace("\r\n", "");
                prop_assert!(!text.contains(['\r', '\n']));
            }
        }

        /// Line ends are all that a file with LF differs in.
        #[test]
        fn lf_and_crlf_are_the_same_message(lines in prop::collection::vec("[ a-c:]{0,5}", 0..20)) {
            let lf = lines.join("\n");
            let crlf = lines.join("\r\n");
            prop_assert_eq!(Message::parse(lf.as_bytes()), Message::parse(crlf.as_bytes()));
        }
    }
}
