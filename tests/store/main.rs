//! The store as its users see it: what was acknowledged is there, exactly, and can be asked for.

#[path = "../support/plain_verdict.rs"]
mod plain_verdict;
#[path = "../support/verdicts.rs"]
mod verdicts;

mod ask;
mod change;
mod exceptions;
mod fold;
mod held;
mod histories;
mod keep;
mod open;
mod outbox;
mod outcomes;
mod reports;
mod returned;
mod waiting;

use alignd::outcome::{Outcome, OutcomeSource, OutcomeState};
use alignd::store::{Reader, Store, StoreSettings};
use alignd::time::Timestamp;
use alignd::verdict::VerdictId;
use plain_verdict::plain_verdict;
use std::path::Path;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_seconds(1_795_363_200);

fn settings(directory: &Path) -> StoreSettings {
    StoreSettings {
        path: directory.to_owned(),
        local_parts: true,
        ..StoreSettings::default()
    }
}

fn outcome(state: OutcomeState, source: OutcomeSource) -> Outcome {
    Outcome::new(state, NOW, source)
}

/// Three verdicts a second: a.example, b.example, c.example in turn.
async fn filled(directory: &Path, count: u32) -> (Store, Reader, Vec<VerdictId>) {
    let store = Store::open(&settings(directory), NOW).unwrap();
    let mut ids = Vec::new();
    for nth in 0..count {
        let domain = ["a.example", "b.example", "c.example"][nth as usize % 3];
        let received = NOW.plus_micros(i64::from(nth) * 333_333);
        let verdict = Arc::new(plain_verdict(domain, received, nth));
        ids.push(verdict.id);
        store.record(verdict).await.unwrap();
    }
    (store, Reader::open(directory).unwrap(), ids)
}

/// Our own look into the file, for what the reader does not show.
fn raw(directory: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.join("alignd.db")).unwrap()
}

fn number(directory: &Path, sql: &str) -> i64 {
    raw(directory).query_row(sql, [], |row| row.get(0)).unwrap()
}
