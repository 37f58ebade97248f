//! DNS data of a case, neutral between the implementations that are compared over it.

use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{LookupError, MxRecord, QueryName, TxtRecord};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names in lower case without trailing dot, and what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneData(pub BTreeMap<String, Vec<Entry>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Ptr(String),
    /// The character-strings of one record.
    Txt(Vec<Vec<u8>>),
    Cname(String),
    /// Look-ups time out unless the name has records of the type asked for.
    Timeout,
}

impl ZoneData {
    pub fn add(&mut self, name: &str, entry: Entry) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.0.entry(name).or_default().push(entry);
    }

    /// Every TXT record.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.values().flatten().filter_map(|entry| match entry {
            Entry::Txt(strings) => Some(String::from_utf8_lossy(&strings.concat()).into_owned()),
            _ => None,
        })
    }

    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut Vec<Vec<u8>>> {
        self.0
            .values_mut()
            .flatten()
            .filter_map(|entry| match entry {
                Entry::Txt(strings) => Some(strings),
                _ => None,
            })
    }

    /// How many names `client` points to.
    pub fn reverse_names(&self, client: IpAddr) -> usize {
        let name = QueryName::reverse(client.to_canonical());
        self.0.get(name.as_str()).map_or(0, Vec::len)
    }

    pub fn has_null_exchange(&self) -> bool {
        let mut entries = self.0.values().flatten();
        entries.any(|entry| matches!(entry, Entry::Mx(_, exchange) if target(exchange) == Some(QueryName::root())))
    }

    /// The same data as our own resolver.
    pub fn zone(&self) -> Zone {
        let mut zone = Zone::new();
        for (name, entries) in &self.0 {
            // Names that nobody can ask for.
            let Ok(name) = QueryName::parse(name) else {
                continue;
            };
            zone.add(&name, ZoneRecord::Empty);
            for entry in entries {
                if let Some(record) = record(entry) {
                    zone.add(&name, record);
                }
            }
            let has_text = entries.iter().any(|entry| matches!(entry, Entry::Txt(_)));
            if entries.contains(&Entry::Timeout) && !has_text {
                zone.fail(&name, LookupError::Timeout);
            }
        }
        zone
    }
}

fn record(entry: &Entry) -> Option<ZoneRecord> {
    Some(match entry {
        Entry::A(address) => ZoneRecord::A(*address),
        Entry::Aaaa(address) => ZoneRecord::Aaaa(*address),
        Entry::Mx(preference, exchange) => ZoneRecord::Mx(MxRecord {
            preference: *preference,
            exchange: target(exchange)?,
        }),
        Entry::Ptr(name) => ZoneRecord::Ptr(target(name)?),
        Entry::Txt(strings) => ZoneRecord::Txt(TxtRecord(strings.concat().into())),
        Entry::Cname(name) => ZoneRecord::Cname(target(name)?),
        Entry::Timeout => return None,
    })
}

fn target(name: &str) -> Option<QueryName> {
    match name {
        "" | "." => Some(QueryName::root()),
        name => QueryName::parse(name).ok(),
    }
}
