//! Aggregate reports as others see them: their bytes, their mail, whom they can be read by, and when
//! they are due.

#[path = "../support/aside.rs"]
mod aside;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/schema.rs"]
mod schema;

mod generated;
mod golden;
mod mail;
mod period;
mod readers;

mod sample;

use alignd::report::aggregate::xml::ReportWriter;
use alignd::report::aggregate::{Format, Head, Row};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// The report's XML.
fn xml(head: &Head, rows: &[Row], format: Format) -> Vec<u8> {
    let mut writer = ReportWriter::begin(head, format, Vec::new()).unwrap();
    for row in rows {
        writer.row(row).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
