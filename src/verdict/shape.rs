//! How a message failed DMARC: as forwarding makes mail fail that was authentic once, or so that it never
//! had a chance.
//!
//! Owns that distinction, from the evidence of one verdict alone. Pure. It is a reading, not a proof:
//! nothing is decided by it. RFC 7960 has the ways in which forwarders and lists break authentication.

use super::Verdict;
use crate::auth::dkim::SignatureOutcome;
use crate::auth::{DkimResult, DmarcResult, SpfResult};
use crate::domain::DomainName;
use crate::policy::rules::Verified;
use crate::word::words;

words! {
    /// How it failed.
    FailureShape {
        /// A signature of the author's is broken, and the list that did it is verified.
        MailingList = "mailing_list",
        /// A signature of the author's holds but for the body, or for what was added to it.
        AlteredInTransit = "altered_in_transit",
        /// The author's MAIL FROM from a host that isn't the author's, signed by another domain.
        Forwarded = "forwarded",
        /// A signature of the author's doesn't verify at all: altered in its header, or forged.
        BrokenSignature = "broken_signature",
        /// Nothing of the author's, but somebody else is verified.
        ThirdParty = "third_party",
        /// Nothing is verified.
        Unauthenticated = "unauthenticated",
    }
}

impl FailureShape {
    /// `None`: it did not fail.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        let evaluation = verdict.evaluation.as_ref()?;
        if evaluation.result != DmarcResult::Fail {
            return None;
        }
        let organization = evaluation.organizational_domain.as_ref();
        let organization = organization.unwrap_or(&evaluation.author_domain);
        let is_authors =
            |name: &str| DomainName::parse(name).is_ok_and(|n| n.is_within(organization));
        let evidence = &verdict.evidence;
        let signatures = evidence.dkim.signatures.iter();
        let own: Vec<_> = signatures.filter(|s| is_authors(&s.domain)).collect();
        let verified = Verified::of(evidence);
        let (mail_from, client) = (&evidence.spf.mail_from, verdict.envelope.client);
        let mut own = own.iter();
        let is_intact = own
            .clone()
            .any(|s| s.grounds.headers_intact || is_partial(s));
        let is_broken = own.any(|s| s.result == DkimResult::Fail || is_partial(s));
        Some(if is_broken && list_domain(verdict, &verified).is_some() {
            Self::MailingList
        } else if is_intact {
            Self::AlteredInTransit
        } else if is_broken {
            Self::BrokenSignature
        } else if client.is_some()
            && is_authors(&mail_from.domain)
            && is_elsewhere(mail_from.result)
            && !verified.signers.is_empty()
        {
            Self::Forwarded
        } else if !verified.signers.is_empty() || verified.spf.is_some() {
            Self::ThirdParty
        } else {
            Self::Unauthenticated
        })
    }

    /// Whether authentic mail fails so when it is passed on.
    pub fn is_forwarding(self) -> bool {
        match self {
            Self::MailingList | Self::AlteredInTransit | Self::Forwarded => true,
            Self::BrokenSignature | Self::ThirdParty | Self::Unauthenticated => false,
        }
    }
}

/// The verified domain that the message's List-Id belongs to: the id is below it, or it is below the id's
/// own domain (RFC 2919 §2: a label, a dot and a domain).
pub(super) fn list_domain<'v>(verdict: &Verdict, verified: &'v Verified) -> Option<&'v DomainName> {
    let id = DomainName::parse(verdict.message.list_id.as_deref()?).ok()?;
    let namespace = id.parent().filter(|parent| parent.label_count() > 1);
    let signers = verified.signers.iter().map(|(signer, _)| signer);
    let mut names = signers.chain(&verified.spf);
    names.find(|name| {
        let is_below = namespace.as_ref().is_some_and(|n| name.is_within(n));
        (name.label_count() > 1 && id.is_within(name)) || is_below
    })
}

/// It passes, but `l=` leaves out what was added behind.
fn is_partial(signature: &SignatureOutcome) -> bool {
    signature.result == DkimResult::Pass && !signature.grounds.may_align
}

/// SPF says that this client is none of the domain's.
fn is_elsewhere(result: SpfResult) -> bool {
    match result {
        SpfResult::Fail | SpfResult::Softfail | SpfResult::Neutral => true,
        SpfResult::None | SpfResult::Pass | SpfResult::Temperror | SpfResult::Permerror => false,
    }
}
