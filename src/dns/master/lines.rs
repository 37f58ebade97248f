//! The lines of a master file: comments, quotes and parentheses taken apart into entries of tokens.
//!
//! Owns RFC 1035 §5.1's lexical rules; knows no record types and no names. Tokens keep their escapes
//! (`\"`, `\DDD`): what they mean depends on whether the token is a name or a character-string.

use super::ZoneFileError;
use crate::dns::LookupError;

/// What one entry is: a record or a directive, or a line that marks a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    pub line: usize,
    pub opening: Opening,
    pub tokens: Vec<Token<'t>>,
}

/// How an entry begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// With a name or a directive in the first column.
    Name,
    /// With white space: the name of the record before it is meant.
    Blank,
    /// `;servfail` or `;timeout`: a comment to every other reader.
    Mark(LookupError),
}

/// One word, or one quoted text without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub text: &'t str,
    pub quoted: bool,
    pub line: usize,
}

/// Takes a whole file apart. Entries without tokens are left out.
pub(super) fn entries(text: &str) -> Result<Vec<Entry<'_>>, ZoneFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Vec::new();
    let mut open: Option<Entry> = None;
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(mark) = mark(line, content)? {
            entries.push(mark);
            continue;
        }
        let continued = open.is_some();
        let mut entry = open.take().unwrap_or_else(|| Entry::at(line, content));
        if tokens(line, content, continued, &mut entry.tokens)? {
            open = Some(entry);
        } else if !entry.tokens.is_empty() {
            entries.push(entry);
        }
    }
    match open {
        Some(entry) => Err(ZoneFileError::new(
            entry.line,
            "a `(` is never closed",
            "write `)` after the last part of this record",
        )),
        None => Ok(entries),
    }
}

impl Entry<'_> {
    fn at(line: usize, content: &str) -> Self {
        Self {
            line,
            opening: if content.starts_with([' ', '\t']) {
                Opening::Blank
            } else {
                Opening::Name
            },
            tokens: Vec::new(),
        }
    }
}

/// `;servfail NAME` or `;timeout NAME`.
fn mark(line: usize, content: &str) -> Result<Option<Entry<'_>>, ZoneFileError> {
    let Some(comment) = content.trim_start().strip_prefix(';') else {
        return Ok(None);
    };
    let (word, rest) = comment
        .split_once([' ', '\t'])
        .unwrap_or((comment.trim_end(), ""));
    let failure = match word {
        "servfail" => LookupError::ServerFailure,
        "timeout" => LookupError::Timeout,
        _ => return Ok(None),
    };
    let mut entry = Entry {
        line,
        opening: Opening::Mark(failure),
        tokens: Vec::new(),
    };
    let open = tokens(line, rest, false, &mut entry.tokens)?;
    if open || entry.tokens.len() != 1 {
        return Err(ZoneFileError::new(
            line,
            format!("`;{word}` marks exactly one name"),
            format!("write `;{word} broken.example.com.`, one line for each name"),
        ));
    }
    Ok(Some(entry))
}

/// Appends the tokens of one line; `open` and the result say whether a `(` is open before and after.
fn tokens<'t>(
    line: usize,
    content: &'t str,
    mut open: bool,
    tokens: &mut Vec<Token<'t>>,
) -> Result<bool, ZoneFileError> {
    let mut rest = content;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let Some(first) = rest.chars().next() else {
            return Ok(open);
        };
        match first {
            ';' => return Ok(open),
            '(' | ')' => {
                if open == (first == '(') {
                    return Err(unbalanced(line, first));
                }
                open = !open;
                rest = rest.strip_prefix(first).unwrap_or_default();
            }
            '"' => {
                let inside = rest.strip_prefix('"').unwrap_or_default();
                let Some((text, after)) = split_at_end(inside, |c| c == '"') else {
                    return Err(ZoneFileError::new(
                        line,
                        "a quoted text doesn't end on its line",
                        "write the closing `\"`; a long text is written as several quoted ones",
                    ));
                };
                tokens.push(Token {
                    text,
                    quoted: true,
                    line,
                });
                rest = after.strip_prefix('"').unwrap_or_default();
            }
            _ => {
                let ends = |c| matches!(c, ' ' | '\t' | ';' | '(' | ')' | '"');
                let (text, after) = split_at_end(rest, ends).unwrap_or((rest, ""));
                tokens.push(Token {
                    text,
                    quoted: false,
                    line,
                });
                rest = after;
            }
        }
    }
}

/// Splits before the first character that `ends` the token and has no `\` before it.
fn split_at_end(text: &str, ends: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let mut escaped = false;
    let at = text.find(|c| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = c == '\\';
        ends(c)
    })?;
    text.split_at_checked(at)
}

fn unbalanced(line: usize, found: char) -> ZoneFileError {
    if found == '(' {
        ZoneFileError::new(
            line,
            "a `(` inside parentheses",
            "close the first `(` before it, or put it into quotes",
        )
    } else {
        ZoneFileError::new(
            line,
            "a `)` without a `(` before it",
            "remove it, or put it into quotes",
        )
    }
}
