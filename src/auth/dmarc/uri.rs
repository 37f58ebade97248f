//! Reporting URIs of `rua` and `ruf`: which of them are syntactically valid, RFC 9989 §4.6 and §4.8.
//!
//! Owns the split of a list and RFC 3986's characters; `mailto:` is looked into (RFC 6068 §2), since
//! it is the one scheme that reports are sent by. Whether a destination may be used is not asked here.

use crate::domain::DomainName;
use std::borrow::Cow;

/// The valid URIs of a list and what is wrong with the others. At most `MAX_URIS` are read.
pub(super) fn read_list(value: &str) -> (Vec<String>, Vec<(String, &'static str)>) {
    let mut uris = Vec::new();
    let mut refused = Vec::new();
    for item in value.split(',').take(MAX_URIS) {
        let item = item.trim_matches([' ', '\t']);
        let uri = without_size(item);
        match check(uri) {
            Ok(()) => uris.push(uri.to_owned()),
            Err(problem) => refused.push((item.to_owned(), problem)),
        }
    }
    if value.split(',').nth(MAX_URIS).is_some() {
        refused.push(("…".to_owned(), "more URIs than are read"));
    }
    (uris, refused)
}

/// RFC 9989 §4.8: `obs-dmarc-report-size = "!" 1*DIGIT [ "k" / "m" / "g" / "t" ]`, "reporters should
/// ignore the obs-dmarc-report-size if it is found".
fn without_size(uri: &str) -> &str {
    let Some((before, size)) = uri.rsplit_once('!') else {
        return uri;
    };
    let digits = size.strip_suffix(['k', 'm', 'g', 't', 'K', 'M', 'G', 'T']);
    let digits = digits.unwrap_or(size);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        before
    } else {
        uri
    }
}

fn check(uri: &str) -> Result<(), &'static str> {
    if uri.is_empty() {
        return Err("nothing where a URI should be");
    }
    // RFC 3986 §3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
    let (scheme, rest) = uri.split_once(':').ok_or("no scheme such as mailto:")?;
    let in_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
        return Err("no scheme such as mailto:");
    }
    // RFC 9989 §4.8: "commas ... and exclamation points (ASCII 0x21) MUST be encoded".
    if rest.contains('!') {
        return Err("an exclamation point that is neither encoded (%21) nor a size");
    }
    if !rest.bytes().all(is_uri_octet) {
        return Err("a character that cannot stand in a URI");
    }
    let decoded = decode(rest).ok_or("a percent sign without two hexadecimal digits")?;
    if scheme.eq_ignore_ascii_case("mailto") {
        return check_mailto(&decoded);
    }
    Ok(())
}

/// RFC 6068 §2: one address before any `?`. Further addresses would need a comma.
fn check_mailto(decoded: &[u8]) -> Result<(), &'static str> {
    let path = decoded.split(|&b| b == b'?').next().unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    match path.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && DomainName::parse(domain).is_ok() => Ok(()),
        Some(_) | None => Err("no address after mailto:"),
    }
}

/// RFC 3986 §2: unreserved, reserved or the start of a percent-encoded octet.
fn is_uri_octet(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b)
}

fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'%' {
            decoded.push(octet);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk()?;
        let digit = |b: u8| char::from(b).to_digit(16);
        decoded.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
        rest = after;
    }
    Some(Cow::Owned(decoded))
}

/// More destinations than this nobody publishes; RFC 9989 sets no limit.
const MAX_URIS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists() {
        for (list, expected, refused) in [
            ("mailto:d@example.com", "mailto:d@example.com", 0),
            (
                "mailto:a@b.example , mailto:c@d.example",
                "mailto:a@b.example mailto:c@d.example",
                0,
            ),
            ("mailto:d@example.com!10m", "mailto:d@example.com", 0),
            ("mailto:d@example.com!5", "mailto:d@example.com", 0),
            (
                "mailto:d@example.com!1G,https://r.example/x",
                "mailto:d@example.com https://r.example/x",
                0,
            ),
            ("mailto:d@example.com!10mb", "", 1),
            ("mailto:d@example.com!", "", 1),
            ("mailto:d!x@example.com", "", 1),
            ("mailto:d!x@example.com!10m", "", 1),
            (
                "mailto:d%21x%2Cy@example.com",
                "mailto:d%21x%2Cy@example.com",
                0,
            ),
            ("mailto:d%40example.com", "mailto:d%40example.com", 0),
            ("mailto:d%4@example.com", "", 1),
            ("mailto:d%", "", 1),
            ("mailto:%zz@example.com", "", 1),
            ("MAILTO:d@EXAMPLE.com", "MAILTO:d@EXAMPLE.com", 0),
            (
                "mailto:d@example.com?subject=x",
                "mailto:d@example.com?subject=x",
                0,
            ),
            (
                "mailto:j%C3%BCrgen@b%C3%BCcher.example",
                "mailto:j%C3%BCrgen@b%C3%BCcher.example",
                0,
            ),
            ("d@example.com", "", 1),
            ("mailto: d@example.com", "", 1),
            ("mailto:", "", 1),
            ("mailto:@example.com", "", 1),
            ("mailto:d@", "", 1),
            ("mailto:d@exa mple.com", "", 1),
            ("mailto:d@b\u{fc}cher.example", "", 1),
            ("<mailto:d@example.com>", "", 1),
            ("1x:y", "", 1),
            (":y", "", 1),
            (",mailto:d@example.com,", "mailto:d@example.com", 2),
            ("", "", 1),
        ] {
            let (uris, problems) = read_list(list);
            assert_eq!(uris.join(" "), expected, "{list}");
            assert_eq!(problems.len(), refused, "{list}: {problems:?}");
        }
    }

    #[test]
    fn a_list_has_an_end() {
        let (uris, refused) = read_list(&"mailto:d@example.com,".repeat(5_000));
        assert_eq!((uris.len(), refused.len()), (MAX_URIS, 1));
    }
}
