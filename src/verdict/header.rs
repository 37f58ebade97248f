//! `X-Alignd-Verdict`: what ties a held message to its verdict when it comes back from another filter or
//! another host.
//!
//! Owns the field's form, `ID; exp=SECONDS; hmac=SEAL`, and its seal: over the verdict's id, the expiry
//! and what the message is known by (`Marks`), with the site's key. Pure. Whether a verdict was used
//! already is the store's to say, who may use one the milter's.

use super::VerdictId;
use crate::domain::DomainName;
use crate::site_key::{Purpose, SEAL_OCTETS, SiteKey, parse_seal, seal_text};
use crate::time::Timestamp;
use std::fmt;

/// The field's name.
pub const VERDICT_HEADER: &str = "X-Alignd-Verdict";

/// How long after the verdict the header is honoured: 30 days. Postfix and Sendmail give mail up after
/// five, but the time on hold doesn't count there.
pub const LASTS: i64 = 30 * 86_400;

/// The field's value, not yet believed where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictHeader {
    id: VerdictId,
    /// In whole seconds.
    expires: Timestamp,
    seal: [u8; SEAL_OCTETS],
}

/// What a message is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// As `message::identifiers` reads it.
    pub message_id: Option<String>,
    /// `None`: not exactly one.
    pub author_domain: Option<DomainName>,
    /// SHA-256 of the body, relaxed as RFC 6376 §3.4.4 has it.
    pub body: [u8; 32],
}

/// Why a header says nothing about the message that bears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    Expired,
    /// Made up, or of another message, or sealed with another site's key.
    Foreign,
}

impl VerdictHeader {
    /// The header for a message judged at `judged`.
    pub fn new(id: VerdictId, judged: Timestamp, marks: &Marks, key: &SiteKey) -> Self {
        let expires = Timestamp::from_seconds(judged.seconds().saturating_add(LASTS));
        let message_id = marks.message_id.as_deref();
        let sealed = Sealed::of(id, expires, marks);
        Self {
            id,
            expires,
            seal: key.seal(Purpose::VerdictHeader, &sealed.parts(message_id)),
        }
    }

    /// Reads a field's value, folded or not. `None`: not one of ours, as far as its form goes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value.get(..MAX_OCTETS).unwrap_or(value)).ok()?;
        let mut parts = text.split(';').map(str::trim_ascii);
        let id = VerdictId::parse(parts.next()?)?;
        let expires = parts.next()?.strip_prefix("exp=")?;
        let seal = parts.next()?.strip_prefix("hmac=")?;
        if parts.next().is_some() || !expires.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            id,
            expires: Timestamp::from_seconds(expires.parse().ok()?),
            seal: parse_seal(seal)?,
        })
    }

    /// Whose verdict it claims to be.
    pub fn id(&self) -> VerdictId {
        self.id
    }

    /// Whether we put it on this very message, not too long ago. A message that came without a Message-ID
    /// may have got one since: MTAs add it.
    pub fn check(&self, marks: &Marks, key: &SiteKey, now: Timestamp) -> Result<(), Unfit> {
        let sealed = Sealed::of(self.id, self.expires, marks);
        let is_sealed = |message_id| {
            let parts = sealed.parts(message_id);
            key.is_sealed(&self.seal, Purpose::VerdictHeader, &parts)
        };
        let ours = is_sealed(marks.message_id.as_deref()) || is_sealed(None);
        if !ours {
            Err(Unfit::Foreign)
        } else if self.expires <= now {
            Err(Unfit::Expired)
        } else {
            Ok(())
        }
    }

    /// The value on two lines, with LF between, beginning with a space.
    pub fn folded(&self) -> String {
        let (id, expires) = (self.id, self.expires.seconds());
        format!(" {id}; exp={expires};\n\thmac={}", seal_text(&self.seal))
    }
}

/// The texts under the seal.
struct Sealed<'m> {
    id: String,
    expires: String,
    author_domain: &'m str,
    body: String,
}

impl<'m> Sealed<'m> {
    fn of(id: VerdictId, expires: Timestamp, marks: &'m Marks) -> Self {
        let author_domain = marks.author_domain.as_ref();
        Self {
            id: id.to_string(),
            expires: expires.seconds().to_string(),
            author_domain: author_domain.map_or("", DomainName::as_str),
            body: seal_text(&marks.body),
        }
    }

    /// No Message-ID is empty: `message_id` reads none as `None`.
    fn parts<'a>(&'a self, message_id: Option<&'a str>) -> [&'a str; 5] {
        let message_id = message_id.unwrap_or_default();
        let (id, expires, body) = (&self.id, &self.expires, &self.body);
        [id, message_id, self.author_domain, body, expires]
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Foreign => "not sealed for this message",
        })
    }
}

/// No value of ours is longer, however it is folded.
const MAX_OCTETS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(message_id: &str, domain: &str, body: u8) -> Marks {
        Marks {
            message_id: Some(message_id.to_owned()).filter(|id| !id.is_empty()),
            author_domain: DomainName::parse(domain).ok(),
            body: [body; 32],
        }
    }

    fn id(last: u8) -> VerdictId {
        VerdictId::mint(Timestamp::from_seconds(1_795_356_252), [last; 10])
    }

    fn key() -> SiteKey {
        SiteKey::new(&[7; 32])
    }

    const JUDGED: Timestamp = Timestamp::from_seconds(1_795_356_252);

    #[test]
    fn a_header_is_of_one_message_for_thirty_days() {
        let held = marks("m1@a.example", "a.example", 1);
        let header = VerdictHeader::new(id(1), JUDGED, &held, &key());
        let check = |marks: Marks, days: i64, expected: Result<(), Unfit>| {
            let now = Timestamp::from_seconds(JUDGED.seconds() + days * 86_400);
            assert_eq!(header.check(&marks, &key(), now), expected, "{marks:?}");
        };
        check(held.clone(), 0, Ok(()));
        check(held.clone(), 29, Ok(()));
        check(held.clone(), 30, Err(Unfit::Expired));
        for other in [
            marks("m2@a.example", "a.example", 1),
            marks("", "a.example", 1),
            marks("m1@a.example", "b.example", 1),
            marks("m1@a.example", "", 1),
            marks("m1@a.example", "a.example", 2),
        ] {
            check(other, 0, Err(Unfit::Foreign));
        }
        let elsewhere = SiteKey::new(&[8; 32]);
        let foreign = header.check(&held, &elsewhere, JUDGED);
        assert_eq!(foreign, Err(Unfit::Foreign));
    }

    #[test]
    fn no_part_of_it_can_be_changed() {
        let held = marks("m1@a.example", "a.example", 1);
        let header = VerdictHeader::new(id(1), JUDGED, &held, &key());
        for changed in [
            VerdictHeader {
                id: id(2),
                ..header.clone()
            },
            VerdictHeader {
                expires: Timestamp::from_seconds(header.expires.seconds() + 1),
                ..header.clone()
            },
            VerdictHeader {
                seal: [0; SEAL_OCTETS],
                ..header.clone()
            },
        ] {
            let checked = changed.check(&held, &key(), JUDGED);
            assert_eq!(checked, Err(Unfit::Foreign), "{changed:?}");
        }
    }

    #[test]
    fn a_message_id_may_come_to_mail_without_one() {
        let header = VerdictHeader::new(id(1), JUDGED, &marks("", "a.example", 1), &key());
        for (came_back, expected) in [
            (marks("", "a.example", 1), Ok(())),
            (marks("added@mx.example", "a.example", 1), Ok(())),
            (
                marks("added@mx.example", "a.example", 2),
                Err(Unfit::Foreign),
            ),
        ] {
            assert_eq!(header.check(&came_back, &key(), JUDGED), expected);
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_like_it() {
        let header = VerdictHeader::new(id(1), JUDGED, &marks("m", "a.example", 1), &key());
        let written = header.folded();
        assert!(written.split('\n').all(|line| line.len() < 78), "{written}");
        for value in [
            written.clone(),
            written.replace("\n\t", "\r\n "),
            written.replace(['\n', '\t'], ""),
            format!("{}  ", written.trim()),
        ] {
            assert_eq!(
                VerdictHeader::parse(value.as_bytes()),
                Some(header.clone()),
                "{value:?}"
            );
        }
        let one_line = written.trim().replace("\n\t", " ");
        for value in [
            String::new(),
            one_line.replace("exp=", "exp=-"),
            one_line.replace("exp=", "exp=+"),
            one_line.replace("exp=", "exp=99999999999999999999"),
            one_line.replace("; exp", " exp"),
            one_line.replace("hmac=", "seal="),
            format!("{one_line};"),
            format!("{one_line}0"),
            format!("x{one_line}"),
            format!("{}{one_line}", " ".repeat(MAX_OCTETS)),
        ] {
            assert_eq!(VerdictHeader::parse(value.as_bytes()), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            _ = VerdictHeader::parse(&value);
        }

        #[test]
        fn no_two_messages_share_a_seal(
            (a, b) in ("[a-z@.;]{0,6}", "[a-z@.;]{0,6}"),
            (x, y) in ("[a-z]{1,3}", "[a-z]{1,3}"),
        ) {
            prop_assume!(!a.is_empty() && (&a, &x) != (&b, &y));
            let header = VerdictHeader::new(id(1), JUDGED, &marks(&a, &x, 1), &key());
            prop_assert!(header.check(&marks(&b, &y, 1), &key(), JUDGED).is_err());
        }
    }
}
