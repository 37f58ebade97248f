//! What the writer says to SQLite: one verb per function, all inside a transaction of the caller's.
//!
//! Owns the statements that insert, and the dictionaries they need.

use crate::auth::dmarc::{Policy, PublishedPolicy, Record};
use crate::domain::DomainName;
use crate::outcome::{IllegalMove, Outcome, OutcomeSource, OutcomeState};
use crate::policy::{Disposition, PolicyOverride, reasons_of_release, release_by_hand};
use crate::store::SkipReason;
use crate::store::row::{self, Row};
use crate::store::shared::{self, Digest, Document};
use crate::store::sqlite::dictionary::Dictionary;
use crate::store::sqlite::intent;
use crate::store::wire;
use crate::time::UtcDay;
use crate::verdict::VerdictId;
use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};
use std::collections::HashMap;

/// All dictionaries, with their caches: about 5 MiB when full.
pub(super) struct Dictionaries {
    names: Dictionary<String>,
    documents: Dictionary<Digest>,
    records: Dictionary<Digest>,
    published: Dictionary<Digest>,
    evaluated: Dictionary<Digest>,
    /// Recorded by this writer and `answering` still: most are confirmed a moment later.
    fresh: HashMap<VerdictId, Recorded>,
}

/// What a confirmation needs to know of a verdict.
#[derive(Clone, Copy)]
struct Recorded {
    number: i64,
    policy_domain: Option<i64>,
    evaluated: i64,
}

/// What a confirmation came to.
pub(super) enum Confirmed {
    Moved,
    /// It already stood there.
    Unchanged,
    Illegal(IllegalMove),
    /// No such verdict (its recording failed, or it has been deleted), or one at a state that only a
    /// later version knows.
    UnknownVerdict,
}

impl Dictionaries {
    pub fn new() -> Self {
        Self {
            names: Dictionary::new(
                "SELECT id, last_day FROM name WHERE name = ?1",
                "UPDATE name SET last_day = ?2 WHERE id = ?1",
                16_384,
            ),
            documents: Dictionary::new(
                "SELECT id, last_day FROM document WHERE digest = ?1",
                "UPDATE document SET last_day = ?2 WHERE id = ?1",
                16_384,
            ),
            records: Dictionary::new(
                "SELECT id, last_day FROM dmarc_record WHERE digest = ?1",
                "UPDATE dmarc_record SET last_day = ?2 WHERE id = ?1",
                4_096,
            ),
            published: Dictionary::new(
                "SELECT id, last_day FROM policy_published WHERE digest = ?1",
                "UPDATE policy_published SET last_day = ?2 WHERE id = ?1",
                4_096,
            ),
            evaluated: Dictionary::new(
                "SELECT id, last_day FROM policy_evaluated WHERE digest = ?1",
                "UPDATE policy_evaluated SET last_day = ?2 WHERE id = ?1",
                1_024,
            ),
            fresh: HashMap::new(),
        }
    }

    /// Forgets every cache: after a rollback, or when rows were deleted.
    pub fn forget(&mut self) {
        self.names.forget();
        self.documents.forget();
        self.records.forget();
        self.published.forget();
        self.evaluated.forget();
        self.fresh.clear();
    }

    fn remember(&mut self, id: VerdictId, recorded: Recorded) {
        if self.fresh.len() >= MAX_FRESH {
            // They are found in the tables.
            self.fresh.clear();
        }
        self.fresh.insert(id, recorded);
    }

    fn name(&mut self, c: &Connection, name: &str, day: i32) -> rusqlite::Result<i64> {
        self.names.intern(c, name, day, |c| {
            c.prepare_cached("INSERT INTO name (name, last_day) VALUES (?1, ?2)")?
                .execute(params![name, day])
        })
    }

    fn optional_name(
        &mut self,
        c: &Connection,
        name: Option<&str>,
        day: i32,
    ) -> rusqlite::Result<Option<i64>> {
        name.map(|name| self.name(c, name, day)).transpose()
    }

    fn document(&mut self, c: &Connection, d: &Document, day: i32) -> rusqlite::Result<i64> {
        self.documents.intern(c, &d.digest, day, |c| {
            c.prepare_cached("INSERT INTO document (digest, last_day, text) VALUES (?1, ?2, ?3)")?
                .execute(params![d.digest, day, d.text])
        })
    }

    fn optional_document(
        &mut self,
        c: &Connection,
        document: Option<&Document>,
        day: i32,
    ) -> rusqlite::Result<Option<i64>> {
        document.map(|d| self.document(c, d, day)).transpose()
    }

    fn record(
        &mut self,
        c: &Connection,
        digest: &Digest,
        record: &Record,
        day: i32,
    ) -> rusqlite::Result<i64> {
        self.records
            .intern(c, digest, day, |c| insert_record(c, digest, record, day))
    }

    fn policy_published(
        &mut self,
        c: &Connection,
        digest: &Digest,
        policy: &PublishedPolicy,
        record: i64,
        day: i32,
    ) -> rusqlite::Result<(i64, i64)> {
        let domain = self.name(c, policy.domain.as_str(), day)?;
        let published = self.published.intern(c, digest, day, |c| {
            c.prepare_cached(
                "INSERT INTO policy_published (digest, last_day, domain, discovery_method, record)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![digest, day, domain, policy.method.as_str(), record])
        })?;
        Ok((published, domain))
    }

    fn policy_evaluated(
        &mut self,
        c: &Connection,
        e: &row::Evaluated,
        day: i32,
    ) -> rusqlite::Result<i64> {
        self.evaluated.intern(c, &e.digest, day, |c| {
            c.prepare_cached(INSERT_EVALUATED)?.execute(params![
                e.digest,
                day,
                e.dmarc,
                e.tag,
                e.selected,
                e.applied,
                e.dkim,
                e.spf,
                e.cause,
                e.published,
                e.disposition,
                e.action,
                e.reasons,
                e.weight
            ])
        })
    }
}

/// Verdicts remembered until they are confirmed: more than messages can be in hand.
const MAX_FRESH: usize = 4_096;

const INSERT_EVALUATED: &str =
    "INSERT INTO policy_evaluated (digest, last_day, dmarc, tag, selected, applied, dkim, spf, cause,
         published, disposition, action, reasons, weight)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

impl Dictionaries {
    /// The row that says of a released message what row `id` said of it held, with what the release
    /// changes.
    fn evaluated_as_released(
        &mut self,
        c: &Connection,
        id: i64,
        because: &PolicyOverride,
        day: i32,
    ) -> rusqlite::Result<i64> {
        let mut columns = c
            .prepare_cached(
                "SELECT dmarc, tag, selected, applied, dkim, spf, cause, published, disposition,
                     action, reasons, weight FROM policy_evaluated WHERE id = ?1",
            )?
            .query_row([id], |row| {
                let mut columns: [Option<String>; 12] = Default::default();
                for (at, column) in columns.iter_mut().enumerate() {
                    *column = row.get(at)?;
                }
                Ok(columns)
            })?;
        let [.., published, disposition, _, reasons, _] = &mut columns;
        let policy = published.as_deref().and_then(Policy::parse);
        let decided = shared::read_reasons(reasons.as_deref().unwrap_or("[]"))
            .map_err(|error| FromSqlConversionFailure(10, Type::Text, Box::new(error)))?;
        let reported = reasons_of_release(policy, &decided, because);
        *disposition = Some(Disposition::None.as_str().to_owned());
        *reasons = Some(shared::write_reasons(&reported));
        let texts = columns.each_ref().map(|c| c.as_deref().unwrap_or_default());
        let digest = shared::digest(&texts);
        self.evaluated.intern(c, &digest, day, |c| {
            let mut statement = c.prepare_cached(INSERT_EVALUATED)?;
            let fixed: [&dyn ToSql; 2] = [&digest, &day];
            let columns = columns.iter().map(|column| column as &dyn ToSql);
            statement.execute(params_from_iter(fixed.into_iter().chain(columns)))
        })
    }
}

fn insert_record(c: &Connection, digest: &Digest, r: &Record, day: i32) -> rusqlite::Result<usize> {
    c.prepare_cached(
        "INSERT INTO dmarc_record (digest, last_day, text, p, sp, np, adkim, aspf, psd, testing, fo,
             rua, ruf, usable, problems)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        digest,
        day,
        r.text,
        r.p.as_str(),
        r.sp.map(|p| p.as_str()),
        r.np.map(|p| p.as_str()),
        r.adkim.as_str(),
        r.aspf.as_str(),
        r.psd.as_str(),
        r.testing,
        r.fo,
        wire::write(&r.rua),
        wire::write(&r.ruf),
        r.usable,
        wire::write(&r.problems),
    ])
}

/// Stores a verdict and its first outcome, `answering`; false when it was there already, and stays as
/// it is.
pub(super) fn record(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    row: &Row,
) -> rusqlite::Result<bool> {
    let verdict = &row.verdict;
    let day = verdict.received.day().number();
    let mut policy_record = None;
    for (digest, record) in row.records.iter().zip(row::records(verdict)) {
        // The policy's own record comes last.
        policy_record = Some(dictionaries.record(c, digest, record, day)?);
    }
    let policy = verdict.evaluation.as_ref().and_then(|e| e.policy.as_ref());
    let published = match (policy, &row.policy_published, policy_record) {
        (Some(policy), Some(digest), Some(record)) => {
            Some(dictionaries.policy_published(c, digest, policy, record, day)?)
        }
        _ => None,
    };
    let evaluated = dictionaries.policy_evaluated(c, &row.policy_evaluated, day)?;
    let policy = (published.map(|(id, _)| id), evaluated);
    let Some(number) = insert_verdict(c, dictionaries, row, policy, day)? else {
        return Ok(false);
    };
    insert_detail(c, dictionaries, row, number, day)?;
    let answering = Outcome::new(
        OutcomeState::Answering,
        verdict.received,
        OutcomeSource::Reply,
    );
    let policy_domain = published.map(|(_, domain)| domain);
    insert_outcome(c, number, &answering, policy_domain, None)?;
    c.prepare_cached("INSERT INTO awaiting (verdict, state) VALUES (?1, ?2)")?
        .execute(params![number, OutcomeState::Answering.as_str()])?;
    let recorded = Recorded {
        number,
        policy_domain,
        evaluated,
    };
    dictionaries.remember(verdict.id, recorded);
    Ok(true)
}

/// The number of the new row; `None` when the verdict is there already.
fn insert_verdict(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    row: &Row,
    (published, evaluated): (Option<i64>, i64),
    day: i32,
) -> rusqlite::Result<Option<i64>> {
    let verdict = &row.verdict;
    let list_id = verdict.message.list_id.as_deref();
    let reverse_name = verdict.evidence.iprev.name.as_deref();
    let header_from = dictionaries.optional_name(c, row.header_from(), day)?;
    let envelope_from = dictionaries.optional_name(c, row.envelope_from(), day)?;
    let envelope_to = dictionaries.document(c, &row.envelope_to, day)?;
    let auth_results = dictionaries.document(c, &row.auth_results, day)?;
    let reverse_name = dictionaries.optional_name(c, reverse_name, day)?;
    let list_id = dictionaries.optional_name(c, list_id, day)?;
    let inserted = c
        .prepare_cached(
            "INSERT INTO verdict (id, received, queue_id, source_ip, header_from, envelope_from,
                 envelope_to, policy_published, policy_evaluated, auth_results, reverse_name, list_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            verdict.id.as_bytes(),
            verdict.received.micros(),
            verdict.envelope.queue_id,
            row.source_ip,
            header_from,
            envelope_from,
            envelope_to,
            published,
            evaluated,
            auth_results,
            reverse_name,
            list_id,
        ])?;
    Ok((inserted > 0).then(|| c.last_insert_rowid()))
}

fn insert_detail(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    row: &Row,
    number: i64,
    day: i32,
) -> rusqlite::Result<()> {
    let discovery = dictionaries.optional_document(c, row.discovery.as_ref(), day)?;
    let spf_record = dictionaries.optional_document(c, row.spf_record.as_ref(), day)?;
    let helo_record = dictionaries.optional_document(c, row.helo_record.as_ref(), day)?;
    c.prepare_cached(
        "INSERT INTO detail (verdict, version, discovery, spf_record, helo_record, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        number,
        wire::VERSION,
        discovery,
        spf_record,
        helo_record,
        row.document
    ])?;
    Ok(())
}

fn insert_outcome(
    c: &Connection,
    verdict: i64,
    outcome: &Outcome,
    policy_domain: Option<i64>,
    evaluated: Option<i64>,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO outcome (verdict, state, at, day, source, detail, policy_domain, who, evaluated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        verdict,
        outcome.state.as_str(),
        outcome.at.micros(),
        outcome.at.day().number(),
        outcome.source.as_str(),
        outcome.detail,
        policy_domain,
        outcome.by,
        evaluated,
    ])?;
    Ok(())
}

/// Moves a verdict's outcome on, if the move is legal.
pub(super) fn confirm(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    id: VerdictId,
    outcome: &Outcome,
) -> rusqlite::Result<Confirmed> {
    let found = match dictionaries.fresh.remove(&id) {
        Some(recorded) => Some((recorded, OutcomeState::Answering)),
        None => find(c, id)?,
    };
    let Some((recorded, from)) = found else {
        return Ok(Confirmed::UnknownVerdict);
    };
    let Recorded {
        number,
        policy_domain,
        evaluated,
    } = recorded;
    match from.check_move(outcome.state, outcome.source) {
        Ok(true) if is_left_to_another(c, id, outcome)? => return Ok(Confirmed::Unchanged),
        Ok(true) => {}
        Ok(false) => return Ok(Confirmed::Unchanged),
        Err(illegal) => return Ok(Confirmed::Illegal(illegal)),
    }
    let evaluated = match outcome.state {
        OutcomeState::Released => {
            let because = outcome.because.clone().unwrap_or_else(release_by_hand);
            let day = outcome.at.day().number();
            Some(dictionaries.evaluated_as_released(c, evaluated, &because, day)?)
        }
        OutcomeState::Answering
        | OutcomeState::Accepted
        | OutcomeState::Held
        | OutcomeState::Deleted
        | OutcomeState::Rejected
        | OutcomeState::Tempfailed
        | OutcomeState::RefusedLater
        | OutcomeState::Unknown => None,
    };
    insert_outcome(c, number, outcome, policy_domain, evaluated)?;
    match outcome.state {
        OutcomeState::Held => c
            .prepare_cached("INSERT OR REPLACE INTO awaiting (verdict, state) VALUES (?1, ?2)")?
            .execute(params![number, outcome.state.as_str()])?,
        OutcomeState::Answering
        | OutcomeState::Accepted
        | OutcomeState::Released
        | OutcomeState::Deleted
        | OutcomeState::Rejected
        | OutcomeState::Tempfailed
        | OutcomeState::RefusedLater
        | OutcomeState::Unknown => c
            .prepare_cached("DELETE FROM awaiting WHERE verdict = ?1")?
            .execute([number])?,
    };
    Ok(Confirmed::Moved)
}

/// The queue and the log show what an operator does as it is done; whoever does it tells it himself,
/// with his name and the reason.
fn is_left_to_another(c: &Connection, id: VerdictId, outcome: &Outcome) -> rusqlite::Result<bool> {
    let observed = matches!(outcome.source, OutcomeSource::Log | OutcomeSource::Queue);
    let ends_hold = matches!(
        outcome.state,
        OutcomeState::Released | OutcomeState::Deleted | OutcomeState::Unknown
    );
    Ok(observed && ends_hold && intent::is_intended(c, id)?)
}

/// A verdict that is not fresh, and where it stands, if that is a state known here.
fn find(c: &Connection, id: VerdictId) -> rusqlite::Result<Option<(Recorded, OutcomeState)>> {
    let found: Option<(Recorded, String)> = c
        .prepare_cached(
            "SELECT v.number, p.domain, v.policy_evaluated,
                 (SELECT state FROM outcome WHERE verdict = v.number ORDER BY seq DESC LIMIT 1)
             FROM verdict v LEFT JOIN policy_published p ON p.id = v.policy_published
             WHERE v.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            let recorded = Recorded {
                number: row.get(0)?,
                policy_domain: row.get(1)?,
                evaluated: row.get(2)?,
            };
            Ok((recorded, row.get(3)?))
        })
        .optional()?;
    Ok(found.and_then(|(recorded, state)| Some((recorded, OutcomeState::parse(&state)?))))
}

/// Numbers and ids of verdicts above `after` that stand at `state` and are not meant to stay there.
pub(super) fn awaiting(
    c: &Connection,
    state: OutcomeState,
    after: i64,
    at_most: u32,
) -> rusqlite::Result<Vec<(i64, VerdictId)>> {
    c.prepare_cached(
        "SELECT v.number, v.id FROM awaiting a JOIN verdict v ON v.number = a.verdict
         WHERE a.verdict > ?1 AND a.state = ?2 ORDER BY a.verdict LIMIT ?3",
    )?
    .query_map(params![after, state.as_str(), at_most], |row| {
        Ok((row.get(0)?, VerdictId::from_bytes(row.get(1)?)))
    })?
    .collect()
}

/// Adds to the count of a day and reason.
pub(super) fn add_skips(
    c: &Connection,
    day: UtcDay,
    reason: SkipReason,
    messages: u64,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO skip (day, reason, messages) VALUES (?1, ?2, ?3)
         ON CONFLICT (day, reason) DO UPDATE SET messages = messages + excluded.messages",
    )?
    .execute(params![day.number(), reason.as_str(), as_integer(messages)])?;
    Ok(())
}

/// How many pairs of domains a day holds: asked once, then counted.
#[derive(Default)]
pub(super) struct PairsOfDay(Option<(UtcDay, i64)>);

/// Adds to the count of a pair of domains, unless the day has no room for another pair.
pub(super) fn add_skip_pair(
    c: &Connection,
    pairs: &mut PairsOfDay,
    (day, author_domain, recipient_domain): (UtcDay, Option<&DomainName>, &DomainName),
    messages: u64,
) -> rusqlite::Result<()> {
    let author_domain = author_domain.map_or("", DomainName::as_str);
    let recipient_domain = recipient_domain.as_str();
    let pair = params![
        day.number(),
        author_domain,
        recipient_domain,
        as_integer(messages)
    ];
    let added = c
        .prepare_cached(
            "UPDATE skip_domain SET messages = messages + ?4
             WHERE day = ?1 AND author_domain = ?2 AND recipient_domain = ?3",
        )?
        .execute(pair)?;
    if added == 0 && pairs.make_room(c, day)? {
        c.prepare_cached(
            "INSERT INTO skip_domain (day, author_domain, recipient_domain, messages)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(pair)?;
    }
    Ok(())
}

impl PairsOfDay {
    /// Counts one more pair; false when the day has its full number.
    fn make_room(&mut self, c: &Connection, day: UtcDay) -> rusqlite::Result<bool> {
        let pairs = match self.0 {
            Some((counted, pairs)) if counted == day => pairs,
            _ => c
                .prepare_cached("SELECT count(*) FROM skip_domain WHERE day = ?1")?
                .query_row([day.number()], |row| row.get(0))?,
        };
        let room = pairs < MAX_PAIRS_PER_DAY;
        self.0 = Some((day, pairs + i64::from(room)));
        Ok(room)
    }

    /// Counts anew: after a rollback.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// Pairs of domains kept per day.
const MAX_PAIRS_PER_DAY: i64 = 20_000;

/// SQLite's integers are signed.
fn as_integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
