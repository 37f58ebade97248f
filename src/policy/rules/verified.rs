//! What of a message is verified, whether or not it is aligned: the only ground that exceptions stand on.
//!
//! Owns that selection from the evidence, and what of it meets a requirement. Pure. A signature counts
//! as for alignment: not with an `l=` that leaves part of the body unsigned, unless that is allowed.

use super::arc::{self, Vouched};
use super::pattern::NamePattern;
use super::requirement::{ArcSealer, ListRequirement, Requirements, Signer};
use crate::auth::{DkimResult, Evidence, IprevResult, SpfResult};
use crate::domain::DomainName;
use crate::word::words;
use std::net::IpAddr;

/// The identities that are verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// `d=` and `s=` of each signature that passes, the message's order, each once.
    pub signers: Vec<(DomainName, String)>,
    /// Of MAIL FROM, or of HELO for the null path (RFC 7208 §2.4).
    pub spf: Option<DomainName>,
    /// The client's reverse name, confirmed forward.
    pub reverse_name: Option<DomainName>,
}

words! {
    /// A kind of evidence, by its key in `require`.
    EvidenceKind {
        Dkim = "dkim", Spf = "spf", ReverseName = "reverse_name", Network = "network",
        List = "list_id", ArcSealer = "arc_sealer",
    }
}

/// One requirement, and what of the message met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    pub kind: EvidenceKind,
    /// `list.example s=2026`, `192.0.2.7`, `news.list.example by list.example`.
    pub found: String,
}

/// What exceptions may look at.
pub(super) struct Grounds<'a> {
    pub verified: Verified,
    pub author: &'a DomainName,
    pub organizational_domain: Option<&'a DomainName>,
    pub client: Option<IpAddr>,
    pub list_id: Option<&'a str>,
    pub evidence: &'a Evidence,
    pub trusted_sealers: &'a [DomainName],
}

impl Verified {
    pub fn of(evidence: &Evidence) -> Self {
        let mut signers: Vec<(DomainName, String)> = Vec::new();
        for signature in &evidence.dkim.signatures {
            let is_sound = signature.result == DkimResult::Pass && signature.grounds.may_align;
            let Some(domain) = is_sound.then(|| domain(&signature.domain)).flatten() else {
                continue;
            };
            let signer = (domain, signature.selector.clone());
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
        let spf = &evidence.spf.mail_from;
        let name = evidence.iprev.name.as_deref();
        Self {
            signers,
            spf: (spf.result == SpfResult::Pass)
                .then(|| domain(&spf.domain))
                .flatten(),
            reverse_name: name
                .filter(|_| evidence.iprev.result == IprevResult::Pass)
                .and_then(domain),
        }
    }

    /// A verified domain that is `domain` or below it: by signature, else by SPF.
    pub fn within(&self, domain: &DomainName) -> Option<&DomainName> {
        let signers = self.signers.iter().map(|(signer, _)| signer);
        signers.chain(&self.spf).find(|name| name.is_within(domain))
    }
}

impl Grounds<'_> {
    /// What met each requirement; `None` unless all are met.
    pub fn meet(&self, requirements: &Requirements) -> Option<Vec<Met>> {
        let Requirements {
            dkim,
            spf,
            reverse_name,
            networks,
            list,
            arc_sealer,
        } = requirements;
        let mut met = Vec::new();
        if let Some(signer) = dkim {
            met.push(self.signed_by(signer)?);
        }
        if let Some(pattern) = spf {
            let name = self.verified.spf.as_ref();
            let name = name.filter(|name| pattern.covers(name))?;
            met.push(Met::new(EvidenceKind::Spf, name.to_string()));
        }
        if let Some(pattern) = reverse_name {
            met.push(self.reverse_name(pattern)?);
        }
        if !networks.is_empty() {
            let client = self.client?.to_canonical();
            networks.iter().find(|network| network.contains(&client))?;
            met.push(Met::new(EvidenceKind::Network, client.to_string()));
        }
        if let Some(list) = list {
            met.push(self.list(list)?);
        }
        if let Some(sealer) = arc_sealer {
            let vouched = self.vouched(sealer)?;
            met.push(Met::new(EvidenceKind::ArcSealer, vouched.to_string()));
        }
        Some(met)
    }

    fn signed_by(&self, wanted: &Signer) -> Option<Met> {
        let fits = |selector: &str| {
            let wanted = wanted.selector.as_deref();
            wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(selector))
        };
        let mut signers = self.verified.signers.iter();
        let (domain, selector) =
            signers.find(|(domain, selector)| wanted.domain.covers(domain) && fits(selector))?;
        Some(Met::new(
            EvidenceKind::Dkim,
            format!("{domain} s={selector}"),
        ))
    }

    fn reverse_name(&self, pattern: &NamePattern) -> Option<Met> {
        let name = self.verified.reverse_name.as_ref();
        let name = name.filter(|name| pattern.is_suffix_of(name))?;
        Some(Met::new(EvidenceKind::ReverseName, name.to_string()))
    }

    fn list(&self, list: &ListRequirement) -> Option<Met> {
        let id = self.list_id.filter(|id| *id == list.id)?;
        let found = match &list.domain {
            None => id.to_owned(),
            Some(domain) => format!("{id} by {}", self.verified.within(domain)?),
        };
        Some(Met::new(EvidenceKind::List, found))
    }

    fn vouched(&self, sealer: &ArcSealer) -> Option<Vouched> {
        let chain = self.evidence.arc.as_ref()?;
        let trusts = |name: &DomainName| {
            let is_meant = match sealer {
                ArcSealer::Trusted => true,
                ArcSealer::Named(one) => one == name,
            };
            is_meant && self.trusted_sealers.contains(name)
        };
        let trusted = |name: &DomainName| self.trusted_sealers.contains(name);
        let organization = self.organizational_domain.unwrap_or(self.author);
        arc::vouched(chain, trusts, trusted, self.author, organization)
    }
}

impl Met {
    fn new(kind: EvidenceKind, found: String) -> Self {
        Self { kind, found }
    }
}

fn domain(text: &str) -> Option<DomainName> {
    DomainName::parse(text).ok()
}
