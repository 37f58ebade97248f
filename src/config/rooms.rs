//! Settings of the rooms, as `Config` carries them.
//!
//! Pure data with the documented defaults.

use ipnet::IpNet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[milter]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilterSettings {
    pub listen: Vec<SocketSpec>,
    /// Permission bits of Unix sockets.
    pub socket_mode: u32,
    pub socket_group: String,
    pub max_connections: usize,
    pub idle_timeout: Duration,
    /// 0: no limit.
    pub max_message_bytes: u64,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketSpec {
    Unix(PathBuf),
    Inet { host: String, port: u16 },
}

/// `[trust]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    pub networks: Vec<IpNet>,
    pub skip_authenticated: bool,
    pub skip_hosts: Vec<HostPattern>,
    pub skip_mail_from: Vec<String>,
    pub relays: Vec<IpNet>,
    pub strip_results_of: Vec<String>,
}

/// A client, by network or by its confirmed name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Network(IpNet),
    Name(String),
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    /// Empty: the system's.
    pub servers: Vec<SocketAddr>,
    pub timeout: Duration,
    pub message_deadline: Duration,
    pub cache_entries: u64,
}

/// `[dkim]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimSettings {
    pub max_signatures: usize,
    pub allow_body_length: bool,
    pub min_rsa_bits: u32,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    pub path: PathBuf,
    pub durability: Durability,
    pub wait: Duration,
    pub on_failure: OnFailure,
    pub keep_messages: Duration,
    pub local_parts: bool,
}

/// `store.durability`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Full,
    Relaxed,
}

/// `store.on_failure`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Tempfail,
    Accept,
}

impl Default for MilterSettings {
    fn default() -> Self {
        let socket = PathBuf::from("/var/spool/postfix/alignd/milter.sock");
        Self {
            listen: vec![SocketSpec::Unix(socket)],
            socket_mode: 0o660,
            socket_group: "postfix".to_owned(),
            max_connections: 1_000,
            idle_timeout: Duration::from_secs(2 * 3_600),
            max_message_bytes: 0,
        }
    }
}

impl Default for TrustSettings {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            networks: loopback.iter().filter_map(|n| n.parse().ok()).collect(),
            skip_authenticated: true,
            skip_hosts: Vec::new(),
            skip_mail_from: Vec::new(),
            relays: Vec::new(),
            strip_results_of: Vec::new(),
        }
    }
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

impl Default for DkimSettings {
    fn default() -> Self {
        Self {
            max_signatures: 10,
            allow_body_length: false,
            min_rsa_bits: 1_024,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/alignd"),
            durability: Durability::Full,
            wait: Duration::from_secs(30),
            on_failure: OnFailure::Tempfail,
            keep_messages: Duration::from_secs(90 * 86_400),
            local_parts: false,
        }
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet { host, port } => write!(f, "inet:{host}:{port}"),
        }
    }
}
