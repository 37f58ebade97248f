//! Who is who in these tests: the domains, what they publish and sign with, and the hosts that send
//! for them.

use crate::dkim_signer::SigningKey;
use crate::smtp::{Client, NO_LOGIN};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

pub const READER: &str = "<reader@receiver.example>";

const fn client(octets: [u8; 4], name: &'static str) -> Client {
    let [a, b, c, d] = octets;
    Client {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        name,
        helo: name,
        login: NO_LOGIN,
    }
}

/// Sends for sender.example, as its SPF record says.
pub const SENDER: Client = client([192, 0, 2, 25], "mx.sender.example");
/// Sends for list.example.
pub const LIST: Client = client([198, 51, 100, 10], "mx.list.example");
/// Sends on what others sent, with their MAIL FROM.
pub const FORWARDER: Client = client([198, 51, 100, 20], "mx.forwarder.example");
/// Sends for evil.example, and in anyone's name.
pub const EVIL: Client = client([203, 0, 113, 66], "mx.evil.example");

/// Sends for sender.example over IPv6.
pub const SENDER6: Client = Client {
    address: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x25)),
    name: "mx6.sender.example",
    helo: "mx6.sender.example",
    login: NO_LOGIN,
};
/// Sends for sender.example from within this host, in a container perhaps.
pub const NEIGHBOUR: Client = client([127, 0, 2, 25], "inside.sender.example");

/// Everybody.
pub const CLIENTS: [Client; 6] = [SENDER, SENDER6, NEIGHBOUR, LIST, FORWARDER, EVIL];

/// Published at `rsa._domainkey` of the domains in `SIGNERS`; making one takes a while.
pub static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("rsa"));
/// Published at `ed._domainkey` of the same.
pub static ED25519: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ed25519"));

const SIGNERS: [&str; 3] = ["sender.example", "list.example", "xn--bcher-kva.example"];

/// What DNS says.
pub fn zone() -> String {
    let hosts = CLIENTS.iter().map(host);
    let keys = SIGNERS.iter().flat_map(|domain| {
        [("rsa", &RSA), ("ed", &ED25519)].map(|(selector, key)| {
            let record = strings(&key.record());
            format!("{selector}._domainkey.{domain} TXT {record}\n")
        })
    });
    hosts.chain(keys).collect::<String>() + POLICIES
}

/// Forward and reverse names.
fn host(client: &Client) -> String {
    let name = client.name;
    let (kind, zone, digits): (_, _, Vec<String>) = match client.address {
        IpAddr::V4(v4) => {
            let octets = v4.octets().into_iter().rev();
            ("A", "in-addr", octets.map(|o| o.to_string()).collect())
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|o| [o & 15, o >> 4]);
            ("AAAA", "ip6", nibbles.map(|n| format!("{n:x}")).collect())
        }
    };
    let (address, reverse) = (client.address, digits.join("."));
    format!("{name} {kind} {address}\n{reverse}.{zone}.arpa PTR {name}.\n")
}

/// A long text as character-strings of a master file.
fn strings(text: &str) -> String {
    let parts = text.as_bytes().chunks(255);
    let quoted = parts.map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
    quoted.collect::<Vec<_>>().join(" ")
}

/// Records of the domains, without their keys.
pub const POLICIES: &str = r#"
sender.example          MX 10 mx.sender.example.
sender.example          TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8:2::/48 ptr:inside.sender.example -all"
_dmarc.sender.example   TXT "v=DMARC1; p=reject; rua=mailto:dmarc@sender.example"
mx.sender.example       TXT "v=spf1 a -all"
list.example            TXT "v=spf1 ip4:198.51.100.10 -all"
_dmarc.list.example     TXT "v=DMARC1; p=none"
forwarder.example       TXT "v=spf1 ip4:198.51.100.20 -all"
evil.example            TXT "v=spf1 ip4:203.0.113.66 -all"
xn--bcher-kva.example         TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.xn--bcher-kva.example  TXT "v=DMARC1; p=quarantine"
truncated.example        TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.truncated.example TXT "v=DMARC1; p=reject"
slow.example             TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.slow.example      TXT "v=DMARC1; p=reject"
"#;
