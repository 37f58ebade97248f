//! Held messages as programs see them: the rows of `held`, which the command line's listing shows, too.
//!
//! Owns the keys of a row, and what a request for them means. Reads the store through `quarantine`.

use super::protocol::{HeldAsked, Refusal, RefusalKind};
use crate::address::ReversePath;
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::quarantine::{HeldFilter, Listed, QuarantineError, held};
use crate::store::{HeldIn, Reader, Stored};
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

/// Some of what is held, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRows {
    pub rows: Vec<HeldRow>,
    /// There are more than these.
    pub more: bool,
}

/// What is asked for.
pub fn held_rows(
    reader: &Reader,
    filter: &HeldFilter,
    now: Timestamp,
) -> Result<HeldRows, QuarantineError> {
    let Listed { messages, more } = held(reader, filter)?;
    let rows = messages.iter().map(|stored| HeldRow::of(stored, now));
    Ok(HeldRows {
        rows: rows.collect(),
        more,
    })
}

impl HeldAsked {
    /// As a filter. A condition that can't be read isn't passed over: it would list, and have deleted, too much.
    pub(super) fn filter(&self, now: Timestamp) -> Result<HeldFilter, Refusal> {
        let usage = |error: String| Refusal {
            kind: RefusalKind::Usage,
            error,
        };
        let author_domain = match self.author_domain.as_deref() {
            Some(name) => Some(
                DomainName::parse(name)
                    .map_err(|problem| usage(format!("author_domain: no domain: {problem}")))?,
            ),
            None => None,
        };
        let before = match self.older_than {
            Some(seconds) => {
                let micros = seconds.checked_mul(1_000_000);
                let micros = micros.and_then(|micros| i64::try_from(micros).ok());
                let micros =
                    micros.ok_or_else(|| usage("older_than: too many seconds".to_owned()))?;
                // Exactly so long is long enough.
                Some(now.plus_micros(1 - micros))
            }
            None => None,
        };
        Ok(HeldFilter {
            author_domain,
            before,
            place: match self.told {
                true => HeldIn::Told,
                false => HeldIn::Queue,
            },
            limit: self.limit.unwrap_or(USUAL),
        })
    }
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
