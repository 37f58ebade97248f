//! `Zone`: DNS data in memory, the second `Resolver`. Serves `--zone FILE` and the tests.
//!
//! Owns the answer rules of an authoritative server over its records: NODATA for names that exist
//! only as a step to others (RFC 8020), wildcards (RFC 4592), CNAME chains with a bound. Names can be
//! marked to fail, so that failures are as testable as answers.

use super::{Answer, Lookup, LookupError, MxRecord, QueryName, Resolver, TxtRecord};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All names not in the zone do not exist.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    nodes: HashMap<String, Node>,
    /// Names that exist because something below them does.
    ancestors: BTreeSet<String>,
}

/// What one name holds.
#[derive(Debug, Clone, Default)]
struct Node {
    a: Vec<Ipv4Addr>,
    aaaa: Vec<Ipv6Addr>,
    mx: Vec<MxRecord>,
    ptr: Vec<QueryName>,
    txt: Vec<TxtRecord>,
    cname: Option<QueryName>,
    failure: Option<LookupError>,
}

/// One record to put into a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneRecord {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(MxRecord),
    Ptr(QueryName),
    Txt(TxtRecord),
    Cname(QueryName),
    /// The name exists, without records that anyone asks for.
    Empty,
}

impl Zone {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record. A second CNAME at a name replaces the first.
    pub fn add(&mut self, name: &QueryName, record: ZoneRecord) {
        let node = self.node(name);
        match record {
            ZoneRecord::A(address) => node.a.push(address),
            ZoneRecord::Aaaa(address) => node.aaaa.push(address),
            ZoneRecord::Mx(mx) => node.mx.push(mx),
            ZoneRecord::Ptr(target) => node.ptr.push(target),
            ZoneRecord::Txt(txt) => node.txt.push(txt),
            ZoneRecord::Cname(target) => node.cname = Some(target),
            ZoneRecord::Empty => {}
        }
    }

    /// Makes every look-up of `name` fail.
    pub fn fail(&mut self, name: &QueryName, error: LookupError) {
        self.node(name).failure = Some(error);
    }

    fn node(&mut self, name: &QueryName) -> &mut Node {
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            self.ancestors.insert(parent.to_owned());
            rest = parent;
        }
        self.nodes.entry(name.as_str().to_owned()).or_default()
    }

    fn lookup<T: Clone>(&self, name: &QueryName, pick: impl Fn(&Node) -> &[T]) -> Lookup<T> {
        let mut name = name.as_str().to_owned();
        for _ in 0..MAX_ALIASES {
            let Some(node) = self.find(&name) else {
                return Ok(if self.ancestors.contains(&name) {
                    Answer::NoData
                } else {
                    Answer::NxDomain
                });
            };
            if let Some(failure) = node.failure {
                return Err(failure);
            }
            let records = pick(node);
            if let ([], Some(target)) = (records, &node.cname) {
                target.as_str().clone_into(&mut name);
                continue;
            }
            return Ok(Answer::from_records(records.to_vec()));
        }
        Err(LookupError::BadAnswer)
    }

    /// The node of a name, or of the wildcard that covers it: `*` below the closest name that exists
    /// (RFC 4592 §3.3.1).
    fn find(&self, name: &str) -> Option<&Node> {
        if let Some(node) = self.nodes.get(name) {
            return Some(node);
        }
        if self.ancestors.contains(name) {
            return None;
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if self.nodes.contains_key(parent) || self.ancestors.contains(parent) {
                return self.nodes.get(&format!("*.{parent}"));
            }
            rest = parent;
        }
        None
    }
}

impl Resolver for Zone {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.lookup(name, |node| &node.txt)
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.lookup(name, |node| &node.a)
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.lookup(name, |node| &node.aaaa)
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.lookup(name, |node| &node.mx)
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.lookup(&QueryName::reverse(address), |node| &node.ptr)
    }
}

/// CNAMEs followed for one question; hickory's and BIND's bounds are of this order.
const MAX_ALIASES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> QueryName {
        QueryName::parse(text).unwrap()
    }

    fn txt(text: &str) -> ZoneRecord {
        ZoneRecord::Txt(TxtRecord::from_text(text))
    }

    #[tokio::test]
    async fn answers_as_an_authoritative_server() {
        let mut zone = Zone::new();
        zone.add(&name("a.b.example"), txt("one"));
        zone.add(
            &name("alias.example"),
            ZoneRecord::Cname(name("a.b.example")),
        );
        zone.add(
            &name("loop.example"),
            ZoneRecord::Cname(name("loop.example")),
        );
        zone.add(&name("*._report._dmarc.example"), txt("v=DMARC1"));
        zone.fail(&name("broken.example"), LookupError::ServerFailure);
        let one = Ok(Answer::Found([TxtRecord::from_text("one")].into()));
        let any = Ok(Answer::Found([TxtRecord::from_text("v=DMARC1")].into()));
        for (asked, expected) in [
            ("a.b.example", one.clone()),
            ("alias.example", one),
            ("b.example", Ok(Answer::NoData)),
            ("c.example", Ok(Answer::NxDomain)),
            ("x.y._report._dmarc.example", any),
            ("loop.example", Err(LookupError::BadAnswer)),
            ("broken.example", Err(LookupError::ServerFailure)),
        ] {
            assert_eq!(zone.txt(&name(asked)).await, expected, "{asked}");
        }
        assert_eq!(zone.a(&name("a.b.example")).await, Ok(Answer::NoData));
    }
}
