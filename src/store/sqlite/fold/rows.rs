//! Entries to rows: the texts behind the numbers.
//!
//! Owns the order in which a day's domains and their rows are handed out, and a bounded memory of texts.

use super::gather::{CoveredBy, Gathering, Selection};
use super::runs::Sorted;
use super::{Address, Key};
use crate::auth::dmarc::DiscoveryMethod;
use crate::policy::Disposition;
use crate::report::aggregate::{PolicyEvaluated, Row};
use crate::store::error::ReadError;
use crate::store::fold::{LastRecord, Pending, Summary};
use crate::store::shared::{self, AuthResultsRead};
use crate::store::sqlite::read::Reader;
use crate::store::sqlite::rebuild::{Trouble, read_address, read_aligned, read_record, word};
use crate::store::wire::read_domain;
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::Path;

/// A day's domains, and the rows of each.
pub struct Folded<'r> {
    reader: &'r Reader,
    summaries: Vec<Summary>,
    sorted: Sorted,
    /// The entry that is handed out next.
    ahead: Option<(Key, u64)>,
    names: HashMap<i64, String>,
    evaluated: HashMap<i64, PolicyEvaluated>,
    auth_results: HashMap<i64, AuthResultsRead>,
}

impl Reader {
    /// Folds what is pending; `covered_by` is asked about messages with more than one outcome that could
    /// have been counted before. Sorts in `directory` what does not fit into memory: no file of it has a
    /// name. Takes a while: some seconds for a million messages.
    pub fn fold(
        &self,
        pending: &Pending,
        selection: Selection,
        covered_by: &CoveredBy<'_>,
        directory: &Path,
    ) -> Result<Folded<'_>, ReadError> {
        let (summaries, mut sorted) =
            Gathering::of(self, pending, selection, covered_by, directory)?;
        let ahead = sorted.next().map_err(spool)?;
        Ok(Folded {
            reader: self,
            summaries,
            sorted,
            ahead,
            names: HashMap::new(),
            evaluated: HashMap::new(),
            auth_results: HashMap::new(),
        })
    }

    /// The record that the last of a domain's messages met.
    pub fn last_record(&self, summary: &Summary) -> Result<LastRecord, ReadError> {
        self.translate(read_last_record(&self.connection, summary.last_record))
    }

    /// The record that the last of its messages under one of its policies met.
    pub fn record_of(&self, summary: &Summary, policy: usize) -> Result<LastRecord, ReadError> {
        let record = summary.records.get(policy).copied();
        let record = record.unwrap_or(summary.last_record);
        self.translate(read_last_record(&self.connection, record))
    }
}

impl Folded<'_> {
    /// The domains, in the order in which their rows are handed out; also those without any.
    pub fn domains(&self) -> &[Summary] {
        &self.summaries
    }

    /// The next row of this domain, and which of its policies it is under, those in order; `None`
    /// when it has no more. Rows of domains before it that were not asked for are passed over.
    pub fn next_row(&mut self, summary: &Summary) -> Result<Option<(usize, Row)>, ReadError> {
        while let Some((key, count)) = self.ahead {
            if key.domain > summary.place {
                return Ok(None);
            }
            self.ahead = self.sorted.next().map_err(spool)?;
            if key.domain == summary.place {
                let row = self.row(&key, count);
                let row = self.reader.translate(row)?;
                return Ok(Some((usize::from(key.policy), row)));
            }
        }
        Ok(None)
    }

    fn row(&mut self, key: &Key, count: u64) -> Result<Row, Trouble> {
        let c = &self.reader.connection;
        let envelope_from = match key.envelope_from {
            0 => None,
            id => Some(self.name(id)?),
        };
        let envelope_to = match key.envelope_to {
            0 => None,
            id => shared::read_domains(&text(c, id)?)?.pop(),
        };
        let header_from = read_domain(&self.name(key.header_from)?)?;
        let evaluated = remembered(&mut self.evaluated, key.evaluated, |id| evaluated(c, id))?;
        let auth_results = remembered(&mut self.auth_results, key.auth_results, |id| {
            Ok(shared::read_auth_results(&text(c, id)?)?)
        })?;
        Ok(Row {
            source_ip: address(&key.source_ip)?,
            count,
            evaluated: evaluated.clone(),
            header_from,
            envelope_from,
            envelope_to,
            dkim: auth_results.dkim.clone(),
            spf: auth_results.spf.clone(),
        })
    }

    fn name(&mut self, id: i64) -> Result<String, Trouble> {
        let c = &self.reader.connection;
        let name = remembered(&mut self.names, id, |id| {
            let sql = "SELECT name FROM name WHERE id = ?1";
            Ok(c.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
        })?;
        Ok(name.clone())
    }
}

/// What is known by heart, or looked up.
fn remembered<T>(
    known: &mut HashMap<i64, T>,
    id: i64,
    look_up: impl FnOnce(i64) -> Result<T, Trouble>,
) -> Result<&T, Trouble> {
    if known.len() >= MOST_KNOWN && !known.contains_key(&id) {
        known.clear();
    }
    match known.entry(id) {
        std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
        std::collections::hash_map::Entry::Vacant(entry) => Ok(entry.insert(look_up(id)?)),
    }
}

fn text(c: &Connection, id: i64) -> Result<String, Trouble> {
    let sql = "SELECT text FROM document WHERE id = ?1";
    Ok(c.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
}

fn evaluated(c: &Connection, id: i64) -> Result<PolicyEvaluated, Trouble> {
    let sql = "SELECT disposition, dkim, spf, reasons FROM policy_evaluated WHERE id = ?1";
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or_else(missing)?;
    Ok(PolicyEvaluated {
        disposition: word(row, "disposition", Disposition::parse)?,
        dkim: word(row, "dkim", read_aligned)?,
        spf: word(row, "spf", read_aligned)?,
        reasons: shared::read_reasons(&row.get::<_, String>("reasons")?)?,
    })
}

/// The record behind a row of policy_published, and how it was found.
pub(super) fn read_last_record(c: &Connection, published: i64) -> Result<LastRecord, Trouble> {
    let sql = "SELECT p.discovery_method, r.* FROM policy_published p
               JOIN dmarc_record r ON r.id = p.record WHERE p.id = ?1";
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query([published])?;
    let row = rows.next()?.ok_or_else(missing)?;
    Ok(LastRecord {
        record: read_record(row)?,
        method: word(row, "discovery_method", DiscoveryMethod::parse)?,
    })
}

fn address(stored: &Address) -> Result<std::net::IpAddr, Trouble> {
    let octets = stored.stored().map(<[u8]>::to_vec);
    read_address(octets)?.ok_or_else(missing)
}

fn missing() -> Trouble {
    ReadError::Damaged("a piece of it is missing".to_owned()).into()
}

fn spool(error: std::io::Error) -> ReadError {
    ReadError::Spool(error.to_string())
}

/// Texts of one kind known by heart.
const MOST_KNOWN: usize = 2_048;
