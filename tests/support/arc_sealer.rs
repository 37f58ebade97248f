//! An ARC sealer for tests, RFC 8617 §5.1: it adds one set to a message, whatever the set says.
//!
//! Stands beside `dkim_signer` and, as that, shares no code with the validator under test.

use crate::dkim_signer::{SigningKey, canonical_field};
use alignd::message::HeaderField;
use alignd::message::parse::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a custodian adds.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    pub instance: u8,
    pub sealer: &'a str,
    pub selector: &'a str,
    /// `cv=`
    pub status: &'a str,
    /// ARC-Authentication-Results behind the instance.
    pub results: &'a str,
}

/// `message`, its lines ended by CRLF, with the fields of one more set on top.
pub fn seal(message: &[u8], key: &SigningKey, set: Set<'_>) -> Vec<u8> {
    let Set {
        instance,
        sealer,
        selector,
        status,
        results,
    } = set;
    let signer = format!("i={instance}; a=rsa-sha256; d={sealer}; s={selector}");
    let signed = format!("{signer}; c=relaxed/relaxed; h=from:subject; bh={{bh}}; b={{b}}");
    let message = key.sign_as("ARC-Message-Signature", message, &signed);
    let results = format!("ARC-Authentication-Results: i={instance}; {results}\r\n");
    let message = [results.as_bytes(), &message].concat();

    let unsigned = format!(" {signer}; t=1600000000; cv={status}; b=");
    let mut input = sets_of(&message, instance);
    let own = HeaderField::new("ARC-Seal", unsigned.clone());
    let own = canonical_field("relaxed", &own);
    input.extend(own.strip_suffix(b"\r\n").expect("a field ends with CRLF"));
    let b = STANDARD.encode(key.signature(&input));
    [format!("ARC-Seal:{unsigned}{b}\r\n").as_bytes(), &message].concat()
}

/// RFC 8617 §5.1.1: the sets "in increasing instance order", the newest without its seal.
fn sets_of(message: &[u8], newest: u8) -> Vec<u8> {
    let fields = Message::parse(message).fields;
    let is_of = |field: &HeaderField, instance: u8| {
        let start = format!("i={instance};");
        field.value.trim_ascii_start().starts_with(start.as_bytes())
    };
    let mut input = Vec::new();
    for instance in 1..=newest {
        for name in [
            "ARC-Authentication-Results",
            "ARC-Message-Signature",
            "ARC-Seal",
        ] {
            let mut named = fields.iter().filter(|field| field.is(name));
            let found = named.find(|field| is_of(field, instance));
            input.extend(
                found
                    .into_iter()
                    .flat_map(|f| canonical_field("relaxed", f)),
            );
        }
    }
    input
}
