//! A whole message judged by DKIM in one call, for tests.
//!
//! Use from a test: `#[path = "support/dkim.rs"] mod dkim;`.

use alignd::auth::dkim::{DkimEvidence, DkimSettings, KeyCache, Signatures};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{QueryName, TxtRecord};
use alignd::message::parse::Message;
use alignd::time::Timestamp;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A zone of TXT records.
pub fn zone<'a>(records: impl IntoIterator<Item = (&'a str, &'a str)>) -> Zone {
    let mut zone = Zone::new();
    for (name, text) in records {
        let name = QueryName::parse(name).expect("a name");
        let record = TxtRecord::from_text(text);
        zone.add(&name, ZoneRecord::Txt(record));
    }
    zone
}

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

/// The in-memory zone answers at once.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a zone in memory does not wait"),
    }
}
