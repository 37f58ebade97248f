//! xmllint over files, against the schemas of the RFCs.
//!
//! Use from a test that has `aside`: `#[path = "../support/schema.rs"] mod schema;`.

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
