//! `Header`: the fields of one message while they arrive, within a bound.
//!
//! Owns what is kept when a header is larger than any mail's: nothing may then pass that a whole
//! reading would refuse, so signatures go first. Counts the fields that claim to be our
//! Authentication-Results, and all verdict headers, wherever they stand. Judges nothing.

use crate::message::HeaderField;
use crate::policy::decide::MAX_FORGED;
use crate::verdict::header::VERDICT_HEADER;

/// A header, as far as it has come.
#[derive(Debug, Default)]
pub struct Header {
    fields: Vec<HeaderField>,
    kept: usize,
    octets: u64,
    left_out: u64,
    /// One of the fields left out was a From.
    hides_author: bool,
    results: u32,
    forged: Vec<u32>,
    verdict_headers: u32,
}

/// Fields to be removed: of each kind one more than `MAX_FORGED` at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removals {
    /// The places of the Authentication-Results fields that claim to be ours, as milters count them,
    /// highest first: Postfix renumbers while fields are deleted.
    pub results: Vec<u32>,
    /// How many verdict headers there are. They all go, whoever put them there.
    pub verdict_headers: u32,
}

impl Removals {
    /// All of them.
    pub fn count(&self) -> usize {
        self.results
            .len()
            .saturating_add(self.verdict_headers as usize)
    }
}

impl Header {
    /// Takes the next field, as the MTA gives it. `is_forged` says of an Authentication-Results
    /// field's value whether it claims to be ours.
    pub fn push(&mut self, name: &[u8], value: &[u8], is_forged: impl FnOnce(&[u8]) -> bool) {
        let field = HeaderField::from_milter(name, value);
        let size = field.name.len() + field.value.len() + SEPARATORS;
        self.octets = self.octets.saturating_add(size as u64);
        if field.is(RESULTS) {
            self.results = self.results.saturating_add(1);
            if self.forged.len() <= MAX_FORGED && is_forged(&field.value) {
                self.forged.push(self.results);
            }
        }
        if field.is(VERDICT_HEADER) && self.verdict_headers as usize <= MAX_FORGED {
            self.verdict_headers += 1;
        }
        // Whose mail it is must be known in any case: a second From behind the bound counts.
        let bound = if field.is("From") {
            MAX_OCTETS * 2
        } else {
            MAX_OCTETS
        };
        if self.kept.saturating_add(size) > bound || self.fields.len() >= MAX_FIELDS {
            self.left_out = self.left_out.saturating_add(1);
            self.hides_author |= field.is("From");
            return;
        }
        self.kept += size;
        self.fields.push(field);
    }

    /// Octets of the whole header, line ends included.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Fields that were left out because of the bound.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The fields that nobody behind us must see.
    pub fn removals(&self) -> Removals {
        Removals {
            results: self.forged.iter().rev().copied().collect(),
            verdict_headers: self.verdict_headers,
        }
    }

    /// The fields to judge, top first. Where some are missing no signature can be trusted to have
    /// covered them, so none is shown; for a From that is missing stands one that nobody can read.
    pub fn into_fields(self) -> Vec<HeaderField> {
        let mut fields = self.fields;
        if self.hides_author {
            fields.push(HeaderField::new("From", ""));
        }
        if self.left_out > 0 {
            fields.retain(|field| !SIGNATURES.iter().any(|name| field.is(name)));
        }
        fields
    }
}

pub const RESULTS: &str = "Authentication-Results";

/// Fields that vouch for others: DKIM's, and the three of each ARC set.
const SIGNATURES: [&str; 4] = [
    "DKIM-Signature",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
];

/// The colon and the line end of a field.
const SEPARATORS: usize = 3;

/// Postfix stops at 100 KiB a field, Sendmail at 32 KiB a header, Exim at this.
const MAX_OCTETS: usize = 1024 * 1024;
const MAX_FIELDS: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::authentication_results::claim::claims_to_be;
    use crate::message::author::{Author, author};

    fn forged(value: &[u8]) -> bool {
        claims_to_be(value, &["mx.example"])
    }

    #[test]
    fn finds_forged_results_from_the_highest_place_down() {
        let mut header = Header::default();
        for (name, value) in [
            ("Authentication-Results", " mx.example; spf=pass"),
            ("Subject", " mx.example; spf=pass"),
            ("authentication-results", " other.example; spf=pass"),
            ("AUTHENTICATION-RESULTS", "\n\t(a) MX.Example 1; none"),
            ("X-Alignd-Verdict", " x"),
            ("x-alignd-verdict", ""),
        ] {
            header.push(name.as_bytes(), value.as_bytes(), forged);
        }
        let removals = header.removals();
        assert_eq!(
            (removals.results.as_slice(), removals.verdict_headers),
            (&[3, 1][..], 2)
        );
        assert_eq!(removals.count(), 4);
        assert_eq!(header.into_fields().len(), 6);
    }

    #[test]
    fn a_header_beyond_the_bound_loses_its_signatures_and_keeps_its_authors() {
        let mut header = Header::default();
        for name in SIGNATURES {
            header.push(name.to_lowercase().as_bytes(), b" v=1", forged);
        }
        header.push(b"From", b" a@b.example", forged);
        let long = vec![b'x'; 256 * 1024];
        for _ in 0..40 {
            header.push(b"X", &long, forged);
        }
        header.push(b"From", b" c@d.example", forged);
        header.push(b"Authentication-Results", b" mx.example; none", forged);
        assert!(header.octets() > 10 * 1024 * 1024);
        assert_eq!(
            (header.left_out(), header.removals().results),
            (37, vec![1])
        );
        let fields = header.into_fields();
        assert_eq!(fields.iter().filter(|f| f.is("From")).count(), 2);
        assert!(!fields.iter().any(|f| SIGNATURES.iter().any(|s| f.is(s))));
        assert!(fields.len() < 10);
    }

    #[test]
    fn no_number_of_fields_hides_an_author() {
        for (fields, octets) in [(MAX_FIELDS, 1), (9, 1024 * 1024)] {
            let mut header = Header::default();
            header.push(b"From", b" a@evil.example", forged);
            for _ in 0..fields {
                header.push(b"From", &vec![b' '; octets], forged);
            }
            header.push(b"From", b" b@bank.example", forged);
            assert!(header.left_out() > 0);
            let author = author(&header.into_fields());
            assert!(matches!(author, Author::Unparseable(_)), "{author:?}");
        }
        let mut header = Header::default();
        header.push(b"From", b" a@evil.example", forged);
        for _ in 0..MAX_FIELDS {
            header.push(b"X", b"", forged);
        }
        header.push(b"From", b" b@bank.example", forged);
        let author = author(&header.into_fields());
        assert!(matches!(author, Author::Unparseable(_)), "{author:?}");
    }
}
