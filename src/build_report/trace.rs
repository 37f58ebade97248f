//! Where a message went: the report that counts it, or why there is none.

use super::BuildError;
use crate::domain::DomainName;
use crate::report::aggregate::NormalisedPolicy;
use crate::store::{
    Building, CameTo, Covered, Include, KeptReport, Numbered, Range, Reader, Reports,
};
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
    if let Some(reports) = reports
        && let Some((covered, seq)) = covering(reports, &policy.domain, &outcomes)?
    {
        let day = covered.day;
        let normalised = NormalisedPolicy::of(&policy.record, policy.method);
        let mut found = reports.find_by_outcome(day, &policy.domain, seq)?;
        // Policies beyond those that get reports are counted under the last.
        let own = found.iter().position(|r| r.head.policy == normalised);
        let place = own.unwrap_or(found.len().saturating_sub(1));
        return Ok(if place < found.len() {
            Traced::Reported(Box::new(found.swap_remove(place)))
        } else {
            Traced::NotReported(day, covered.came_to)
        });
    }
    waiting(reports, &policy.domain, &outcomes, include)
}

/// The range that counts a message, and the outcome it counts by: the first that was built of those which
/// could.
fn covering(
    reports: &Reports,
    domain: &DomainName,
    outcomes: &[Numbered],
) -> Result<Option<(Covered, i64)>, BuildError> {
    let mut days: Vec<UtcDay> = outcomes.iter().map(|outcome| outcome.day).collect();
    days.sort();
    days.dedup();
    let mut first: Option<(Covered, i64)> = None;
    for day in days {
        for covered in reports.covered(day, domain)? {
            let is_earlier = first
                .as_ref()
                .is_none_or(|(first, _)| covered.range.up_to < first.range.up_to);
            if let Some(seq) = covered.building().counts(outcomes)
                && is_earlier
            {
                first = Some((covered, seq));
            }
        }
    }
    Ok(first)
}

/// Of a message that no range has counted: the first day that will count it, as things stand.
fn waiting(
    reports: Option<&Reports>,
    domain: &DomainName,
    outcomes: &[Numbered],
    include: Include,
) -> Result<Traced, BuildError> {
    for outcome in outcomes {
        let day = outcome.day;
        let covered = match reports {
            Some(reports) => reports.covered(day, domain)?,
            None => Vec::new(),
        };
        let after = covered.last().map_or(0, |last| last.range.up_to);
        let next = Building {
            day,
            range: Range {
                after,
                up_to: i64::MAX,
            },
            include,
        };
        if next.counts(outcomes).is_some() {
            return Ok(Traced::NotYet(day));
        }
    }
    Ok(Traced::Never(Unreported::Outcome))
}
