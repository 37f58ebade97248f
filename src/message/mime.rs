//! The parts of a message, RFC 2045 and RFC 2046: as much of MIME as it takes to find a report in one.
//!
//! Owns Content-Type, multipart boundaries and the two encodings of bodies. Lenient: what is broken
//! becomes text. Bounded in depth and in number of parts; nothing grows beyond what was given. Never
//! looks into an attached message: what is said there is said by somebody else.

use super::HeaderField;
use super::cursor::{Cursor, unescaped};
use super::parse::Message;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// One part that has no parts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub content_type: ContentType,
    /// Content-Transfer-Encoding undone.
    pub body: Vec<u8>,
}

/// A Content-Type field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype` in lower case.
    pub media: String,
    /// Names in lower case, values as written, unquoted.
    parameters: Vec<(String, String)>,
}

/// The parts of a message in their order, those of nested multiparts among them.
pub fn parts(message: &Message<'_>) -> Vec<Part> {
    let mut found = Vec::new();
    collect(&message.fields, &message.body, 0, &mut found);
    found
}

fn collect(fields: &[HeaderField], body: &[u8], depth: usize, found: &mut Vec<Part>) {
    if found.len() >= MAX_PARTS {
        return;
    }
    let content_type = ContentType::of(fields);
    let boundary = content_type.parameter("boundary");
    match boundary {
        Some(boundary) if content_type.is_multipart() && depth < MAX_DEPTH => {
            for part in split(body, boundary.as_bytes()) {
                let part = Message::parse(part);
                collect(&part.fields, &part.body, depth.saturating_add(1), found);
            }
        }
        _ => found.push(Part {
            body: decoded(fields, body),
            content_type,
        }),
    }
}

/// RFC 2046 §5.1.1: what stands between lines that begin with `--boundary`, up to `--boundary--`. The
/// last part may lack its end.
fn split<'b>(body: &'b [u8], boundary: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    let mut begun: Option<usize> = None;
    let mut at = 0usize;
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let next = at.saturating_add(line.len());
        let after = line
            .strip_prefix(b"--")
            .and_then(|l| l.strip_prefix(boundary));
        if let Some(after) = after.filter(|after| is_padding(after)) {
            if let Some(begin) = begun.take() {
                parts.push(without_line_end(body.get(begin..at).unwrap_or_default()));
            }
            if after.starts_with(b"--") || parts.len() >= MAX_PARTS {
                return parts;
            }
            begun = Some(next);
        }
        at = next;
    }
    if let Some(begin) = begun {
        parts.push(body.get(begin..).unwrap_or_default());
    }
    parts
}

/// What may stand behind a boundary: `--`, white space.
fn is_padding(after: &[u8]) -> bool {
    let after = after.strip_prefix(b"--").unwrap_or(after);
    after.iter().all(u8::is_ascii_whitespace)
}

/// "The CRLF preceding the boundary delimiter line is conceptually attached to the boundary".
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

fn decoded(fields: &[HeaderField], body: &[u8]) -> Vec<u8> {
    let field = fields.iter().find(|f| f.is("Content-Transfer-Encoding"));
    let encoding = field.map(|f| f.value.trim_ascii().to_ascii_lowercase());
    match encoding.as_deref() {
        Some(b"base64") => base64(body),
        Some(b"quoted-printable") => quoted_printable(body),
        _ => body.to_vec(),
    }
}

/// RFC 2045 §6.8: "All line breaks or other characters not found in Table 1 must be ignored".
fn base64(body: &[u8]) -> Vec<u8> {
    let in_table = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let mut text: Vec<u8> = body.iter().copied().filter(in_table).collect();
    if text.len() % 4 == 1 {
        text.pop();
    }
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, lenient)
        .decode(&text)
        .unwrap_or_default()
}

/// RFC 2045 §6.7; an equals sign that begins no code stands for itself.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'=' {
            text.push(octet);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16);
        match after {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => rest = after,
            [high, low, after @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    text.extend(u8::try_from(high << 4 | low));
                    rest = after;
                }
                _ => text.push(octet),
            },
            _ => text.push(octet),
        }
    }
    text
}

impl ContentType {
    /// Of these fields; `text/plain` without any that can be read, RFC 2045 §5.2.
    pub fn of(fields: &[HeaderField]) -> Self {
        let field = fields.iter().find(|field| field.is("Content-Type"));
        field
            .and_then(|field| Self::read(&field.value))
            .unwrap_or_else(|| Self {
                media: "text/plain".to_owned(),
                parameters: Vec::new(),
            })
    }

    /// The value of a parameter, by its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }

    fn is_multipart(&self) -> bool {
        self.media.starts_with("multipart/")
    }

    /// RFC 2045 §5.1; parameters after one that cannot be read are lost.
    fn read(value: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(value);
        cursor.skip_cfws().ok()?;
        let kind = token(&mut cursor)?;
        cursor.skip_cfws().ok()?;
        cursor.expect(b'/', "no subtype").ok()?;
        cursor.skip_cfws().ok()?;
        let subtype = token(&mut cursor)?;
        let mut parameters = Vec::new();
        while parameters.len() < MAX_PARAMETERS {
            match parameter(&mut cursor) {
                Some(parameter) => parameters.push(parameter),
                None => break,
            }
        }
        Some(Self {
            media: format!("{kind}/{subtype}").to_ascii_lowercase(),
            parameters,
        })
    }
}

fn parameter(cursor: &mut Cursor<'_>) -> Option<(String, String)> {
    cursor.skip_cfws().ok()?;
    cursor.expect(b';', "no parameter").ok()?;
    cursor.skip_cfws().ok()?;
    let name = cursor.take_while(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b));
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    cursor.skip_cfws().ok()?;
    cursor.expect(b'=', "no value").ok()?;
    cursor.skip_cfws().ok()?;
    let value = match cursor.peek()? {
        b'"' => {
            let inside = unescaped(cursor.quoted_string().ok()?);
            String::from_utf8_lossy(&inside).into_owned()
        }
        _ => token(cursor)?,
    };
    Some((name, value))
}

/// RFC 2045 §5.1 `token`, and what is often written unquoted beyond it.
fn token(cursor: &mut Cursor<'_>) -> Option<String> {
    let fits = |b: u8| b.is_ascii_graphic() && !b"()<>@,;\"/[]".contains(&b) || b == b'@';
    let token = cursor.take_while(fits);
    (!token.is_empty()).then(|| String::from_utf8_lossy(token).into_owned())
}

const MAX_PARTS: usize = 50;
const MAX_DEPTH: usize = 8;
const MAX_PARAMETERS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `media:body` of each part, with commas between.
    fn summary(message: &str) -> String {
        let parts = parts(&Message::parse(message.as_bytes()));
        let parts = parts.iter().map(|part| {
            let body = String::from_utf8_lossy(&part.body).replace("\r\n", "|");
            format!("{}:{body}", part.content_type.media)
        });
        parts.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn finds_parts() {
        for (message, expected) in [
            ("\nhello\n", "text/plain:hello|"),
            (
                "Content-Type: Text/HTML (x); charset=utf-8\n\nhi",
                "text/html:hi",
            ),
            ("Content-Type: nonsense\n\nhi", "text/plain:hi"),
            (
                "Content-Type: multipart/mixed; boundary=\"a b\"\n\npre\n--a b\n\none\n--a b  \nContent-Type: x/y\n\ntwo\n\n--a b--\npost\n",
                "text/plain:one,x/y:two|",
            ),
            (
                "Content-Type: multipart/report; boundary=q/1_?=x\n\n--q\n\none\n",
                "text/plain:one|",
            ),
            (
                "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/report; boundary=b\n\n--b\n\none\n--b--\n--a\n\ntwo\n--ab\n",
                "text/plain:one,text/plain:two|--ab|",
            ),
            (
                "Content-Type: multipart/mixed\n\n--a\n\none\n",
                "multipart/mixed:--a||one|",
            ),
            (
                "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=a\n\n--a\n",
                "message/rfc822:Content-Type: multipart/mixed; boundary=a||--a|",
            ),
            (
                "Content-Transfer-Encoding: BASE64\n\naGVs\nbG8\n",
                "text/plain:hello",
            ),
            ("Content-Transfer-Encoding: base64\n\n!!a\n", "text/plain:"),
            (
                "Content-Transfer-Encoding: quoted-printable\n\na=3Db=\nc=4x =\n",
                "text/plain:a=bc=4x ",
            ),
        ] {
            assert_eq!(summary(message), expected, "{message:?}");
        }
    }

    #[test]
    fn nesting_and_numbers_have_an_end() {
        let mut nested = String::new();
        for depth in 0..1_000 {
            nested.push_str(&format!(
                "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
            ));
        }
        assert_eq!(parts(&Message::parse(nested.as_bytes())).len(), 1);
        let many = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}",
            "--b\n\nx\n".repeat(10_000)
        );
        assert_eq!(parts(&Message::parse(many.as_bytes())).len(), MAX_PARTS);
    }

    proptest! {
        #[test]
        fn any_message_has_parts(
            text in "(Content-Type: multipart/(mixed|report); boundary=b\n\n)?((--b(--)?|[a-z]: |Content-Type: multipart/x; boundary=b|\\PC{0,8})\n){0,20}",
        ) {
            let parts = parts(&Message::parse(text.as_bytes()));
            let total: usize = parts.iter().map(|part| part.body.len()).sum();
            prop_assert!(total <= text.len() * 2);
        }
    }
}
