//! The processing limits of RFC 7208 §4.6.4, counted once for a whole check, and the exceptions that
//! end it.
//!
//! Pure counting. The limit of time is the resolver's deadline.

use crate::dns::{Answer, LookupError, QueryName};

/// RFC 7208 §4.6.2: "If it returns an exception, mechanism processing ends and the exception value is
/// returned." Each with what was wrong, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exception {
    Temperror(String),
    Permerror(String),
}

/// What was used up so far. RFC 7208 §4.1: "tracked as a single global limit for all evaluations, not
/// just for a single instance of a recursive evaluation."
#[derive(Debug, Default)]
pub(super) struct Limits {
    lookups: u8,
    void_lookups: u8,
}

impl Limits {
    /// Terms counted, at most 10.
    pub fn lookups(&self) -> u8 {
        self.lookups
    }

    /// Void look-ups counted, at most 2.
    pub fn void_lookups(&self) -> u8 {
        self.void_lookups
    }

    /// Counts a term that asks DNS, in the record of `domain`.
    pub fn count_lookup(&mut self, term: &str, domain: &QueryName) -> Result<(), Exception> {
        // RFC 7208 §4.6.4: "If this limit is exceeded, the implementation MUST return "permerror"."
        if self.lookups >= MAX_LOOKUPS {
            return Err(Exception::Permerror(format!(
                "more than 10 terms ask DNS; {term} of {domain} is one too many"
            )));
        }
        self.lookups = self.lookups.saturating_add(1);
        Ok(())
    }

    /// Counts an answer without records.
    pub fn count_if_void<T>(
        &mut self,
        name: &QueryName,
        answer: &Answer<T>,
    ) -> Result<(), Exception> {
        match answer {
            Answer::Found(_) => Ok(()),
            Answer::NoData | Answer::NxDomain => self.count_void(name),
        }
    }

    /// Counts a look-up of `name` that found nothing.
    pub fn count_void(&mut self, name: &QueryName) -> Result<(), Exception> {
        // RFC 7208 §4.6.4: "Exceeding the limit produces a "permerror" result."
        if self.void_lookups >= MAX_VOID_LOOKUPS {
            return Err(Exception::Permerror(format!(
                "more than 2 look-ups found nothing; {name} is one too many"
            )));
        }
        self.void_lookups = self.void_lookups.saturating_add(1);
        Ok(())
    }
}

impl From<LookupError> for Exception {
    fn from(error: LookupError) -> Self {
        Self::Temperror(error.to_string())
    }
}

/// RFC 7208 §4.6.4: "SPF implementations MUST limit the total number of those terms to 10".
const MAX_LOOKUPS: u8 = 10;

/// RFC 7208 §4.6.4: "SPF implementations SHOULD limit "void lookups" to two."
const MAX_VOID_LOOKUPS: u8 = 2;
