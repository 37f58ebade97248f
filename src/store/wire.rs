//! The stored JSON of a verdict: what its columns and the dictionaries do not hold.
//!
//! Owns version 1 of that document and the smaller ones that verdicts share. Written strictly, read
//! leniently: a field that is missing has its empty value, one that is unknown is passed over; an
//! unknown word is an error, since it means a later version. Pure; no core type is `Serialize`.

mod rule;

pub(super) use rule::RuleWire;

use crate::address::{Mailbox, ReversePath};
use crate::auth::arc::{ArcEvidence, ArcResult, ArcSet};
use crate::auth::dkim::{DkimEvidence, DkimGrounds, NotTried, SignatureOutcome};
use crate::auth::dmarc::{Alignment, Identifier, IdentifierAlignment};
use crate::auth::iprev::IprevOutcome;
use crate::auth::spf::{MatchedTerm, SpfGrounds, SpfOutcome};
use crate::auth::{DkimResult, IprevResult, SpfResult};
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::store::error::ReadError;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The version written.
pub(super) const VERSION: u32 = 1;

type Text<'a> = Cow<'a, str>;

/// `detail.document`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Detail<'a> {
    pub envelope: EnvelopeWire<'a>,
    pub message: MessageWire<'a>,
    pub spf: SpfWire<'a>,
    pub helo: SpfWire<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<SignatureWire<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dkim_not_tried: Vec<(Text<'a>, Text<'a>)>,
    pub iprev: IprevWire<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arc: Option<ArcWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<DmarcWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleWire<'a>>,
    pub authentication_results: Text<'a>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EnvelopeWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helo: Option<Text<'a>>,
    pub mail_from: PathWire<'a>,
    pub recipients: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipient_addresses: Vec<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon_name: Option<Text<'a>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PathWire<'a> {
    #[default]
    Null,
    /// Local part and domain.
    Mailbox(Text<'a>, Text<'a>),
    Unparseable(Text<'a>),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MessageWire<'a> {
    pub author: AuthorWire<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_id: Option<Text<'a>>,
    pub size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub forged_results: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthorWire<'a> {
    One(Text<'a>),
    #[default]
    Missing,
    Several(Vec<Text<'a>>),
    Unparseable(Text<'a>),
}

/// One identity's SPF; its record is a shared document.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SpfWire<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub domain: Text<'a>,
    pub result: Text<'a>,
    /// The term and the domain whose record has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<(Text<'a>, Text<'a>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Text<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub lookups: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub void_lookups: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SignatureWire<'a> {
    pub d: Text<'a>,
    pub s: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub i: Option<Text<'a>>,
    pub a: Text<'a>,
    pub b: Text<'a>,
    pub result: Text<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_bits: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    pub testing: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub unsigned_octets: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub may_align: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub headers_intact: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct IprevWire<'a> {
    pub result: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub grounds: Text<'a>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ArcWire<'a> {
    pub result: Text<'a>,
    /// Sealer, selector and results of each set, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<(Text<'a>, Text<'a>, Text<'a>)>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Text<'a>,
}

/// The part of an evaluation that `policy_evaluated` and `policy_published` do not hold.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DmarcWire<'a> {
    pub author_domain: Text<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spf: Vec<IdentifierWire<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<IdentifierWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_domain: Option<Text<'a>>,
    pub grounds: Text<'a>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct IdentifierWire<'a> {
    pub domain: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_domain: Option<Text<'a>>,
    pub alignment: Text<'a>,
}

impl<'a> Detail<'a> {
    pub fn of(verdict: &'a Verdict) -> Self {
        let envelope = &verdict.envelope;
        let message = &verdict.message;
        let evidence = &verdict.evidence;
        Self {
            envelope: EnvelopeWire {
                client_name: text(&envelope.client_name),
                relay: envelope.relay.map(|ip| Cow::Owned(ip.to_string())),
                helo: text(&envelope.helo),
                mail_from: PathWire::of(&envelope.mail_from),
                recipients: envelope.recipients,
                recipient_addresses: texts(&envelope.recipient_addresses),
                daemon_name: text(&envelope.daemon_name),
            },
            message: MessageWire {
                author: AuthorWire::of(&message.author),
                message_id: text(&message.message_id),
                list_id: text(&message.list_id),
                size: message.size,
                forged_results: message.forged_results.into(),
            },
            spf: SpfWire::of(&evidence.spf.mail_from),
            helo: SpfWire::of(&evidence.spf.helo),
            dkim: evidence
                .dkim
                .signatures
                .iter()
                .map(SignatureWire::of)
                .collect(),
            dkim_not_tried: evidence
                .dkim
                .not_tried
                .iter()
                .map(|s| (Cow::from(&s.domain), Cow::from(&s.selector)))
                .collect(),
            iprev: IprevWire {
                result: evidence.iprev.result.as_str().into(),
                name: text(&evidence.iprev.name),
                grounds: (&evidence.iprev.grounds).into(),
            },
            arc: evidence.arc.as_ref().map(ArcWire::of),
            dmarc: verdict.evaluation.as_ref().map(|e| DmarcWire {
                author_domain: e.author_domain.as_str().into(),
                spf: identifiers(&e.spf),
                dkim: identifiers(&e.dkim),
                organizational_domain: domain_text(&e.organizational_domain),
                grounds: (&e.grounds).into(),
            }),
            rule: verdict.decision.rule().map(RuleWire::of),
            authentication_results: (&verdict.authentication_results).into(),
        }
    }
}

impl Detail<'_> {
    pub fn write(&self) -> String {
        // What most of them take.
        write_with_room(self, 1_536)
    }
}

impl<'a> PathWire<'a> {
    fn of(path: &'a ReversePath) -> Self {
        match path {
            ReversePath::Null => Self::Null,
            ReversePath::Mailbox(mailbox) => {
                Self::Mailbox((&mailbox.local_part).into(), mailbox.domain.as_str().into())
            }
            ReversePath::Unparseable(text) => Self::Unparseable(text.into()),
        }
    }

    pub fn read(self) -> Result<ReversePath, ReadError> {
        Ok(match self {
            Self::Null => ReversePath::Null,
            Self::Mailbox(local_part, domain) => ReversePath::Mailbox(Mailbox {
                local_part: local_part.into_owned(),
                domain: read_domain(&domain)?,
            }),
            Self::Unparseable(text) => ReversePath::Unparseable(text.into_owned()),
        })
    }
}

impl<'a> AuthorWire<'a> {
    fn of(author: &'a Author) -> Self {
        match author {
            Author::One(domain) => Self::One(domain.as_str().into()),
            Author::Missing => Self::Missing,
            Author::Several(domains) => {
                Self::Several(domains.iter().map(|d| d.as_str().into()).collect())
            }
            Author::Unparseable(problem) => Self::Unparseable(problem.into()),
        }
    }

    pub fn read(self) -> Result<Author, ReadError> {
        Ok(match self {
            Self::One(domain) => Author::One(read_domain(&domain)?),
            Self::Missing => Author::Missing,
            Self::Several(domains) => Author::Several(
                domains
                    .iter()
                    .map(|d| read_domain(d))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Unparseable(problem) => Author::Unparseable(problem.into_owned()),
        })
    }
}

impl<'a> SpfWire<'a> {
    fn of(outcome: &'a SpfOutcome) -> Self {
        let SpfOutcome {
            domain,
            result,
            grounds,
        } = outcome;
        let SpfGrounds {
            matched,
            problem,
            explanation,
            record: _,
            lookups,
            void_lookups,
        } = grounds;
        Self {
            domain: domain.into(),
            result: result.as_str().into(),
            matched: matched
                .as_ref()
                .map(|m| (Cow::from(&m.term), Cow::from(&m.domain))),
            problem: text(problem),
            explanation: text(explanation),
            lookups: (*lookups).into(),
            void_lookups: (*void_lookups).into(),
        }
    }

    pub fn read(self, record: Option<String>) -> Result<SpfOutcome, ReadError> {
        Ok(SpfOutcome {
            domain: self.domain.into_owned(),
            result: read_word("spf result", &self.result, SpfResult::parse)?,
            grounds: SpfGrounds {
                matched: self.matched.map(|(term, domain)| MatchedTerm {
                    term: term.into_owned(),
                    domain: domain.into_owned(),
                }),
                problem: self.problem.map(Cow::into_owned),
                explanation: self.explanation.map(Cow::into_owned),
                record,
                lookups: fit("look-ups", self.lookups)?,
                void_lookups: fit("void look-ups", self.void_lookups)?,
            },
        })
    }
}

impl<'a> SignatureWire<'a> {
    fn of(outcome: &'a SignatureOutcome) -> Self {
        let SignatureOutcome {
            domain,
            selector,
            identity,
            algorithm,
            b_prefix,
            result,
            grounds,
        } = outcome;
        let DkimGrounds {
            reason,
            key_bits,
            testing,
            unsigned_octets,
            may_align,
            headers_intact,
        } = grounds;
        Self {
            d: domain.into(),
            s: selector.into(),
            i: text(identity),
            a: algorithm.into(),
            b: b_prefix.into(),
            result: result.as_str().into(),
            reason: reason.into(),
            key_bits: *key_bits,
            testing: *testing,
            unsigned_octets: *unsigned_octets,
            may_align: *may_align,
            headers_intact: *headers_intact,
        }
    }

    fn read(self) -> Result<SignatureOutcome, ReadError> {
        Ok(SignatureOutcome {
            domain: self.d.into_owned(),
            selector: self.s.into_owned(),
            identity: self.i.map(Cow::into_owned),
            algorithm: self.a.into_owned(),
            b_prefix: self.b.into_owned(),
            result: read_word("dkim result", &self.result, DkimResult::parse)?,
            grounds: DkimGrounds {
                reason: self.reason.into_owned(),
                key_bits: self.key_bits,
                testing: self.testing,
                unsigned_octets: self.unsigned_octets,
                may_align: self.may_align,
                headers_intact: self.headers_intact,
            },
        })
    }
}

/// Reads what `Detail` holds of DKIM.
pub(super) fn read_dkim(
    signatures: Vec<SignatureWire<'_>>,
    not_tried: Vec<(Text<'_>, Text<'_>)>,
) -> Result<DkimEvidence, ReadError> {
    Ok(DkimEvidence {
        signatures: signatures
            .into_iter()
            .map(SignatureWire::read)
            .collect::<Result<_, _>>()?,
        not_tried: not_tried
            .into_iter()
            .map(|(domain, selector)| NotTried {
                domain: domain.into_owned(),
                selector: selector.into_owned(),
            })
            .collect(),
    })
}

impl IprevWire<'_> {
    pub fn read(self) -> Result<IprevOutcome, ReadError> {
        Ok(IprevOutcome {
            result: read_word("iprev result", &self.result, IprevResult::parse)?,
            name: self.name.map(Cow::into_owned),
            grounds: self.grounds.into_owned(),
        })
    }
}

impl<'a> ArcWire<'a> {
    fn of(arc: &'a ArcEvidence) -> Self {
        let set = |set: &'a ArcSet| {
            let (sealer, selector) = (Cow::from(&set.sealer), Cow::from(&set.selector));
            (sealer, selector, Cow::from(&set.results))
        };
        Self {
            result: arc.result.as_str().into(),
            sets: arc.sets.iter().map(set).collect(),
            reason: (&arc.reason).into(),
        }
    }

    pub fn read(self) -> Result<ArcEvidence, ReadError> {
        let sets = self.sets.into_iter().zip(1..);
        Ok(ArcEvidence {
            result: read_word("ARC result", &self.result, ArcResult::parse)?,
            sets: sets
                .map(|((sealer, selector, results), instance)| ArcSet {
                    instance,
                    sealer: sealer.into_owned(),
                    selector: selector.into_owned(),
                    results: results.into_owned(),
                })
                .collect(),
            reason: self.reason.into_owned(),
        })
    }
}

fn identifiers(alignment: &Alignment) -> Vec<IdentifierWire<'_>> {
    alignment
        .identifiers
        .iter()
        .map(IdentifierWire::of)
        .collect()
}

impl<'a> IdentifierWire<'a> {
    fn of(identifier: &'a Identifier) -> Self {
        Self {
            domain: identifier.domain.as_str().into(),
            organizational_domain: domain_text(&identifier.organizational_domain),
            alignment: identifier.alignment.as_str().into(),
        }
    }

    fn read(self) -> Result<Identifier, ReadError> {
        Ok(Identifier {
            domain: read_domain(&self.domain)?,
            organizational_domain: read_optional_domain(self.organizational_domain.as_deref())?,
            alignment: read_word("alignment", &self.alignment, IdentifierAlignment::parse)?,
        })
    }
}

/// Reads one mechanism's alignment back.
pub(super) fn read_alignment(
    aligned: bool,
    identifiers: Vec<IdentifierWire<'_>>,
) -> Result<Alignment, ReadError> {
    Ok(Alignment {
        aligned,
        identifiers: identifiers
            .into_iter()
            .map(IdentifierWire::read)
            .collect::<Result<_, _>>()?,
    })
}

/// Writes a document.
pub(super) fn write<T: Serialize>(value: &T) -> String {
    write_with_room(value, 128)
}

fn write_with_room<T: Serialize>(value: &T, octets: usize) -> String {
    let mut text = Vec::with_capacity(octets);
    serde_json::to_writer(&mut text, value)
        .expect("wire types have no maps, the one thing JSON may refuse");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Reads a document back.
pub(super) fn read<'t, T: Deserialize<'t>>(what: &str, text: &'t str) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|error| ReadError::Damaged(format!("{what}: {error}")))
}

pub(super) fn read_domain(text: &str) -> Result<DomainName, ReadError> {
    DomainName::parse(text).map_err(|error| ReadError::Damaged(format!("domain {text:?}: {error}")))
}

pub(super) fn read_optional_domain(text: Option<&str>) -> Result<Option<DomainName>, ReadError> {
    text.map(read_domain).transpose()
}

pub(super) fn read_word<T>(
    what: &str,
    word: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ReadError> {
    parse(word).ok_or_else(|| ReadError::Damaged(format!("{what} {word:?}")))
}

fn fit<T: TryFrom<u64>>(what: &str, number: u64) -> Result<T, ReadError> {
    T::try_from(number).map_err(|_| ReadError::Damaged(format!("{number} {what}")))
}

pub(super) fn read_count(what: &str, number: u64) -> Result<u32, ReadError> {
    fit(what, number)
}

fn text(value: &Option<String>) -> Option<Text<'_>> {
    value.as_deref().map(Cow::Borrowed)
}

fn texts(values: &[String]) -> Vec<Text<'_>> {
    values.iter().map(|v| Cow::Borrowed(v.as_str())).collect()
}

fn domain_text(domain: &Option<DomainName>) -> Option<Text<'_>> {
    domain.as_ref().map(|d| Cow::Borrowed(d.as_str()))
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}
