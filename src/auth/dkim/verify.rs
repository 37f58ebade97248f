//! `Signatures`: the streaming verifier. `read` at the end of the headers takes everything from them
//! that will be needed, `look_up_keys` and a `BodyHasher` run side by side while the body comes,
//! `conclude` judges, purely, what was found.
//!
//! Every signature tried yields a result. Which ones are tried when there are too many: those that
//! could pass before those that can't, nearer to the author's domain before others, upper before lower.

use super::body::{BodyHasher, BodyHashes, BodyRequest};
use super::header::FieldIndex;
use super::key::{Key, KeyCache, KeyUse, Reading};
use super::problem::Problem;
use super::signature::{self, Description, Signature};
use super::{DkimEvidence, DkimGrounds, DkimSettings, NotTried, SignatureOutcome};
use crate::auth::DkimResult;
use crate::dns::{Answer, QueryName, Resolver};
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::time::Timestamp;
use aws_lc_rs::digest::Digest;
use futures_util::future::join_all;
use std::cmp::Reverse;

/// The signatures of one message, as far as its header tells.
#[derive(Debug)]
pub struct Signatures {
    tried: Vec<Tried>,
    not_tried: Vec<NotTried>,
    /// The names of keys to ask for, each once.
    key_names: Vec<QueryName>,
    settings: DkimSettings,
}

/// What DNS said about the keys of one message, in the order of their names.
#[derive(Debug, Default)]
pub struct Keys(Vec<Result<Vec<Reading>, Problem>>);

/// One signature to be judged.
#[derive(Debug)]
struct Tried {
    description: Description,
    /// The first thing that already rules it out, or what is needed to go on.
    state: Result<Candidate, Problem>,
}

/// A signature that needs its key and the body.
#[derive(Debug)]
struct Candidate {
    domain: DomainName,
    /// Index into `key_names`.
    key_name: usize,
    key_use: KeyUse,
    header: Digest,
    body: BodyRequest,
    body_hash: Vec<u8>,
}

impl Keys {
    /// Asks for the keys at all these names at once.
    pub async fn look_up(names: &[QueryName], resolver: &impl Resolver, cache: &KeyCache) -> Self {
        let asked = names.iter().map(|name| resolver.txt(name));
        let answers = join_all(asked).await.into_iter();
        Self(
            answers
                .map(|answer| match answer {
                    Ok(Answer::Found(records)) => {
                        let records = records.iter().take(MAX_RECORDS);
                        Ok(records.map(|record| cache.read(record)).collect())
                    }
                    // RFC 6376 §6.1.2: "If the query for the public key fails because the
                    // corresponding key record does not exist, the Verifier MUST immediately return
                    // PERMFAIL (no key for signature)."
                    Ok(Answer::NoData | Answer::NxDomain) => Err(Problem::NoKey),
                    Err(error) => Err(Problem::Lookup(error)),
                })
                .collect(),
        )
    }

    /// Tries the records at a name, by its place among those asked for, until one verifies; else
    /// tells of the one that got furthest. RFC 6376 §6.1.2: "the Verifier can choose one of the key
    /// records or may cycle through the key records".
    pub fn verify(
        &self,
        name: usize,
        signature: &KeyUse,
        header: &Digest,
        min_rsa_bits: u32,
    ) -> (Option<&Key>, Result<(), Problem>) {
        let records = match self.0.get(name) {
            Some(Ok(records)) => records,
            Some(Err(problem)) => return (None, Err(*problem)),
            None => return (None, Err(Problem::NotEvaluated)),
        };
        let mut best = (None, Err(Problem::NoKey));
        for record in records {
            let key = match record {
                Ok(key) => &**key,
                Err(problem) => {
                    if best.0.is_none() {
                        best = (None, Err(*problem));
                    }
                    continue;
                }
            };
            let verified = key.verify(signature, header, min_rsa_bits);
            match verified {
                Ok(()) => return (Some(key), Ok(())),
                Err(_) if best.1 == Err(Problem::Signature) => {}
                Err(_) => best = (Some(key), verified),
            }
        }
        best
    }
}

impl Signatures {
    /// Reads the signatures of a header, given in the order of the message. `author` decides which
    /// signatures go first when there are more than `settings.max_signatures`.
    pub fn read(
        fields: &[HeaderField],
        author: Option<&DomainName>,
        settings: &DkimSettings,
        now: Timestamp,
    ) -> Self {
        let mut signatures = Self {
            tried: Vec::new(),
            not_tried: Vec::new(),
            key_names: Vec::new(),
            settings: settings.clone(),
        };
        let (chosen, others) = choose(fields, author, settings.max_signatures);
        if chosen.is_empty() && others.is_empty() {
            return signatures;
        }
        let index = FieldIndex::new(fields);
        for found in chosen {
            let state = found.signature.and_then(|signature| {
                check_times(&signature, now)?;
                check_from(&signature, &index)?;
                let header = index.hash(&signature, found.place)?;
                Ok(signatures.candidate(signature, header))
            });
            let description = found.description;
            signatures.tried.push(Tried { description, state });
        }
        signatures.not_tried = others.into_iter().map(Found::not_tried).collect();
        signatures
    }

    /// The `d=` of every signature that may still pass, each once: worth a DMARC walk.
    pub fn domains(&self) -> impl Iterator<Item = &DomainName> {
        let domains = || self.candidates().map(|candidate| &candidate.domain);
        domains()
            .enumerate()
            .filter(move |(at, domain)| !domains().take(*at).any(|earlier| earlier == *domain))
            .map(|(_, domain)| domain)
    }

    /// What these signatures want to know of the body.
    pub fn body_requests(&self) -> impl Iterator<Item = BodyRequest> {
        self.candidates().map(|candidate| candidate.body)
    }

    /// A hasher for what these signatures want to know of the body.
    pub fn body_hasher(&self) -> BodyHasher {
        BodyHasher::new(self.body_requests())
    }

    /// Asks for all keys at once, for each name once.
    pub async fn look_up_keys(&self, resolver: &impl Resolver, cache: &KeyCache) -> Keys {
        Keys::look_up(&self.key_names, resolver, cache).await
    }

    /// What each signature is worth. `keys` and `body` are those of these signatures; what is missing
    /// from them makes a `temperror`.
    pub fn conclude(self, keys: Keys, body: BodyHashes) -> DkimEvidence {
        let prefixes = distinct_prefixes(&self.tried);
        let outcomes = self.tried.into_iter().zip(prefixes);
        DkimEvidence {
            signatures: outcomes
                .map(|(tried, b_prefix)| tried.conclude(b_prefix, &keys, &body, &self.settings))
                .collect(),
            not_tried: self.not_tried,
        }
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.tried.iter().filter_map(|t| t.state.as_ref().ok())
    }

    fn candidate(&mut self, signature: Signature<'_>, header: Digest) -> Candidate {
        let names = &mut self.key_names;
        let known = names.iter().position(|name| *name == signature.key_name);
        let key_name = known.unwrap_or_else(|| {
            names.push(signature.key_name.clone());
            names.len() - 1
        });
        Candidate {
            domain: signature.domain.clone(),
            key_name,
            header,
            body: BodyRequest {
                canon: signature.body_canon,
                limit: signature.body_length,
            },
            body_hash: signature.body_hash.clone(),
            key_use: KeyUse::from(signature),
        }
    }
}

/// A DKIM-Signature field, read.
struct Found<'a> {
    /// Its place among the fields.
    place: usize,
    description: Description,
    signature: Result<Signature<'a>, Problem>,
}

impl Found<'_> {
    /// Sorts first what is to be tried first.
    fn rank(&self, author: Option<&DomainName>) -> (bool, Reverse<usize>) {
        let Ok(signature) = &self.signature else {
            return (true, Reverse(0));
        };
        let near = author.map_or(0, |author| nearness(&signature.domain, author));
        (false, Reverse(near))
    }

    fn not_tried(self) -> NotTried {
        NotTried {
            domain: self.description.domain,
            selector: self.description.selector,
        }
    }
}

/// Finds the signatures; the second list is beyond the bound. Both are in the order of the message.
fn choose<'a>(
    fields: &'a [HeaderField],
    author: Option<&DomainName>,
    max: usize,
) -> (Vec<Found<'a>>, Vec<Found<'a>>) {
    let mut found: Vec<Found<'a>> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.is("DKIM-Signature"))
        .take(MAX_READ)
        .map(|(place, field)| {
            let (description, signature) = signature::read(&field.value);
            Found {
                place,
                description,
                signature,
            }
        })
        .collect();
    if found.len() <= max {
        return (found, Vec::new());
    }
    found.sort_by_cached_key(|found| found.rank(author));
    let mut others = found.split_off(max);
    found.sort_by_key(|found| found.place);
    others.sort_by_key(|found| found.place);
    (found, others)
}

/// How many labels from the right two domains share; most when they are equal.
fn nearness(domain: &DomainName, author: &DomainName) -> usize {
    if domain == author {
        return usize::MAX;
    }
    let pairs = domain.labels().rev().zip(author.labels().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// RFC 6376 §6.1.1: "Verifiers MAY ignore the DKIM-Signature header field and return PERMFAIL
/// (signature expired)"; §3.5: "Implementations MAY ignore signatures that have a timestamp in the
/// future"; "Receivers MAY add a 'fudge factor' to allow for such possible drift." We do all three.
pub fn check_times(signature: &Signature<'_>, now: Timestamp) -> Result<(), Problem> {
    let now = u64::try_from(now.seconds()).unwrap_or(0);
    if signature
        .expires
        .is_some_and(|expires| now > expires.saturating_add(CLOCK_DRIFT))
    {
        return Err(Problem::Expired);
    }
    if signature
        .signed_at
        .is_some_and(|signed_at| signed_at > now.saturating_add(CLOCK_DRIFT))
    {
        return Err(Problem::NotYetSigned);
    }
    Ok(())
}

/// RFC 6376 §8.15: a signed message to which a second From is added still verifies, and readers may
/// show the added one. "... an agent would be incorrect to infer that all instances of a header field
/// are signed just because one is": a signature that leaves a From unsigned vouches for no author.
fn check_from(signature: &Signature<'_>, index: &FieldIndex<'_>) -> Result<(), Problem> {
    let is_from = |name: &&&str| name.eq_ignore_ascii_case("from");
    let signed = signature.signed.iter().filter(is_from).count();
    if signed < index.count("from") {
        return Err(Problem::UnsignedFrom);
    }
    Ok(())
}

impl Tried {
    fn conclude(
        self,
        b_prefix: String,
        keys: &Keys,
        body: &BodyHashes,
        settings: &DkimSettings,
    ) -> SignatureOutcome {
        let (result, grounds) = match self.state {
            Ok(candidate) => candidate.conclude(keys, body, settings),
            Err(problem) => (problem.result(), grounds_of(problem)),
        };
        SignatureOutcome {
            domain: self.description.domain,
            selector: self.description.selector,
            identity: self.description.identity,
            algorithm: self.description.algorithm,
            b_prefix,
            result,
            grounds,
        }
    }
}

impl Candidate {
    fn conclude(
        &self,
        keys: &Keys,
        body: &BodyHashes,
        settings: &DkimSettings,
    ) -> (DkimResult, DkimGrounds) {
        let (key, header) = keys.verify(
            self.key_name,
            &self.key_use,
            &self.header,
            settings.min_rsa_bits,
        );
        let mut grounds = DkimGrounds {
            key_bits: key.and_then(Key::bits),
            testing: key.is_some_and(|key| key.is_testing),
            ..DkimGrounds::default()
        };
        let (unsigned, body) = body.check(self.body, &self.body_hash);
        grounds.unsigned_octets = unsigned;
        let problem = match (header, body) {
            (Ok(()), Ok(())) => {
                grounds.may_align = unsigned == 0 || settings.allow_body_length;
                return (DkimResult::Pass, grounds);
            }
            (Ok(()), Err(problem)) => {
                grounds.headers_intact = problem == Problem::BodyHash;
                problem
            }
            (Err(Problem::Signature), Err(Problem::BodyHash)) => Problem::BodyHashAndSignature,
            // RFC 6376 §6.1.3: "if the body hash does not match, the entire signature must be considered
            // to have failed". No later answer about the key can change that.
            (
                Err(Problem::Lookup(_)),
                Err(problem @ (Problem::BodyHash | Problem::BodyTooShort)),
            ) => problem,
            (Err(problem), _) => problem,
        };
        grounds.reason = problem.to_string();
        (problem.result(), grounds)
    }
}

fn grounds_of(problem: Problem) -> DkimGrounds {
    DkimGrounds {
        reason: problem.to_string(),
        ..DkimGrounds::default()
    }
}

/// For each signature the first characters of `b=`. RFC 6008 §4: "MUST be at least the first eight
/// characters ... and MUST be long enough to be unique among the results being reported".
fn distinct_prefixes(tried: &[Tried]) -> Vec<String> {
    let texts: Vec<&str> = tried.iter().map(|t| t.description.b.as_str()).collect();
    let prefix = |(at, text): (usize, &&str)| {
        let others = texts.iter().enumerate().filter(|(other, _)| *other != at);
        let shared = |other: &str| {
            let pairs = text.bytes().zip(other.bytes());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let longest = others.map(|(_, other)| shared(other)).max().unwrap_or(0);
        text.chars().take((longest + 1).max(8)).collect()
    };
    texts.iter().enumerate().map(prefix).collect()
}

/// DKIM-Signature fields read at all; more are not even named.
const MAX_READ: usize = 500;
/// Records tried at one key's name; there should be one.
const MAX_RECORDS: usize = 8;
/// Seconds that clocks may differ.
const CLOCK_DRIFT: u64 = 300;
