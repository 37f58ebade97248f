//! The evaluation of one message in three questions, each asked as soon as its input is known: the
//! envelope, the header, the body; then one pure conclusion.
//!
//! Shared by every way a message comes in, so that a file and the same mail over SMTP get the same
//! verdict. Starts nothing by itself and knows no runtime: the caller decides when each part waits.

use super::arc::{ArcSettings, Chain};
use super::dkim::{BodyHasher, BodyHashes, BodyRequest, DkimSettings, KeyCache, Keys, Signatures};
use super::dmarc::{DiscoveryMethod, DmarcFacts, Evaluation, evaluate, gather};
use super::iprev::{self, IprevOutcome};
use super::spf::{self, SpfOutcome, SpfRequest};
use super::{Evidence, IprevResult, SpfEvidence};
use crate::address::ReversePath;
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::message::author::{Author, author};
use crate::time::Timestamp;
use futures_util::future::join3;
use std::net::IpAddr;

/// What the SMTP session gives to ask about: known at the first recipient.
#[derive(Debug, Clone)]
pub struct EnvelopeQuestion {
    /// `None`: a trusted relay handed the message over without naming the client.
    pub client: Option<IpAddr>,
    pub helo: Option<String>,
    pub mail_from: ReversePath,
    /// Our own name, for SPF's `%{r}`.
    pub receiver: String,
    pub now: Timestamp,
}

/// What DNS said about the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeAnswers {
    pub spf: SpfEvidence,
    pub iprev: IprevOutcome,
}

/// What the header gives to ask about: known at the end of the header. The fields need not be kept.
#[derive(Debug)]
pub struct HeaderQuestion {
    author: Author,
    signatures: Signatures,
    candidates: Vec<DomainName>,
    discovery: DiscoveryMethod,
    /// `None`: ARC is not evaluated.
    chain: Option<Chain>,
}

/// What the operator decided about reading a header.
#[derive(Debug, Clone, Copy)]
pub struct HeaderSettings<'a> {
    pub dkim: &'a DkimSettings,
    pub arc: &'a ArcSettings,
    pub discovery: DiscoveryMethod,
}

/// What DNS said about the header.
#[derive(Debug)]
pub struct HeaderAnswers {
    keys: Keys,
    arc_keys: Keys,
    dmarc: Option<DmarcFacts>,
}

/// Everything that was found out, and what DMARC makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    pub author: Author,
    pub evidence: Evidence,
    /// `None` unless there is exactly one author domain.
    pub evaluation: Option<Evaluation>,
}

impl EnvelopeQuestion {
    /// Asks iprev and SPF of both identities at once.
    pub async fn ask(&self, resolver: &impl Resolver) -> EnvelopeAnswers {
        let Some(client) = self.client else {
            return self.not_asked("relay: the client's address is unknown");
        };
        let request = SpfRequest {
            client,
            helo: self.helo.as_deref(),
            mail_from: &self.mail_from,
            receiver: &self.receiver,
            now: self.now,
        };
        let (helo, mail_from, iprev) = join3(
            spf::check_helo(&request, resolver),
            spf::check_mail_from(&request, resolver),
            iprev::check(client, resolver),
        )
        .await;
        EnvelopeAnswers {
            spf: SpfEvidence { mail_from, helo },
            iprev,
        }
    }

    /// The answers when nothing is asked, with the reason.
    pub fn not_asked(&self, why: &str) -> EnvelopeAnswers {
        let helo = self.helo.clone().unwrap_or_default();
        let mail_from = match &self.mail_from {
            ReversePath::Mailbox(mailbox) => mailbox.domain.as_str(),
            ReversePath::Null => helo.as_str(),
            ReversePath::Unparseable(path) => path.as_str(),
        };
        EnvelopeAnswers {
            spf: SpfEvidence {
                mail_from: SpfOutcome::not_evaluated(mail_from, why),
                helo: SpfOutcome::not_evaluated(helo.as_str(), why),
            },
            iprev: IprevOutcome {
                result: IprevResult::Permerror,
                name: None,
                grounds: why.to_owned(),
            },
        }
    }

    /// The domain that SPF can authenticate: of MAIL FROM, or of HELO for the null path
    /// (RFC 7208 §2.4). A path that is no RFC 5321 mailbox may have one too.
    pub fn spf_domain(&self) -> Option<DomainName> {
        spf::mail_from_domain(&self.mail_from, self.helo.as_deref())
    }
}

impl HeaderQuestion {
    /// Reads author and signatures. `spf_domain` as `EnvelopeQuestion::spf_domain` gives it.
    pub fn read(
        fields: &[HeaderField],
        spf_domain: Option<DomainName>,
        settings: HeaderSettings<'_>,
        now: Timestamp,
    ) -> Self {
        let author = author(fields);
        let signatures = Signatures::read(fields, one(&author), settings.dkim, now);
        let arc = settings.arc.enabled.then_some(settings.dkim);
        let mut candidates: Vec<DomainName> = signatures.domains().cloned().collect();
        candidates.extend(spf_domain);
        Self {
            author,
            signatures,
            candidates,
            discovery: settings.discovery,
            chain: arc.map(|dkim| Chain::read(fields, dkim, now)),
        }
    }

    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Takes the body in chunks, split anywhere; answers `more` besides what the header asks for.
    pub fn body_hasher(&self, more: Option<BodyRequest>) -> BodyHasher {
        let chain = self.chain.as_ref().and_then(Chain::body_request);
        BodyHasher::new(self.signatures.body_requests().chain(chain).chain(more))
    }

    /// Asks for all keys and walks for DMARC at once.
    pub async fn ask(&self, resolver: &impl Resolver, cache: &KeyCache) -> HeaderAnswers {
        let dmarc = async {
            match one(&self.author) {
                Some(author) => {
                    Some(gather(author, &self.candidates, self.discovery, resolver).await)
                }
                None => None,
            }
        };
        let keys = self.signatures.look_up_keys(resolver, cache);
        let arc_keys = async {
            match &self.chain {
                Some(chain) => chain.look_up_keys(resolver, cache).await,
                None => Keys::default(),
            }
        };
        let (keys, arc_keys, dmarc) = join3(keys, arc_keys, dmarc).await;
        HeaderAnswers {
            keys,
            arc_keys,
            dmarc,
        }
    }

    /// Judges what was found out. Asks nothing.
    pub fn conclude(
        self,
        envelope: EnvelopeAnswers,
        header: HeaderAnswers,
        body: BodyHashes,
    ) -> Conclusion {
        let chain = self.chain;
        let arc = chain.map(|chain| chain.conclude(&header.arc_keys, &body));
        let dkim = self.signatures.conclude(header.keys, body);
        let mail_from = &envelope.spf.mail_from;
        let evaluation = header
            .dmarc
            .map(|facts| evaluate(&facts, Some(mail_from), &dkim));
        Conclusion {
            author: self.author,
            evidence: Evidence {
                spf: envelope.spf,
                dkim,
                iprev: envelope.iprev,
                arc,
            },
            evaluation,
        }
    }
}

fn one(author: &Author) -> Option<&DomainName> {
    match author {
        Author::One(domain) => Some(domain),
        Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
    }
}
