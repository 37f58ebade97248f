//! The field as text. Strict: only what RFC 8601 §2.2 derives, one line or folded.

use super::{Field, MethodResult, Property, is_domain_name, is_dot_atom, is_token};
use std::fmt;

impl Field {
    /// The value for a milter to insert: begins with the space behind the colon, each result on a line of
    /// its own, folded with LF and TAB at 78 characters where there is a place for it, never beyond 998.
    pub fn write(&self) -> String {
        let mut lines = self.lines().into_iter();
        let mut text = String::new();
        for piece in lines.next().unwrap_or_default() {
            text.push(' ');
            text.push_str(&piece);
        }
        for line in lines {
            let mut column = usize::MAX;
            for piece in line {
                let length = piece.chars().count();
                if column.saturating_add(length) >= FOLD_AT {
                    text.push_str("\n\t");
                    column = 1;
                } else {
                    text.push(' ');
                    column = column.saturating_add(1);
                }
                text.push_str(&piece);
                column = column.saturating_add(length);
            }
        }
        text
    }

    /// The normal form in pieces between which there may be white space, and a fold; a line for who
    /// judged, one for each result.
    fn lines(&self) -> Vec<Vec<String>> {
        let field = self.normal_form();
        let mut first = vec![value(&field.authserv_id)];
        first.extend(field.version.map(|version| version.to_string()));
        let mut lines = vec![first];
        if field.results.is_empty() {
            close(&mut lines);
            lines
                .iter_mut()
                .for_each(|first| first.push("none".to_owned()));
        }
        for result in &field.results {
            close(&mut lines);
            lines.push(result_line(result));
        }
        lines
    }
}

/// One line, without the space in front: as it is kept and shown.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().concat().join(" "))
    }
}

fn close(lines: &mut [Vec<String>]) {
    if let Some(last) = lines.last_mut().and_then(|line| line.last_mut()) {
        last.push(';');
    }
}

fn result_line(result: &MethodResult) -> Vec<String> {
    let mut pieces = Vec::new();
    let version = result.version.map(|version| format!("/{version}"));
    let version = version.unwrap_or_default();
    // The first comment stays with its result: rules look for "dmarc=fail (p=reject dis=none)".
    let mut head = format!("{}{version}={}", result.method, result.result);
    let mut comments = result.comments.iter().map(|text| format!("({text})"));
    if let Some(first) = comments.next() {
        if head.len().saturating_add(first.len()) < FOLD_AT {
            head.push(' ');
            head.push_str(&first);
            pieces.push(head);
        } else {
            pieces.extend([head, first]);
        }
    } else {
        pieces.push(head);
    }
    pieces.extend(comments);
    pieces.extend(
        result
            .reason
            .iter()
            .map(|text| format!("reason={}", value(text))),
    );
    pieces.extend(result.properties.iter().map(|property| {
        let Property {
            ptype,
            property,
            value,
        } = property;
        format!("{ptype}.{property}={}", property_value(value))
    }));
    pieces
}

/// `pvalue`. RFC 8601 §2.2: "If the value portion ... identifies something intended to be an email
/// identity, then it MUST use the right-hand portion of that ABNF definition."
fn property_value(text: &str) -> String {
    if is_address(text) {
        text.to_owned()
    } else {
        value(text)
    }
}

/// `value`: a token, or else a quoted string.
fn value(text: &str) -> String {
    if is_token(text) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
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
