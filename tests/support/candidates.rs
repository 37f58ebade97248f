//! The domains that could align, as DMARC's discovery is asked about them.

use crate::evidence::Results;
use alignd::domain::DomainName;

/// Every one, whether or not it passed.
pub fn candidates(results: &Results) -> Vec<DomainName> {
    let spf = results.spf.iter().map(|spf| spf.domain.as_str());
    let signatures = results.dkim.signatures.iter();
    spf.chain(signatures.map(|signature| signature.domain.as_str()))
        .filter_map(|name| DomainName::parse(name).ok())
        .collect()
}
