//! Who is at the other end of the SMTP session, from what the MTA says in CONNECT and its macros.
//!
//! Owns how Postfix and Sendmail show addresses, names and mail that never came over SMTP, and whom
//! the settings trust. Asks nothing and nobody.

use super::packet::untagged;
use super::settings::{HostPattern, TrustSettings};
use crate::address::{ReversePath, without_control};
use crate::domain::DomainName;
use crate::store::SkipReason;
use indymilter::SocketInfo;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The SMTP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// The MTA's name for it; not confirmed by us.
    pub name: Option<String>,
    pub origin: Origin,
}

/// How mail comes to the MTA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Smtp,
    /// By a command on the MTA's own host.
    LocalCommand,
}

/// What the settings make of a client and its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Judged,
    /// It hands mail over for others, whom it names in Received.
    Relay,
    PassedOver(SkipReason),
}

impl Client {
    /// Reads CONNECT. `address_macro` is `{client_addr}`, for MTAs that show no address here.
    pub fn read(name: &CStr, socket: &SocketInfo, address_macro: Option<&CStr>) -> Self {
        let shown = match socket {
            SocketInfo::Inet(address) => Some(*address),
            SocketInfo::Unix(_) | SocketInfo::Unknown => None,
        };
        let from_macro = || untagged(address_macro?.to_str().ok()?).parse().ok();
        let address = shown.map(|socket| socket.ip()).or_else(from_macro);
        Self {
            // One that can't be read is mended to the unspecified one.
            address: address
                .map(|address| address.to_canonical())
                .filter(|address| !address.is_unspecified()),
            name: readable_name(name),
            origin: origin(shown, address),
        }
    }

    /// An MTA that says nothing about its client.
    pub fn unknown() -> Self {
        Self {
            address: None,
            name: None,
            origin: Origin::Smtp,
        }
    }

    /// The client that a trusted relay names.
    pub fn behind_relay(address: IpAddr, name: Option<String>) -> Self {
        Self {
            address: Some(address.to_canonical()),
            name,
            origin: Origin::Smtp,
        }
    }

    /// What is done with its mail, as far as it is known before the header.
    pub fn standing(
        &self,
        authenticated: bool,
        mail_from: &ReversePath,
        trust: &TrustSettings,
    ) -> Standing {
        if authenticated && trust.skip_authenticated {
            return Standing::PassedOver(SkipReason::Authenticated);
        }
        if self.origin == Origin::LocalCommand {
            return Standing::PassedOver(SkipReason::LocalSubmission);
        }
        let in_relays = self.is_in(&trust.relays);
        if self.is_in(&trust.networks) && !in_relays {
            return Standing::PassedOver(SkipReason::TrustNetworks);
        }
        if trust.skip_mail_from.iter().any(|p| p.matches(mail_from)) {
            return Standing::PassedOver(SkipReason::SkipMailFrom);
        }
        match self.address {
            Some(address) if is_skipped(address, trust) => {
                Standing::PassedOver(SkipReason::SkipHosts)
            }
            Some(_) | None if in_relays => Standing::Relay,
            Some(_) | None => Standing::Judged,
        }
    }

    /// Whether results in its mail may be ours. A relay's mail is strangers', who may have written them.
    pub fn is_believed(&self, trust: &TrustSettings) -> bool {
        self.is_in(&trust.networks) && !self.is_in(&trust.relays)
    }

    /// Whether mail that it hands over may bear a verdict header of ours.
    pub fn may_return(&self, trust: &TrustSettings) -> bool {
        self.is_in(&trust.reinject)
    }

    fn is_in(&self, networks: &[ipnet::IpNet]) -> bool {
        self.address
            .is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
    }
}

/// `trust.skip_hosts`, by address.
pub fn is_skipped(address: IpAddr, trust: &TrustSettings) -> bool {
    trust.skip_hosts.iter().any(|p| p.has_address(address))
}

/// `trust.skip_hosts`, by a name that the client's reverse and forward look-ups confirm.
pub fn is_skipped_by_name(confirmed: Option<&str>, trust: &TrustSettings) -> bool {
    let by_name = |pattern: &HostPattern| !matches!(pattern, HostPattern::Network(_));
    let Some(Ok(name)) = confirmed
        .filter(|_| trust.skip_hosts.iter().any(by_name))
        .map(DomainName::parse)
    else {
        return false;
    };
    trust.skip_hosts.iter().any(|p| p.has_name(&name))
}

/// A text of the peer's, made valid UTF-8 without controls and no longer than names are.
pub fn bounded(text: &CStr, max: usize) -> String {
    let text = text.to_bytes();
    let text = text.get(..max.saturating_mul(4)).unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    text.chars().map(without_control).take(max).collect()
}

/// Postfix shows mail from sendmail(1) as coming from port 0 of 127.0.0.1, which no TCP connection has;
/// Sendmail shows no socket at all for what it reads from its standard input.
fn origin(shown: Option<SocketAddr>, address: Option<IpAddr>) -> Origin {
    match (shown, address) {
        (Some(socket), _) if socket.port() == 0 && is_this_host(socket.ip()) => {
            Origin::LocalCommand
        }
        (None, None) => Origin::LocalCommand,
        (Some(_) | None, _) => Origin::Smtp,
    }
}

fn is_this_host(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

fn readable_name(name: &CStr) -> Option<String> {
    let name = bounded(name, MAX_NAME);
    let nameless = name.is_empty() || name.starts_with('[') || name == "unknown";
    (!nameless).then_some(name)
}

/// RFC 1035 §2.3.4.
pub const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::super::settings::SenderPattern;
    use super::*;

    fn client(name: &CStr, socket: &str) -> Client {
        let socket = match socket {
            "U" => SocketInfo::Unknown,
            "L" => SocketInfo::Unix(c"/run/x".into()),
            inet => SocketInfo::Inet(inet.parse().unwrap()),
        };
        Client::read(name, &socket, None)
    }

    #[test]
    fn reads_what_both_mtas_show() {
        for (name, socket, address, shown, origin) in [
            (
                c"mx.example",
                "192.0.2.9:4025",
                "192.0.2.9",
                "mx.example",
                Origin::Smtp,
            ),
            (
                c"[192.0.2.9]",
                "192.0.2.9:4025",
                "192.0.2.9",
                "",
                Origin::Smtp,
            ),
            (c"unknown", "192.0.2.9:4025", "192.0.2.9", "", Origin::Smtp),
            (
                c"mx",
                "[2001:db8:3::25]:25",
                "2001:db8:3::25",
                "mx",
                Origin::Smtp,
            ),
            (
                c"mx",
                "[::ffff:192.0.2.9]:25",
                "192.0.2.9",
                "mx",
                Origin::Smtp,
            ),
            (
                c"localhost",
                "127.0.0.1:4025",
                "127.0.0.1",
                "localhost",
                Origin::Smtp,
            ),
            (
                c"localhost",
                "127.0.0.1:0",
                "127.0.0.1",
                "localhost",
                Origin::LocalCommand,
            ),
            (c"mx", "192.0.2.9:0", "192.0.2.9", "mx", Origin::Smtp),
            (c"mx", "127.0.2.9:0", "127.0.2.9", "mx", Origin::Smtp),
            (c"mx", "0.0.0.0:25", "", "mx", Origin::Smtp),
            (c"localhost", "U", "", "localhost", Origin::LocalCommand),
            (c"localhost", "L", "", "localhost", Origin::LocalCommand),
        ] {
            let client = client(name, socket);
            let found = client.address.map(|a| a.to_string()).unwrap_or_default();
            assert_eq!(found, address, "{name:?} {socket}");
            assert_eq!(client.name.as_deref().unwrap_or_default(), shown);
            assert_eq!(client.origin, origin, "{name:?} {socket}");
        }
        for (shown, expected) in [
            (c"192.0.2.9", "192.0.2.9"),
            (c"2001:db8::9", "2001:db8::9"),
            (c"IPv6:2001:db8::9", "2001:db8::9"),
        ] {
            let by_macro = Client::read(c"mx", &SocketInfo::Unknown, Some(shown));
            assert_eq!(by_macro.origin, Origin::Smtp);
            assert_eq!(by_macro.address, Some(expected.parse().unwrap()));
        }
    }

    #[test]
    fn knows_whom_to_pass_over() {
        let trust = TrustSettings {
            relays: vec!["10.0.0.5/32".parse().unwrap()],
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            skip_hosts: vec![HostPattern::parse("192.0.2.0/28").unwrap()],
            skip_mail_from: vec![SenderPattern::parse("lists.example").unwrap()],
            ..TrustSettings::default()
        };
        for (socket, authenticated, from, expected) in [
            ("198.51.100.1:1", false, "<a@b.example>", "judged"),
            ("198.51.100.1:1", true, "<a@b.example>", "authenticated"),
            ("127.0.0.1:0", false, "<a@b.example>", "local_submission"),
            ("10.0.0.1:1", false, "<a@b.example>", "trust_networks"),
            ("10.0.0.1:1", true, "<a@b.example>", "authenticated"),
            ("10.0.0.5:1", false, "<a@b.example>", "relay"),
            ("192.0.2.9:1", false, "<a@b.example>", "skip_hosts"),
            ("192.0.2.16:1", false, "<a@b.example>", "judged"),
            (
                "198.51.100.1:1",
                false,
                "<a@lists.example>",
                "skip_mail_from",
            ),
        ] {
            let from = ReversePath::parse(from);
            let standing = client(c"mx", socket).standing(authenticated, &from, &trust);
            let shown = match standing {
                Standing::Judged => "judged",
                Standing::Relay => "relay",
                Standing::PassedOver(reason) => reason.as_str(),
            };
            assert_eq!(shown, expected, "{socket} {from}");
        }
    }

    #[test]
    fn names_count_only_when_confirmed() {
        let trust = TrustSettings {
            skip_hosts: vec![HostPattern::parse(".lists.example").unwrap()],
            ..TrustSettings::default()
        };
        for (name, expected) in [
            (Some("mx.lists.example"), true),
            (Some("lists.example"), false),
            (None, false),
        ] {
            assert_eq!(is_skipped_by_name(name, &trust), expected, "{name:?}");
        }
        let nobody = TrustSettings::default();
        assert!(!is_skipped_by_name(Some("mx.lists.example"), &nobody));
    }
}
