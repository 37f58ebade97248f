//! Changes by the operator: outcomes moved, exceptions added and removed, all of it or nothing.
//!
//! Owns the statements that write exceptions and their history. Runs in the writer's thread, each call in
//! a transaction of its own between the groups.

use super::write::{self, Confirmed, Dictionaries};
use super::{digest, intent};
use crate::policy::rules::{Rule, RuleKey, RuleTerms};
use crate::store::change::{
    Change, ChangeError, Changed, ExceptionId, MAX_EXCEPTIONS, NewException,
};
use crate::time::Timestamp;
use crate::verdict::VerdictId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// Why a transaction was not committed.
pub(super) enum Undone {
    Sqlite(rusqlite::Error),
    Refused(ChangeError),
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Makes all of these changes, or none.
pub(super) fn change(
    connection: &mut Connection,
    dictionaries: &mut Dictionaries,
    changes: &[Change],
) -> Result<Vec<Changed>, Undone> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed: Vec<Changed> = changes
        .iter()
        .map(|change| change_one(&transaction, dictionaries, change))
        .collect::<Result<_, _>>()?;
    if changed
        .iter()
        .any(|changed| matches!(changed, Changed::Added(_)))
    {
        check_room(&transaction)?;
    }
    transaction.commit()?;
    Ok(changed)
}

fn change_one(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    change: &Change,
) -> Result<Changed, Undone> {
    match change {
        Change::Outcome { verdict, outcome } => {
            match write::confirm(c, dictionaries, *verdict, outcome)? {
                Confirmed::Moved => Ok(Changed::Moved),
                Confirmed::Unchanged => Ok(Changed::Unchanged),
                Confirmed::Illegal(illegal) => {
                    let verdict = *verdict;
                    Err(Undone::Refused(ChangeError::Illegal { verdict, illegal }))
                }
                Confirmed::UnknownVerdict => {
                    Err(Undone::Refused(ChangeError::UnknownVerdict(*verdict)))
                }
            }
        }
        Change::Intend(intended) => {
            intent::intend(c, intended)?;
            Ok(Changed::Noted)
        }
        Change::StrikeOut { verdict } => Ok(match intent::strike_out(c, *verdict)? {
            true => Changed::Noted,
            false => Changed::Unchanged,
        }),
        Change::Digest(mark) => {
            digest::keep(c, *mark)?;
            Ok(Changed::Noted)
        }
        Change::Announce { verdict, at } => Ok(match digest::announce(c, *verdict, *at)? {
            true => Changed::Noted,
            false => Changed::Unchanged,
        }),
        Change::AddException(new) => add(c, new),
        Change::RemoveException { id, at, who, why } => remove(c, *id, (*at, who, why.as_deref())),
    }
}

/// Refuses more exceptions than there may be: once for all that were added, since counting takes a while.
fn check_room(c: &Connection) -> Result<(), Undone> {
    let count: u32 = c
        .prepare_cached("SELECT count(*) FROM exception WHERE removed IS NULL")?
        .query_row([], |row| row.get(0))?;
    if count as usize > MAX_EXCEPTIONS {
        return Err(Undone::Refused(ChangeError::NoRoom));
    }
    Ok(())
}

/// An exception in force.
struct InForce {
    id: ExceptionId,
    rule: Rule,
    from: Option<VerdictId>,
}

fn add(c: &Connection, new: &NewException) -> Result<Changed, Undone> {
    let rule = &new.rule;
    let event = (new.at, new.who.as_str(), new.why.as_deref());
    if let Some(known) = in_force(c, rule, new.at)? {
        if new.from.is_some() && known.from == new.from {
            return Ok(Changed::AlreadyThere(known.id));
        }
        return alter(c, known, new);
    }
    c.prepare_cached(
        "INSERT INTO exception (same, rule, created, expires, from_verdict)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        RuleKey::config(rule).as_str(),
        rule.to_json(),
        rule.created.unwrap_or(new.at).micros(),
        rule.expires.map(Timestamp::micros),
        new.from.as_ref().map(VerdictId::as_bytes),
    ])?;
    let id = ExceptionId(c.last_insert_rowid());
    note(c, id, "added", event)?;
    Ok(Changed::Added(id))
}

/// The rule that decides the same and is in force at `now`.
fn in_force(c: &Connection, rule: &Rule, now: Timestamp) -> Result<Option<InForce>, Undone> {
    let mut statement = c.prepare_cached(
        "SELECT id, rule, from_verdict FROM exception
         WHERE same = ?1 AND removed IS NULL AND (expires IS NULL OR expires > ?2) ORDER BY id",
    )?;
    let mut rows = statement.query(params![RuleKey::config(rule).as_str(), now.micros()])?;
    while let Some(row) = rows.next()? {
        // One that only a later version can read decides something else.
        let Ok(known) = Rule::parse_json(&row.get::<_, String>(1)?) else {
            continue;
        };
        if decides_the_same(&known, rule) {
            return Ok(Some(InForce {
                id: ExceptionId(row.get(0)?),
                rule: known,
                from: row
                    .get::<_, Option<[u8; 16]>>(2)?
                    .map(VerdictId::from_bytes),
            }));
        }
    }
    Ok(None)
}

/// The key is a short digest.
fn decides_the_same(one: &Rule, other: &Rule) -> bool {
    one.author == other.author && one.effect == other.effect && one.recipients == other.recipients
}

fn alter(c: &Connection, known: InForce, new: &NewException) -> Result<Changed, Undone> {
    let later = match (known.rule.expires, new.rule.expires) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (None, _) | (_, None) => None,
    };
    let altered = Rule::new(RuleTerms {
        created: known.rule.created,
        // Who writes a rule down says when it ends; who releases one more message means no harm.
        expires: match new.from {
            None => new.rule.expires,
            Some(_) => later,
        },
        ..new.rule.terms().clone()
    });
    let Some(altered) = altered.ok().filter(|altered| *altered != known.rule) else {
        return Ok(Changed::AlreadyThere(known.id));
    };
    c.prepare_cached("UPDATE exception SET rule = ?2, expires = ?3 WHERE id = ?1")?
        .execute(params![
            known.id.0,
            altered.to_json(),
            altered.expires.map(Timestamp::micros)
        ])?;
    let event = (new.at, new.who.as_str(), new.why.as_deref());
    note(c, known.id, "changed", event)?;
    Ok(Changed::Altered(known.id))
}

fn remove(
    c: &Connection,
    id: ExceptionId,
    event: (Timestamp, &str, Option<&str>),
) -> Result<Changed, Undone> {
    let removed: Option<Option<i64>> = c
        .prepare_cached("SELECT removed FROM exception WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    match removed {
        None => Err(Undone::Refused(ChangeError::UnknownException(id))),
        Some(Some(_)) => Ok(Changed::Unchanged),
        Some(None) => {
            c.prepare_cached("UPDATE exception SET removed = ?2 WHERE id = ?1")?
                .execute(params![id.0, event.0.micros()])?;
            note(c, id, "removed", event)?;
            Ok(Changed::Removed)
        }
    }
}

fn note(
    c: &Connection,
    id: ExceptionId,
    what: &str,
    (at, who, why): (Timestamp, &str, Option<&str>),
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO exception_event (exception, at, what, who, why) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![id.0, at.micros(), what, who, why])?;
    Ok(())
}
