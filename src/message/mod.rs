//! A message as bytes: header fields and what is read from and written to them. No I/O.
//!
//! - `parse` splits a file or takes what a milter is given
//! - `author` finds the Author Domain(s) in From
//! - `authentication_results` reads and writes RFC 8601 fields and finds the forged ones
//! - `received` finds a client's address in trusted Received fields
//! - `identifiers` reads Message-ID and List-Id, and tells reports and bounces from other mail
//! - `mime` finds the parts of a message
//! - `dsn` reads delivery status notifications, RFC 3464, and the forms of those who write none
//! - `cursor` reads the white space, comments and quoted strings they are all made of
//!
//! Everything in a message is the sender's: bounded, never trusted.

pub mod authentication_results;
pub mod author;
mod cursor;
pub mod dsn;
pub mod identifiers;
pub mod mime;
pub mod parse;
pub mod received;

pub use cursor::SyntaxError;

/// One header field as the MTA or a file gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// The name, without white space before the colon; any case.
    pub name: Box<[u8]>,
    /// Every octet after the colon up to, not including, the final CRLF; folds are CRLF and white space.
    pub value: Box<[u8]>,
}

impl HeaderField {
    pub fn new(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().into(),
            value: value.as_ref().into(),
        }
    }

    /// Field names are compared without regard to case (RFC 5322 §1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}
