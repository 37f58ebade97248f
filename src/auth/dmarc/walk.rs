//! The DNS Tree Walk, RFC 9989 §4.10, as a state machine that asks nobody: which name comes next, and
//! what do the answers so far say of policy and Organizational Domain?
//!
//! Owns the order of names and the rules of selection, those of RFC 7489 §6.6.3 with the Public
//! Suffix List included. `discover` does the asking.

use super::{DiscoveryMethod, Finding, PsdFlag, Record, Step};
use crate::dns::LookupError;
use crate::domain::DomainName;

/// The names visited so far from one domain upwards, and what each held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    start: DomainName,
    method: DiscoveryMethod,
    visits: Vec<Visit>,
}

/// One name of a walk, without its `_dmarc.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub domain: DomainName,
    pub finding: Finding,
}

/// What the walk says about the policy of the domain it started at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discovered<'w> {
    /// This record applies, usable or not, found at this domain.
    Record(&'w DomainName, &'w Record),
    Nothing,
    /// A name that had to be asked gave no answer.
    Failed(&'w Visit, LookupError),
}

impl Walk {
    pub fn new(start: DomainName, method: DiscoveryMethod) -> Self {
        Self {
            start,
            method,
            visits: Vec::new(),
        }
    }

    pub fn start(&self) -> &DomainName {
        &self.start
    }

    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    pub fn method(&self) -> DiscoveryMethod {
        self.method
    }

    pub fn add(&mut self, domain: DomainName, finding: Finding) {
        self.visits.push(Visit { domain, finding });
    }

    pub fn steps(&self) -> Vec<Step> {
        let steps = self.visits.iter().map(|visit| Step {
            name: format!("_dmarc.{}", visit.domain),
            found: visit.finding.clone(),
        });
        steps.collect()
    }

    /// The domain to be asked next; `None` at the end of the walk.
    pub fn next(&self) -> Option<DomainName> {
        let Some(last) = self.visits.last() else {
            return Some(self.start.clone());
        };
        match self.method {
            DiscoveryMethod::TreeWalk => next_in_tree(last),
            DiscoveryMethod::Psl if self.visits.len() == 1 => {
                // RFC 7489 §6.6.3 step 3: "If the set is now empty, the Mail Receiver MUST query the
                // DNS for a DMARC TXT record at the DNS domain matching the Organizational Domain
                // ... (if different)."
                let organization = registered_domain(&self.start);
                (last.finding.is_empty() && organization != self.start).then_some(organization)
            }
            DiscoveryMethod::Psl => None,
        }
    }

    /// The record that applies to the starting domain, RFC 9989 §4.10.1: its own, else that of its
    /// Organizational Domain, else that of its Public Suffix Domain.
    pub fn discovered(&self) -> Discovered<'_> {
        if let Some(Visit {
            domain,
            finding: Finding::Record(record),
        }) = self.visits.first()
        {
            return Discovered::Record(domain, record);
        }
        if let Some((visit, error)) = self.failure() {
            return Discovered::Failed(visit, error);
        }
        let organization = self.select();
        let mut records = self.records();
        let own = records.clone().find(|(domain, _)| **domain == organization);
        let suffix = || records.find(|(_, record)| self.is_suffix(record));
        match own.or_else(suffix) {
            Some((domain, record)) => Discovered::Record(domain, record),
            None => Discovered::Nothing,
        }
    }

    /// The Organizational Domain of the starting domain, RFC 9989 §4.10.2. `Ok(None)`: the walk has
    /// not come to its end.
    pub fn organizational_domain(&self) -> Result<Option<DomainName>, LookupError> {
        if self.method == DiscoveryMethod::Psl {
            return Ok(Some(registered_domain(&self.start)));
        }
        if let Some((_, error)) = self.failure() {
            return Err(error);
        }
        Ok(self.next().is_none().then(|| self.select()))
    }

    /// Whether both walks pass a name with a record and go on from there. Whatever is above it, they
    /// end at the same Organizational Domain, so a failure above it doesn't matter.
    pub fn meets(&self, other: &Walk) -> bool {
        let mut shared = self
            .records()
            .filter(|(_, record)| record.psd == PsdFlag::Unknown);
        shared.any(|(domain, _)| other.visits.iter().any(|visit| visit.domain == *domain))
    }

    /// The shortest name at which a record has been found.
    pub fn shortest_record(&self) -> Option<&DomainName> {
        self.records().last().map(|(domain, _)| domain)
    }

    /// The name that gave no answer, where the walk ended.
    pub fn failure(&self) -> Option<(&Visit, LookupError)> {
        self.visits.iter().find_map(|visit| match visit.finding {
            Finding::Error(error) => Some((visit, error)),
            Finding::Record(_)
            | Finding::Several(_)
            | Finding::NotDmarc
            | Finding::NoData
            | Finding::NxDomain
            | Finding::TooLong => None,
        })
    }

    /// "select the Organizational Domain from the domains for which valid DMARC Policy Records were
    /// retrieved from the longest to the shortest".
    fn select(&self) -> DomainName {
        if self.method == DiscoveryMethod::Psl {
            return registered_domain(&self.start);
        }
        for (domain, record) in self.records() {
            match record.psd {
                // "1. If a valid DMARC Policy Record contains the "psd" tag set to "n" ("psd=n"),
                // this is the Organizational Domain".
                PsdFlag::No => return domain.clone(),
                // "2. If a valid DMARC Policy Record, other than the one for the domain where the Tree
                // Walk started, contains the "psd" tag set to "y" ("psd=y"), the Organizational Domain
                // is the domain one label below this one".
                PsdFlag::Yes if *domain != self.start => {
                    let labels = domain.label_count().saturating_add(1);
                    return self.start.suffix(labels).unwrap_or(self.start.clone());
                }
                PsdFlag::Yes | PsdFlag::Unknown => {}
            }
        }
        // "3. Otherwise, select the DMARC Policy Record found at the name with the fewest number of
        // labels." Without any, "the initial target domain is the Organizational Domain."
        self.shortest_record().unwrap_or(&self.start).clone()
    }

    fn is_suffix(&self, record: &Record) -> bool {
        self.method == DiscoveryMethod::TreeWalk && record.psd == PsdFlag::Yes
    }

    fn records(&self) -> impl DoubleEndedIterator<Item = (&DomainName, &Record)> + Clone {
        self.visits.iter().filter_map(|visit| match &visit.finding {
            Finding::Record(record) => Some((&visit.domain, &**record)),
            Finding::Several(_)
            | Finding::NotDmarc
            | Finding::NoData
            | Finding::NxDomain
            | Finding::TooLong
            | Finding::Error(_) => None,
        })
    }
}

impl Finding {
    /// No DMARC record at all, not even too many.
    fn is_empty(&self) -> bool {
        match self {
            Self::NotDmarc | Self::NoData | Self::NxDomain | Self::TooLong => true,
            Self::Record(_) | Self::Several(_) | Self::Error(_) => false,
        }
    }
}

/// RFC 9989 §4.10 steps 2 to 7.
fn next_in_tree(last: &Visit) -> Option<DomainName> {
    match &last.finding {
        // "If a single record remains and it contains a "psd=n" or "psd=y" tag, stop."
        Finding::Record(record) if record.psd != PsdFlag::Unknown => return None,
        // What is above a name that could not be asked decides nothing.
        Finding::Error(_) => return None,
        Finding::Record(_)
        | Finding::Several(_)
        | Finding::NotDmarc
        | Finding::NoData
        | Finding::NxDomain
        | Finding::TooLong => {}
    }
    // "If x < 8, remove the left-most (highest-numbered) label from the subject domain. If x >= 8,
    // remove the left-most (highest-numbered) labels from the subject domain until 7 labels remain."
    if last.domain.label_count() < 8 {
        last.domain.parent()
    } else {
        last.domain.suffix(7)
    }
}

/// The Organizational Domain by the Public Suffix List, RFC 7489 §3.2; a public suffix is its own.
fn registered_domain(domain: &DomainName) -> DomainName {
    psl::domain_str(domain.as_str())
        .and_then(|registered| DomainName::parse(registered).ok())
        .unwrap_or_else(|| domain.clone())
}
