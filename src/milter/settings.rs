//! What the operator sets for the milter: where it listens, whom it trusts, whose mail it passes over.
//!
//! Owns `[milter]` and `[trust]` as they are meant, and the matching of a client or a sender against
//! a pattern. Reads no file; opens no socket.

use crate::address::{Mailbox, ReversePath};
use crate::auth::arc::ArcSettings;
use crate::auth::dkim::DkimSettings;
use crate::domain::DomainName;
use crate::message::HeaderField;
use crate::message::authentication_results::claim::claims_to_be;
use crate::message::received::{ReceivedClient, client_behind};
use crate::policy::PolicySettings;
use crate::policy::rules::RuleSet;
use crate::site_key::SiteKey;
use crate::store::OnFailure;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that is set about one message: taken once, when it begins, exchanged whole at a reload.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `identity.authserv_id`, RFC 8601 §2.5.
    pub authserv_id: String,
    pub milter: MilterSettings,
    pub trust: TrustSettings,
    pub dkim: DkimSettings,
    pub arc: ArcSettings,
    pub policy: PolicySettings,
    /// Exceptions and stricter rules, of the settings file and of the store; exchanged whole.
    pub rules: Arc<RuleSet>,
    /// `dns.message_deadline`
    pub dns_deadline: Duration,
    /// `store.on_failure`
    pub on_store_failure: OnFailure,
    /// `store.local_parts`
    pub local_parts: bool,
    /// Where our report mail is from, when reports are set up: `delivery.from`.
    pub report_from: Option<Mailbox>,
    /// What verdict headers are sealed with; `None` only where nothing is held and nothing comes back.
    pub site_key: Option<SiteKey>,
}

/// `[milter]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilterSettings {
    pub listen: Vec<SocketSpec>,
    /// Permission bits of Unix sockets.
    pub socket_mode: u32,
    /// The group of Unix sockets; empty: the process' own.
    pub socket_group: String,
    /// MTA connections served at once; more of them wait.
    pub max_connections: usize,
    /// How long an MTA may say nothing, or take to read an answer, before it is hung up on.
    pub idle_timeout: Duration,
    /// Mail with more octets isn't evaluated; 0: no limit.
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
    /// Our own networks: their mail isn't evaluated, their results are believed.
    pub networks: Vec<IpNet>,
    pub skip_authenticated: bool,
    pub skip_hosts: Vec<HostPattern>,
    pub skip_mail_from: Vec<SenderPattern>,
    /// Hosts that hand mail over for others: the client is the one they name in Received.
    pub relays: Vec<IpNet>,
    /// Hosts from which mail comes back with its verdict header.
    pub reinject: Vec<IpNet>,
    /// Further authserv-ids of ours.
    pub strip_results_of: Vec<String>,
}

impl TrustSettings {
    /// Whether `client` hands mail over for others.
    pub fn is_relay(&self, client: IpAddr) -> bool {
        self.relays.iter().any(|relay| relay.contains(&client))
    }

    /// The client that the relays name in `fields`.
    pub fn client_behind(&self, fields: &[HeaderField]) -> Option<ReceivedClient> {
        // A relay hands mail to itself, through a filter of its own for example.
        client_behind(fields, |address| {
            address.is_loopback() || self.is_relay(address)
        })
    }
}

/// A client, by its address or by its confirmed name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Network(IpNet),
    /// This name.
    Name(DomainName),
    /// Every name below this one; written with a dot in front.
    Below(DomainName),
}

/// An envelope sender. It is what the client says: nothing confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderPattern {
    /// `<>`
    Null,
    /// `local@domain`; the local part with its case (RFC 5321 §2.4).
    Address(String, DomainName),
    /// Every address in this domain.
    Domain(DomainName),
    /// Every address in a domain below this one; written with a dot in front.
    Below(DomainName),
}

impl Settings {
    /// The defaults, under this authserv-id.
    pub fn defaults(authserv_id: impl Into<String>) -> Self {
        Self {
            authserv_id: authserv_id.into(),
            milter: MilterSettings::default(),
            trust: TrustSettings::default(),
            dkim: DkimSettings::default(),
            arc: ArcSettings::default(),
            policy: PolicySettings::default(),
            rules: Arc::default(),
            dns_deadline: Duration::from_secs(20),
            on_store_failure: OnFailure::Tempfail,
            local_parts: false,
            report_from: None,
            site_key: None,
        }
    }

    /// Whether any message may be held.
    pub fn can_hold(&self) -> bool {
        self.policy.can_hold() || self.rules.can_hold()
    }

    /// Whether a recipient is the address that our report mail is from.
    pub fn is_report_from(&self, recipient: &str) -> bool {
        self.report_from.as_ref().is_some_and(|ours| {
            Mailbox::parse(recipient).is_some_and(|to| {
                to.domain == ours.domain && to.local_part.eq_ignore_ascii_case(&ours.local_part)
            })
        })
    }

    /// Whether an incoming Authentication-Results field claims to be ours (RFC 8601 §5).
    pub fn claims_our_results(&self, value: &[u8]) -> bool {
        let more = self.trust.strip_results_of.iter().map(String::as_str);
        let ids: Vec<&str> = std::iter::once(self.authserv_id.as_str())
            .chain(more)
            .collect();
        claims_to_be(value, &ids)
    }
}

impl HostPattern {
    /// Reads an address, a network, a host name, or `.domain`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(network) = parse_network(text) {
            return Some(Self::Network(network));
        }
        match text.strip_prefix('.') {
            Some(parent) => host_name(parent).map(Self::Below),
            None => host_name(text).map(Self::Name),
        }
    }

    /// Whether the client has this address.
    pub fn has_address(&self, client: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&client),
            Self::Name(_) | Self::Below(_) => false,
        }
    }

    /// Whether a client with this confirmed name is meant.
    pub fn has_name(&self, confirmed: &DomainName) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Name(name) => name == confirmed,
            Self::Below(parent) => parent != confirmed && confirmed.is_within(parent),
        }
    }
}

impl SenderPattern {
    /// Reads `<>`, `local@domain`, `domain` or `.domain`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "<>" {
            return Some(Self::Null);
        }
        if let Some((local_part, domain)) = text.rsplit_once('@') {
            let domain = DomainName::parse(domain).ok()?;
            let local_part = local_part.to_owned();
            return (!local_part.is_empty()).then_some(Self::Address(local_part, domain));
        }
        match text.strip_prefix('.') {
            Some(parent) => DomainName::parse(parent).ok().map(Self::Below),
            None => DomainName::parse(text).ok().map(Self::Domain),
        }
    }

    pub fn matches(&self, mail_from: &ReversePath) -> bool {
        match (self, mail_from) {
            (Self::Null, ReversePath::Null) => true,
            (Self::Address(local_part, domain), ReversePath::Mailbox(mailbox)) => {
                *local_part == mailbox.local_part && *domain == mailbox.domain
            }
            (Self::Domain(domain), ReversePath::Mailbox(mailbox)) => *domain == mailbox.domain,
            (Self::Below(parent), ReversePath::Mailbox(mailbox)) => {
                *parent != mailbox.domain && mailbox.domain.is_within(parent)
            }
            (
                Self::Null | Self::Address(..) | Self::Domain(_) | Self::Below(_),
                ReversePath::Null | ReversePath::Mailbox(_) | ReversePath::Unparseable(_),
            ) => false,
        }
    }
}

impl SocketSpec {
    /// Reads `unix:PATH` (absolute) or `inet:HOST:PORT`, HOST in brackets when it is IPv6.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return path.is_absolute().then_some(Self::Unix(path));
        }
        let (host, port) = text.strip_prefix("inet:")?.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .map_or(Some(host), |h| h.strip_suffix(']'))?;
        let (host, port) = (host.to_owned(), port.parse().ok()?);
        (!host.is_empty()).then_some(Self::Inet { host, port })
    }
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
            reinject: Vec::new(),
            strip_results_of: Vec::new(),
        }
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet { host, port } if host.contains(':') => write!(f, "inet:[{host}]:{port}"),
            Self::Inet { host, port } => write!(f, "inet:{host}:{port}"),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "{network}"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Below(parent) => write!(f, ".{parent}"),
        }
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(local_part, domain) => write!(f, "{local_part}@{domain}"),
            Self::Domain(domain) => write!(f, "{domain}"),
            Self::Below(parent) => write!(f, ".{parent}"),
        }
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A name with a letter in its last label: not a slip of an address.
fn host_name(text: &str) -> Option<DomainName> {
    let name = DomainName::parse(text).ok()?;
    let last = name.labels().next_back()?;
    (!last.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sockets() {
        for (text, expected) in [
            ("unix:/run/x.sock", Some("unix:/run/x.sock")),
            ("inet:localhost:8893", Some("inet:localhost:8893")),
            ("inet:[::1]:8893", Some("inet:[::1]:8893")),
            ("unix:x.sock", None),
            ("inet:localhost", None),
            ("inet::1", None),
            ("inet:[::1:1", None),
            ("inet:a:70000", None),
            ("/run/x.sock", None),
        ] {
            let read = SocketSpec::parse(text).map(|s| s.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn matches_clients() {
        for (pattern, client, expected) in [
            ("192.0.2.9", "192.0.2.9", true),
            ("192.0.2.0/24", "192.0.2.9", true),
            ("192.0.2.0/24", "192.0.3.9", false),
            ("2001:db8::/32", "2001:db8::1", true),
            ("mx.example", "mx.example", true),
            ("mx.example", "a.mx.example", false),
            (".mx.example", "a.mx.example", true),
            (".mx.example", "mx.example", false),
            (".mx.example", "amx.example", false),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            let hit = match client.parse::<IpAddr>() {
                Ok(address) => pattern.has_address(address),
                Err(_) => pattern.has_name(&DomainName::parse(client).unwrap()),
            };
            assert_eq!(hit, expected, "{pattern} {client}");
            assert_eq!(HostPattern::parse(&pattern.to_string()), Some(pattern));
        }
        for text in ["", "192.0.2.0/33", "192.0.2", "a b", "192.0.2.0/24/3"] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn matches_senders() {
        for (pattern, sender, expected) in [
            ("<>", "<>", true),
            ("<>", "<a@b.example>", false),
            ("a@b.example", "<a@B.example>", true),
            ("a@b.example", "<A@b.example>", false),
            ("b.example", "<x@b.example>", true),
            ("b.example", "<x@c.b.example>", false),
            (".b.example", "<x@c.b.example>", true),
            ("b.example", "<>", false),
            ("b.example", "<b.example>", false),
        ] {
            let pattern = SenderPattern::parse(pattern).unwrap();
            let hit = pattern.matches(&ReversePath::parse(sender));
            assert_eq!(hit, expected, "{pattern} {sender}");
            assert_eq!(SenderPattern::parse(&pattern.to_string()), Some(pattern));
        }
        for text in ["", "@b.example", "a b", "a@"] {
            assert_eq!(SenderPattern::parse(text), None, "{text}");
        }
    }
}
