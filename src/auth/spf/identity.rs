//! The two identities that SPF checks, RFC 7208 §2.3 and §2.4: what of HELO and MAIL FROM is a domain
//! to ask about, and who the sender is.
//!
//! Pure. Converts U-labels to A-labels (RFC 8616 §4); refuses what is no domain name, with a reason.

use crate::address::ReversePath;
use crate::domain::DomainName;
use crate::time::Timestamp;
use std::net::IpAddr;

/// What SPF is given about one message.
#[derive(Debug, Clone, Copy)]
pub struct SpfRequest<'a> {
    pub client: IpAddr,
    /// The argument of the latest HELO or EHLO, as the client wrote it.
    pub helo: Option<&'a str>,
    pub mail_from: &'a ReversePath,
    /// The name of this host, for `%{r}` in explanations; empty for none.
    pub receiver: &'a str,
    /// For `%{t}` in explanations.
    pub now: Timestamp,
}

/// `<sender>` of RFC 7208 §4.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// "postmaster" where the identity has none (RFC 7208 §4.3). May be UTF-8 (RFC 6531).
    pub local_part: String,
    /// In A-labels where it is a domain name.
    pub domain: String,
}

/// Why an identity is not checked: what stands where a domain should, and the reason.
pub(super) type Unusable<'a> = (&'a str, &'static str);

/// The HELO identity as a sender.
pub(super) fn helo_sender(helo: Option<&str>) -> Result<Sender, Unusable<'_>> {
    let Some(helo) = helo else {
        return Err(("", "the client said neither HELO nor EHLO"));
    };
    // RFC 7208 §2.3: "This SPF check can only be performed when the "HELO" string is a valid,
    // multi-label domain name."
    let Some(domain) = multi_label_domain(helo) else {
        return Err((helo, "HELO is no domain name of several labels"));
    };
    Ok(postmaster_at(domain))
}

/// The MAIL FROM identity as a sender.
pub(super) fn mail_from_sender<'a>(
    mail_from: &'a ReversePath,
    helo: Option<&'a str>,
) -> Result<Sender, Unusable<'a>> {
    let (local_part, domain) = match mail_from {
        // RFC 7208 §2.4: "When the reverse-path is null, this document defines the "MAIL FROM"
        // identity to be the mailbox composed of the local-part "postmaster" and the "HELO"
        // identity".
        ReversePath::Null => return helo_sender(helo),
        ReversePath::Mailbox(mailbox) => (mailbox.local_part.as_str(), mailbox.domain.as_str()),
        ReversePath::Unparseable(path) => {
            split(path).ok_or((path.as_str(), "MAIL FROM has no domain"))?
        }
    };
    let Some(domain) = multi_label_domain(domain) else {
        return Err((domain, "MAIL FROM has no domain name of several labels"));
    };
    // RFC 7208 §4.3: "If the <sender> has no local-part, substitute the string "postmaster" for the
    // local-part."
    if local_part.is_empty() {
        return Ok(postmaster_at(domain));
    }
    Ok(Sender {
        local_part: bounded(local_part),
        domain: domain.as_str().to_owned(),
    })
}

/// What `%{h}` expands to: HELO as the client wrote it, U-labels as A-labels.
pub(super) fn macro_helo(helo: Option<&str>) -> String {
    let helo = helo.unwrap_or_default();
    match DomainName::parse(helo) {
        Ok(domain) if !helo.is_ascii() => domain.as_str().to_owned(),
        Ok(_) | Err(_) => bounded(helo),
    }
}

fn postmaster_at(domain: DomainName) -> Sender {
    Sender {
        local_part: "postmaster".to_owned(),
        domain: domain.as_str().to_owned(),
    }
}

/// RFC 7208 §4.3: "is not a multi-label domain name".
fn multi_label_domain(text: &str) -> Option<DomainName> {
    let domain = DomainName::parse(text).ok()?;
    (domain.label_count() > 1).then_some(domain)
}

/// A path that is no RFC 5321 mailbox, split at its last `@`.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('<').unwrap_or(path);
    let path = path.strip_suffix('>').unwrap_or(path);
    path.rsplit_once('@')
}

/// What macros may repeat many times.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_MACRO_VALUE).collect()
}

/// Characters kept of HELO and of a local part. RFC 5321 §4.5.3.1 allows 255 and 64 octets.
const MAX_MACRO_VALUE: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_domain_to_check() {
        for (mail_from, helo, expected) in [
            (
                "<a@Client.Example>",
                Some("h.example"),
                Ok("a@client.example"),
            ),
            ("<@r.example:a@c.example>", None, Ok("a@c.example")),
            ("<@c.example>", None, Ok("postmaster@c.example")),
            ("<a b@c.example>", None, Ok("a b@c.example")),
            ("<\"a@b\"@c.example>", None, Ok("\"a@b\"@c.example")),
            (
                "<j\u{fc}@b\u{fc}cher.example>",
                None,
                Ok("j\u{fc}@xn--bcher-kva.example"),
            ),
            ("<>", Some("H.Example"), Ok("postmaster@h.example")),
            (
                "<>",
                Some("b\u{fc}cher.example"),
                Ok("postmaster@xn--bcher-kva.example"),
            ),
            ("<>", Some("[192.0.2.1]"), Err("[192.0.2.1]")),
            ("<>", Some("localhost"), Err("localhost")),
            ("<>", Some("a..b"), Err("a..b")),
            ("<>", None, Err("")),
            ("<root>", Some("h.example"), Err("<root>")),
            ("<a@localhost>", Some("h.example"), Err("localhost")),
            ("<a@[192.0.2.1]>", Some("h.example"), Err("[192.0.2.1]")),
        ] {
            let path = ReversePath::parse(mail_from);
            let sender = mail_from_sender(&path, helo)
                .map(|sender| format!("{}@{}", sender.local_part, sender.domain))
                .map_err(|(given, _)| given);
            assert_eq!(sender, expected.map(str::to_owned), "{mail_from} {helo:?}");
        }
    }

    #[test]
    fn expands_helo_as_given_but_for_u_labels() {
        for (helo, expected) in [
            (Some("Mail.Example"), "Mail.Example"),
            (Some("[192.0.2.1]"), "[192.0.2.1]"),
            (Some("b\u{fc}cher.example"), "xn--bcher-kva.example"),
            (None, ""),
        ] {
            assert_eq!(macro_helo(helo), expected);
        }
    }
}
