//! Where a command's DNS answers come from: a zone file, or the live resolver with its deadline.
//!
//! Owns the choice between the two and the runtime that waits for them.

use super::Failure;
use crate::dns::zone::Zone;
use crate::dns::{Lookup, MxRecord, QueryName, Resolver, TxtRecord, master};
use crate::resolver::{Deadline, DnsSettings, LiveResolver};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

/// Either source of answers.
pub enum Dns {
    Zone(Zone),
    Live(Deadline<LiveResolver>),
}

impl Dns {
    /// The zone of `file`, or live DNS as the settings have it. Within a runtime.
    pub fn open(file: Option<&Path>, settings: &DnsSettings) -> Result<Self, Failure> {
        let Some(file) = file else {
            let live = LiveResolver::new(settings).map_err(|e| Failure::Usage(e.to_string()))?;
            let at = tokio::time::Instant::now() + settings.message_deadline;
            return Ok(Self::Live(Deadline::new(Arc::new(live), at)));
        };
        let place = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("cannot read the zone in {place}: {error}")))?;
        let zone = master::parse(&text).map_err(|e| Failure::Usage(format!("{place}: {e}")))?;
        Ok(Self::Zone(zone))
    }
}

impl Resolver for Dns {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        match self {
            Self::Zone(zone) => zone.txt(name).await,
            Self::Live(live) => live.txt(name).await,
        }
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        match self {
            Self::Zone(zone) => zone.a(name).await,
            Self::Live(live) => live.a(name).await,
        }
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        match self {
            Self::Zone(zone) => zone.aaaa(name).await,
            Self::Live(live) => live.aaaa(name).await,
        }
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        match self {
            Self::Zone(zone) => zone.mx(name).await,
            Self::Live(live) => live.mx(name).await,
        }
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        match self {
            Self::Zone(zone) => zone.ptr(address).await,
            Self::Live(live) => live.ptr(address).await,
        }
    }
}

/// Waits for `work` on a runtime of this thread's own.
pub fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}
