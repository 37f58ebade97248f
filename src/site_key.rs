//! `SiteKey`: the secret that what we say of ourselves is sealed with, so that we know it again.
//!
//! Owns the seal (HMAC-SHA-256, RFC 2104, one purpose never standing for another) and the key's text in
//! its file. Opens no file, makes no randomness: both come in as arguments.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// `identity.site_key`, the same on every host that shares its verdicts.
#[derive(Clone)]
pub struct SiteKey(Key);

/// What a seal is put on; a seal for one never opens another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The return path of our report mail.
    ReturnPath,
    /// The verdict header of held mail.
    VerdictHeader,
}

impl SiteKey {
    pub fn new(octets: &[u8; SITE_KEY_OCTETS]) -> Self {
        Self(Key::new(HMAC_SHA256, octets))
    }

    /// Reads the text of a key file: one line of base64. `None`: it is none, or another length.
    pub fn parse(text: &str) -> Option<Self> {
        let octets = STANDARD.decode(text.trim()).ok()?;
        Some(Self::new(&octets.try_into().ok()?))
    }

    /// The text of a key file with this key.
    pub fn text(octets: &[u8; SITE_KEY_OCTETS]) -> String {
        STANDARD.encode(octets) + "\n"
    }

    /// The first `SEAL_OCTETS` octets of the HMAC over the purpose and the parts; where one part ends
    /// and the next begins counts.
    pub fn seal(&self, purpose: Purpose, parts: &[&str]) -> [u8; SEAL_OCTETS] {
        let mut sealed = match purpose {
            Purpose::ReturnPath => b"alignd return path".to_vec(),
            Purpose::VerdictHeader => b"alignd verdict header".to_vec(),
        };
        for part in parts {
            sealed.extend_from_slice(&part.len().to_be_bytes());
            sealed.extend_from_slice(part.as_bytes());
        }
        let tag = sign(&self.0, &sealed);
        let mut seal = [0; SEAL_OCTETS];
        for (to, from) in seal.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        seal
    }

    /// Whether it is the seal of these parts; takes as long for any wrong one.
    pub fn is_sealed(&self, seal: &[u8], purpose: Purpose, parts: &[&str]) -> bool {
        verify_slices_are_equal(&self.seal(purpose, parts), seal).is_ok()
    }
}

impl fmt::Debug for SiteKey {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey")
    }
}

/// A seal as text: hexadecimal.
pub fn seal_text(seal: &[u8]) -> String {
    seal.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads a seal's text, in either case: MTAs may lower or raise it. `None`: not exactly a seal's length.
pub fn parse_seal(text: &str) -> Option<[u8; SEAL_OCTETS]> {
    if text.len() != SEAL_OCTETS * 2 {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    let octet = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(octet).collect();
    octets?.try_into().ok()
}

/// As long as the hash: RFC 2104 §3.
pub const SITE_KEY_OCTETS: usize = 32;
/// 128 bits, RFC 2104 §5: not less than half of the hash.
pub const SEAL_OCTETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_one_key_one_purpose_and_these_parts() {
        let key = SiteKey::new(&[7; SITE_KEY_OCTETS]);
        let seal = key.seal(Purpose::ReturnPath, &["12", "a@b.example"]);
        for (key, parts, expected) in [
            (&key, &["12", "a@b.example"], true),
            (&key, &["1", "2a@b.example"], false),
            (&key, &["12", "A@b.example"], false),
            (&SiteKey::new(&[8; 32]), &["12", "a@b.example"], false),
        ] {
            let found = key.is_sealed(&seal, Purpose::ReturnPath, parts);
            assert_eq!(found, expected, "{parts:?}");
        }
        assert!(!key.is_sealed(&[], Purpose::ReturnPath, &["12", "a@b.example"]));
        let other = Purpose::VerdictHeader;
        assert!(!key.is_sealed(&seal, other, &["12", "a@b.example"]));
    }

    #[test]
    fn a_seal_reads_back_from_its_text() {
        let seal = [0xa5; SEAL_OCTETS];
        let text = seal_text(&seal);
        assert_eq!(text.len(), 2 * SEAL_OCTETS);
        assert_eq!(parse_seal(&text), Some(seal));
        assert_eq!(parse_seal(&text.to_uppercase()), Some(seal));
        for text in [
            "",
            &text[1..],
            &format!("{text}a5"),
            &"g".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(parse_seal(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_reads_back() {
        let octets = [9; SITE_KEY_OCTETS];
        let read = SiteKey::parse(&SiteKey::text(&octets)).unwrap();
        let seal = |key: &SiteKey| key.seal(Purpose::ReturnPath, &[]);
        assert_eq!(seal(&read), seal(&SiteKey::new(&octets)));
        for text in ["", "AAAA", "not base64!", &"A".repeat(88)] {
            assert!(SiteKey::parse(text).is_none(), "{text}");
        }
    }
}
