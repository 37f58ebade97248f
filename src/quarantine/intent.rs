//! A wish as it is written down before the MTA is asked: version 1, JSON.
//!
//! Owns that form. Pure.

use super::{What, Wish};
use crate::policy::OverrideType;
use crate::policy::rules::Rule;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    wish: WireWish,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exception: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireWish {
    Release,
    Delete,
    Expire,
}

impl Wish {
    /// The document; who and when stand beside it.
    pub(super) fn write(&self) -> String {
        let (wish, because, exception) = match &self.what {
            What::Release { because, exception } => (
                WireWish::Release,
                Some(because.as_str().to_owned()),
                exception.as_ref().map(|rule| rule.to_json()),
            ),
            What::Delete => (WireWish::Delete, None, None),
            What::Expire => (WireWish::Expire, None, None),
        };
        let wire = Wire {
            v: VERSION,
            wish,
            because,
            exception,
            comment: self.comment.clone(),
        };
        // Texts only: it can always be written.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Err: what is wrong with it, which is written by a later version or damaged.
    pub(super) fn read(document: &str, by: &str) -> Result<Self, String> {
        let wire: Wire = serde_json::from_str(document).map_err(|error| error.to_string())?;
        if wire.v != VERSION {
            return Err(format!("version {}", wire.v));
        }
        let what = match wire.wish {
            WireWish::Delete => What::Delete,
            WireWish::Expire => What::Expire,
            WireWish::Release => What::Release {
                because: wire
                    .because
                    .as_deref()
                    .and_then(OverrideType::parse)
                    .ok_or("a release without its reason")?,
                exception: match wire.exception {
                    Some(rule) => {
                        let rule = Rule::parse_json(&rule).map_err(|error| error.to_string())?;
                        Some(Box::new(rule))
                    }
                    None => None,
                },
            },
        };
        Ok(Self {
            what,
            by: by.to_owned(),
            comment: wire.comment,
        })
    }
}

const VERSION: u32 = 1;
