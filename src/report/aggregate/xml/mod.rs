//! The XML of an aggregate report, written as its rows come: RFC 9990 §3.1.1 and appendix A, or the
//! words of RFC 7489 appendix C for those who read nothing else.
//!
//! Owns the elements' names, their order and the bounds of their texts. Writes to whatever it is given,
//! holds one row at a time; the same input gives the same bytes. Errors are those of the output alone.

mod text;

use super::{DkimRow, Format, Head, PolicyEvaluated, Row, SpfRow};
use crate::auth::SpfResult;
use crate::policy::{Disposition, OverrideType, PolicyOverride};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

/// A report while it is written: `begin`, `row` at least once, `finish`.
pub struct ReportWriter<W: Write> {
    xml: Writer<BufWriter<W>>,
    format: Format,
    rows: u64,
}

impl<W: Write> ReportWriter<W> {
    /// Writes everything before the rows. Err: `out` failed.
    pub fn begin(head: &Head, format: Format, out: W) -> io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER, out);
        let mut writer = Self {
            xml: Writer::new_with_indent(out, b' ', 1),
            format,
            rows: 0,
        };
        let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
        writer.xml.write_event(Event::Decl(declaration))?;
        let mut feedback = BytesStart::new(FEEDBACK);
        match format {
            // RFC 9990 §3.1.1.1: "with its XML namespace set to the DMARC namespace".
            Format::Rfc9990 => feedback.push_attribute(("xmlns", NAMESPACE)),
            // RFC 7489's reports bear no namespace in practice, and its readers expect none.
            Format::Rfc7489 => {}
        }
        writer.xml.write_event(Event::Start(feedback))?;
        // RFC 9990 §3.1.1.2: "MUST have the value 1.0."
        writer.text("version", "1.0", SHORT)?;
        writer.metadata(head)?;
        writer.policy(head)?;
        Ok(writer)
    }

    /// Writes one `record`. Err: the output failed.
    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        self.rows = self.rows.saturating_add(1);
        self.start("record")?;
        self.start("row")?;
        self.text(
            "source_ip",
            &row.source_ip.to_canonical().to_string(),
            SHORT,
        )?;
        self.text("count", &row.count.to_string(), SHORT)?;
        self.evaluated(&row.evaluated)?;
        self.end("row")?;
        self.identifiers(row)?;
        self.start("auth_results")?;
        // RFC 9990 §3.1.3: "A report SHOULD contain no more than 100 signatures for a given "row"".
        for dkim in row.dkim.iter().take(MAX_SIGNATURES) {
            self.dkim(dkim)?;
        }
        if let Some(spf) = self.spf_of(row) {
            self.spf(&spf)?;
        }
        self.end("auth_results")?;
        self.end("record")
    }

    /// Writes the end and hands the output back. Err: the output failed, or there was no row
    /// (RFC 9990 §3.1.1.2: "There MUST be at least one "record" element"), `InvalidInput` then.
    pub fn finish(mut self) -> io::Result<W> {
        if self.rows == 0 {
            let problem = "an aggregate report needs at least one row";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        self.end(FEEDBACK)?;
        let mut out = self.xml.into_inner();
        out.write_all(b"\n")?;
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn metadata(&mut self, head: &Head) -> io::Result<()> {
        self.start("report_metadata")?;
        self.text("org_name", &head.reporter.org_name, NAME)?;
        self.text("email", &head.reporter.contact, ADDRESS)?;
        self.text("report_id", &head.id.to_string(), ADDRESS)?;
        self.start("date_range")?;
        self.text("begin", &head.begin().to_string(), SHORT)?;
        self.text("end", &head.end().to_string(), SHORT)?;
        self.end("date_range")?;
        match self.format {
            Format::Rfc9990 => {
                if !head.errors.is_empty() {
                    // RFC 9990 §3.1.5: "should not contain an extremely large body".
                    self.text("error", &head.errors.join("; "), ERRORS)?;
                }
                self.text("generator", GENERATOR, SHORT)?;
            }
            Format::Rfc7489 => {
                for error in head.errors.iter().take(MAX_ERRORS) {
                    self.text("error", error, COMMENT)?;
                }
            }
        }
        self.end("report_metadata")
    }

    /// RFC 9990 §3.1.1.5: "The elements from "p" and onwards contain the discovered or default value".
    fn policy(&mut self, head: &Head) -> io::Result<()> {
        let policy = &head.policy;
        let modes = [
            ("adkim", policy.adkim.as_str()),
            ("aspf", policy.aspf.as_str()),
        ];
        self.start("policy_published")?;
        self.text("domain", head.policy_domain.as_str(), NAME)?;
        match self.format {
            Format::Rfc9990 => {
                self.text("discovery_method", policy.method.as_str(), SHORT)?;
                self.text("p", policy.p.as_str(), SHORT)?;
                self.text("sp", policy.for_subdomains().as_str(), SHORT)?;
                self.text("np", policy.for_missing_subdomains().as_str(), SHORT)?;
                self.text("fo", &policy.fo, SHORT)?;
                self.texts(modes)?;
                self.text("testing", if policy.testing { "y" } else { "n" }, SHORT)?;
            }
            Format::Rfc7489 => {
                self.texts(modes)?;
                self.text("p", policy.p.as_str(), SHORT)?;
                self.text("sp", policy.for_subdomains().as_str(), SHORT)?;
                // RFC 9989 knows no pct any more: the policy applies to everything.
                self.text("pct", "100", SHORT)?;
                self.text("fo", &policy.fo, SHORT)?;
            }
        }
        self.end("policy_published")
    }

    fn evaluated(&mut self, evaluated: &PolicyEvaluated) -> io::Result<()> {
        let word = |pass| if pass { "pass" } else { "fail" };
        let disposition = match (self.format, evaluated.disposition) {
            // RFC 7489's DispositionType has no `pass`.
            (Format::Rfc7489, Disposition::Pass) => Disposition::None,
            (Format::Rfc7489 | Format::Rfc9990, disposition) => disposition,
        };
        self.start("policy_evaluated")?;
        self.text("disposition", disposition.as_str(), SHORT)?;
        self.text("dkim", word(evaluated.dkim), SHORT)?;
        self.text("spf", word(evaluated.spf), SHORT)?;
        for reason in evaluated.reasons.iter().take(MAX_REASONS) {
            self.reason(reason)?;
        }
        self.end("policy_evaluated")
    }

    fn reason(&mut self, reason: &PolicyOverride) -> io::Result<()> {
        let comment = reason.comment.as_deref();
        self.start("reason")?;
        match (self.format, reason.kind) {
            // A type that RFC 7489 doesn't know: `other`, with the new word as its comment.
            (Format::Rfc7489, OverrideType::PolicyTestMode) => {
                let word = reason.kind.as_str();
                let comment = comment.map_or(word.to_owned(), |c| format!("{word}: {c}"));
                self.text("type", OverrideType::Other.as_str(), SHORT)?;
                self.text("comment", &comment, COMMENT)?;
            }
            (Format::Rfc7489 | Format::Rfc9990, kind) => {
                self.text("type", kind.as_str(), SHORT)?;
                self.optional("comment", comment.unwrap_or_default(), COMMENT)?;
            }
        }
        self.end("reason")
    }

    fn identifiers(&mut self, row: &Row) -> io::Result<()> {
        let envelope_from = match (self.format, row.envelope_from.as_deref()) {
            // Required by RFC 7489's schema.
            (Format::Rfc7489, None) => Some(""),
            (Format::Rfc7489 | Format::Rfc9990, domain) => domain,
        };
        self.start("identifiers")?;
        self.text("header_from", row.header_from.as_str(), NAME)?;
        if let Some(domain) = envelope_from {
            self.text("envelope_from", domain, NAME)?;
        }
        if let Some(domain) = &row.envelope_to {
            self.text("envelope_to", domain.as_str(), NAME)?;
        }
        self.end("identifiers")
    }

    fn dkim(&mut self, dkim: &DkimRow) -> io::Result<()> {
        self.start("dkim")?;
        self.text("domain", &dkim.domain, NAME)?;
        self.text("selector", &dkim.selector, NAME)?;
        self.text("result", dkim.result.as_str(), SHORT)?;
        self.optional("human_result", &dkim.human_result, COMMENT)?;
        self.end("dkim")
    }

    fn spf(&mut self, spf: &SpfRow) -> io::Result<()> {
        self.start("spf")?;
        self.text("domain", &spf.domain, NAME)?;
        self.text("scope", "mfrom", SHORT)?;
        self.text("result", spf.result.as_str(), SHORT)?;
        match self.format {
            Format::Rfc9990 => self.optional("human_result", &spf.human_result, COMMENT)?,
            Format::Rfc7489 => {}
        }
        self.end("spf")
    }

    /// What is said about SPF. RFC 7489 appendix C: "There will always be at least one SPF result", and
    /// its readers refuse one without a domain; the author's stands in for it.
    fn spf_of<'r>(&self, row: &'r Row) -> Option<Cow<'r, SpfRow>> {
        match (self.format, &row.spf) {
            (Format::Rfc9990, spf) => spf.as_ref().map(Cow::Borrowed),
            (Format::Rfc7489, Some(spf)) if !spf.domain.is_empty() => Some(Cow::Borrowed(spf)),
            (Format::Rfc7489, spf) => Some(Cow::Owned(SpfRow {
                domain: row.header_from.to_string(),
                result: spf.as_ref().map_or(SpfResult::None, |spf| spf.result),
                human_result: String::new(),
            })),
        }
    }

    fn start(&mut self, name: &'static str) -> io::Result<()> {
        self.xml.write_event(Event::Start(BytesStart::new(name)))
    }

    fn end(&mut self, name: &'static str) -> io::Result<()> {
        self.xml.write_event(Event::End(BytesEnd::new(name)))
    }

    fn texts<const N: usize>(&mut self, texts: [(&'static str, &str); N]) -> io::Result<()> {
        for (name, content) in texts {
            self.text(name, content, SHORT)?;
        }
        Ok(())
    }

    fn optional(&mut self, name: &'static str, content: &str, limit: usize) -> io::Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        self.text(name, content, limit)
    }

    fn text(&mut self, name: &'static str, content: &str, limit: usize) -> io::Result<()> {
        let content = text::carried(content, limit);
        if content.is_empty() {
            return self.xml.write_event(Event::Empty(BytesStart::new(name)));
        }
        self.start(name)?;
        self.xml
            .write_event(Event::Text(BytesText::new(&content)))?;
        self.end(name)
    }
}

const FEEDBACK: &str = "feedback";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:dmarc-2.0";
const GENERATOR: &str = concat!("alignd ", env!("CARGO_PKG_VERSION"));
/// Octets gathered before the output sees them: a compressor wants no crumbs.
const BUFFER: usize = 16 * 1024;
/// Characters of words and numbers.
const SHORT: usize = 64;
/// Characters of names: a domain has 253 octets.
const NAME: usize = 255;
/// Characters of addresses and Report-IDs.
const ADDRESS: usize = 320;
/// Characters of a text for people.
const COMMENT: usize = 500;
/// Characters of `error`.
const ERRORS: usize = 1000;
const MAX_ERRORS: usize = 10;
const MAX_REASONS: usize = 10;
const MAX_SIGNATURES: usize = 100;
