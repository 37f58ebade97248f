//! Reporting URIs of `rua` and `ruf`: which of them are syntactically valid, RFC 9989 §4.6 and §4.8.
//!
//! Owns the split of a list and RFC 3986's characters; `mailto:` is looked into (RFC 6068 §2), since
//! it is the one scheme that reports are sent by. Whether a destination may be used is not asked here.

use crate::domain::DomainName;
use std::borrow::Cow;

/// A syntactically valid reporting URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportUri {
    /// As written, without the obsolete size.
    pub uri: String,
    /// The obsolete size in octets; `u64::MAX` where the number is beyond counting.
    pub max_octets: Option<u64>,
    pub target: Target,
}

/// What a reporting URI names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The address of a `mailto:`, percent signs decoded. The local part is anything that isn't empty:
    /// quotes, white space, line ends, made valid UTF-8.
    Mailto {
        local_part: String,
        domain: DomainName,
    },
    /// Any other scheme, with the host where it names one.
    Other { host: Option<DomainName> },
}

/// The valid URIs of a list, as written, and what is wrong with the others. At most `MAX_URIS` are read.
pub(super) fn read_list(value: &str) -> (Vec<String>, Vec<(String, &'static str)>) {
    let mut uris = Vec::new();
    let mut refused = Vec::new();
    for item in value.split(',').take(MAX_URIS) {
        let item = item.trim_matches([' ', '\t']);
        match ReportUri::parse(item) {
            Ok(_) => uris.push(item.to_owned()),
            Err(problem) => refused.push((item.to_owned(), problem)),
        }
    }
    if value.split(',').nth(MAX_URIS).is_some() {
        refused.push(("…".to_owned(), "more URIs than are read"));
    }
    (uris, refused)
}

impl ReportUri {
    /// Reads one item of a list, without surrounding white space. Err: what is wrong with it.
    pub fn parse(item: &str) -> Result<Self, &'static str> {
        let (uri, max_octets) = split_size(item);
        Ok(Self {
            uri: uri.to_owned(),
            max_octets,
            target: target(uri)?,
        })
    }
}

/// RFC 9989 §4.8: `obs-dmarc-report-size = "!" 1*DIGIT [ "k" / "m" / "g" / "t" ]`, "reporters should
/// ignore the obs-dmarc-report-size if it is found". RFC 7489 §6.3: "the units are considered to be
/// powers of two; a kilobyte is 2^10, a megabyte is 2^20, etc."
fn split_size(item: &str) -> (&str, Option<u64>) {
    let Some((uri, size)) = item.rsplit_once('!') else {
        return (item, None);
    };
    let units = [("k", 10), ("m", 20), ("g", 30), ("t", 40)];
    let last = size.get(size.len().saturating_sub(1)..).unwrap_or_default();
    let unit = units
        .iter()
        .find(|(unit, _)| unit.eq_ignore_ascii_case(last));
    let (digits, power) = match unit {
        Some((_, power)) => (size.get(..size.len().saturating_sub(1)), *power),
        None => (Some(size), 0),
    };
    let digits = digits.unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return (item, None);
    }
    let octets = digits.parse().unwrap_or(u64::MAX);
    (uri, Some(octets.saturating_mul(1 << power)))
}

fn target(uri: &str) -> Result<Target, &'static str> {
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
    // RFC 6068 §2: what follows a question mark are header fields; one in the address is encoded.
    let (path, fields) = rest.split_once('?').unwrap_or((rest, ""));
    let decoded = decode(path).zip(decode(fields));
    let (path, _) = decoded.ok_or("a percent sign without two hexadecimal digits")?;
    if scheme.eq_ignore_ascii_case("mailto") {
        return mailto(&path);
    }
    Ok(Target::Other { host: host(&path) })
}

/// RFC 3986 §3.2: `"//" [ userinfo "@" ] host [ ":" port ]`, up to a slash or `#`.
fn host(path: &[u8]) -> Option<DomainName> {
    let path = String::from_utf8_lossy(path);
    let authority = path.strip_prefix("//")?.split(['/', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    DomainName::parse(host).ok()
}

/// RFC 6068 §2: one address. Further addresses would need a comma.
fn mailto(decoded: &[u8]) -> Result<Target, &'static str> {
    let path = String::from_utf8_lossy(decoded);
    let (local_part, domain) = path.rsplit_once('@').ok_or(NO_ADDRESS)?;
    if local_part.is_empty() {
        return Err(NO_ADDRESS);
    }
    Ok(Target::Mailto {
        local_part: local_part.to_owned(),
        domain: DomainName::parse(domain).map_err(|_| NO_ADDRESS)?,
    })
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
const NO_ADDRESS: &str = "no address after mailto:";

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
            ("mailto:d@example.com!10m", "mailto:d@example.com!10m", 0),
            ("mailto:d@example.com!5", "mailto:d@example.com!5", 0),
            (
                "mailto:d@example.com!1G,https://r.example/x",
                "mailto:d@example.com!1G https://r.example/x",
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
    fn reads_sizes_and_addresses() {
        for (uri, size, address) in [
            ("mailto:d@example.com", None, "d@example.com"),
            ("mailto:d@example.com!5", Some(5), "d@example.com"),
            ("mailto:d@example.com!10K", Some(10 << 10), "d@example.com"),
            ("mailto:d@example.com!10m", Some(10 << 20), "d@example.com"),
            ("mailto:d@example.com!1g", Some(1 << 30), "d@example.com"),
            ("mailto:d@example.com!2t", Some(2 << 40), "d@example.com"),
            (
                "mailto:d@x.example!99999999999999999999k",
                Some(u64::MAX),
                "d@x.example",
            ),
            (
                "MailTo:a%3Fb%2Cc@X.example?subject=a%20b",
                None,
                "a?b,c@x.example",
            ),
            (
                "mailto:%22a%0d%0ab%22@x.example",
                None,
                "\"a\r\nb\"@x.example",
            ),
            ("mailto:a%40b@x.example", None, "a@b@x.example"),
            (
                "https://x.example/?a=b!3k",
                Some(3 << 10),
                "Some(\"x.example\")",
            ),
            ("https://u:p@X.example:8/a@b", None, "Some(\"x.example\")"),
            ("urn:x.example", None, "None"),
        ] {
            let read = ReportUri::parse(uri).unwrap();
            assert_eq!(read.max_octets, size, "{uri}");
            let found = match read.target {
                Target::Mailto { local_part, domain } => format!("{local_part}@{domain}"),
                Target::Other { host } => format!("{host:?}"),
            };
            assert_eq!(found, address, "{uri}");
        }
    }

    #[test]
    fn a_list_has_an_end() {
        let (uris, refused) = read_list(&"mailto:d@example.com,".repeat(5_000));
        assert_eq!((uris.len(), refused.len()), (MAX_URIS, 1));
    }
}
