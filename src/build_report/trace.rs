//! Where a message went: the report that counts it, or why there is none.

use super::BuildError;
use crate::report::aggregate::NormalisedPolicy;
use crate::store::{CameTo, Include, KeptReport, Numbered, Reader, Reports};
use crate::time::UtcDay;
use crate::verdict::Verdict;

/// What reports say of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// This one counts it.
    Reported(Box<KeptReport>),
    /// Its domain's day got no report, for that reason.
    NotReported(UtcDay, CameTo),
    /// It counts for that day, of which no report has been built.
    NotYet(UtcDay),
    /// It is in no report, whatever comes.
    Never(Unreported),
}

/// Why a message is in no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreported {
    /// No policy was found, so nobody asked for reports.
    NoPolicy,
    /// A trusted relay did not name the client, and every row names one.
    NoClient,
    /// What became of it is not among what is reported.
    Outcome,
}

/// Finds the report that counts a message; `include` as the settings have it, for days not yet built.
pub fn trace(
    reader: &Reader,
    reports: Option<&Reports>,
    verdict: &Verdict,
    include: Include,
) -> Result<Traced, BuildError> {
    let evaluation = verdict.evaluation.as_ref();
    let Some(policy) = evaluation.and_then(|e| e.policy.as_ref()) else {
        return Ok(Traced::Never(Unreported::NoPolicy));
    };
    if verdict.envelope.client.is_none() {
        return Ok(Traced::Never(Unreported::NoClient));
    }
    let outcomes = reader.numbered_outcomes(verdict.id)?;
    for outcome in &outcomes {
        let Some(reports) = reports else { break };
        let (day, domain, seq) = (outcome.day, &policy.domain, outcome.seq);
        let covered = reports.covered(day, domain)?;
        let holding = covered
            .iter()
            .find(|covered| covered.range.after < seq && seq <= covered.range.up_to);
        let Some(covered) = holding else { continue };
        if !counts(outcome, &outcomes, covered.include, covered.range.up_to) {
            continue;
        }
        let normalised = NormalisedPolicy::of(&policy.record, policy.method);
        let mut found = reports.find_by_outcome(day, domain, seq)?;
        // Policies beyond those that get reports are counted under the last.
        let own = found.iter().position(|r| r.head.policy == normalised);
        let place = own.unwrap_or(found.len().saturating_sub(1));
        return Ok(if place < found.len() {
            Traced::Reported(Box::new(found.swap_remove(place)))
        } else {
            Traced::NotReported(day, covered.came_to)
        });
    }
    let waits = outcomes
        .iter()
        .find(|outcome| counts(outcome, &outcomes, include, i64::MAX));
    Ok(match waits {
        Some(outcome) => Traced::NotYet(outcome.day),
        None => Traced::Never(Unreported::Outcome),
    })
}

/// Whether a message counts by this of its outcomes: the first that is taken in, if the last known
/// then is taken in too.
fn counts(outcome: &Numbered, outcomes: &[Numbered], include: Include, up_to: i64) -> bool {
    let taken_in = |other: &&Numbered| include.states().contains(&other.state);
    let first = outcomes.iter().find(taken_in);
    let last = outcomes.iter().rfind(|other| other.seq <= up_to);
    first == Some(outcome) && last.as_ref().is_some_and(taken_in)
}
