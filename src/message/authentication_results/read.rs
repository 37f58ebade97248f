//! The field read back, RFC 8601 §2.2 to the letter: comments and folds wherever `[CFWS]` stands,
//! nothing else beyond it. At most 1,000 results, one pass.

use super::{Field, MethodResult, Property, is_domain_name, is_dot_atom, is_token};
use crate::message::cursor::{Cursor, SyntaxError, is_atext, unescaped};

impl Field {
    /// Reads everything after the colon, folds being CRLF and white space.
    ///
    /// Comments are kept with the result they stand in; those that stand before the first are dropped.
    pub fn parse(value: &[u8]) -> Result<Self, SyntaxError> {
        let mut cursor = Cursor::new(value);
        cursor.skip_cfws()?;
        let authserv_id = read_value(&mut cursor)?;
        cursor.skip_cfws()?;
        let version = match cursor.peek() {
            Some(b'0'..=b'9') => Some(read_number(&mut cursor)?),
            _ => None,
        };
        cursor.skip_cfws()?;
        let mut field = Self {
            authserv_id,
            version,
            results: Vec::new(),
        };
        cursor.expect(b';', "no semicolon behind the authserv-id")?;
        if is_none(&cursor)? {
            return Ok(field);
        }
        loop {
            if field.results.len() >= MAX_RESULTS {
                return Err(cursor.error("more results than anyone writes"));
            }
            field.results.push(read_result(&mut cursor)?);
            if cursor.peek().is_none() {
                return Ok(field);
            }
            cursor.expect(b';', "no semicolon between results")?;
        }
    }
}

/// `no-result`: the word and nothing more.
fn is_none(at: &Cursor<'_>) -> Result<bool, SyntaxError> {
    let mut cursor = at.clone();
    cursor.skip_cfws()?;
    let word = cursor.take_while(is_keyword);
    cursor.skip_cfws()?;
    Ok(word.eq_ignore_ascii_case(b"none") && cursor.peek().is_none())
}

/// `methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]` with all white space around it.
fn read_result(cursor: &mut Cursor<'_>) -> Result<MethodResult, SyntaxError> {
    let mut comments = Vec::new();
    cfws(cursor, &mut comments)?;
    let method = read_keyword(cursor, "no method")?;
    cfws(cursor, &mut comments)?;
    let mut version = None;
    if cursor.take(b'/') {
        cfws(cursor, &mut comments)?;
        version = Some(read_number(cursor)?);
        cfws(cursor, &mut comments)?;
    }
    cursor.expect(b'=', "no = behind the method")?;
    cfws(cursor, &mut comments)?;
    let mut result = MethodResult::new(method, read_keyword(cursor, "no result")?);
    result.version = version;
    let mut apart = cfws(cursor, &mut comments)?;
    while !matches!(cursor.peek(), None | Some(b';')) {
        if !apart {
            return Err(cursor.error("no space before a property"));
        }
        let word = read_keyword(cursor, "no property")?;
        cfws(cursor, &mut comments)?;
        if cursor.take(b'=') {
            let misplaced = result.reason.is_some() || !result.properties.is_empty();
            if misplaced || !word.eq_ignore_ascii_case("reason") {
                return Err(cursor.error("a property without its type"));
            }
            cfws(cursor, &mut comments)?;
            result.reason = Some(read_value(cursor)?);
            apart = cfws(cursor, &mut comments)?;
            continue;
        }
        cursor.expect(b'.', "no dot behind a property's type")?;
        cfws(cursor, &mut comments)?;
        let property = read_keyword(cursor, "no property behind the dot")?;
        cfws(cursor, &mut comments)?;
        cursor.expect(b'=', "no = behind a property")?;
        cfws(cursor, &mut comments)?;
        result.properties.push(Property {
            ptype: word.into(),
            property: property.into(),
            value: read_property_value(cursor)?,
        });
        // `pvalue` ends with [CFWS]: after a quoted string the next property may follow at once.
        cfws(cursor, &mut comments)?;
        apart = true;
    }
    result.comments = comments;
    Ok(result)
}

fn cfws(cursor: &mut Cursor<'_>, comments: &mut Vec<String>) -> Result<bool, SyntaxError> {
    cursor.cfws(|inside| {
        comments.push(String::from_utf8_lossy(&unescaped(inside)).into_owned());
    })
}

/// RFC 5321 §4.1.2: "Keyword = Ldh-str", letters, digits and hyphens, no hyphen at the end.
fn read_keyword(cursor: &mut Cursor<'_>, missing: &'static str) -> Result<String, SyntaxError> {
    let word = cursor.take_while(is_keyword);
    if word.is_empty() || word.ends_with(b"-") {
        return Err(cursor.error(missing));
    }
    Ok(String::from_utf8_lossy(word).into_owned())
}

fn is_keyword(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-'
}

fn read_number(cursor: &mut Cursor<'_>) -> Result<u32, SyntaxError> {
    let error = cursor.error("no version number");
    let digits = cursor.take_while(|octet| octet.is_ascii_digit());
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(error)
}

/// `value`: a token or a quoted string (RFC 2045 §5.1).
fn read_value(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let error = cursor.error("neither a token nor a quoted string");
    if cursor.peek() == Some(b'"') {
        let inside = unescaped(cursor.quoted_string()?);
        return text(&inside).ok_or(error);
    }
    let run = cursor.take_while(is_text);
    text(run).filter(|token| is_token(token)).ok_or(error)
}

/// `value / [ [ local-part ] "@" ] domain-name`. A quoted local part keeps its quotes.
fn read_property_value(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let start = cursor.clone();
    let error = start.error("neither a token, a quoted string nor an address");
    let quoted = start.peek() == Some(b'"');
    let local = if quoted {
        cursor.quoted_string()?
    } else {
        cursor.take_while(is_text)
    };
    let mut ahead = cursor.clone();
    ahead.skip_cfws()?;
    if !ahead.take(b'@') {
        *cursor = start;
        return read_value(cursor).map_err(|_| error);
    }
    *cursor = ahead;
    let domain = text(cursor.take_while(is_text)).filter(|domain| is_domain_name(domain));
    let local = text(local).filter(|local| quoted || local.is_empty() || is_dot_atom(local));
    match (local, domain) {
        (Some(local), Some(domain)) if quoted => Ok(format!("\"{local}\"@{domain}")),
        (Some(local), Some(domain)) => Ok(format!("{local}@{domain}")),
        _ => Err(error),
    }
}

/// What tokens, local parts and domains are made of.
fn is_text(octet: u8) -> bool {
    is_atext(octet) || octet == b'.'
}

fn text(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).ok().map(str::to_owned)
}

const MAX_RESULTS: usize = 1000;
