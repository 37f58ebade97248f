//! The local rule that decided about a message, as its document holds it: the rule's key and what met
//! its requirements. The rule itself may change or be gone by the time this is read.

use super::{Text, read_word};
use crate::policy::rules::{EvidenceKind, Met, RuleKey};
use crate::policy::{RuleEffect, RuleUse};
use crate::store::error::ReadError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The local rule that decided.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleWire<'a> {
    pub key: Text<'a>,
    pub effect: Text<'a>,
    /// Each kind of evidence that was required, and what was found of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub met: Vec<(Text<'a>, Text<'a>)>,
}

impl<'a> RuleWire<'a> {
    pub fn of(rule: &'a RuleUse) -> Self {
        let met = rule.met.iter();
        Self {
            key: rule.key.as_str().into(),
            effect: rule.effect.as_str().into(),
            met: met
                .map(|met| (met.kind.as_str().into(), Cow::from(&met.found)))
                .collect(),
        }
    }

    pub fn read(self) -> Result<RuleUse, ReadError> {
        let met = self.met.into_iter().map(|(kind, found)| {
            Ok(Met {
                kind: read_word("evidence", &kind, EvidenceKind::parse)?,
                found: found.into_owned(),
            })
        });
        Ok(RuleUse {
            key: read_word("rule", &self.key, RuleKey::parse)?,
            effect: read_word("rule's effect", &self.effect, RuleEffect::parse)?,
            met: met.collect::<Result<_, ReadError>>()?,
        })
    }
}
