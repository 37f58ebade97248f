//! The record grammar, held against viaspf's over many records that are nearly right.

use crate::generated;
use alignd::auth::spf::macros::MacroError;
use alignd::auth::spf::record::{Record, SyntaxError, TermError};
use viaspf::record::SpfRecord;

#[test]
fn viaspf_reads_the_same_records() {
    let records = generated::broken_records(20_000);
    let mut agreeing = 0;
    let mut unknown = Vec::new();
    for record in &records {
        if !alignd::auth::spf::record::is_spf(record.as_bytes()) {
            agreeing += 1;
            continue;
        }
        let ours = Record::parse(record.as_bytes());
        let theirs = record.parse::<SpfRecord>();
        if ours.is_ok() == theirs.is_ok() {
            agreeing += 1;
        } else if !is_known(record, ours.as_ref().err()) {
            unknown.push(format!("{record:?}: {ours:?}"));
        }
    }
    println!(
        "spf grammar beside viaspf: {agreeing} of {} agree",
        records.len()
    );
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

fn is_known(record: &str, ours: Option<&SyntaxError>) -> bool {
    match ours.map(|error| error.why) {
        // RFC 7208 §7.2: "allowed only in "exp" text": viaspf sees it when it expands them.
        Some(TermError::Macro(MacroError::ExplanationOnly)) => true,
        // RFC 7208 §6: "MUST NOT appear in a record more than once each": viaspf sees it later.
        Some(TermError::RepeatedModifier) => true,
        Some(_) => false,
        // RFC 7208 §4.6.1: a modifier has "an equals ('=') character immediately after the name":
        // viaspf takes a mechanism's name at the start of the modifier's for the mechanism.
        None => record.split(' ').any(is_modifier_named_like_a_mechanism) || counts_far(record),
    }
}

fn is_modifier_named_like_a_mechanism(term: &str) -> bool {
    let lower = term.to_lowercase();
    let name = lower.split_once('=').map(|(name, _)| name);
    let mechanisms = ["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"];
    name.is_some_and(|name| {
        mechanisms
            .iter()
            .any(|mechanism| name.starts_with(mechanism))
    })
}

/// RFC 7208 §7.1: `transformers = *DIGIT [ "r" ]`, of any size; viaspf counts to 255.
fn counts_far(record: &str) -> bool {
    let macros = record.split("%{").skip(1);
    let digits = macros.map(|text| {
        let text = text.get(1..).unwrap_or_default();
        let end = text.find(|c: char| !c.is_ascii_digit());
        text.get(..end.unwrap_or(text.len())).unwrap_or_default()
    });
    let counts: Vec<u64> = digits.filter_map(|digits| digits.parse().ok()).collect();
    counts.iter().any(|&count| count > 255)
}
