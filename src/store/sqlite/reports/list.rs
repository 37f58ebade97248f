//! Reading kept reports: listings, one report, its octets.
//!
//! Owns the way from a row back to a `KeptReport`. A report's gzipped XML is read piece by piece.

use super::{Reports, Undone, collect};
use crate::auth::dmarc::{AlignmentMode, DiscoveryMethod, Policy, PsdFlag};
use crate::domain::DomainName;
use crate::report::ReportId;
use crate::report::aggregate::{Format, Head, NormalisedPolicy, Reporter};
use crate::store::error::ReportsError;
use crate::store::reports::{KeptReport, Range, ReportFilter, ReportNumber};
use crate::store::sqlite::rebuild::{Trouble, optional_word, word};
use crate::store::wire::{self, read_domain};
use crate::time::{Timestamp, UtcDay};
use rusqlite::{OptionalExtension, Row, params};

impl Reports {
    /// The reports that `filter` names, newest first.
    pub fn list(&self, filter: &ReportFilter) -> Result<Vec<KeptReport>, ReportsError> {
        let sql = format!(
            "{SELECT} WHERE (?1 IS NULL OR r.day = ?1) AND (?2 IS NULL OR r.policy_domain = ?2)
                 AND (?3 IS NULL OR r.number < ?3)
             ORDER BY r.number DESC LIMIT ?4"
        );
        let values = params![
            filter.day.map(UtcDay::number),
            filter.policy_domain.as_ref().map(DomainName::as_str),
            filter.below.map(|number| number.0),
            filter.limit.unwrap_or(LISTED),
        ];
        self.read(|c| collect(c, &sql, values, read_report))
    }

    /// The report with this number.
    pub fn find(&self, number: ReportNumber) -> Result<Option<KeptReport>, ReportsError> {
        self.one("r.number = ?1", params![number.0])
    }

    /// The report with this unique-id (RFC 9990 §3.5.2), or this whole Report-ID.
    pub fn find_by_id(&self, id: &str) -> Result<Option<KeptReport>, ReportsError> {
        let (unique, domain) = match id.split_once('@') {
            Some((unique, domain)) => (unique, Some(domain)),
            None => (id, None),
        };
        self.one(
            "r.unique_id = ?1 AND (?2 IS NULL OR r.report_domain = ?2) ORDER BY r.number DESC LIMIT 1",
            params![unique, domain],
        )
    }

    /// The reports about a policy domain's day whose range holds this number of the outcome table: one
    /// for each policy that was published that day.
    pub fn find_by_outcome(
        &self,
        day: UtcDay,
        policy_domain: &DomainName,
        seq: i64,
    ) -> Result<Vec<KeptReport>, ReportsError> {
        let sql = format!(
            "{SELECT} WHERE r.day = ?1 AND r.policy_domain = ?2 AND c.after_seq < ?3 AND c.up_to >= ?3
             ORDER BY r.part"
        );
        let values = params![day.number(), policy_domain.as_str(), seq];
        self.read(|c| collect(c, &sql, values, read_report))
    }

    /// The `nth` piece of a report's gzipped XML, from 0; `None` past the last.
    pub fn piece(&self, number: ReportNumber, nth: u32) -> Result<Option<Vec<u8>>, ReportsError> {
        self.read(|c| {
            let found = c
                .prepare_cached(
                    "SELECT p.octets FROM report r JOIN piece p
                         ON p.fence = r.fence AND p.part = r.part
                     WHERE r.number = ?1 AND p.nth = ?2",
                )?
                .query_row(params![number.0, nth], |row| row.get(0))
                .optional()?;
            Ok(found)
        })
    }

    fn one(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<KeptReport>, ReportsError> {
        let sql = format!("{SELECT} WHERE {condition}");
        let found: Result<Vec<KeptReport>, Undone> =
            self.read(|c| Ok(collect(c, &sql, values, read_report)))?;
        Ok(self.translate(found)?.pop())
    }
}

const SELECT: &str = "SELECT r.*, c.after_seq FROM report r JOIN covered c
    ON c.day = r.day AND c.policy_domain = r.policy_domain AND c.up_to = r.up_to";

fn read_report(row: &Row<'_>) -> Result<KeptReport, Trouble> {
    let domain = |column: &str| -> Result<DomainName, Trouble> {
        Ok(read_domain(&row.get::<_, String>(column)?)?)
    };
    let count =
        |column: &str| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(column)?.unsigned_abs()) };
    let report_domain = domain("report_domain")?;
    Ok(KeptReport {
        number: ReportNumber(row.get("number")?),
        head: Head {
            reporter: Reporter {
                org_name: row.get("org_name")?,
                contact: row.get("contact")?,
                domain: report_domain.clone(),
            },
            id: ReportId {
                unique: row.get("unique_id")?,
                domain: report_domain,
            },
            day: UtcDay::from_number(row.get("day")?),
            errors: wire::read("errors", &row.get::<_, String>("errors")?)?,
            policy_domain: domain("policy_domain")?,
            policy: read_policy(row)?,
        },
        format: word(row, "format", Format::parse)?,
        range: Range {
            after: row.get("after_seq")?,
            up_to: row.get("up_to")?,
        },
        rows: count("rows")?,
        messages: count("messages")?,
        octets: count("octets")?,
        built: Timestamp::from_micros(row.get("built")?),
    })
}

fn read_policy(row: &Row<'_>) -> Result<NormalisedPolicy, Trouble> {
    Ok(NormalisedPolicy {
        p: word(row, "p", Policy::parse)?,
        sp: optional_word(row, "sp", Policy::parse)?,
        np: optional_word(row, "np", Policy::parse)?,
        adkim: word(row, "adkim", AlignmentMode::parse)?,
        aspf: word(row, "aspf", AlignmentMode::parse)?,
        fo: row.get("fo")?,
        testing: row.get("testing")?,
        psd: word(row, "psd", PsdFlag::parse)?,
        method: word(row, "discovery_method", DiscoveryMethod::parse)?,
    })
}

/// What a listing without a limit shows.
const LISTED: u32 = 1_000;
