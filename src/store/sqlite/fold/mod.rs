//! Folding a day: from outcomes and verdicts to the rows of reports.
//!
//! Owns the reading of what is to be reported. A day is gone through once, in the order in which it was
//! written, by pages that are short reads of their own; messages alike in everything that is reported
//! become one entry, by the numbers of the dictionaries, and texts are looked up for entries alone.
//! What does not fit into memory is sorted on the disk (`runs`).
//!
//! - `pending`: which days and domains have something · `gather`: entries of a day
//! - `runs`: sorting them · `rows`: entries to rows

mod gather;
mod pending;
mod rows;
mod runs;

pub use gather::{CoveredBy, Selection};
pub use rows::Folded;

use rusqlite::Row;

/// What tells the entries of a day apart, as numbers of the dictionaries; in the order of the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    /// The DMARC Policy Domain, by its place among those of the day.
    domain: u32,
    /// Which of the domain's policies.
    policy: u8,
    source_ip: Address,
    header_from: i64,
    /// policy_evaluated: the first one met that says the same in a report.
    evaluated: i64,
    /// name; 0: unreadable.
    envelope_from: i64,
    /// document; 0: not reported.
    envelope_to: i64,
    auth_results: i64,
}

/// An address as stored: how many octets, and those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Address {
    length: u8,
    octets: [u8; 16],
}

impl Address {
    /// `None`: the client's address is unknown.
    fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Self>> {
        let octets = row.get_ref(column)?.as_blob_or_null();
        let Some(stored) = octets.ok().flatten() else {
            return Ok(None);
        };
        let mut octets = [0; 16];
        let Some(place) = octets.get_mut(..stored.len()) else {
            return Ok(None);
        };
        place.copy_from_slice(stored);
        Ok(Some(Self {
            length: stored.len() as u8,
            octets,
        }))
    }

    fn stored(&self) -> Option<&[u8]> {
        self.octets.get(..usize::from(self.length))
    }
}
