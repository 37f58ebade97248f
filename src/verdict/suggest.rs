//! The exceptions that would have let a message through that failed, from what is verified of it: what an
//! operator may choose from who releases it.
//!
//! Owns which evidence makes a suggestion and their order, the narrowest first. Pure. Each is bound to
//! the author's domain, but for that of a list: its members are of any. Where a stricter rule decided, that
//! one is, too: an exception for all would not come before it.

use super::Verdict;
use super::shape::{FailureShape, list_domain};
use crate::domain::DomainName;
use crate::policy::rules::{
    AuthorPattern, EvidenceKind, ListRequirement, NamePattern, Requirements, Rule, RuleTerms,
    Signer, Verified,
};
use crate::policy::{OverrideType, RuleEffect, RuleUse};
use ipnet::IpNet;

/// An exception that the evidence of a message supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    pub kind: EvidenceKind,
    /// Without owner and end: those are for whoever takes it.
    pub rule: Rule,
}

/// The narrowest first; empty where nothing is verified, or nothing failed.
pub fn suggestions(verdict: &Verdict) -> Vec<Suggestion> {
    let (Some(shape), Some(evaluation)) = (FailureShape::of(verdict), &verdict.evaluation) else {
        return Vec::new();
    };
    let author = AuthorPattern::Domain(evaluation.author_domain.clone());
    let verified = Verified::of(&verdict.evidence);
    let list = list_domain(verdict, &verified);
    let because = if shape.is_forwarding() {
        OverrideType::TrustedForwarder
    } else {
        OverrideType::LocalPolicy
    };
    let of_domain = |domain: &DomainName| {
        if Some(domain) == list {
            OverrideType::MailingList
        } else {
            because
        }
    };
    let mut made = Vec::new();
    for domain in signers(&verified) {
        let requirements = signed_by(domain);
        let because = of_domain(domain);
        made.extend(suggestion(
            EvidenceKind::Dkim,
            &author,
            requirements,
            because,
        ));
    }
    if let Some(domain) = verified
        .spf
        .as_ref()
        .filter(|_| !lets_everybody_send(verdict))
    {
        let requirements = Requirements {
            spf: Some(NamePattern::Name(domain.clone())),
            ..Requirements::default()
        };
        let because = of_domain(domain);
        made.extend(suggestion(
            EvidenceKind::Spf,
            &author,
            requirements,
            because,
        ));
    }
    if let (Some(domain), Some(id)) = (list, &verdict.message.list_id) {
        let requirements = Requirements {
            list: Some(ListRequirement::new(id, Some(domain.clone()))),
            ..Requirements::default()
        };
        let stricter = |rule: &RuleUse| rule.effect == RuleEffect::Stricter;
        let members = match verdict.decision.rule().is_some_and(stricter) {
            true => author.clone(),
            false => AuthorPattern::Any,
        };
        let because = OverrideType::MailingList;
        made.extend(suggestion(
            EvidenceKind::List,
            &members,
            requirements,
            because,
        ));
    }
    if let Some(name) = &verified.reverse_name {
        let requirements = Requirements {
            reverse_name: Some(NamePattern::Name(name.clone())),
            ..Requirements::default()
        };
        made.extend(suggestion(
            EvidenceKind::ReverseName,
            &author,
            requirements,
            because,
        ));
    }
    if let Some(client) = verdict.envelope.client {
        let requirements = Requirements {
            networks: vec![IpNet::from(client.to_canonical())],
            ..Requirements::default()
        };
        made.extend(suggestion(
            EvidenceKind::Network,
            &author,
            requirements,
            because,
        ));
    }
    made
}

/// Each domain once; nobody takes one of many.
fn signers(verified: &Verified) -> Vec<&DomainName> {
    let mut domains: Vec<&DomainName> = Vec::new();
    for (domain, _) in &verified.signers {
        if !domains.contains(&domain) && domains.len() < MAX_SIGNERS {
            domains.push(domain);
        }
    }
    domains
}

fn signed_by(domain: &DomainName) -> Requirements {
    Requirements {
        dkim: Some(Signer {
            domain: NamePattern::Name(domain.clone()),
            selector: None,
        }),
        ..Requirements::default()
    }
}

fn suggestion(
    kind: EvidenceKind,
    author: &AuthorPattern,
    requirements: Requirements,
    because: OverrideType,
) -> Option<Suggestion> {
    let terms = RuleTerms {
        because,
        ..RuleTerms::exception(author.clone(), requirements)
    };
    let rule = Rule::new(terms).ok()?;
    Some(Suggestion { kind, rule })
}

/// SPF passed since the record lets every client send: that verifies nobody.
fn lets_everybody_send(verdict: &Verdict) -> bool {
    let matched = verdict.evidence.spf.mail_from.grounds.matched.as_ref();
    matched.is_some_and(|matched| {
        let term = matched.term.trim_start_matches('+');
        term.eq_ignore_ascii_case("all")
    })
}

/// Signing domains that are suggested.
const MAX_SIGNERS: usize = 3;
