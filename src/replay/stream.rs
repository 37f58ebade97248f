//! Streams: mail that came the same way, so that one exception or one look is for all of it.
//!
//! Owns which of a message's properties names its stream: the one that says most about who handed it
//! over. Pure.

use crate::domain::DomainName;
use crate::policy::rules::Verified;
use crate::verdict::Verdict;
use crate::word::words;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

words! {
    /// What a stream is named by, what says most first.
    StreamKind {
        /// List-Id, of mail that a verified domain vouches for.
        List = "list",
        /// A verified signature's domain.
        Signer = "dkim",
        /// The domain that SPF passed for.
        Spf = "spf",
        /// Below this confirmed reverse name.
        ReverseName = "reverse_name",
        /// The client's network: /24 or /48.
        Network = "network",
        /// Not even the client is known.
        Unknown = "unknown",
    }
}

/// One way that mail comes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    pub kind: StreamKind,
    /// Empty when unknown.
    pub name: String,
}

impl Stream {
    pub fn of(verdict: &Verdict) -> Self {
        let verified = Verified::of(&verdict.evidence);
        let signer = verified.signers.first().map(|(domain, _)| domain);
        let list = verdict.message.list_id.as_ref();
        if let Some(list) = list.filter(|_| signer.is_some() || verified.spf.is_some()) {
            return Self::new(StreamKind::List, list);
        }
        if let Some(signer) = signer {
            return Self::new(StreamKind::Signer, signer);
        }
        if let Some(domain) = &verified.spf {
            return Self::new(StreamKind::Spf, domain);
        }
        if let Some(name) = &verified.reverse_name {
            return Self::new(StreamKind::ReverseName, below(name));
        }
        match verdict.envelope.client {
            Some(client) => Self::new(StreamKind::Network, network(client)),
            None => Self::new(StreamKind::Unknown, ""),
        }
    }

    fn new(kind: StreamKind, name: impl ToString) -> Self {
        Self {
            kind,
            name: name.to_string(),
        }
    }
}

/// The hosts of one pool differ in their first label.
fn below(name: &DomainName) -> DomainName {
    let parent = name.parent().filter(|parent| parent.label_count() > 1);
    parent.unwrap_or_else(|| name.clone())
}

fn network(client: IpAddr) -> IpNet {
    let client = client.to_canonical();
    let length = if client.is_ipv4() { 24 } else { 48 };
    IpNet::new_assert(client, length).trunc()
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StreamKind::List => write!(f, "list <{}>", self.name),
            StreamKind::Signer => write!(f, "d={}", self.name),
            StreamKind::Spf => write!(f, "spf {}", self.name),
            StreamKind::ReverseName => write!(f, "hosts in {}", self.name),
            StreamKind::Network => write!(f, "[{}]", self.name),
            StreamKind::Unknown => f.write_str("unknown client"),
        }
    }
}
