//! viaspf over the same zones.

use crate::case::{Case, PeerAnswer, RECEIVER};
use alignd::dns::zone::Zone;
use alignd::dns::{self, QueryName, Resolver};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use viaspf::lookup::{Lookup, LookupError, LookupResult, Name};
use viaspf::{Config, ExplanationString, Sender, SpfResult, SpfResultCause};

/// viaspf's answer.
pub async fn answer(case: &Case) -> PeerAnswer {
    // viaspf's documentation: "an unusable sender identity results in SPF result *none*".
    let Ok(sender) = case.sender().parse::<Sender>() else {
        return PeerAnswer::new("none", None, "unusable sender");
    };
    let helo = case.helo.parse().ok();
    let zone = Adapter(case.zone.zone());
    let config = Config::builder().hostname(RECEIVER).build();
    let query = viaspf::evaluate_sender(&zone, &config, case.client, &sender, helo.as_ref()).await;
    let problem = match query.cause {
        Some(SpfResultCause::Error(cause)) => cause.to_string(),
        Some(SpfResultCause::Match(_)) | None => String::new(),
    };
    match query.spf_result {
        SpfResult::Fail(ExplanationString::External(text)) => {
            PeerAnswer::new("fail", Some(text), &problem)
        }
        SpfResult::Fail(ExplanationString::Default) => PeerAnswer::new("fail", None, &problem),
        other => PeerAnswer::new(&other.to_string(), None, &problem),
    }
}

struct Adapter(Zone);

type Asked<'a, T> = Pin<Box<dyn Future<Output = LookupResult<Vec<T>>> + Send + 'a>>;

impl Lookup for Adapter {
    fn lookup_a<'l, 'n, 'f>(&'l self, name: &'n Name) -> Asked<'f, Ipv4Addr>
    where
        Self: 'f,
        'l: 'f,
        'n: 'f,
    {
        Box::pin(async move { found(self.0.a(&query(name)?).await, |a| Some(*a)) })
    }

    fn lookup_aaaa<'l, 'n, 'f>(&'l self, name: &'n Name) -> Asked<'f, Ipv6Addr>
    where
        Self: 'f,
        'l: 'f,
        'n: 'f,
    {
        Box::pin(async move { found(self.0.aaaa(&query(name)?).await, |a| Some(*a)) })
    }

    fn lookup_mx<'l, 'n, 'f>(&'l self, name: &'n Name) -> Asked<'f, Name>
    where
        Self: 'f,
        'l: 'f,
        'n: 'f,
    {
        Box::pin(async move {
            // viaspf's documentation: "Implementers may want to order the returned vector by MX
            // preference."
            let host = |mx: &dns::MxRecord| {
                let name = Name::new(mx.exchange.as_str()).ok()?;
                Some((mx.preference, mx.exchange.clone(), name))
            };
            let mut hosts = found(self.0.mx(&query(name)?).await, host)?;
            hosts.sort_by_key(|(preference, exchange, _)| (*preference, exchange.clone()));
            Ok(hosts.into_iter().map(|(_, _, name)| name).collect())
        })
    }

    fn lookup_txt<'l, 'n, 'f>(&'l self, name: &'n Name) -> Asked<'f, String>
    where
        Self: 'f,
        'l: 'f,
        'n: 'f,
    {
        Box::pin(async move {
            let text = |txt: &dns::TxtRecord| Some(String::from_utf8_lossy(txt.as_bytes()).into());
            found(self.0.txt(&query(name)?).await, text)
        })
    }

    fn lookup_ptr<'l, 'f>(&'l self, address: IpAddr) -> Asked<'f, Name>
    where
        Self: 'f,
        'l: 'f,
    {
        Box::pin(async move {
            found(self.0.ptr(address).await, |name| {
                Name::new(name.as_str()).ok()
            })
        })
    }
}

fn query(name: &Name) -> LookupResult<QueryName> {
    QueryName::parse(name.as_str()).map_err(|_| LookupError::NoRecords)
}

fn found<T, U>(lookup: dns::Lookup<T>, take: impl Fn(&T) -> Option<U>) -> LookupResult<Vec<U>> {
    match lookup {
        Ok(answer) => Ok(answer.records().iter().filter_map(take).collect()),
        Err(dns::LookupError::Timeout) => Err(LookupError::Timeout),
        Err(error) => Err(LookupError::Dns(Some(Box::new(error)))),
    }
}
