//! `Chain`: the validator's steps in order, RFC 8617 §5.2.
//!
//! "All errors, including DNS failures, become unrecoverable and are considered permanent" (§5.2.1):
//! there is no temperror here; the reason says what it was.

use super::set::{self, Broken, Set, results_text};
use super::{ArcEvidence, ArcResult, ArcSet};
use crate::auth::dkim::body::BodyRequest;
use crate::auth::dkim::canon::Canon;
use crate::auth::dkim::header::FieldIndex;
use crate::auth::dkim::key::KeyUse;
use crate::auth::dkim::problem::Problem;
use crate::auth::dkim::signature::{self, Seal, Signature};
use crate::auth::dkim::tags::TagList;
use crate::auth::dkim::verify::check_times;
use crate::auth::dkim::{BodyHashes, DkimSettings, KeyCache, Keys};
use crate::dns::{QueryName, Resolver};
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::time::Timestamp;
use aws_lc_rs::digest::{Context, Digest, SHA256};

/// The chain of one message, as far as its header tells.
#[derive(Debug, Default)]
pub struct Chain {
    sets: Vec<ArcSet>,
    /// Why it already failed.
    broken: Option<String>,
    newest: Option<Message>,
    /// Oldest first.
    seals: Vec<Signed>,
    /// The names of keys to ask for, each once.
    key_names: Vec<QueryName>,
    settings: DkimSettings,
}

/// The newest ARC-Message-Signature.
#[derive(Debug)]
struct Message {
    signed: Signed,
    body: BodyRequest,
    body_hash: Vec<u8>,
}

/// A hash and the signature over it.
#[derive(Debug)]
struct Signed {
    /// Index into `key_names`.
    key_name: usize,
    key_use: KeyUse,
    header: Digest,
}

impl Chain {
    /// Reads the ARC fields of a header, given in the order of the message. What the operator decided
    /// about keys and `l=` in DKIM holds here too.
    pub fn read(fields: &[HeaderField], settings: &DkimSettings, now: Timestamp) -> Self {
        let sets = match set::sets(fields) {
            Ok(sets) if sets.is_empty() => return Self::default(),
            Ok(sets) => sets,
            Err(broken) => {
                return Self {
                    broken: Some(broken.to_string()),
                    ..Self::default()
                };
            }
        };
        let mut chain = Self {
            sets: sets
                .iter()
                .zip(1..)
                .map(|(set, i)| describe(fields, set, i))
                .collect(),
            settings: settings.clone(),
            ..Self::default()
        };
        for (kept, set) in chain
            .sets
            .iter_mut()
            .zip(&sets)
            .rev()
            .take(MAX_RESULTS_KEPT)
        {
            kept.results = results_text(value(fields, set.results));
        }
        chain.broken = chain.prepare(fields, &sets, now).err();
        chain
    }

    /// What the newest message signature wants to know of the body.
    pub fn body_request(&self) -> Option<BodyRequest> {
        self.newest.as_ref().map(|newest| newest.body)
    }

    /// Asks for all keys at once, for each name once.
    pub async fn look_up_keys(&self, resolver: &impl Resolver, cache: &KeyCache) -> Keys {
        Keys::look_up(&self.key_names, resolver, cache).await
    }

    /// What the chain is worth. `keys` and `body` are those of this chain; where they are missing, it
    /// failed.
    pub fn conclude(self, keys: &Keys, body: &BodyHashes) -> ArcEvidence {
        let settings = &self.settings;
        let (result, reason) = match (self.broken, self.newest) {
            (Some(broken), _) => (ArcResult::Fail, broken),
            (None, None) => (ArcResult::None, String::new()),
            (None, Some(newest)) => match verify(&newest, &self.seals, keys, body, settings) {
                Ok(()) => (ArcResult::Pass, String::new()),
                Err(reason) => (ArcResult::Fail, reason),
            },
        };
        ArcEvidence {
            result,
            sets: self.sets,
            reason,
        }
    }

    /// Steps 2 and 3 of RFC 8617 §5.2, and the hashes for the others.
    fn prepare(
        &mut self,
        fields: &[HeaderField],
        sets: &[Set],
        now: Timestamp,
    ) -> Result<(), String> {
        check_statuses(fields, sets).map_err(|broken| broken.to_string())?;
        let mut before = Context::new(&SHA256);
        for (set, instance) in sets.iter().zip(1..) {
            let seal = self.seal(fields, set, &mut before);
            let seal = seal.map_err(|problem| in_seal(instance, problem))?;
            self.seals.push(seal);
        }
        if let Some(set) = sets.last() {
            let newest = self.message(fields, set, now);
            self.newest = Some(newest.map_err(|problem| in_signature(sets.len(), problem))?);
        }
        Ok(())
    }

    fn message(
        &mut self,
        fields: &[HeaderField],
        set: &Set,
        now: Timestamp,
    ) -> Result<Message, Problem> {
        let list = TagList::parse(value(fields, set.signature));
        let signature: Signature<'_> = signature::read_arc(&list)?;
        check_times(&signature, now)?;
        let header = FieldIndex::new(fields).hash(&signature, set.signature)?;
        let body = BodyRequest {
            canon: signature.body_canon,
            limit: signature.body_length,
        };
        Ok(Message {
            body,
            body_hash: signature.body_hash.clone(),
            signed: Signed {
                key_name: self.key_name(&signature.key_name),
                key_use: KeyUse::from(signature),
                header,
            },
        })
    }

    /// RFC 8617 §5.1.1: the fields of all sets "are supplied to the hash function in increasing
    /// instance order", in each "1. ARC-Authentication-Results 2. ARC-Message-Signature 3. ARC-Seal".
    /// `before` has taken the older sets, and takes this one.
    fn seal(
        &mut self,
        fields: &[HeaderField],
        set: &Set,
        before: &mut Context,
    ) -> Result<Signed, Problem> {
        let text = value(fields, set.seal);
        let seal: Seal = signature::read_seal(&TagList::parse(text))?;
        let mut canonical = Vec::new();
        for place in [set.results, set.signature] {
            add(fields.get(place), &mut canonical);
        }
        before.update(&canonical);
        let header = hash_unsigned(fields.get(set.seal), &seal, before.clone());
        canonical.clear();
        add(fields.get(set.seal), &mut canonical);
        before.update(&canonical);
        Ok(Signed {
            key_name: self.key_name(&seal.key_name),
            key_use: seal.key_use,
            header,
        })
    }

    fn key_name(&mut self, name: &QueryName) -> usize {
        let known = self.key_names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.key_names.push(name.clone());
            self.key_names.len() - 1
        })
    }
}

/// Steps 4 and 6 of RFC 8617 §5.2.
fn verify(
    newest: &Message,
    seals: &[Signed],
    keys: &Keys,
    body: &BodyHashes,
    settings: &DkimSettings,
) -> Result<(), String> {
    let verified = newest.verify(keys, body, settings);
    verified.map_err(|problem| in_signature(seals.len(), problem))?;
    for (at, seal) in seals.iter().enumerate().rev() {
        let verified = seal.verify(keys, settings);
        verified.map_err(|problem| in_seal(at + 1, problem))?;
    }
    Ok(())
}

impl Message {
    fn verify(
        &self,
        keys: &Keys,
        body: &BodyHashes,
        settings: &DkimSettings,
    ) -> Result<(), Problem> {
        let (unsigned, hashed) = body.check(self.body, &self.body_hash);
        hashed?;
        // As with DKIM: what stands behind `l=` is anybody's.
        if unsigned > 0 && !settings.allow_body_length {
            return Err(Problem::BodyHash);
        }
        self.signed.verify(keys, settings)
    }
}

impl Signed {
    fn verify(&self, keys: &Keys, settings: &DkimSettings) -> Result<(), Problem> {
        keys.verify(
            self.key_name,
            &self.key_use,
            &self.header,
            settings.min_rsa_bits,
        )
        .1
    }
}

/// RFC 8617 §5.2 steps 2 and 3 C: "For ARC Sets with instance values > 1, the values MUST be "pass".
/// For the ARC Set with instance value = 1, the value MUST be "none"."
fn check_statuses(fields: &[HeaderField], sets: &[Set]) -> Result<(), Broken> {
    let status = |set: &Set| {
        let list = TagList::parse(value(fields, set.seal));
        (
            list.value("cv").map(str::to_owned),
            list.find("h").is_some(),
        )
    };
    let statuses: Vec<_> = sets.iter().map(status).collect();
    if let Some((Some(newest), _)) = statuses.last()
        && newest.eq_ignore_ascii_case("fail")
    {
        return Err(Broken::SealedAsFailed);
    }
    for ((status, names_fields), instance) in statuses.iter().zip(1..) {
        let expected = if instance == 1 { "none" } else { "pass" };
        let fits = |status: &String| status.eq_ignore_ascii_case(expected);
        if !status.as_ref().is_some_and(fits) {
            return Err(Broken::Status(instance));
        }
        if *names_fields {
            return Err(Broken::SealNamesFields(instance));
        }
    }
    Ok(())
}

fn describe(fields: &[HeaderField], set: &Set, instance: u8) -> ArcSet {
    let list = TagList::parse(value(fields, set.seal));
    let name = |tag| {
        let text: String = list
            .value(tag)
            .unwrap_or_default()
            .chars()
            .take(253)
            .collect();
        DomainName::parse(&text).map_or(text, |domain| domain.as_str().to_owned())
    };
    ArcSet {
        instance,
        sealer: name("d"),
        selector: name("s"),
        results: String::new(),
    }
}

/// RFC 8617 §4.1.3: "only "relaxed" header field canonicalization ... is used".
fn add(field: Option<&HeaderField>, canonical: &mut Vec<u8>) {
    if let Some(field) = field {
        Canon::Relaxed.field(&field.name, &field.value, canonical);
    }
}

/// The seal itself comes last, its `b=` emptied, "without a trailing CRLF" (RFC 6376 §3.7).
fn hash_unsigned(field: Option<&HeaderField>, seal: &Seal, mut context: Context) -> Digest {
    if let Some(field) = field {
        let before = field.value.get(..seal.b_place.start).unwrap_or_default();
        let after = field.value.get(seal.b_place.end..).unwrap_or_default();
        let mut canonical = Vec::new();
        Canon::Relaxed.field(&field.name, &[before, after].concat(), &mut canonical);
        context.update(canonical.strip_suffix(b"\r\n").unwrap_or(&canonical));
    }
    context.finish()
}

fn value(fields: &[HeaderField], place: usize) -> &[u8] {
    fields.get(place).map_or(&[], |field| &field.value)
}

fn in_signature(instance: usize, problem: Problem) -> String {
    format!("ARC-Message-Signature {instance}: {problem}")
}

fn in_seal(instance: usize, problem: Problem) -> String {
    format!("ARC-Seal {instance}: {problem}")
}

/// Sets of which the results are kept.
const MAX_RESULTS_KEPT: usize = 10;
