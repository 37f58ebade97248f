//! Destinations that DNS said nothing about when their report was built: asked again, side by side and apart
//! from the mail, so that nobody's slow DNS holds up mail that is ready.
//!
//! Owns how many are asked at a time and how long one may take. RFC 9990 §4 is `report::destination`'s.

use super::delay::{RETRY, later};
use super::destinations::{Asker, Verified, ask, conclude};
use super::sender::SendSettings;
use crate::dns::Resolver;
use crate::domain::DomainName;
use crate::report::destination;
use crate::resolver::Deadline;
use crate::store::{Attempt, Checked, OutboxEntry, Reports, ReportsError};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

/// Entries that are being verified.
pub(super) struct Verifying(JoinSet<Answered>);

/// What was found out about an entry.
pub(super) struct Answered {
    entry: OutboxEntry,
    found: Result<Found, ReportsError>,
}

enum Found {
    /// Of a report about this domain.
    Answer(DomainName, destination::Destination),
    /// The report is not kept any more, or the URI is none.
    Nothing(&'static str),
}

impl Verifying {
    pub fn new() -> Self {
        Self(JoinSet::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many more may be asked.
    pub fn room(&self) -> usize {
        SIDE_BY_SIDE.saturating_sub(self.0.len())
    }

    /// Asks, in a task of its own.
    pub fn ask<R: Resolver + 'static>(
        &mut self,
        entry: OutboxEntry,
        settings: &SendSettings,
        (reports, resolver): (&Reports, &Arc<R>),
        now: Timestamp,
    ) {
        let settings = settings.clone();
        let (reports, resolver) = (reports.clone(), resolver.clone());
        self.0.spawn(async move {
            let found = find_out(&entry, &settings, (reports, resolver), now).await;
            Answered { entry, found }
        });
    }

    /// What is answered by now; waits for the first of it for `patience` at most. Err: a task died, ours.
    pub async fn answered(&mut self, patience: Duration) -> Result<Vec<Answered>, JoinError> {
        let mut answered = Vec::new();
        if !patience.is_zero()
            && let Ok(Some(first)) = timeout(patience, self.0.join_next()).await
        {
            answered.push(first?);
        }
        while let Some(next) = self.0.try_join_next() {
            answered.push(next?);
        }
        Ok(answered)
    }
}

async fn find_out<R: Resolver + 'static>(
    entry: &OutboxEntry,
    settings: &SendSettings,
    (reports, resolver): (Reports, Arc<R>),
    now: Timestamp,
) -> Result<Found, ReportsError> {
    let number = entry.report;
    let report = tokio::task::spawn_blocking(move || reports.find(number)).await;
    let report = report.map_err(|error| ReportsError::Damaged(error.to_string()))??;
    let Some(report) = report else {
        return Ok(Found::Nothing("the report is not kept any more"));
    };
    let asker = Asker {
        report_domain: &settings.report_domain,
        max_destinations: settings.max_destinations,
        now,
    };
    let (domain, method) = (report.head.policy_domain, report.head.policy.method);
    let resolver = Deadline::new(resolver, Instant::now() + LIMIT);
    let found = ask(&entry.uri, &domain, method, asker, &resolver).await;
    Ok(match found {
        Some(found) => Found::Answer(domain, found),
        None => Found::Nothing("not a destination"),
    })
}

/// Writes down what was answered, all of it in one transaction. Blocks.
pub(super) fn write(
    answered: Vec<Answered>,
    settings: &SendSettings,
    reports: &Reports,
    now: Timestamp,
) -> Result<Vec<(OutboxEntry, Attempt)>, ReportsError> {
    let mut attempts = Vec::with_capacity(answered.len());
    let mut checked: Vec<Checked> = Vec::new();
    for Answered { entry, found } in answered {
        let verified = match found {
            Ok(Found::Answer(domain, found)) => {
                let (verified, check) = conclude(found, &domain, reports, now)?;
                checked.extend(check);
                verified
            }
            Ok(Found::Nothing(reason)) => Verified::No(reason.to_owned()),
            Err(error) => Verified::Later(error.to_string()),
        };
        let attempt = match verified {
            Verified::Yes(addresses) => Attempt::Verified {
                addresses,
                most: settings.max_destinations,
                at: now,
            },
            Verified::No(answer) => Attempt::Refused { answer },
            Verified::Later(answer) => deferred(&entry, answer, settings, now),
        };
        attempts.push((entry, attempt));
    }
    reports.record_attempts(&attempts, &checked, now)?;
    Ok(attempts)
}

/// Tried again later, unless it was tried for `retry_for`; after a long downtime at least `MIN_ATTEMPTS`
/// times.
pub(super) fn deferred(
    entry: &OutboxEntry,
    answer: String,
    settings: &SendSettings,
    now: Timestamp,
) -> Attempt {
    let end = later(entry.since, settings.retry_for);
    if now >= end && entry.tries >= MIN_ATTEMPTS {
        return Attempt::Expired { answer };
    }
    Attempt::Deferred {
        next_try: RETRY.after(entry.tries, now),
        answer,
    }
}

/// Destinations that are asked about at a time.
const SIDE_BY_SIDE: usize = 32;
/// How long the look-ups for one may take; after that it is asked again later.
const LIMIT: Duration = Duration::from_secs(3);
/// Tries before a report may expire.
const MIN_ATTEMPTS: u32 = 3;
