//! The client's validated names, RFC 7208 §5.5, for `ptr` and `%{p}`.
//!
//! Owns the reverse look-up and the forward look-ups that validate its names. Each is made at most
//! once in a check, and only for names whose validity matters. DNS failures hide a name, they are
//! never temperror; only the message's deadline is.

use crate::dns::{Answer, LookupError, QueryName, Resolver};
use std::net::IpAddr;

/// What the client's address points to.
#[derive(Debug)]
pub(super) struct ReverseNames {
    client: IpAddr,
    names: Vec<ReverseName>,
    is_void: bool,
}

#[derive(Debug)]
struct ReverseName {
    name: QueryName,
    /// Whether the name points back; `None` while nobody has asked.
    validated: Option<bool>,
}

/// RFC 7208 §4.6.4: "If this limit is exceeded, all records other than the first 10 MUST be ignored."
const MAX_NAMES: usize = 10;

impl ReverseNames {
    /// Asks for the names. Errs only when the deadline has passed.
    pub async fn look_up(client: IpAddr, resolver: &impl Resolver) -> Result<Self, LookupError> {
        let (names, is_void) = match resolver.ptr(client).await {
            Ok(Answer::Found(names)) => (names.iter().take(MAX_NAMES).cloned().collect(), false),
            Ok(Answer::NoData | Answer::NxDomain) => (Vec::new(), true),
            // RFC 7208 §4.6.4: "If such a limit [of elapsed time] is exceeded, the result of
            // authorization SHOULD be "temperror"."
            Err(LookupError::Deadline) => return Err(LookupError::Deadline),
            // RFC 7208 §5.5: "If a DNS error occurs while doing the PTR RR lookup, then this
            // mechanism fails to match."
            Err(
                LookupError::Timeout
                | LookupError::ServerFailure
                | LookupError::BadAnswer
                | LookupError::Unreachable,
            ) => (Vec::new(), false),
        };
        let unasked = |name| ReverseName {
            name,
            validated: None,
        };
        Ok(Self {
            client,
            names: names.into_iter().map(unasked).collect(),
            is_void,
        })
    }

    /// Whether the reverse look-up was a void one.
    pub fn is_void(&self) -> bool {
        self.is_void
    }

    /// RFC 7208 §5.5: "Check all validated domain names to see if they either match the \<target-name>
    /// domain or are a subdomain of the \<target-name> domain."
    pub async fn any_within(
        &mut self,
        target: &QueryName,
        resolver: &impl Resolver,
    ) -> Result<bool, LookupError> {
        let client = self.client;
        let candidates = self.names.iter_mut();
        for candidate in candidates.filter(|candidate| is_within(&candidate.name, target)) {
            if candidate.points_to(client, resolver).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 §7.3: "If the \<domain> is present in the list of validated domains, it SHOULD be
    /// used. Otherwise, if a subdomain of the \<domain> is present, it SHOULD be used. Otherwise, any
    /// name from the list can be used."
    pub async fn best_for(
        &mut self,
        domain: &QueryName,
        resolver: &impl Resolver,
    ) -> Result<Option<&QueryName>, LookupError> {
        let client = self.client;
        let mut preferred: Vec<&mut ReverseName> = self.names.iter_mut().collect();
        preferred.sort_by_key(|candidate| {
            (
                candidate.name != *domain,
                !is_within(&candidate.name, domain),
            )
        });
        for candidate in preferred {
            if candidate.points_to(client, resolver).await? {
                return Ok(Some(&candidate.name));
            }
        }
        Ok(None)
    }
}

impl ReverseName {
    /// RFC 7208 §5.5: "If \<ip> is among the returned IP addresses, then that domain name is
    /// validated."
    async fn points_to(
        &mut self,
        client: IpAddr,
        resolver: &impl Resolver,
    ) -> Result<bool, LookupError> {
        if let Some(known) = self.validated {
            return Ok(known);
        }
        let asked = match client {
            IpAddr::V4(v4) => resolver
                .a(&self.name)
                .await
                .map(|a| a.records().contains(&v4)),
            IpAddr::V6(v6) => resolver
                .aaaa(&self.name)
                .await
                .map(|a| a.records().contains(&v6)),
        };
        let validated = match asked {
            Ok(validated) => validated,
            Err(LookupError::Deadline) => return Err(LookupError::Deadline),
            // RFC 7208 §5.5: "If a DNS error occurs while doing an A RR lookup, then that domain
            // name is skipped and the search continues."
            Err(
                LookupError::Timeout
                | LookupError::ServerFailure
                | LookupError::BadAnswer
                | LookupError::Unreachable,
            ) => false,
        };
        self.validated = Some(validated);
        Ok(validated)
    }
}

/// The same name or one below it: "mail.example.com" is within "example.com", but
/// "mail.bad-example.com" is not.
fn is_within(name: &QueryName, domain: &QueryName) -> bool {
    let rest = name.as_str().strip_suffix(domain.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
