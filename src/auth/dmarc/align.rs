//! Identifier Alignment, RFC 9989 §4.4 and §4.10.2: how close is a domain to the author's?
//!
//! Owns the comparison, from what DNS has said already. Pure. Whether an identifier authenticates
//! anything is `evaluate`'s question.

use super::discover::DmarcFacts;
use super::walk::Walk;
use super::{AlignmentMode, DiscoveryMethod, Identifier, IdentifierAlignment};
use crate::domain::DomainName;

/// Compares `domain` with the author domain under the mode that the policy asks for.
pub(super) fn compare(facts: &DmarcFacts, domain: &DomainName, mode: AlignmentMode) -> Identifier {
    let (closeness, organizational_domain) = closeness(facts, domain);
    let alignment = match (closeness, mode) {
        (Closeness::Same, AlignmentMode::Relaxed | AlignmentMode::Strict) => {
            IdentifierAlignment::Strict
        }
        (Closeness::SameOrganization, AlignmentMode::Relaxed) => IdentifierAlignment::Relaxed,
        (Closeness::SameOrganization, AlignmentMode::Strict) => IdentifierAlignment::RelaxedOnly,
        (Closeness::Unknown, AlignmentMode::Relaxed) => IdentifierAlignment::Unknown,
        // RFC 9989 §4.10.2: under strict alignment "a simple string comparison ... is all that is
        // required": a name that differs isn't aligned, whatever DNS would have said.
        (Closeness::Unknown, AlignmentMode::Strict)
        | (Closeness::Apart, AlignmentMode::Relaxed | AlignmentMode::Strict) => {
            IdentifierAlignment::None
        }
    };
    Identifier {
        domain: domain.clone(),
        organizational_domain,
        alignment,
    }
}

impl IdentifierAlignment {
    /// Aligned as far as the policy asks.
    pub fn is_aligned(self) -> bool {
        match self {
            Self::Strict | Self::Relaxed => true,
            Self::RelaxedOnly | Self::None | Self::Unknown => false,
        }
    }
}

#[derive(Clone, Copy)]
enum Closeness {
    Same,
    SameOrganization,
    Apart,
    /// DNS did not tell.
    Unknown,
}

/// How close the two are, and the Organizational Domain of `domain` where it is known.
fn closeness(facts: &DmarcFacts, domain: &DomainName) -> (Closeness, Option<DomainName>) {
    let author = &facts.author;
    let organization = author.organizational_domain();
    if domain == author.start() {
        return (Closeness::Same, organization.ok().flatten());
    }
    if domain.suffix(1) != author.start().suffix(1) {
        return (Closeness::Apart, None);
    }
    if author.method() == DiscoveryMethod::Psl {
        return by_list(author, domain);
    }
    // An Organizational Domain is the domain itself or above it.
    if let Ok(Some(organization)) = &organization
        && !domain.is_within(organization)
    {
        return (Closeness::Apart, None);
    }
    let Some(walk) = facts.others.iter().find(|walk| walk.start() == domain) else {
        return (Closeness::Unknown, None);
    };
    match (organization, walk.organizational_domain()) {
        (Ok(Some(ours)), Ok(Some(theirs))) if ours == theirs => {
            (Closeness::SameOrganization, Some(theirs))
        }
        (Ok(Some(_)), Ok(Some(theirs))) => (Closeness::Apart, Some(theirs)),
        (_, Ok(Some(theirs))) if !author.start().is_within(&theirs) => {
            (Closeness::Apart, Some(theirs))
        }
        (_, theirs) if author.meets(walk) => (Closeness::SameOrganization, theirs.ok().flatten()),
        (_, theirs) => (Closeness::Unknown, theirs.ok().flatten()),
    }
}

/// RFC 7489 §3.2: the list knows every Organizational Domain.
fn by_list(author: &Walk, domain: &DomainName) -> (Closeness, Option<DomainName>) {
    let walk = Walk::new(domain.clone(), DiscoveryMethod::Psl);
    let ours = author.organizational_domain().ok().flatten();
    let theirs = walk.organizational_domain().ok().flatten();
    let closeness = if ours == theirs {
        Closeness::SameOrganization
    } else {
        Closeness::Apart
    };
    (closeness, theirs)
}
