//! SPF, RFC 7208: may this client use this domain in HELO or MAIL FROM?
//!
//! Owns the two identities (`identity`), the grammar of records (`record`) and macros (`macros`,
//! `expand`), `check_host()` (`eval`), what terms ask of DNS (`lookups`, `reverse`) and how much they
//! may (`limits`). Asks DNS only through the trait. Every outcome carries its grounds: which term decided, or what was wrong.

pub mod eval;
pub mod expand;
mod identity;
mod limits;
mod lookups;
pub mod macros;
pub mod record;
mod reverse;

pub use eval::check_host;
pub use identity::{Sender, SpfRequest};

use crate::address::ReversePath;
use crate::dns::Resolver;
use crate::domain::DomainName;

/// The HELO identity, RFC 7208 §2.3.
pub async fn check_helo(request: &SpfRequest<'_>, resolver: &impl Resolver) -> SpfOutcome {
    check(identity::helo_sender(request.helo), request, resolver).await
}

/// The MAIL FROM identity, RFC 7208 §2.4; for a null path that is postmaster at the HELO domain.
pub async fn check_mail_from(request: &SpfRequest<'_>, resolver: &impl Resolver) -> SpfOutcome {
    let sender = identity::mail_from_sender(request.mail_from, request.helo);
    check(sender, request, resolver).await
}

/// The domain that a pass of MAIL FROM would authenticate, known before anything is asked.
pub fn mail_from_domain(mail_from: &ReversePath, helo: Option<&str>) -> Option<DomainName> {
    let sender = identity::mail_from_sender(mail_from, helo).ok()?;
    DomainName::parse(&sender.domain).ok()
}

async fn check(
    sender: Result<Sender, identity::Unusable<'_>>,
    request: &SpfRequest<'_>,
    resolver: &impl Resolver,
) -> SpfOutcome {
    match sender {
        Ok(sender) => check_host(&sender.domain, &sender, request, resolver).await,
        Err((given, why)) => SpfOutcome::not_evaluated(printable(given, MAX_GIVEN_SHOWN), why),
    }
}

/// What a log, a page or a person can be shown of what strangers wrote: printable ASCII, bounded.
fn printable(text: &str, longest: usize) -> String {
    let shown = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(shown).take(longest).collect()
}

/// Characters kept of what is no domain; a domain has 253.
const MAX_GIVEN_SHOWN: usize = 255;

/// What SPF said of one identity, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfOutcome {
    /// The domain that was checked, in A-labels; what the client gave in its place, in printable ASCII,
    /// when that is no domain; empty when it gave nothing.
    pub domain: String,
    pub result: super::SpfResult,
    pub grounds: SpfGrounds,
}

/// Why an SPF outcome is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpfGrounds {
    /// The term that decided, as written, with the domain whose record holds it: `ip4:192.0.2.0/24`.
    pub matched: Option<MatchedTerm>,
    /// What was wrong, or why nothing was evaluated, in one sentence.
    pub problem: Option<String>,
    /// The domain owner's explanation text, RFC 7208 §6.2. From the sender: never trusted.
    pub explanation: Option<String>,
    /// The record of the checked domain as found, at most 1,024 characters of it, with `?` for what is
    /// not printable ASCII.
    pub record: Option<String>,
    /// Terms that caused look-ups, of the 10 allowed (RFC 7208 §4.6.4).
    pub lookups: u8,
    /// Look-ups without result, of the 2 allowed (RFC 7208 §4.6.4).
    pub void_lookups: u8,
}

/// A directive that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedTerm {
    /// The term as written in the record, with its qualifier.
    pub term: String,
    /// The domain whose record has it; not the checked one inside `include` and `redirect`.
    pub domain: String,
}

impl SpfOutcome {
    /// An outcome without evaluation: `none`, with the reason for it.
    pub fn not_evaluated(domain: impl Into<String>, why: &str) -> Self {
        Self {
            domain: domain.into(),
            result: super::SpfResult::None,
            grounds: SpfGrounds {
                problem: Some(why.into()),
                ..SpfGrounds::default()
            },
        }
    }
}
