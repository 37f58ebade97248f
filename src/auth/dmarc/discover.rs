//! Policy discovery and Organizational Domains, RFC 9989 §4.10: the questions DMARC puts to DNS.
//!
//! Owns what is asked, when, and what need not be: no name twice, nothing above `psd=y` or `psd=n`, no
//! walk for an identifier that cannot align. Judges nothing; `evaluate` does, from `DmarcFacts`.

use super::walk::{Discovered, Visit, Walk};
use super::{DiscoveryMethod, Finding, Policy, PolicyTag, PublishedPolicy, Record, Step, record};
use crate::dns::{Answer, LookupError, QueryName, Resolver};
use crate::domain::DomainName;
use futures_util::future::join_all;

/// What DNS said about one author domain and the identifiers that could align with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcFacts {
    /// From the author domain upwards; cut short where the rest decides nothing.
    pub(super) author: Walk,
    pub(super) existence: Existence,
    /// The walks of the identifiers within the author's Organizational Domain.
    pub(super) others: Vec<Walk>,
}

/// Policy discovery for one domain, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub author_domain: DomainName,
    pub method: DiscoveryMethod,
    /// The whole walk, in order.
    pub steps: Vec<Step>,
    pub organizational_domain: Result<DomainName, LookupError>,
    pub existence: Existence,
    /// `Ok(None)`: no record, or one that cannot be used; `steps` has it then.
    pub policy: Result<Option<PublishedPolicy>, LookupError>,
}

/// Whether the author domain exists, which decides between `sp` and `np`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// The same policy applies either way.
    NotAsked,
    Exists,
    /// NXDOMAIN (RFC 9989 §3.2.13).
    DoesNotExist,
    Unknown(LookupError),
}

impl DmarcFacts {
    /// The name whose failure hides whether `domain` is aligned.
    pub(super) fn failure_for(&self, domain: &DomainName) -> Option<(&Visit, LookupError)> {
        let own = self.others.iter().find(|walk| walk.start() == domain);
        own.and_then(Walk::failure)
            .or_else(|| self.author.failure())
    }
}

/// Asks everything that may matter for `author` and for `candidates`: the MAIL FROM domain and every
/// `d=`, whether or not they will pass. Nothing needs asking afterwards. At most 8 names for the
/// author, at most 8 for each candidate, one more for the author's existence.
pub async fn gather(
    author: &DomainName,
    candidates: &[DomainName],
    method: DiscoveryMethod,
    resolver: &impl Resolver,
) -> DmarcFacts {
    let mut walk = Walk::new(author.clone(), method);
    visit_next(&mut walk, resolver).await;
    let rivals = could_align(author, candidates);
    if needs_more(&walk, &rivals) {
        finish(&mut walk, resolver).await;
    }
    let rivals = worth_walking(&walk, rivals);
    let (existence, others) = ask_the_rest(&walk, rivals, resolver).await;
    DmarcFacts {
        author: walk,
        existence,
        others,
    }
}

/// Policy discovery alone, walked to its end.
pub async fn discover(
    author: &DomainName,
    method: DiscoveryMethod,
    resolver: &impl Resolver,
) -> Discovery {
    let mut walk = Walk::new(author.clone(), method);
    finish(&mut walk, resolver).await;
    let (existence, _) = ask_the_rest(&walk, Vec::new(), resolver).await;
    let organizational_domain = walk.organizational_domain();
    Discovery {
        author_domain: author.clone(),
        method,
        steps: walk.steps(),
        organizational_domain: organizational_domain
            .map(|domain| domain.unwrap_or_else(|| author.clone())),
        existence,
        policy: published(&walk, existence),
    }
}

/// The Organizational Domain of any domain, RFC 9989 §4.10.2. Err: DNS gave no answer on the way.
pub async fn organizational_domain(
    domain: &DomainName,
    method: DiscoveryMethod,
    resolver: &impl Resolver,
) -> Result<DomainName, LookupError> {
    let mut walk = Walk::new(domain.clone(), method);
    if method == DiscoveryMethod::TreeWalk {
        finish(&mut walk, resolver).await;
    }
    let organization = walk.organizational_domain()?;
    Ok(organization.unwrap_or_else(|| domain.clone()))
}

/// The policy for the domain the walk started at. Err: DNS gave no answer where one was needed.
pub(super) fn published(
    walk: &Walk,
    existence: Existence,
) -> Result<Option<PublishedPolicy>, LookupError> {
    let (domain, record) = match walk.discovered() {
        Discovered::Record(domain, record) if record.usable => (domain, record),
        Discovered::Record(_, _) | Discovered::Nothing => return Ok(None),
        Discovered::Failed(_, error) => return Err(error),
    };
    let (tag, selected) = if domain == walk.start() {
        (PolicyTag::P, record.p)
    } else {
        match (record.np, existence) {
            (Some(np), Existence::DoesNotExist) => (PolicyTag::Np, np),
            (Some(_), Existence::Unknown(error)) => return Err(error),
            (Some(_), Existence::Exists | Existence::NotAsked) | (None, _) => {
                for_subdomains(record)
            }
        }
    };
    Ok(Some(PublishedPolicy {
        domain: domain.clone(),
        method: walk.method(),
        record: record.clone(),
        tag,
        selected,
        applied: applied(selected, record.testing),
    }))
}

/// What applies to existing subdomains: `sp`, or `p` without one.
fn for_subdomains(record: &Record) -> (PolicyTag, Policy) {
    match record.sp {
        Some(sp) => (PolicyTag::Sp, sp),
        None => (PolicyTag::P, record.p),
    }
}

/// RFC 9989 §4.7 "t": "the policy applied to any failing messages will be one level below the
/// specified policy."
fn applied(selected: Policy, testing: bool) -> Policy {
    match selected {
        Policy::Reject if testing => Policy::Quarantine,
        Policy::Quarantine if testing => Policy::None,
        Policy::None | Policy::Quarantine | Policy::Reject => selected,
    }
}

/// Candidates that some Organizational Domain could hold together with the author: others than the
/// author, under the same top-level domain; each once.
fn could_align<'c>(author: &DomainName, candidates: &'c [DomainName]) -> Vec<&'c DomainName> {
    let top = author.suffix(1);
    let mut rivals: Vec<&DomainName> = Vec::new();
    for candidate in candidates {
        if candidate != author && candidate.suffix(1) == top && !rivals.contains(&candidate) {
            rivals.push(candidate);
        }
    }
    rivals
}

/// Whether the names above the author still decide anything once its own has been asked.
fn needs_more(walk: &Walk, rivals: &[&DomainName]) -> bool {
    match walk.discovered() {
        // RFC 9989 §4.10.2: no need "[if] the Author Domain and the Authenticated Identifier(s) are
        // all the same domain, and there is a DMARC Policy Record published for that domain."
        Discovered::Record(_, record) => record.usable && !rivals.is_empty(),
        Discovered::Nothing => true,
        Discovered::Failed(_, _) => false,
    }
}

/// Those of the candidates whose walk can show that they align. An Organizational Domain is the
/// domain itself or above it, so only what lies within the author's can share it.
fn worth_walking<'c>(author: &Walk, rivals: Vec<&'c DomainName>) -> Vec<&'c DomainName> {
    let applies = match author.discovered() {
        Discovered::Record(_, record) => record.usable,
        Discovered::Nothing | Discovered::Failed(_, _) => false,
    };
    let scope = match author.organizational_domain() {
        Ok(organization) => organization,
        // Only a record below the failure can still be what both have in common.
        Err(_) => author.shortest_record().cloned(),
    };
    match (author.method(), scope) {
        (DiscoveryMethod::TreeWalk, Some(scope)) if applies => {
            let within = rivals.into_iter().filter(|rival| rival.is_within(&scope));
            within.collect()
        }
        (DiscoveryMethod::TreeWalk | DiscoveryMethod::Psl, _) => Vec::new(),
    }
}

/// Existence that needs no question: it decides nothing, or the walk has told already.
fn existence_from(walk: &Walk) -> Option<Existence> {
    let Discovered::Record(domain, record) = walk.discovered() else {
        return Some(Existence::NotAsked);
    };
    let (_, otherwise) = for_subdomains(record);
    let matters = record.np.is_some_and(|np| np != otherwise);
    if domain == walk.start() || !record.usable || !matters {
        return Some(Existence::NotAsked);
    }
    match walk.visits().first().map(|visit| &visit.finding) {
        // RFC 8020 §2: where a name exists, so does every name above it.
        Some(Finding::NoData | Finding::NotDmarc | Finding::Several(_) | Finding::Record(_)) => {
            Some(Existence::Exists)
        }
        Some(Finding::NxDomain | Finding::TooLong | Finding::Error(_)) | None => None,
    }
}

/// What one round of look-ups asks.
enum Question {
    Record(DomainName),
    Existence,
}

enum Reply {
    Record(Visit),
    Existence(Existence),
}

/// Existence and the walks of the candidates, in rounds: each asks at once all that the walks wait
/// for, and no name that any of them, or the author's, has met before.
async fn ask_the_rest(
    author: &Walk,
    rivals: Vec<&DomainName>,
    resolver: &impl Resolver,
) -> (Existence, Vec<Walk>) {
    let mut known = author.visits().to_vec();
    let mut existence = existence_from(author);
    let started = rivals.into_iter();
    let mut walks: Vec<Walk> = started
        .map(|rival| Walk::new(rival.clone(), author.method()))
        .collect();
    loop {
        let mut questions: Vec<Question> = Vec::new();
        for domain in unknown(&mut walks, &known) {
            questions.push(Question::Record(domain));
        }
        if existence.is_none() {
            questions.push(Question::Existence);
        }
        if questions.is_empty() {
            return (existence.unwrap_or(Existence::NotAsked), walks);
        }
        let replies = questions.into_iter().map(|question| async {
            match question {
                Question::Record(domain) => Reply::Record(visit(domain, resolver).await),
                Question::Existence => Reply::Existence(exists(author.start(), resolver).await),
            }
        });
        for reply in join_all(replies).await {
            match reply {
                Reply::Record(visit) => known.push(visit),
                Reply::Existence(found) => existence = Some(found),
            }
        }
    }
}

/// Moves every walk on over what is known; the names they wait for then, each once.
fn unknown(walks: &mut [Walk], known: &[Visit]) -> Vec<DomainName> {
    let mut wanted: Vec<DomainName> = Vec::new();
    for walk in walks {
        while let Some(domain) = walk.next() {
            match known.iter().find(|visit| visit.domain == domain) {
                Some(visit) => walk.add(domain, visit.finding.clone()),
                None => {
                    if !wanted.contains(&domain) {
                        wanted.push(domain);
                    }
                    break;
                }
            }
        }
    }
    wanted
}

async fn finish(walk: &mut Walk, resolver: &impl Resolver) {
    while walk.next().is_some() {
        visit_next(walk, resolver).await;
    }
}

async fn visit_next(walk: &mut Walk, resolver: &impl Resolver) {
    if let Some(domain) = walk.next() {
        let Visit { domain, finding } = visit(domain, resolver).await;
        walk.add(domain, finding);
    }
}

/// RFC 9989 §4.10 steps 1 and 2, and again 5 and 6.
async fn visit(domain: DomainName, resolver: &impl Resolver) -> Visit {
    let finding = match QueryName::below("_dmarc", &domain) {
        Err(_) => Finding::TooLong,
        Ok(name) => match resolver.txt(&name).await {
            Ok(Answer::NxDomain) => Finding::NxDomain,
            Ok(Answer::NoData) => Finding::NoData,
            Ok(Answer::Found(found)) => {
                // "Records that do not start with a "v" tag that identifies the current version of
                // DMARC are discarded."
                let records = found.iter().filter_map(|txt| record::parse(txt.as_bytes()));
                finding(records.take(MAX_RECORDS).collect())
            }
            Err(error) => Finding::Error(error),
        },
    };
    Visit { domain, finding }
}

/// "If multiple DMARC Policy Records are returned for a single target, they are all discarded."
fn finding(mut records: Vec<Record>) -> Finding {
    match (records.pop(), records.is_empty()) {
        (None, _) => Finding::NotDmarc,
        (Some(record), true) => Finding::Record(Box::new(record)),
        (Some(last), false) => {
            records.push(last);
            Finding::Several(records.into_iter().map(|record| record.text).collect())
        }
    }
}

/// RFC 9989 §3.2.13: "if the response code received for a query for a domain name is NXDOMAIN, then
/// the domain name and any possible subdomains do not exist." Any type tells; A answers are small.
async fn exists(domain: &DomainName, resolver: &impl Resolver) -> Existence {
    match resolver.a(&QueryName::from(domain)).await {
        Ok(Answer::NxDomain) => Existence::DoesNotExist,
        Ok(Answer::NoData | Answer::Found(_)) => Existence::Exists,
        Err(error) => Existence::Unknown(error),
    }
}

/// DMARC records at one name that are kept to be shown; more than one is as bad as many.
const MAX_RECORDS: usize = 5;
