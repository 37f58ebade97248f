//! What the terms of an SPF record ask of DNS, RFC 7208 §5.3–§5.7, and what their macros and the
//! explanation (§6.2) need of it.
//!
//! Every look-up of a term is counted here; a DNS failure is temperror, except where RFC 7208 §5.5
//! and §6.2 say otherwise.

use super::expand::MacroValues;
use super::limits::{Exception, Limits};
use super::macros::{DomainSpec, ExplainString, MacroLetter};
use super::record::Prefixes;
use super::reverse::ReverseNames;
use super::{Sender, SpfRequest};
use crate::dns::{Answer, Lookup, LookupError, QueryName, Resolver};
use std::net::IpAddr;

/// One check under way: what is asked, and what was used up of the limits.
pub(super) struct Check<'a, R> {
    pub client: IpAddr,
    pub helo: String,
    pub sender: &'a Sender,
    pub request: &'a SpfRequest<'a>,
    pub resolver: &'a R,
    pub reverse: Option<ReverseNames>,
    pub limits: Limits,
    pub first_record: Option<String>,
}

/// A `\<target-name>` after expansion.
pub(super) enum Target {
    Name(QueryName),
    /// No name that DNS could be asked for.
    Malformed(String),
    /// RFC 8616 §4: "If the local part contains non-ASCII characters, terms that include %{s} or
    /// %{l} do not match anything".
    Unmatchable,
}

/// What the addresses of a name say about the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Addresses {
    Match,
    Other,
    /// There are none.
    Void,
}

impl Addresses {
    fn of<T>(answer: &Answer<T>, is_near: impl Fn(&T) -> bool) -> Self {
        match answer {
            Answer::Found(addresses) if addresses.iter().any(is_near) => Self::Match,
            Answer::Found(_) => Self::Other,
            Answer::NoData | Answer::NxDomain => Self::Void,
        }
    }
}

impl<R: Resolver> Check<'_, R> {
    /// RFC 7208 §5.3: "If any address matches, the mechanism matches."
    pub async fn has_address(
        &mut self,
        name: &QueryName,
        prefixes: Prefixes,
    ) -> Result<bool, Exception> {
        let addresses = self.addresses(name, prefixes).await?;
        if addresses == Addresses::Void {
            self.limits.count_void(name)?;
        }
        Ok(addresses == Addresses::Match)
    }

    async fn addresses(
        &self,
        name: &QueryName,
        prefixes: Prefixes,
    ) -> Result<Addresses, Exception> {
        // RFC 7208 §5: "when <ip> is an IPv4, "A" records are fetched; when <ip> is an IPv6 address,
        // "AAAA" records are fetched."
        let client = self.client;
        let is_near = |address: IpAddr| prefixes.around(address).contains(client);
        Ok(match client {
            IpAddr::V4(_) => Addresses::of(&found(name, self.resolver.a(name).await)?, |&a| {
                is_near(a.into())
            }),
            IpAddr::V6(_) => Addresses::of(&found(name, self.resolver.aaaa(name).await)?, |&a| {
                is_near(a.into())
            }),
        })
    }

    /// RFC 7208 §5.4.
    pub async fn has_exchange(
        &mut self,
        name: &QueryName,
        prefixes: Prefixes,
    ) -> Result<bool, Exception> {
        let answer = found(name, self.resolver.mx(name).await)?;
        self.limits.count_if_void(name, &answer)?;
        // A null MX (RFC 7505) names no host. The order of an answer is chance, so it must not decide
        // whether a match or a failure is met first.
        let exchanges = answer.records().iter();
        let mut hosts: Vec<_> = exchanges.filter(|mx| !mx.exchange.is_root()).collect();
        hosts.sort_by_key(|mx| (mx.preference, &mx.exchange));
        // RFC 7208 §4.6.4: "If this limit is exceeded, the "mx" mechanism MUST produce a "permerror"
        // result." Counted before any is asked.
        if hosts.len() > MAX_EXCHANGES {
            return Err(Exception::Permerror(format!(
                "{name} has more than 10 MX records"
            )));
        }
        let mut void = None;
        for host in hosts {
            match self.addresses(&host.exchange, prefixes).await? {
                Addresses::Match => return Ok(true),
                Addresses::Other => {}
                Addresses::Void => void = void.or(Some(&host.exchange)),
            }
        }
        // RFC 7208 §4.6.4 limits "the number of "terms" for which DNS queries return" nothing: three
        // hosts without AAAA are still one term.
        void.map_or(Ok(false), |host| {
            self.limits.count_void(host).map(|()| false)
        })
    }

    /// RFC 7208 §5.5.
    pub async fn has_reverse_name(&mut self, target: &QueryName) -> Result<bool, Exception> {
        let resolver = self.resolver;
        let names = self.reverse_names().await?;
        let matched = names.any_within(target, resolver).await?;
        self.count_if_no_reverse_name()?;
        Ok(matched)
    }

    /// RFC 7208 §5.7: "The resulting domain name is used for a DNS A RR lookup (even when the
    /// connection type is IPv6). If any A record is returned, this mechanism matches."
    pub async fn exists(&mut self, name: &QueryName) -> Result<bool, Exception> {
        let answer = found(name, self.resolver.a(name).await)?;
        self.limits.count_if_void(name, &answer)?;
        Ok(!answer.records().is_empty())
    }

    /// The `\<target-name>` of a term in the record of `domain`, counted.
    pub async fn target(
        &mut self,
        spec: &DomainSpec,
        domain: &QueryName,
    ) -> Result<Target, Exception> {
        if !spec.uses(MacroLetter::ValidatedName) {
            return Ok(self.expand(spec, domain).await?);
        }
        // RFC 7208 §4.6.4: "When evaluating the "ptr" mechanism or the %{p} macro, the number of
        // "PTR" resource records queried is included in the overall limit of 10".
        self.limits.count_lookup("%{p}", domain)?;
        let target = self.expand(spec, domain).await?;
        self.count_if_no_reverse_name()?;
        Ok(target)
    }

    async fn expand(
        &mut self,
        spec: &DomainSpec,
        domain: &QueryName,
    ) -> Result<Target, LookupError> {
        let names_sender = spec.uses(MacroLetter::Sender) || spec.uses(MacroLetter::LocalPart);
        if names_sender && !self.sender.local_part.is_ascii() {
            return Ok(Target::Unmatchable);
        }
        let validated = match spec.uses(MacroLetter::ValidatedName) {
            true => self.validated_name(domain).await?,
            false => None,
        };
        let text = spec.expand(&self.values(domain, validated.as_deref()));
        // RFC 7208 §4.3: "Internationalized domain names MUST be encoded as A-labels".
        Ok(match QueryName::parse(&text) {
            Ok(name) if text.is_ascii() => Target::Name(name),
            Ok(_) | Err(_) => Target::Malformed(text),
        })
    }

    fn values<'v>(&'v self, domain: &'v QueryName, validated: Option<&'v str>) -> MacroValues<'v> {
        MacroValues {
            local_part: &self.sender.local_part,
            sender_domain: &self.sender.domain,
            domain: domain.as_str(),
            client: self.client,
            helo: &self.helo,
            receiver: self.request.receiver,
            now: self.request.now,
            // RFC 7208 §7.3: "If there are no validated domain names or if a DNS error occurs, the
            // string "unknown" is used."
            validated_name: validated.unwrap_or("unknown"),
        }
    }

    /// Only the PTR query counts. Void addresses of the names it gives do not: RFC 7208 §4.6.4, they
    /// "are under control of the owner of the IP address actually making the connection", who could
    /// turn a fail into a permerror.
    fn count_if_no_reverse_name(&mut self) -> Result<(), Exception> {
        if self.reverse.as_ref().is_some_and(ReverseNames::is_void) {
            return self.limits.count_void(&QueryName::reverse(self.client));
        }
        Ok(())
    }

    async fn reverse_names(&mut self) -> Result<&mut ReverseNames, LookupError> {
        let names = match self.reverse.take() {
            Some(names) => names,
            None => ReverseNames::look_up(self.client, self.resolver).await?,
        };
        Ok(self.reverse.insert(names))
    }

    async fn validated_name(&mut self, domain: &QueryName) -> Result<Option<String>, LookupError> {
        let resolver = self.resolver;
        let names = self.reverse_names().await?;
        let best = names.best_for(domain, resolver).await?;
        Ok(best.map(|name| name.as_str().to_owned()))
    }

    /// RFC 7208 §6.2: "If there are any DNS processing errors (any RCODE other than 0), or if no
    /// records are returned, or if more than one record is returned, or if there are syntax errors
    /// in the explanation string, then proceed as if no "exp" modifier was given."
    pub async fn explain(&mut self, spec: &DomainSpec, domain: &QueryName) -> Option<String> {
        // RFC 7208 §4.6.4: "the "exp" modifier only causes a lookup at a later time": not counted.
        let Ok(Target::Name(name)) = self.expand(spec, domain).await else {
            return None;
        };
        let answer = self.resolver.txt(&name).await.ok()?;
        let [text] = answer.records() else {
            return None;
        };
        let text = ExplainString::parse(text.as_bytes()).ok()?;
        let validated = match text.uses(MacroLetter::ValidatedName) {
            true => self.validated_name(domain).await.ok()?,
            false => None,
        };
        text.expand(&self.values(domain, validated.as_deref()))
    }
}

/// RFC 7208 §5: "if the DNS server returns an error (RCODE other than 0 or 3) or the query times out,
/// the mechanism stops and the topmost check_host() returns "temperror"."
pub(super) fn found<T>(name: &QueryName, lookup: Lookup<T>) -> Result<Answer<T>, Exception> {
    lookup.map_err(|error| Exception::Temperror(format!("{name}: {error}")))
}

/// RFC 7208 §4.6.4: "the evaluation of each "MX" record MUST NOT result in querying more than 10
/// address records".
const MAX_EXCHANGES: usize = 10;
