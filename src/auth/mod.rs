//! Judgement: what a message's authentication is worth. One folder per mechanism; this file holds
//! the words they share and `Evidence`, everything that was found out about one message.
//!
//! Reaches DNS only through `dns::Resolver`; is given the time; never fails, only concludes:
//! a look-up that did not succeed is the result `temperror`, but for ARC, which knows only `fail`
//! (RFC 8617 §5.2.1). RFC 8601 §2.7 has the result words.

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod inquiry;
pub mod iprev;
pub mod spf;

use crate::word::words;

/// All authentication results of one message with their grounds, as they were when it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub spf: SpfEvidence,
    pub dkim: dkim::DkimEvidence,
    pub iprev: iprev::IprevOutcome,
    /// `None`: not evaluated, since `arc.enabled` is not set.
    pub arc: Option<arc::ArcEvidence>,
}

/// SPF of both identities, RFC 7208 §2.3 and §2.4. Only `mail_from` can align.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfEvidence {
    pub mail_from: spf::SpfOutcome,
    pub helo: spf::SpfOutcome,
}

words! {
    /// RFC 8601 §2.7.2, RFC 7208 §2.6.
    SpfResult {
        None = "none", Pass = "pass", Fail = "fail", Softfail = "softfail",
        Neutral = "neutral", Temperror = "temperror", Permerror = "permerror",
    }
}

words! {
    /// RFC 8601 §2.7.1.
    DkimResult {
        None = "none", Pass = "pass", Fail = "fail", Policy = "policy",
        Neutral = "neutral", Temperror = "temperror", Permerror = "permerror",
    }
}

words! {
    /// RFC 9989 §9.1 with RFC 8601 §2.7.
    DmarcResult {
        None = "none", Pass = "pass", Fail = "fail",
        Temperror = "temperror", Permerror = "permerror",
    }
}

words! {
    /// RFC 8601 §2.7.3.
    IprevResult {
        Pass = "pass", Fail = "fail", Temperror = "temperror", Permerror = "permerror",
    }
}
