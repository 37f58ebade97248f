//! The documents that many verdicts share, each stored once and found by its digest: the names asked
//! for a policy, a report's `auth_results`, recipient domains, override reasons.
//!
//! Owns their JSON and the digests that the dictionaries are keyed by (SHA-256 of the content, so
//! that equal contents meet without comparing them). Pure.

use crate::auth::dkim::SignatureOutcome;
use crate::auth::dmarc::{Evaluation, Finding, IdentifierAlignment, PublishedPolicy, Record, Step};
use crate::auth::{DkimResult, SpfResult};
use crate::dns::LookupError;
use crate::domain::DomainName;
use crate::policy::{OverrideType, PolicyOverride};
use crate::report::aggregate::{DkimRow, SpfRow};
use crate::store::error::ReadError;
use crate::store::wire::{read, read_domain, read_word, write};
use crate::verdict::Verdict;
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// SHA-256 of a content.
pub(super) type Digest = [u8; 32];

/// A text to be stored once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub digest: Digest,
    pub text: String,
}

impl Document {
    pub fn new(text: String) -> Self {
        Self {
            digest: digest(&[&text]),
            text,
        }
    }
}

/// The digest of some texts; where one ends and the next begins counts.
pub(super) fn digest(texts: &[&str]) -> Digest {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    digest
}

/// The digest of a DMARC record, of its text and of how it was read.
pub(super) fn record_digest(record: &Record) -> Digest {
    let Record {
        text,
        p,
        sp,
        np,
        adkim,
        aspf,
        psd,
        testing,
        fo,
        rua,
        ruf,
        usable,
        problems,
    } = record;
    let lists = write(&(rua, ruf, problems));
    digest(&[
        text,
        p.as_str(),
        sp.map_or("", |p| p.as_str()),
        np.map_or("", |p| p.as_str()),
        adkim.as_str(),
        aspf.as_str(),
        psd.as_str(),
        if *testing { "y" } else { "n" },
        fo,
        if *usable { "y" } else { "n" },
        &lists,
    ])
}

/// The digest of what a report calls `policy_published`; `record` is its record's.
pub(super) fn published_digest(policy: &PublishedPolicy, record: &Digest) -> Digest {
    let method = policy.method.as_str();
    digest(&[
        policy.domain.as_str(),
        method,
        &STANDARD_NO_PAD.encode(record),
    ])
}

#[derive(Serialize, Deserialize)]
struct StepWire<'a> {
    name: Cow<'a, str>,
    found: FindingWire<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FindingWire<'a> {
    /// The digest of the record.
    Record(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
    NotDmarc,
    NoData,
    NxDomain,
    TooLong,
    Error(Cow<'a, str>),
}

/// The names asked for a policy and what each held; records by their digests, given in order.
pub(super) fn write_discovery(steps: &[Step], records: &[Digest]) -> Document {
    let mut records = records.iter();
    let wire: Vec<StepWire<'_>> = steps
        .iter()
        .map(|step| StepWire {
            name: (&step.name).into(),
            found: match &step.found {
                Finding::Record(_) => {
                    let digest = records.next().map(|digest| STANDARD_NO_PAD.encode(digest));
                    FindingWire::Record(digest.unwrap_or_default().into())
                }
                Finding::Several(texts) => {
                    FindingWire::Several(texts.iter().map(Cow::from).collect())
                }
                Finding::NotDmarc => FindingWire::NotDmarc,
                Finding::NoData => FindingWire::NoData,
                Finding::NxDomain => FindingWire::NxDomain,
                Finding::TooLong => FindingWire::TooLong,
                Finding::Error(error) => FindingWire::Error(error_word(*error).into()),
            },
        })
        .collect();
    Document::new(write(&wire))
}

/// Reads the steps back; `record` finds a record by its digest.
pub(super) fn read_discovery(
    text: &str,
    mut record: impl FnMut(Digest) -> Result<Record, ReadError>,
) -> Result<Vec<Step>, ReadError> {
    let wire: Vec<StepWire<'_>> = read("discovery", text)?;
    let mut steps = Vec::with_capacity(wire.len());
    for step in wire {
        let found = match step.found {
            FindingWire::Record(digest) => {
                Finding::Record(Box::new(record(read_digest(&digest)?)?))
            }
            FindingWire::Several(texts) => {
                Finding::Several(texts.into_iter().map(Cow::into_owned).collect())
            }
            FindingWire::NotDmarc => Finding::NotDmarc,
            FindingWire::NoData => Finding::NoData,
            FindingWire::NxDomain => Finding::NxDomain,
            FindingWire::TooLong => Finding::TooLong,
            FindingWire::Error(word) => {
                Finding::Error(read_word("look-up error", &word, parse_error)?)
            }
        };
        steps.push(Step {
            name: step.name.into_owned(),
            found,
        });
    }
    Ok(steps)
}

fn read_digest(text: &str) -> Result<Digest, ReadError> {
    STANDARD_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| ReadError::Damaged(format!("digest {text:?}")))
}

const ERRORS: [LookupError; 5] = [
    LookupError::Timeout,
    LookupError::ServerFailure,
    LookupError::Deadline,
    LookupError::BadAnswer,
    LookupError::Unreachable,
];

fn error_word(error: LookupError) -> &'static str {
    match error {
        LookupError::Timeout => "timeout",
        LookupError::ServerFailure => "server_failure",
        LookupError::Deadline => "deadline",
        LookupError::BadAnswer => "bad_answer",
        LookupError::Unreachable => "unreachable",
    }
}

fn parse_error(word: &str) -> Option<LookupError> {
    ERRORS.into_iter().find(|e| error_word(*e) == word)
}

/// RFC 9990 §3.1.1.11, with its element names.
#[derive(Serialize)]
struct AuthResults<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dkim: Vec<DkimAuthResult<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spf: Option<SpfAuthResult<'a>>,
}

#[derive(Serialize)]
struct DkimAuthResult<'a> {
    domain: &'a str,
    selector: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    human_result: &'a str,
}

#[derive(Serialize)]
struct SpfAuthResult<'a> {
    domain: &'a str,
    scope: &'static str,
    result: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    human_result: &'a str,
}

/// What the report says of this message's authentication. The order of the signatures is RFC 9990
/// §3.1.3's, so that messages that differ in nothing else share the document.
pub(super) fn write_auth_results(verdict: &Verdict) -> Document {
    let evaluation = verdict.evaluation.as_ref();
    let mut signatures: Vec<&SignatureOutcome> = verdict.evidence.dkim.signatures.iter().collect();
    signatures.sort_by_key(|signature| rank(signature, evaluation));
    let spf = &verdict.evidence.spf.mail_from;
    Document::new(write(&AuthResults {
        dkim: signatures
            .into_iter()
            .take(MAX_SIGNATURES)
            .map(|signature| DkimAuthResult {
                domain: &signature.domain,
                selector: &signature.selector,
                result: signature.result.as_str(),
                human_result: &signature.grounds.reason,
            })
            .collect(),
        // A result for no domain cannot be written: the schema wants one.
        spf: (!spf.domain.is_empty()).then(|| SpfAuthResult {
            domain: &spf.domain,
            scope: "mfrom",
            result: spf.result.as_str(),
            human_result: spf.grounds.problem.as_deref().unwrap_or_default(),
        }),
    }))
}

/// A report's `auth_results`, as written by `write_auth_results`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthResultsRead {
    pub dkim: Vec<DkimRow>,
    pub spf: Option<SpfRow>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthResultsWire<'a> {
    dkim: Vec<ResultWire<'a>>,
    spf: Option<ResultWire<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResultWire<'a> {
    domain: Cow<'a, str>,
    selector: Cow<'a, str>,
    result: Cow<'a, str>,
    human_result: Cow<'a, str>,
}

pub(super) fn read_auth_results(text: &str) -> Result<AuthResultsRead, ReadError> {
    let wire: AuthResultsWire<'_> = read("auth_results", text)?;
    let signature = |dkim: ResultWire<'_>| -> Result<DkimRow, ReadError> {
        Ok(DkimRow {
            result: read_word("dkim result", &dkim.result, DkimResult::parse)?,
            domain: dkim.domain.into_owned(),
            selector: dkim.selector.into_owned(),
            human_result: dkim.human_result.into_owned(),
        })
    };
    let spf = |spf: ResultWire<'_>| -> Result<SpfRow, ReadError> {
        Ok(SpfRow {
            result: read_word("spf result", &spf.result, SpfResult::parse)?,
            domain: spf.domain.into_owned(),
            human_result: spf.human_result.into_owned(),
        })
    };
    Ok(AuthResultsRead {
        dkim: wire
            .dkim
            .into_iter()
            .map(signature)
            .collect::<Result<_, _>>()?,
        spf: wire.spf.map(spf).transpose()?,
    })
}

/// RFC 9990 §3.1.3: strictly aligned passes, relaxed ones, other passes, the rest.
fn rank(signature: &SignatureOutcome, evaluation: Option<&Evaluation>) -> u8 {
    if signature.result != DkimResult::Pass {
        return 3;
    }
    let alignment = evaluation.and_then(|e| {
        let same = |i: &&crate::auth::dmarc::Identifier| i.domain.as_str() == signature.domain;
        e.dkim.identifiers.iter().find(same).map(|i| i.alignment)
    });
    match alignment {
        Some(IdentifierAlignment::Strict) => 0,
        Some(IdentifierAlignment::Relaxed) => 1,
        Some(
            IdentifierAlignment::RelaxedOnly
            | IdentifierAlignment::None
            | IdentifierAlignment::Unknown,
        )
        | None => 2,
    }
}

/// RFC 9990 §3.1.3: "no more than 100 signatures for a given row".
const MAX_SIGNATURES: usize = 100;

/// The recipients' domains.
pub(super) fn write_domains(domains: &[DomainName]) -> Document {
    let texts: Vec<&str> = domains.iter().map(DomainName::as_str).collect();
    Document::new(write(&texts))
}

pub(super) fn read_domains(text: &str) -> Result<Vec<DomainName>, ReadError> {
    let texts: Vec<Cow<'_, str>> = read("domains", text)?;
    texts.iter().map(|text| read_domain(text)).collect()
}

#[derive(Serialize, Deserialize)]
struct ReasonWire<'a> {
    r#type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<Cow<'a, str>>,
}

/// The override reasons, with RFC 9990's element names.
pub(super) fn write_reasons(overrides: &[PolicyOverride]) -> String {
    let wire: Vec<ReasonWire<'_>> = overrides
        .iter()
        .map(|o| ReasonWire {
            r#type: o.kind.as_str().into(),
            comment: o.comment.as_ref().map(Cow::from),
        })
        .collect();
    write(&wire)
}

pub(super) fn read_reasons(text: &str) -> Result<Vec<PolicyOverride>, ReadError> {
    let wire: Vec<ReasonWire<'_>> = read("reasons", text)?;
    wire.into_iter()
        .map(|reason| {
            Ok(PolicyOverride {
                kind: read_word("reason", &reason.r#type, OverrideType::parse)?,
                comment: reason.comment.map(Cow::into_owned),
            })
        })
        .collect()
}
