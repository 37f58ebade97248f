//! `LiveResolver`: DNS over the network, behind `dns::Resolver`. hickory speaks the protocol.
//!
//! Owns the one cache (answers, negatives, short-lived failures; one question in flight per name and
//! type) and `Deadline`, the bound on all DNS work of one message. Never retries for a caller, never
//! turns a failure into "no record", reads no hosts file and no search list.

use crate::dns::{Answer, Lookup, LookupError, MxRecord, QueryName, Resolver, TxtRecord};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::domain::usage::{IN_ADDR_ARPA_127, IP6_ARPA_1};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig, TokioResolver};
use moka::Expiry;
use moka::future::Cache;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `[dns]` settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Servers to ask; none: those of the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// How long one look-up may take, its one retry included.
    pub timeout: Duration,
    /// How long all look-ups of one message may take together.
    pub message_deadline: Duration,
    /// Answers kept; one of more than 256 octets counts as several.
    pub cache_entries: u64,
}

/// The settings or the system's resolv.conf cannot be used. The operator must act.
#[derive(Debug)]
pub struct ResolverError(String);

/// A caching stub resolver. Clones share the cache and the sockets.
#[derive(Clone)]
pub struct LiveResolver {
    upstream: TokioResolver,
    /// The same servers, for names that hickory answers by itself.
    servers: RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>,
    cache: Cache<Question, Entry>,
}

/// Any resolver, until a point in time: after it every look-up fails with `LookupError::Deadline`.
#[derive(Debug, Clone)]
pub struct Deadline<R> {
    resolver: Arc<R>,
    at: tokio::time::Instant,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            message_deadline: Duration::from_secs(20),
            cache_entries: 65_536,
        }
    }
}

impl LiveResolver {
    /// Reads resolv.conf unless the settings name servers. Must be called within a tokio runtime.
    pub fn new(settings: &DnsSettings) -> Result<Self, ResolverError> {
        let (config, mut options) = if settings.servers.is_empty() {
            read_system_conf().map_err(|error| {
                ResolverError(format!(
                    "/etc/resolv.conf cannot be used: {error}; name servers in dns.servers instead"
                ))
            })?
        } else {
            (configured(&settings.servers), ResolverOpts::default())
        };
        set_options(&mut options, settings);
        let no_resolver = |error| ResolverError(format!("no resolver from dns.servers: {error}"));
        let provider = TokioRuntimeProvider::default();
        let servers = NameServerPool::from_config(
            config.name_servers().to_vec(),
            Arc::new(PoolContext::new(
                options.clone(),
                TlsConfig::new().map_err(no_resolver)?,
            )),
            provider.clone(),
        );
        let servers = RetryDnsHandle::new(servers, options.attempts);
        let upstream = TokioResolver::builder_with_config(config, provider)
            .with_options(options)
            .build()
            .map_err(no_resolver)?;
        let cache = Cache::builder()
            .max_capacity(settings.cache_entries)
            .weigher(|_: &Question, entry: &Entry| entry.weight())
            .expire_after(ByTtl)
            .build();
        Ok(Self {
            upstream,
            servers,
            cache,
        })
    }

    /// Answers held at the moment, about.
    pub fn cached(&self) -> u64 {
        self.cache.entry_count()
    }

    async fn ask<T: Kind>(&self, name: &QueryName) -> Lookup<T> {
        let question = Question {
            name: name.clone(),
            kind: T::TYPE,
        };
        let entry = match self.cache.get(&question).await {
            Some(entry) => entry,
            // Boxed: it is large, rarely needed, and several are part of every message's look-ups.
            None => Box::pin(self.cache.get_with(question, self.fetch::<T>(name))).await,
        };
        T::unwrap(&entry.records).unwrap_or(Err(LookupError::BadAnswer))
    }

    async fn fetch<T: Kind>(&self, name: &QueryName) -> Entry {
        let started = Instant::now();
        let (lookup, ttl) = self.query::<T>(name).await;
        let result = match &lookup {
            Ok(Answer::Found(_)) => "found",
            Ok(Answer::NoData) => "nodata",
            Ok(Answer::NxDomain) => "nxdomain",
            Err(LookupError::Timeout | LookupError::Deadline) => "timeout",
            Err(LookupError::ServerFailure) => "servfail",
            Err(LookupError::BadAnswer | LookupError::Unreachable) => "error",
        };
        metrics::counter!("alignd_dns_queries_total", "result" => result).increment(1);
        metrics::histogram!("alignd_dns_query_seconds").record(started.elapsed().as_secs_f64());
        Entry {
            records: T::wrap(lookup),
            ttl,
        }
    }

    async fn query<T: Kind>(&self, name: &QueryName) -> (Lookup<T>, Duration) {
        let labels: Vec<&[u8]> = name.labels().map(str::as_bytes).collect();
        let Ok(mut asked) = Name::from_labels(labels) else {
            return (Err(LookupError::BadAnswer), Duration::ZERO);
        };
        asked.set_fqdn(true);
        if IN_ADDR_ARPA_127.zone_of(&asked) || IP6_ARPA_1.zone_of(&asked) {
            return self.query_servers(asked).await;
        }
        match self.upstream.lookup(asked.clone(), T::TYPE).await {
            Ok(response) => positive(response.answers()),
            Err(error) if hides_alias(&error) && self.is_alias(asked).await => {
                (Err(LookupError::BadAnswer), FAILURE_TTL)
            }
            Err(error) => negative(error),
        }
    }

    /// A question past hickory's own answer, which is `localhost` for all of 127/8. RFC 6761 has nothing of
    /// the kind for reverse names, and a host may well have clients there with names of their own.
    async fn query_servers<T: Kind>(&self, name: Name) -> (Lookup<T>, Duration) {
        let query = Query::query(name, T::TYPE);
        let response = self.servers.lookup(query, DnsRequestOptions::default());
        let response = response.first_answer().await;
        match response.and_then(|response| Ok(DnsError::from_response(response)?)) {
            Ok(response) => positive(&response.answers),
            Err(error) => negative(error),
        }
    }

    async fn is_alias(&self, name: Name) -> bool {
        let answer = self.upstream.lookup(name, RecordType::CNAME).await;
        answer.is_ok_and(|a| {
            a.answers()
                .iter()
                .any(|r| r.record_type() == RecordType::CNAME)
        })
    }
}

impl Resolver for LiveResolver {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.ask(name).await
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.ask(name).await
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.ask(name).await
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.ask(name).await
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.ask(&QueryName::reverse(address)).await
    }
}

impl<R> Deadline<R> {
    pub fn new(resolver: Arc<R>, at: tokio::time::Instant) -> Self {
        Self { resolver, at }
    }

    async fn within<T>(&self, lookup: impl Future<Output = Lookup<T>>) -> Lookup<T> {
        tokio::time::timeout_at(self.at, lookup)
            .await
            .unwrap_or(Err(LookupError::Deadline))
    }
}

impl<R: Resolver> Resolver for Deadline<R> {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        self.within(self.resolver.txt(name)).await
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.within(self.resolver.a(name)).await
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.within(self.resolver.aaaa(name)).await
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.within(self.resolver.mx(name)).await
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.within(self.resolver.ptr(address)).await
    }
}

fn configured(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        config
    });
    ResolverConfig::from_name_servers(servers.collect())
}

fn set_options(options: &mut ResolverOpts, settings: &DnsSettings) {
    options.timeout = settings.timeout / 2;
    options.attempts = 1;
    options.edns0 = true;
    // The one cache is ours: hickory's does not keep failures.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = MAX_IN_FLIGHT;
}

/// The records of the asked type, CNAMEs left out, and how long they hold.
fn positive<T: Kind>(answers: &[Record]) -> (Lookup<T>, Duration) {
    let of_type = answers
        .iter()
        .filter(|record| record.record_type() == T::TYPE);
    let records: Vec<T> = of_type.filter_map(|record| T::read(&record.data)).collect();
    let lowest = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
    let ttl = Duration::from_secs(lowest.into()).min(MAX_TTL);
    (Ok(Answer::from_records(records)), ttl)
}

/// hickory gives up on aliases that never end with an empty NOERROR of its own, without a SOA.
fn hides_alias(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return false;
    };
    none.response_code == ResponseCode::NoError && none.soa.is_none()
}

fn negative<T>(error: NetError) -> (Lookup<T>, Duration) {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            // RFC 2308 §5: without a SOA a negative answer "SHOULD NOT be cached".
            let ttl =
                Duration::from_secs(none.negative_ttl.unwrap_or(0).into()).min(MAX_NEGATIVE_TTL);
            match none.response_code {
                ResponseCode::NXDomain => (Ok(Answer::NxDomain), ttl),
                ResponseCode::NoError => (Ok(Answer::NoData), ttl),
                _ => (Err(LookupError::ServerFailure), FAILURE_TTL),
            }
        }
        NetError::Dns(_) => (Err(LookupError::ServerFailure), FAILURE_TTL),
        NetError::Timeout => (Err(LookupError::Timeout), FAILURE_TTL),
        NetError::Busy => (Err(LookupError::Unreachable), Duration::ZERO),
        NetError::NoConnections | NetError::Io(_) => (Err(LookupError::Unreachable), FAILURE_TTL),
        _ => (Err(LookupError::BadAnswer), FAILURE_TTL),
    }
}

/// One question, the cache's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    name: QueryName,
    kind: RecordType,
}

/// One cached answer or failure.
#[derive(Clone)]
struct Entry {
    records: Records,
    ttl: Duration,
}

#[derive(Clone)]
enum Records {
    A(Lookup<Ipv4Addr>),
    Aaaa(Lookup<Ipv6Addr>),
    Mx(Lookup<MxRecord>),
    Ptr(Lookup<QueryName>),
    Txt(Lookup<TxtRecord>),
}

impl Entry {
    fn weight(&self) -> u32 {
        let octets: usize = match &self.records {
            Records::A(Ok(answer)) => answer.records().len() * 4,
            Records::Aaaa(Ok(answer)) => answer.records().len() * 16,
            Records::Mx(Ok(answer)) => answer
                .records()
                .iter()
                .map(|mx| mx.exchange.as_str().len() + 24)
                .sum(),
            Records::Ptr(Ok(answer)) => answer
                .records()
                .iter()
                .map(|name| name.as_str().len() + 16)
                .sum(),
            Records::Txt(Ok(answer)) => answer
                .records()
                .iter()
                .map(|txt| txt.as_bytes().len() + 16)
                .sum(),
            Records::A(Err(_))
            | Records::Aaaa(Err(_))
            | Records::Mx(Err(_))
            | Records::Ptr(Err(_))
            | Records::Txt(Err(_)) => 0,
        };
        u32::try_from(octets / 256).unwrap_or(u32::MAX - 1) + 1
    }
}

/// Entries live as long as their answer says.
struct ByTtl;

impl Expiry<Question, Entry> for ByTtl {
    fn expire_after_create(&self, _: &Question, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// A record type alignd asks for: how it is read off the wire and kept in the cache.
trait Kind: Clone + Send + Sync {
    const TYPE: RecordType;
    fn read(data: &RData) -> Option<Self>;
    fn wrap(lookup: Lookup<Self>) -> Records;
    fn unwrap(records: &Records) -> Option<Lookup<Self>>;
}

macro_rules! kind {
    ($record:ty, $type:ident, $variant:ident, $read:expr) => {
        impl Kind for $record {
            const TYPE: RecordType = RecordType::$type;

            fn read(data: &RData) -> Option<Self> {
                match data {
                    RData::$type(data) => $read(data),
                    _ => None,
                }
            }

            fn wrap(lookup: Lookup<Self>) -> Records {
                Records::$variant(lookup)
            }

            fn unwrap(records: &Records) -> Option<Lookup<Self>> {
                match records {
                    Records::$variant(lookup) => Some(lookup.clone()),
                    _ => None,
                }
            }
        }
    };
}

use hickory_resolver::proto::rr::rdata;

kind!(Ipv4Addr, A, A, |a: &rdata::A| Some(a.0));
kind!(Ipv6Addr, AAAA, Aaaa, |aaaa: &rdata::AAAA| Some(aaaa.0));
kind!(QueryName, PTR, Ptr, |ptr: &rdata::PTR| query_name(&ptr.0));
kind!(TxtRecord, TXT, Txt, |txt: &rdata::TXT| Some(TxtRecord(
    txt.txt_data.concat().into()
)));
kind!(MxRecord, MX, Mx, |mx: &rdata::MX| {
    let exchange = query_name(&mx.exchange)?;
    Some(MxRecord {
        preference: mx.preference,
        exchange,
    })
});

/// A name from the wire; `None` for one that cannot be written with dots between its labels.
fn query_name(name: &Name) -> Option<QueryName> {
    if name.is_root() {
        return Some(QueryName::root());
    }
    let labels: Vec<_> = name
        .iter()
        .map(|label| String::from_utf8_lossy(label))
        .collect();
    if labels.iter().any(|label| label.contains('.')) {
        return None;
    }
    QueryName::parse(&labels.join(".")).ok()
}

impl fmt::Display for ResolverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResolverError {}

/// An answer is asked for again after an hour, whatever its TTL: policies change.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// RFC 2308 §5 has 1 to 3 hours as sensible; a new record should be seen sooner.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(900);
/// RFC 2308 §7: failures may be cached, 5 minutes at most. Long enough to spare a dead server.
const FAILURE_TTL: Duration = Duration::from_secs(10);
/// Questions under way on one connection to a server; beyond it hickory answers "busy".
const MAX_IN_FLIGHT: usize = 4096;
