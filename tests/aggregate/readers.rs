//! Reports and their mails, read by programs that no one here wrote: parsedmarc, Python's email
//! package, mail-auth's parser, and Mail::DMARC for RFC 7489's form. All must find what was put in.

use crate::{aside, gzip, python, sample, xml};
use alignd::report::aggregate::{Format, Head, Row, mail};
use alignd::report::destination::PlainAddress;
use alignd::time::Timestamp;
use mail_auth::report::{ActionDisposition, DmarcResult, PolicyOverride, Report};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names as real mail has them: what is done to hostile ones is the writer's test.
fn rows() -> Vec<Row> {
    let mut rows = sample::rows();
    for row in &mut rows {
        row.dkim.truncate(3);
    }
    rows
}

fn composed(head: &Head, report: &[u8]) -> Vec<u8> {
    let [from, to] = ["dmarc@mx.example.org", "rua@example.com"];
    let [from, to] = [from, to].map(|address| PlainAddress::parse(address).unwrap());
    let date = Timestamp::parse_rfc3339("2026-11-22T01:02:03Z").unwrap();
    mail::compose(head, &from, &to, date, &gzip(report))
}

/// The lines that `command` prints about files with these contents, as JSON.
fn asked(mut command: Command, files: &[Vec<u8>]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().enumerate().map(|(nth, content)| {
        let path = folder.path().join(nth.to_string());
        std::fs::write(&path, content).unwrap();
        path
    });
    let paths: Vec<PathBuf> = paths.collect();
    let output = command.args(&paths).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), files.len(), "{said}");
    answers
}

fn script(name: &str) -> PathBuf {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    peers.join(name)
}

/// The reasons of a row, in the words of the format.
fn reasons(row: &Row, format: Format) -> Vec<Value> {
    let reason = |reason: &alignd::policy::PolicyOverride| {
        let (kind, comment) = (reason.kind.as_str(), reason.comment.clone());
        match (format, kind) {
            (Format::Rfc7489, "policy_test_mode") => {
                json!(["other", format!("{kind}: {}", comment.unwrap_or_default())])
            }
            _ => json!([kind, comment]),
        }
    };
    row.evaluated.reasons.iter().map(reason).collect()
}

/// What every reader should find in a row, but for SPF.
fn expected_row(row: &Row, format: Format) -> Value {
    let word = |pass| if pass { "pass" } else { "fail" };
    let disposition = match (format, row.evaluated.disposition.as_str()) {
        (Format::Rfc7489, "pass") => "none",
        (_, word) => word,
    };
    json!({
        "source_ip": row.source_ip.to_canonical().to_string(),
        "count": row.count,
        "disposition": disposition,
        "aligned_dkim": word(row.evaluated.dkim),
        "aligned_spf": word(row.evaluated.spf),
        "reasons": reasons(row, format),
        "header_from": row.header_from.as_str(),
    })
}

fn spf(row: &Row) -> Vec<Value> {
    let results = row.spf.iter();
    results
        .map(|spf| json!([spf.domain, "mfrom", spf.result.as_str()]))
        .collect()
}

fn expected_by_parsedmarc(head: &Head, rows: &[Row], format: Format) -> Value {
    let (errors, new) = match format {
        Format::Rfc9990 => (json!([head.errors.join("; ")]), true),
        Format::Rfc7489 => (json!(head.errors), false),
    };
    let row = |row: &Row| {
        let mut expected = expected_row(row, format);
        let signatures = row.dkim.iter();
        let dkim: Vec<Value> = signatures
            .map(|dkim| json!([dkim.domain, dkim.selector, dkim.result.as_str()]))
            .collect();
        let mut spf = spf(row);
        if spf.is_empty() && !new {
            spf = vec![json!([row.header_from.as_str(), "mfrom", "none"])];
        }
        expected["envelope_to"] = json!(row.envelope_to.as_ref().map(|to| to.as_str()));
        expected["dkim"] = json!(dkim);
        expected["spf"] = json!(spf);
        expected
    };
    json!({
        "type": "aggregate",
        "org_name": head.reporter.org_name,
        "contact": head.reporter.contact,
        // parsedmarc keeps what stands before the @.
        "report_id": head.id.unique,
        "begin": "2026-11-21 00:00:00",
        "end": "2026-11-21 23:59:59",
        "errors": errors,
        "domain": head.policy_domain.as_str(),
        "policy": {
            "p": "reject", "sp": "quarantine", "np": new.then_some("quarantine"),
            "adkim": "s", "aspf": "r", "fo": "1:d", "testing": new.then_some("y"),
            "discovery_method": new.then_some("treewalk"),
        },
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "file_names": [head.file_name()],
        "subject": format!(
            "Report Domain: {} Submitter: {} Report-ID: <{}>",
            head.policy_domain, head.reporter.domain, head.id
        ),
        "defects": [],
        "warnings": [],
    })
}

#[test]
fn parsedmarc_finds_what_was_put_in() {
    let (head, rows) = (sample::head(), rows());
    let formats = [Format::Rfc9990, Format::Rfc7489];
    let mails = formats.map(|format| composed(&head, &xml(&head, &rows, format)));
    let mut command = Command::new(python::interpreter("parsedmarc", &["parsedmarc==11.1.0"]));
    command.arg(script("report_parsedmarc.py"));
    for (found, format) in asked(command, &mails).into_iter().zip(formats) {
        assert_eq!(
            found,
            expected_by_parsedmarc(&head, &rows, format),
            "{format}"
        );
    }
    println!(
        "parsedmarc: {0} of {0} rows agree in both formats",
        rows.len()
    );
}

#[test]
fn mail_dmarc_finds_what_was_put_in() {
    let (head, rows) = (sample::head(), rows());
    let tree = aside::tree("libmail-dmarc-perl");
    let modules = ["usr/share/perl5", "usr/lib/x86_64-linux-gnu/perl5/5.36"];
    let modules = modules.map(|folder| tree.join(folder).display().to_string());
    let mut command = Command::new("perl");
    command
        .env("PERL5LIB", modules.join(":"))
        .env("LD_LIBRARY_PATH", aside::libraries(&tree))
        .arg(script("report_mail_dmarc.pl"));
    let found = asked(command, &[xml(&head, &rows, Format::Rfc7489)]);
    let row = |row: &Row| {
        let mut expected = expected_row(row, Format::Rfc7489);
        for reason in expected["reasons"].as_array_mut().unwrap() {
            // No comment is an empty one to it.
            if reason[1].is_null() {
                reason[1] = json!("");
            }
        }
        let mut spf = spf(row);
        if spf.is_empty() {
            spf = vec![json!([row.header_from.as_str(), "mfrom", "none"])];
        }
        expected["spf"] = json!(spf);
        expected["dkim_signatures"] = json!(row.dkim.len());
        expected
    };
    let expected = json!({
        "org_name": head.reporter.org_name,
        "contact": head.reporter.contact,
        "report_id": head.id.to_string(),
        "begin": head.begin(),
        "end": head.end(),
        "domain": head.policy_domain.as_str(),
        "policy": {"p": "reject", "sp": "quarantine", "adkim": "s", "aspf": "r", "pct": "100"},
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    });
    assert_eq!(found, [expected]);
    println!("Mail::DMARC: {0} of {0} rows agree", rows.len());
}

fn word_of(disposition: ActionDisposition) -> &'static str {
    match disposition {
        ActionDisposition::None => "none",
        ActionDisposition::Pass => "pass",
        ActionDisposition::Quarantine => "quarantine",
        ActionDisposition::Reject => "reject",
        ActionDisposition::Unspecified => "unspecified",
    }
}

fn word_of_reason(reason: PolicyOverride) -> &'static str {
    match reason {
        PolicyOverride::LocalPolicy => "local_policy",
        PolicyOverride::MailingList => "mailing_list",
        PolicyOverride::PolicyTestMode => "policy_test_mode",
        PolicyOverride::TrustedForwarder => "trusted_forwarder",
        PolicyOverride::Other => "other",
    }
}

#[test]
fn mail_auth_finds_what_was_put_in() {
    let (head, rows) = (sample::head(), rows());
    let formats = [Format::Rfc9990, Format::Rfc7489];
    for format in formats {
        let mail = composed(&head, &xml(&head, &rows, format));
        let report = Report::parse_rfc5322(&mail, 1 << 20).unwrap();
        // It loses the spaces beside an entity.
        let org_name = head.reporter.org_name.replace(' ', "");
        assert_eq!(report.org_name().replace(' ', ""), org_name);
        assert_eq!(report.email(), head.reporter.contact);
        assert_eq!(report.report_id(), head.id.to_string());
        assert_eq!(
            report.date_range_begin(),
            u64::try_from(head.begin()).unwrap()
        );
        assert_eq!(report.date_range_end(), u64::try_from(head.end()).unwrap());
        assert_eq!(report.domain(), head.policy_domain.as_str());
        assert_eq!(report.fo(), Some("1:d"));
        assert_eq!(report.testing(), format == Format::Rfc9990);
        let word = |result: DmarcResult| match result {
            DmarcResult::Pass => "pass",
            DmarcResult::Fail => "fail",
            DmarcResult::Unspecified => "unspecified",
        };
        let found = report.records().iter().map(|record| {
            let reasons = record.policy_override_reason().iter();
            let reasons =
                reasons.map(|r| json!([word_of_reason(r.policy_override()), r.comment()]));
            json!({
                "source_ip": record.source_ip(),
                "count": record.count(),
                "disposition": word_of(record.action_disposition()),
                "aligned_dkim": word(record.dmarc_dkim_result()),
                "aligned_spf": word(record.dmarc_spf_result()),
                "reasons": reasons.collect::<Vec<_>>(),
                "header_from": record.header_from(),
            })
        });
        let found: Vec<Value> = found.collect();
        let expected: Vec<Value> = rows.iter().map(|row| expected_row(row, format)).collect();
        assert_eq!(found, expected, "{format}");
        for (found, row) in report.records().iter().zip(&rows) {
            let signatures = found.dkim_auth_result().iter();
            let found: Vec<_> = signatures.map(|d| (d.domain(), d.selector())).collect();
            let signatures = row.dkim.iter();
            let put: Vec<_> = signatures
                .map(|d| (d.domain.as_str(), d.selector.as_str()))
                .collect();
            assert_eq!(found, put);
        }
    }
    println!(
        "mail-auth: {0} of {0} rows agree in both formats",
        rows.len()
    );
}
