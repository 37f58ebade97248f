//! DMARC, RFC 9989: which policy applies to the author's domain, and is any identifier aligned?
//!
//! Owns the record grammar (`record`), policy discovery and organizational domains (`discover`),
//! alignment (`align`) and the verdict (`evaluate`). Discovery asks DNS; the rest is pure.

mod align;
pub mod discover;
pub mod evaluate;
pub mod record;
pub mod uri;
mod walk;

pub use discover::{DmarcFacts, gather};
pub use evaluate::evaluate;

use super::DmarcResult;
use crate::domain::DomainName;
use crate::word::words;

words! {
    /// A Domain Owner Assessment Policy, RFC 9989 §4.7 `p`.
    Policy { None = "none", Quarantine = "quarantine", Reject = "reject" }
}

words! {
    /// How the policy was looked for, RFC 9990 §3.1.1.5 `discovery_method`.
    DiscoveryMethod { TreeWalk = "treewalk", Psl = "psl" }
}

words! {
    /// `adkim` and `aspf`.
    AlignmentMode { Relaxed = "r", Strict = "s" }
}

words! {
    /// `psd`.
    PsdFlag { Yes = "y", No = "n", Unknown = "u" }
}

/// One DMARC policy record, read leniently as RFC 9989 §4.8 and §4.10.1 want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record as found, at most 4,096 octets, made valid UTF-8.
    pub text: String,
    /// `p`, or what stands in for it: `None` (the policy) when it is missing or invalid and `rua` is valid.
    pub p: Policy,
    pub sp: Option<Policy>,
    pub np: Option<Policy>,
    pub adkim: AlignmentMode,
    pub aspf: AlignmentMode,
    pub psd: PsdFlag,
    /// `t=y`.
    pub testing: bool,
    /// `fo` normalised: the values present, in the order 0 1 d s, colon-separated.
    pub fo: String,
    /// The valid URIs of `rua` in order, as written; [`uri::ReportUri`] reads them.
    pub rua: Vec<String>,
    pub ruf: Vec<String>,
    /// False: neither a valid `p` nor a valid `rua`, or a bad `sp`/`np` without one. No DMARC processing.
    pub usable: bool,
    /// What was wrong in it, one sentence each; reports carry them as `error`.
    pub problems: Vec<String>,
}

/// One name asked during discovery, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The name asked: `_dmarc.example.com`.
    pub name: String,
    pub found: Finding,
}

/// What a name of the walk held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Record(Box<Record>),
    /// More than one DMARC record: all discarded (RFC 9989 §4.10 step 2).
    Several(Vec<String>),
    /// The name has TXT records, but none is a DMARC record.
    NotDmarc,
    NoData,
    NxDomain,
    /// Not asked: `_dmarc.` and the domain don't fit into the 253 octets of a DNS name, so nothing
    /// can be published there.
    TooLong,
    Error(crate::dns::LookupError),
}

/// The policy that applies, where and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPolicy {
    /// The DMARC Policy Domain: where the record was found.
    pub domain: DomainName,
    pub method: DiscoveryMethod,
    pub record: Record,
    /// Which tag was taken: `p`, `sp` or `np`.
    pub tag: PolicyTag,
    /// The policy selected by it, before `t`.
    pub selected: Policy,
    /// After `t=y` took one level off (RFC 9989 §4.7 `t`).
    pub applied: Policy,
}

words! {
    /// The tag a policy was taken from, RFC 9989 §4.10.1.
    PolicyTag { P = "p", Sp = "sp", Np = "np" }
}

/// What DMARC concludes about one message with exactly one author domain, and every ground for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub author_domain: DomainName,
    pub result: DmarcResult,
    /// None when no usable record was found, or DNS failed on the way.
    pub policy: Option<PublishedPolicy>,
    /// The names asked for the policy, in order.
    pub discovery: Vec<Step>,
    pub spf: Alignment,
    pub dkim: Alignment,
    /// The Organizational Domain of the author domain, where it was needed.
    pub organizational_domain: Option<DomainName>,
    /// Why the result is what it is, in a sentence.
    pub grounds: String,
}

/// Alignment of one mechanism, RFC 9989 §4.4.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alignment {
    /// An identifier of this mechanism passes and is aligned.
    pub aligned: bool,
    /// Each identifier that was compared.
    pub identifiers: Vec<Identifier>,
}

/// One Authenticated Identifier, compared with the author domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    pub domain: DomainName,
    pub organizational_domain: Option<DomainName>,
    pub alignment: IdentifierAlignment,
}

words! {
    /// How close an Authenticated Identifier is to the author domain.
    IdentifierAlignment {
        /// Identical.
        Strict = "strict",
        /// The same Organizational Domain, and the policy asks no more.
        Relaxed = "relaxed",
        /// The same Organizational Domain, but the policy asks for identity.
        RelaxedOnly = "relaxed_only",
        None = "none",
        /// The walk for its Organizational Domain met a DNS error.
        Unknown = "unknown",
    }
}
