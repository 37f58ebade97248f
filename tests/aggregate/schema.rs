//! xmllint over files, against the schemas of the RFCs.

use crate::aside;
use alignd::report::aggregate::Format;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Holds `reports` against the format's schema; panics with xmllint's words about those that fail.
/// Gives how many are valid.
pub fn validate(format: Format, reports: &[Vec<u8>]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = reports
        .iter()
        .enumerate()
        .map(|(nth, report)| {
            let file = folder.path().join(format!("{nth}.xml"));
            std::fs::write(&file, report).unwrap();
            file
        })
        .collect();
    let tree = aside::tree("libxml2-utils");
    let output = Command::new(tree.join("usr/bin/xmllint"))
        .env("LD_LIBRARY_PATH", aside::libraries(&tree))
        .args(["--noout", "--nonet", "--schema"])
        .arg(schema(format))
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let valid = said
        .lines()
        .filter(|line| line.ends_with(" validates"))
        .count();
    assert!(output.status.success() && valid == reports.len(), "{said}");
    valid
}

fn schema(format: Format) -> PathBuf {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/xsd");
    schemas.join(match format {
        Format::Rfc9990 => "rfc9990-appendix-a.xsd",
        Format::Rfc7489 => "rfc7489-fixed-no-namespace.xsd",
    })
}

/// A schema that takes everything would make the other tests worthless.
#[test]
#[should_panic(expected = "fails to validate")]
fn xmllint_refuses_what_is_wrong() {
    let broken = b"<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"/>".to_vec();
    validate(Format::Rfc9990, &[broken]);
}
