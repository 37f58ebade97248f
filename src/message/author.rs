//! The Author Domain: the domain in RFC5322.From, RFC 9989 §4.2 and §5.3.1.

use crate::domain::DomainName;

/// What the From field of a message yields. Only `One` can be evaluated under DMARC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// One domain; several addresses in the same domain count as one.
    One(DomainName),
    /// No From field.
    Missing,
    /// More than one domain, in one field or several; each once, in order, at most 10 of them.
    Several(Vec<DomainName>),
    /// A From field that is not RFC 5322 or holds no domain, with what is wrong with it.
    Unparseable(String),
}
