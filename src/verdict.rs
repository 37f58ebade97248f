//! `Verdict`: the immutable record of one message, the spine of the program. Made once, when the
//! message is judged; what becomes of the message afterwards is `outcome`'s.
//!
//! Pure. Holds everything that `why`, reports, exceptions and what-if need later, since old rows
//! cannot be mended. Never the body, never a header beyond the identifiers named here.

pub mod grounds;
pub mod header;
pub mod results;
pub mod shape;
pub mod suggest;

use crate::address::ReversePath;
use crate::auth::dmarc::Evaluation;
use crate::auth::{DmarcResult, Evidence};
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::message::identifiers::Nature;
use crate::policy::Decision;
use crate::time::Timestamp;
use crate::word::words;
use std::fmt;
use std::net::IpAddr;

/// A UUIDv7 (RFC 9562 §5.7): sorts by time, minted once per message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerdictId([u8; 16]);

/// One message, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub id: VerdictId,
    /// When it was judged, at the end of the message.
    pub received: Timestamp,
    pub envelope: Envelope,
    pub message: MessageFacts,
    pub evidence: Evidence,
    /// DMARC, when there was exactly one author domain and the message was evaluated.
    pub evaluation: Option<Evaluation>,
    pub decision: Decision,
    pub weight: Weight,
    /// The Authentication-Results field as written, unfolded, without its name.
    pub authentication_results: String,
}

/// What the SMTP session said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The MTA's id of the message, when it told one.
    pub queue_id: Option<String>,
    /// The client whose address was judged: behind a trusted relay, the one the relay named.
    /// `None` when a trusted relay handed the message over without naming one.
    pub client: Option<IpAddr>,
    /// The MTA's name for the client; `None` when it had none.
    pub client_name: Option<String>,
    /// The trusted relay that handed the message over, if one did.
    pub relay: Option<IpAddr>,
    /// The argument of HELO or EHLO, at most 255 characters.
    pub helo: Option<String>,
    pub mail_from: ReversePath,
    /// Domains of the recipients, each once, in order.
    pub recipient_domains: Vec<DomainName>,
    /// How many recipients there were.
    pub recipients: u32,
    /// The whole addresses, only when `store.local_parts` is set.
    pub recipient_addresses: Vec<String>,
    /// `{daemon_name}`.
    pub daemon_name: Option<String>,
}

/// What the message itself said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    pub author: Author,
    /// Message-ID without its brackets, at most 998 characters.
    pub message_id: Option<String>,
    /// The identifier of List-Id (RFC 2919), without its brackets.
    pub list_id: Option<String>,
    /// Octets of header and body as the milter saw them.
    pub size: u64,
    /// Header fields that claimed to be our Authentication-Results and were removed.
    pub forged_results: u32,
}

words! {
    /// Whether a message alone is reason enough to send a report about it.
    Weight {
        Triggers = "triggers",
        /// It is itself a report, or a bounce, and passes DMARC, or it is a bounce of our own report mail:
        /// counted in a report, never the cause of one.
        IncludedOnly = "included_only",
    }
}

impl Weight {
    /// Anyone can write the header of a report or a bounce, so only mail that passes DMARC is taken at its
    /// word: forged mail triggers a report whatever it calls itself, or a forger could have a domain's
    /// owner hear nothing of it.
    pub fn of(nature: Nature, evaluation: Option<&Evaluation>) -> Self {
        let passed = evaluation.is_some_and(|e| e.result == DmarcResult::Pass);
        match nature {
            Nature::Report | Nature::Bounce if passed => Self::IncludedOnly,
            Nature::Mail | Nature::Report | Nature::Bounce => Self::Triggers,
        }
    }
}

impl VerdictId {
    /// Mints an id from the time and ten random octets.
    pub fn mint(now: Timestamp, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&now.millis().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Self(bytes)
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the usual form, 36 characters with hyphens, any case.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, c) in text.chars().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if c != '-' {
                    return None;
                }
                continue;
            }
            let value = c.to_digit(16)? as u8;
            let byte: &mut u8 = bytes.get_mut(digits / 2)?;
            *byte = *byte << 4 | value;
            digits += 1;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuid_v7_and_round_trip() {
        let id = VerdictId::mint(Timestamp::from_micros(1_645_557_742_000_000), [0xff; 10]);
        assert_eq!(id.to_string(), "017f22e2-79b0-7fff-bfff-ffffffffffff");
        assert_eq!(VerdictId::parse(&id.to_string().to_uppercase()), Some(id));
        for bad in [
            "",
            "017f22e2-79b0-7fff-bfff-fffffffffff",
            "017f22e2x79b0-7fff-bfff-ffffffffffff",
        ] {
            assert_eq!(VerdictId::parse(bad), None);
        }
    }

    #[test]
    fn later_ids_sort_later() {
        let early = VerdictId::mint(Timestamp::from_seconds(1), [0xff; 10]);
        let late = VerdictId::mint(Timestamp::from_seconds(2), [0; 10]);
        assert!(early < late);
    }
}
