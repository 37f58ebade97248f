//! Whom a rule is about: author domains, recipients, and names of hosts and signers.
//!
//! Everywhere a domain means itself alone, and one with a dot in front every domain below it. Pure.

use crate::address::Mailbox;
use crate::domain::DomainName;
use std::fmt;

/// Author domains, as the From field has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AuthorPattern {
    /// `*`
    Any,
    Domain(DomainName),
    /// Every domain below this one, not itself; written with a dot in front.
    Below(DomainName),
}

/// A name that was verified: a signer, an envelope sender's domain, a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NamePattern {
    Name(DomainName),
    /// Every name below this one, not itself; written with a dot in front.
    Below(DomainName),
}

/// Recipients of the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecipientPattern {
    /// One address. The case of its local part makes no difference.
    Address(Mailbox),
    Domain(DomainName),
    /// Every domain below this one, not itself; written with a dot in front.
    Below(DomainName),
}

impl AuthorPattern {
    /// Reads `*`, a domain, or `.domain`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        Some(match NamePattern::parse(text)? {
            NamePattern::Name(domain) => Self::Domain(domain),
            NamePattern::Below(parent) => Self::Below(parent),
        })
    }

    pub fn covers(&self, author: &DomainName) -> bool {
        match self {
            Self::Any => true,
            Self::Domain(domain) => domain == author,
            Self::Below(parent) => is_below(author, parent),
        }
    }
}

impl NamePattern {
    /// Reads a domain or `.domain`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('.') {
            Some(parent) => DomainName::parse(parent).ok().map(Self::Below),
            None => DomainName::parse(text).ok().map(Self::Name),
        }
    }

    pub fn covers(&self, name: &DomainName) -> bool {
        match self {
            Self::Name(one) => one == name,
            Self::Below(parent) => is_below(name, parent),
        }
    }

    /// The same, but a plain name covers those below it too.
    pub fn is_suffix_of(&self, name: &DomainName) -> bool {
        match self {
            Self::Name(one) => name.is_within(one),
            Self::Below(parent) => is_below(name, parent),
        }
    }

    pub fn domain(&self) -> &DomainName {
        match self {
            Self::Name(domain) | Self::Below(domain) => domain,
        }
    }
}

impl RecipientPattern {
    /// Reads `local@domain`, a domain, or `.domain`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('@') {
            let is_plain = !text.contains(['<', '>']);
            return is_plain.then(|| Mailbox::parse(text).map(Self::Address))?;
        }
        Some(match NamePattern::parse(text)? {
            NamePattern::Name(domain) => Self::Domain(domain),
            NamePattern::Below(parent) => Self::Below(parent),
        })
    }

    /// Whether every address of `domain` is meant.
    pub fn covers_domain(&self, domain: &DomainName) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Domain(one) => one == domain,
            Self::Below(parent) => is_below(domain, parent),
        }
    }

    pub fn covers(&self, recipient: &Mailbox) -> bool {
        match self {
            Self::Address(one) => {
                one.domain == recipient.domain
                    && unquoted(&one.local_part) == unquoted(&recipient.local_part)
            }
            Self::Domain(_) | Self::Below(_) => self.covers_domain(&recipient.domain),
        }
    }
}

/// A local part in lower case, however it was spelled: RFC 5322 §3.2.4 makes neither the quotes nor the
/// backslashes of quoted pairs part of what is quoted, so that both forms name one mailbox.
fn unquoted(local_part: &str) -> String {
    let inner = local_part
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return local_part.to_lowercase();
    };
    let mut characters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        let literal = match character {
            '\\' => characters.next(),
            other => Some(other),
        };
        plain.extend(literal);
    }
    plain.to_lowercase()
}

fn is_below(name: &DomainName, parent: &DomainName) -> bool {
    name != parent && name.is_within(parent)
}

impl fmt::Display for AuthorPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Domain(domain) => domain.fmt(f),
            Self::Below(parent) => write!(f, ".{parent}"),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Below(parent) => write!(f, ".{parent}"),
        }
    }
}

impl fmt::Display for RecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(mailbox) => mailbox.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
            Self::Below(parent) => write!(f, ".{parent}"),
        }
    }
}
