//! Where reports may go: the destinations of `rua` and `ruf`, and who agreed to receive there.
//!
//! Owns RFC 9990 §4, the check without which anyone could have reports sent to anyone, and what makes an
//! address safe to write into an SMTP command and a header field. Asks DNS through the trait; sends
//! nothing. A failure of DNS is "later", never "no".

use crate::auth::dmarc::discover::organizational_domain;
use crate::auth::dmarc::uri::{ReportUri, Target};
use crate::auth::dmarc::{DiscoveryMethod, record};
use crate::dns::{Answer, LookupError, QueryName, Resolver, TxtRecord};
use crate::domain::DomainName;
use crate::word::words;
use futures_util::future::join_all;
use std::fmt;

words! {
    /// Which list of a policy record is asked for.
    List { Rua = "rua", Ruf = "ruf" }
}

/// Whose record names the destinations, and how many are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The DMARC Policy Domain: where the record was found.
    pub policy_domain: &'a DomainName,
    /// How Organizational Domains are found.
    pub method: DiscoveryMethod,
    pub list: List,
    /// `report.max_destinations`; what is beyond is refused unasked, or left out where receivers put several
    /// addresses in the place of theirs.
    pub max_destinations: usize,
    /// The domain of our own report addresses, none of which gets a report; `None` when we send none.
    pub report_domain: Option<&'a DomainName>,
}

/// What came of one URI of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// As written in the policy record.
    pub uri: String,
    pub standing: Standing,
}

/// Whether a destination may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// One address, or those that the receiver put in its place.
    Verified(Vec<VerifiedDestination>),
    Refused(Refusal),
    /// DNS gave no answer: to be asked again.
    Later(LookupError),
}

/// An address that reports may be sent to. Made by [`verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDestination {
    address: PlainAddress,
    max_octets: Option<u64>,
    relation: Relation,
}

/// `dot-atom@domain`, ASCII, within RFC 5321 §4.5.3.1's sizes: it needs no quoting in an SMTP command
/// or a header field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlainAddress {
    local_part: String,
    domain: DomainName,
}

/// Why a destination may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// One Organizational Domain has both.
    SameOrganization,
    /// The TXT record at this name says so.
    Agreed(QueryName),
}

/// Why a destination is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not a URI at all.
    Malformed(&'static str),
    /// RFC 9989 §4.7: "unknown schemes MUST be ignored".
    OtherScheme,
    NotPlain,
    /// Named before.
    Twice,
    OverLimit,
    Ourselves,
    /// The name that would have to be asked is longer than DNS allows.
    NameTooLong,
    /// There is no record of consent at this name.
    NotAgreed(QueryName),
    /// The record at this name wants reports at another host.
    SentElsewhere(QueryName, DomainName),
    /// The record at this name wants reports at no address that can be used.
    SentNowhere(QueryName),
}

/// Judges each URI of the list, in its order. At most 17 DNS questions for each that is tried.
pub async fn verify(
    uris: &[String],
    request: &Request<'_>,
    resolver: &impl Resolver,
) -> Vec<Destination> {
    let candidates = select(uris, request);
    let hosts = candidates
        .iter()
        .filter_map(|(_, found)| found.as_ref().ok());
    let external = hosts
        .clone()
        .any(|c| c.address.domain != *request.policy_domain);
    let owner = match external {
        true => organizational_domain(request.policy_domain, request.method, resolver).await,
        false => Ok(request.policy_domain.clone()),
    };
    let judged = candidates.into_iter().map(|(uri, found)| {
        let owner = &owner;
        async move {
            let standing = match found {
                Err(refusal) => Standing::Refused(refusal),
                Ok(candidate) => judge(candidate, owner, request, resolver).await,
            };
            Destination { uri, standing }
        }
    });
    without_doubles(join_all(judged).await, request.max_destinations)
}

/// The address that a URI names, not verified; `None` where it names none that mail is sent to.
pub fn named_address(uri: &str) -> Option<PlainAddress> {
    candidate(uri, None).ok().map(|found| found.address)
}

/// An address that could be used if its receiver agrees.
#[derive(Clone)]
struct Candidate {
    address: PlainAddress,
    max_octets: Option<u64>,
}

fn select(uris: &[String], request: &Request<'_>) -> Vec<(String, Result<Candidate, Refusal>)> {
    let mut taken: Vec<PlainAddress> = Vec::new();
    let select = uris.iter().map(|uri| {
        let found = candidate(uri, request.report_domain).and_then(|found| {
            if taken.contains(&found.address) {
                return Err(Refusal::Twice);
            }
            if taken.len() >= request.max_destinations {
                return Err(Refusal::OverLimit);
            }
            taken.push(found.address.clone());
            Ok(found)
        });
        (uri.clone(), found)
    });
    select.collect()
}

fn candidate(uri: &str, report_domain: Option<&DomainName>) -> Result<Candidate, Refusal> {
    let read = ReportUri::parse(uri).map_err(Refusal::Malformed)?;
    let Target::Mailto { local_part, domain } = read.target else {
        return Err(Refusal::OtherScheme);
    };
    let address = PlainAddress::new(&local_part, domain).ok_or(Refusal::NotPlain)?;
    if report_domain.is_some_and(|ours| address.is_ours(ours)) {
        return Err(Refusal::Ourselves);
    }
    Ok(Candidate {
        address,
        max_octets: read.max_octets,
    })
}

/// RFC 9990 §4: "when ... the Organizational Domain at which that record was discovered is not identical
/// to the Organizational Domain of the host part of the authority component ... the following
/// verification steps MUST be taken".
async fn judge(
    candidate: Candidate,
    owner: &Result<DomainName, LookupError>,
    request: &Request<'_>,
    resolver: &impl Resolver,
) -> Standing {
    let host = &candidate.address.domain;
    if host == request.policy_domain {
        return candidate.verified(Relation::SameOrganization);
    }
    let owner = match owner {
        Ok(owner) => owner,
        Err(error) => return Standing::Later(*error),
    };
    match organizational_domain(host, request.method, resolver).await {
        Ok(organization) if organization == *owner => {
            candidate.verified(Relation::SameOrganization)
        }
        Ok(_) => ask(candidate, request, resolver).await,
        Err(error) => Standing::Later(error),
    }
}

/// Steps 2 to 9.
async fn ask(candidate: Candidate, request: &Request<'_>, resolver: &impl Resolver) -> Standing {
    let prefix = format!("{}._report._dmarc", request.policy_domain);
    // "4. If the length of the constructed name exceed DNS limits, a positive determination of the
    // external reporting relationship cannot be made; stop."
    let Ok(question) = QueryName::below(&prefix, &candidate.address.domain) else {
        return Standing::Refused(Refusal::NameTooLong);
    };
    // "5. ... If the result of this request is a temporary DNS error of some kind (e.g., a timeout), the
    // Mail Receiver MAY elect to temporarily fail the delivery so the verification test can be repeated
    // later."
    let records = match resolver.txt(&question).await {
        Ok(Answer::Found(records)) => records,
        Ok(Answer::NoData | Answer::NxDomain) => {
            return Standing::Refused(Refusal::NotAgreed(question));
        }
        Err(error) => return Standing::Later(error),
    };
    match consent(&records, request.list) {
        None => Standing::Refused(Refusal::NotAgreed(question)),
        Some(Consent::AsAsked) => candidate.verified(Relation::Agreed(question)),
        Some(Consent::Elsewhere(uris)) => overridden(&candidate, &uris, question, request),
    }
}

/// What the records at a `_report._dmarc` name say.
enum Consent {
    AsAsked,
    /// The URIs to be used instead.
    Elsewhere(Vec<String>),
}

/// "6. For each record returned, parse the result as a series of "tag=value" pairs ... In particular, the
/// "v=DMARC1" tag is mandatory and MUST appear first in the list. Discard any that do not pass this
/// test." "8. If at least one TXT resource record remains in the set after parsing, then the external
/// reporting arrangement was authorized". "9. If a "rua" tag is thus discovered, replace the
/// corresponding value".
fn consent(records: &[TxtRecord], list: List) -> Option<Consent> {
    let parsed = records.iter().take(MAX_RECORDS);
    let mut parsed = parsed
        .filter_map(|txt| record::parse(txt.as_bytes()))
        .peekable();
    parsed.peek()?;
    let mut replaced = false;
    let mut uris = Vec::new();
    for record in parsed {
        let written = record.text.split(';').filter_map(|tag| tag.split_once('='));
        let mut names = written.map(|(name, _)| name.trim());
        replaced |= names.any(|name| name.eq_ignore_ascii_case(list.as_str()));
        uris.extend(match list {
            List::Rua => record.rua,
            List::Ruf => record.ruf,
        });
    }
    if replaced || !uris.is_empty() {
        return Some(Consent::Elsewhere(uris));
    }
    Some(Consent::AsAsked)
}

/// "to prevent loops or indirect abuse, the overriding URI MUST use the same destination host from the
/// first step". "if the confirming record includes a URI whose host is again different than the domain
/// publishing that override, the Mail Receiver generating the report MUST NOT generate a report to
/// either the original or the override URI."
fn overridden(
    asked: &Candidate,
    uris: &[String],
    question: QueryName,
    request: &Request<'_>,
) -> Standing {
    let mut instead = Vec::new();
    for uri in uris {
        if let Some(host) = host(uri).filter(|host| *host != asked.address.domain) {
            return Standing::Refused(Refusal::SentElsewhere(question, host));
        }
        let Ok(found) = candidate(uri, request.report_domain) else {
            continue;
        };
        if instead.len() < request.max_destinations {
            instead.push(VerifiedDestination {
                address: found.address,
                // The size that the record asked first is the receiver's no longer.
                max_octets: found.max_octets,
                relation: Relation::Agreed(question.clone()),
            });
        }
    }
    if instead.is_empty() {
        return Standing::Refused(Refusal::SentNowhere(question));
    }
    Standing::Verified(instead)
}

fn host(uri: &str) -> Option<DomainName> {
    match ReportUri::parse(uri).ok()?.target {
        Target::Mailto { domain, .. } => Some(domain),
        Target::Other { host } => host,
    }
}

/// Overrides can name one address for several URIs: it gets one report. And each can name many for one:
/// all of them together are no more than `most`.
fn without_doubles(mut destinations: Vec<Destination>, most: usize) -> Vec<Destination> {
    let mut taken: Vec<PlainAddress> = Vec::new();
    for destination in &mut destinations {
        let Standing::Verified(addresses) = &mut destination.standing else {
            continue;
        };
        let mut refusal = Refusal::Twice;
        addresses.retain(|verified| {
            if taken.contains(&verified.address) {
                return false;
            }
            if taken.len() >= most {
                refusal = Refusal::OverLimit;
                return false;
            }
            taken.push(verified.address.clone());
            true
        });
        if addresses.is_empty() {
            destination.standing = Standing::Refused(refusal);
        }
    }
    destinations
}

impl Candidate {
    fn verified(self, relation: Relation) -> Standing {
        Standing::Verified(vec![VerifiedDestination {
            address: self.address,
            max_octets: self.max_octets,
            relation,
        }])
    }
}

impl VerifiedDestination {
    pub fn address(&self) -> &PlainAddress {
        &self.address
    }

    /// The obsolete size limit (RFC 7489 §6.3) of the mail, in octets; RFC 9989 §4.8 ignores it.
    pub fn max_octets(&self) -> Option<u64> {
        self.max_octets
    }

    pub fn relation(&self) -> &Relation {
        &self.relation
    }
}

impl PlainAddress {
    /// `None`: the local part would have to be quoted, isn't ASCII, or one of them is too long.
    pub fn new(local_part: &str, domain: DomainName) -> Option<Self> {
        let address = Self {
            local_part: local_part.to_owned(),
            domain,
        };
        let atoms = local_part.split('.').all(is_atom);
        let fits = local_part.len() <= MAX_LOCAL_PART && address.to_string().len() <= MAX_ADDRESS;
        (atoms && fits).then_some(address)
    }

    /// Reads `local@domain`.
    pub fn parse(text: &str) -> Option<Self> {
        let (local_part, domain) = text.rsplit_once('@')?;
        Self::new(local_part, DomainName::parse(domain).ok()?)
    }

    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// Whether it is where our own bounces go: a report there would only be counted as no bounce.
    fn is_ours(&self, report_domain: &DomainName) -> bool {
        let (word, _) = self
            .local_part
            .split_once('+')
            .unwrap_or((&self.local_part, ""));
        self.domain == *report_domain && word.eq_ignore_ascii_case(BOUNCE)
    }
}

/// RFC 5322 §3.2.3 `1*atext`.
fn is_atom(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

impl Refusal {
    /// Whether DNS may say something else another day.
    pub fn may_change(&self) -> bool {
        match self {
            Self::NotAgreed(_) | Self::SentElsewhere(_, _) | Self::SentNowhere(_) => true,
            Self::Malformed(_)
            | Self::OtherScheme
            | Self::NotPlain
            | Self::Twice
            | Self::OverLimit
            | Self::Ourselves
            | Self::NameTooLong => false,
        }
    }
}

impl fmt::Display for PlainAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameOrganization => f.write_str("the same organization"),
            Self::Agreed(question) => write!(f, "another organization, which agrees at {question}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(problem) => f.write_str(problem),
            Self::OtherScheme => f.write_str("not a mailto: URI, and reports go by mail only"),
            Self::NotPlain => f.write_str(
                "an address that would need quotes or UTF-8, or is too long; reports go to plain ones only",
            ),
            Self::Twice => f.write_str("the address is named more than once"),
            Self::OverLimit => f.write_str("more destinations than are tried"),
            Self::Ourselves => f.write_str("an address that we send reports from"),
            Self::NameTooLong => f.write_str(
                "the name to be asked for consent is longer than a DNS name can be (RFC 9990 §4)",
            ),
            Self::NotAgreed(question) => write!(
                f,
                "another organization, which doesn't agree: no TXT record \"v=DMARC1\" at {question} (RFC 9990 §4)"
            ),
            Self::SentElsewhere(question, host) => write!(
                f,
                "the record at {question} names an address at another host, {host}, so neither is used (RFC 9990 §4)"
            ),
            Self::SentNowhere(question) => write!(
                f,
                "the record at {question} replaces the address by none that can be used (RFC 9990 §4)"
            ),
        }
    }
}

/// The default of `report.max_destinations`: nobody publishes so many.
pub const MAX_DESTINATIONS: usize = 10;
/// The local part of our return path, before its `+`.
pub const BOUNCE: &str = "bounce";
/// RFC 5321 §4.5.3.1.1 and §4.5.3.1.3 (a path of 256 has two angle brackets).
const MAX_LOCAL_PART: usize = 64;
const MAX_ADDRESS: usize = 254;
/// Records at one `_report._dmarc` name that are read.
const MAX_RECORDS: usize = 10;
