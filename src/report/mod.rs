//! Reports to domain owners: what they say, whom they are about, where they go. Pure: rows come from
//! the store, DNS through `dns::Resolver`, the time as an argument.
//!
//! - [`aggregate`]: RFC 9990, the rows and their form
//! - [`bounce`]: the signed return path of report mail
//! - [`destination`]: where reports may go, RFC 9990 §4
//! - [`period`]: when a day is due and a window open

pub mod aggregate;
pub mod bounce;
pub mod destination;
pub mod period;

use crate::domain::DomainName;
use std::fmt;

/// A Report-ID (RFC 9990 §3.5.1) with the unique-id of the file name. Derived from what the report is
/// about, so that building or sending it again gives the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReportId {
    /// Letters and digits only: `unique-id` of RFC 9990 §3.5.2, and the part before the `@`.
    pub unique: String,
    /// `identity.report_domain`.
    pub domain: DomainName,
}

impl fmt::Display for ReportId {
    /// `ridfmt`, without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.unique, self.domain)
    }
}
