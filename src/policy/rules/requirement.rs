//! What an exception requires: how mail must be verified although it fails DMARC.
//!
//! Owns which requirements there are and whether they verify anything. Pure. What a message has of
//! them is found out elsewhere.

use super::RuleError;
use super::pattern::NamePattern;
use crate::domain::DomainName;
use ipnet::IpNet;
use std::fmt;

/// All that is set must be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// A DKIM signature of this domain that passes (RFC 6376) and covers the whole body.
    pub dkim: Option<Signer>,
    /// SPF passes for MAIL FROM in this domain (RFC 7208).
    pub spf: Option<NamePattern>,
    /// The client's reverse name, confirmed forward (RFC 8601 §3 `iprev`), is this or below it.
    pub reverse_name: Option<NamePattern>,
    /// The client's address is in one of these; none: anywhere.
    pub networks: Vec<IpNet>,
    pub list: Option<ListRequirement>,
    /// An unbroken chain of custodians whose newest is this one (RFC 8617), which found that the author's
    /// domain was authenticated.
    pub arc_sealer: Option<ArcSealer>,
}

/// Who signed: `d=`, and `s=` if it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    pub domain: NamePattern,
    pub selector: Option<String>,
}

/// A mailing list by its List-Id (RFC 2919), which anyone can write: only with a domain that is verified
/// by DKIM or by SPF of MAIL FROM does it say anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequirement {
    /// Without brackets, in lower case.
    pub id: String,
    /// This domain or one below it is verified. `None`: only in exceptions that verify otherwise, or not
    /// at all.
    pub domain: Option<DomainName>,
}

/// Which sealer of those that `arc.trusted_sealers` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArcSealer {
    /// `*`: any of them.
    Trusted,
    Named(DomainName),
}

impl Requirements {
    /// How many kinds of evidence are required.
    pub fn count(&self) -> usize {
        let signer = self.dkim.as_ref();
        [
            signer.is_some(),
            signer.is_some_and(|signer| signer.selector.is_some()),
            self.spf.is_some(),
            self.reverse_name.is_some(),
            !self.networks.is_empty(),
            self.list.is_some(),
            self.list.as_ref().is_some_and(|list| list.domain.is_some()),
            self.arc_sealer.is_some(),
        ]
        .into_iter()
        .filter(|is_required| *is_required)
        .count()
    }

    /// Whether any of it is more than a sender can write at will.
    pub fn is_verifiable(&self) -> bool {
        let list_domain = self.list.as_ref().and_then(|list| list.domain.as_ref());
        self.dkim.as_ref().is_some_and(|s| is_somebodys(&s.domain))
            || self.spf.as_ref().is_some_and(is_somebodys)
            || self
                .reverse_name
                .as_ref()
                .is_some_and(|name| !is_public(name.domain()))
            || self.has_bounded_network()
            || list_domain.is_some_and(|domain| !is_public(domain))
            || self.arc_sealer.is_some()
    }

    pub(super) fn check(&self) -> Result<(), RuleError> {
        if self.networks.len() > MAX_NETWORKS {
            return Err(RuleError::TooMany("network", MAX_NETWORKS));
        }
        let id = self.list.as_ref().map(|list| list.id.as_str());
        if id.is_some_and(|id| !is_list_id(id)) {
            return Err(RuleError::Text("list_id"));
        }
        Ok(())
    }

    /// Whether it names networks that don't together hold every address of a family.
    fn has_bounded_network(&self) -> bool {
        let merged = IpNet::aggregate(&self.networks);
        !merged.is_empty() && merged.iter().all(|network| network.prefix_len() > 0)
    }
}

impl ListRequirement {
    /// In lower case, without brackets, as messages' are read.
    pub fn new(id: &str, domain: Option<DomainName>) -> Self {
        let id = id.trim();
        let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
        Self {
            id: inner.unwrap_or(id).to_lowercase(),
            domain,
        }
    }
}

impl Signer {
    /// Reads `domain`, `.domain` or either with `/selector`.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, selector) = match text.split_once('/') {
            Some((domain, selector)) => (domain, Some(selector)),
            None => (text, None),
        };
        Self::new(NamePattern::parse(domain)?, selector)
    }

    /// `None`: the selector is none (RFC 6376 §3.1).
    pub fn new(domain: NamePattern, selector: Option<&str>) -> Option<Self> {
        let selector = match selector {
            Some(selector) => Some(DomainName::parse(selector).ok()?.to_string()),
            None => None,
        };
        Some(Self { domain, selector })
    }
}

impl ArcSealer {
    /// Reads `*` or a domain.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Trusted),
            name => DomainName::parse(name).ok().map(Self::Named),
        }
    }
}

/// Every name below a public suffix is everybody.
fn is_somebodys(name: &NamePattern) -> bool {
    match name {
        NamePattern::Name(_) => true,
        NamePattern::Below(parent) => !is_public(parent),
    }
}

fn is_public(domain: &DomainName) -> bool {
    psl::suffix_str(domain.as_str()) == Some(domain.as_str())
}

fn is_list_id(id: &str) -> bool {
    matches!(id.len(), 1..=255) && !id.chars().any(|c| c.is_control() || c.is_whitespace())
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Some(selector) => write!(f, "{}/{selector}", self.domain),
            None => self.domain.fmt(f),
        }
    }
}

impl fmt::Display for ArcSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("*"),
            Self::Named(domain) => domain.fmt(f),
        }
    }
}

/// In words, each with what it asks for: `dkim list.example and list_id news.list.example`.
impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.dkim.as_ref().map(|signer| format!("dkim {signer}")));
        parts.extend(self.spf.as_ref().map(|domain| format!("spf {domain}")));
        let reverse = self.reverse_name.as_ref();
        parts.extend(reverse.map(|name| format!("reverse_name {name}")));
        if !self.networks.is_empty() {
            let networks: Vec<String> = self.networks.iter().map(IpNet::to_string).collect();
            parts.push(format!("network {}", networks.join(" or ")));
        }
        if let Some(list) = &self.list {
            parts.push(format!("list_id {}", list.id));
            let domain = list.domain.as_ref();
            parts.extend(domain.map(|domain| format!("list_domain {domain}")));
        }
        let sealer = self.arc_sealer.as_ref();
        parts.extend(sealer.map(|sealer| format!("arc_sealer {sealer}")));
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join(" and "))
    }
}

/// Networks that one rule names.
const MAX_NETWORKS: usize = 100;
