//! The operator's own rules: exceptions, which let mail through that failed DMARC but is verified in
//! another way, and rules that are stricter than what a domain owner publishes.
//!
//! Owns what a rule may say and what makes one sound. Pure; knows neither the file nor the store that a
//! rule is kept in. An exception that requires nothing verifiable can't be made unless it says `unsafe`.
//!
//! - `pattern` whose mail, for whom · `requirement` what must be verified · `json` the stored form
//! - `verified` what a message has of it · `arc` custodians' word for it · `set` which rule decides

mod arc;
mod json;
mod pattern;
mod requirement;
mod set;
mod verified;

pub use json::RuleJsonError;
pub use pattern::{AuthorPattern, NamePattern, RecipientPattern};
pub use requirement::{ArcSealer, ListRequirement, Requirements, Signer};
pub use set::{Chosen, Facts, KeyedRule, Recipients, RuleSet};
pub use verified::{EvidenceKind, Met, Verified};

use super::OverrideType;
use crate::time::Timestamp;
use crate::word::words;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What a rule says, as it is written down. [`Rule::new`] makes a rule of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTerms {
    pub author: AuthorPattern,
    pub effect: Effect,
    /// Only mail whose recipients these are; empty: whoever they are.
    pub recipients: Vec<RecipientPattern>,
    /// The reason that reports give (RFC 9990 §3.1.6); of stricter rules always `local_policy`.
    pub because: OverrideType,
    /// The operator's own words. They stay here: reports have fixed wording.
    pub comment: Option<String>,
    pub owner: Option<String>,
    pub created: Option<Timestamp>,
    /// From this second on it is as if there were no such rule.
    pub expires: Option<Timestamp>,
    /// It may require nothing that can be verified.
    pub is_unsafe: bool,
}

/// What a rule does with mail that fails DMARC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It is accepted if all of this is found.
    Except(Requirements),
    /// It is held or rejected, whatever the domain owner asks for.
    Stricter(StricterAction),
}

words! {
    /// What a stricter rule does. It never softens what the settings do anyway.
    StricterAction { Hold = "hold", Reject = "reject" }
}

/// A sound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(RuleTerms);

/// A rule's name: in listings, in the log, with the verdicts that it decided. At most 64 characters,
/// ASCII letters in lower case, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleKey(Arc<str>);

/// Why terms make no rule. The operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleError {
    NothingVerifiable,
    /// `dkim_selector` without `dkim`.
    SelectorAlone,
    /// `list_domain` without `list_id`.
    ListDomainAlone,
    /// That the domain owner is testing is nothing an operator can say.
    TestModeIsNoReason,
    /// A stricter rule has no other reason than local policy.
    StricterBecause,
    /// This field is too long or not on one line.
    Text(&'static str),
    TooMany(&'static str, usize),
}

impl RuleTerms {
    /// An exception without recipients, owner or end, for the reason `local_policy`.
    pub fn exception(author: AuthorPattern, requirements: Requirements) -> Self {
        Self::of(author, Effect::Except(requirements))
    }

    /// A stricter rule without recipients, owner or end.
    pub fn stricter(author: AuthorPattern, action: StricterAction) -> Self {
        Self::of(author, Effect::Stricter(action))
    }

    fn of(author: AuthorPattern, effect: Effect) -> Self {
        Self {
            author,
            effect,
            recipients: Vec::new(),
            because: OverrideType::LocalPolicy,
            comment: None,
            owner: None,
            created: None,
            expires: None,
            is_unsafe: false,
        }
    }
}

impl Rule {
    /// The rule that these terms make. Times are cut to whole seconds.
    pub fn new(mut terms: RuleTerms) -> Result<Self, RuleError> {
        for (field, text) in [("comment", &terms.comment), ("owner", &terms.owner)] {
            if text.as_deref().is_some_and(|text| !is_line(text)) {
                return Err(RuleError::Text(field));
            }
        }
        if terms.recipients.len() > MAX_RECIPIENTS {
            return Err(RuleError::TooMany("recipients", MAX_RECIPIENTS));
        }
        if terms.because == OverrideType::PolicyTestMode {
            return Err(RuleError::TestModeIsNoReason);
        }
        match &terms.effect {
            Effect::Except(requirements) => {
                requirements.check()?;
                if !terms.is_unsafe && !requirements.is_verifiable() {
                    return Err(RuleError::NothingVerifiable);
                }
            }
            Effect::Stricter(_) if terms.because != OverrideType::LocalPolicy => {
                return Err(RuleError::StricterBecause);
            }
            Effect::Stricter(_) => {}
        }
        let whole = |at: Timestamp| Timestamp::from_seconds(at.seconds());
        terms.created = terms.created.map(whole);
        terms.expires = terms.expires.map(whole);
        Ok(Self(terms))
    }

    /// What it says; to make another rule of.
    pub fn terms(&self) -> &RuleTerms {
        &self.0
    }

    /// Whether it has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Whether it is an exception that anything must be found for.
    pub fn asks_for_evidence(&self) -> bool {
        self.requirements().is_some_and(|r| r.count() > 0)
    }

    /// What must be found for it to apply; of a stricter rule nothing.
    pub fn requirements(&self) -> Option<&Requirements> {
        match &self.effect {
            Effect::Except(requirements) => Some(requirements),
            Effect::Stricter(_) => None,
        }
    }
}

impl Deref for Rule {
    type Target = RuleTerms;

    fn deref(&self) -> &RuleTerms {
        &self.0
    }
}

impl RuleKey {
    /// Of a rule in the settings: a digest of what it decides, so that it stays the same when the file is
    /// put in another order, on every host, and when owner, comment, reason or end change.
    pub fn config(rule: &Rule) -> Self {
        let deciding = RuleTerms {
            recipients: rule.recipients.clone(),
            ..RuleTerms::of(rule.author.clone(), rule.effect.clone())
        };
        let digest = digest(&SHA256, Rule(deciding).to_json().as_bytes());
        let digits = digest.as_ref().iter().take(5);
        let digits: String = digits.map(|octet| format!("{octet:02x}")).collect();
        Self(format!("config-{digits}").into())
    }

    /// Of a rule in the store, by its number there.
    pub fn stored(id: i64) -> Self {
        Self(format!("stored-{id}").into())
    }

    /// The number in the store, if it is of a rule there.
    pub fn stored_id(&self) -> Option<i64> {
        self.0.strip_prefix("stored-")?.parse().ok()
    }

    pub fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_key = matches!(text.len(), 1..=64) && text.bytes().all(fits);
        is_key.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In words: `exception for bank.example with dkim lists.example, to example.org`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.effect {
            Effect::Except(requirements) => {
                write!(f, "exception for {} with {requirements}", self.author)?;
            }
            Effect::Stricter(action) => write!(f, "{action} for {}", self.author)?,
        }
        for (at, recipient) in self.recipients.iter().enumerate() {
            let before = if at == 0 { ", to" } else { " or" };
            write!(f, "{before} {recipient}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingVerifiable => f.write_str(
                "nothing that it requires can be verified, so anyone could use it: require dkim, spf, \
                 reverse_name, network, list_id with list_domain, or arc_sealer (a public suffix or \
                 every address verifies nothing); or say unsafe = true",
            ),
            Self::SelectorAlone => f.write_str("dkim_selector needs dkim, the domain it belongs to"),
            Self::ListDomainAlone => f.write_str(
                "list_domain needs list_id; to require just the domain, use dkim or spf",
            ),
            Self::TestModeIsNoReason => f.write_str(
                "policy_test_mode is what the domain owner says with t=y; use local_policy, \
                 mailing_list, trusted_forwarder or other",
            ),
            Self::StricterBecause => {
                f.write_str("the reason of a stricter rule is always local_policy")
            }
            Self::Text(field) => {
                write!(f, "{field} must be one line of at most {MAX_TEXT} characters")
            }
            Self::TooMany(field, most) => write!(f, "{field} may have at most {most} entries"),
        }
    }
}

impl std::error::Error for RuleError {}

fn is_line(text: &str) -> bool {
    text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// Characters of a comment or an owner.
const MAX_TEXT: usize = 255;
/// Recipients that one rule names.
const MAX_RECIPIENTS: usize = 1_000;

#[cfg(test)]
mod tests;
