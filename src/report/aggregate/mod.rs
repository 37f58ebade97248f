//! Aggregate reports, RFC 9990: what one says, by what it is known, and its bytes.
//!
//! Owns the report's words as types. Rows come folded: one for each different content, with a count.
//!
//! - `policy`: which records are one policy
//! - `id`: Report-ID, period, file name
//! - [`xml`]: the report
//! - [`mail`]: the message that carries it

mod id;
pub mod mail;
mod policy;
pub mod xml;

use super::ReportId;
use crate::auth::dmarc::{AlignmentMode, DiscoveryMethod, Policy, PsdFlag};
use crate::auth::{DkimResult, SpfResult};
use crate::domain::DomainName;
use crate::policy::{Disposition, PolicyOverride};
use crate::time::UtcDay;
use crate::word::words;
use std::net::IpAddr;

words! {
    /// `report.format`
    Format {
        /// RFC 9990, namespace `urn:ietf:params:xml:ns:dmarc-2.0`.
        Rfc9990 = "rfc9990",
        /// RFC 7489 Appendix C, for those who cannot read the new one.
        Rfc7489 = "rfc7489",
    }
}

/// Everything of a report but its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub reporter: Reporter,
    pub id: ReportId,
    /// The UTC day the report is about.
    pub day: UtcDay,
    /// What was wrong in the policy record, RFC 9990 §3.1.5: one sentence each.
    pub errors: Vec<String>,
    /// The DMARC Policy Domain.
    pub policy_domain: DomainName,
    pub policy: NormalisedPolicy,
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporter {
    /// `identity.org_name`
    pub org_name: String,
    /// `identity.contact`: an address, for `email`.
    pub contact: String,
    /// `identity.report_domain`: the submitter, and the domain of Report-ID and From.
    pub domain: DomainName,
}

/// A published policy, reduced to what makes two reports of one domain and day: records that differ
/// in order, white space or unknown tags are one policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalisedPolicy {
    pub p: Policy,
    pub sp: Option<Policy>,
    pub np: Option<Policy>,
    pub adkim: AlignmentMode,
    pub aspf: AlignmentMode,
    /// As [`crate::auth::dmarc::Record::fo`].
    pub fo: String,
    /// `t=y`
    pub testing: bool,
    pub psd: PsdFlag,
    pub method: DiscoveryMethod,
}

/// One `record` element: messages alike in everything that is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub source_ip: IpAddr,
    /// Messages, at least 1.
    pub count: u64,
    pub evaluated: PolicyEvaluated,
    pub header_from: DomainName,
    /// The domain of MAIL FROM; empty for the null path, `None` when it was unreadable.
    pub envelope_from: Option<String>,
    /// Only with `report.envelope_to`, and when all recipients had one domain.
    pub envelope_to: Option<DomainName>,
    /// In the order of RFC 9990 §3.1.3.
    pub dkim: Vec<DkimRow>,
    /// `None`: SPF was not evaluated for MAIL FROM.
    pub spf: Option<SpfRow>,
}

/// `policy_evaluated`, RFC 9990 §3.1.1.9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyEvaluated {
    pub disposition: Disposition,
    /// An aligned DKIM signature passed.
    pub dkim: bool,
    /// SPF passed for an aligned domain.
    pub spf: bool,
    pub reasons: Vec<PolicyOverride>,
}

/// `dkim` of `auth_results`, RFC 9990 §3.1.1.12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimRow {
    pub domain: String,
    pub selector: String,
    pub result: DkimResult,
    /// In a few words, why it is no pass; empty: nothing to say.
    pub human_result: String,
}

/// `spf` of `auth_results`, RFC 9990 §3.1.1.13, scope `mfrom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfRow {
    pub domain: String,
    pub result: SpfResult,
    pub human_result: String,
}
