//! What a token of a master file means as a name or as octets: escapes, `@`, origins.
//!
//! Owns RFC 1035 §5.1's `\X`, `\DDD`, `@` and relative names. Names come out as `QueryName`; what that
//! cannot hold (a dot inside a label, octets that aren't UTF-8) is refused with words.

use super::lines::Token;
use super::{ZoneFileError, shown};
use crate::dns::QueryName;

/// Reads a name; one without a final dot is completed by `origin`, `None` for the root.
pub(super) fn read(
    token: Token<'_>,
    origin: Option<&QueryName>,
) -> Result<QueryName, ZoneFileError> {
    let refuse = |problem: &str, advice: &str| {
        let problem = format!("the name `{}` {problem}", shown(token.text));
        ZoneFileError::new(token.line, problem, advice)
    };
    if token.quoted {
        return Err(refuse("is in quotes", "write it without them"));
    }
    match token.text {
        "." => return Ok(QueryName::root()),
        "@" => return Ok(origin.cloned().unwrap_or_else(QueryName::root)),
        text if !text.is_ascii() => {
            return Err(refuse(
                "has a character beyond ASCII",
                "write the A-label (xn--…), or the octets as `\\DDD`",
            ));
        }
        _ => {}
    }
    let octets = decode(token)?;
    if octets
        .iter()
        .any(|octet| octet.escaped && octet.value == b'.')
    {
        return Err(refuse(
            "has a dot inside a label",
            "such names can't be used here: write a dot between labels without `\\`",
        ));
    }
    let octets = octets.into_iter().map(|octet| octet.value).collect();
    let Ok(mut text) = String::from_utf8(octets) else {
        return Err(refuse(
            "holds octets that aren't UTF-8",
            "such names can't be used here",
        ));
    };
    if !text.ends_with('.') {
        text.push('.');
        text.push_str(origin.map_or("", QueryName::as_str));
    }
    QueryName::parse(&text)
        .map_err(|error| refuse(&format!("has {error}"), "check its dots and its length"))
}

/// A character-string with its escapes resolved; what stands there beyond ASCII is taken as it is.
pub(super) fn octets(token: Token<'_>) -> Result<Vec<u8>, ZoneFileError> {
    let octets = decode(token)?;
    Ok(octets.into_iter().map(|octet| octet.value).collect())
}

struct Octet {
    value: u8,
    escaped: bool,
}

/// RFC 1035 §5.1: `\X` "where X is any character other than a digit", and "`\DDD` where each D is a
/// digit is the octet corresponding to the decimal number".
fn decode(token: Token<'_>) -> Result<Vec<Octet>, ZoneFileError> {
    let mut octets = Vec::with_capacity(token.text.len());
    let mut rest = token.text.as_bytes();
    while let Some((&value, after)) = rest.split_first() {
        if value != b'\\' {
            octets.push(Octet {
                value,
                escaped: false,
            });
            rest = after;
            continue;
        }
        let (value, after) = match after {
            [a, b, c, after @ ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
                let digits = [a, b, c].map(|digit| u16::from(digit - b'0'));
                let [a, b, c] = digits;
                (u8::try_from(a * 100 + b * 10 + c).ok(), after)
            }
            [digit, after @ ..] if digit.is_ascii_digit() => (None, after),
            [value, after @ ..] => (Some(*value), after),
            [] => (None, after),
        };
        let Some(value) = value else {
            return Err(ZoneFileError::new(
                token.line,
                format!("an escape in `{}`", shown(token.text)),
                "write `\\` with three digits up to 255, or with one other character; a plain \
                 backslash is `\\\\`",
            ));
        };
        octets.push(Octet {
            value,
            escaped: true,
        });
        rest = after;
    }
    Ok(octets)
}
