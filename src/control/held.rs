//! Held messages as programs see them: the rows of `held`, which the command line's listing shows, too.
//!
//! Owns the keys of a row. Reads the store through `quarantine`.

use super::protocol::HeldAsked;
use crate::address::ReversePath;
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::quarantine::{HeldFilter, QuarantineError, held};
use crate::store::{Reader, Stored};
use crate::time::Timestamp;
use crate::verdict::grounds;
use crate::verdict::suggest::suggestions;
use serde::Serialize;

/// One held message. Keys are stable; there may come more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldRow {
    /// The verdict's id.
    pub id: String,
    pub queue_id: Option<String>,
    pub received: String,
    pub age_seconds: i64,
    /// Null: not exactly one.
    pub author_domain: Option<String>,
    /// The domain of MAIL FROM: empty for the null path.
    pub envelope_from: Option<String>,
    pub recipient_domains: Vec<String>,
    pub recipients: u32,
    pub cause: &'static str,
    /// In few words: what failed.
    pub grounds: String,
    pub size: u64,
    /// The narrowest exception that would have let it pass; null where nothing is verified.
    pub suggestion: Option<String>,
}

/// What is asked for, oldest first.
pub fn held_rows(
    reader: &Reader,
    asked: &HeldAsked,
    now: Timestamp,
) -> Result<Vec<HeldRow>, QuarantineError> {
    let older_than = asked.older_than.and_then(|s| i64::try_from(s).ok());
    let filter = HeldFilter {
        author_domain: asked
            .author_domain
            .as_deref()
            .and_then(|name| DomainName::parse(name).ok()),
        before: older_than.map(|seconds| now.plus_micros(-seconds.saturating_mul(1_000_000))),
        limit: asked.limit.unwrap_or(USUAL).min(MOST),
    };
    let found = held(reader, &filter)?;
    Ok(found
        .iter()
        .map(|stored| HeldRow::of(stored, now))
        .collect())
}

impl HeldRow {
    pub fn of(stored: &Stored, now: Timestamp) -> Self {
        let verdict = &stored.verdict;
        let envelope = &verdict.envelope;
        let age = now.micros().saturating_sub(verdict.received.micros());
        Self {
            id: verdict.id.to_string(),
            queue_id: envelope.queue_id.clone(),
            received: verdict.received.to_string(),
            age_seconds: age.max(0) / 1_000_000,
            author_domain: match &verdict.message.author {
                Author::One(domain) => Some(domain.to_string()),
                Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
            },
            envelope_from: match &envelope.mail_from {
                ReversePath::Null => Some(String::new()),
                ReversePath::Mailbox(mailbox) => Some(mailbox.domain.to_string()),
                ReversePath::Unparseable(_) => None,
            },
            recipient_domains: envelope
                .recipient_domains
                .iter()
                .map(DomainName::to_string)
                .collect(),
            recipients: envelope.recipients,
            cause: verdict.decision.cause().as_str(),
            grounds: grounds::in_short(verdict),
            size: verdict.message.size,
            suggestion: suggestions(verdict)
                .into_iter()
                .next()
                .map(|suggestion| suggestion.rule.to_string()),
        }
    }
}

const USUAL: usize = 1_000;
const MOST: usize = 10_000;
