//! Verdict headers that come back: each is used once, durably, by whoever comes first.
//!
//! Owns the statements of the table `returned`, and which states a message may come back from. Each group
//! of them is a transaction of its own, which waits for nothing but the disk.

use super::write::{self, Dictionaries};
use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::store::error::RecordError;
use crate::store::queue::Returning;
use crate::store::{CameBack, TakenBack};
use crate::verdict::VerdictId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::Path;

/// Uses these headers and tells everybody who waits.
pub(super) fn take_back(
    connection: &mut Connection,
    dictionaries: &mut Dictionaries,
    returning: Vec<Returning>,
    path: &Path,
) {
    if returning.is_empty() {
        return;
    }
    let used = use_all(connection, dictionaries, &returning);
    if used.is_err() {
        dictionaries.forget();
    }
    let mut used = used.map(Vec::into_iter);
    for returning in returning {
        let answer = match &mut used {
            Ok(used) => used.next().ok_or(RecordError::Closed),
            Err(error) => Err(RecordError::new(path, error)),
        };
        // Whoever waited may have gone.
        _ = returning.done.send(answer);
    }
}

fn use_all(
    connection: &mut Connection,
    dictionaries: &mut Dictionaries,
    returning: &[Returning],
) -> rusqlite::Result<Vec<TakenBack>> {
    let c = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let used: rusqlite::Result<Vec<TakenBack>> = returning
        .iter()
        .map(|r| use_one(&c, dictionaries, r.id, &r.back))
        .collect();
    let used = used?;
    c.commit()?;
    Ok(used)
}

fn use_one(
    c: &Connection,
    dictionaries: &mut Dictionaries,
    id: VerdictId,
    back: &CameBack,
) -> rusqlite::Result<TakenBack> {
    let found: Option<(i64, String, bool)> = c
        .prepare_cached(
            "SELECT number,
                 (SELECT state FROM outcome WHERE verdict = number ORDER BY seq DESC LIMIT 1),
                 number IN (SELECT verdict FROM returned)
             FROM verdict WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    let Some((number, state, used)) = found else {
        return Ok(TakenBack::UnknownVerdict);
    };
    if used {
        return Ok(TakenBack::UsedBefore);
    }
    let Some(state) = OutcomeState::parse(&state) else {
        return Ok(TakenBack::UnknownVerdict);
    };
    match state {
        // With its header on it, the message was held: whoever let it go didn't tell.
        OutcomeState::Held | OutcomeState::Unknown => {
            let as_id = back.queue_id.as_deref();
            let released = Outcome {
                detail: as_id.map(|id| format!("came back as {id}")),
                ..Outcome::new(OutcomeState::Released, back.at, OutcomeSource::Reinjected)
            };
            write::confirm(c, dictionaries, id, &released)?;
        }
        OutcomeState::Accepted | OutcomeState::Released => {}
        OutcomeState::Answering
        | OutcomeState::Deleted
        | OutcomeState::Rejected
        | OutcomeState::Tempfailed
        | OutcomeState::RefusedLater => return Ok(TakenBack::NotOut(state)),
    }
    c.prepare_cached("INSERT INTO returned (verdict, at, queue_id) VALUES (?1, ?2, ?3)")?
        .execute(params![number, back.at.micros(), back.queue_id])?;
    Ok(TakenBack::Taken)
}
