//! A whole message judged by DKIM in one call, for tests.
//!
//! Use from a test: `#[path = "support/dkim.rs"] mod dkim;`.

#[path = "text_zone.rs"]
mod text_zone;

pub use text_zone::{ready, zone};

use alignd::auth::dkim::{DkimEvidence, DkimSettings, KeyCache, Signatures};
use alignd::dns::zone::Zone;
use alignd::message::parse::Message;
use alignd::time::Timestamp;

/// Judges a message at `now` (seconds), its body in pieces of `step` octets.
pub fn judge(
    file: &[u8],
    zone: &Zone,
    settings: &DkimSettings,
    now: i64,
    step: usize,
) -> DkimEvidence {
    let message = Message::parse(file);
    let now = Timestamp::from_seconds(now);
    let signatures = Signatures::read(&message.fields, None, settings, now);
    let mut hasher = signatures.body_hasher();
    for piece in message.body.chunks(step) {
        hasher.update(piece);
    }
    let keys = ready(signatures.look_up_keys(zone, &KeyCache::default()));
    signatures.conclude(keys, hasher.finish())
}

/// One line a signature: the result, and the reason if there is one.
pub fn lines(evidence: &DkimEvidence) -> Vec<String> {
    let line = |s: &alignd::auth::dkim::SignatureOutcome| match s.grounds.reason.as_str() {
        "" => s.result.to_string(),
        reason => format!("{}: {reason}", s.result),
    };
    evidence.signatures.iter().map(line).collect()
}
