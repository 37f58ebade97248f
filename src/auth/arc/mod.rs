//! ARC, RFC 8617: does an unbroken chain of custodians vouch for how this message was authenticated
//! before they changed it? Evidence for local policy, never a DMARC pass by itself.
//!
//! One message goes the way of DKIM, on the same core: [`Chain::read`] at the end of the header, keys
//! and body side by side, [`Chain::conclude`]. Only the newest message signature is verified; the older
//! ones may be broken (§5.2 step 5 is optional). Every seal is.
//!
//! - `set` the fields and which set they belong to · `chain` the structure, and the judging

mod chain;
mod set;

pub use chain::Chain;

use crate::domain::DomainName;
use crate::word::words;

words! {
    /// Chain Validation Status, RFC 8617 §4.4, RFC 8601 §2.7 `arc`.
    ArcResult { None = "none", Pass = "pass", Fail = "fail" }
}

/// `[arc]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArcSettings {
    /// `arc.enabled`: whether chains are validated at all.
    pub enabled: bool,
    /// `arc.trusted_sealers`: whose word exceptions may take. It changes nothing about validation.
    pub trusted_sealers: Vec<DomainName>,
}

/// What the chain of one message is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcEvidence {
    pub result: ArcResult,
    /// In order of their instances, as far as they could be read. RFC 8617 §5.2: a failed chain "MUST
    /// be treated the same as a message with no Authenticated Received Chain", so only those of a
    /// chain that passed are evidence.
    pub sets: Vec<ArcSet>,
    /// Why it failed, in a few words of fixed text; empty otherwise.
    pub reason: String,
}

/// One custodian's set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcSet {
    /// 1 to 50.
    pub instance: u8,
    /// `d=` of its ARC-Seal in A-labels, the text as found when it is no domain.
    pub sealer: String,
    /// `s=` of its ARC-Seal, as `sealer`.
    pub selector: String,
    /// What it found when the message arrived: ARC-Authentication-Results behind the instance,
    /// unfolded, at most 2,048 octets made valid UTF-8;
    /// empty in sets older than the newest ten.
    pub results: String,
}

impl Default for ArcEvidence {
    /// No chain.
    fn default() -> Self {
        Self {
            result: ArcResult::None,
            sets: Vec::new(),
            reason: String::new(),
        }
    }
}
