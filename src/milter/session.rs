//! One message through its stages, each a type of its own: `Connection` → `Transaction` (envelope
//! and header arrive) → `Reading` (the body passes) → `Complete` (everything is found out).
//!
//! Owns what is asked when: nothing before the first recipient that the MTA accepted, everything as
//! soon as its input is known. Keeps the facts of a message and no octet of its body. What the facts
//! are worth is judged by `auth` and `policy`; the last steps are `judge`'s.

use super::Service;
use super::asking::{Asking, Broken};
use super::client::{Client, Standing, is_skipped_by_name};
use super::header::{Header, Removals};
use super::judge::Answer;
use super::overheard::Overheard;
use super::returning::Returning;
use super::settings::Settings;
use crate::address::{Mailbox, ReversePath};
use crate::auth::Evidence;
use crate::auth::dkim::{BodyHasher, BodyRequest, DkimEvidence};
use crate::auth::inquiry::{
    Conclusion, EnvelopeAnswers, EnvelopeQuestion, HeaderAnswers, HeaderQuestion, HeaderSettings,
};
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::message::author::{Author, author};
use crate::message::identifiers::{Nature, list_id, message_id, nature};
use crate::policy::decide::{ClientAddress, Situation};
use crate::policy::rules::Recipients;
use crate::report::bounce::Claim;
use crate::resolver::Deadline;
use crate::store::{Skip, SkipReason};
use crate::time::Timestamp;
use crate::verdict::{Envelope, MessageFacts};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;

/// What CONNECT and HELO said; it holds for every message until they say it again.
#[derive(Debug, Clone)]
pub struct Connection {
    pub client: Client,
    /// At most 255 characters.
    pub helo: Option<String>,
    pub daemon_name: Option<String>,
}

/// When a message began, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    pub at: Timestamp,
    pub instant: Instant,
}

/// A message whose envelope and header are arriving.
pub struct Transaction<R> {
    service: Arc<Service<R>>,
    settings: Arc<Settings>,
    begun: Begun,
    standing: Standing,
    is_believed: bool,
    may_return: bool,
    envelope: Envelope,
    recipient_domains: HashSet<DomainName>,
    /// For the rules alone; empty while none of them names recipients.
    recipients: Recipients,
    /// A recipient so far was none that only what comes of our report mail is sent to.
    is_for_others: bool,
    /// The recipients that were.
    return_paths: Vec<String>,
    header: Header,
    /// Asked at the first recipient, if the client is known by then.
    answers: Option<Asking<EnvelopeAnswers>>,
}

/// A message whose body is passing.
pub struct Reading<R> {
    service: Arc<Service<R>>,
    facts: Facts,
    course: Course,
    overheard: Option<Overheard>,
    returning: Option<Returning>,
}

/// What is known of a message whatever is done with it.
#[derive(Debug)]
pub struct Facts {
    pub settings: Arc<Settings>,
    pub begun: Begun,
    pub envelope: Envelope,
    /// As far as the rules need them.
    pub recipients: Recipients,
    pub message_id: Option<String>,
    pub list_id: Option<String>,
    pub nature: Nature,
    /// From `<>`, to nobody but return paths of our report mail or the address it is from: whatever the rest
    /// of it says, it can't cause the next report, or a bouncing one would never stop. Whether the seals are
    /// ours doesn't matter: nobody is deceived by mail that goes there.
    pub bounces_a_report: bool,
    /// Octets of header and body so far.
    pub size: u64,
    /// Fields to be removed.
    pub removals: Removals,
    /// The hash of the relaxed body, once it is known, where the message may be held.
    pub body: Option<[u8; 32]>,
}

enum Course {
    Judged(Box<Inquiry>),
    TooLarge(Author),
    PassedOver(Skip),
}

/// What is being asked about a message.
struct Inquiry {
    author: Author,
    client: ClientAddress,
    envelope: Asking<EnvelopeAnswers>,
    header: Asking<(HeaderQuestion, HeaderAnswers)>,
    body: BodyHasher,
}

/// A message of which everything is found out.
#[derive(Debug)]
pub enum Complete {
    Judged {
        facts: Facts,
        conclusion: Box<Conclusion>,
        situation: Situation,
    },
    PassedOver {
        facts: Facts,
        skip: Skip,
    },
}

impl Connection {
    /// MAIL: a new message, whatever came before.
    pub fn mail<R: Resolver + 'static>(
        &self,
        path: &str,
        authenticated: bool,
        queue_id: Option<String>,
        service: &Arc<Service<R>>,
    ) -> Transaction<R> {
        let settings = Arc::clone(&service.settings.borrow());
        let mail_from = ReversePath::parse(path);
        let begun = Begun {
            at: service.clock.now(),
            instant: Instant::now(),
        };
        Transaction {
            standing: self
                .client
                .standing(authenticated, &mail_from, &settings.trust),
            is_believed: self.client.is_believed(&settings.trust),
            may_return: self.client.may_return(&settings.trust),
            envelope: Envelope {
                queue_id,
                client: self.client.address,
                client_name: self.client.name.clone(),
                relay: None,
                helo: self.helo.clone(),
                mail_from,
                recipient_domains: Vec::new(),
                recipients: 0,
                recipient_addresses: Vec::new(),
                daemon_name: self.daemon_name.clone(),
            },
            service: Arc::clone(service),
            settings,
            begun,
            recipient_domains: HashSet::new(),
            recipients: Recipients::default(),
            is_for_others: false,
            return_paths: Vec::new(),
            header: Header::default(),
            answers: None,
        }
    }
}

impl<R: Resolver + 'static> Transaction<R> {
    /// RCPT, of a recipient that the MTA accepts.
    pub fn rcpt(&mut self, path: &str) {
        self.envelope.recipients = self.envelope.recipients.saturating_add(1);
        match Claim::read(path) {
            None => self.is_for_others |= !self.settings.is_report_from(path),
            Some(_) if self.return_paths.len() < MAX_RETURN_PATHS => {
                self.return_paths.push(path.to_owned());
            }
            Some(_) => {}
        }
        if self.settings.rules.names_recipients() {
            self.recipients.add(path);
        }
        if let Some(mailbox) = Mailbox::parse(path) {
            self.remember(mailbox);
        }
        if self.answers.is_none() && self.standing == Standing::Judged {
            self.answers = Some(self.ask_envelope());
        }
    }

    /// The MTA's id of this message, from the first macro that has it.
    pub fn queue_id(&mut self, id: impl FnOnce() -> Option<String>) {
        if self.envelope.queue_id.is_none() {
            self.envelope.queue_id = id();
        }
    }

    /// The next header field.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        let (believed, settings) = (self.is_believed, &self.settings);
        self.header.push(name, value, |results| {
            !believed && settings.claims_our_results(results)
        });
    }

    /// The end of the header: what it asks for is asked.
    pub fn end_of_header(mut self) -> Reading<R> {
        if self.header.left_out() > 0 {
            let fields = self.header.left_out();
            tracing::warn!(
                queue_id = self.envelope.queue_id,
                fields,
                "header too large: fields left out"
            );
        }
        let mut removals = self.header.removals();
        let size = self.header.octets();
        let fields = std::mem::take(&mut self.header).into_fields();
        if self.standing == Standing::Relay {
            self.look_behind_relay(&fields);
        }
        // Behind a relay, too: mail of `trust.networks` is passed on untouched.
        if self.standing == Standing::PassedOver(SkipReason::TrustNetworks) {
            removals.results.clear();
        }
        let is_null = self.envelope.mail_from == ReversePath::Null;
        let nature = nature(&fields, is_null);
        let overheard = self.overhear(is_null, &fields);
        let returning = self.may_return.then(|| Returning::begin(&fields)).flatten();
        let course = match self.standing {
            Standing::PassedOver(reason) => Course::PassedOver(self.skip(reason, &fields)),
            Standing::Judged | Standing::Relay => Course::Judged(Box::new(self.inquire(&fields))),
        };
        let mut reading = Reading {
            service: self.service,
            facts: Facts {
                settings: self.settings,
                begun: self.begun,
                envelope: self.envelope,
                recipients: self.recipients,
                message_id: message_id(&fields),
                list_id: list_id(&fields),
                nature,
                bounces_a_report: is_null && !self.is_for_others,
                size,
                removals,
                body: None,
            },
            course,
            overheard,
            returning,
        };
        reading.check_size();
        reading
    }

    /// A bounce of ours is taken whatever is done with it: before the skips, since it mostly comes from a
    /// smarthost that is trusted.
    fn overhear(&mut self, is_null: bool, fields: &[HeaderField]) -> Option<Overheard> {
        let bounces = self.service.bounces.borrow().clone()?;
        let recipients = std::mem::take(&mut self.return_paths);
        (is_null && !recipients.is_empty()).then(|| Overheard::begin(bounces, recipients, fields))
    }

    fn remember(&mut self, mailbox: Mailbox) {
        if self.settings.local_parts && self.envelope.recipient_addresses.len() < MAX_RECIPIENTS {
            self.envelope.recipient_addresses.push(mailbox.to_string());
        }
        let room = self.recipient_domains.len() < MAX_RECIPIENTS;
        if room && self.recipient_domains.insert(mailbox.domain.clone()) {
            self.envelope.recipient_domains.push(mailbox.domain);
        }
    }

    fn deadline(&self) -> Deadline<R> {
        let at = Instant::now() + self.settings.dns_deadline;
        Deadline::new(Arc::clone(&self.service.resolver), at)
    }

    fn question(&self) -> EnvelopeQuestion {
        EnvelopeQuestion {
            client: self.envelope.client,
            helo: self.envelope.helo.clone(),
            mail_from: self.envelope.mail_from.clone(),
            receiver: self.settings.authserv_id.clone(),
            now: self.begun.at,
        }
    }

    fn ask_envelope(&self) -> Asking<EnvelopeAnswers> {
        let (question, resolver) = (self.question(), self.deadline());
        Asking::start(async move { question.ask(&resolver).await })
    }

    /// The client is the one that the relays name; none if they don't.
    fn look_behind_relay(&mut self, fields: &[HeaderField]) {
        let trust = &self.settings.trust;
        let behind = trust.client_behind(fields);
        self.envelope.relay = self.envelope.client.take();
        self.envelope.client_name = None;
        self.envelope.helo = None;
        let Some(behind) = behind else { return };
        let client = Client::behind_relay(behind.address, behind.name);
        if let Standing::PassedOver(reason) =
            client.standing(false, &self.envelope.mail_from, trust)
        {
            self.standing = Standing::PassedOver(reason);
        }
        self.envelope.client = client.address;
        self.envelope.client_name = client.name;
        self.envelope.helo = behind.helo;
    }

    fn skip(&self, reason: SkipReason, fields: &[HeaderField]) -> Skip {
        let counted_by_domain = reason == SkipReason::Authenticated;
        Skip {
            at: self.begun.at,
            reason,
            author_domain: match author(fields) {
                Author::One(domain) if counted_by_domain => Some(domain),
                Author::One(_) | Author::Missing | Author::Several(_) | Author::Unparseable(_) => {
                    None
                }
            },
            recipient_domains: if counted_by_domain {
                self.envelope.recipient_domains.clone()
            } else {
                Vec::new()
            },
        }
    }

    fn inquire(&mut self, fields: &[HeaderField]) -> Inquiry {
        let question = self.question();
        let settings = &self.settings;
        let header = HeaderQuestion::read(
            fields,
            question.spf_domain(),
            HeaderSettings {
                dkim: &settings.dkim,
                arc: &settings.arc,
                discovery: settings.policy.discovery,
            },
            self.begun.at,
        );
        let client = match self.envelope.client {
            Some(_) => ClientAddress::Known,
            None => ClientAddress::HiddenByRelay,
        };
        let sealed = settings.can_hold().then_some(BodyRequest::RELAXED);
        let (author, body) = (header.author().clone(), header.body_hasher(sealed));
        let (resolver, service) = (self.deadline(), Arc::clone(&self.service));
        let ask = async move {
            let answers = header.ask(&resolver, &service.keys).await;
            (header, answers)
        };
        Inquiry {
            author,
            client,
            envelope: self.answers.take().unwrap_or_else(|| self.ask_envelope()),
            header: Asking::start(ask),
            body,
        }
    }
}

impl<R: Resolver + 'static> Reading<R> {
    /// The next octets of the body.
    pub fn body(&mut self, octets: &[u8]) {
        self.facts.size = self.facts.size.saturating_add(octets.len() as u64);
        if let Course::Judged(inquiry) = &mut self.course {
            inquiry.body.update(octets);
        }
        if let Some(overheard) = &mut self.overheard {
            overheard.body(octets);
        }
        if let Some(returning) = &mut self.returning {
            returning.body(octets);
        }
        self.check_size();
    }

    /// Whether nothing needs the rest of the body, not even its size.
    pub fn is_done_with_body(&self) -> bool {
        if self.returning.is_some() || self.overheard.as_ref().is_some_and(|o| !o.is_done()) {
            return false;
        }
        match &self.course {
            Course::Judged(inquiry) => {
                inquiry.body.is_done() && self.facts.settings.milter.max_message_bytes == 0
            }
            Course::TooLarge(_) | Course::PassedOver(_) => true,
        }
    }

    /// As in a transaction.
    pub fn queue_id(&mut self, id: impl FnOnce() -> Option<String>) {
        if self.facts.envelope.queue_id.is_none() {
            self.facts.envelope.queue_id = id();
        }
    }

    pub fn service(&self) -> &Arc<Service<R>> {
        &self.service
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The end of the message, where it came back with its verdict; `None`: it is to be judged.
    pub async fn returned(&mut self) -> Option<Answer> {
        let returning = self.returning.take()?;
        returning.answer(&self.facts, &self.service).await
    }

    /// The end of the message: waits for what was asked.
    pub async fn complete(self) -> Result<Complete, Broken> {
        if let Some(overheard) = self.overheard {
            overheard.hand_over();
        }
        let mut facts = self.facts;
        let inquiry = match self.course {
            Course::PassedOver(skip) => return Ok(Complete::PassedOver { facts, skip }),
            Course::TooLarge(author) => return Ok(too_large(facts, author)),
            Course::Judged(inquiry) => inquiry,
        };
        let envelope = inquiry.envelope.answer().await?;
        let (question, header) = inquiry.header.answer().await?;
        if is_skipped_by_name(envelope.iprev.name.as_deref(), &facts.settings.trust) {
            let skip = Skip {
                at: facts.begun.at,
                reason: SkipReason::SkipHosts,
                author_domain: None,
                recipient_domains: Vec::new(),
            };
            return Ok(Complete::PassedOver { facts, skip });
        }
        let body = inquiry.body.finish();
        facts.body = body.whole(BodyRequest::RELAXED);
        let conclusion = question.conclude(envelope, header, body);
        let evaluation = conclusion.evaluation.as_ref();
        Ok(Complete::Judged {
            situation: Situation::of(&conclusion.author, evaluation, inquiry.client),
            facts,
            conclusion: Box::new(conclusion),
        })
    }

    fn check_size(&mut self) {
        let max = self.facts.settings.milter.max_message_bytes;
        if max > 0
            && self.facts.size > max
            && let Course::Judged(inquiry) = &self.course
        {
            self.course = Course::TooLarge(inquiry.author.clone());
        }
    }
}

impl Facts {
    /// For the verdict.
    pub fn message(&self, author: Author) -> MessageFacts {
        MessageFacts {
            author,
            message_id: self.message_id.clone(),
            list_id: self.list_id.clone(),
            size: self.size,
            forged_results: u32::try_from(self.removals.results.len()).unwrap_or(u32::MAX),
        }
    }
}

fn too_large(facts: Facts, author: Author) -> Complete {
    let question = EnvelopeQuestion {
        client: facts.envelope.client,
        helo: facts.envelope.helo.clone(),
        mail_from: facts.envelope.mail_from.clone(),
        receiver: facts.settings.authserv_id.clone(),
        now: facts.begun.at,
    };
    let answers = question.not_asked("not evaluated: size");
    Complete::Judged {
        facts,
        conclusion: Box::new(Conclusion {
            author,
            evidence: Evidence {
                spf: answers.spf,
                dkim: DkimEvidence::default(),
                iprev: answers.iprev,
                arc: None,
            },
            evaluation: None,
        }),
        situation: Situation::TooLarge,
    }
}

/// Return paths of ours that one bounce is for; a real one is for one.
const MAX_RETURN_PATHS: usize = 5;
/// Domains, and addresses, of recipients that are kept; all are counted.
const MAX_RECIPIENTS: usize = 1_000;
