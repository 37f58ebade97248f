//! The return path of report mail: one for each report and destination, signed, so that a bounce tells
//! which mail it is about and nobody can make one up.
//!
//! Owns the form of the address (RFC 5321 §4.5.3.1.1: 64 octets before the `@`) and its seal. That a
//! bounce is one, and what it says, is `message::dsn`'s.

use super::destination::{BOUNCE, PlainAddress};
use crate::domain::DomainName;
use crate::site_key::{Purpose, SEAL_OCTETS, SiteKey, parse_seal, seal_text};

/// What a return path says it is about, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The number of the outbox entry.
    pub entry: i64,
    seal: [u8; SEAL_OCTETS],
}

/// `bounce+ENTRY-SEAL@report_domain`; `None` only where the domain is too long for any address. `report`: its
/// unique-id (RFC 9990 §3.5.2).
pub fn return_path(
    entry: i64,
    report: &str,
    recipient: &PlainAddress,
    report_domain: &DomainName,
    key: &SiteKey,
) -> Option<PlainAddress> {
    let seal = key.seal(
        Purpose::ReturnPath,
        &parts(&entry.to_string(), report, recipient, report_domain),
    );
    let seal = seal_text(&seal);
    PlainAddress::new(&format!("{BOUNCE}+{entry}-{seal}"), report_domain.clone())
}

impl Claim {
    /// Reads the recipient of a bounce: a whole address, or what stands before its `@`, or only what
    /// stands behind its `+` (Postfix's `$extension`). `None`: not one of ours.
    pub fn read(recipient: &str) -> Option<Self> {
        let address = recipient.trim().trim_matches(['<', '>']);
        let local_part = address.split('@').next()?;
        let token = match local_part.split_once('+') {
            Some((word, token)) if word.eq_ignore_ascii_case(BOUNCE) => token,
            Some(_) => return None,
            None => local_part,
        };
        let (entry, seal) = token.split_once('-')?;
        let entry =
            Some(entry).filter(|e| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Self {
            entry: entry.parse().ok()?,
            seal: parse_seal(seal)?,
        })
    }

    /// Whether we made it, for a mail with the report of this unique-id to this recipient.
    pub fn is_ours(
        &self,
        report: &str,
        recipient: &PlainAddress,
        report_domain: &DomainName,
        key: &SiteKey,
    ) -> bool {
        let entry = self.entry.to_string();
        let parts = parts(&entry, report, recipient, report_domain);
        key.is_sealed(&self.seal, Purpose::ReturnPath, &parts)
    }
}

/// What is sealed. With the report in it, which no other store has, the number of another host's outbox opens
/// nothing here, were it for the same recipient.
fn parts<'a>(
    entry: &'a str,
    report: &'a str,
    recipient: &'a PlainAddress,
    report_domain: &'a DomainName,
) -> [&'a str; 5] {
    let (local_part, domain) = (recipient.local_part(), recipient.domain().as_str());
    [entry, report, local_part, domain, report_domain.as_str()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORT: &str = "example0236e2ad4fdd6082cd413f3dbed8780f9";

    fn plain(text: &str) -> PlainAddress {
        PlainAddress::parse(text).unwrap()
    }

    #[test]
    fn a_return_path_is_known_again_and_no_other() {
        let key = SiteKey::new(&[7; 32]);
        let ours = DomainName::parse("reports.example").unwrap();
        let to = plain("Dmarc+x@b.example");
        let path = return_path(i64::MAX, REPORT, &to, &ours, &key).unwrap();
        let text = path.to_string();
        assert!(path.local_part().len() <= 64, "{text}");
        let (_, token) = path.local_part().split_once('+').unwrap();
        let last = token.chars().last().unwrap();
        let other = if last == '0' { "1" } else { "0" };
        let turned = token[..token.len() - 1].to_owned() + other;
        for (recipient, of, domain, key, expected) in [
            (text.as_str(), &to, "reports.example", &key, true),
            (&format!("<{text}>"), &to, "reports.example", &key, true),
            (&text.to_uppercase(), &to, "reports.example", &key, true),
            (path.local_part(), &to, "reports.example", &key, true),
            (token, &to, "reports.example", &key, true),
            (
                &text,
                &plain("dmarc+x@b.example"),
                "reports.example",
                &key,
                false,
            ),
            (&text, &to, "other.example", &key, false),
            (
                &text,
                &to,
                "reports.example",
                &SiteKey::new(&[8; 32]),
                false,
            ),
            (
                &text.replace("bounce+9", "bounce+8"),
                &to,
                "reports.example",
                &key,
                false,
            ),
            (&turned, &to, "reports.example", &key, false),
        ] {
            let domain = DomainName::parse(domain).unwrap();
            let claim = Claim::read(recipient).unwrap();
            assert_eq!(
                claim.is_ours(REPORT, of, &domain, key),
                expected,
                "{recipient} {of}"
            );
            // The same entry of another host's outbox, to the same recipient.
            let theirs = "d41d8cd98f00b204e9800998ecf8427e";
            assert!(!claim.is_ours(theirs, of, &domain, key), "{recipient}");
        }
    }

    #[test]
    fn what_is_no_return_path_of_ours() {
        for text in [
            "",
            "bounce",
            "bounce+",
            "bounce+12",
            "bounce+12-",
            "bounce+12-00",
            "bounce+-1-00112233445566778899aabbccddeeff",
            "bounce+x-00112233445566778899aabbccddeeff",
            "bounce+99999999999999999999-00112233445566778899aabbccddeeff",
            "other+1-00112233445566778899aabbccddeeff",
            "bounce+1-00112233445566778899aabbccddeefg",
            "bounce+1-00112233445566778899aabbccddee\u{fc}",
        ] {
            assert_eq!(Claim::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(bounce\\+)?[0-9]{0,25}-?\\PC{0,40}") {
            _ = Claim::read(&text);
        }
    }
}
