//! DNS as it is for the destinations of reports, in memory: every answer takes its time, and some never
//! come.

use alignd::dns::{Answer, Lookup, LookupError, MxRecord, QueryName, Resolver, TxtRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How long an answer takes, about what one that is not cached does.
pub const LATENCY: Duration = Duration::from_millis(20);
/// One domain of so many has DNS servers that don't answer.
pub const DEAD: u64 = 100;

/// Every `dN.example` asks for reports at a processor, which agrees.
pub struct Distant;

impl Distant {
    async fn nothing<T>(&self) -> Lookup<T> {
        tokio::time::sleep(LATENCY).await;
        Ok(Answer::NxDomain)
    }
}

impl Resolver for Distant {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        let text = name.as_str();
        let domain = text.strip_prefix("_dmarc.").unwrap_or(text);
        let nth = domain
            .strip_prefix('d')
            .and_then(|rest| rest.split('.').next());
        let Some(nth) = nth.and_then(|nth| nth.parse::<u64>().ok()) else {
            return self.nothing().await;
        };
        if nth % DEAD == DEAD - 1 {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return Err(LookupError::Timeout);
        }
        tokio::time::sleep(LATENCY).await;
        let record = if text.ends_with("._report._dmarc.processor.test") {
            "v=DMARC1".to_owned()
        } else if text.starts_with("_dmarc.") {
            format!("v=DMARC1; p=reject; rua=mailto:d{nth}@processor.test")
        } else {
            return Ok(Answer::NxDomain);
        };
        Ok(Answer::from_records(vec![TxtRecord::from_text(&record)]))
    }

    async fn a(&self, _: &QueryName) -> Lookup<Ipv4Addr> {
        self.nothing().await
    }

    async fn aaaa(&self, _: &QueryName) -> Lookup<Ipv6Addr> {
        self.nothing().await
    }

    async fn mx(&self, _: &QueryName) -> Lookup<MxRecord> {
        self.nothing().await
    }

    async fn ptr(&self, _: IpAddr) -> Lookup<QueryName> {
        self.nothing().await
    }
}
