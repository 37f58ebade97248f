//! `DomainName`: a domain as every part of alignd compares and stores it, in lower-case A-labels.
//!
//! Owns the conversion from what a sender wrote (mixed case, U-labels, a trailing dot) to that one
//! form; past this point nobody lower-cases, trims or checks again. Never asks DNS.
//! RFC 1035 §2.3.4 (sizes), RFC 5890 §2.3 (A-labels), RFC 4343 (case).

use std::fmt;

/// A syntactically possible domain name: one or more labels of 1–63 octets, 253 at most in all,
/// lower case, A-labels only, no trailing dot. Underscores are allowed: `_dmarc`, selectors.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

/// Why a text is no domain name. The sender is to blame; there is nothing to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainError {
    Empty,
    EmptyLabel,
    LabelTooLong,
    TooLong,
    /// An octet that cannot stand in a host name, or a U-label that has no A-label.
    BadCharacter,
}

impl DomainName {
    /// Reads a domain as written in mail or DNS. Takes U-labels (RFC 5890 §2.3), any case, and one
    /// trailing dot.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            check_written(text)?;
            idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
                .map_err(|_| DomainError::BadCharacter)?
                .into_owned()
        };
        check(&ascii)?;
        Ok(Self(ascii.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Labels from left (`mail`) to right (`com`).
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its left-most label; `None` for a single label.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.into()))
    }

    /// The right-most `count` labels; the whole name when it has no more than that, `None` for 0.
    pub fn suffix(&self, count: usize) -> Option<Self> {
        let have = self.label_count();
        if count == 0 {
            return None;
        }
        let skip = have.saturating_sub(count);
        let rest: Vec<&str> = self.labels().skip(skip).collect();
        Some(Self(rest.join(".").into()))
    }

    /// Equal to `other` or below it.
    pub fn is_within(&self, other: &DomainName) -> bool {
        self == other
            || self
                .0
                .strip_suffix(&*other.0)
                .is_some_and(|rest| rest.ends_with('.'))
    }
}

/// Refuses U-labels that cannot become A-labels of 63 octets before they are converted: that takes
/// time with the square of their length.
fn check_written(text: &str) -> Result<(), DomainError> {
    // 253 octets of A-labels are at most four times as many of U-labels.
    if text.len() > 1024 {
        return Err(DomainError::TooLong);
    }
    let mut labels = text.split(is_dot);
    // `xn--` and at least one octet for each character.
    if labels.any(|label| label.chars().nth(63).is_some()) {
        return Err(DomainError::LabelTooLong);
    }
    Ok(())
}

/// The characters that UTS 46 reads as dots between labels.
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

fn check(ascii: &str) -> Result<(), DomainError> {
    if ascii.len() > 253 {
        return Err(DomainError::TooLong);
    }
    for label in ascii.split('.') {
        if label.is_empty() {
            return Err(DomainError::EmptyLabel);
        }
        if label.len() > 63 {
            return Err(DomainError::LabelTooLong);
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !label.bytes().all(fits) {
            return Err(DomainError::BadCharacter);
        }
    }
    Ok(())
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no domain",
            Self::EmptyLabel => "an empty label",
            Self::LabelTooLong => "a label of more than 63 octets",
            Self::TooLong => "more than 253 octets",
            Self::BadCharacter => "a character that cannot stand in a domain",
        })
    }
}

impl std::error::Error for DomainError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (input, expected) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_dmarc.Example.org", "_dmarc.example.org"),
            ("com", "com"),
        ] {
            assert_eq!(DomainName::parse(input).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn refuses() {
        for (input, expected) in [
            ("", DomainError::Empty),
            (".", DomainError::Empty),
            ("a..b", DomainError::EmptyLabel),
            (".a", DomainError::EmptyLabel),
            ("a b.example", DomainError::BadCharacter),
            ("a@b.example", DomainError::BadCharacter),
            ("a\r\nb.example", DomainError::BadCharacter),
        ] {
            assert_eq!(DomainName::parse(input), Err(expected), "{input:?}");
        }
        assert_eq!(
            DomainName::parse(&"a".repeat(64)),
            Err(DomainError::LabelTooLong)
        );
        assert_eq!(
            DomainName::parse(&"a.".repeat(127)[..253]),
            DomainName::parse(&"a.".repeat(127)[..253])
        );
        assert_eq!(
            DomainName::parse(&format!("{}b", "a.".repeat(127))),
            Err(DomainError::TooLong)
        );
    }

    #[test]
    fn refuses_long_u_labels_unconverted() {
        let long = "\u{fc}".repeat(64);
        let hidden = format!("a{}b", "\u{ad}".repeat(63));
        for (input, expected) in [
            (format!("{long}.example"), DomainError::LabelTooLong),
            (
                format!("x\u{3002}{hidden}.example"),
                DomainError::LabelTooLong,
            ),
            (
                format!("{}example", "\u{fc}.".repeat(400)),
                DomainError::TooLong,
            ),
        ] {
            assert_eq!(DomainName::parse(&input), Err(expected), "{input}");
        }
        let short = format!("{}.{}.example", "\u{fc}".repeat(50), "\u{e4}".repeat(50));
        assert!(DomainName::parse(&short).is_ok());
        // A signature's d= can be as long as a field: half a second each, were they converted.
        let many: String = (0..990)
            .filter_map(|n| char::from_u32(0x4e00 + n))
            .collect();
        let field = format!("{many}.").repeat(33) + "example";
        let begin = std::time::Instant::now();
        for _ in 0..200 {
            assert!(DomainName::parse(&field).is_err());
        }
        let took = begin.elapsed();
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn moves_in_the_tree() {
        let name = DomainName::parse("a.mail.example.com").unwrap();
        assert_eq!(name.label_count(), 4);
        assert_eq!(name.parent().unwrap().as_str(), "mail.example.com");
        assert_eq!(name.suffix(2).unwrap().as_str(), "example.com");
        assert_eq!(name.suffix(9).unwrap(), name);
        assert!(name.is_within(&DomainName::parse("example.com").unwrap()));
        assert!(!name.is_within(&DomainName::parse("ple.com").unwrap()));
    }
}
