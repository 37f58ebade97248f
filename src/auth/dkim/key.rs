//! Key records, RFC 6376 §3.6.1 and §6.1.2, RFC 8463 §4.2: read once, kept parsed.
//!
//! Owns the record's grammar, what a record forbids, the parsed public keys and the bounded cache of
//! them. The cache is keyed by the record's text, so it can never be stale and needs no clock; how
//! long a record lives is the resolver's business. Asks no DNS.

use super::problem::{MAX_RSA_BITS, Problem};
use super::signature::{Algorithm, Signature};
use super::tags::{self, ListProblem, TagList};
use crate::dns::TxtRecord;
use aws_lc_rs::digest::Digest;
use aws_lc_rs::rsa::{PublicKey as RsaPublicKey, RsaParameters};
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A well-formed key record.
#[derive(Debug)]
pub struct Key {
    /// `h=` names sha256 or is absent.
    allows_sha256: bool,
    /// `s=` names email or everything.
    is_for_email: bool,
    /// `t=s`: `i=` must be in `d=` itself.
    is_strict: bool,
    /// `t=y`.
    pub is_testing: bool,
    material: Material,
}

#[derive(Debug)]
enum Material {
    /// `p=` is empty.
    Revoked,
    /// `k=` is neither rsa nor ed25519.
    UnknownType,
    /// The data is no such key.
    Unusable(Algorithm),
    Rsa {
        bits: u32,
        key: ParsedPublicKey,
    },
    Ed25519(ParsedPublicKey),
}

/// Parsed key records, shared by all messages. Bounded: when the newer half is full, the older half,
/// what was not used since, is dropped.
pub struct KeyCache {
    half: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    newer: HashMap<Box<[u8]>, Reading>,
    older: HashMap<Box<[u8]>, Reading>,
}

/// A record as read: a key, or what is wrong with it.
pub type Reading = Result<Arc<Key>, Problem>;

impl KeyCache {
    /// Keeps up to `capacity` records, at least 2.
    pub fn new(capacity: usize) -> Self {
        Self {
            half: (capacity / 2).max(1),
            generations: Mutex::default(),
        }
    }

    /// Reads a record, or finds it read.
    pub fn read(&self, record: &TxtRecord) -> Reading {
        if let Some(reading) = self.find(record.as_bytes()) {
            return reading;
        }
        // Not under the lock: two messages may both read a new record, to the same effect.
        let reading = Key::parse(record.as_bytes()).map(Arc::new);
        if record.as_bytes().len() <= MAX_RECORD {
            self.keep(record.as_bytes().into(), reading.clone());
        }
        reading
    }

    fn find(&self, record: &[u8]) -> Option<Reading> {
        // A panic elsewhere cannot leave a map half changed: `HashMap`'s calls are the only ones.
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = generations.newer.get(record) {
            return Some(reading.clone());
        }
        let (record, reading) = generations.older.remove_entry(record)?;
        generations.insert(record, reading.clone(), self.half);
        Some(reading)
    }

    fn keep(&self, record: Box<[u8]>, reading: Reading) {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record, reading, self.half);
    }
}

impl Default for KeyCache {
    /// Room for 4,096 records, some 16 MiB when full of RSA-2048 keys.
    fn default() -> Self {
        Self::new(4096)
    }
}

impl Generations {
    fn insert(&mut self, record: Box<[u8]>, reading: Reading, half: usize) {
        if self.newer.len() >= half {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(record, reading);
    }
}

impl Key {
    fn parse(record: &[u8]) -> Result<Self, Problem> {
        if record.len() > MAX_RECORD {
            return Err(Problem::KeySyntax("the record is too long"));
        }
        let list = TagList::parse(record);
        match list.problem {
            None => {}
            Some(ListProblem::Duplicate) => return Err(Problem::KeySyntax("a tag occurs twice")),
            Some(ListProblem::Malformed | ListProblem::TooMany) => {
                return Err(Problem::KeySyntax("malformed tag list"));
            }
        }
        // RFC 6376 §3.6.1: "This tag MUST be the first tag in the record. Records beginning with a
        // "v=" tag with any other value MUST be discarded."
        match list.position("v") {
            None | Some(0) => {}
            Some(_) => return Err(Problem::KeySyntax("v= is not first")),
        }
        if list.value("v").is_some_and(|version| version != "DKIM1") {
            return Err(Problem::KeySyntax("v= is not DKIM1"));
        }
        let data = list.value("p").ok_or(Problem::KeySyntax("p= is missing"))?;
        let data = tags::base64(data).ok_or(Problem::KeySyntax("p= is not base64"))?;
        Ok(Self {
            allows_sha256: names(&list, "h", &["sha256"]).unwrap_or(true),
            is_for_email: names(&list, "s", &["email", "*"]).unwrap_or(true),
            is_strict: names(&list, "t", &["s"]).unwrap_or(false),
            is_testing: names(&list, "t", &["y"]).unwrap_or(false),
            material: Material::parse(list.value("k").unwrap_or("rsa"), &data),
        })
    }

    /// The size of an RSA key in bits, 256 for Ed25519.
    pub fn bits(&self) -> Option<u32> {
        match self.material {
            Material::Revoked | Material::UnknownType | Material::Unusable(_) => None,
            Material::Rsa { bits, .. } => Some(bits),
            Material::Ed25519(_) => Some(256),
        }
    }

    /// Verifies `signature` over the header's hash, in the order of RFC 6376 §6.1.2 and §6.1.3.
    pub fn verify(
        &self,
        signature: &KeyUse,
        header: &Digest,
        min_rsa_bits: u32,
    ) -> Result<(), Problem> {
        if !self.is_for_email {
            return Err(Problem::KeyService);
        }
        if !self.allows_sha256 {
            return Err(Problem::KeyHash);
        }
        let key = self.suitable(signature.algorithm, min_rsa_bits)?;
        if self.is_strict && signature.identity_below {
            return Err(Problem::KeyStrict);
        }
        match signature.algorithm {
            Algorithm::RsaSha256 => key.verify_digest_sig(header, &signature.signature),
            // RFC 8463 §3: "It signs the hash with the PureEdDSA variant Ed25519".
            Algorithm::Ed25519Sha256 => key.verify_sig(header.as_ref(), &signature.signature),
        }
        .map_err(|_| Problem::Signature)
    }

    fn suitable(
        &self,
        algorithm: Algorithm,
        min_rsa_bits: u32,
    ) -> Result<&ParsedPublicKey, Problem> {
        match (&self.material, algorithm) {
            (Material::Revoked, _) => Err(Problem::KeyRevoked),
            (Material::Unusable(of), wanted) if *of == wanted => Err(Problem::KeyData),
            (Material::Rsa { bits, key }, Algorithm::RsaSha256) => {
                // RFC 8301 §3.2: "Verifiers MUST NOT consider signatures using RSA keys of less than
                // 1024 bits as valid signatures", whatever the settings say.
                let least = min_rsa_bits.max(1024);
                if *bits < least {
                    Err(Problem::KeyTooShort(*bits, least))
                } else if *bits > MAX_RSA_BITS {
                    Err(Problem::KeyTooLong(*bits))
                } else {
                    Ok(key)
                }
            }
            (Material::Ed25519(key), Algorithm::Ed25519Sha256) => Ok(key),
            (
                Material::UnknownType
                | Material::Unusable(_)
                | Material::Rsa { .. }
                | Material::Ed25519(_),
                _,
            ) => Err(Problem::KeyType),
        }
    }
}

/// What a key has to know of a signature.
#[derive(Debug)]
pub struct KeyUse {
    algorithm: Algorithm,
    identity_below: bool,
    signature: Vec<u8>,
}

impl KeyUse {
    pub fn new(algorithm: Algorithm, identity_below: bool, signature: Vec<u8>) -> Self {
        Self {
            algorithm,
            identity_below,
            signature,
        }
    }
}

impl From<Signature<'_>> for KeyUse {
    fn from(of: Signature<'_>) -> Self {
        Self::new(of.algorithm, of.identity_below, of.signature)
    }
}

impl Material {
    fn parse(kind: &str, data: &[u8]) -> Self {
        if data.is_empty() {
            Self::Revoked
        } else if kind.eq_ignore_ascii_case("rsa") {
            parse_rsa(data).unwrap_or(Self::Unusable(Algorithm::RsaSha256))
        } else if kind.eq_ignore_ascii_case("ed25519") {
            parse_ed25519(data).unwrap_or(Self::Unusable(Algorithm::Ed25519Sha256))
        } else {
            Self::UnknownType
        }
    }
}

/// RFC 6376 §3.6.1 says RSAPublicKey, its appendix C and everybody publish SubjectPublicKeyInfo
/// (errata 3017): both are read.
fn parse_rsa(data: &[u8]) -> Option<Material> {
    let public = RsaPublicKey::from_der(data).ok()?;
    let bits = RsaParameters::public_modulus_len(public.as_ref()).ok()?;
    let algorithm = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    let key = ParsedPublicKey::new(algorithm, public.as_ref()).ok()?;
    Some(Material::Rsa { bits, key })
}

/// RFC 8463 §4.2: "The p= value in the key record is the Ed25519 public key encoded in base64. Since
/// the key is 256 bits long, the base64 text is 44 octets long."
fn parse_ed25519(data: &[u8]) -> Option<Material> {
    if data.len() != 32 {
        return None;
    }
    ParsedPublicKey::new(&ED25519, data)
        .ok()
        .map(Material::Ed25519)
}

/// Whether a colon-separated list has one of `words`, `None` when the tag is absent. What is not
/// recognized in it is ignored; an empty value "explicitly designates the empty string".
fn names(list: &TagList<'_>, tag: &str, words: &[&str]) -> Option<bool> {
    let is_wanted = |element: &str| words.iter().any(|word| element.eq_ignore_ascii_case(word));
    Some(tags::elements(list.value(tag)?).any(is_wanted))
}

/// Octets of a key record: twice what an RSA key of 16,384 bits takes.
const MAX_RECORD: usize = 8192;
