//! A rule as JSON, with the keys of the settings file: how the store keeps it and programs read it.
//!
//! Owns that form. Written in one order, so that the same rule has the same text. Read strictly: what
//! isn't understood whole, a misspelt `expires` or what a later version requires, must let no mail pass. Pure.

use super::{
    ArcSealer, AuthorPattern, Effect, ListRequirement, NamePattern, RecipientPattern, Requirements,
    Rule, RuleError, RuleTerms, Signer, StricterAction,
};
use crate::domain::DomainName;
use crate::policy::OverrideType;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleJsonError {
    /// Not JSON, or not of this shape.
    Syntax(String),
    /// What stands under this key is not understood.
    Field(&'static str, String),
    /// It is understood, but no sound rule.
    Unsound(RuleError),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleWire {
    author_domain: String,
    /// In exceptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    require: Option<RequireWire>,
    /// In stricter rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
    because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(rename = "unsafe", skip_serializing_if = "is_false")]
    is_unsafe: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequireWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    dkim: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dkim_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reverse_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arc_sealer: Option<String>,
}

impl Rule {
    /// One line of JSON, the same for the same rule.
    pub fn to_json(&self) -> String {
        // A struct of texts and flags can always be written.
        serde_json::to_string(&RuleWire::of(self)).unwrap_or_default()
    }

    /// Reads what `to_json` wrote.
    pub fn parse_json(text: &str) -> Result<Self, RuleJsonError> {
        let syntax = |error: serde_json::Error| RuleJsonError::Syntax(error.to_string());
        let wire: RuleWire = serde_json::from_str(text).map_err(syntax)?;
        Self::new(wire.read()?).map_err(RuleJsonError::Unsound)
    }
}

impl RuleWire {
    fn of(rule: &Rule) -> Self {
        let (require, action) = match &rule.effect {
            Effect::Except(requirements) => (Some(RequireWire::of(requirements)), None),
            Effect::Stricter(action) => (None, Some(action.to_string())),
        };
        Self {
            author_domain: rule.author.to_string(),
            require,
            action,
            recipients: rule.recipients.iter().map(|r| r.to_string()).collect(),
            because: rule.because.to_string(),
            comment: rule.comment.clone(),
            owner: rule.owner.clone(),
            created: rule.created.map(|at| at.to_string()),
            expires: rule.expires.map(|at| at.to_string()),
            is_unsafe: rule.is_unsafe,
        }
    }

    fn read(self) -> Result<RuleTerms, RuleJsonError> {
        let author = field("author_domain", &self.author_domain, AuthorPattern::parse)?;
        let effect = match (self.action, self.require) {
            (Some(action), None) => {
                Effect::Stricter(field("action", &action, StricterAction::parse)?)
            }
            (None, require) => Effect::Except(require.unwrap_or_default().read()?),
            (Some(action), Some(_)) => return Err(RuleJsonError::Field("action", action)),
        };
        let recipients = self.recipients.iter();
        Ok(RuleTerms {
            author,
            effect,
            recipients: recipients
                .map(|text| field("recipients", text, RecipientPattern::parse))
                .collect::<Result<_, _>>()?,
            because: match self.because.as_str() {
                "" => OverrideType::LocalPolicy,
                because => field("because", because, OverrideType::parse)?,
            },
            comment: self.comment,
            owner: self.owner,
            created: optional("created", self.created, Timestamp::parse_rfc3339)?,
            expires: optional("expires", self.expires, Timestamp::parse_rfc3339)?,
            is_unsafe: self.is_unsafe,
        })
    }
}

impl RequireWire {
    fn of(requirements: &Requirements) -> Self {
        let signer = requirements.dkim.as_ref();
        let list = requirements.list.as_ref();
        Self {
            dkim: signer.map(|signer| signer.domain.to_string()),
            dkim_selector: signer.and_then(|signer| signer.selector.clone()),
            spf: requirements.spf.as_ref().map(NamePattern::to_string),
            reverse_name: requirements.reverse_name.as_ref().map(|n| n.to_string()),
            network: requirements
                .networks
                .iter()
                .map(|n| n.to_string())
                .collect(),
            list_id: list.map(|list| list.id.clone()),
            list_domain: list.and_then(|list| list.domain.as_ref().map(|d| d.to_string())),
            arc_sealer: requirements.arc_sealer.as_ref().map(|s| s.to_string()),
        }
    }

    fn read(self) -> Result<Requirements, RuleJsonError> {
        let dkim = optional("dkim", self.dkim, NamePattern::parse)?;
        let list_domain = optional("list_domain", self.list_domain, domain)?;
        let networks = self.network.iter();
        Ok(Requirements {
            dkim: match (dkim, self.dkim_selector) {
                (None, None) => None,
                (None, Some(_)) => return Err(RuleJsonError::Unsound(RuleError::SelectorAlone)),
                (Some(domain), None) => Some(Signer {
                    domain,
                    selector: None,
                }),
                (Some(domain), Some(selector)) => {
                    let signer = |text: &str| Signer::new(domain.clone(), Some(text));
                    Some(field("dkim_selector", &selector, signer)?)
                }
            },
            spf: optional("spf", self.spf, NamePattern::parse)?,
            reverse_name: optional("reverse_name", self.reverse_name, NamePattern::parse)?,
            networks: networks
                .map(|text| field("network", text, |text| text.parse().ok()))
                .collect::<Result<_, _>>()?,
            list: match (self.list_id, list_domain) {
                (Some(id), domain) => Some(ListRequirement::new(&id, domain)),
                (None, None) => None,
                (None, Some(_)) => return Err(RuleJsonError::Unsound(RuleError::ListDomainAlone)),
            },
            arc_sealer: optional("arc_sealer", self.arc_sealer, ArcSealer::parse)?,
        })
    }
}

fn domain(text: &str) -> Option<DomainName> {
    DomainName::parse(text).ok()
}

fn optional<T>(
    key: &'static str,
    text: Option<String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, RuleJsonError> {
    text.map(|text| field(key, &text, read)).transpose()
}

fn field<T>(
    key: &'static str,
    text: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, RuleJsonError> {
    read(text).ok_or_else(|| RuleJsonError::Field(key, text.chars().take(60).collect()))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl fmt::Display for RuleJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(why) => write!(f, "no rule in JSON: {why}"),
            Self::Field(key, text) => write!(f, "{key}: {text:?} is not understood"),
            Self::Unsound(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RuleJsonError {}
