//! Moves of outcomes by what was observed, into the store.
//!
//! Owns that one which has become impossible meanwhile doesn't keep the others back.

use crate::outcome::Outcome;
use crate::store::{Change, ChangeError, Changed, Store};
use crate::verdict::VerdictId;
use tracing::debug;

/// All at once, at most `MAX_CHANGES`; where one of them has become impossible meanwhile, one by one. Tells each that
/// was made, and how many they were.
pub async fn make_moves(
    store: &Store,
    moves: &[(VerdictId, Outcome)],
    tell: fn(VerdictId, &Outcome),
) -> Result<u64, ChangeError> {
    let change = |(verdict, outcome): &(VerdictId, Outcome)| Change::Outcome {
        verdict: *verdict,
        outcome: outcome.clone(),
    };
    let all: Vec<Change> = moves.iter().map(change).collect();
    if all.is_empty() {
        return Ok(0);
    }
    let mut done = Vec::new();
    match store.change(all).await {
        Ok(changed) => done.extend(moves.iter().zip(changed)),
        Err(_) => {
            for one in moves {
                match store.change(vec![change(one)]).await {
                    Ok(changed) => done.extend(changed.into_iter().map(|c| (one, c))),
                    Err(error @ ChangeError::Store(_)) => return Err(error),
                    Err(late) => debug!(%late, "what was observed comes too late"),
                }
            }
        }
    }
    done.retain(|(_, changed)| *changed == Changed::Moved);
    for ((verdict, outcome), _) in &done {
        tell(*verdict, outcome);
    }
    Ok(done.len() as u64)
}
