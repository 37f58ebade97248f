//! iprev: is the client's reverse name confirmed by a forward look-up? RFC 8601 §3.
//!
//! Owns the comparison of PTR names' addresses with the client's. The confirmed name is evidence
//! for local policy later; it never takes part in DMARC.

use super::IprevResult;
use crate::dns::{Answer, Lookup, QueryName, Resolver};
use std::net::IpAddr;

/// What the client's reverse DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IprevOutcome {
    pub result: IprevResult,
    /// The first confirmed name.
    pub name: Option<String>,
    /// What was wrong, in a few words; empty for `pass`.
    pub grounds: String,
}

/// Names of one address that are looked at; RFC 7208 §4.6.4 allows as many.
const MAX_NAMES: usize = 10;

/// Looks the client's names up and each name's addresses, RFC 8601 §3.
pub async fn check(client: IpAddr, resolver: &impl Resolver) -> IprevOutcome {
    let client = client.to_canonical();
    let names = match resolver.ptr(client).await {
        Ok(Answer::Found(names)) => names,
        // "permerror: The ... reverse ... could not be completed due to some error that is
        // unrecoverable, such as a required DNS record being absent."
        Ok(Answer::NoData | Answer::NxDomain) => {
            return outcome(IprevResult::Permerror, "no reverse name");
        }
        Err(error) => return outcome(IprevResult::Temperror, &error.to_string()),
    };
    let mut trouble = None;
    for name in names.iter().take(MAX_NAMES) {
        match points_back(name, client, resolver).await {
            Ok(true) => {
                return IprevOutcome {
                    result: IprevResult::Pass,
                    name: Some(name.as_str().to_owned()),
                    grounds: String::new(),
                };
            }
            Ok(false) => {}
            Err(error) => trouble = Some(error),
        }
    }
    match trouble {
        Some(error) => outcome(IprevResult::Temperror, &error.to_string()),
        None => outcome(IprevResult::Fail, "no reverse name resolves to the client"),
    }
}

async fn points_back(
    name: &QueryName,
    client: IpAddr,
    resolver: &impl Resolver,
) -> Result<bool, crate::dns::LookupError> {
    fn holds<T: PartialEq>(
        answer: Lookup<T>,
        address: &T,
    ) -> Result<bool, crate::dns::LookupError> {
        Ok(answer?.records().contains(address))
    }
    match client {
        IpAddr::V4(v4) => holds(resolver.a(name).await, &v4),
        IpAddr::V6(v6) => holds(resolver.aaaa(name).await, &v6),
    }
}

fn outcome(result: IprevResult, grounds: &str) -> IprevOutcome {
    IprevOutcome {
        result,
        name: None,
        grounds: grounds.to_owned(),
    }
}
