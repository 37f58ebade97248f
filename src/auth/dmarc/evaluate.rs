//! The DMARC conclusion, RFC 9989 §5.3.2 to §5.3.6: facts and authentication results to an
//! `Evaluation`.
//!
//! Owns the result and its grounds. Pure. Never decides what to do with the message.

use super::align::compare;
use super::discover::{DmarcFacts, Existence, published};
use super::walk::Discovered;
use super::{
    Alignment, AlignmentMode, Evaluation, Finding, Identifier, IdentifierAlignment, PolicyTag,
    PublishedPolicy,
};
use crate::auth::dkim::DkimEvidence;
use crate::auth::spf::SpfOutcome;
use crate::auth::{DkimResult, DmarcResult, SpfResult};
use crate::domain::DomainName;

/// Concludes. `spf` is the outcome for the MAIL FROM identity, RFC 9989 §3.2.4: "DMARC relies solely
/// on SPF validation of the MAIL FROM identity."
pub fn evaluate(facts: &DmarcFacts, spf: Option<&SpfOutcome>, dkim: &DkimEvidence) -> Evaluation {
    let facts_alone = |result, grounds| Evaluation {
        author_domain: facts.author.start().clone(),
        result,
        policy: None,
        discovery: facts.author.steps(),
        spf: Alignment::default(),
        dkim: Alignment::default(),
        organizational_domain: facts.author.organizational_domain().ok().flatten(),
        grounds,
    };
    let record = match facts.author.discovered() {
        // RFC 9989 §5.3.6: "If one or more DNS queries required to perform DMARC validation on the
        // message do not complete due to temporary or permanent DNS errors, the message cannot be
        // considered to pass or fail the DMARC mechanism check."
        Discovered::Failed(visit, error) => {
            let grounds = format!("_dmarc.{}: {error}", visit.domain);
            return facts_alone(DmarcResult::Temperror, grounds);
        }
        Discovered::Nothing => return facts_alone(DmarcResult::None, no_record(facts)),
        Discovered::Record(domain, record) if !record.usable => {
            let problem = record.problems.last().map_or("", String::as_str);
            let grounds = format!("the record at _dmarc.{domain} cannot be used: {problem}");
            return facts_alone(DmarcResult::None, grounds);
        }
        Discovered::Record(_, record) => record,
    };
    let spf = Mechanism::new("SPF", facts, spf_domains(spf), record.aspf);
    let dkim = Mechanism::new("DKIM", facts, dkim_domains(dkim), record.adkim);
    let conclusion = conclude(facts, [&dkim, &spf]);
    Evaluation {
        policy: conclusion.policy,
        spf: spf.alignment,
        dkim: dkim.alignment,
        ..facts_alone(conclusion.result, conclusion.grounds)
    }
}

struct Conclusion {
    result: DmarcResult,
    policy: Option<PublishedPolicy>,
    grounds: String,
}

fn conclude(facts: &DmarcFacts, mechanisms: [&Mechanism; 2]) -> Conclusion {
    // RFC 9989 §5.3.5: "If one or more of the Authenticated Identifiers align with the Author Domain,
    // the message is considered to pass the DMARC mechanism check."
    if let Some(grounds) = mechanisms.iter().find_map(|m| m.aligned()) {
        // Which of sp and np would have applied to a failure makes no difference here.
        let policy = published(&facts.author, facts.existence)
            .or_else(|_| published(&facts.author, Existence::Exists));
        return Conclusion {
            result: DmarcResult::Pass,
            policy: policy.ok().flatten(),
            grounds,
        };
    }
    let policy = published(&facts.author, facts.existence);
    if let Some(grounds) = mechanisms.iter().find_map(|m| m.undecided()) {
        return Conclusion {
            result: DmarcResult::Temperror,
            policy: policy.ok().flatten(),
            grounds,
        };
    }
    let author = facts.author.start();
    match policy {
        Err(error) => Conclusion {
            result: DmarcResult::Temperror,
            policy: None,
            grounds: format!("whether {author} exists, which decides between sp and np: {error}"),
        },
        Ok(policy) => {
            let mut grounds = nothing_aligned(mechanisms);
            if policy.as_ref().is_some_and(|p| p.tag == PolicyTag::Np) {
                grounds += &format!("; {author} does not exist, so np applies");
            }
            Conclusion {
                result: DmarcResult::Fail,
                policy,
                grounds,
            }
        }
    }
}

/// The identifiers of one mechanism: those that authenticate, and those that DNS left open.
#[derive(Default)]
struct Domains {
    passed: Vec<DomainName>,
    open: Vec<DomainName>,
}

fn spf_domains(spf: Option<&SpfOutcome>) -> Domains {
    let mut domains = Domains::default();
    let Some(spf) = spf else {
        return domains;
    };
    let Ok(domain) = DomainName::parse(&spf.domain) else {
        return domains;
    };
    match spf.result {
        SpfResult::Pass => domains.passed.push(domain),
        SpfResult::Temperror => domains.open.push(domain),
        SpfResult::None
        | SpfResult::Fail
        | SpfResult::Softfail
        | SpfResult::Neutral
        | SpfResult::Permerror => {}
    }
    domains
}

fn dkim_domains(dkim: &DkimEvidence) -> Domains {
    let mut domains = Domains::default();
    for signature in &dkim.signatures {
        let Ok(domain) = DomainName::parse(&signature.domain) else {
            continue;
        };
        let list = match signature.result {
            DkimResult::Pass if signature.grounds.may_align => &mut domains.passed,
            DkimResult::Temperror => &mut domains.open,
            DkimResult::Pass
            | DkimResult::None
            | DkimResult::Fail
            | DkimResult::Policy
            | DkimResult::Neutral
            | DkimResult::Permerror => continue,
        };
        if !list.contains(&domain) {
            list.push(domain);
        }
    }
    domains
}

/// One mechanism, compared with the author domain.
struct Mechanism<'f> {
    name: &'static str,
    facts: &'f DmarcFacts,
    alignment: Alignment,
    /// Identifiers whose own result is temperror, compared as if they had passed.
    open: Vec<Identifier>,
}

impl<'f> Mechanism<'f> {
    fn new(
        name: &'static str,
        facts: &'f DmarcFacts,
        domains: Domains,
        mode: AlignmentMode,
    ) -> Self {
        let compare_all = |domains: Vec<DomainName>| -> Vec<Identifier> {
            let domains = domains.iter();
            domains.map(|domain| compare(facts, domain, mode)).collect()
        };
        let identifiers = compare_all(domains.passed);
        Self {
            name,
            facts,
            alignment: Alignment {
                aligned: identifiers.iter().any(|i| i.alignment.is_aligned()),
                identifiers,
            },
            open: compare_all(domains.open),
        }
    }

    /// How the first aligned identifier is aligned.
    fn aligned(&self) -> Option<String> {
        let mut identifiers = self.alignment.identifiers.iter();
        let found = identifiers.find(|identifier| identifier.alignment.is_aligned())?;
        let (name, domain) = (self.name, &found.domain);
        Some(match (found.alignment, &found.organizational_domain) {
            (IdentifierAlignment::Strict, _) => format!("{name} {domain} is the author domain"),
            (_, Some(organization)) => {
                format!("{name} {domain} shares the organizational domain {organization}")
            }
            (_, None) => format!("{name} {domain} shares the author's organizational domain"),
        })
    }

    /// Why it cannot be said that nothing is aligned, if that is so.
    fn undecided(&self) -> Option<String> {
        let mut identifiers = self.alignment.identifiers.iter();
        if let Some(found) = identifiers.find(|i| i.alignment == IdentifierAlignment::Unknown) {
            let domain = &found.domain;
            return Some(match self.facts.failure_for(domain) {
                Some((visit, error)) => format!(
                    "{} passed for {domain}, but its alignment is unknown: _dmarc.{}: {error}",
                    self.name, visit.domain
                ),
                None => format!(
                    "{} passed for {domain}, whose organizational domain was not looked up",
                    self.name
                ),
            });
        }
        let open = self.open.iter().find(|identifier| {
            identifier.alignment.is_aligned()
                || identifier.alignment == IdentifierAlignment::Unknown
        })?;
        Some(format!(
            "{} of {} has no result for want of DNS, and may be aligned",
            self.name, open.domain
        ))
    }
}

/// Why the message fails.
fn nothing_aligned(mechanisms: [&Mechanism; 2]) -> String {
    let passed = mechanisms.iter().flat_map(|mechanism| {
        let identifiers = mechanism.alignment.identifiers.iter();
        identifiers.map(|identifier| match identifier.alignment {
            IdentifierAlignment::RelaxedOnly => format!(
                "{} {} (the policy asks for the author domain itself)",
                mechanism.name, identifier.domain
            ),
            IdentifierAlignment::Strict
            | IdentifierAlignment::Relaxed
            | IdentifierAlignment::None
            | IdentifierAlignment::Unknown => {
                format!("{} {}", mechanism.name, identifier.domain)
            }
        })
    });
    let passed: Vec<String> = passed.take(MAX_NAMED).collect();
    if passed.is_empty() {
        "no identifier passed SPF or DKIM".to_owned()
    } else {
        format!("what passed is not aligned: {}", passed.join(", "))
    }
}

/// Why no policy applies, with what was found instead of one.
fn no_record(facts: &DmarcFacts) -> String {
    let mut grounds = format!("no DMARC record applies to {}", facts.author.start());
    for visit in facts.author.visits() {
        let what = match &visit.finding {
            Finding::Several(_) => "more than one record, all discarded",
            Finding::NotDmarc => "TXT records, but none for DMARC",
            Finding::TooLong => "not asked, the name would be too long",
            Finding::Record(_) | Finding::NoData | Finding::NxDomain | Finding::Error(_) => {
                continue;
            }
        };
        grounds += &format!("; _dmarc.{}: {what}", visit.domain);
    }
    grounds
}

/// Identifiers that the grounds name.
const MAX_NAMED: usize = 5;
