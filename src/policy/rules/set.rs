//! All rules in force, and which of them is for a message: the most specific one that applies.
//!
//! Owns that order and the look-up, by author domain and then by what an exception asks first, so that
//! ten thousand rules cost a message no more than ten. Pure; made anew whenever a rule changes.

use super::arc;
use super::pattern::{AuthorPattern, NamePattern, RecipientPattern};
use super::requirement::Requirements;
use super::verified::{Grounds, Met, Verified};
use super::{Effect, Rule, RuleKey};
use crate::address::Mailbox;
use crate::auth::Evidence;
use crate::domain::DomainName;
use crate::time::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

/// A rule and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRule {
    pub key: RuleKey,
    pub rule: Rule,
}

/// All rules in force, with the sealers that they may trust.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// The most specific first.
    rules: Vec<KeyedRule>,
    by_author: HashMap<AuthorPattern, Bucket>,
    trusted_sealers: Vec<DomainName>,
    names_recipients: bool,
}

/// The rules of one author pattern, by their places in `rules`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Bucket {
    anchored: HashMap<Anchor, Vec<usize>>,
    /// Those that ask for nothing that can be looked up.
    others: Vec<usize>,
}

/// One thing without which an exception can't apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Anchor {
    Signer(DomainName),
    Spf(DomainName),
    ListId(String),
    ReverseName(DomainName),
}

/// What is known of a message whose only author domain failed DMARC.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub author: &'a DomainName,
    pub organizational_domain: Option<&'a DomainName>,
    pub client: Option<IpAddr>,
    pub list_id: Option<&'a str>,
    pub evidence: &'a Evidence,
    pub recipients: &'a Recipients,
    pub now: Timestamp,
}

/// The recipients of a message, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipients {
    addresses: Vec<Mailbox>,
    /// Of recipients that only their domain is known of.
    domains: Vec<DomainName>,
    /// There is at least one more.
    some_unknown: bool,
}

/// The rule for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<'r> {
    pub key: &'r RuleKey,
    pub rule: &'r Rule,
    /// What met an exception's requirements.
    pub met: Vec<Met>,
    /// What RFC 8617 §7.2.2 wants in the report if a chain of custodians was decisive.
    pub arc: Option<String>,
}

impl RuleSet {
    /// `rules` in the order that decides where nothing else does; `trusted_sealers` of `[arc]`.
    pub fn new(
        rules: impl IntoIterator<Item = KeyedRule>,
        trusted_sealers: Vec<DomainName>,
    ) -> Self {
        let mut rules: Vec<KeyedRule> = rules.into_iter().collect();
        rules.sort_by_cached_key(|keyed| Reverse(specificity(&keyed.rule)));
        let mut by_author: HashMap<AuthorPattern, Bucket> = HashMap::new();
        for (place, KeyedRule { rule, .. }) in rules.iter().enumerate() {
            let bucket = by_author.entry(rule.author.clone()).or_default();
            match rule.requirements().and_then(anchor) {
                Some(anchor) => bucket.anchored.entry(anchor).or_default().push(place),
                None => bucket.others.push(place),
            }
        }
        Self {
            names_recipients: rules.iter().any(|k| !k.rule.recipients.is_empty()),
            rules,
            by_author,
            trusted_sealers,
        }
    }

    /// The rule that decides, if any applies.
    pub fn choose(&self, facts: &Facts<'_>) -> Option<Chosen<'_>> {
        let buckets = self.buckets(facts.author);
        if buckets.is_empty() {
            return None;
        }
        let grounds = Grounds {
            verified: Verified::of(facts.evidence),
            author: facts.author,
            organizational_domain: facts.organizational_domain,
            client: facts.client,
            list_id: facts.list_id,
            evidence: facts.evidence,
            trusted_sealers: &self.trusted_sealers,
        };
        let anchors = anchors(&grounds);
        let mut places: Vec<usize> = Vec::new();
        for bucket in buckets {
            places.extend(&bucket.others);
            let anchored = anchors.iter().filter_map(|a| bucket.anchored.get(a));
            places.extend(anchored.flatten());
        }
        places.sort_unstable();
        let candidates = places.into_iter().filter_map(|place| self.rules.get(place));
        candidates
            .into_iter()
            .find_map(|k| applies(k, facts, &grounds))
    }

    /// Whether the addresses of recipients make a difference, so that they must be known.
    pub fn names_recipients(&self) -> bool {
        self.names_recipients
    }

    /// Whether a rule can hold mail.
    pub fn can_hold(&self) -> bool {
        let hold = Effect::Stricter(super::StricterAction::Hold);
        self.rules.iter().any(|keyed| keyed.rule.effect == hold)
    }

    /// All of them, the most specific first.
    pub fn rules(&self) -> &[KeyedRule] {
        &self.rules
    }

    /// Of the author domain, of each above it, of all.
    fn buckets(&self, author: &DomainName) -> Vec<&Bucket> {
        if self.by_author.is_empty() {
            return Vec::new();
        }
        let above = std::iter::successors(author.parent(), DomainName::parent);
        let patterns = std::iter::once(AuthorPattern::Domain(author.clone()))
            .chain(above.map(AuthorPattern::Below))
            .chain([AuthorPattern::Any]);
        patterns
            .filter_map(|pattern| self.by_author.get(&pattern))
            .collect()
    }
}

impl Recipients {
    /// One more, as RCPT names it; at most 1,000 are kept.
    pub fn add(&mut self, path: &str) {
        match Mailbox::parse(path) {
            Some(mailbox) if self.addresses.len() < MAX_RECIPIENTS => self.addresses.push(mailbox),
            Some(_) | None => self.some_unknown = true,
        }
    }

    /// Of a stored message: its addresses if all of them were kept, else their domains if it is all of those.
    pub fn kept(addresses: &[String], domains: &[DomainName], count: u32) -> Self {
        let mut kept = Self::default();
        if u32::try_from(addresses.len()) == Ok(count) {
            addresses.iter().for_each(|address| kept.add(address));
        } else {
            kept.domains = domains.to_vec();
            kept.some_unknown = domains.is_empty() || domains.len() >= MAX_RECIPIENTS;
        }
        kept
    }

    /// Whether every one of them is meant.
    fn all_within(&self, patterns: &[RecipientPattern]) -> bool {
        let covered = |mailbox: &Mailbox| patterns.iter().any(|p| p.covers(mailbox));
        let is_none = self.addresses.is_empty() && self.domains.is_empty();
        !self.some_unknown
            && !is_none
            && self.addresses.iter().all(covered)
            && self
                .domains
                .iter()
                .all(|d| patterns.iter().any(|p| p.covers_domain(d)))
    }

    /// Whether one of them is meant, or may be: one that can't be read is somebody.
    fn any_within(&self, patterns: &[RecipientPattern]) -> bool {
        let covered = |mailbox: &Mailbox| patterns.iter().any(|p| p.covers(mailbox));
        self.some_unknown
            || self.addresses.iter().any(covered)
            || self
                .domains
                .iter()
                .any(|d| patterns.iter().any(|p| p.covers_domain(d)))
    }
}

fn applies<'r>(
    KeyedRule { key, rule }: &'r KeyedRule,
    facts: &Facts<'_>,
    grounds: &Grounds<'_>,
) -> Option<Chosen<'r>> {
    if rule.is_expired(facts.now) || !is_for(rule, facts.recipients) {
        return None;
    }
    let (met, arc) = match &rule.effect {
        Effect::Except(requirements) => {
            let chain = facts.evidence.arc.as_ref();
            let chain = chain.filter(|_| requirements.arc_sealer.is_some());
            (grounds.meet(requirements)?, chain.map(arc::comment))
        }
        Effect::Stricter(_) => (Vec::new(), None),
    };
    Some(Chosen {
        key,
        rule,
        met,
        arc,
    })
}

/// An exception must not let mail through to somebody whom it doesn't name; a stricter rule must not be
/// evaded by naming somebody else too.
fn is_for(rule: &Rule, recipients: &Recipients) -> bool {
    rule.recipients.is_empty()
        || match rule.effect {
            Effect::Except(_) => recipients.all_within(&rule.recipients),
            Effect::Stricter(_) => recipients.any_within(&rule.recipients),
        }
}

/// A domain before those below one, the nearer first, before all; more requirements before fewer; with
/// recipients before without.
fn specificity(rule: &Rule) -> (usize, usize, bool) {
    let author = match &rule.author {
        AuthorPattern::Any => 0,
        AuthorPattern::Below(parent) => parent.label_count(),
        AuthorPattern::Domain(_) => usize::MAX,
    };
    let requirements = rule.requirements().map_or(0, Requirements::count);
    (author, requirements, !rule.recipients.is_empty())
}

/// Any one of what it requires will do.
fn anchor(requirements: &Requirements) -> Option<Anchor> {
    let name = |pattern: &Option<NamePattern>| match pattern {
        Some(NamePattern::Name(name)) => Some(name.clone()),
        Some(NamePattern::Below(_)) | None => None,
    };
    let signer = requirements.dkim.as_ref().map(|s| s.domain.clone());
    let list = requirements.list.as_ref();
    None.or_else(|| name(&signer).map(Anchor::Signer))
        .or_else(|| name(&requirements.spf).map(Anchor::Spf))
        .or_else(|| list.map(|list| Anchor::ListId(list.id.clone())))
        .or_else(|| name(&requirements.reverse_name).map(Anchor::ReverseName))
}

/// Every anchor that rules for this message may hang on.
fn anchors(grounds: &Grounds<'_>) -> Vec<Anchor> {
    let verified = &grounds.verified;
    let mut anchors: Vec<Anchor> = Vec::new();
    for (signer, _) in &verified.signers {
        let anchor = Anchor::Signer(signer.clone());
        if !anchors.contains(&anchor) {
            anchors.push(anchor);
        }
    }
    anchors.extend(verified.spf.clone().map(Anchor::Spf));
    anchors.extend(grounds.list_id.map(|id| Anchor::ListId(id.to_owned())));
    let names = std::iter::successors(verified.reverse_name.clone(), DomainName::parent);
    anchors.extend(names.map(Anchor::ReverseName));
    anchors
}

/// Recipients that are kept for the rules.
const MAX_RECIPIENTS: usize = 1_000;
