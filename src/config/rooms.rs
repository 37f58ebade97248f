//! Settings of the rooms, as `Config` carries them.
//!
//! Pure data with the documented defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
