//! One DKIM-Signature field, read and checked as far as that goes without its key: RFC 6376 §3.5 and
//! §6.1.1, with RFC 8301 (no SHA-1), RFC 8463 (Ed25519) and RFC 8616 (U-labels).
//!
//! "Implementers MUST meticulously validate the format and values in the DKIM-Signature header field;
//! any inconsistency or unexpected values MUST cause the header field to be completely ignored and
//! the Verifier to return PERMFAIL". What can still be named of a bad field is named.
//!
//! Words in ABNF quotes are read in any case (RFC 5234 §2.3): `a=RSA-SHA256` is `rsa-sha256`.

use super::canon::Canon;
use super::key::KeyUse;
use super::problem::Problem;
use super::tags::{self, TagList};
use crate::dns::QueryName;
use crate::domain::DomainName;
use std::ops::Range;

/// What names a signature in results, read as far as possible.
#[derive(Debug, Clone, Default)]
pub struct Description {
    pub domain: String,
    pub selector: String,
    pub identity: Option<String>,
    pub algorithm: String,
    /// The text of `b=` without white space, cut off at the first octet that is not base64.
    pub b: String,
}

/// A signature that a key can be tried on.
#[derive(Debug)]
pub struct Signature<'a> {
    pub algorithm: Algorithm,
    pub header_canon: Canon,
    pub body_canon: Canon,
    pub domain: DomainName,
    /// `i=` is in a subdomain of `d=`, which a key with `t=s` does not allow.
    pub identity_below: bool,
    pub key_name: QueryName,
    pub signature: Vec<u8>,
    pub body_hash: Vec<u8>,
    pub body_length: Option<u64>,
    /// The names in `h=`, in order.
    pub signed: Vec<&'a str>,
    /// Seconds since 1970.
    pub signed_at: Option<u64>,
    pub expires: Option<u64>,
    /// Where the value of `b=` stands in the field's value.
    pub b_place: Range<usize>,
}

/// An ARC-Seal that a key can be tried on.
#[derive(Debug)]
pub struct Seal {
    pub key_name: QueryName,
    pub key_use: KeyUse,
    /// Where the value of `b=` stands in the field's value.
    pub b_place: Range<usize>,
}

/// The algorithms that may pass. Both hash with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    RsaSha256,
    Ed25519Sha256,
}

/// Reads the value of a DKIM-Signature field, folds and all.
pub fn read(value: &[u8]) -> (Description, Result<Signature<'_>, Problem>) {
    let is_too_long = value.len() > MAX_FIELD;
    let value = value.get(..MAX_FIELD).unwrap_or(value);
    let list = TagList::parse(value);
    let description = describe(&list);
    let signature = if is_too_long {
        Err(Problem::SignatureTooLong)
    } else {
        read_signature(&list)
    };
    (description, signature)
}

/// Reads an ARC-Message-Signature. RFC 8617 §4.1.2: "the same syntax and semantics as the
/// DKIM-Signature field", but `v=` is ignored, `i=` is the instance, and From need not be signed.
pub fn read_arc<'a>(list: &TagList<'a>) -> Result<Signature<'a>, Problem> {
    check_list(list)?;
    read_common(list, Kind::Arc)
}

/// The part of an ARC-Seal that it has in common with a signature, RFC 8617 §4.1.3: `a`, `b`, `d`, `s`
/// and `t`.
pub fn read_seal(list: &TagList<'_>) -> Result<Seal, Problem> {
    check_list(list)?;
    let algorithm = read_algorithm(required(list, "a")?)?;
    let signature = tags::base64(required(list, "b")?).ok_or(Problem::Invalid("b"))?;
    let domain = read_domain(required(list, "d")?)?;
    let key_name = read_key_name(required(list, "s")?, &domain)?;
    read_times(list)?;
    Ok(Seal {
        key_name,
        key_use: KeyUse::new(algorithm, false, signature),
        b_place: list.find("b").map_or(0..0, |tag| tag.place.clone()),
    })
}

/// RFC 6376 §3.2: "the entire tag-list is invalid".
fn check_list(list: &TagList<'_>) -> Result<(), Problem> {
    list.problem
        .map_or(Ok(()), |problem| Err(Problem::List(problem)))
}

fn describe(list: &TagList<'_>) -> Description {
    let text = |tag| named(list.value(tag).unwrap_or_default());
    let name = |tag| {
        let text = text(tag);
        DomainName::parse(&text).map_or(text, |domain| domain.as_str().to_owned())
    };
    let identity = list.value("i").and_then(read_identity);
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let mut b = tags::without_fws(list.value("b").unwrap_or_default());
    b.truncate(b.bytes().take(MAX_B).take_while(is_base64).count());
    Description {
        domain: name("d"),
        selector: name("s"),
        identity: identity.map(|(local, domain)| format!("{local}@{domain}")),
        algorithm: text("a"),
        b,
    }
}

/// A value as far as it is kept to name a signature: no folds, no controls, not endless.
fn named(value: &str) -> String {
    let kept = value.chars().map(|c| if c.is_control() { ' ' } else { c });
    kept.take(MAX_NAMED).collect()
}

fn read_signature<'a>(list: &TagList<'a>) -> Result<Signature<'a>, Problem> {
    check_list(list)?;
    // RFC 6376 §6.1.1: "Verifiers MUST return PERMFAIL (incompatible version) when presented a
    // DKIM-Signature header field with a "v=" tag that is inconsistent with this specification."
    if required(list, "v")? != "1" {
        return Err(Problem::Version);
    }
    read_common(list, Kind::Dkim)
}

/// Whose rules hold where DKIM and ARC differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dkim,
    Arc,
}

fn read_common<'a>(list: &TagList<'a>, kind: Kind) -> Result<Signature<'a>, Problem> {
    let algorithm = read_algorithm(required(list, "a")?)?;
    let signature = tags::base64(required(list, "b")?).ok_or(Problem::Invalid("b"))?;
    let body_hash = tags::base64(required(list, "bh")?).ok_or(Problem::Invalid("bh"))?;
    let domain = read_domain(required(list, "d")?)?;
    let signed = match kind {
        Kind::Dkim => read_signed(required(list, "h")?)?,
        Kind::Arc => read_signed_by_arc(list.value("h").ok_or(Problem::Missing("h"))?)?,
    };
    let key_name = read_key_name(required(list, "s")?, &domain)?;
    let identity_below = match kind {
        Kind::Dkim => read_identity_domain(list, &domain)?,
        Kind::Arc => false,
    };
    let (header_canon, body_canon) = read_canons(list.value("c"))?;
    if let Some(methods) = list.value("q") {
        check_query_methods(methods)?;
    }
    let (signed_at, expires) = read_times(list)?;
    Ok(Signature {
        algorithm,
        header_canon,
        body_canon,
        domain,
        identity_below,
        key_name,
        signature,
        body_hash,
        body_length: read_length(list)?,
        signed,
        signed_at,
        expires,
        b_place: list.find("b").map_or(0..0, |tag| tag.place.clone()),
    })
}

/// RFC 6376 §6.1.1: "If any tag listed as 'required' ... is omitted ... return PERMFAIL (signature
/// missing required tag)". None of them may be empty either.
fn required<'a>(list: &TagList<'a>, tag: &'static str) -> Result<&'a str, Problem> {
    list.value(tag)
        .filter(|value| !value.is_empty())
        .ok_or(Problem::Missing(tag))
}

fn read_algorithm(value: &str) -> Result<Algorithm, Problem> {
    for (word, algorithm) in [
        ("rsa-sha256", Ok(Algorithm::RsaSha256)),
        ("ed25519-sha256", Ok(Algorithm::Ed25519Sha256)),
        // RFC 8301 §3.1: "rsa-sha1 MUST NOT be used for signing or verifying."
        ("rsa-sha1", Err(Problem::Sha1)),
    ] {
        if value.eq_ignore_ascii_case(word) {
            return algorithm;
        }
    }
    // RFC 6376 §3.3.4: "Verifiers MUST ignore any signatures using algorithms that they do not
    // implement."
    Err(Problem::UnknownAlgorithm)
}

/// `domain-name = sub-domain 1*("." sub-domain)`: two labels at least, no dot at the end.
/// Underscores are let through: DNS has them, and so have signers.
fn read_domain(value: &str) -> Result<DomainName, Problem> {
    DomainName::parse(value)
        .ok()
        .filter(|domain| domain.label_count() > 1 && !value.ends_with('.'))
        .ok_or(Problem::Invalid("d"))
}

/// RFC 6376 §3.6.2.1: `s=` and `d=` make the name of the key.
fn read_key_name(selector: &str, domain: &DomainName) -> Result<QueryName, Problem> {
    let selector = DomainName::parse(selector)
        .ok()
        .filter(|_| !selector.ends_with('.'))
        .ok_or(Problem::Invalid("s"))?;
    QueryName::below(&format!("{selector}._domainkey"), domain).map_err(|_| Problem::KeyNameTooLong)
}

/// The names in `h=`. RFC 6376 §6.1.1: "If the 'h=' tag does not include the From header field, the
/// Verifier MUST ignore the DKIM-Signature header field".
fn read_signed(value: &str) -> Result<Vec<&str>, Problem> {
    let signed = read_names(value)?;
    // RFC 5322 §3.6.8 `field-name` has one character at least.
    if signed.iter().any(|name| name.is_empty()) {
        return Err(Problem::Invalid("h"));
    }
    if !signed.iter().any(|name| name.eq_ignore_ascii_case("from")) {
        return Err(Problem::FromNotSigned);
    }
    Ok(signed)
}

/// RFC 8617 §4.1.2: "ARC-related header fields ... MUST NOT be included in the list of header fields
/// covered by the signature of the AMS header field". Sealers that cover older ones exist and harm
/// nothing; but a seal is made after the signature, so none may be among them. Empty names are let
/// through: they name no field.
fn read_signed_by_arc(value: &str) -> Result<Vec<&str>, Problem> {
    let signed = read_names(value)?;
    if signed
        .iter()
        .any(|name| name.eq_ignore_ascii_case("arc-seal"))
    {
        return Err(Problem::Invalid("h"));
    }
    Ok(signed)
}

/// The names of a colon-separated list; the list syntax has taken out `:` and `;`.
fn read_names(value: &str) -> Result<Vec<&str>, Problem> {
    let mut names = Vec::with_capacity(32);
    for name in tags::elements(value) {
        if !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::Invalid("h"));
        }
        if names.len() >= MAX_SIGNED {
            return Err(Problem::TooManySignedFields);
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether `i=` is below `d=`. RFC 6376 §6.1.1: "Verifiers MUST confirm that the domain specified in
/// the 'd=' tag is the same as or a parent domain of the domain part of the 'i=' tag."
fn read_identity_domain(list: &TagList<'_>, domain: &DomainName) -> Result<bool, Problem> {
    let Some(value) = list.value("i") else {
        return Ok(false);
    };
    let (_, identity) = read_identity(value).ok_or(Problem::Invalid("i"))?;
    if !identity.is_within(domain) {
        return Err(Problem::DomainMismatch);
    }
    Ok(identity != *domain)
}

/// `[ Local-part ] "@" domain-name`, quoted-printable. The local part may be anything but controls:
/// nobody compares it, "the local-part MAY be drawn from a namespace unrelated to any mailbox".
fn read_identity(value: &str) -> Option<(String, DomainName)> {
    let text = unquote_printable(value)?;
    let (local, domain) = text.rsplit_once('@')?;
    if local.chars().any(char::is_control) || domain.ends_with('.') {
        return None;
    }
    let local = local.chars().take(MAX_NAMED).collect();
    Some((local, DomainName::parse(domain).ok()?))
}

/// dkim-quoted-printable, RFC 6376 §2.11: white space is ignored, `=XX` is an octet.
fn unquote_printable(value: &str) -> Option<String> {
    let text = tags::without_fws(value);
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let octet = match byte {
            b'=' => upper_hex(rest.next()?)? << 4 | upper_hex(rest.next()?)?,
            _ => byte,
        };
        octets.push(octet);
    }
    String::from_utf8(octets).ok()
}

/// "no lowercase characters permitted"
fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `c=`: "If only one algorithm is named, that algorithm is used for the header and 'simple' is used
/// for the body."
fn read_canons(value: Option<&str>) -> Result<(Canon, Canon), Problem> {
    let Some(value) = value else {
        return Ok((Canon::Simple, Canon::Simple));
    };
    let (header, body) = value.split_once('/').unwrap_or((value, "simple"));
    Ok((read_canon(header)?, read_canon(body)?))
}

fn read_canon(word: &str) -> Result<Canon, Problem> {
    if word.eq_ignore_ascii_case("relaxed") {
        Ok(Canon::Relaxed)
    } else if word.eq_ignore_ascii_case("simple") {
        Ok(Canon::Simple)
    } else {
        // RFC 6376 §3.4: "Verifiers MUST ignore any signatures that use unrecognized
        // canonicalization algorithms."
        Err(Problem::UnknownCanonicalization)
    }
}

/// RFC 6376 §3.5: "Unrecognized query mechanisms MUST be ignored"; "the only valid value is 'dns/txt'".
fn check_query_methods(value: &str) -> Result<(), Problem> {
    if tags::elements(value).any(|method| method.eq_ignore_ascii_case("dns/txt")) {
        Ok(())
    } else {
        Err(Problem::UnknownQueryMethod)
    }
}

/// `l=`: `1*76DIGIT`.
fn read_length(list: &TagList<'_>) -> Result<Option<u64>, Problem> {
    let Some(value) = list.value("l") else {
        return Ok(None);
    };
    match tags::number(value) {
        Some(length) if value.len() <= 76 => Ok(Some(length)),
        _ => Err(Problem::Invalid("l")),
    }
}

/// `t=` and `x=`. RFC 6376 §3.5: "implementations MAY consider any value longer than 12 digits to be
/// infinite"; "The value of the 'x=' tag MUST be greater than the value of the 't=' tag".
fn read_times(list: &TagList<'_>) -> Result<(Option<u64>, Option<u64>), Problem> {
    let time = |tag| match list.value(tag) {
        None => Ok(None),
        Some(value) => match tags::number(value) {
            Some(_) if value.len() > 12 => Ok(Some(u64::MAX)),
            Some(time) => Ok(Some(time)),
            None => Err(Problem::Invalid(tag)),
        },
    };
    let (signed_at, expires) = (time("t")?, time("x")?);
    if let (Some(signed_at), Some(expires)) = (signed_at, expires)
        && expires <= signed_at
        && expires != u64::MAX
    {
        return Err(Problem::ExpiresTooEarly);
    }
    Ok((signed_at, expires))
}

/// Octets of a DKIM-Signature field. Enough for `z=` with a copy of a whole ordinary header.
const MAX_FIELD: usize = 256 * 1024;
/// Names in `h=`.
const MAX_SIGNED: usize = 1000;
/// Characters kept of a tag that only names the signature.
const MAX_NAMED: usize = 253;
/// Characters kept of `b=`: an RSA signature of 8,192 bits.
const MAX_B: usize = 1368;
