//! `QueryName`: a name as it is put to DNS. Wider than `DomainName`: SPF macros and PTR records
//! make labels of any octets, and those must be asked as they are (RFC 7208 §7.3).
//!
//! Owns the size limits of RFC 1035 §2.3.4. Never converts U-labels; `DomainName` does.

use crate::domain::DomainName;
use std::fmt;
use std::net::IpAddr;

/// A DNS name in presentation order without trailing dot, ASCII letters lower-cased (RFC 4343).
/// The empty text is the root. Labels are UTF-8, 1–63 octets; 253 octets in all at most. A dot
/// inside a label cannot be expressed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryName(Box<str>);

/// Why a text cannot be asked of DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    EmptyLabel,
    LabelTooLong,
    TooLong,
}

impl QueryName {
    /// Reads a name; one trailing dot is dropped.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if text.len() > 253 {
            return Err(NameError::TooLong);
        }
        for label in text.split('.') {
            match label.len() {
                0 => return Err(NameError::EmptyLabel),
                1..=63 => {}
                _ => return Err(NameError::LabelTooLong),
            }
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    pub fn root() -> Self {
        Self("".into())
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// `prefix.domain`, for `_dmarc`, `selector._domainkey` and the like.
    pub fn below(prefix: &str, domain: &DomainName) -> Result<Self, NameError> {
        Self::parse(&format!("{prefix}.{domain}"))
    }

    /// The name under `in-addr.arpa` or `ip6.arpa` that an address's PTR records live at.
    pub fn reverse(address: IpAddr) -> Self {
        let text = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let mut text = String::with_capacity(72);
                for octet in v6.octets().iter().rev() {
                    text.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
                }
                text + "ip6.arpa"
            }
        };
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Labels from left to right; none for the root.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').filter(|label| !label.is_empty())
    }
}

impl From<&DomainName> for QueryName {
    fn from(domain: &DomainName) -> Self {
        Self(domain.as_str().into())
    }
}

impl fmt::Display for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "an empty label",
            Self::LabelTooLong => "a label of more than 63 octets",
            Self::TooLong => "more than 253 octets",
        })
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverses_addresses() {
        for (address, expected) in [
            ("192.0.2.9", "9.2.0.192.in-addr.arpa"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ] {
            assert_eq!(
                QueryName::reverse(address.parse().unwrap()).as_str(),
                expected
            );
        }
    }

    #[test]
    fn checks_sizes() {
        for (text, expected) in [
            ("", Err(NameError::EmptyLabel)),
            ("a..b", Err(NameError::EmptyLabel)),
            ("A:b.C.", Ok("a:b.c")),
        ] {
            assert_eq!(
                QueryName::parse(text).as_ref().map(QueryName::as_str),
                expected.as_ref().map(|s| *s)
            );
        }
        assert_eq!(
            QueryName::parse(&"a".repeat(64)),
            Err(NameError::LabelTooLong)
        );
    }
}
