//! Tag lists, RFC 6376 §3.2: the `tag=value; tag=value` syntax of signatures and of key records.
//!
//! Owns their grammar and the small readers of values (base64, colon-separated lists, numbers).
//! Reads strictly, as §6.1.1 demands ("Being 'liberal in what you accept' is definitely a bad
//! strategy in this security context"), yet goes on after a problem, so that a bad signature can
//! still be named by its `d=` and `s=`. Knows no tag's meaning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;

/// The well-formed tags of a list in order, and the first thing that was wrong with the list.
#[derive(Debug)]
pub struct TagList<'a> {
    tags: Vec<Tag<'a>>,
    pub problem: Option<ListProblem>,
}

/// One `name=value`.
#[derive(Debug)]
pub struct Tag<'a> {
    pub name: &'a str,
    /// Without surrounding white space; folds inside are kept.
    pub value: &'a str,
    /// Where everything between `=` and `;` stands in the text, white space included.
    pub place: Range<usize>,
}

/// Why "the entire tag-list is invalid".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListProblem {
    Malformed,
    /// "Tags with duplicate names MUST NOT occur within a single tag-list".
    Duplicate,
    /// More than `MAX_TAGS`.
    TooMany,
}

impl<'a> TagList<'a> {
    /// Reads a whole list. RFC 8616 §5 and the note in RFC 6376 §3.2 let values hold UTF-8.
    pub fn parse(text: &'a [u8]) -> Self {
        let (text, mut problem) = match std::str::from_utf8(text) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = text.get(..error.valid_up_to()).unwrap_or_default();
                let text = std::str::from_utf8(valid).unwrap_or_default();
                (text, Some(ListProblem::Malformed))
            }
        };
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(16);
        let mut start = 0;
        for spec in text.split(';') {
            let end = start + spec.len();
            let is_tail = end == text.len() && !tags.is_empty();
            let found = match read_tag(spec, start) {
                _ if is_tail && trim(spec).is_empty() => break,
                Some(_) if tags.len() >= MAX_TAGS => Some(ListProblem::TooMany),
                Some(tag) if tags.iter().any(|t| t.name == tag.name) => {
                    Some(ListProblem::Duplicate)
                }
                Some(tag) => {
                    tags.push(tag);
                    None
                }
                None => Some(ListProblem::Malformed),
            };
            problem = problem.or(found);
            if found == Some(ListProblem::TooMany) {
                break;
            }
            start = end + 1;
        }
        Self { tags, problem }
    }

    pub fn find(&self, name: &str) -> Option<&Tag<'a>> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|tag| tag.value)
    }

    /// Where a tag stands in the list, from 0.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.tags.iter().position(|tag| tag.name == name)
    }
}

/// `tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]`
fn read_tag(spec: &str, start: usize) -> Option<Tag<'_>> {
    let (name, value) = spec.split_once('=')?;
    let place = start + name.len() + 1..start + spec.len();
    let name_is_folded_well = is_folded_well(name);
    let name = trim(name);
    // tag-name = ALPHA *ALNUMPUNC
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (fits && name_is_folded_well && is_folded_well(value)).then(|| Tag {
        name,
        value: trim(value),
        place,
    })
}

/// Printable characters, white space, and CRLF only where white space follows it.
fn is_folded_well(text: &str) -> bool {
    if text
        .bytes()
        .all(|b| matches!(b, b' '..=b'~' | b'\t' | 0x80..))
    {
        return true;
    }
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'\r' => bytes.next() == Some(b'\n') && bytes.peek().is_some_and(|b| is_wsp(*b)),
            b' ' | b'\t' | 0x21..=0x7e | 0x80.. => true,
            _ => false,
        };
        if !fits {
            return false;
        }
    }
    true
}

fn is_wsp(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_fws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Takes folding white space off both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && is_fws(c as u8))
}

/// `text` without any folding white space.
pub fn without_fws(text: &str) -> String {
    text.split([' ', '\t', '\r', '\n']).collect()
}

/// The elements of a colon-separated list, white space around them taken off.
pub fn elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

/// `base64string`: white space anywhere is ignored, everything else must be well-formed base64.
pub fn base64(value: &str) -> Option<Vec<u8>> {
    STANDARD.decode(without_fws(value)).ok()
}

/// `1*DIGIT`; what does not fit is the largest number, which no real value reaches.
pub fn number(value: &str) -> Option<u64> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(value.parse().unwrap_or(u64::MAX))
}

/// RFC 6376 registers 14 tags; others may be there and are ignored, but not without end.
const MAX_TAGS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: &str) {
        let list = TagList::parse(text);
        let mut found: Vec<String> = list
            .tags
            .iter()
            .map(|tag| format!("{}={}", tag.name, tag.value))
            .collect();
        if let Some(problem) = list.problem {
            found.push(format!("{problem:?}"));
        }
        assert_eq!(
            found.join("|"),
            expected,
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }

    #[test]
    fn reads_lists() {
        check(b"v=1; a=b", "v=1|a=b");
        check(b" v = 1 ;\r\n\ta =\r\n b c ; ", "v=1|a=b c");
        check(b"a=b==;c=", "a=b==|c=");
        check(b"a=x\r\n \r\n y", "a=x\r\n \r\n y");
        check("d=bücher.example".as_bytes(), "d=bücher.example");
        check(b"A=1;a=2", "A=1|a=2");
        check(b"a_1=2;", "a_1=2");
    }

    #[test]
    fn names_what_is_wrong() {
        check(b"", "Malformed");
        check(b" ; ", "Malformed");
        check(b"a=1;;b=2", "a=1|b=2|Malformed");
        check(b"a=1;b=2;;", "a=1|b=2|Malformed");
        check(b"a=1;b", "a=1|Malformed");
        check(b"1a=1", "Malformed");
        check(b"a b=1", "Malformed");
        check(b"a=1;b=2;a=3;c=4", "a=1|b=2|c=4|Duplicate");
        check(b"a=x\ny", "Malformed");
        check(b"a=x\r\ny", "Malformed");
        check(b"a=x\r", "Malformed");
        check(b"a=\x00", "Malformed");
        check(b"d=a.example; s=\xff", "d=a.example|s=|Malformed");
        let many: String = (0..MAX_TAGS + 1).map(|n| format!("a{n}=;")).collect();
        assert_eq!(
            TagList::parse(many.as_bytes()).problem,
            Some(ListProblem::TooMany)
        );
    }

    #[test]
    fn keeps_the_place_of_values() {
        let text = "a=1; b = x y ; c=2";
        let list = TagList::parse(text.as_bytes());
        let place = list.find("b").map(|tag| tag.place.clone());
        assert_eq!(place.map(|p| &text[p]), Some(" x y "));
    }

    #[test]
    fn reads_values() {
        assert_eq!(base64("TW \r\n\tFu"), Some(b"Man".to_vec()));
        for bad in ["TQ", "TQ=", "T!==", "TQ==TQ==", "TR=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
        assert_eq!(number("18446744073709551616"), Some(u64::MAX));
        for bad in ["", "-1", "1 2", "+1", "0x1"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
