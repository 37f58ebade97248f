//! The field as text. Strict: only what RFC 8601 §2.2 derives, one line or folded.

use super::{Field, MethodResult, is_domain_name, is_dot_atom, is_token};
use super::{normal_comment, normal_keyword, normal_text};
use std::fmt::{self, Write};

/// A field in its normal form, in pieces between which there may be white space, and a fold; a line
/// for who judged, one for each result.
#[derive(Debug, Default)]
pub struct Written {
    /// All pieces, one behind the other.
    text: String,
    /// Where each piece ends.
    ends: Vec<usize>,
    /// The numbers of the pieces that begin a line.
    lines: Vec<usize>,
}

impl Field {
    pub fn written(&self) -> Written {
        let mut written = Written {
            text: String::with_capacity(USUAL_LENGTH),
            ..Written::default()
        };
        written.value(&normal_text(&self.authserv_id));
        written.end_piece();
        if let Some(version) = self.version {
            // Writing to a string cannot fail.
            let _ = write!(written.text, "{version}");
            written.end_piece();
        }
        if self.results.is_empty() {
            written.close_line();
            written.text.push_str("none");
            written.end_piece();
        }
        for result in &self.results {
            written.close_line();
            written.lines.push(written.ends.len());
            written.result(result);
        }
        written
    }

    /// As `Written::folded`.
    pub fn write(&self) -> String {
        self.written().folded()
    }
}

/// As `Written::unfolded`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written().unfolded())
    }
}

impl Written {
    /// The value for a milter to insert: begins with the space behind the colon, each result on a line of
    /// its own, folded with LF and TAB at 78 characters where there is a place for it, never beyond 998.
    pub fn folded(&self) -> String {
        let mut text = String::with_capacity(self.room());
        let mut lines = self.lines.iter().copied().peekable();
        // The first line is never folded.
        let mut column = None;
        for (number, piece) in self.pieces().enumerate() {
            let begins = lines.next_if_eq(&number).is_some();
            let length = piece.chars().count();
            let full = column.is_some_and(|c: usize| c.saturating_add(length) >= FOLD_AT);
            if begins || full {
                text.push_str("\n\t");
                column = Some(1);
            } else {
                text.push(' ');
                column = column.map(|c| c.saturating_add(1));
            }
            text.push_str(piece);
            column = column.map(|c| c.saturating_add(length));
        }
        text
    }

    /// One line, without the space in front: as it is kept and shown.
    pub fn unfolded(&self) -> String {
        let mut text = String::with_capacity(self.room());
        for (number, piece) in self.pieces().enumerate() {
            if number > 0 {
                text.push(' ');
            }
            text.push_str(piece);
        }
        text
    }

    fn pieces(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let piece = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            piece
        })
    }

    /// Octets of the text with two between the pieces.
    fn room(&self) -> usize {
        self.text.len().saturating_add(self.ends.len() * 2)
    }

    fn end_piece(&mut self) {
        self.ends.push(self.text.len());
    }

    /// The semicolon belongs to the last piece.
    fn close_line(&mut self) {
        self.text.push(';');
        if let Some(last) = self.ends.last_mut() {
            *last = self.text.len();
        }
    }

    fn result(&mut self, result: &MethodResult) {
        let start = self.text.len();
        self.text.push_str(&normal_keyword(&result.method));
        if let Some(version) = result.version {
            let _ = write!(self.text, "/{version}");
        }
        self.text.push('=');
        self.text.push_str(&normal_keyword(&result.result));
        let mut comments = result.comments.iter().map(|text| normal_comment(text));
        // The first comment stays with its result: rules look for "dmarc=fail (p=reject dis=none)".
        if let Some(first) = comments.next() {
            let head = self.text.len().saturating_sub(start);
            if head.saturating_add(first.len()).saturating_add(2) < FOLD_AT {
                self.text.push(' ');
            } else {
                self.end_piece();
            }
            self.comment(&first);
        }
        self.end_piece();
        for comment in comments {
            self.comment(&comment);
            self.end_piece();
        }
        if let Some(reason) = &result.reason {
            self.text.push_str("reason=");
            self.value(&normal_text(reason));
            self.end_piece();
        }
        for property in &result.properties {
            self.text.push_str(&normal_keyword(&property.ptype));
            self.text.push('.');
            self.text.push_str(&normal_keyword(&property.property));
            self.text.push('=');
            self.property_value(&normal_text(&property.value));
            self.end_piece();
        }
    }

    fn comment(&mut self, text: &str) {
        self.text.push('(');
        self.text.push_str(text);
        self.text.push(')');
    }

    /// `pvalue`. RFC 8601 §2.2: "If the value portion ... identifies something intended to be an email
    /// identity, then it MUST use the right-hand portion of that ABNF definition."
    fn property_value(&mut self, text: &str) {
        if is_address(text) {
            self.text.push_str(text);
        } else {
            self.value(text);
        }
    }

    /// `value`: a token, or else a quoted string.
    fn value(&mut self, text: &str) {
        if is_token(text) {
            self.text.push_str(text);
            return;
        }
        self.text.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
    }
}

/// `[ local-part ] "@" domain-name`.
fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        is_domain_name(domain) && (local.is_empty() || is_dot_atom(local) || is_quoted(local))
    })
}

/// A whole quoted string, its inside properly escaped.
fn is_quoted(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return false;
    };
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c == '"' || (c == '\\' && chars.next().is_none()) {
            return false;
        }
    }
    true
}

/// RFC 5322 §2.1.1: "Each line of characters ... SHOULD be no more than 78 characters".
const FOLD_AT: usize = 78;

/// Octets that most fields take.
const USUAL_LENGTH: usize = 512;
