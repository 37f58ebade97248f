//! The bytes of one report that has everything, in both formats, held against files in
//! `tests/golden`. `ALIGND_GOLDEN=write cargo test --test aggregate` writes them anew.

use crate::{sample, schema, xml};
use alignd::report::aggregate::Format;
use std::path::Path;

/// Holds `found` against the golden file `name`.
pub fn golden(name: &str, found: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(name);
    if std::env::var_os("ALIGND_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} differs.\n--- expected\n{expected}\n--- found\n{found}"
    );
}

#[test]
fn both_formats_have_these_bytes() {
    for (format, name) in [
        (Format::Rfc9990, "report-rfc9990.xml"),
        (Format::Rfc7489, "report-rfc7489.xml"),
    ] {
        let report = xml(&sample::head(), &sample::rows(), format);
        // The version is the release's, not the test's.
        let generator = concat!("alignd ", env!("CARGO_PKG_VERSION"));
        let text = String::from_utf8(report.clone()).unwrap();
        golden(name, &text.replace(generator, "alignd VERSION"));
        assert_eq!(schema::validate(format, &[report]), 1);
    }
}

/// RFC 9990 §3.1.1.2: "There MUST be at least one "record" element".
#[test]
fn no_report_is_empty() {
    use alignd::report::aggregate::xml::ReportWriter;
    let writer = ReportWriter::begin(&sample::head(), Format::Rfc9990, Vec::new()).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

/// A schema that takes everything would make the other tests worthless.
#[test]
#[should_panic(expected = "fails to validate")]
fn xmllint_refuses_what_is_wrong() {
    let broken = b"<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"/>".to_vec();
    schema::validate(Format::Rfc9990, &[broken]);
}
