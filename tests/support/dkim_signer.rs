//! A DKIM signer for tests: RSA and Ed25519, any tags, whatever they say.
//!
//! Use from a test: `#[path = "support/dkim_signer.rs"] mod dkim_signer;`. The tags are a template in
//! which `{bh}` and `{b}` are filled in; all else is written as given, right or wrong:
//!
//! ```text
//! let key = SigningKey::generate("rsa");          // or "ed25519"
//! zone.add("sel._domainkey.example.org", key.record());
//! let mail = key.sign(mail, "v=1; a=rsa-sha256; c=relaxed/simple; d=example.org; s=sel; h=from; bh={bh}; b={b}");
//! ```
//!
//! Canonicalizes whole buffers, step by step as RFC 6376 §3.4 words it, and shares no code with the
//! verifier under test.

use alignd::message::HeaderField;
use alignd::message::parse::Message;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A private key.
pub enum SigningKey {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a key: `rsa` (2,048 bits) or `ed25519`.
    pub fn generate(kind: &str) -> Self {
        match kind {
            "rsa" => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
            "ed25519" => Self::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            other => panic!("no such kind of key: {other}"),
        }
    }

    /// The key record to publish at `s._domainkey.d`.
    pub fn record(&self) -> String {
        match self {
            Self::Rsa(pair) => {
                let der: PublicKeyX509Der = pair.public_key().as_der().expect("an encoding");
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(der.as_ref()))
            }
            Self::Ed25519(pair) => {
                let key = STANDARD.encode(pair.public_key().as_ref());
                format!("v=DKIM1; k=ed25519; p={key}")
            }
        }
    }

    /// `message`, its lines ended by CRLF, with a DKIM-Signature field on top.
    pub fn sign(&self, message: &[u8], tags: &str) -> Vec<u8> {
        self.sign_as("DKIM-Signature", message, tags)
    }

    /// The same with a field of another name.
    pub fn sign_as(&self, name: &str, message: &[u8], tags: &str) -> Vec<u8> {
        let parsed = Message::parse(message);
        let (header_canon, body_canon) = match tag(tags, "c") {
            None => ("simple", "simple"),
            Some(c) => c.split_once('/').unwrap_or((c, "simple")),
        };
        let mut body = canonical_body(body_canon, &parsed.body);
        if let Some(length) = tag(tags, "l").and_then(|l| l.parse().ok()) {
            body.truncate(length);
        }
        let tags = tags.replace("{bh}", &hash(&body));
        let mut input = Vec::new();
        for field in signed_fields(&parsed.fields, tag(&tags, "h").unwrap_or_default()) {
            input.extend(canonical_field(header_canon, field));
        }
        let unsigned = HeaderField::new(name, format!(" {}", tags.replace("{b}", "")));
        let own = canonical_field(header_canon, &unsigned);
        input.extend(own.strip_suffix(b"\r\n").expect("a field ends with CRLF"));
        let signature = STANDARD.encode(self.signature(&input));
        let field = format!("{name}: {}\r\n", tags.replace("{b}", &signature));
        [field.as_bytes(), message].concat()
    }

    /// What `b=` of a field with this hash input holds, without Base64.
    pub fn signature(&self, input: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    input,
                    &mut signature,
                )
                .expect("a signature");
                signature
            }
            // RFC 8463 §3: what Ed25519 signs is the hash.
            Self::Ed25519(pair) => pair.sign(digest(&SHA256, input).as_ref()).as_ref().to_vec(),
        }
    }
}

fn hash(octets: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, octets))
}

/// The value of a tag, without white space.
fn tag<'a>(tags: &'a str, name: &str) -> Option<&'a str> {
    tags.split(';').find_map(|spec| {
        let (found, value) = spec.split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    })
}

/// Bottom-up among fields of one name, each field once.
fn signed_fields<'a>(fields: &'a [HeaderField], names: &str) -> Vec<&'a HeaderField> {
    let mut left: Vec<&HeaderField> = fields.iter().collect();
    let take = |name: &str| {
        let place = left.iter().rposition(|field| field.is(name.trim()))?;
        Some(left.remove(place))
    };
    names.split(':').filter_map(take).collect()
}

/// RFC 6376 §3.4.1 and §3.4.2.
pub fn canonical_field(canon: &str, field: &HeaderField) -> Vec<u8> {
    if canon != "relaxed" {
        return [&field.name, &b":"[..], &field.value, b"\r\n"].concat();
    }
    let mut value = replace(&field.value, b"\r\n", b"");
    value = squeeze(&value);
    let name = field.name.to_ascii_lowercase();
    [&name, &b":"[..], trim_spaces(&value), b"\r\n"].concat()
}

/// RFC 6376 §3.4.3 and §3.4.4, on a whole body.
pub fn canonical_body(canon: &str, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    if canon == "relaxed" {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut rest = &body[..];
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            lines.push(rest[..end].to_vec());
            rest = &rest[end + 2..];
        }
        lines.push(rest.to_vec());
        let relaxed = lines.iter().map(|line| {
            let line = squeeze(line);
            line.strip_suffix(b" ").unwrap_or(&line).to_vec()
        });
        body = relaxed.collect::<Vec<_>>().join(&b"\r\n"[..]);
    }
    while body.ends_with(b"\r\n") {
        body.truncate(body.len() - 2);
    }
    if canon != "relaxed" || !body.is_empty() {
        body.extend(b"\r\n");
    }
    body
}

/// Every run of spaces and tabs becomes one space.
fn squeeze(text: &[u8]) -> Vec<u8> {
    let mut squeezed: Vec<u8> = Vec::new();
    for octet in text {
        match octet {
            b' ' | b'\t' if squeezed.last() == Some(&b' ') => {}
            b' ' | b'\t' => squeezed.push(b' '),
            _ => squeezed.push(*octet),
        }
    }
    squeezed
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    text.strip_suffix(b" ").unwrap_or(text)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut replaced = Vec::new();
    while let Some(at) = rest.windows(from.len()).position(|part| part == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

#[test]
fn canonicalizes_as_the_rfc_prints_it() {
    // RFC 6376 §3.4.5, examples 1 and 2.
    let message = Message::parse(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n");
    let field = |canon, at: usize| canonical_field(canon, &message.fields[at]);
    assert_eq!(field("relaxed", 0), b"a:X\r\n");
    assert_eq!(field("relaxed", 1), b"b:Y Z\r\n");
    assert_eq!(field("simple", 0), b"A: X\r\n");
    let body = |canon| canonical_body(canon, &message.body);
    assert_eq!(body("relaxed"), b" C\r\nD E\r\n");
    assert_eq!(body("simple"), b" C \r\nD \t E\r\n");
    assert_eq!(canonical_body("simple", b""), b"\r\n");
    assert_eq!(canonical_body("relaxed", b""), b"");
}
