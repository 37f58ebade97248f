//! A verdict as JSON: what `check --json`, `why --json` and `messages --format json` print.
//!
//! Owns these wire types. Their keys are documented in the manual, snake_case, and stay; new ones may
//! come. Words are those of RFC 8601, 9989 and 9990. Pure.

use crate::auth::Evidence;
use crate::auth::arc::ArcEvidence;
use crate::auth::dkim::{DkimEvidence, SignatureOutcome};
use crate::auth::dmarc::{Evaluation, Finding, Identifier, Step};
use crate::auth::iprev::IprevOutcome;
use crate::auth::spf::SpfOutcome;
use crate::build_report::Traced;
use crate::cli::sentences;
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::outcome::Outcome;
use crate::policy::{PolicyOverride, RuleUse};
use crate::store::CameBack;
use crate::verdict::shape::FailureShape;
use crate::verdict::suggest::suggestions;
use crate::verdict::{Envelope, MessageFacts, Verdict};
use serde::Serialize;

/// A judged message, without where it came from.
#[derive(Debug, Serialize)]
pub struct Judged<'a> {
    author_domain: Option<&'a str>,
    /// `one`, `missing`, `several` or `unparseable`.
    author: &'static str,
    spf: Spf<'a>,
    dkim: Vec<Dkim<'a>>,
    dkim_not_tried: Vec<NotTried<'a>>,
    /// Null: not evaluated.
    arc: Option<Arc<'a>>,
    iprev: Iprev<'a>,
    dmarc: Dmarc<'a>,
    cause: &'static str,
    action: &'static str,
    /// The local rule that decided; null: the settings did.
    rule: Option<Rule<'a>>,
    /// Exceptions that would let it through, the narrowest first; not in listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestions: Option<Vec<serde_json::Value>>,
    authentication_results: &'a str,
}

#[derive(Debug, Serialize)]
struct Rule<'a> {
    key: &'a str,
    /// `exception` or `stricter`.
    effect: &'static str,
    /// Each kind of evidence that it requires, and what of the message met it.
    met: Vec<Met<'a>>,
}

#[derive(Debug, Serialize)]
struct Met<'a> {
    kind: &'static str,
    found: &'a str,
}

/// A verdict from the store.
#[derive(Debug, Serialize)]
pub struct Stored<'a> {
    id: String,
    queue_id: Option<&'a str>,
    received: String,
    client_ip: Option<String>,
    client_name: Option<&'a str>,
    relay: Option<String>,
    helo: Option<&'a str>,
    mail_from: String,
    recipient_domains: Vec<&'a str>,
    recipients: u32,
    message_id: Option<&'a str>,
    list_id: Option<&'a str>,
    size: u64,
    forged_results: u32,
    weight: &'static str,
    /// Where the message stands: the state of the last outcome.
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<Vec<History<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    came_back: Option<Back<'a>>,
    /// The report that counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
    #[serde(flatten)]
    judged: Judged<'a>,
}

/// It came back with its verdict header.
#[derive(Debug, Serialize)]
struct Back<'a> {
    at: String,
    queue_id: Option<&'a str>,
}

/// With one of `report_id` and `why_not`.
#[derive(Debug, Serialize)]
struct Report {
    number: Option<i64>,
    report_id: Option<String>,
    day: Option<String>,
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct History<'a> {
    at: String,
    state: &'static str,
    source: &'static str,
    detail: Option<&'a str>,
    by: Option<&'a str>,
    reason: Option<Reason<'a>>,
}

#[derive(Debug, Serialize)]
struct Spf<'a> {
    mailfrom: SpfIdentity<'a>,
    helo: SpfIdentity<'a>,
}

#[derive(Debug, Serialize)]
struct SpfIdentity<'a> {
    domain: &'a str,
    result: &'static str,
    grounds: String,
    term: Option<&'a str>,
    term_domain: Option<&'a str>,
    explanation: Option<&'a str>,
    record: Option<&'a str>,
    lookups: u8,
    void_lookups: u8,
}

#[derive(Debug, Serialize)]
struct Dkim<'a> {
    domain: &'a str,
    selector: &'a str,
    algorithm: &'a str,
    result: &'static str,
    grounds: String,
    identity: Option<&'a str>,
    key_bits: Option<u32>,
    testing: bool,
    unsigned_octets: u64,
    may_align: bool,
    headers_intact: bool,
}

#[derive(Debug, Serialize)]
struct NotTried<'a> {
    domain: &'a str,
    selector: &'a str,
}

/// RFC 8617. `sets` oldest first.
#[derive(Debug, Serialize)]
struct Arc<'a> {
    result: &'static str,
    sets: Vec<Sealed<'a>>,
    grounds: &'a str,
}

#[derive(Debug, Serialize)]
struct Sealed<'a> {
    instance: u8,
    sealer: &'a str,
    selector: &'a str,
}

#[derive(Debug, Serialize)]
struct Iprev<'a> {
    result: &'static str,
    name: Option<&'a str>,
    grounds: &'a str,
}

#[derive(Debug, Serialize)]
struct Dmarc<'a> {
    result: &'static str,
    policy_domain: Option<&'a str>,
    discovery_method: Option<&'static str>,
    discovery: Vec<Asked<'a>>,
    /// The policy selected, before `t`.
    policy: Option<&'static str>,
    /// The tag it was taken from.
    tag: Option<&'static str>,
    /// The policy after `t`.
    applied: Option<&'static str>,
    record: Option<&'a str>,
    alignment: Alignment,
    identifiers: Vec<Compared<'a>>,
    organizational_domain: Option<&'a str>,
    disposition: &'static str,
    reasons: Vec<Reason<'a>>,
    /// How it failed; null: it didn't.
    failure_shape: Option<&'static str>,
    grounds: &'a str,
}

#[derive(Debug, Serialize)]
struct Alignment {
    spf: bool,
    dkim: bool,
}

#[derive(Debug, Serialize)]
struct Compared<'a> {
    mechanism: &'static str,
    domain: &'a str,
    organizational_domain: Option<&'a str>,
    alignment: &'static str,
}

#[derive(Debug, Serialize)]
struct Reason<'a> {
    r#type: &'static str,
    comment: Option<&'a str>,
}

/// A name asked, with what was found there.
#[derive(Debug, Serialize)]
pub struct Asked<'a> {
    name: &'a str,
    /// `record`, `several_records`, `no_dmarc_record`, `no_data`, `nxdomain`, `name_too_long` or `error`.
    found: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Judged<'a> {
    pub fn of(verdict: &'a Verdict) -> Self {
        let Verdict {
            message,
            evidence,
            decision,
            authentication_results,
            ..
        } = verdict;
        Self {
            author_domain: author_domain(message),
            author: match message.author {
                Author::One(_) => "one",
                Author::Missing => "missing",
                Author::Several(_) => "several",
                Author::Unparseable(_) => "unparseable",
            },
            spf: spf(evidence),
            dkim: evidence.dkim.signatures.iter().map(signature).collect(),
            dkim_not_tried: not_tried(&evidence.dkim),
            arc: evidence.arc.as_ref().map(arc),
            iprev: iprev(&evidence.iprev),
            dmarc: dmarc(verdict),
            cause: decision.cause().as_str(),
            action: decision.action().as_str(),
            rule: decision.rule().map(rule),
            suggestions: None,
            authentication_results,
        }
    }
}

impl Judged<'_> {
    /// The same, with the exceptions that are suggested.
    pub fn with_suggestions(self, verdict: &Verdict) -> Self {
        let suggestions = suggestions(verdict).into_iter();
        let rules =
            suggestions.map(|s| serde_json::from_str(&s.rule.to_json()).unwrap_or_default());
        Self {
            suggestions: Some(rules.collect()),
            ..self
        }
    }
}

impl<'a> Stored<'a> {
    /// With where the message stands; `history` adds how it came there.
    pub fn of(verdict: &'a Verdict, outcomes: &'a [Outcome], history: bool) -> Self {
        let Envelope {
            queue_id,
            client,
            client_name,
            relay,
            helo,
            mail_from,
            recipient_domains,
            recipients,
            ..
        } = &verdict.envelope;
        Self {
            id: verdict.id.to_string(),
            queue_id: queue_id.as_deref(),
            received: verdict.received.to_string(),
            client_ip: client.map(|client| client.to_string()),
            client_name: client_name.as_deref(),
            relay: relay.map(|relay| relay.to_string()),
            helo: helo.as_deref(),
            mail_from: mail_from.to_string(),
            recipient_domains: recipient_domains.iter().map(DomainName::as_str).collect(),
            recipients: *recipients,
            message_id: verdict.message.message_id.as_deref(),
            list_id: verdict.message.list_id.as_deref(),
            size: verdict.message.size,
            forged_results: verdict.message.forged_results,
            weight: verdict.weight.as_str(),
            outcome: outcomes.last().map(|outcome| outcome.state.as_str()),
            outcomes: history.then(|| outcomes.iter().map(past).collect()),
            came_back: None,
            report: None,
            judged: if history {
                Judged::of(verdict).with_suggestions(verdict)
            } else {
                Judged::of(verdict)
            },
        }
    }

    /// With when it came back, if it did.
    pub fn with_return(mut self, came_back: Option<&'a CameBack>) -> Self {
        self.came_back = came_back.map(|back| Back {
            at: back.at.to_string(),
            queue_id: back.queue_id.as_deref(),
        });
        self
    }

    /// With the report that counts it, or why none does.
    pub fn with_report(mut self, traced: &Traced) -> Self {
        self.report = Some(match traced {
            Traced::Reported(report) => Report {
                number: Some(report.number.0),
                report_id: Some(report.head.id.to_string()),
                day: Some(report.head.day.to_string()),
                why_not: None,
            },
            Traced::NotReported(day, _) | Traced::NotYet(day) => Report {
                number: None,
                report_id: None,
                day: Some(day.to_string()),
                why_not: Some(sentences::report(traced)),
            },
            Traced::Never(_) => Report {
                number: None,
                report_id: None,
                day: None,
                why_not: Some(sentences::report(traced)),
            },
        });
        self
    }
}

/// The author domain, when there is exactly one.
pub fn author_domain(message: &MessageFacts) -> Option<&str> {
    match &message.author {
        Author::One(domain) => Some(domain.as_str()),
        Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
    }
}

/// The names asked for a policy, in order.
pub fn discovery(steps: &[Step]) -> Vec<Asked<'_>> {
    steps.iter().map(asked).collect()
}

fn past(outcome: &Outcome) -> History<'_> {
    History {
        at: outcome.at.to_string(),
        state: outcome.state.as_str(),
        source: outcome.source.as_str(),
        detail: outcome.detail.as_deref(),
        by: outcome.by.as_deref(),
        reason: outcome.because.as_ref().map(reason),
    }
}

fn reason(reason: &PolicyOverride) -> Reason<'_> {
    Reason {
        r#type: reason.kind.as_str(),
        comment: reason.comment.as_deref(),
    }
}

fn spf(evidence: &Evidence) -> Spf<'_> {
    Spf {
        mailfrom: identity(&evidence.spf.mail_from),
        helo: identity(&evidence.spf.helo),
    }
}

fn identity(outcome: &SpfOutcome) -> SpfIdentity<'_> {
    let grounds = &outcome.grounds;
    SpfIdentity {
        domain: &outcome.domain,
        result: outcome.result.as_str(),
        grounds: sentences::spf_grounds(outcome),
        term: grounds.matched.as_ref().map(|m| m.term.as_str()),
        term_domain: grounds.matched.as_ref().map(|m| m.domain.as_str()),
        explanation: grounds.explanation.as_deref(),
        record: grounds.record.as_deref(),
        lookups: grounds.lookups,
        void_lookups: grounds.void_lookups,
    }
}

fn signature(signature: &SignatureOutcome) -> Dkim<'_> {
    let grounds = &signature.grounds;
    Dkim {
        domain: &signature.domain,
        selector: &signature.selector,
        algorithm: &signature.algorithm,
        result: signature.result.as_str(),
        grounds: sentences::dkim_grounds(signature),
        identity: signature.identity.as_deref(),
        key_bits: grounds.key_bits,
        testing: grounds.testing,
        unsigned_octets: grounds.unsigned_octets,
        may_align: grounds.may_align,
        headers_intact: grounds.headers_intact,
    }
}

fn not_tried(evidence: &DkimEvidence) -> Vec<NotTried<'_>> {
    let signatures = evidence.not_tried.iter().map(|signature| NotTried {
        domain: &signature.domain,
        selector: &signature.selector,
    });
    signatures.collect()
}

fn iprev(outcome: &IprevOutcome) -> Iprev<'_> {
    Iprev {
        result: outcome.result.as_str(),
        name: outcome.name.as_deref(),
        grounds: &outcome.grounds,
    }
}

fn arc(evidence: &ArcEvidence) -> Arc<'_> {
    let sets = evidence.sets.iter().map(|set| Sealed {
        instance: set.instance,
        sealer: &set.sealer,
        selector: &set.selector,
    });
    Arc {
        result: evidence.result.as_str(),
        sets: sets.collect(),
        grounds: &evidence.reason,
    }
}

fn dmarc(verdict: &Verdict) -> Dmarc<'_> {
    let (evaluation, decision) = (verdict.evaluation.as_ref(), &verdict.decision);
    let policy = evaluation.and_then(|e| e.policy.as_ref());
    let org = evaluation.and_then(|e| e.organizational_domain.as_ref());
    let reasons = decision.overrides().iter().map(reason);
    Dmarc {
        result: sentences::dmarc_result(verdict).as_str(),
        policy_domain: policy.map(|p| p.domain.as_str()),
        discovery_method: policy.map(|p| p.method.as_str()),
        discovery: evaluation.map_or(Vec::new(), |e| discovery(&e.discovery)),
        policy: policy.map(|p| p.selected.as_str()),
        tag: policy.map(|p| p.tag.as_str()),
        applied: policy.map(|p| p.applied.as_str()),
        record: policy.map(|p| p.record.text.as_str()),
        alignment: Alignment {
            spf: evaluation.is_some_and(|e| e.spf.aligned),
            dkim: evaluation.is_some_and(|e| e.dkim.aligned),
        },
        identifiers: evaluation.map_or(Vec::new(), identifiers),
        organizational_domain: org.map(DomainName::as_str),
        disposition: decision.disposition().as_str(),
        reasons: reasons.collect(),
        failure_shape: FailureShape::of(verdict).map(FailureShape::as_str),
        grounds: evaluation.map_or("", |e| &e.grounds),
    }
}

fn rule(rule: &RuleUse) -> Rule<'_> {
    let met = rule.met.iter().map(|met| Met {
        kind: met.kind.as_str(),
        found: &met.found,
    });
    Rule {
        key: rule.key.as_str(),
        effect: rule.effect.as_str(),
        met: met.collect(),
    }
}

fn identifiers(evaluation: &Evaluation) -> Vec<Compared<'_>> {
    let spf = evaluation.spf.identifiers.iter().map(|i| ("spf", i));
    let dkim = evaluation.dkim.identifiers.iter().map(|i| ("dkim", i));
    let all = spf.chain(dkim);
    let compared = all.map(|(mechanism, identifier): (_, &Identifier)| Compared {
        mechanism,
        domain: identifier.domain.as_str(),
        organizational_domain: identifier
            .organizational_domain
            .as_ref()
            .map(DomainName::as_str),
        alignment: identifier.alignment.as_str(),
    });
    compared.collect()
}

fn asked(step: &Step) -> Asked<'_> {
    let mut asked = Asked {
        name: &step.name,
        found: "",
        records: Vec::new(),
        problems: Vec::new(),
        error: None,
    };
    asked.found = match &step.found {
        Finding::Record(record) => {
            asked.records.push(&record.text);
            asked
                .problems
                .extend(record.problems.iter().map(String::as_str));
            "record"
        }
        Finding::Several(records) => {
            asked.records.extend(records.iter().map(String::as_str));
            "several_records"
        }
        Finding::NotDmarc => "no_dmarc_record",
        Finding::NoData => "no_data",
        Finding::NxDomain => "nxdomain",
        Finding::TooLong => "name_too_long",
        Finding::Error(error) => {
            asked.error = Some(error.to_string());
            "error"
        }
    };
    asked
}
