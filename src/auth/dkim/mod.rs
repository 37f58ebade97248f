//! DKIM, RFC 6376 with RFC 8301 (no SHA-1, 1024 bits at least), RFC 8463 (Ed25519) and RFC 8616
//! (internationalized mail): who vouches for this message, and does it still say what they signed?
//!
//! One message goes `Signatures::read` at the end of the headers, then side by side `look_up_keys`
//! and a `BodyHasher` that takes the body as it passes and keeps nothing of it, then `conclude`.
//! Every signature yields a result; none is passed over in silence.
//!
//! - `verify` the way through, and the judging
//! - `signature`, `key` what stands in the header and in DNS; `tags` the syntax they share
//! - `header`, `body` the two hashes; `canon` what is hashed
//! - `problem` everything that keeps a signature from passing, with its result word

pub(super) mod body;
pub(super) mod canon;
pub(super) mod header;
pub(super) mod key;
pub(super) mod problem;
pub(super) mod signature;
pub(super) mod tags;
pub(super) mod verify;

pub use body::{BodyHasher, BodyHashes, BodyRequest};
pub use key::KeyCache;
pub use verify::{Keys, Signatures};

use super::DkimResult;

/// What the operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimSettings {
    /// `dkim.max_signatures`: signatures tried on one message.
    pub max_signatures: usize,
    /// `dkim.allow_body_length`: a pass may align although `l=` leaves part of the body unsigned.
    pub allow_body_length: bool,
    /// `dkim.min_rsa_bits`: shorter RSA keys don't pass. Below 1,024 it has no effect (RFC 8301 §3.2).
    pub min_rsa_bits: u32,
}

impl Default for DkimSettings {
    fn default() -> Self {
        Self {
            max_signatures: 10,
            allow_body_length: false,
            min_rsa_bits: 1024,
        }
    }
}

/// All signatures of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DkimEvidence {
    /// Those that were tried, in the order of the message, top first.
    pub signatures: Vec<SignatureOutcome>,
    /// Those beyond the bound, named only.
    pub not_tried: Vec<NotTried>,
}

/// What one DKIM-Signature field is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureOutcome {
    /// `d=` in A-labels; the text as found when it is no domain; empty when absent.
    pub domain: String,
    /// `s=`, as `domain`.
    pub selector: String,
    /// `i=` when present and readable.
    pub identity: Option<String>,
    /// `a=` as found; empty when absent.
    pub algorithm: String,
    /// The first characters of `b=` (RFC 6008), for `header.b`: 8, more if needed to tell two apart.
    pub b_prefix: String,
    pub result: DkimResult,
    pub grounds: DkimGrounds,
}

/// Why a signature's result is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DkimGrounds {
    /// In a few words, as it stands in `reason=`: "body hash did not verify". Empty for a plain pass.
    pub reason: String,
    /// Bits of the RSA key, 256 for Ed25519, when a key was found.
    pub key_bits: Option<u32>,
    /// The key record says `t=y`: the domain is testing (RFC 6376 §3.6.1).
    pub testing: bool,
    /// `l=` left this many octets of the body unsigned (0 without `l=`).
    pub unsigned_octets: u64,
    /// A pass that may align. False for a pass with unsigned octets unless allowed by the settings.
    pub may_align: bool,
    /// The signature itself verified although the body hash did not: what a mailing list's footer
    /// leaves behind. Only `fail` results can have it.
    pub headers_intact: bool,
}

/// A signature that was not tried because of `dkim.max_signatures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTried {
    pub domain: String,
    pub selector: String,
}
