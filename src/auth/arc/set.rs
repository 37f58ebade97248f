//! ARC header fields and the sets they make, RFC 8617 §4.1 and §4.2: finding them, and everything that
//! is wrong before any signature is looked at.
//!
//! Tag lists are read as strictly as DKIM's. The instance may stand anywhere in a seal or signature,
//! since sealers don't all write it first; in ARC-Authentication-Results it must.

use crate::auth::dkim::tags::{self, TagList};
use crate::message::HeaderField;
use std::fmt;

/// The three fields of one set, by their places among the message's fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places {
    pub results: Option<usize>,
    pub signature: Option<usize>,
    pub seal: Option<usize>,
}

/// A complete set.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    pub results: usize,
    pub signature: usize,
    pub seal: usize,
}

/// Why a chain is none, before any signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A field, by its name, without a valid instance.
    Instance(&'static str),
    /// More than one of a field in a set.
    Repeated(&'static str, u8),
    Missing(&'static str, u8),
    TooLong(&'static str, u8),
    /// RFC 8617 §5.2 step 2: an earlier receiver found the chain broken.
    SealedAsFailed,
    /// `cv=` is not what the place in the chain demands.
    Status(u8),
    /// RFC 8617 §4.1.3: "the DKIM "h" tag is NOT allowed and, if found, MUST result in a cv status of
    /// "fail"".
    SealNamesFields(u8),
}

/// Finds the sets, from 1 on without a gap. `Ok` and empty: the message has no ARC field at all.
pub fn sets(fields: &[HeaderField]) -> Result<Vec<Set>, Broken> {
    let mut found: Vec<Places> = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let Some((kind, name)) = kind_of(field) else {
            continue;
        };
        let instance = instance_of(kind, &field.value).ok_or(Broken::Instance(name))?;
        if field.value.len() > MAX_FIELD {
            return Err(Broken::TooLong(name, instance));
        }
        let at = usize::from(instance) - 1;
        if found.len() <= at {
            found.resize(at + 1, Places::default());
        }
        let set = found.get_mut(at).ok_or(Broken::Instance(name))?;
        let slot = match kind {
            Kind::Results => &mut set.results,
            Kind::Signature => &mut set.signature,
            Kind::Seal => &mut set.seal,
        };
        if slot.replace(place).is_some() {
            return Err(Broken::Repeated(name, instance));
        }
    }
    found.iter().zip(1..).map(complete).collect()
}

/// RFC 8617 §5.2 step 3 A: "Each ARC Set MUST contain exactly one each of the three ARC header fields".
fn complete((places, instance): (&Places, u8)) -> Result<Set, Broken> {
    let missing = |name| Broken::Missing(name, instance);
    Ok(Set {
        results: places.results.ok_or(missing(RESULTS))?,
        signature: places.signature.ok_or(missing(SIGNATURE))?,
        seal: places.seal.ok_or(missing(SEAL))?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Results,
    Signature,
    Seal,
}

fn kind_of(field: &HeaderField) -> Option<(Kind, &'static str)> {
    [
        (Kind::Results, RESULTS),
        (Kind::Signature, SIGNATURE),
        (Kind::Seal, SEAL),
    ]
    .into_iter()
    .find(|(_, name)| field.is(name))
}

fn instance_of(kind: Kind, value: &[u8]) -> Option<u8> {
    match kind {
        Kind::Results => {
            let head = value.get(..MAX_HEAD.min(value.len()))?;
            let end = head.iter().position(|&octet| octet == b';')?;
            instance(TagList::parse(head.get(..end)?).value("i")?)
        }
        Kind::Signature | Kind::Seal => {
            let list = TagList::parse(value.get(..MAX_FIELD.min(value.len()))?);
            instance(list.value("i")?)
        }
    }
}

/// RFC 8617 §4.2.1: "Instance tag values can range from 1-50 (inclusive)."
fn instance(value: &str) -> Option<u8> {
    let number = tags::number(value).filter(|_| value.len() <= 2)?;
    u8::try_from(number).ok().filter(|n| (1..=50).contains(n))
}

/// ARC-Authentication-Results behind its instance, unfolded and bounded.
pub fn results_text(value: &[u8]) -> String {
    let payload = value.splitn(2, |&octet| octet == b';').nth(1);
    let kept = payload
        .unwrap_or_default()
        .iter()
        .filter(|o| !matches!(o, b'\r' | b'\n'));
    let kept: Vec<u8> = kept.copied().take(MAX_RESULTS).collect();
    String::from_utf8_lossy(&kept).trim().to_owned()
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "{name} without a valid instance"),
            Self::Repeated(name, instance) => write!(f, "more than one {name} {instance}"),
            Self::Missing(name, instance) => write!(f, "no {name} {instance}"),
            Self::TooLong(name, instance) => write!(f, "{name} {instance} is too long"),
            Self::SealedAsFailed => f.write_str("the newest seal says that the chain failed"),
            Self::Status(instance) => write!(f, "wrong chain status in ARC-Seal {instance}"),
            Self::SealNamesFields(instance) => write!(f, "ARC-Seal {instance} names fields"),
        }
    }
}

const RESULTS: &str = "ARC-Authentication-Results";
const SIGNATURE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";
/// Octets of one ARC field.
const MAX_FIELD: usize = 64 * 1024;
/// Octets in which the instance of ARC-Authentication-Results must have ended.
const MAX_HEAD: usize = 1024;
/// Octets kept of ARC-Authentication-Results.
const MAX_RESULTS: usize = 2048;
