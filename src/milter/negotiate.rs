//! What is agreed with the MTA when it connects: no replies where there is nothing to say, spaces left
//! alone, macros only where they are needed.
//!
//! Owns the options, actions and macros asked for, never more than the MTA offers. Version 2 MTAs
//! offer none of the options; everything works without them.

use indymilter::{Actions, MacroStage, ProtoOpts};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CString;

/// What was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    actions: Actions,
    options: ProtoOpts,
}

impl Negotiated {
    /// Asks for what is useful of what is offered.
    pub fn from_offer(actions: Actions, options: ProtoOpts) -> Self {
        Self {
            actions: actions & WANTED_ACTIONS,
            options: options & WANTED_OPTIONS,
        }
    }

    pub fn actions(self) -> Actions {
        self.actions
    }

    pub fn options(self) -> ProtoOpts {
        self.options
    }

    /// Actions that our work needs and the MTA doesn't allow.
    pub fn missing(self) -> Actions {
        (Actions::ADD_HEADER | Actions::CHANGE_HEADER) - self.actions
    }

    /// The MTA takes messages into its hold queue for us.
    pub fn can_hold(self) -> bool {
        self.actions.contains(Actions::QUARANTINE)
    }

    /// Values of header fields keep their leading space, in both directions.
    pub fn leading_space(self) -> bool {
        self.options.contains(ProtoOpts::LEADING_SPACE)
    }

    /// An incoming value as it stood in the message. An MTA that wasn't told to leave spaces alone took
    /// one off, if there was one; nearly all mail has one, and simple canonicalization needs it back.
    pub fn with_leading_space(self, value: &[u8]) -> Cow<'_, [u8]> {
        match value.first() {
            _ if self.leading_space() => Cow::Borrowed(value),
            // More of them, or a fold: the MTA leaves these, and before them there is rarely a space.
            Some(b'\t' | b'\n' | b'\r') => Cow::Borrowed(value),
            Some(_) | None => Cow::Owned([b" ", value].concat()),
        }
    }

    /// The macros to be sent at each stage; none where the MTA can't be told.
    pub fn macros(self) -> HashMap<MacroStage, CString> {
        if !self.actions.contains(Actions::REQUEST_MACROS) {
            return HashMap::new();
        }
        MACROS
            .iter()
            .map(|(stage, names)| (*stage, CString::from(*names)))
            .collect()
    }
}

const WANTED_ACTIONS: Actions = Actions::ADD_HEADER
    .union(Actions::CHANGE_HEADER)
    .union(Actions::QUARANTINE)
    .union(Actions::REQUEST_MACROS);

/// With `NOREPLY_BODY` the rest of a body that nobody needs can't be refused (`SKIP`); measured
/// (`benches/milter.rs`, CPU of both sides): without it a mail of 10 KiB costs a quarter more, with it an
/// unsigned one of 1 MiB twice as much. Signed mail can't be skipped, and most mail is one chunk.
const WANTED_OPTIONS: ProtoOpts = ProtoOpts::NO_UNKNOWN
    .union(ProtoOpts::LEADING_SPACE)
    .union(ProtoOpts::SKIP)
    .union(ProtoOpts::NOREPLY_CONNECT)
    .union(ProtoOpts::NOREPLY_HELO)
    .union(ProtoOpts::NOREPLY_MAIL)
    .union(ProtoOpts::NOREPLY_RCPT)
    .union(ProtoOpts::NOREPLY_DATA)
    .union(ProtoOpts::NOREPLY_HEADER)
    .union(ProtoOpts::NOREPLY_EOH)
    .union(ProtoOpts::NOREPLY_BODY);

/// Sendmail tells the queue id at MAIL; Postfix at DATA, or MAIL for mail from sendmail(1), and again
/// at the end. `-` is no macro: to both MTAs an empty list means that of their own settings, which for
/// Postfix has the id before every header field.
const MACROS: &[(MacroStage, &std::ffi::CStr)] = &[
    (MacroStage::Connect, c"{daemon_name} {client_addr}"),
    (MacroStage::Helo, c"-"),
    (MacroStage::Mail, c"i {auth_authen}"),
    (MacroStage::Rcpt, c"-"),
    (MacroStage::Data, c"i"),
    (MacroStage::Eoh, c"-"),
    (MacroStage::Eom, c"i"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_no_more_than_is_offered() {
        let old = Negotiated::from_offer(Actions::ADD_HEADER, ProtoOpts::NO_BODY);
        assert_eq!(old.options(), ProtoOpts::empty());
        assert_eq!(old.missing(), Actions::CHANGE_HEADER);
        assert!(old.macros().is_empty());
        let new = Negotiated::from_offer(Actions::all(), ProtoOpts::all());
        assert!(new.missing().is_empty());
        assert!(new.leading_space());
        assert_eq!(new.macros().len(), 7);
        for (given, stood) in [
            ("v", " v"),
            ("", " "),
            ("\tv", "\tv"),
            ("\n v", "\n v"),
            (" v", "  v"),
        ] {
            assert_eq!(&*old.with_leading_space(given.as_bytes()), stood.as_bytes());
            assert_eq!(&*new.with_leading_space(given.as_bytes()), given.as_bytes());
        }
        assert!(!new.actions().contains(Actions::REPLACE_BODY));
    }
}
