//! A verdict as the writer takes it: its columns, and the digests of what it shares with others.
//!
//! Owns the projection from `Verdict` to row. Done by whoever records, so that the one writer's
//! thread has nothing left to do but to insert. Pure.

use crate::address::ReversePath;
use crate::auth::dmarc::{Finding, Record};
use crate::message::author::Author;
use crate::store::shared::{self, Digest, Document};
use crate::store::wire::Detail;
use crate::verdict::Verdict;
use std::net::IpAddr;
use std::sync::Arc;

/// One row of `verdict` with its `detail`, ready to be inserted.
#[derive(Debug)]
pub(super) struct Row {
    /// Columns that are a field of it are taken from here.
    pub verdict: Arc<Verdict>,
    /// 4 or 16 octets.
    pub source_ip: Option<Vec<u8>>,
    pub envelope_to: Document,
    pub auth_results: Document,
    /// The digests of `records(&verdict)`, in that order.
    pub records: Vec<Digest>,
    pub policy_published: Option<Digest>,
    pub policy_evaluated: Evaluated,
    pub discovery: Option<Document>,
    pub spf_record: Option<Document>,
    pub helo_record: Option<Document>,
    pub document: String,
}

/// One row of `policy_evaluated`.
#[derive(Debug)]
pub(super) struct Evaluated {
    pub digest: Digest,
    pub dmarc: Option<&'static str>,
    pub tag: Option<&'static str>,
    pub selected: Option<&'static str>,
    pub applied: Option<&'static str>,
    pub dkim: Option<&'static str>,
    pub spf: Option<&'static str>,
    pub cause: &'static str,
    pub published: Option<&'static str>,
    pub disposition: &'static str,
    pub action: &'static str,
    pub reasons: String,
    pub weight: &'static str,
}

impl Row {
    pub fn of(verdict: Arc<Verdict>) -> Self {
        let policy = verdict.evaluation.as_ref().and_then(|e| e.policy.as_ref());
        let spf = &verdict.evidence.spf;
        let shared_text = |text: &Option<String>| text.clone().map(Document::new);
        let records = record_digests(&verdict);
        Self {
            source_ip: verdict.envelope.client.map(octets),
            envelope_to: shared::write_domains(&verdict.envelope.recipient_domains),
            auth_results: shared::write_auth_results(&verdict),
            policy_published: policy
                .zip(records.last())
                .map(|(policy, record)| shared::published_digest(policy, record)),
            policy_evaluated: Evaluated::of(&verdict),
            discovery: verdict
                .evaluation
                .as_ref()
                .map(|e| shared::write_discovery(&e.discovery, &records)),
            records,
            spf_record: shared_text(&spf.mail_from.grounds.record),
            helo_record: shared_text(&spf.helo.grounds.record),
            document: Detail::of(&verdict).write(),
            verdict,
        }
    }

    /// The author domain, when there is exactly one.
    pub fn header_from(&self) -> Option<&str> {
        match &self.verdict.message.author {
            Author::One(domain) => Some(domain.as_str()),
            Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
        }
    }

    /// The domain of MAIL FROM, empty for the null path.
    pub fn envelope_from(&self) -> Option<&str> {
        match &self.verdict.envelope.mail_from {
            ReversePath::Null => Some(""),
            ReversePath::Mailbox(mailbox) => Some(mailbox.domain.as_str()),
            ReversePath::Unparseable(_) => None,
        }
    }
}

impl Evaluated {
    fn of(verdict: &Verdict) -> Self {
        let evaluation = verdict.evaluation.as_ref();
        let policy = evaluation.and_then(|e| e.policy.as_ref());
        let decision = &verdict.decision;
        let mut evaluated = Self {
            digest: Digest::default(),
            dmarc: evaluation.map(|e| e.result.as_str()),
            tag: policy.map(|p| p.tag.as_str()),
            selected: policy.map(|p| p.selected.as_str()),
            applied: policy.map(|p| p.applied.as_str()),
            dkim: evaluation.map(|e| aligned(e.dkim.aligned)),
            spf: evaluation.map(|e| aligned(e.spf.aligned)),
            cause: decision.cause().as_str(),
            published: decision.published().map(|p| p.as_str()),
            disposition: decision.disposition().as_str(),
            action: decision.action().as_str(),
            reasons: shared::write_reasons(decision.overrides()),
            weight: verdict.weight.as_str(),
        };
        evaluated.digest = shared::digest(&[
            evaluated.dmarc.unwrap_or_default(),
            evaluated.tag.unwrap_or_default(),
            evaluated.selected.unwrap_or_default(),
            evaluated.applied.unwrap_or_default(),
            evaluated.dkim.unwrap_or_default(),
            evaluated.spf.unwrap_or_default(),
            evaluated.cause,
            evaluated.published.unwrap_or_default(),
            evaluated.disposition,
            evaluated.action,
            &evaluated.reasons,
            evaluated.weight,
        ]);
        evaluated
    }
}

/// Every DMARC record a verdict tells of: those of the walk, then the policy's own.
pub(super) fn records(verdict: &Verdict) -> impl Iterator<Item = &Record> {
    let evaluation = verdict.evaluation.as_ref();
    let walked = evaluation.into_iter().flat_map(|e| &e.discovery);
    let found = walked.filter_map(|step| match &step.found {
        Finding::Record(record) => Some(record.as_ref()),
        Finding::Several(_)
        | Finding::NotDmarc
        | Finding::NoData
        | Finding::NxDomain
        | Finding::TooLong
        | Finding::Error(_) => None,
    });
    let policy = evaluation.and_then(|e| e.policy.as_ref());
    found.chain(policy.map(|p| &p.record))
}

/// Their digests. The policy's record is most often one of the walk's: that one isn't made twice.
fn record_digests(verdict: &Verdict) -> Vec<Digest> {
    let mut digests: Vec<(&Record, Digest)> = Vec::new();
    for record in records(verdict) {
        let known = digests.iter().find(|(other, _)| *other == record);
        let digest = known.map_or_else(|| shared::record_digest(record), |(_, digest)| *digest);
        digests.push((record, digest));
    }
    digests.into_iter().map(|(_, digest)| digest).collect()
}

/// RFC 9990 §3.1.1.9: the results of the alignment tests are `pass` and `fail`.
fn aligned(aligned: bool) -> &'static str {
    if aligned { "pass" } else { "fail" }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
