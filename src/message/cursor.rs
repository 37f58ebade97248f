//! `Cursor`: reads the pieces that structured header fields are made of, RFC 5322 §3.2: folding white
//! space, comments, quoted strings. Knows no field.
//!
//! Reads octets as they are (RFC 6532: UTF-8 may stand wherever text may, and what is not UTF-8 is
//! passed through for the caller to judge). One pass, no recursion, nothing allocated: linear in the
//! input however deep it nests. NUL, a bare CR and a bare LF are errors everywhere: readers disagree
//! about what they mean, so nothing that holds one has a single reading.

use std::fmt;

/// A place in a field's value.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// What is wrong with a field, and at which octet after the colon. Holds nothing of the field itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    /// Octets after the colon, from 0.
    pub at: usize,
    pub what: &'static str,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Everything from here on.
    pub fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Steps over one octet.
    pub fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// Steps over `octet` if it is the next one.
    pub fn take(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        if found {
            self.step();
        }
        found
    }

    pub fn expect(&mut self, octet: u8, what: &'static str) -> Result<(), SyntaxError> {
        if self.take(octet) {
            Ok(())
        } else {
            Err(self.error(what))
        }
    }

    pub fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, what }
    }

    /// The longest run of octets that `fits`; may be empty.
    pub fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|b| fits(**b)).count();
        self.at = self.at.saturating_add(length);
        rest.get(..length).unwrap_or_default()
    }

    /// RFC 5322 §3.2.2 `[CFWS]`, comments thrown away. True when there was any.
    pub fn skip_cfws(&mut self) -> Result<bool, SyntaxError> {
        self.cfws(|_| ())
    }

    /// `[CFWS]`, each comment's inside handed over.
    pub fn cfws(&mut self, mut comment: impl FnMut(&'a [u8])) -> Result<bool, SyntaxError> {
        let start = self.at;
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.step(),
                Some(b'\r' | b'\n' | 0) => self.fold()?,
                Some(b'(') => comment(self.comment()?),
                _ => return Ok(self.at > start),
            }
        }
    }

    /// The inside of the quoted string that begins here, escapes and folds as they stand
    /// (RFC 5322 §3.2.4); `unescaped` reads them.
    pub fn quoted_string(&mut self) -> Result<&'a [u8], SyntaxError> {
        let opening = self.error("a quoted string is not closed");
        self.expect(b'"', "a quoted string is missing")?;
        let start = self.at;
        while let Some(octet) = self.peek() {
            match octet {
                b'"' => {
                    let inside = self.text.get(start..self.at).unwrap_or_default();
                    self.step();
                    return Ok(inside);
                }
                b'\\' => self.quoted_pair()?,
                b'\r' | b'\n' | 0 => self.fold()?,
                _ => self.step(),
            }
        }
        Err(opening)
    }

    /// One comment, nested ones inside it: RFC 5322 §3.2.2.
    fn comment(&mut self) -> Result<&'a [u8], SyntaxError> {
        let opening = self.error("a comment is not closed");
        let start = self.at.saturating_add(1);
        let mut depth = 0usize;
        while let Some(octet) = self.peek() {
            match octet {
                b'(' => {
                    depth = depth.saturating_add(1);
                    self.step();
                }
                b')' => {
                    depth = depth.saturating_sub(1);
                    self.step();
                    if depth == 0 {
                        let end = self.at.saturating_sub(1);
                        return Ok(self.text.get(start..end).unwrap_or_default());
                    }
                }
                b'\\' => self.quoted_pair()?,
                b'\r' | b'\n' | 0 => self.fold()?,
                _ => self.step(),
            }
        }
        Err(opening)
    }

    /// RFC 5322 §3.2.1. `obs-qp` lets NUL, CR and LF be quoted; readers cut or drop them, so not here.
    fn quoted_pair(&mut self) -> Result<(), SyntaxError> {
        self.step();
        match self.peek() {
            Some(b'\r' | b'\n' | 0) => self.fold(),
            Some(_) => {
                self.step();
                Ok(())
            }
            None => Err(self.error("a backslash at the very end")),
        }
    }

    /// CRLF with white space behind it (RFC 5322 §2.2.3). Anything else that is a line end is an error.
    pub fn fold(&mut self) -> Result<(), SyntaxError> {
        match self.rest() {
            [b'\r', b'\n', b' ' | b'\t', ..] => {
                self.at = self.at.saturating_add(3);
                Ok(())
            }
            [b'\r', b'\n', ..] => Err(self.error("a line end that is no fold")),
            [b'\r', ..] => Err(self.error("a bare CR")),
            [b'\n', ..] => Err(self.error("a bare LF")),
            _ => Err(self.error("a NUL")),
        }
    }
}

/// The text that the inside of a quoted string or comment stands for: escapes resolved, CRLF of folds
/// gone (RFC 5322 §3.2.4: both "are semantically 'invisible'").
pub(super) fn unescaped(inside: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(inside.len());
    let mut octets = inside.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => text.extend(octets.next()),
            b'\r' | b'\n' => {}
            _ => text.push(octet),
        }
    }
    text
}

/// RFC 5322 §3.2.3 `atext`, with RFC 6532 §3.2's "atext =/ UTF8-non-ascii".
pub(super) fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (octet {})", self.what, self.at)
    }
}

impl std::error::Error for SyntaxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_white_space_and_nested_comments() {
        for (input, rest) in [
            ("x", "x"),
            (" \t x", "x"),
            ("\r\n x", "x"),
            (" \r\n\t\r\n x", "x"),
            ("(a (b (c)) \\) \\( d)x", "x"),
            ("(a)(b) (c) x", "x"),
            ("(a\r\n b)x", "x"),
            ("(\"not a string)x", "x"),
        ] {
            let mut cursor = Cursor::new(input.as_bytes());
            cursor.skip_cfws().unwrap();
            assert_eq!(cursor.rest(), rest.as_bytes(), "{input:?}");
        }
    }

    #[test]
    fn refuses_what_has_several_readings() {
        for (input, what) in [
            ("(a", "a comment is not closed"),
            ("((a)", "a comment is not closed"),
            ("(a\\", "a backslash at the very end"),
            ("\r", "a bare CR"),
            (" \r x", "a bare CR"),
            ("\n x", "a bare LF"),
            ("\r\nx", "a line end that is no fold"),
            ("\0", "a NUL"),
            ("(\0)", "a NUL"),
            ("(\\\0)", "a NUL"),
        ] {
            let error = Cursor::new(input.as_bytes()).skip_cfws().unwrap_err();
            assert_eq!(error.what, what, "{input:?}");
        }
    }

    #[test]
    fn reads_quoted_strings() {
        for (input, expected) in [
            ("\"\"", ""),
            ("\"a b\"", "a b"),
            ("\"a\\\"b\\\\\"", "a\"b\\"),
            ("\"a\r\n b\"", "a b"),
            ("\"(not a comment\"", "(not a comment"),
        ] {
            let inside = Cursor::new(input.as_bytes()).quoted_string().unwrap();
            assert_eq!(unescaped(inside), expected.as_bytes(), "{input:?}");
        }
        assert!(Cursor::new(b"\"a").quoted_string().is_err());
        assert!(Cursor::new(b"\"a\\\"").quoted_string().is_err());
    }
}
