//! The end of a message: decide, make the verdict, record it, answer. Once, in this order.
//!
//! Owns that a verdict is durable before the MTA is answered, what happens when it can't be, and that
//! every recorded verdict learns what became of its answer. What an answer looks like on the wire is
//! `reply`'s.

use super::Service;
use super::header::Removals;
use super::link::Fate;
use super::session::{Begun, Complete, Facts};
use super::settings::Settings;
use crate::auth::inquiry::Conclusion;
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::policy::decide::{MAX_FORGED, Situation, decide};
use crate::policy::reply::{Reply, reply, too_many_forged_results};
use crate::policy::rules::RuleKey;
use crate::policy::{Action, Cause, Decision, rules};
use crate::store::{OnFailure, RecordError, Skip, Store};
use crate::time::{Clock, Timestamp};
use crate::verdict::header::{Marks, VerdictHeader};
use crate::verdict::results::results_field;
use crate::verdict::{Verdict, VerdictId, Weight};
use std::sync::Arc;
use tracing::{error, info};

/// What the MTA is told at the end of a message.
pub struct Answer {
    pub removals: Removals,
    /// The value of our own Authentication-Results, folded with LF, beginning with a space.
    pub results: Option<String>,
    /// The value of the verdict header, likewise: for held mail alone.
    pub verdict_header: Option<String>,
    /// `None`: the message is accepted.
    pub refusal: Option<Reply>,
    /// The message goes to the hold queue, for this reason.
    pub hold: Option<String>,
    /// Whoever wants to know whether the answer was written.
    pub awaited: Option<Awaited>,
}

/// A recorded verdict whose answer is on its way. Dropped unsettled, the answer counts as lost.
pub struct Awaited(Option<Recorded>);

struct Recorded {
    told: Told,
    answered: OutcomeState,
    begun: Begun,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// What the log says of a verdict; the verdict itself is the store's.
struct Told {
    id: VerdictId,
    queue_id: Option<String>,
    author_domain: Option<DomainName>,
    dmarc: &'static str,
    disposition: &'static str,
    cause: &'static str,
    action: &'static str,
    rule: Option<RuleKey>,
}

/// No verdict can be made. Ours to mend.
#[derive(Debug)]
pub struct NoRandomness;

/// Judges a message of which everything is found out.
pub async fn judge<R>(complete: Complete, service: &Service<R>) -> Result<Answer, NoRandomness> {
    let (facts, conclusion, situation) = match complete {
        Complete::PassedOver { facts, skip } => return Ok(passed_over(facts, skip, service)),
        Complete::Judged {
            facts,
            conclusion,
            situation,
        } => (facts, *conclusion, situation),
    };
    let settings = Arc::clone(&facts.settings);
    let (removals, begun, body) = (facts.removals.clone(), facts.begun, facts.body);
    let (verdict, results) = verdict(facts, conclusion, situation, service)?;
    let refusal = reply(&verdict.decision, author_domain(&verdict), &settings.policy);
    let mut answer = Answer {
        removals,
        results: Some(results),
        verdict_header: verdict_header(&verdict, body, &settings),
        refusal,
        hold: held_because(&verdict),
        awaited: Some(Awaited::new(&verdict, begun, service)),
    };
    if let Err(problem) = service.store.record(Arc::new(verdict)).await {
        answer.is_not_recorded(&problem, settings.on_store_failure);
    }
    Ok(answer)
}

fn verdict<R>(
    facts: Facts,
    conclusion: Conclusion,
    situation: Situation,
    service: &Service<R>,
) -> Result<(Verdict, String), NoRandomness> {
    let now = service.clock.now();
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
    let situation = situation.with_forged_results(facts.removals.count());
    let decision = decided(&facts, &conclusion, situation, now);
    let written = results_field(
        &facts.settings.authserv_id,
        &facts.envelope,
        &conclusion.author,
        &conclusion.evidence,
        conclusion.evaluation.as_ref(),
        &decision,
    )
    .written();
    let weight = if facts.bounces_a_report {
        Weight::IncludedOnly
    } else {
        Weight::of(facts.nature, conclusion.evaluation.as_ref())
    };
    let verdict = Verdict {
        id: VerdictId::mint(now, random),
        received: now,
        message: facts.message(conclusion.author),
        envelope: facts.envelope,
        evidence: conclusion.evidence,
        evaluation: conclusion.evaluation,
        decision,
        weight,
        authentication_results: written.unfolded(),
    };
    Ok((verdict, written.folded()))
}

/// By the settings and by the rules, of which the most specific that applies at this moment counts.
fn decided(
    facts: &Facts,
    conclusion: &Conclusion,
    situation: Situation,
    now: Timestamp,
) -> Decision {
    let evaluation = conclusion.evaluation.as_ref();
    let known = evaluation.map(|evaluation| rules::Facts {
        author: &evaluation.author_domain,
        organizational_domain: evaluation.organizational_domain.as_ref(),
        client: facts.envelope.client,
        list_id: facts.list_id.as_deref(),
        evidence: &conclusion.evidence,
        recipients: &facts.recipients,
        now,
    });
    let settings = &facts.settings;
    decide(situation, known.as_ref(), &settings.policy, &settings.rules)
}

fn passed_over<R>(facts: Facts, skip: Skip, service: &Service<R>) -> Answer {
    let reason = skip.reason.as_str();
    metrics::counter!("alignd_skips_total", "reason" => reason).increment(1);
    let forged = facts.removals.count();
    // It is refused all the same: what is left of the claims would be believed.
    let overrun = forged > MAX_FORGED;
    info!(
        queue_id = facts.envelope.queue_id,
        reason,
        forged,
        refused = overrun,
        "passed over"
    );
    service.store.count_skip(skip);
    Answer {
        removals: facts.removals,
        results: None,
        verdict_header: None,
        refusal: overrun.then(|| too_many_forged_results(&facts.settings.policy)),
        hold: None,
        awaited: None,
    }
}

impl Answer {
    /// To mail that can't be judged now, through our own fault.
    pub fn try_later() -> Self {
        Self {
            removals: Removals::default(),
            results: None,
            verdict_header: None,
            refusal: Some(Reply {
                code: 451,
                enhanced: "4.3.0".to_owned(),
                text: "Message cannot be evaluated now, try again later".to_owned(),
            }),
            hold: None,
            awaited: None,
        }
    }

    /// The MTA doesn't let us hold mail: it comes again until the operator mends that.
    pub fn cannot_be_held(&mut self) {
        let mut awaited = self.awaited.take();
        let told = awaited.as_ref().and_then(Awaited::told);
        metrics::counter!("alignd_errors_total", "kind" => "hold").increment(1);
        error!(
            queue_id = told.and_then(|told| told.queue_id.as_deref()),
            verdict = told.map(|told| tracing::field::display(told.id)),
            "a message is deferred, since the MTA doesn't allow milters to quarantine mail: \
             allow it, or set policy.on_reject and the like to something else than \"hold\""
        );
        *self = Self::try_later();
        if let Some(awaited) = &mut awaited {
            awaited.will_be(OutcomeState::Tempfailed);
        }
        self.awaited = awaited;
    }

    fn is_not_recorded(&mut self, problem: &RecordError, then: OnFailure) {
        metrics::counter!("alignd_errors_total", "kind" => "store").increment(1);
        // Held without a record, it would wait in the queue with nobody to know of it.
        let then = match self.hold {
            Some(_) => OnFailure::Tempfail,
            None => then,
        };
        let mut awaited = self.awaited.take();
        let told = awaited.as_ref().and_then(Awaited::told);
        error!(
            queue_id = told.and_then(|told| told.queue_id.as_deref()),
            verdict = told.map(|told| tracing::field::display(told.id)),
            %problem,
            on_failure = %then,
            "a verdict is not recorded"
        );
        match then {
            OnFailure::Accept => {
                metrics::counter!("alignd_messages_unrecorded_total").increment(1);
            }
            OnFailure::Tempfail => {
                *self = Self::try_later();
                if let Some(awaited) = &mut awaited {
                    awaited.will_be(OutcomeState::Tempfailed);
                }
            }
        }
        match problem {
            // It may still get onto the disk.
            RecordError::Late => self.awaited = awaited,
            RecordError::DiskFull(_)
            | RecordError::QueueFull
            | RecordError::Closed
            | RecordError::Database { .. } => {
                if let Some(mut awaited) = awaited {
                    awaited.0 = None;
                }
            }
        }
    }
}

impl Awaited {
    fn new<R>(verdict: &Verdict, begun: Begun, service: &Service<R>) -> Self {
        Self(Some(Recorded {
            told: Told::of(verdict),
            answered: answered(&verdict.decision),
            begun,
            store: service.store.clone(),
            clock: Arc::clone(&service.clock),
        }))
    }

    fn told(&self) -> Option<&Told> {
        self.0.as_ref().map(|recorded| &recorded.told)
    }

    fn will_be(&mut self, answered: OutcomeState) {
        if let Some(recorded) = &mut self.0 {
            recorded.answered = answered;
        }
    }

    /// The answer was written, or lost.
    pub fn settle(mut self, fate: Fate) {
        if let Some(recorded) = self.0.take() {
            recorded.settle(fate);
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(recorded) = self.0.take() {
            recorded.settle(Fate::Lost);
        }
    }
}

impl Recorded {
    fn settle(self, fate: Fate) {
        let (state, detail) = match fate {
            Fate::Written => (self.answered, None),
            Fate::Lost => (OutcomeState::Unknown, Some("the answer was not written")),
        };
        let outcome = Outcome {
            detail: detail.map(str::to_owned),
            ..Outcome::new(state, self.clock.now(), OutcomeSource::Reply)
        };
        self.store.confirm(self.told.id, outcome);
        self.tell(state);
    }

    fn tell(&self, state: OutcomeState) {
        let told = &self.told;
        metrics::counter!(
            "alignd_messages_total",
            "result" => told.dmarc,
            "disposition" => told.disposition,
            "outcome" => state.as_str()
        )
        .increment(1);
        let seconds = self.begun.instant.elapsed().as_secs_f64();
        metrics::histogram!("alignd_message_seconds").record(seconds);
        info!(
            queue_id = told.queue_id,
            verdict = %told.id,
            author_domain = told.author_domain.as_ref().map(DomainName::as_str),
            dmarc = told.dmarc,
            disposition = told.disposition,
            cause = told.cause,
            action = told.action,
            rule = told.rule.as_ref().map(RuleKey::as_str),
            outcome = state.as_str(),
            "judged"
        );
    }
}

impl Told {
    fn of(verdict: &Verdict) -> Self {
        let evaluation = verdict.evaluation.as_ref();
        let decision = &verdict.decision;
        Self {
            id: verdict.id,
            queue_id: verdict.envelope.queue_id.clone(),
            author_domain: author_domain(verdict).cloned(),
            dmarc: evaluation.map_or("none", |e| e.result.as_str()),
            disposition: decision.disposition().as_str(),
            cause: decision.cause().as_str(),
            action: decision.action().as_str(),
            rule: decision.rule().map(|rule| rule.key.clone()),
        }
    }
}

fn answered(decision: &Decision) -> OutcomeState {
    match decision.action() {
        Action::Accept => OutcomeState::Accepted,
        Action::Hold => OutcomeState::Held,
        Action::Reject => OutcomeState::Rejected,
        Action::Tempfail => OutcomeState::Tempfailed,
    }
}

/// What ties held mail to its verdict, should it come back.
fn verdict_header(
    verdict: &Verdict,
    body: Option<[u8; 32]>,
    settings: &Settings,
) -> Option<String> {
    if verdict.decision.action() != Action::Hold {
        return None;
    }
    let (Some(body), Some(key)) = (body, &settings.site_key) else {
        // Settings that can hold have a key and ask for the body's hash, and a message keeps those it
        // began with. The mail is in the queue all the same, and can be released there.
        metrics::counter!("alignd_errors_total", "kind" => "verdict_header").increment(1);
        error!(
            queue_id = verdict.envelope.queue_id,
            verdict = %verdict.id,
            "held without a verdict header, through a fault in alignd; please report it: \
             coming back by trust.reinject, this message is judged again"
        );
        return None;
    };
    let marks = Marks {
        message_id: verdict.message.message_id.clone(),
        author_domain: author_domain(verdict).cloned(),
        body,
    };
    Some(VerdictHeader::new(verdict.id, verdict.received, &marks, key).folded())
}

/// What the MTA shows of a held message, where it shows it: Sendmail's mailq the first 60 characters.
fn held_because(verdict: &Verdict) -> Option<String> {
    match verdict.decision.action() {
        Action::Hold => {}
        Action::Accept | Action::Reject | Action::Tempfail => return None,
    }
    let domain = author_domain(verdict).map_or("", DomainName::as_str);
    let what = match verdict.decision.cause() {
        Cause::FailReject => "DMARC fail, p=reject:",
        Cause::FailQuarantine => "DMARC fail, p=quarantine:",
        Cause::FailTestMode => "DMARC fail, test mode:",
        Cause::FailNone => "DMARC fail, p=none:",
        Cause::FailBehindRelay => "DMARC fail, client unknown:",
        Cause::NoPolicy => "no DMARC policy:",
        Cause::Pass => "DMARC pass, but a local rule:",
        Cause::Temperror => "DNS failed:",
        Cause::MissingAuthor => "no From",
        Cause::MultipleAuthors => "several author domains in From",
        Cause::UnparseableAuthor => "unreadable From",
        Cause::NotEvaluatedSize => "not evaluated, too large",
        Cause::ForgedResults => "too many forged header fields",
    };
    let space = if domain.is_empty() { "" } else { " " };
    Some(format!("{what}{space}{domain} (alignd {})", verdict.id))
}

fn author_domain(verdict: &Verdict) -> Option<&DomainName> {
    match &verdict.message.author {
        Author::One(domain) => Some(domain),
        Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
    }
}
