//! What the commands about kept reports share: finding one by what people have at hand, and its octets.

use crate::cli::output::printable;
use crate::cli::{Exit, Outcome};
use crate::domain::DomainName;
use crate::store::{KeptReport, ReportNumber, Reports, ReportsError};
use std::io::{self, Read};

/// The report with this number, unique-id or Report-ID.
pub(super) fn find(reports: &Reports, id: &str) -> Result<Option<KeptReport>, ReportsError> {
    // A unique-id is longer than any number.
    match id.parse().ok().filter(|_| id.len() < 19) {
        Some(number) => reports.find(ReportNumber(number)),
        None => reports.find_by_id(id),
    }
}

/// Says that nothing was ever reported.
pub(super) fn none() -> Outcome {
    eprintln!("alignd: no report has been built yet");
    Ok(Exit::No)
}

/// Says that there is no such report.
pub(super) fn unknown(id: &str) -> Outcome {
    eprintln!("alignd: no report {}: alignd report list", printable(id));
    Ok(Exit::No)
}

/// A report's gzipped XML, a piece in memory at a time.
pub(super) struct Pieces<'r> {
    reports: &'r Reports,
    number: ReportNumber,
    next: u32,
    piece: io::Cursor<Vec<u8>>,
}

impl<'r> Pieces<'r> {
    pub fn of(reports: &'r Reports, report: &KeptReport) -> Self {
        Self {
            reports,
            number: report.number,
            next: 0,
            piece: io::Cursor::default(),
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(to)?;
            if read > 0 || to.is_empty() {
                return Ok(read);
            }
            let next = self.reports.piece(self.number, self.next);
            let Some(piece) = next.map_err(io::Error::other)? else {
                return Ok(0);
            };
            self.next = self.next.saturating_add(1);
            self.piece = io::Cursor::new(piece);
        }
    }
}

pub(super) fn domain(text: &str) -> Result<DomainName, String> {
    DomainName::parse(text).map_err(|error| error.to_string())
}
