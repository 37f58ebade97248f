//! The SPF record, RFC 7208 §4.6.1, §5, §6 and §12: from the octets of a TXT record to directives
//! and modifiers, to the letter of the grammar.
//!
//! Pure; asks nobody. A record is read whole before anything is evaluated: RFC 7208 §4.6, "The syntax
//! of the record is validated first, and if there are any syntax errors anywhere in the record,
//! check_host() returns immediately with the result "permerror"".

use super::macros::{DomainSpec, MacroError, MacroString};
use crate::auth::SpfResult;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A record without syntax errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// In the order of the record.
    pub directives: Vec<Directive>,
    pub redirect: Option<DomainSpec>,
    pub explanation: Option<DomainSpec>,
}

/// A mechanism with its qualifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// As written in the record.
    pub text: String,
    /// What check_host() returns when the mechanism matches, RFC 7208 §4.6.2.
    pub result: SpfResult,
    pub mechanism: Mechanism,
}

/// RFC 7208 §5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    /// `ip4` or `ip6`.
    Ip(Network),
    Query(Query),
}

/// A mechanism that asks DNS; RFC 7208 §4.6.4 limits their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub kind: QueryKind,
    /// `None` for the domain whose record it is.
    pub domain: Option<DomainSpec>,
}

/// What is asked, and what a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    Include,
    A(Prefixes),
    Mx(Prefixes),
    Ptr,
    Exists,
}

/// `dual-cidr-length`: how many high-order bits are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    /// 0–32.
    pub ip4: u8,
    /// 0–128.
    pub ip6: u8,
}

/// The argument of `ip4` and `ip6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

/// Where a record breaks the grammar. The domain owner is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The term that is wrong, as written but for control and non-ASCII characters.
    pub term: String,
    pub why: TermError,
}

/// What is wrong with a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermError {
    RecordTooLong,
    NotAscii,
    NoSuchMechanism,
    UnexpectedArgument,
    MissingArgument,
    BadAddress,
    BadPrefix,
    AddressAsDomain,
    RepeatedModifier,
    Macro(MacroError),
}

/// Longest record read; longer ones are permerror. RFC 7208 §3.4 asks for less than 512 octets, the
/// longest seen in the wild are below 4,096.
pub const MAX_RECORD: usize = 16_384;

/// Whether a TXT record is an SPF record: RFC 7208 §4.5, "discard records that do not begin with a
/// version section of exactly "v=spf1". Note that the version section is terminated by either an SP
/// character or the end of the record."
pub fn is_spf(text: &[u8]) -> bool {
    match text.split_at_checked(VERSION.len()) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
        }
        None => false,
    }
}

impl Record {
    /// Reads a record that `is_spf`.
    pub fn parse(text: &[u8]) -> Result<Self, SyntaxError> {
        if text.len() > MAX_RECORD {
            return Err(TermError::RecordTooLong.at(""));
        }
        let mut record = Self {
            directives: Vec::new(),
            redirect: None,
            explanation: None,
        };
        // RFC 7208 §12: `terms = *( 1*SP ( directive / modifier ) )`.
        for octets in text.split(|&b| b == b' ').skip(1) {
            let term = String::from_utf8_lossy(octets);
            if !octets.iter().all(u8::is_ascii_graphic) {
                return Err(TermError::NotAscii.at(&term));
            }
            if !term.is_empty() {
                record.add(&term).map_err(|why| why.at(&term))?;
            }
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Result<(), TermError> {
        let Some((name, value)) = split_modifier(term) else {
            self.directives.push(Directive::parse(term)?);
            return Ok(());
        };
        let slot = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            // RFC 7208 §6: "Unrecognized modifiers MUST be ignored no matter where, or how often,
            // they appear in a record." Their value has a grammar all the same.
            _ => {
                MacroString::parse(value)?;
                return Ok(());
            }
        };
        // RFC 7208 §6: "These two modifiers MUST NOT appear in a record more than once each. If they
        // do, then check_host() exits with a result of "permerror"."
        match slot.replace(DomainSpec::parse(value)?) {
            Some(_) => Err(TermError::RepeatedModifier),
            None => Ok(()),
        }
    }
}

impl Directive {
    fn parse(term: &str) -> Result<Self, TermError> {
        let mut chars = term.chars();
        let (result, body) = match chars.next() {
            Some('+') => (SpfResult::Pass, chars.as_str()),
            Some('-') => (SpfResult::Fail, chars.as_str()),
            Some('~') => (SpfResult::Softfail, chars.as_str()),
            Some('?') => (SpfResult::Neutral, chars.as_str()),
            Some(_) | None => (SpfResult::Pass, term),
        };
        Ok(Self {
            text: term.to_owned(),
            result,
            mechanism: Mechanism::parse(body)?,
        })
    }
}

impl Mechanism {
    fn parse(text: &str) -> Result<Self, TermError> {
        let end = text.find([':', '/']).unwrap_or(text.len());
        let (name, argument) = text.split_at(end);
        let (kind, domain) = match name.to_ascii_lowercase().as_str() {
            "all" if argument.is_empty() => return Ok(Self::All),
            "all" => return Err(TermError::UnexpectedArgument),
            "ip4" => return Network::parse_ip4(required(argument)?).map(Self::Ip),
            "ip6" => return Network::parse_ip6(required(argument)?).map(Self::Ip),
            "a" => {
                let (domain, prefixes) = split_prefixes(argument)?;
                (QueryKind::A(prefixes), optional_domain(domain)?)
            }
            "mx" => {
                let (domain, prefixes) = split_prefixes(argument)?;
                (QueryKind::Mx(prefixes), optional_domain(domain)?)
            }
            "ptr" => (QueryKind::Ptr, optional_domain(argument)?),
            "include" => (QueryKind::Include, Some(required_domain(argument)?)),
            "exists" => (QueryKind::Exists, Some(required_domain(argument)?)),
            _ => return Err(TermError::NoSuchMechanism),
        };
        Ok(Self::Query(Query { kind, domain }))
    }
}

impl Prefixes {
    /// Reads `[ ip4-cidr-length ] [ "/" ip6-cidr-length ]`.
    fn parse(text: &str) -> Result<Self, TermError> {
        let (ip4, ip6) = match text.split_once("//") {
            Some((ip4, ip6)) => (ip4, Some(ip6)),
            None => (text, None),
        };
        let ip4 = match ip4.strip_prefix('/') {
            Some(digits) => prefix(digits, 32)?,
            None if ip4.is_empty() => 32,
            None => return Err(TermError::BadPrefix),
        };
        Ok(Self {
            ip4,
            ip6: ip6.map_or(Ok(128), |digits| prefix(digits, 128))?,
        })
    }

    /// The network of `address` that a client has to be in.
    pub fn around(self, address: IpAddr) -> Network {
        Network {
            address,
            prefix: match address {
                IpAddr::V4(_) => self.ip4,
                IpAddr::V6(_) => self.ip6,
            },
        }
    }
}

impl Network {
    /// `ip4-network [ ip4-cidr-length ]`
    fn parse_ip4(text: &str) -> Result<Self, TermError> {
        let (address, length) = split_length(text);
        let address: Ipv4Addr = address.parse().map_err(|_| TermError::BadAddress)?;
        Ok(Self {
            address: IpAddr::V4(address),
            prefix: length.map_or(Ok(32), |digits| prefix(digits, 32))?,
        })
    }

    /// `ip6-network [ ip6-cidr-length ]`
    fn parse_ip6(text: &str) -> Result<Self, TermError> {
        let (address, length) = split_length(text);
        let address: Ipv6Addr = address.parse().map_err(|_| TermError::BadAddress)?;
        Ok(Self {
            address: IpAddr::V6(address),
            prefix: length.map_or(Ok(128), |digits| prefix(digits, 128))?,
        })
    }

    /// RFC 7208 §5: "only the specified number of high-order bits of \<ip> and the IP address are
    /// compared for equality." An address of the other family is never contained.
    pub fn contains(&self, client: IpAddr) -> bool {
        match (self.address, client) {
            (IpAddr::V4(network), IpAddr::V4(client)) => {
                let differing = network.to_bits() ^ client.to_bits();
                let ignored = 32_u32.saturating_sub(self.prefix.into());
                differing.checked_shr(ignored).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(client)) => {
                let differing = network.to_bits() ^ client.to_bits();
                let ignored = 128_u32.saturating_sub(self.prefix.into());
                differing.checked_shr(ignored).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// `name "=" value`: RFC 7208 §4.6.1, "Modifiers always contain an equals ('=') character immediately
/// after the name, and before any ":" or "/" characters".
fn split_modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    let goes_on_well = chars.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (starts_well && goes_on_well).then_some((name, value))
}

/// What follows the colon.
fn required(argument: &str) -> Result<&str, TermError> {
    match argument.strip_prefix(':') {
        Some(value) => Ok(value),
        None if argument.is_empty() => Err(TermError::MissingArgument),
        None => Err(TermError::UnexpectedArgument),
    }
}

fn required_domain(argument: &str) -> Result<DomainSpec, TermError> {
    parse_domain(required(argument)?)
}

fn optional_domain(argument: &str) -> Result<Option<DomainSpec>, TermError> {
    if argument.is_empty() {
        return Ok(None);
    }
    required_domain(argument).map(Some)
}

fn parse_domain(text: &str) -> Result<DomainSpec, TermError> {
    DomainSpec::parse(text).map_err(|why| match why {
        // A common mistake that deserves its own word.
        MacroError::NoTopLevelLabel if text.parse::<IpAddr>().is_ok() => TermError::AddressAsDomain,
        other => TermError::Macro(other),
    })
}

/// Splits `[ ":" domain-spec ] [ dual-cidr-length ]`. A domain-spec may contain slashes, but neither
/// a top-level label nor the end of a macro does: the prefix lengths begin at the first slash of the
/// digits and slashes that end the text.
fn split_prefixes(text: &str) -> Result<(&str, Prefixes), TermError> {
    let before = text.trim_end_matches(|c: char| c == '/' || c.is_ascii_digit());
    let slash = text
        .match_indices('/')
        .map(|(at, _)| at)
        .find(|&at| at >= before.len());
    let (domain, lengths) = text.split_at(slash.unwrap_or(text.len()));
    Ok((domain, Prefixes::parse(lengths)?))
}

fn split_length(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    }
}

/// RFC 7208 §5.6: `"0" / %x31-39 0*2DIGIT`, no leading zeros, at most `max`.
fn prefix(digits: &str, max: u8) -> Result<u8, TermError> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    match digits.parse() {
        Ok(length) if is_number && !has_leading_zero && length <= max => Ok(length),
        Ok(_) | Err(_) => Err(TermError::BadPrefix),
    }
}

impl TermError {
    fn at(self, term: &str) -> SyntaxError {
        SyntaxError {
            term: term.escape_default().take(MAX_TERM_SHOWN).collect(),
            why: self,
        }
    }
}

impl From<MacroError> for TermError {
    fn from(why: MacroError) -> Self {
        Self::Macro(why)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.term.is_empty() {
            self.why.fmt(f)
        } else {
            write!(f, "in {}: {}", self.term, self.why)
        }
    }
}

impl fmt::Display for TermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecordTooLong => "the record is longer than 16,384 octets",
            Self::NotAscii => "it has a control character or one that is not ASCII",
            Self::NoSuchMechanism => "there is no such mechanism",
            Self::UnexpectedArgument => "it takes no such argument",
            Self::MissingArgument => "the argument is missing",
            Self::BadAddress => "that is no IP address of this family",
            Self::BadPrefix => "the prefix length is malformed or too large",
            Self::AddressAsDomain => {
                "an address stands where a domain must; ip4 or ip6 take addresses"
            }
            Self::RepeatedModifier => "the modifier is there more than once",
            Self::Macro(why) => return why.fmt(f),
        })
    }
}

impl std::error::Error for SyntaxError {}

const VERSION: &[u8] = b"v=spf1";

/// Characters of a wrong term that a sentence about it shows.
const MAX_TERM_SHOWN: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &str, expected: Option<TermError>) {
        let found = Record::parse(record.as_bytes()).err().map(|e| e.why);
        assert_eq!(found, expected, "{record}");
    }

    #[test]
    fn selects_by_version() {
        for (text, expected) in [
            ("v=spf1", true),
            ("V=sPf1 a", true),
            ("v=spf1\ta", false),
            ("v=spf10", false),
            ("v=spf", false),
            (" v=spf1", false),
            ("", false),
        ] {
            assert_eq!(is_spf(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_by_the_grammar() {
        use MacroError::*;
        use TermError::*;
        for (record, expected) in [
            ("v=spf1", None),
            ("v=spf1   A  -ALL  ", None),
            (
                "v=spf1 a/24//64 mx//0 a:b.c/0 mx:%{d}/32//128 ptr ptr:x.y",
                None,
            ),
            (
                "v=spf1 a:foo:bar/baz.example.com/24 exists:%{i}.100/86400.rate.%{d}",
                None,
            ),
            (
                "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::ffff:192.0.2.1",
                None,
            ),
            (
                "v=spf1 unknown=%{c} unknown= x.y-z_1=a:b/c redirect=a.b exp=%{d}",
                None,
            ),
            ("v=spf1 moo", Some(NoSuchMechanism)),
            ("v=spf1 +redirect=a.b", Some(NoSuchMechanism)),
            ("v=spf1 redirect:a.b", Some(NoSuchMechanism)),
            ("v=spf1 1up=x", Some(NoSuchMechanism)),
            ("v=spf1 =x", Some(NoSuchMechanism)),
            ("v=spf1 --all", Some(NoSuchMechanism)),
            ("v=spf1 -", Some(NoSuchMechanism)),
            ("v=spf1 ip4:", Some(BadAddress)),
            ("v=spf1 ip4", Some(MissingArgument)),
            ("v=spf1 ip4/8", Some(UnexpectedArgument)),
            ("v=spf1 ip4:1.2.3", Some(BadAddress)),
            ("v=spf1 ip4:1.2.3.04", Some(BadAddress)),
            ("v=spf1 ip4:2001:db8::1", Some(BadAddress)),
            ("v=spf1 ip6:1.2.3.4", Some(BadAddress)),
            ("v=spf1 ip6:fe80::1%eth0", Some(BadAddress)),
            ("v=spf1 ip4:1.2.3.4/", Some(BadPrefix)),
            ("v=spf1 ip4:1.2.3.4/33", Some(BadPrefix)),
            ("v=spf1 ip4:1.2.3.4/032", Some(BadPrefix)),
            ("v=spf1 ip4:1.2.3.4/+3", Some(BadPrefix)),
            ("v=spf1 ip4:1.2.3.4//32", Some(BadPrefix)),
            ("v=spf1 ip6:::/129", Some(BadPrefix)),
            ("v=spf1 a/24/64", Some(BadPrefix)),
            ("v=spf1 a/", Some(BadPrefix)),
            ("v=spf1 a//", Some(BadPrefix)),
            ("v=spf1 a///64", Some(BadPrefix)),
            ("v=spf1 all.", Some(NoSuchMechanism)),
            ("v=spf1 all:x", Some(UnexpectedArgument)),
            ("v=spf1 all/8", Some(UnexpectedArgument)),
            ("v=spf1 ptr/0", Some(UnexpectedArgument)),
            ("v=spf1 include", Some(MissingArgument)),
            ("v=spf1 include:a.b/24", Some(Macro(NoTopLevelLabel))),
            ("v=spf1 a:", Some(Macro(Empty))),
            ("v=spf1 a:/24", Some(Macro(Empty))),
            ("v=spf1 a:192.0.2.1", Some(AddressAsDomain)),
            ("v=spf1 exp= -all", Some(Macro(Empty))),
            ("v=spf1 exp=-all", Some(Macro(NoTopLevelLabel))),
            ("v=spf1 exp=a.b EXP=a.b", Some(RepeatedModifier)),
            ("v=spf1 redirect=a.b redirect=a.b", Some(RepeatedModifier)),
            ("v=spf1 foo=%abc", Some(Macro(BadPercent))),
            ("v=spf1 a\tb", Some(NotAscii)),
            ("v=spf1 ä", Some(NotAscii)),
        ] {
            check(record, expected);
        }
        check(
            &format!("v=spf1 {}", "a ".repeat(MAX_RECORD)),
            Some(RecordTooLong),
        );
    }

    #[test]
    fn compares_the_high_order_bits() {
        for (record, client, expected) in [
            ("v=spf1 ip4:192.0.2.0/24", "192.0.2.255", true),
            ("v=spf1 ip4:192.0.2.0/25", "192.0.2.128", false),
            ("v=spf1 ip4:1.1.1.1/0", "192.0.2.1", true),
            ("v=spf1 ip4:192.0.2.1", "192.0.2.1", true),
            ("v=spf1 ip4:0.0.0.0/0", "2001:db8::1", false),
            ("v=spf1 ip6:::/0", "2001:db8::1", true),
            ("v=spf1 ip6:::/0", "192.0.2.1", false),
            ("v=spf1 ip6:2001:db8::/33", "2001:db8:8000::", false),
        ] {
            let record = Record::parse(record.as_bytes()).unwrap();
            let Some(Mechanism::Ip(network)) = record.directives.first().map(|d| &d.mechanism)
            else {
                panic!("no network in {record:?}");
            };
            assert_eq!(
                network.contains(client.parse().unwrap()),
                expected,
                "{client}"
            );
        }
    }
}
