//! Rows to reports: XML, gzipped, spooled in pieces as it comes.
//!
//! Owns the pieces: however many rows a report has, no more than one piece of it is in memory.

use super::{BuildError, Builder, Destinations, lease_end};
use crate::report::ReportId;
use crate::report::aggregate::Head;
use crate::report::aggregate::xml::ReportWriter;
use crate::store::{
    DaySummary, Folded, Lease, NewReport, ReadError, Reader, Reports, ReportsError, give_way,
};
use crate::time::{Clock, UtcDay};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// The reports of a domain's day: one for each policy, in order.
pub(super) fn reports<D: Destinations>(
    builder: &Builder<'_, D>,
    summary: &DaySummary,
    lease: &Lease,
    folded: &mut Folded<'_>,
) -> Result<Vec<NewReport>, BuildError> {
    let mut finished = Vec::new();
    let mut open: Option<Open<'_>> = None;
    while let Some((policy, row)) = folded.next_row(summary)? {
        if open.as_ref().is_none_or(|open| open.policy != policy) {
            finished.extend(open.take().map(|open| open.finish(builder)).transpose()?);
            open = Some(Open::begin(builder, summary, lease, policy)?);
        }
        if let Some(open) = &mut open {
            open.rows += 1;
            open.messages = open.messages.saturating_add(row.count);
            open.writer.row(&row).map_err(reason)?;
            if open.rows % ROWS_AT_A_TIME == 0 {
                give_way();
            }
        }
    }
    finished.extend(open.map(|open| open.finish(builder)).transpose()?);
    Ok(finished)
}

/// What the report of a domain's day under one of its policies says before its rows.
pub(super) fn head(
    reader: &Reader,
    settings: &super::BuildSettings,
    (day, after): (UtcDay, i64),
    summary: &DaySummary,
    policy: usize,
) -> Result<Head, BuildError> {
    let found = reader.record_of(summary, policy)?;
    let Some(published) = summary.policies.get(policy) else {
        return Err(ReadError::Damaged("a policy is missing".to_owned()).into());
    };
    let source = reader.store_id()?;
    let reporter = settings.reporter.clone();
    let domain = &summary.policy_domain;
    Ok(Head {
        id: ReportId::derive(&source, &reporter.domain, domain, day, published, after),
        reporter,
        day,
        errors: found.record.problems,
        policy_domain: domain.clone(),
        policy: published.clone(),
    })
}

/// A report that is being written.
struct Open<'a> {
    policy: usize,
    part: u8,
    head: Head,
    rows: u64,
    messages: u64,
    writer: ReportWriter<GzEncoder<Pieces<'a>>>,
}

impl<'a> Open<'a> {
    fn begin<D: Destinations>(
        builder: &Builder<'a, D>,
        summary: &DaySummary,
        lease: &'a Lease,
        policy: usize,
    ) -> Result<Self, BuildError> {
        let about = (lease.day, lease.after);
        let head = head(builder.reader, builder.settings, about, summary, policy)?;
        let part = u8::try_from(policy).unwrap_or(u8::MAX);
        let pieces = Pieces {
            reports: builder.reports,
            lease,
            clock: builder.clock,
            part,
            spooled: 0,
            octets: 0,
            piece: Vec::new(),
        };
        // No time and no name in gzip's header: the same rows give the same octets.
        let gzip = GzEncoder::new(pieces, Compression::new(LEVEL));
        let writer = ReportWriter::begin(&head, builder.settings.format, gzip).map_err(reason)?;
        Ok(Self {
            policy,
            part,
            head,
            rows: 0,
            messages: 0,
            writer,
        })
    }

    fn finish<D>(self, builder: &Builder<'_, D>) -> Result<NewReport, BuildError> {
        let pieces = self.writer.finish().and_then(GzEncoder::finish);
        let pieces = pieces.map_err(reason)?;
        Ok(NewReport {
            head: self.head,
            format: builder.settings.format,
            part: self.part,
            rows: self.rows,
            messages: self.messages,
            octets: pieces.octets,
            pieces: pieces.spooled,
            last_piece: pieces.piece,
        })
    }
}

/// Collects octets and spools them by the piece.
struct Pieces<'a> {
    reports: &'a Reports,
    lease: &'a Lease,
    clock: &'a dyn Clock,
    part: u8,
    spooled: u32,
    octets: u64,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(octets);
        self.octets = self.octets.saturating_add(octets.len() as u64);
        if self.piece.len() >= PIECE {
            let place = (self.part, self.spooled);
            let expires = lease_end(self.clock.now());
            self.reports
                .spool(self.lease, place, &self.piece, expires)
                .map_err(io::Error::other)?;
            self.spooled = self.spooled.saturating_add(1);
            self.piece.clear();
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The store's error, if it was that.
fn reason(error: io::Error) -> BuildError {
    match error.downcast::<ReportsError>() {
        Ok(error) => BuildError::Reports(error),
        Err(error) => BuildError::Write(error),
    }
}

/// Rows, some 20 us each, after which whoever waits for this processor has his turn: mail must not wait
/// until the system takes it away.
const ROWS_AT_A_TIME: u64 = 16;

/// Octets of a piece.
const PIECE: usize = 64 << 10;

/// Reports are very much alike within: more than this is hardly smaller, and slower.
const LEVEL: u32 = 6;
