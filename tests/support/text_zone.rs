//! A zone of TXT records, and look-ups in it without a runtime.
//!
//! Use from a test: `#[path = "support/text_zone.rs"] mod text_zone;`.

use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{QueryName, TxtRecord};
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

/// The in-memory zone answers at once.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a zone in memory does not wait"),
    }
}
