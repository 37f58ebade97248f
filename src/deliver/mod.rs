//! Delivery of report mail: bytes to a smarthost by SMTP, signed.
//!
//! Owns `[delivery]` and what can come of an attempt. The mail itself is `report`'s, when to try again
//! `send_report`'s. Nothing is looked up here: MX records are the smarthost's business.
//!
//! - `smtp`: the session, RFC 5321, with STARTTLS (RFC 3207), implicit TLS (RFC 8314) and AUTH (RFC 4954)
//! - `sign`: DKIM, RFC 6376 and 8463

mod answer;
mod sign;
mod smtp;

pub use sign::{Signer, SignerError};
pub use smtp::{Smtp, SmtpError, Timeouts};

use crate::report::destination::PlainAddress;
use crate::word::words;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The smarthost.
    pub smtp: Server,
    pub tls: TlsMode,
    /// A file with certificates (PEM) that are trusted beside the system's.
    pub tls_ca: Option<PathBuf>,
    /// For AUTH, with `password_file`.
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    /// The author of report mail; `None`: `dmarc-reports` at `identity.report_domain`.
    pub from: Option<PlainAddress>,
    /// Mails a minute.
    pub rate: u32,
    /// How long a report is tried; after that it is expired.
    pub retry_for: Duration,
    /// The key that signs, with `dkim_key_file`.
    pub dkim_selector: Option<String>,
    pub dkim_key_file: Option<PathBuf>,
}

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

words! {
    /// `delivery.tls`
    TlsMode {
        /// STARTTLS where it is offered, with whatever certificate: better than none, safe from nobody
        /// who wants in. RFC 7435.
        Opportunistic = "opportunistic",
        /// STARTTLS with a certificate that is valid for the name, or nothing is sent.
        Required = "required",
        /// TLS from the first octet, checked in the same way.
        Implicit = "implicit",
        None = "none",
    }
}

/// What came of an attempt. Answers are printable, one line, and begin with the server's code if it
/// gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The server has taken the responsibility for it.
    Sent { answer: String },
    /// Not now.
    Deferred {
        answer: String,
        whose: Whose,
        /// Whether the server may have taken it all the same: its answer was lost.
        maybe_sent: bool,
    },
    /// The server will never take this mail for this recipient.
    Refused { answer: String },
}

/// Whose trouble a deferral is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This mail's or its recipient's; others may do better.
    Recipient,
    /// The server's, or our settings': others won't do better now.
    Server,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            smtp: Server {
                host: "localhost".to_owned(),
                port: 25,
            },
            tls: TlsMode::Opportunistic,
            tls_ca: None,
            username: None,
            password_file: None,
            from: None,
            rate: 60,
            retry_for: Duration::from_secs(3 * 86_400),
            dkim_selector: None,
            dkim_key_file: None,
        }
    }
}

impl DeliverySettings {
    /// Whether only the server itself can learn the password.
    pub fn protects_password(&self) -> bool {
        match self.tls {
            TlsMode::Required | TlsMode::Implicit => true,
            TlsMode::Opportunistic | TlsMode::None => self.smtp.is_this_host(),
        }
    }
}

impl Server {
    /// Reads `host:port`, `[2001:db8::1]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = match host.strip_prefix('[') {
            Some(address) => address
                .strip_suffix(']')
                .filter(|a| a.parse::<std::net::Ipv6Addr>().is_ok())?,
            None => host,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(fits);
        let is_bare_v6 = host.contains(':') && !text.starts_with('[');
        (is_name && !is_bare_v6).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    /// Whether it is this host, so that nothing said to it can be overheard.
    pub fn is_this_host(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        for (text, expected) in [
            ("localhost:25", Some(("localhost", 25, true))),
            ("127.0.0.1:2525", Some(("127.0.0.1", 2525, true))),
            ("[::1]:587", Some(("::1", 587, true))),
            (
                "smtp.example.org:587",
                Some(("smtp.example.org", 587, false)),
            ),
            ("localhost", None),
            ("::1:587", None),
            ("[localhost]:25", None),
            ("localhost:0", None),
            ("localhost:65536", None),
            (":25", None),
            ("a b:25", None),
        ] {
            let found = Server::parse(text);
            let seen = found
                .as_ref()
                .map(|s| (s.host.as_str(), s.port, s.is_this_host()));
            assert_eq!(seen, expected, "{text}");
            if let Some(server) = found {
                assert_eq!(server.to_string(), text);
            }
        }
    }
}
