//! Master files, RFC 1035 §5: DNS data as text, read into an in-memory `Zone`.
//!
//! Owns the record syntax of what alignd asks for (A, AAAA, MX, PTR, TXT, CNAME); of other records only
//! the name matters, that it exists. Reads text, never files: `$INCLUDE` is refused. The file speaks
//! for all of DNS, so several origins are usual and the first one is the root. Beyond RFC 1035, the
//! comment lines `;servfail NAME` and `;timeout NAME` mark names that fail so.

mod lines;
mod name;

use super::zone::ZoneRecord;
use super::{LookupError, MxRecord, QueryName, TxtRecord, zone::Zone};
use lines::{Entry, Opening, Token};
use std::collections::HashMap;
use std::fmt;

/// Reads a master file. The first thing that is wrong ends the reading.
pub fn parse(text: &str) -> Result<Zone, ZoneFileError> {
    let mut reader = Reader::default();
    for entry in lines::entries(text)? {
        match entry.opening {
            Opening::Mark(failure) => reader.mark(&entry, failure)?,
            Opening::Name | Opening::Blank => reader.entry(&entry)?,
        }
    }
    Ok(reader.zone)
}

/// What is wrong in a master file. Whoever wrote it must act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFileError {
    /// Counted from 1.
    pub line: usize,
    pub problem: String,
    /// What to write instead.
    pub advice: String,
}

impl ZoneFileError {
    fn new(line: usize, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            line,
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for ZoneFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.problem, self.advice)
    }
}

impl std::error::Error for ZoneFileError {}

/// What has been read so far, and what the next lines lean on.
#[derive(Default)]
struct Reader {
    zone: Zone,
    /// `None` is the root.
    origin: Option<QueryName>,
    last_owner: Option<QueryName>,
    owners: HashMap<QueryName, Owner>,
}

/// What kinds of record a name has: a CNAME suffers no other beside it.
#[derive(Default)]
struct Owner {
    alias: bool,
    other: bool,
}

impl Reader {
    fn mark(&mut self, entry: &Entry<'_>, failure: LookupError) -> Result<(), ZoneFileError> {
        for token in &entry.tokens {
            let name = self.name(*token)?;
            self.zone.fail(&name, failure);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), ZoneFileError> {
        let Some((first, rest)) = entry.tokens.split_first() else {
            return Ok(());
        };
        if !first.quoted && first.text.starts_with('$') {
            return self.directive(*first, rest);
        }
        if entry.opening == Opening::Name {
            let owner = self.name(*first)?;
            self.last_owner = Some(owner.clone());
            return self.record(entry.line, owner, rest);
        }
        let Some(owner) = self.last_owner.clone() else {
            return Err(ZoneFileError::new(
                entry.line,
                "a record without a name, and none before it to take the name from",
                "write the name in the first column",
            ));
        };
        self.record(entry.line, owner, &entry.tokens)
    }

    fn directive(&mut self, word: Token<'_>, rest: &[Token<'_>]) -> Result<(), ZoneFileError> {
        let advice = match word.text.to_ascii_uppercase().as_str() {
            "$ORIGIN" => match rest {
                [name] => {
                    self.origin = Some(self.name(*name)?);
                    return Ok(());
                }
                _ => "write one name: `$ORIGIN example.com.`",
            },
            "$TTL" => match rest {
                [ttl] if is_ttl(ttl) => return Ok(()),
                _ => "write one number of seconds: `$TTL 3600`",
            },
            "$INCLUDE" => "other files aren't read: copy its content here",
            _ => "write the records out; only $ORIGIN and $TTL are known",
        };
        Err(ZoneFileError::new(
            word.line,
            format!("`{}` cannot be used like this", shown(word.text)),
            advice,
        ))
    }

    fn record(
        &mut self,
        line: usize,
        owner: QueryName,
        tokens: &[Token<'_>],
    ) -> Result<(), ZoneFileError> {
        let (kind, data) = self.kind(line, tokens)?;
        let record = self.data(kind, data)?;
        self.check_alias(&owner, kind)?;
        self.zone.add(&owner, record);
        Ok(())
    }

    /// Skips class and TTL, RFC 1035 §5.1: both optional, in any order. Leaves type and data.
    fn kind<'t, 's>(
        &self,
        line: usize,
        tokens: &'s [Token<'t>],
    ) -> Result<(Token<'t>, &'s [Token<'t>]), ZoneFileError> {
        let mut rest = tokens;
        let (mut class, mut ttl) = (false, false);
        while let Some((token, after)) = rest.split_first() {
            if token.quoted {
                break;
            }
            if !class && token.text.eq_ignore_ascii_case("IN") {
                class = true;
            } else if !ttl && is_ttl(token) {
                ttl = true;
            } else if OTHER_CLASSES.iter().any(|c| token.is(c)) {
                return Err(ZoneFileError::new(
                    token.line,
                    format!("class {}", token.text),
                    "only class IN is read: write `IN`, or nothing",
                ));
            } else {
                return Ok((*token, after));
            }
            rest = after;
        }
        Err(ZoneFileError::new(
            line,
            "a name without a record",
            "write type and data: `example.com. TXT \"…\"`",
        ))
    }

    fn data(&self, kind: Token<'_>, data: &[Token<'_>]) -> Result<ZoneRecord, ZoneFileError> {
        let wrong = |advice: &str| {
            ZoneFileError::new(
                kind.line,
                format!("the data of this {} record", shown(kind.text)),
                advice,
            )
        };
        match (kind.text.to_ascii_uppercase().as_str(), data) {
            ("A", [address]) => match address.text.parse() {
                Ok(address) => Ok(ZoneRecord::A(address)),
                Err(_) => Err(wrong("write an IPv4 address: `A 192.0.2.1`")),
            },
            ("A", _) => Err(wrong("write one IPv4 address: `A 192.0.2.1`")),
            ("AAAA", [address]) => match address.text.parse() {
                Ok(address) => Ok(ZoneRecord::Aaaa(address)),
                Err(_) => Err(wrong("write an IPv6 address: `AAAA 2001:db8::1`")),
            },
            ("AAAA", _) => Err(wrong("write one IPv6 address: `AAAA 2001:db8::1`")),
            ("MX", [preference, exchange]) => match preference.text.parse() {
                Ok(preference) => Ok(ZoneRecord::Mx(MxRecord {
                    preference,
                    exchange: self.name(*exchange)?,
                })),
                Err(_) => Err(wrong("write a number up to 65535 first: `MX 10 mail`")),
            },
            ("MX", _) => Err(wrong("write number and host: `MX 10 mail.example.com.`")),
            ("PTR", [target]) => Ok(ZoneRecord::Ptr(self.name(*target)?)),
            ("PTR", _) => Err(wrong("write one name: `PTR host.example.com.`")),
            ("CNAME", [target]) => Ok(ZoneRecord::Cname(self.name(*target)?)),
            ("CNAME", _) => Err(wrong("write one name: `CNAME host.example.com.`")),
            ("TXT", []) => Err(wrong("write the text in quotes: `TXT \"v=spf1 -all\"`")),
            ("TXT", strings) => Ok(ZoneRecord::Txt(text(strings)?)),
            ("DNAME", _) => Err(wrong(
                "DNAME isn't followed: write the CNAMEs it stands for",
            )),
            (_, []) => Err(wrong("write type and data: `example.com. TXT \"…\"`")),
            (word, _) if is_other_type(word) => Ok(ZoneRecord::Empty),
            (_, _) => Err(ZoneFileError::new(
                kind.line,
                format!("`{}` is no record type", shown(kind.text)),
                "write name, type and data; a name stands in the first column, a record of the name \
                 before it is indented",
            )),
        }
    }

    /// RFC 1034 §3.6.2: "If a CNAME RR is present at a node, no other data should be present".
    fn check_alias(&mut self, name: &QueryName, kind: Token<'_>) -> Result<(), ZoneFileError> {
        if DNSSEC.iter().any(|word| kind.is(word)) {
            return Ok(());
        }
        let owner = self.owners.entry(name.clone()).or_default();
        let alias = kind.is("CNAME");
        if owner.alias || (alias && owner.other) {
            return Err(ZoneFileError::new(
                kind.line,
                format!("{name} has a CNAME and another record"),
                "keep the CNAME alone, or replace it by the records it points to",
            ));
        }
        if alias {
            owner.alias = true;
        } else {
            owner.other = true;
        }
        Ok(())
    }

    fn name(&self, token: Token<'_>) -> Result<QueryName, ZoneFileError> {
        name::read(token, self.origin.as_ref())
    }
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }
}

/// The character-strings of a TXT record, joined (RFC 1035 §3.3.14).
fn text(strings: &[Token<'_>]) -> Result<TxtRecord, ZoneFileError> {
    let mut joined = Vec::new();
    for token in strings {
        let octets = name::octets(*token)?;
        if octets.len() > 255 {
            return Err(ZoneFileError::new(
                token.line,
                format!("a text of {} octets; one string holds 255", octets.len()),
                "split it: `TXT \"first part\" \"second part\"` is joined without a space",
            ));
        }
        joined.extend(octets);
    }
    Ok(TxtRecord(joined.into()))
}

/// Seconds, or BIND's `1w2d3h4m5s`; at most 31 bits (RFC 2181 §8).
fn is_ttl(token: &Token<'_>) -> bool {
    if token.quoted || !token.text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let mut total = 0u64;
    let mut number = 0u64;
    for c in token.text.chars() {
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            digit => match digit.to_digit(10) {
                Some(value) => {
                    number = number.saturating_mul(10).saturating_add(value.into());
                    continue;
                }
                None => return false,
            },
        };
        total = total.saturating_add(number.saturating_mul(unit));
        number = 0;
    }
    total.saturating_add(number) < 1 << 31
}

/// Types whose data isn't looked at. RFC 3597 §5 names any other `TYPE65280`.
fn is_other_type(word: &str) -> bool {
    OTHER_TYPES.contains(&word)
        || DNSSEC.contains(&word)
        || word
            .strip_prefix("TYPE")
            .is_some_and(|number| number.parse::<u16>().is_ok())
}

/// A token for an error message, at most 40 characters of it.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

const OTHER_CLASSES: [&str; 6] = ["CH", "CHAOS", "CS", "HS", "HESIOD", "ANY"];

const OTHER_TYPES: [&str; 35] = [
    "NS",
    "SOA",
    "SPF",
    "CAA",
    "SRV",
    "HINFO",
    "MINFO",
    "WKS",
    "RP",
    "AFSDB",
    "X25",
    "ISDN",
    "RT",
    "LOC",
    "NAPTR",
    "KX",
    "CERT",
    "APL",
    "DS",
    "SSHFP",
    "IPSECKEY",
    "DNSKEY",
    "DHCID",
    "TLSA",
    "SMIMEA",
    "HIP",
    "CDS",
    "CDNSKEY",
    "OPENPGPKEY",
    "CSYNC",
    "ZONEMD",
    "SVCB",
    "HTTPS",
    "URI",
    "NULL",
];

/// The types that stand beside a CNAME too, RFC 4034 §3 and §4.
const DNSSEC: [&str; 4] = ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM"];
