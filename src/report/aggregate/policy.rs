//! Which published policies are the same for a report: `NormalisedPolicy` of a record.
//!
//! Pure. RFC 9990 §3.1: "A single report MUST contain data for one policy configuration."

use super::NormalisedPolicy;
use crate::auth::dmarc::{DiscoveryMethod, Policy, Record};

impl NormalisedPolicy {
    /// The policy of a record that was found by `method`.
    pub fn of(record: &Record, method: DiscoveryMethod) -> Self {
        Self {
            p: record.p,
            sp: record.sp,
            np: record.np,
            adkim: record.adkim,
            aspf: record.aspf,
            fo: record.fo.clone(),
            testing: record.testing,
            psd: record.psd,
            method,
        }
    }

    /// RFC 9989 §4.7 `sp`: absent, "the policy specified by the "p" tag MUST be applied".
    pub fn for_subdomains(&self) -> Policy {
        self.sp.unwrap_or(self.p)
    }

    /// RFC 9989 §4.7 `np`: absent, that of `sp` if there is one, else that of `p`.
    pub fn for_missing_subdomains(&self) -> Policy {
        self.np.unwrap_or(self.for_subdomains())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::dmarc::record;

    fn of(text: &str) -> NormalisedPolicy {
        let record = record::parse(text.as_bytes()).expect("a DMARC record");
        NormalisedPolicy::of(&record, DiscoveryMethod::TreeWalk)
    }

    #[test]
    fn what_makes_another_policy() {
        let reference = of("v=DMARC1; p=reject; rua=mailto:a@example.com");
        for (text, same) in [
            ("v=DMARC1;p=reject;rua=mailto:a@example.com;", true),
            ("v=DMARC1; rua=mailto:b@example.com; P=Reject", true),
            ("v=DMARC1; p=reject; pct=50; ri=3600; x=y", true),
            (
                "v=DMARC1; p=reject; adkim=r; aspf=r; fo=0; t=n; psd=u",
                true,
            ),
            ("v=DMARC1; p=reject; sp=reject", false),
            ("v=DMARC1; p=reject; np=reject", false),
            ("v=DMARC1; p=quarantine", false),
            ("v=DMARC1; p=reject; adkim=s", false),
            ("v=DMARC1; p=reject; aspf=s", false),
            ("v=DMARC1; p=reject; fo=1", false),
            ("v=DMARC1; p=reject; t=y", false),
            ("v=DMARC1; p=reject; psd=n", false),
        ] {
            assert_eq!(of(text) == reference, same, "{text}");
        }
    }

    #[test]
    fn what_is_absent_has_its_default() {
        for (text, sp, np) in [
            ("v=DMARC1; p=reject", Policy::Reject, Policy::Reject),
            ("v=DMARC1; p=reject; sp=none", Policy::None, Policy::None),
            ("v=DMARC1; p=none; np=reject", Policy::None, Policy::Reject),
            (
                "v=DMARC1; p=none; sp=quarantine; np=reject",
                Policy::Quarantine,
                Policy::Reject,
            ),
        ] {
            let policy = of(text);
            let found = (policy.for_subdomains(), policy.for_missing_subdomains());
            assert_eq!(found, (sp, np), "{text}");
        }
    }
}
