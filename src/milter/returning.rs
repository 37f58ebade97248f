//! Mail that comes back from `trust.reinject` with the header of its verdict: another filter had it, or an
//! operator sent it on from elsewhere.
//!
//! Owns who may come back, and that a message which does isn't judged again: its verdict holds, and the
//! results that the first judging wrote stay in it. A header that isn't this message's, or is used up, or
//! comes from elsewhere, changes nothing.

use super::Service;
use super::header::Removals;
use super::judge::Answer;
use super::session::Facts;
use crate::auth::dkim::{BodyHasher, BodyRequest};
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::message::author::{Author, author};
use crate::message::identifiers::message_id;
use crate::policy::decide::MAX_FORGED;
use crate::store::{CameBack, Skip, SkipReason, TakenBack};
use crate::verdict::VerdictId;
use crate::verdict::header::{Marks, VERDICT_HEADER, VerdictHeader};
use tracing::{debug, error, info};

/// A message whose header says that it came back.
pub struct Returning {
    header: VerdictHeader,
    message_id: Option<String>,
    author_domain: Option<DomainName>,
    body: BodyHasher,
}

impl Returning {
    /// Of several verdict headers the topmost counts: ours is put there.
    pub fn begin(fields: &[HeaderField]) -> Option<Self> {
        let field = fields.iter().find(|field| field.is(VERDICT_HEADER))?;
        Some(Self {
            header: VerdictHeader::parse(&field.value)?,
            message_id: message_id(fields),
            author_domain: match author(fields) {
                Author::One(domain) => Some(domain),
                Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
            },
            body: BodyHasher::new([BodyRequest::RELAXED]),
        })
    }

    /// The next octets of the body.
    pub fn body(&mut self, octets: &[u8]) {
        self.body.update(octets);
    }

    /// The end of the message: the answer, if this is the message that the header was made for, for the
    /// first time. `None`: it is judged as any other.
    pub async fn answer<R>(self, facts: &Facts, service: &Service<R>) -> Option<Answer> {
        // So many that some would stay: refused by whoever judges it.
        if facts.removals.count() > MAX_FORGED {
            return None;
        }
        let queue_id = facts.envelope.queue_id.clone();
        let id = self.verified(facts, service)?;
        let back = CameBack {
            at: service.clock.now(),
            queue_id: queue_id.clone(),
        };
        match service.store.take_back(id, back).await {
            Ok(TakenBack::Taken) => Some(taken(id, facts, service)),
            Ok(
                because
                @ (TakenBack::UsedBefore | TakenBack::NotOut(_) | TakenBack::UnknownVerdict),
            ) => {
                info!(queue_id, verdict = %id, ?because, "a verdict header is not honoured");
                None
            }
            // Whether it is used up isn't known: judged now, it might count twice.
            Err(problem) => {
                metrics::counter!("alignd_errors_total", "kind" => "store").increment(1);
                error!(queue_id, verdict = %id, %problem, "a message that came back is deferred");
                Some(Answer::try_later())
            }
        }
    }

    fn verified<R>(self, facts: &Facts, service: &Service<R>) -> Option<VerdictId> {
        let id = self.header.id();
        let marks = Marks {
            message_id: self.message_id,
            author_domain: self.author_domain,
            body: self.body.finish().whole(BodyRequest::RELAXED)?,
        };
        let key = facts.settings.site_key.as_ref()?;
        match self.header.check(&marks, key, service.clock.now()) {
            Ok(()) => Some(id),
            Err(because) => {
                let queue_id = facts.envelope.queue_id.as_deref();
                debug!(queue_id, verdict = %id, %because, "a verdict header is not honoured");
                None
            }
        }
    }
}

fn taken<R>(id: VerdictId, facts: &Facts, service: &Service<R>) -> Answer {
    let reason = SkipReason::Reinjected;
    metrics::counter!("alignd_skips_total", "reason" => reason.as_str()).increment(1);
    let queue_id = facts.envelope.queue_id.as_deref();
    info!(queue_id, verdict = %id, "came back with its verdict");
    service.store.count_skip(Skip {
        at: facts.begun.at,
        reason,
        author_domain: None,
        recipient_domains: Vec::new(),
    });
    Answer {
        removals: Removals {
            results: Vec::new(),
            ..facts.removals.clone()
        },
        results: None,
        verdict_header: None,
        refusal: None,
        hold: None,
        awaited: None,
    }
}
