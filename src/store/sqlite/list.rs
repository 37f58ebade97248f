//! Listings and counts over many verdicts.
//!
//! Owns the SQL of a `Filter`. Goes by pages of the key range, newest first, each a short read of its
//! own: a long listing never keeps the log from being emptied, and sees nothing newer than its start.

use crate::auth::DmarcResult;
use crate::auth::dmarc::Policy;
use crate::outcome::OutcomeState;
use crate::policy::{Action, Cause, Disposition};
use crate::store::error::ReadError;
use crate::store::row::octets;
use crate::store::sqlite::read::{Reader, read_stored};
use crate::store::sqlite::rebuild::{
    self, Trouble, optional_word, read_address, read_aligned, word,
};
use crate::store::wire::read_optional_domain;
use crate::store::{Count, CountBy, Decided, DecidedKey, Filter, Stored, Summary};
use crate::time::{Timestamp, UtcDay};
use crate::verdict::VerdictId;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::collections::HashMap;
use std::collections::VecDeque;

/// Verdicts looked at in one read.
const PAGE: usize = 10_000;

/// The same where they are read whole: each takes some 4 KiB of memory.
const WHOLE_PAGE: usize = 1_000;

/// Different values a count tells apart; the rest is one line, `(others)`.
const MAX_VALUES: usize = 1_000_000;

/// The listing that [`Reader::messages`] and [`Reader::whole_messages`] give.
pub struct Messages<'r, T> {
    reader: &'r Reader,
    scan: Scan,
    kind: Kind<T>,
    page: VecDeque<T>,
    /// How many more are wanted.
    wanted: usize,
    failed: bool,
}

/// What is read of each verdict.
struct Kind<T> {
    select: String,
    read: fn(&Connection, &Row<'_>) -> Result<T, Trouble>,
}

/// A filter as SQL, and how far it has got.
struct Scan {
    /// Keys in a page.
    size: usize,
    /// Conditions on the keys that order and bound the pages.
    keys: Conditions,
    /// Conditions on everything else.
    rest: Conditions,
    /// Only below this `(received, number)`.
    below: Option<(i64, i64)>,
    done: bool,
}

#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Reader {
    /// The verdicts that `filter` names, newest first.
    pub fn messages(&self, filter: &Filter) -> Messages<'_, Summary> {
        let kind = Kind {
            select: format!("{SUMMARY} {FROM}"),
            read: |_, row| summary(row),
        };
        Messages::new(self, filter, PAGE, kind)
    }

    /// The same with all grounds and all that became of each message.
    pub fn whole_messages(&self, filter: &Filter) -> Messages<'_, Stored> {
        let kind = Kind {
            select: rebuild::SELECT.to_owned(),
            read: read_stored,
        };
        Messages::new(self, filter, WHOLE_PAGE, kind)
    }

    /// In which ways the verdicts that `filter` names were decided.
    pub fn decided(&self, filter: &Filter) -> Result<Vec<Decided>, ReadError> {
        let mut found: HashMap<i64, Decided> = HashMap::new();
        let mut scan = Scan::new(filter, PAGE);
        while let Some(page) = scan.next_page(self)? {
            let end = "GROUP BY v.policy_evaluated";
            let (sql, values) = scan.on(&page, &format!("{DECIDED} {FROM}"), end);
            for decided in self.rows(&sql, params_from_iter(values), decided)? {
                let messages = decided.messages;
                found
                    .entry(decided.key.0)
                    .and_modify(|known| known.messages += messages)
                    .or_insert(decided);
            }
        }
        Ok(found.into_values().collect())
    }

    /// How many verdicts `filter` names, by value, the most first.
    pub fn count_by(&self, by: CountBy, filter: &Filter) -> Result<Vec<Count>, ReadError> {
        let mut counts: HashMap<Option<String>, u64> = HashMap::new();
        let mut scan = Scan::new(filter, PAGE);
        let (shown, grouped) = columns(by);
        let select = format!("SELECT {shown}, count(*) {FROM}");
        let group = format!("GROUP BY {grouped}");
        while let Some(page) = scan.next_page(self)? {
            let read = |row: &Row<'_>| Ok((value(by, row)?, row.get::<_, i64>(1)?));
            let (sql, values) = scan.on(&page, &select, &group);
            for (value, messages) in self.rows(&sql, params_from_iter(values), read)? {
                let value = if counts.len() < MAX_VALUES || counts.contains_key(&value) {
                    value
                } else {
                    Some("(others)".to_owned())
                };
                *counts.entry(value).or_default() += messages.unsigned_abs();
            }
        }
        let mut counts: Vec<Count> = counts
            .into_iter()
            .map(|(value, messages)| Count { value, messages })
            .collect();
        counts.sort_by(|a, b| (b.messages, &a.value).cmp(&(a.messages, &b.value)));
        Ok(counts)
    }
}

impl<T> Iterator for Messages<'_, T> {
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && self.wanted > 0 {
            if let Some(item) = self.page.pop_front() {
                self.wanted -= 1;
                return Some(Ok(item));
            }
            match self.read_page() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<'r, T> Messages<'r, T> {
    fn new(reader: &'r Reader, filter: &Filter, page: usize, kind: Kind<T>) -> Self {
        Self {
            reader,
            scan: Scan::new(filter, page),
            kind,
            page: VecDeque::new(),
            wanted: filter.limit.unwrap_or(usize::MAX),
            failed: false,
        }
    }

    /// Reads the next page; false when there is none.
    fn read_page(&mut self) -> Result<bool, ReadError> {
        let Some(page) = self.scan.next_page(self.reader)? else {
            return Ok(false);
        };
        let end = format!(
            "ORDER BY v.received DESC, v.number DESC LIMIT {}",
            self.wanted.min(self.scan.size)
        );
        let (sql, values) = self.scan.on(&page, &self.kind.select, &end);
        let (c, read) = (&self.reader.connection, self.kind.read);
        let found = self
            .reader
            .rows(&sql, params_from_iter(values), |row| read(c, row))?;
        self.page = found.into();
        Ok(true)
    }
}

/// The keys between which a page lies: below the first, from the second on.
struct Page {
    below: Option<(i64, i64)>,
    from: Option<(i64, i64)>,
}

impl Scan {
    fn new(filter: &Filter, size: usize) -> Self {
        let mut keys = Conditions::default();
        let mut rest = Conditions::default();
        if let Some(since) = filter.since {
            keys.add("v.received >= ?", [Value::from(since.micros())]);
        }
        if let Some(until) = filter.until {
            keys.add("v.received < ?", [Value::from(until.micros())]);
        }
        if let Some(domain) = &filter.author_domain {
            let sql = "v.header_from = (SELECT id FROM name WHERE name = ?)";
            keys.add(sql, [Value::from(domain.as_str().to_owned())]);
        }
        if let Some(queue_id) = &filter.queue_id {
            keys.add("v.queue_id = ?", [Value::from(queue_id.clone())]);
        }
        if let Some(network) = filter.ip {
            let first = octets(network.network());
            let length = Value::from(first.len() as i64);
            let last = Value::from(octets(network.broadcast()));
            rest.add(
                "length(v.source_ip) = ? AND v.source_ip BETWEEN ? AND ?",
                [length, Value::from(first), last],
            );
        }
        for (sql, word) in [
            ("e.dmarc = ?", filter.dmarc.map(DmarcResult::as_str)),
            (
                "e.disposition = ?",
                filter.disposition.map(Disposition::as_str),
            ),
            (STATE_IS, filter.outcome.map(OutcomeState::as_str)),
        ] {
            if let Some(word) = word {
                rest.add(sql, [Value::from(word.to_owned())]);
            }
        }
        if let Some(decided) = &filter.decided {
            let places = vec!["?"; decided.len()].join(", ");
            let keys = decided.iter().map(|key| Value::from(key.0));
            rest.add(&format!("v.policy_evaluated IN ({places})"), keys);
        }
        Self {
            size,
            keys,
            rest,
            below: None,
            done: false,
        }
    }

    /// The bounds of the next page.
    fn next_page(&mut self, reader: &Reader) -> Result<Option<Page>, ReadError> {
        if self.done {
            return Ok(None);
        }
        let (sql, values) = self.bound();
        let from = reader.sql(|c| {
            c.prepare_cached(&sql)?
                .query_row(params_from_iter(values), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
        })?;
        let page = Page {
            below: self.below,
            from,
        };
        self.done = from.is_none();
        self.below = from;
        Ok(Some(page))
    }

    /// The statement that finds the last key of the next page, if it is a full one.
    fn bound(&self) -> (String, Vec<Value>) {
        let mut conditions = Conditions::default();
        conditions.extend(&self.keys);
        conditions.below(self.below);
        let sql = format!(
            "SELECT v.received, v.number FROM verdict v WHERE true {}
             ORDER BY v.received DESC, v.number DESC LIMIT 1 OFFSET {}",
            conditions.sql,
            self.size - 1
        );
        (sql, conditions.values)
    }

    /// The statement that reads a page.
    fn on(&self, page: &Page, select: &str, end: &str) -> (String, Vec<Value>) {
        let mut conditions = Conditions::default();
        conditions.extend(&self.keys);
        conditions.below(page.below);
        if let Some((received, number)) = page.from {
            let values = [Value::from(received), Value::from(number)];
            conditions.add("(v.received, v.number) >= (?, ?)", values);
        }
        conditions.extend(&self.rest);
        let sql = format!("{select} WHERE true {} {end}", conditions.sql);
        (sql, conditions.values)
    }
}

impl Conditions {
    fn add(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    fn extend(&mut self, other: &Self) {
        self.sql.push_str(&other.sql);
        self.values.extend(other.values.iter().cloned());
    }

    fn below(&mut self, key: Option<(i64, i64)>) {
        if let Some((received, number)) = key {
            let values = [Value::from(received), Value::from(number)];
            self.add("(v.received, v.number) < (?, ?)", values);
        }
    }
}

const FROM: &str = "FROM verdict v JOIN policy_evaluated e ON e.id = v.policy_evaluated";

const STATE_IS: &str =
    "(SELECT state FROM outcome WHERE verdict = v.number ORDER BY seq DESC LIMIT 1) = ?";

const SUMMARY: &str = "SELECT v.id, v.received, v.queue_id, v.source_ip,
    (SELECT name FROM name WHERE id = v.header_from) AS header_from,
    (SELECT name FROM name WHERE id = v.envelope_from) AS envelope_from,
    (SELECT name.name FROM policy_published p JOIN name ON name.id = p.domain
     WHERE p.id = v.policy_published) AS policy_domain,
    e.dmarc, e.spf, e.dkim, e.applied, e.cause, e.disposition, e.action,
    (SELECT state FROM outcome WHERE verdict = v.number ORDER BY seq DESC LIMIT 1) AS state";

const DECIDED: &str =
    "SELECT v.policy_evaluated, e.cause, e.published, e.applied, e.action, count(*) AS messages";

fn decided(row: &Row<'_>) -> Result<Decided, Trouble> {
    Ok(Decided {
        key: DecidedKey(row.get("policy_evaluated")?),
        cause: word(row, "cause", Cause::parse)?,
        published: optional_word(row, "published", Policy::parse)?,
        applied: optional_word(row, "applied", Policy::parse)?,
        action: word(row, "action", Action::parse)?,
        messages: row.get::<_, i64>("messages")?.unsigned_abs(),
    })
}

fn summary(row: &Row<'_>) -> Result<Summary, Trouble> {
    let header_from: Option<String> = row.get("header_from")?;
    let policy_domain: Option<String> = row.get("policy_domain")?;
    Ok(Summary {
        id: VerdictId::from_bytes(row.get("id")?),
        received: Timestamp::from_micros(row.get("received")?),
        queue_id: row.get("queue_id")?,
        client_ip: read_address(row.get("source_ip")?)?,
        author_domain: read_optional_domain(header_from.as_deref())?,
        envelope_from: row.get("envelope_from")?,
        dmarc: optional_word(row, "dmarc", DmarcResult::parse)?,
        spf_aligned: optional_word(row, "spf", read_aligned)?,
        dkim_aligned: optional_word(row, "dkim", read_aligned)?,
        policy_domain: read_optional_domain(policy_domain.as_deref())?,
        applied: optional_word(row, "applied", Policy::parse)?,
        cause: word(row, "cause", Cause::parse)?,
        disposition: word(row, "disposition", Disposition::parse)?,
        action: word(row, "action", Action::parse)?,
        outcome: word(row, "state", OutcomeState::parse)?,
    })
}

/// What is shown of a group, and what it is grouped by.
fn columns(by: CountBy) -> (&'static str, &'static str) {
    match by {
        CountBy::AuthorDomain => (
            "(SELECT name FROM name WHERE id = v.header_from)",
            "v.header_from",
        ),
        CountBy::PolicyDomain => (
            "(SELECT name.name FROM policy_published p JOIN name ON name.id = p.domain
              WHERE p.id = v.policy_published)",
            "v.policy_published",
        ),
        CountBy::Ip => ("v.source_ip", "v.source_ip"),
        CountBy::Dmarc => ("e.dmarc", "e.dmarc"),
        CountBy::Disposition => ("e.disposition", "e.disposition"),
        CountBy::Cause => ("e.cause", "e.cause"),
        CountBy::Action => ("e.action", "e.action"),
        CountBy::Outcome => (
            "(SELECT state FROM outcome WHERE verdict = v.number ORDER BY seq DESC LIMIT 1)",
            "1",
        ),
        CountBy::Day => ("v.received / 86400000000", "1"),
    }
}

/// The value of a group, as text.
fn value(by: CountBy, row: &Row<'_>) -> Result<Option<String>, Trouble> {
    Ok(match by {
        CountBy::Ip => read_address(row.get(0)?)?.map(|ip| ip.to_string()),
        CountBy::Day => Some(UtcDay::from_number(row.get(0)?).to_string()),
        CountBy::AuthorDomain
        | CountBy::PolicyDomain
        | CountBy::Dmarc
        | CountBy::Disposition
        | CountBy::Cause
        | CountBy::Action
        | CountBy::Outcome => row.get(0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainName;
    use crate::store::sqlite::migrate::VERDICTS;
    use rusqlite::Connection;
    use std::path::Path;

    /// How SQLite means to go about it.
    fn plan(c: &Connection, sql: &str, values: Vec<Value>) -> String {
        let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement
            .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
            .unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn pages_are_read_by_an_index_in_its_order() {
        let mut c = Connection::open_in_memory().unwrap();
        let now = Timestamp::from_seconds(0);
        VERDICTS
            .migrate(&mut c, Path::new("x"), VERDICTS.known(), now)
            .unwrap();
        let since = Some(Timestamp::from_seconds(1));
        let author_domain = DomainName::parse("a.example").ok();
        let queue_id = Some("4Xy".to_owned());
        let all = Filter::default();
        for (filter, index) in [
            (all.clone(), "verdict_received"),
            (
                Filter {
                    since,
                    ..all.clone()
                },
                "verdict_received",
            ),
            (
                Filter {
                    author_domain,
                    since,
                    ..all.clone()
                },
                "verdict_author",
            ),
            (
                Filter {
                    queue_id,
                    ..all.clone()
                },
                "verdict_queue_id",
            ),
            (
                Filter {
                    ip: "192.0.2.0/24".parse().ok(),
                    ..all.clone()
                },
                "verdict_received",
            ),
            (
                Filter {
                    dmarc: Some(DmarcResult::Fail),
                    ..all.clone()
                },
                "verdict_received",
            ),
            (
                Filter {
                    outcome: Some(OutcomeState::Unknown),
                    ..all.clone()
                },
                "verdict_received",
            ),
        ] {
            let mut scan = Scan::new(&filter, PAGE);
            scan.below = Some((5, 5));
            let (bound, values) = scan.bound();
            let bound = plan(&c, &bound, values);
            let page = Page {
                below: Some((5, 5)),
                from: Some((1, 1)),
            };
            let end = "ORDER BY v.received DESC, v.number DESC LIMIT 500";
            let (rows, values) = scan.on(&page, &format!("{SUMMARY} {FROM}"), end);
            let rows = plan(&c, &rows, values);
            for plan in [bound, rows] {
                assert!(plan.contains(index), "{filter:?}: {plan}");
                assert!(!plan.contains("SCAN"), "{filter:?}: {plan}");
                let sorts = plan.contains("TEMP B-TREE");
                // The few rows of one queue id may be sorted.
                assert!(!sorts || index == "verdict_queue_id", "{filter:?}: {plan}");
            }
        }
    }
}
