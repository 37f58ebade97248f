//! A `Resolver` that fails at one question and lets a zone answer the others.

use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, LookupError, MxRecord, QueryName, Resolver, TxtRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct FailingAt {
    zone: Zone,
    asked: AtomicUsize,
    at: usize,
    error: LookupError,
}

impl FailingAt {
    /// Fails at question `at`, counted from 0. A deadline stays passed.
    pub fn new(zone: Zone, at: usize, error: LookupError) -> Self {
        Self {
            zone,
            asked: AtomicUsize::new(0),
            at,
            error,
        }
    }

    fn fail(&self) -> Result<(), LookupError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let is_over = self.error == LookupError::Deadline && number > self.at;
        if number == self.at || is_over {
            return Err(self.error);
        }
        Ok(())
    }
}

impl Resolver for FailingAt {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.fail()?;
        self.zone.txt(name).await
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.fail()?;
        self.zone.a(name).await
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.fail()?;
        self.zone.aaaa(name).await
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.fail()?;
        self.zone.mx(name).await
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.fail()?;
        self.zone.ptr(address).await
    }
}
