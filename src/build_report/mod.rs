//! Building a day's aggregate reports: from what the store has to the outbox.
//!
//! Owns the order of it: claim → rows, streamed → destinations → XML and gzip, spooled in pieces → one
//! transaction that keeps the reports, fills the outbox and closes the claim. A crash between any two
//! steps repeats the step and changes nothing. Domains go by the hundred, so that a hundred small
//! reports cost two transactions; one domain's trouble is told, and the others go on.
//!
//! Blocks: for a thread of its own. Where reports may go is told by [`Destinations`]. RFC 9990 §3.
//!
//! - `ahead`: destinations, looked up meanwhile · `write`: rows to a kept report · `preview`: what it would be · `trace`: where a message went

mod ahead;
mod preview;
mod trace;
mod write;

pub use preview::{Planned, plan, preview};
pub use trace::{Traced, Unreported, trace};

use crate::auth::dmarc::DiscoveryMethod;
use crate::build_report::ahead::Lookups;
use crate::domain::DomainName;
use crate::report::aggregate::{Format, Reporter};
use crate::report::period::Place;
use crate::store::{
    Building, CameTo, Claimed, Covered, DaySummary, Destination, Finished, Folded, Include, LEASE,
    LastRecord, Lease, ReadError, Reader, Reports, ReportsError, Selection, Standing, Wanted,
    give_way,
};
use crate::time::{Clock, Timestamp, UtcDay};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use tokio::runtime::Handle;

/// What of `[report]` and `identity` building needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    pub reporter: Reporter,
    pub format: Format,
    pub include: Include,
    /// Whether rows tell the recipients' domain.
    pub envelope_to: bool,
    /// Fewer messages of a domain's day than this make no report.
    pub min_messages: u64,
    /// These and what is below them get no reports.
    pub skip_domains: Vec<DomainName>,
    /// Unless empty, only these and what is below them get reports.
    pub only_domains: Vec<DomainName>,
    /// Where days too large for the memory are sorted: `store.path`.
    pub spool: PathBuf,
}

/// A domain whose destinations are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub policy_domain: DomainName,
    /// The last record seen that day.
    pub record: LastRecord,
    pub method: DiscoveryMethod,
    /// The domain's among those of the day.
    pub place: Place,
}

/// Says where reports go. Asked for many domains side by side, ahead of their turn, from another thread.
pub trait Destinations: Sync {
    /// The destinations of a domain, at most so many as its record has. Empty: its record asks for none
    /// any more. Must end in some seconds.
    fn of(&self, asked: &Asked) -> impl Future<Output = Vec<Destination>> + Send;
}

/// What building a day came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Built {
    /// Domains with something new.
    pub domains: u64,
    pub reports: u64,
    pub rows: u64,
    /// In the reports.
    pub messages: u64,
    /// For want of a client address.
    pub left_out: u64,
    /// Domains with mail that gets no report: see [`Reports::not_reported`].
    pub dropped: u64,
    /// Domains that somebody else builds, or did meanwhile.
    pub elsewhere: u64,
    /// Domains that could not be built; the log says why.
    pub failed: u64,
}

/// How far building a day has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Domains done with.
    pub done: u64,
    pub domains: u64,
}

/// Why a day's reports cannot be built. What was kept before stays.
#[derive(Debug)]
pub enum BuildError {
    Read(ReadError),
    Reports(ReportsError),
    /// A report could not be written, and it was not the store's fault: ours.
    Write(std::io::Error),
}

/// Everything a build needs besides the day.
pub struct Builder<'a, D> {
    pub settings: &'a BuildSettings,
    pub reader: &'a Reader,
    pub reports: &'a Reports,
    pub destinations: &'a D,
    /// Where the destinations' look-ups run.
    pub runtime: &'a Handle,
    pub clock: &'a dyn Clock,
}

/// Looks through the outcomes that came since the last look, for days that have something to report, and notes them.
pub fn look(reader: &Reader, reports: &Reports, today: UtcDay) -> Result<(), BuildError> {
    let looked_to = reports.looked_to()?;
    days_since(reader, looked_to, today, |days, until| {
        Ok(reports.note_days(days, until)?)
    })
}

/// Hands over the days of the outcomes that came after `looked_to`, some outcomes at a time, each with the last number
/// that was looked at. When there was no look before, days more than a week before `today` are left alone.
pub fn days_since(
    reader: &Reader,
    looked_to: Option<i64>,
    today: UtcDay,
    mut found: impl FnMut(&[(UtcDay, i64)], i64) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let up_to = reader.last_outcome()?;
    let since = today.number().saturating_sub(FIRST_DAYS);
    // Above the last number: the outcomes begin anew, alignd.db is another one.
    let mut after = looked_to.filter(|looked| *looked <= up_to).unwrap_or(0);
    while after < up_to {
        let until = after.saturating_add(LOOK).min(up_to);
        let mut days = reader.days_between(after, until)?;
        days.retain(|(day, _)| looked_to.is_some() || day.number() >= since);
        found(&days, until)?;
        after = until;
    }
    Ok(())
}

impl<D: Destinations> Builder<'_, D> {
    /// Builds what is not covered of a day. The day must be over. `progress` is told once it is folded and
    /// after every batch.
    pub fn build_day(
        &self,
        day: UtcDay,
        mut progress: impl FnMut(Progress),
    ) -> Result<Built, BuildError> {
        let covered = self.reports.covered_to(day)?;
        let pending = self.reader.pending(day, &covered)?;
        drop(covered);
        let selection = selection(self.settings);
        let covered_by = covered_by(Some(self.reports));
        let spool = &self.settings.spool;
        let mut folded = self.reader.fold(&pending, selection, &covered_by, spool)?;
        let domains = folded.domains().to_vec();
        let mut built = Built {
            domains: domains.len() as u64,
            ..Built::default()
        };
        progress(Progress {
            done: 0,
            domains: built.domains,
        });
        ahead::looking_ahead(self, &domains, |mut lookups| {
            let mut rest = domains.as_slice();
            while !rest.is_empty() {
                let (batch, others) = rest.split_at(batch_of(rest));
                rest = others;
                let sources = (&mut folded, &mut lookups);
                self.build_batch(day, pending.up_to, batch, sources, &mut built)?;
                progress(Progress {
                    done: built.domains - others.len() as u64,
                    domains: built.domains,
                });
            }
            Ok::<(), BuildError>(())
        })?;
        if built.elsewhere == 0 && built.failed == 0 {
            self.reports.close_day(day, pending.up_to)?;
        }
        self.reports.sync()?;
        Ok(built)
    }

    fn build_batch(
        &self,
        day: UtcDay,
        up_to: i64,
        batch: &[DaySummary],
        sources: (&mut Folded<'_>, &mut Lookups<'_>),
        built: &mut Built,
    ) -> Result<(), BuildError> {
        let wanted: Vec<Wanted> = batch.iter().map(DaySummary::wanted).collect();
        let now = self.clock.now();
        let claimed = self.reports.claim(day, &wanted, now, lease_end(now))?;
        let claimed: Vec<(&DaySummary, Option<Lease>)> = batch
            .iter()
            .zip(claimed)
            .map(|(summary, claimed)| match claimed {
                Claimed::Lease(lease) => (summary, Some(lease)),
                Claimed::Taken(_) | Claimed::Covered => (summary, None),
            })
            .collect();
        let leases = claimed.iter().filter_map(|(_, lease)| lease.clone());
        let leases: Vec<Lease> = leases.collect();
        let result = self.build_claimed(up_to, claimed, sources, built);
        if result.is_err() {
            // What is kept needs none of them any more; a failure here changes nothing but the wait.
            _ = self.reports.give_back(&leases);
        }
        result
    }

    fn build_claimed(
        &self,
        up_to: i64,
        claimed: Vec<(&DaySummary, Option<Lease>)>,
        (folded, lookups): (&mut Folded<'_>, &mut Lookups<'_>),
        built: &mut Built,
    ) -> Result<(), BuildError> {
        let mut batch = Batch::default();
        for (summary, lease) in claimed {
            give_way();
            // Whether or not it is ours to build, its turn has come.
            let found = match came_to(self.settings, summary) {
                Some(dropped) => Ok((dropped, Vec::new())),
                None => lookups.next(self).map(|found| match found {
                    some if some.iter().any(is_usable) => (CameTo::Reported, some),
                    _ => (CameTo::NoDestination, Vec::new()),
                }),
            };
            let Some(lease) = lease else {
                built.elsewhere += 1;
                continue;
            };
            let finished = found.and_then(|(came_to, destinations)| {
                let finished = Finished {
                    lease,
                    up_to,
                    came_to,
                    include: self.settings.include,
                    messages: summary.messages,
                    left_out: summary.left_out,
                    reports: Vec::new(),
                    destinations,
                };
                self.finish(summary, finished, folded)
            });
            match finished {
                Ok(finished) => batch.add(finished),
                Err(error) => self.pass_over(summary, error, built)?,
            }
            if batch.is_full() {
                batch.keep(self, built)?;
            }
        }
        batch.keep(self, built)
    }

    /// Writes the reports of a domain that gets some.
    fn finish(
        &self,
        summary: &DaySummary,
        mut finished: Finished,
        folded: &mut Folded<'_>,
    ) -> Result<Finished, BuildError> {
        if finished.came_to == CameTo::Reported {
            finished.reports = write::reports(self, summary, &finished.lease, folded)?;
        }
        Ok(finished)
    }

    /// One domain's trouble is its own, the disk's is everybody's.
    fn pass_over(
        &self,
        summary: &DaySummary,
        error: BuildError,
        built: &mut Built,
    ) -> Result<(), BuildError> {
        match error {
            BuildError::Reports(ReportsError::Fenced) => built.elsewhere += 1,
            BuildError::Read(ReadError::Damaged(_)) => {
                built.failed += 1;
                let domain = &summary.policy_domain;
                tracing::error!(%domain, %error, "no report could be built");
            }
            BuildError::Read(
                ReadError::Spool(_) | ReadError::Reports(_) | ReadError::Database { .. },
            )
            | BuildError::Reports(
                ReportsError::DiskFull(_)
                | ReportsError::Busy(_)
                | ReportsError::Damaged(_)
                | ReportsError::Database { .. },
            )
            | BuildError::Write(_) => return Err(error),
        }
        Ok(())
    }
}

/// What is kept in one transaction.
#[derive(Default)]
struct Batch {
    finished: Vec<Finished>,
    octets: usize,
}

impl Batch {
    fn add(&mut self, finished: Finished) {
        let octets = finished.reports.iter().map(|new| new.last_piece.len());
        self.octets += octets.sum::<usize>();
        self.finished.push(finished);
    }

    fn is_full(&self) -> bool {
        self.octets >= BATCH_OCTETS
    }

    fn keep<D>(&mut self, builder: &Builder<'_, D>, built: &mut Built) -> Result<(), BuildError> {
        let finished = std::mem::take(&mut self.finished);
        self.octets = 0;
        let now = builder.clock.now();
        let kept = builder.reports.keep(&finished, now)?;
        for (finished, kept) in finished.iter().zip(kept) {
            if kept {
                count(built, finished);
            } else {
                built.elsewhere += 1;
            }
        }
        Ok(())
    }
}

fn count(built: &mut Built, finished: &Finished) {
    built.left_out += finished.left_out;
    match finished.came_to {
        CameTo::Reported => {}
        CameTo::Nothing => return,
        CameTo::IncludedOnly | CameTo::Few | CameTo::Skipped | CameTo::NoDestination => {
            built.dropped += 1;
            return;
        }
    }
    metrics::counter!("alignd_reports_built_total").increment(finished.reports.len() as u64);
    for report in &finished.reports {
        built.reports += 1;
        built.rows += report.rows;
        built.messages += report.messages;
        tracing::info!(
            report = %report.head.id,
            domain = %report.head.policy_domain,
            day = %report.head.day,
            messages = report.messages,
            rows = report.rows,
            "aggregate report built"
        );
    }
}

/// Why a domain's day gets no report; `None`: it gets one, if it has a destination.
fn came_to(settings: &BuildSettings, summary: &DaySummary) -> Option<CameTo> {
    let domain = &summary.policy_domain;
    let is_of = |domains: &[DomainName]| domains.iter().any(|other| domain.is_within(other));
    let only = !settings.only_domains.is_empty();
    if summary.messages == 0 {
        Some(CameTo::Nothing)
    } else if is_of(&settings.skip_domains) || only && !is_of(&settings.only_domains) {
        Some(CameTo::Skipped)
    } else if !summary.triggers {
        Some(CameTo::IncludedOnly)
    } else if summary.messages < settings.min_messages && !summary.reported {
        Some(CameTo::Few)
    } else {
        None
    }
}

fn is_usable(destination: &Destination) -> bool {
    match destination.standing {
        Standing::ToVerify(_) | Standing::Verified(_) => destination.address.is_some(),
        Standing::Refused(_) => false,
    }
}

fn selection(settings: &BuildSettings) -> Selection {
    Selection {
        include: settings.include,
        envelope_to: settings.envelope_to,
    }
}

/// How many domains go together: so many that they don't take long.
fn batch_of(domains: &[DaySummary]) -> usize {
    let mut messages = 0_u64;
    let fits = domains.iter().take(BATCH).take_while(|summary| {
        messages = messages.saturating_add(summary.messages);
        messages <= BATCH_MESSAGES
    });
    fits.count().max(1)
}

/// Asks which ranges of a domain's day are covered; without `reports.db` none are.
fn covered_by(
    reports: Option<&Reports>,
) -> impl Fn(UtcDay, &DomainName) -> Result<Vec<Building>, ReadError> {
    move |day, domain| {
        let Some(reports) = reports else {
            return Ok(Vec::new());
        };
        let covered = reports.covered(day, domain).map_err(ReadError::Reports)?;
        Ok(covered.iter().map(Covered::building).collect())
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    now.plus_micros(i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX))
}

/// Domains claimed at a time.
const BATCH: usize = 200;

/// Their messages: a batch must end long before its leases do.
const BATCH_MESSAGES: u64 = 100_000;

/// Octets kept in one transaction: some 40 small reports, so that writing their pages takes the processor for a short
/// time only.
const BATCH_OCTETS: usize = 48 << 10;

/// Outcomes looked at in one read.
const LOOK: i64 = 100_000;

/// Days before the first look that are reported: a week-old report is still of use.
const FIRST_DAYS: i32 = 7;

impl From<ReadError> for BuildError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<ReportsError> for BuildError {
    fn from(error: ReportsError) -> Self {
        Self::Reports(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Reports(error) => error.fmt(f),
            Self::Write(error) => write!(f, "a report cannot be written: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}
