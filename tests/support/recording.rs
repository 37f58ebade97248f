//! A `Resolver` that writes down what it is asked, in order, and lets another one answer.

use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, MxRecord, QueryName, Resolver, TxtRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

pub struct Recording {
    zone: Zone,
    asked: Mutex<Vec<String>>,
}

impl Recording {
    pub fn new(zone: Zone) -> Self {
        Self {
            zone,
            asked: Mutex::new(Vec::new()),
        }
    }

    /// What was asked since the last call: names for TXT, `A name` and so on for other types.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn note(&self, question: String) {
        self.asked.lock().unwrap().push(question);
    }
}

impl Resolver for Recording {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.note(name.to_string());
        self.zone.txt(name).await
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.note(format!("A {name}"));
        self.zone.a(name).await
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.note(format!("AAAA {name}"));
        self.zone.aaaa(name).await
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.note(format!("MX {name}"));
        self.zone.mx(name).await
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.note(format!("PTR {address}"));
        self.zone.ptr(address).await
    }
}
