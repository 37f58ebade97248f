//! A thousand random reports, with all that an attacker may choose in them: valid against the schema,
//! the same every time, and of a bounded size.

use crate::sample::{random_heads, random_rows};
use crate::{schema, xml};
use alignd::report::aggregate::Format;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[test]
fn a_thousand_are_valid() {
    let mut runner = TestRunner::deterministic();
    let strategy = (random_heads(), random_rows());
    let drawn: Vec<_> = (0..1000)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    for format in [Format::Rfc9990, Format::Rfc7489] {
        let reports: Vec<Vec<u8>> = drawn
            .iter()
            .map(|(head, rows)| {
                let report = xml(head, rows, format);
                assert_eq!(report, xml(head, rows, format));
                // A row's texts are at most 12 comments, 5 signatures and some names.
                assert!(
                    report.len() < 20_000 + rows.len() * 80_000,
                    "{}",
                    report.len()
                );
                report
            })
            .collect();
        let valid = schema::validate(format, &reports);
        println!(
            "aggregate {format}: {valid} of {} random reports valid",
            reports.len()
        );
    }
}
