//! Texts as XML can carry them: bounded, printable, nothing that XML 1.0 forbids. Pure.
//!
//! Identifiers come from whoever sent the mail or published the record. XML 1.0 §2.2: "Char ::= #x9 |
//! #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]"; what is outside cannot even be
//! escaped.

use std::borrow::Cow;

/// `text` with white space made spaces, controls and what XML forbids made U+FFFD, cut to `limit`
/// characters, the last of them `…` then. Escaping is the writer's.
pub fn carried(text: &str, limit: usize) -> Cow<'_, str> {
    let plain = |b: u8| (0x20..0x7f).contains(&b);
    if text.len() <= limit && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut kept: String = text.chars().take(limit).map(replaced).collect();
    if text.chars().nth(limit).is_some() {
        kept.pop();
        kept.push('…');
    }
    Cow::Owned(kept)
}

fn replaced(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        // The escapes of bidirectional text turn the order of what follows around for a reader.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_what_xml_can() {
        for (text, expected) in [
            ("", ""),
            ("example.com", "example.com"),
            ("a<b>&\"'", "a<b>&\"'"),
            ("bücher.example", "bücher.example"),
            ("a\0b\x1b[1m", "a\u{fffd}b\u{fffd}[1m"),
            ("a\r\n\tb", "a   b"),
            (
                "\u{fffe}\u{ffff}\u{7f}\u{85}",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("\u{202e}moc", "\u{fffd}moc"),
            ("\u{10ffff}", "\u{10ffff}"),
            ("12345678901234567890", "12345678901234567890"),
            ("123456789012345678901", "1234567890123456789…"),
            ("ääääääääääääääääääääää", "äääääääääääääääääää…"),
        ] {
            assert_eq!(carried(text, 20), expected, "{text:?}");
        }
    }
}
