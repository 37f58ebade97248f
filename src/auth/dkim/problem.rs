//! Everything that can keep a signature from passing, each with its RFC 8601 result and its words.
//!
//! Owns the mapping from RFC 6376's PERMFAIL and TEMPFAIL to RFC 8601 §2.7.1, which leaves room:
//! - `neutral`: "contained syntax errors or were not otherwise able to be processed": what cannot be
//!   read, and what some other verifier might know how to process.
//! - `permerror`: "some error that is unrecoverable, such as a required header field being absent":
//!   understood, and wrong in the signature or its key record.
//! - `policy`: "some aspect of the signature or signatures was not acceptable to the ADMD": sound by
//!   RFC 6376, refused by RFC 8301, by a MAY of RFC 6376 that we take up, or by a setting.
//! - `fail`: "they failed the verification test(s)".
//!
//! The words are fixed text and numbers: nothing that a sender wrote gets into them.

use super::tags::ListProblem;
use crate::auth::DkimResult;
use crate::dns::LookupError;
use std::fmt;

/// Why a signature did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The field is longer than anyone needs.
    SignatureTooLong,
    List(ListProblem),
    Version,
    /// A tag whose value does not follow its grammar, by the tag's name.
    Invalid(&'static str),
    UnknownAlgorithm,
    UnknownCanonicalization,
    UnknownQueryMethod,
    TooManySignedFields,

    /// A required tag, by its name, that is absent or empty.
    Missing(&'static str),
    FromNotSigned,
    /// `i=` is not within `d=`.
    DomainMismatch,
    /// `x=` is not after `t=`.
    ExpiresTooEarly,
    /// `s=` and `d=` together are longer than a DNS name can be.
    KeyNameTooLong,
    NoKey,
    /// The record at the key's name is no key record, by what is wrong with it.
    KeySyntax(&'static str),
    KeyHash,
    KeyService,
    KeyRevoked,
    KeyType,
    /// `t=s`, and `i=` is a subdomain of `d=`.
    KeyStrict,
    /// The data in `p=` is no key of its type, or one that the cryptography refuses.
    KeyData,
    /// `l=` is more than there is.
    BodyTooShort,

    Sha1,
    /// Bits found, and bits required.
    KeyTooShort(u32, u32),
    KeyTooLong(u32),
    Expired,
    NotYetSigned,
    /// More From fields than `h=` covers.
    UnsignedFrom,
    HeaderTooLarge,

    Lookup(LookupError),
    /// The caller never asked for the key, or never hashed the body.
    NotEvaluated,

    BodyHash,
    Signature,
    BodyHashAndSignature,
}

impl Problem {
    /// RFC 8601 §2.7.1.
    pub fn result(self) -> DkimResult {
        match self {
            Self::SignatureTooLong
            | Self::List(_)
            | Self::Version
            | Self::Invalid(_)
            | Self::UnknownAlgorithm
            | Self::UnknownCanonicalization
            | Self::UnknownQueryMethod
            | Self::TooManySignedFields => DkimResult::Neutral,
            Self::Missing(_)
            | Self::FromNotSigned
            | Self::DomainMismatch
            | Self::ExpiresTooEarly
            | Self::KeyNameTooLong
            | Self::NoKey
            | Self::KeySyntax(_)
            | Self::KeyHash
            | Self::KeyService
            | Self::KeyRevoked
            | Self::KeyType
            | Self::KeyStrict
            | Self::KeyData
            | Self::BodyTooShort => DkimResult::Permerror,
            Self::Sha1
            | Self::KeyTooShort(..)
            | Self::KeyTooLong(_)
            | Self::Expired
            | Self::NotYetSigned
            | Self::UnsignedFrom
            | Self::HeaderTooLarge => DkimResult::Policy,
            Self::Lookup(_) | Self::NotEvaluated => DkimResult::Temperror,
            Self::BodyHash | Self::Signature | Self::BodyHashAndSignature => DkimResult::Fail,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignatureTooLong => "signature field too long",
            Self::List(ListProblem::Malformed) => "signature syntax error",
            Self::List(ListProblem::Duplicate) => "signature syntax error: a tag occurs twice",
            Self::List(ListProblem::TooMany) => "signature syntax error: too many tags",
            Self::Version => "incompatible version",
            Self::Invalid(tag) => return write!(f, "signature syntax error in {tag}="),
            Self::UnknownAlgorithm => "unknown algorithm",
            Self::UnknownCanonicalization => "unknown canonicalization",
            Self::UnknownQueryMethod => "unknown query method",
            Self::TooManySignedFields => "too many names in h=",
            Self::Missing(tag) => return write!(f, "signature missing required tag {tag}="),
            Self::FromNotSigned => "From field not signed",
            Self::DomainMismatch => "domain mismatch: i= is not within d=",
            Self::ExpiresTooEarly => "x= is not after t=",
            Self::KeyNameTooLong => "s= and d= make no DNS name",
            Self::NoKey => "no key for signature",
            Self::KeySyntax(what) => return write!(f, "key syntax error: {what}"),
            Self::KeyHash => "inappropriate hash algorithm: the key does not allow sha256",
            Self::KeyService => "no key for signature: the key is not for email",
            Self::KeyRevoked => "key revoked",
            Self::KeyType => "inappropriate key algorithm",
            Self::KeyStrict => "domain mismatch: the key wants i= and d= to be equal",
            Self::KeyData => "key syntax error: p= is no usable key",
            Self::BodyTooShort => "l= is larger than the body",
            Self::Sha1 => "rsa-sha1 is not acceptable",
            Self::KeyTooShort(bits, least) => {
                return write!(f, "RSA key of {bits} bits, {least} required");
            }
            Self::KeyTooLong(bits) => {
                return write!(f, "RSA key of {bits} bits, {MAX_RSA_BITS} allowed");
            }
            Self::Expired => "signature expired",
            Self::NotYetSigned => "signature from the future",
            Self::UnsignedFrom => "a From field is not signed",
            Self::HeaderTooLarge => "too much signed header",
            Self::Lookup(error) => return write!(f, "key unavailable: {error}"),
            Self::NotEvaluated => "not evaluated",
            Self::BodyHash => "body hash did not verify",
            Self::Signature => "signature did not verify",
            Self::BodyHashAndSignature => "body hash and signature did not verify",
        })
    }
}

/// RFC 8301 §3.2: 4,096 must be possible, "and they MAY be able to validate signatures with larger
/// keys". Verification costs the square of the length; the cryptography stops here too.
pub const MAX_RSA_BITS: u32 = 8192;
