//! Does an incoming field claim to be ours? RFC 8601 §5: an MTA "MUST delete any discovered instance of
//! this header field that claims, by virtue of its authentication service identifier, to have been
//! added within its trust boundary".
//!
//! Judged by every reading that some mail program could make, not by the grammar: if one of them finds
//! our authserv-id, the field goes. So a foreign field that names us before its first semicolon goes
//! too; nobody needs it. Linear in the field.

use crate::domain::{DomainError, DomainName};
use crate::message::HeaderField;
use crate::message::cursor::{Cursor, unescaped};

/// The places of the Authentication-Results fields that claim one of `ids`, as milters count them: 1 is
/// the first field of this name. Highest first, because Postfix renumbers while fields are deleted.
pub fn places_claiming(fields: &[HeaderField], ids: &[impl AsRef<str>]) -> Vec<u32> {
    let ours = fields.iter().filter(|field| field.is(NAME));
    let mut places: Vec<u32> = (1u32..)
        .zip(ours)
        .filter(|(_, field)| claims_to_be(&field.value, ids))
        .map(|(place, _)| place)
        .collect();
    places.reverse();
    places
}

/// Whether `value`, everything after the colon, could be read as a field of one of `ids`: in any case,
/// quoted, folded, in A-labels or U-labels, with comments, a version, a job id or rubbish around it.
pub fn claims_to_be(value: &[u8], ids: &[impl AsRef<str>]) -> bool {
    let value = visible(value);
    let head = grammar_head(&value);
    let joined = joined(&head);
    let heads = [plain_head(&value), head, without_version(&joined), joined];
    // RFC 2047 §5 forbids encoded words here; who decodes them all the same could read anything. And
    // nobody's field has so many words before its first semicolon.
    heads
        .iter()
        .any(|head| head.windows(2).any(|two| two == b"=?") || words(head).nth(MAX_WORDS).is_some())
        || ids.iter().any(|id| names(&heads, id.as_ref()))
}

fn names(heads: &[Vec<u8>], id: &str) -> bool {
    if id.bytes().all(is_word) {
        let id = canonical(id.as_bytes());
        let mut words = heads.iter().flat_map(|head| words(head));
        words.any(|word| is_same(word, &id))
    } else {
        let id = id.to_lowercase();
        heads.iter().any(|head| lower(head).contains(&id))
    }
}

/// Without the octets that some MTA or reader drops; line ends and tabs are spaces.
fn visible(value: &[u8]) -> Vec<u8> {
    let shown = |octet: &u8| match octet {
        b'\t' | b'\r' | b'\n' => Some(b' '),
        octet if octet.is_ascii_control() => None,
        octet => Some(*octet),
    };
    value.iter().filter_map(shown).collect()
}

/// Up to the first semicolon, for those who know neither comments nor quotes.
fn plain_head(value: &[u8]) -> Vec<u8> {
    let start = value.iter().position(|octet| is_word(*octet));
    let value = value.get(start.unwrap_or_default()..).unwrap_or_default();
    let end = value.iter().position(|octet| *octet == b';');
    value
        .get(..end.unwrap_or(value.len()))
        .unwrap_or_default()
        .to_vec()
}

/// Up to the first semicolon outside comments and quoted strings, comments left out, quotes resolved.
fn grammar_head(value: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut started = false;
    let mut cursor = Cursor::new(value);
    // One that is not closed is tried once, not at each of a million opening ones.
    let (mut comments, mut quotes) = (true, true);
    while let Some(octet) = cursor.peek() {
        let before = cursor.clone();
        if octet == b';' && started {
            break;
        } else if octet == b'(' && comments {
            comments = cursor.skip_cfws().is_ok();
            if comments {
                head.push(b' ');
                continue;
            }
        } else if octet == b'"' && quotes {
            let inside = cursor.quoted_string();
            quotes = inside.is_ok();
            if let Ok(inside) = inside {
                head.extend(unescaped(inside));
                started = true;
                continue;
            }
        }
        cursor = before;
        cursor.step();
        head.push(octet);
        started |= is_word(octet);
    }
    head
}

/// For those who drop folds and spaces.
fn joined(head: &[u8]) -> Vec<u8> {
    let spaceless = head.iter().copied().filter(|octet| *octet != b' ');
    spaceless.collect()
}

fn without_version(joined: &[u8]) -> Vec<u8> {
    let digits = joined
        .iter()
        .rev()
        .take_while(|octet| octet.is_ascii_digit());
    let length = joined.len().saturating_sub(digits.count());
    joined.get(..length).unwrap_or_default().to_vec()
}

fn words(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|octet| !is_word(*octet))
        .filter(|word| !word.is_empty())
}

/// What host names are made of; `=` and `@` as well, so that `smtp.mailfrom=us` doesn't name us.
fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"._-=@".contains(&octet)
}

fn is_same(word: &[u8], id: &str) -> bool {
    if word.is_ascii() {
        let end = word
            .iter()
            .rposition(|octet| *octet != b'.')
            .map_or(0, |last| last + 1);
        let word = word.get(..end).unwrap_or_default();
        let start = word
            .iter()
            .position(|octet| *octet != b'.')
            .unwrap_or_default();
        return word
            .get(start..)
            .unwrap_or_default()
            .eq_ignore_ascii_case(id.as_bytes());
    }
    // Any number of invisible characters may stand in it, but no authserv-id is as long.
    if word.len() > MAX_WORD || is_too_long(word) {
        return true;
    }
    let ascii: Vec<u8> = word.iter().copied().filter(u8::is_ascii).collect();
    canonical(word) == id || canonical(&ascii) == id
}

/// RFC 8601 §5: "In the case of EAI-formatted messages, this test is done after converting A-labels into
/// U-labels". The other way round it comes to the same.
fn canonical(word: &[u8]) -> String {
    let text = lower(word);
    let text = text.trim_matches('.');
    match DomainName::parse(text) {
        Ok(domain) => domain.to_string(),
        Err(_) => text.to_owned(),
    }
}

fn is_too_long(word: &[u8]) -> bool {
    let parsed = DomainName::parse(&String::from_utf8_lossy(word));
    matches!(
        parsed,
        Err(DomainError::TooLong | DomainError::LabelTooLong)
    )
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_lowercase()
}

const NAME: &str = "Authentication-Results";

const MAX_WORD: usize = 1024;

const MAX_WORDS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDS: &[&str] = &["mx1.ours.example", "Our Gateway", "xn--mller-kva.example"];

    fn check(value: impl AsRef<[u8]>, expected: bool) {
        let value = value.as_ref();
        let shown = String::from_utf8_lossy(value);
        assert_eq!(claims_to_be(value, IDS), expected, "{shown:?}");
    }

    #[test]
    fn ours_in_every_disguise() {
        for value in [
            " mx1.ours.example; spf=pass smtp.mailfrom=x.example",
            "mx1.ours.example;none",
            " MX1.Ours.EXAMPLE; dmarc=pass",
            " mx1.ours.example.; dmarc=pass",
            " mx1.ours.example 1; dmarc=pass",
            " mx1.ours.example/4jXW5m5GBtz1StgL; dmarc=pass",
            " mx1.ours.example",
            " mx1.ours.example dmarc=pass",
            " mx1.ours.example: dmarc=pass",
            "\r\n mx1.ours.example\r\n\t;dmarc=pass",
            " \"mx1.ours.example\"; dmarc=pass",
            " \"mx1\\.ours.example\" 1; dmarc=pass",
            " \" mx1.ours.example \"; dmarc=pass",
            " \"mx1.ours.example; dmarc=pass",
            " 'mx1.ours.example'; dmarc=pass",
            " <mx1.ours.example>; dmarc=pass",
            " (a;b(c)) mx1.ours.example (d) 1 (e); dmarc=pass",
            " (mx1.ours.example; dmarc=pass",
            " (a (b) mx1.ours.example; dmarc=pass",
            " mx1(a).ours(b;).example; dmarc=pass",
            " mx1.\r\n ours.example 1; dmarc=pass",
            " mx1 .ours . example; dmarc=pass",
            " ; mx1.ours.example; dmarc=pass",
            " (a); mx1.ours.example; dmarc=pass",
            " \"\" mx1.ours.example; dmarc=pass",
            " x.example mx1.ours.example; dmarc=pass",
            " \"x;y\" mx1.ours.example; dmarc=pass",
            " mx1.ou\0rs.example; dmarc=pass",
            " mx1.ours.example\r; dmarc=pass",
            " mx1.ours\u{3002}example; dmarc=pass",
            " mx1.ou\u{ad}rs.example; dmarc=pass",
            " \u{feff}mx1.ours.example; dmarc=pass",
            " \u{ff4d}x1.ours.example; dmarc=pass",
            " =?utf-8?q?mx1=2Eours=2Eexample?=; dmarc=pass",
            " m\u{fc}ller.example; dmarc=pass",
            " M\u{dc}LLER.example; dmarc=pass",
            " xn--mller-kva.example; dmarc=pass",
            " our gateway; dmarc=pass",
            " \"Our Gateway\" 1; dmarc=pass",
        ] {
            check(value, true);
        }
        check(b" mx1.ours\xff.example; dmarc=pass", true);
        check(format!(" {}; dmarc=pass", "\u{ad}".repeat(5000)), true);
        let hidden = "\u{ad}".repeat(100);
        check(format!(" m{hidden}\u{fc}ller.example; dmarc=pass"), true);
        check(format!(" {}; dmarc=pass", "a ".repeat(5000)), true);
    }

    #[test]
    fn others_are_left_alone() {
        for value in [
            "",
            " ",
            ";",
            " x.example; spf=pass smtp.helo=mx1.ours.example",
            " x.example; dmarc=pass (for mx1.ours.example)",
            " amx1.ours.example; dmarc=pass",
            " mx1.ours.example.evil.example; dmarc=pass",
            " mx11.ours.example; dmarc=pass",
            " mx.ours.example; dmarc=pass",
            " ours.example; dmarc=pass",
            " spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=mx1.ours.example; dkim=none",
            " spf=pass smtp.mailfrom=a@mx1.ours.example; dkim=none",
            " muller.example; dmarc=pass",
            " gateway; dmarc=pass",
        ] {
            check(value, false);
        }
        assert!(!claims_to_be(b" x.example; none", &[] as &[&str]));
    }

    #[test]
    fn places_are_counted_by_name_highest_first() {
        let field = |name, value| HeaderField::new(name, value);
        let fields = [
            field("Received", " by x.example"),
            field("Authentication-Results", " mx1.ours.example; none"),
            field("ARC-Authentication-Results", " i=1; mx1.ours.example; none"),
            field("authentication-RESULTS", " x.example; none"),
            field(
                "Authentication-Results",
                " x.example (mx1.ours.example); none",
            ),
        ];
        assert_eq!(places_claiming(&fields, IDS), [3, 1]);
        assert!(places_claiming(&fields, &["y.example"]).is_empty());
    }

    #[test]
    fn hostile_fields_take_linear_time() {
        const MIB: usize = 1 << 20;
        for piece in [
            "(", "()", "\"", "\\\"", ";", "; (", "a", "a(", "\u{e9}", "\0", "\u{ad}", "\"a\"",
        ] {
            let value = piece.repeat(MIB / piece.len());
            std::hint::black_box(claims_to_be(value.as_bytes(), IDS));
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in prop::collection::vec(any::<u8>(), 0..300)) {
            claims_to_be(&value, IDS);
        }

        /// Whatever stands around it, as long as it is a word of its own before the first semicolon.
        #[test]
        fn our_id_as_a_word_is_found(front in "[a-z()\"\\\\ ]{0,20}", behind in "[ ;(/:,\"].{0,40}") {
            let value = format!("{front} mx1.ours.example{behind}");
            prop_assert!(claims_to_be(value.as_bytes(), IDS), "{value:?}");
        }
    }
}
