//! Gathering a day's entries: every message counted once, under what its report will say.
//!
//! Owns the walk, and finds out of messages with a longer history whether they were counted before: a
//! message counts by the first of its outcomes that `report.include` takes in, on the day of that outcome
//! (`Building::counts`), unless it was counted by another, under whatever `report.include` was then.

use super::pending::numbered;
use super::runs::{Sorted, Sorter};
use super::{Address, Key};
use crate::domain::DomainName;
use crate::policy::Disposition;
use crate::report::aggregate::NormalisedPolicy;
use crate::store::error::ReadError;
use crate::store::fold::{Building, Include, MAX_POLICIES, Numbered, Pending, Summary};
use crate::store::give_way;
use crate::store::reports::Range;
use crate::store::sqlite::read::{Reader, collect};
use crate::store::sqlite::rebuild::{Trouble, read_aligned, word};
use crate::time::UtcDay;
use crate::verdict::Weight;
use rusqlite::{Connection, Row, params};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

/// What of a day's mail is reported, and with which identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    pub include: Include,
    /// Whether rows tell the recipients' domain, where there is but one.
    pub envelope_to: bool,
}

/// Tells what of a policy domain's day is covered, and how it was.
pub type CoveredBy<'a> = dyn Fn(UtcDay, &DomainName) -> Result<Vec<Building>, ReadError> + 'a;

/// A day under way.
pub(super) struct Gathering<'r> {
    reader: &'r Reader,
    include: Include,
    day: UtcDay,
    up_to: i64,
    covered_by: &'r CoveredBy<'r>,
    /// What of a domain's day is covered, by day and domain.
    covered: HashMap<(UtcDay, u32), Vec<Building>>,
    entries: Sorter,
    summaries: Vec<Summary>,
    /// Where each domain's summary is.
    places: HashMap<i64, usize>,
    /// Normalised policies by policy_published.
    policies: HashMap<i64, NormalisedPolicy>,
    evaluated: HashMap<i64, Evaluated>,
    /// The first number met of what says the same in a report.
    same: HashMap<(Disposition, bool, bool, String), i64>,
}

#[derive(Clone, Copy)]
struct Evaluated {
    first: i64,
    triggers: bool,
}

/// One message that counts, if it wasn't counted before.
struct Counted {
    seq: i64,
    verdict: i64,
    policy_domain: i64,
    published: i64,
    source_ip: Option<Address>,
    evaluated: i64,
    header_from: i64,
    envelope_from: i64,
    envelope_to: i64,
    auth_results: i64,
}

impl<'r> Gathering<'r> {
    /// Goes through what is pending, and gives the domains in the order of their entries, and those.
    pub fn of(
        reader: &'r Reader,
        pending: &Pending,
        selection: Selection,
        covered_by: &'r CoveredBy<'r>,
        directory: &Path,
    ) -> Result<(Vec<Summary>, Sorted), ReadError> {
        let mut gathering = Self {
            reader,
            include: selection.include,
            day: pending.day,
            up_to: pending.up_to,
            covered_by,
            covered: HashMap::new(),
            entries: Sorter::new(directory, MOST_ENTRIES),
            summaries: (0..).zip(&pending.domains).map(Summary::begin).collect(),
            places: HashMap::new(),
            policies: HashMap::new(),
            evaluated: HashMap::new(),
            same: HashMap::new(),
        };
        let ids = pending.domains.iter().map(|domain| domain.id);
        gathering.places = ids.zip(0..).collect();
        let at_disk = |error| disk(directory, &error);
        if pending.domains.len() <= FEW {
            for domain in &pending.domains {
                let sql = sql(selection, BY_DOMAIN);
                gathering.go_through(pending, &sql, domain.after, Some(domain.id))?;
            }
        } else {
            let sql = sql(selection, BY_NUMBER);
            gathering.go_through(pending, &sql, pending.above, None)?;
        }
        let sorted = gathering.entries.finish().map_err(at_disk)?;
        Ok((gathering.summaries, sorted))
    }

    /// Page by page, so that no read is a long one.
    fn go_through(
        &mut self,
        pending: &Pending,
        sql: &str,
        after: i64,
        domain: Option<i64>,
    ) -> Result<(), ReadError> {
        let mut after = after;
        let reader = self.reader;
        while after < pending.up_to {
            let until = match domain {
                None => after.saturating_add(PAGE as i64).min(pending.up_to),
                Some(_) => pending.up_to,
            };
            let bounds = params![after, until, pending.day.number(), domain, PAGE as i64];
            let page = collect(&reader.connection, sql, bounds, Counted::read);
            let page = reader.translate(page)?;
            reader.translate(self.count_all(&page))?;
            // Whoever waits for this processor has his turn: mail must not wait until the system takes it away.
            give_way();
            after = match (domain, page.last()) {
                (Some(_), Some(last)) if page.len() == PAGE => last.seq,
                (Some(_) | None, Some(_) | None) => until,
            };
        }
        Ok(())
    }

    fn count_all(&mut self, page: &[Counted]) -> Result<(), Trouble> {
        let storied = storied(&self.reader.connection, page)?;
        for counted in page {
            let is_first = storied.is_empty() || !storied.contains(&counted.verdict);
            if is_first || self.counts_now(counted)? {
                self.count(counted)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, counted: &Counted) -> Result<(), Trouble> {
        let c = &self.reader.connection;
        let place = self.places.get(&counted.policy_domain);
        let Some(summary) = place.and_then(|place| self.summaries.get_mut(*place)) else {
            return Ok(());
        };
        if counted.seq <= summary.after {
            return Ok(());
        }
        let Some(source_ip) = counted.source_ip else {
            summary.left_out += 1;
            return Ok(());
        };
        let evaluated = match self.evaluated.get(&counted.evaluated) {
            Some(known) => *known,
            None => {
                let found = read_evaluated(c, counted.evaluated, &mut self.same)?;
                bounded(&mut self.evaluated).insert(counted.evaluated, found);
                found
            }
        };
        // Nearly always the record that the message before met: 100,000 domains have more of them than
        // can be known by heart.
        if counted.published != summary.last_record {
            let policies = bounded(&mut self.policies);
            let policy = match policies.get(&counted.published) {
                Some(known) => known,
                None => {
                    let found = read_policy(c, counted.published)?;
                    policies.entry(counted.published).or_insert(found)
                }
            };
            summary.last_place = summary.place_of(policy, counted.published);
            summary.last_record = counted.published;
        }
        summary.messages += 1;
        summary.triggers |= evaluated.triggers;
        let key = Key {
            domain: summary.place,
            policy: summary.last_place,
            source_ip,
            header_from: counted.header_from,
            evaluated: evaluated.first,
            envelope_from: counted.envelope_from,
            envelope_to: counted.envelope_to,
            auth_results: counted.auth_results,
        };
        let added = self.entries.add(key);
        Ok(added.map_err(|error| ReadError::Spool(error.to_string()))?)
    }
}

impl Gathering<'_> {
    /// Whether a message with more than one outcome counts by this one, and did not count before.
    fn counts_now(&mut self, counted: &Counted) -> Result<bool, Trouble> {
        let place = self.places.get(&counted.policy_domain);
        let Some(summary) = place.and_then(|place| self.summaries.get_mut(*place)) else {
            return Ok(false);
        };
        let outcomes = numbered(&self.reader.connection, counted.verdict)?;
        let range = Range {
            after: summary.after,
            up_to: self.up_to,
        };
        let now = Building {
            day: self.day,
            range,
            include: self.include,
        };
        if now.counts(&outcomes) != Some(counted.seq) {
            return Ok(false);
        }
        let could_count = |one: &&Numbered| Include::All.states().contains(&one.state);
        let mut days: Vec<UtcDay> = outcomes.iter().filter(could_count).map(|o| o.day).collect();
        days.dedup();
        for day in days {
            if day == self.day && summary.after == 0 {
                continue;
            }
            let covered = match self.covered.get(&(day, summary.place)) {
                Some(known) => known,
                None => {
                    let found = (self.covered_by)(day, &summary.policy_domain)?;
                    let place = bounded(&mut self.covered).entry((day, summary.place));
                    place.or_insert(found)
                }
            };
            let to = covered.last().map_or(0, |last| last.range.up_to);
            if day != self.day && !summary.beside.contains(&(day, to)) {
                summary.beside.push((day, to));
            }
            if covered.iter().any(|past| past.counts(&outcomes).is_some()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Summary {
    fn begin((place, pending): (u32, &crate::store::fold::PendingDomain)) -> Self {
        Self {
            policy_domain: pending.policy_domain.clone(),
            after: pending.after,
            reported: pending.reported,
            messages: 0,
            left_out: 0,
            triggers: false,
            policies: Vec::new(),
            place,
            beside: Vec::new(),
            records: Vec::new(),
            last_record: 0,
            last_place: 0,
        }
    }

    /// Which of the domain's policies this is; the last place when there is no more room.
    fn place_of(&mut self, policy: &NormalisedPolicy, published: i64) -> u8 {
        let known = self.policies.iter().position(|known| known == policy);
        let place = known.unwrap_or_else(|| {
            if self.policies.len() < MAX_POLICIES {
                self.policies.push(policy.clone());
                self.records.push(published);
            }
            self.policies.len() - 1
        });
        if known.is_some()
            && let Some(record) = self.records.get_mut(place)
        {
            *record = published;
        }
        place as u8
    }
}

impl Counted {
    fn read(row: &Row<'_>) -> Result<Self, Trouble> {
        Ok(Self {
            seq: row.get(0)?,
            policy_domain: row.get(1)?,
            published: row.get(2)?,
            source_ip: Address::read(row, 3)?,
            evaluated: row.get(4)?,
            header_from: row.get(5)?,
            envelope_from: row.get(6)?,
            envelope_to: row.get(7)?,
            auth_results: row.get(8)?,
            verdict: row.get(9)?,
        })
    }
}

/// Numbers above ?1 and not above ?2, of day ?3.
fn sql(selection: Selection, which: &str) -> String {
    let states = selection.include.states().iter();
    let states: Vec<String> = states.map(|state| format!("'{state}'")).collect();
    let states = states.join(", ");
    let envelope_to = if selection.envelope_to {
        "coalesce((SELECT id FROM document WHERE id = v.envelope_to
                       AND json_array_length(text) = 1), 0)"
    } else {
        "0"
    };
    format!(
        "SELECT o.seq, o.policy_domain, v.policy_published, v.source_ip,
             coalesce(o.evaluated, v.policy_evaluated), v.header_from,
             coalesce(v.envelope_from, 0), {envelope_to}, v.auth_results, o.verdict
         {which} AND o.seq > ?1 AND o.seq <= ?2 AND o.state IN ({states})
             AND v.policy_published IS NOT NULL AND v.header_from IS NOT NULL
         ORDER BY o.seq LIMIT ?5"
    )
}

/// All domains: along the table itself. ?4 is NULL.
const BY_NUMBER: &str = "FROM outcome o NOT INDEXED CROSS JOIN verdict v ON v.number = o.verdict
    WHERE o.day = ?3 AND o.policy_domain IS NOT NULL AND ?4 IS NULL";

/// One domain: along its part of the index.
const BY_DOMAIN: &str = "FROM outcome o INDEXED BY outcome_day
    CROSS JOIN verdict v ON v.number = o.verdict
    WHERE o.day = ?3 AND o.policy_domain = ?4 AND o.policy_domain IS NOT NULL
        AND o.state <> 'answering'";

/// Which of a page's messages have other outcomes than `answering` and one more. Goes along the index
/// where their numbers lie close together, as they do in the order in which they were written.
fn storied(c: &Connection, page: &[Counted]) -> Result<HashSet<i64>, Trouble> {
    let mut verdicts: Vec<i64> = page.iter().map(|counted| counted.verdict).collect();
    verdicts.sort_unstable();
    let mut storied = HashSet::new();
    let mut statement = c.prepare_cached(
        "SELECT verdict FROM outcome INDEXED BY outcome_verdict
         WHERE verdict BETWEEN ?1 AND ?2 GROUP BY verdict HAVING count(*) > 2",
    )?;
    for near in verdicts.chunk_by(|one, next| next.saturating_sub(*one) <= NEAR) {
        if let (Some(first), Some(last)) = (near.first(), near.last()) {
            let mut rows = statement.query([first, last])?;
            while let Some(row) = rows.next()? {
                storied.insert(row.get(0)?);
            }
        }
    }
    Ok(storied)
}

fn read_evaluated(
    c: &Connection,
    id: i64,
    same: &mut HashMap<(Disposition, bool, bool, String), i64>,
) -> Result<Evaluated, Trouble> {
    let sql = "SELECT disposition, dkim, spf, reasons, weight FROM policy_evaluated WHERE id = ?1";
    let read = |row: &Row<'_>| -> rusqlite::Result<Result<Evaluated, Trouble>> {
        Ok((|| {
            let said = (
                word(row, "disposition", Disposition::parse)?,
                word(row, "dkim", read_aligned)?,
                word(row, "spf", read_aligned)?,
                row.get("reasons")?,
            );
            let triggers = match word(row, "weight", Weight::parse)? {
                Weight::Triggers => true,
                Weight::IncludedOnly => false,
            };
            let first = *bounded(same).entry(said).or_insert(id);
            Ok(Evaluated { first, triggers })
        })())
    };
    c.prepare_cached(sql)?.query_row([id], read)?
}

fn read_policy(c: &Connection, published: i64) -> Result<NormalisedPolicy, Trouble> {
    let last = super::rows::read_last_record(c, published)?;
    Ok(NormalisedPolicy::of(&last.record, last.method))
}

/// Forgets a cache that has grown too large; what it said can be read again.
fn bounded<K, V>(cache: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if cache.len() >= MOST_KNOWN {
        cache.clear();
    }
    cache
}

fn disk(directory: &Path, error: &io::Error) -> ReadError {
    ReadError::Spool(format!("{}: {error}", directory.display()))
}

/// Entries kept in memory, at some 200 octets each.
const MOST_ENTRIES: usize = 250_000;

/// Contents of a dictionary known by heart.
const MOST_KNOWN: usize = 50_000;

/// Outcomes gone through in one read, before others have their turn.
const PAGE: usize = 256;

/// So far apart, two messages of a page are looked up with what is between them.
const NEAR: i64 = 16;

/// So few domains are looked up one by one.
const FEW: usize = 64;
