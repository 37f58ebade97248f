//! What would be built: nothing is claimed, kept or asked of DNS.

use super::{BuildError, BuildSettings, came_to, covered_by, selection, write};
use crate::domain::DomainName;
use crate::report::aggregate::xml::ReportWriter;
use crate::report::destination::named_address;
use crate::store::{CameTo, CoveredTo, DaySummary, Pending, Reader, Reports, ReportsError};
use crate::time::UtcDay;
use std::collections::HashMap;
use std::io::Write;

/// A domain's day, and what it would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub summary: DaySummary,
    /// `Reported` as far as the store knows: whether a destination agrees is asked when it is built.
    pub came_to: CameTo,
    /// Where the last record seen that day asks for reports to go, as published, in its order.
    pub rua: Vec<String>,
}

/// What building a day would come to. `reports`: none have been kept yet without it.
pub fn plan(
    settings: &BuildSettings,
    reader: &Reader,
    reports: Option<&Reports>,
    day: UtcDay,
) -> Result<Vec<Planned>, BuildError> {
    let pending = reader.pending(day, &covered_to(reports, day)?)?;
    let covered_by = covered_by(reports);
    let spool = &settings.spool;
    let folded = reader.fold(&pending, selection(settings), &covered_by, spool)?;
    folded
        .domains()
        .iter()
        .map(|summary| planned(settings, reader, summary))
        .collect()
}

/// Writes the XML of what one domain's day has to report beyond what is covered, one document for each
/// policy published that day. `None`: nothing happened there.
pub fn preview(
    settings: &BuildSettings,
    reader: &Reader,
    reports: Option<&Reports>,
    (day, domain): (UtcDay, &DomainName),
    mut out: impl Write,
) -> Result<Option<Planned>, BuildError> {
    let pending = reader.pending(day, &covered_to(reports, day)?)?;
    let is_it = |pending: &crate::store::PendingDomain| pending.policy_domain == *domain;
    let place = pending.domains.iter().position(is_it);
    let Some(pending) = place.and_then(|place| Pending::only(&pending, place)) else {
        return Ok(None);
    };
    let covered_by = covered_by(reports);
    let spool = &settings.spool;
    let mut folded = reader.fold(&pending, selection(settings), &covered_by, spool)?;
    let Some(summary) = folded.domains().first().cloned() else {
        return Ok(None);
    };
    let mut idle = Some(&mut out);
    let mut open: Option<(usize, ReportWriter<_>)> = None;
    while let Some((policy, row)) = folded.next_row(&summary)? {
        if open.as_ref().is_none_or(|(of, _)| *of != policy) {
            if let Some((_, writer)) = open.take() {
                idle = Some(writer.finish().map_err(BuildError::Write)?);
            }
            let about = (day, summary.after);
            let head = write::head(reader, settings, about, &summary, policy)?;
            if let Some(out) = idle.take() {
                let writer = ReportWriter::begin(&head, settings.format, out);
                open = Some((policy, writer.map_err(BuildError::Write)?));
            }
        }
        if let Some((_, writer)) = &mut open {
            writer.row(&row).map_err(BuildError::Write)?;
        }
    }
    if let Some((_, writer)) = open {
        writer.finish().map_err(BuildError::Write)?;
    }
    planned(settings, reader, &summary).map(Some)
}

fn covered_to(
    reports: Option<&Reports>,
    day: UtcDay,
) -> Result<HashMap<String, CoveredTo>, ReportsError> {
    match reports {
        Some(reports) => reports.covered_to(day),
        None => Ok(HashMap::new()),
    }
}

fn planned(
    settings: &BuildSettings,
    reader: &Reader,
    summary: &DaySummary,
) -> Result<Planned, BuildError> {
    let rua = reader.last_record(summary)?.record.rua;
    let is_sent = rua.iter().any(|uri| named_address(uri).is_some());
    let came_to = match came_to(settings, summary) {
        Some(dropped) => dropped,
        None if is_sent => CameTo::Reported,
        None => CameTo::NoDestination,
    };
    Ok(Planned {
        summary: summary.clone(),
        came_to,
        rua,
    })
}
