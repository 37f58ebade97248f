//! `check_host()`, RFC 7208 §4: fetches the record, evaluates its terms in order, follows `include`
//! and `redirect`, and fetches the explanation of a fail.
//!
//! Owns the recursion and the conclusion with its grounds; what single terms ask is `lookups`'. Asks
//! one question at a time, and never more than `MAX_QUESTIONS`.

use super::limits::{Exception, Limits};
use super::lookups::{Check, Target, found};
use super::macros::DomainSpec;
use super::record::{Directive, Mechanism, QueryKind, Record, is_spf};
use super::{MatchedTerm, Sender, SpfGrounds, SpfOutcome, SpfRequest, printable};
use crate::auth::SpfResult;
use crate::dns::{Answer, QueryName, Resolver};
use std::future::Future;
use std::pin::Pin;

/// Most questions that one check puts to DNS: the first record; ten terms (RFC 7208 §4.6.4), each
/// `mx` with ten exchanges at worst; the client's reverse names and ten of them validated, kept for
/// the whole check; the explanation.
pub const MAX_QUESTIONS: u32 = 1 + 10 * (1 + 10) + (1 + 10) + 1;

/// RFC 7208 §4: may `request.client` use `domain`? `sender` is what `%{s}`, `%{l}` and `%{o}` mean;
/// it stays the same inside `include` and `redirect`.
pub async fn check_host(
    domain: &str,
    sender: &Sender,
    request: &SpfRequest<'_>,
    resolver: &impl Resolver,
) -> SpfOutcome {
    let mut check = Check {
        // RFC 7208 §5: "SPF implementations on IPv6 servers need to handle both "AAAA" and "A"
        // records, for clients on IPv4-mapped IPv6 addresses".
        client: request.client.to_canonical(),
        helo: super::identity::macro_helo(request.helo),
        sender,
        request,
        resolver,
        reverse: None,
        limits: Limits::default(),
        first_record: None,
    };
    let conclusion = match check.host(domain, Entry::First).await {
        Ok(conclusion) => conclusion,
        Err(exception) => exception.into(),
    };
    // RFC 7208 §6.2: "If check_host() results in a "fail" due to a mechanism match (such as "-all"),
    // and the "exp" modifier is present, then the explanation string returned is computed".
    let explanation = match &conclusion.explanation {
        Some((spec, domain)) => check.explain(spec, domain).await,
        None => None,
    };
    let Conclusion {
        result,
        matched,
        problem,
        ..
    } = conclusion;
    SpfOutcome {
        domain: domain.to_owned(),
        result,
        grounds: SpfGrounds {
            matched,
            problem: problem.map(|text| printable(&text, MAX_PROBLEM_SHOWN)),
            explanation,
            record: check.first_record,
            lookups: check.limits.lookups(),
            void_lookups: check.limits.void_lookups(),
        },
    }
}

/// What one `check_host()` returns.
struct Conclusion {
    result: SpfResult,
    matched: Option<MatchedTerm>,
    problem: Option<String>,
    /// `exp` of the record that said fail, and the domain of that record.
    explanation: Option<(DomainSpec, QueryName)>,
}

/// How evaluation came to a domain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    First,
    Include,
    Redirect,
}

/// What a mechanism says.
enum Match {
    Yes,
    No,
    /// `include` matched because of this term.
    Through(Option<MatchedTerm>),
}

impl<R: Resolver> Check<'_, R> {
    /// `check_host()` for one domain and those it redirects to.
    async fn host(&mut self, domain: &str, entry: Entry) -> Result<Conclusion, Exception> {
        let mut entry = entry;
        let mut domain = match queryable(domain) {
            Ok(name) => name,
            Err(why) => return Ok(Conclusion::none(why)),
        };
        loop {
            let record = match self.record(&domain, entry).await? {
                Ok(record) => record,
                // RFC 7208 §6.1: "if no SPF record is found, or if the <target-name> is malformed,
                // the result is a "permerror" rather than "none"."
                Err(why) if entry == Entry::Redirect => return Err(Exception::Permerror(why)),
                Err(why) => return Ok(Conclusion::none(why)),
            };
            if let Some(conclusion) = self.directives(&record, &domain).await? {
                return Ok(conclusion);
            }
            let Some(spec) = &record.redirect else {
                return Ok(Conclusion::neutral(&domain));
            };
            self.limits.count_lookup("redirect", &domain)?;
            let target = match self.target(spec, &domain).await? {
                Target::Name(name) => queryable(name.as_str()),
                Target::Malformed(text) => queryable(&text),
                Target::Unmatchable => Err("redirect needs an ASCII local part".to_owned()),
            };
            domain = target.map_err(Exception::Permerror)?;
            entry = Entry::Redirect;
        }
    }

    /// The record of a domain, or why there is none.
    async fn record(
        &mut self,
        domain: &QueryName,
        entry: Entry,
    ) -> Result<Result<Record, String>, Exception> {
        // RFC 7208 §4.4: "If the DNS lookup returns a server failure (RCODE 2) or some other error
        // (RCODE other than 0 or 3), or if the lookup times out, then check_host() terminates
        // immediately with the result "temperror"."
        let answer = found(domain, self.resolver.txt(domain).await)?;
        if entry != Entry::First {
            self.limits.count_if_void(domain, &answer)?;
        }
        let mut texts = answer.records().iter().filter(|txt| is_spf(txt.as_bytes()));
        let Some(text) = texts.next() else {
            return Ok(Err(match answer {
                Answer::NxDomain => format!("{domain} does not exist"),
                Answer::NoData | Answer::Found(_) => format!("{domain} has no SPF record"),
            }));
        };
        // RFC 7208 §4.5: "If the resultant record set includes more than one record, check_host()
        // produces the "permerror" result."
        if texts.next().is_some() {
            return Err(Exception::Permerror(format!(
                "{domain} has more than one SPF record"
            )));
        }
        if self.first_record.is_none() {
            let shown = String::from_utf8_lossy(text.as_bytes());
            self.first_record = Some(printable(&shown, MAX_RECORD_SHOWN));
        }
        match Record::parse(text.as_bytes()) {
            Ok(record) => Ok(Ok(record)),
            Err(why) => Err(Exception::Permerror(format!(
                "the record of {domain} is wrong {why}"
            ))),
        }
    }

    /// RFC 7208 §4.6.2: "Each mechanism is considered in turn from left to right."
    async fn directives(
        &mut self,
        record: &Record,
        domain: &QueryName,
    ) -> Result<Option<Conclusion>, Exception> {
        for directive in &record.directives {
            let own = || {
                Some(MatchedTerm {
                    term: directive.text.clone(),
                    domain: printable(domain.as_str(), MAX_NAME_SHOWN),
                })
            };
            let matched = match self.matches(directive, domain).await? {
                Match::No => continue,
                Match::Yes => own(),
                // The term that let the client pass says more than the include does, unless the
                // include turns that pass into something else.
                Match::Through(inner) if directive.result == SpfResult::Pass => inner,
                Match::Through(_) => own(),
            };
            let explained = record.explanation.clone();
            return Ok(Some(Conclusion {
                result: directive.result,
                matched,
                problem: None,
                explanation: explained
                    .filter(|_| directive.result == SpfResult::Fail)
                    .map(|spec| (spec, domain.clone())),
            }));
        }
        Ok(None)
    }

    async fn matches(
        &mut self,
        directive: &Directive,
        domain: &QueryName,
    ) -> Result<Match, Exception> {
        let query = match &directive.mechanism {
            Mechanism::All => return Ok(Match::Yes),
            Mechanism::Ip(network) => return Ok(Match::from(network.contains(self.client))),
            Mechanism::Query(query) => query,
        };
        self.limits.count_lookup(&directive.text, domain)?;
        let target = match &query.domain {
            Some(spec) => self.target(spec, domain).await?,
            None => Target::Name(domain.clone()),
        };
        let name = match (target, query.kind) {
            (Target::Name(name), _) => name,
            // RFC 7208 §4.3: "If the <domain> is malformed [...] check_host() immediately returns the
            // result "none"", which §5.2 makes a permerror.
            (Target::Malformed(text), QueryKind::Include) => return self.include(text).await,
            // RFC 7208 §4.8: "Some implementations choose to treat such errors as not-match".
            (Target::Malformed(_) | Target::Unmatchable, _) => return Ok(Match::No),
        };
        match query.kind {
            QueryKind::Include => self.include(name.as_str().to_owned()).await,
            QueryKind::A(prefixes) => self.has_address(&name, prefixes).await.map(Match::from),
            QueryKind::Mx(prefixes) => self.has_exchange(&name, prefixes).await.map(Match::from),
            QueryKind::Ptr => self.has_reverse_name(&name).await.map(Match::from),
            QueryKind::Exists => self.exists(&name).await.map(Match::from),
        }
    }

    /// RFC 7208 §5.2, the table there.
    async fn include(&mut self, domain: String) -> Result<Match, Exception> {
        // Temperror and permerror leave here.
        let conclusion = self.included(&domain).await?;
        match conclusion.result {
            SpfResult::Pass => Ok(Match::Through(conclusion.matched)),
            SpfResult::Fail | SpfResult::Softfail | SpfResult::Neutral => Ok(Match::No),
            SpfResult::None | SpfResult::Temperror | SpfResult::Permerror => {
                Err(Exception::Permerror(conclusion.problem.unwrap_or_default()))
            }
        }
    }

    /// The recursion, at most ten deep since every include counts as a look-up.
    fn included<'s>(
        &'s mut self,
        domain: &'s str,
    ) -> Pin<Box<dyn Future<Output = Result<Conclusion, Exception>> + Send + 's>> {
        Box::pin(self.host(domain, Entry::Include))
    }
}

/// RFC 7208 §4.3: "If the \<domain> is malformed (e.g., label longer than 63 characters, zero-length
/// label not at the end, etc.) or is not a multi-label domain name".
fn queryable(domain: &str) -> Result<QueryName, String> {
    match QueryName::parse(domain) {
        // RFC 7208 §4.3: "Internationalized domain names MUST be encoded as A-labels".
        Ok(_) if !domain.is_ascii() => Err(format!("{domain:?} is no domain name in ASCII")),
        Ok(name) if name.labels().nth(1).is_some() => Ok(name),
        Ok(name) => Err(format!("{name} is no domain name of several labels")),
        Err(why) => Err(format!("{domain:?} is no domain name: {why}")),
    }
}

impl Conclusion {
    fn none(why: String) -> Self {
        Self {
            result: SpfResult::None,
            matched: None,
            problem: Some(why),
            explanation: None,
        }
    }

    /// RFC 7208 §4.7: "If none of the mechanisms match and there is no "redirect" modifier, then the
    /// check_host() returns a result of "neutral"".
    fn neutral(domain: &QueryName) -> Self {
        Self {
            result: SpfResult::Neutral,
            matched: None,
            problem: Some(format!("no term in the record of {domain} matched")),
            explanation: None,
        }
    }
}

impl From<Exception> for Conclusion {
    fn from(exception: Exception) -> Self {
        let (result, problem) = match exception {
            Exception::Temperror(problem) => (SpfResult::Temperror, problem),
            Exception::Permerror(problem) => (SpfResult::Permerror, problem),
        };
        Self {
            result,
            matched: None,
            problem: Some(problem),
            explanation: None,
        }
    }
}

impl From<bool> for Match {
    fn from(matched: bool) -> Self {
        if matched { Self::Yes } else { Self::No }
    }
}

/// Characters of a record that the grounds keep.
const MAX_RECORD_SHOWN: usize = 1_024;

/// Characters of a problem that the grounds keep.
const MAX_PROBLEM_SHOWN: usize = 400;

/// Characters of a name that the grounds keep: all that a name can have.
const MAX_NAME_SHOWN: usize = 253;
