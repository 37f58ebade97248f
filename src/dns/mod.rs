//! What alignd asks of DNS: the `Resolver` trait and the words of its answers.
//!
//! Owns the types that judgement sees; opens no socket. The live resolver is `crate::resolver`, the
//! in-memory one is `zone`. "No such name", "name without such records" and "could not find out"
//! are three different things here and never turn into one another.

pub mod master;
pub mod name;
pub mod zone;

pub use name::QueryName;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Looks names up. Implementations follow CNAMEs, bound their own work and answer in finite time.
///
/// Futures borrow the resolver and are `Send`, so look-ups of one message can run concurrently.
pub trait Resolver: Send + Sync {
    fn txt(&self, name: &QueryName) -> impl Future<Output = Lookup<TxtRecord>> + Send;
    fn a(&self, name: &QueryName) -> impl Future<Output = Lookup<Ipv4Addr>> + Send;
    fn aaaa(&self, name: &QueryName) -> impl Future<Output = Lookup<Ipv6Addr>> + Send;
    fn mx(&self, name: &QueryName) -> impl Future<Output = Lookup<MxRecord>> + Send;
    /// The names that `address` points to, from `in-addr.arpa` or `ip6.arpa`.
    fn ptr(&self, address: IpAddr) -> impl Future<Output = Lookup<QueryName>> + Send;
}

/// The result of one look-up.
pub type Lookup<T> = Result<Answer<T>, LookupError>;

/// What DNS said, shared with the cache. `Found` holds at least one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    Found(Arc<[T]>),
    /// NOERROR without records of this type: the name exists (RFC 2308 §2.2).
    NoData,
    /// The name does not exist, nor does anything below it (RFC 8020).
    NxDomain,
}

/// Why DNS gave no answer. All of them are transient for the message at hand: temperror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookupError {
    /// No answer in time from any server.
    Timeout,
    /// SERVFAIL, REFUSED or another error code.
    ServerFailure,
    /// The message's deadline for all DNS work had passed.
    Deadline,
    /// An answer that cannot be used: malformed, or a CNAME loop.
    BadAnswer,
    /// No server could be reached.
    Unreachable,
}

/// One TXT record, its character-strings joined without separator (RFC 1035 §3.3.14).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TxtRecord(pub Box<[u8]>);

/// One MX record. The exchange is the root for a null MX (RFC 7505).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MxRecord {
    pub preference: u16,
    pub exchange: QueryName,
}

impl<T> Answer<T> {
    /// The records, none for a negative answer.
    pub fn records(&self) -> &[T] {
        match self {
            Self::Found(records) => records,
            Self::NoData | Self::NxDomain => &[],
        }
    }

    /// `Found` for records, `NoData` for none.
    pub fn from_records(records: Vec<T>) -> Self {
        if records.is_empty() {
            Self::NoData
        } else {
            Self::Found(records.into())
        }
    }
}

impl TxtRecord {
    pub fn from_text(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "DNS timed out",
            Self::ServerFailure => "DNS server failure",
            Self::Deadline => "the time for DNS was used up",
            Self::BadAnswer => "an unusable DNS answer",
            Self::Unreachable => "no DNS server reachable",
        })
    }
}

impl std::error::Error for LookupError {}
