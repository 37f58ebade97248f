//! What `reports.db` keeps, in our words: claims, kept reports, the outbox, destinations that are not
//! confirmed or whose mail fails.
//!
//! Owns those types. Pure: the SQL is in `sqlite::reports`.

use crate::domain::DomainName;
use crate::report::aggregate::{Format, Head};
use crate::store::fold::{Building, Include};
use crate::time::{Timestamp, UtcDay};
use crate::word::words;

/// Which outcomes of a policy domain's day something is about: those whose number in the outcome
/// table is above `after` and not above `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    pub after: i64,
    pub up_to: i64,
}

words! {
    /// What a range of a domain's day came to.
    CameTo {
        /// One report or more were kept.
        Reported = "reported",
        /// Nothing in it may be reported: rejected, refused later, unknown.
        Nothing = "nothing",
        /// Reports and bounces alone, which never cause a report.
        IncludedOnly = "included_only",
        /// Fewer messages than `report.min_messages`.
        Few = "few",
        /// `report.skip_domains` or `report.only_domains`.
        Skipped = "skipped",
        /// The record asks for no reports, or for none that could be sent.
        NoDestination = "no_destination",
    }
}

/// A range that is dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    pub day: UtcDay,
    pub policy_domain: DomainName,
    pub range: Range,
    pub came_to: CameTo,
    /// Which mail was taken in.
    pub include: Include,
    /// Messages in it that could be reported.
    pub messages: u64,
    /// Messages that could not, because their client's address is unknown.
    pub left_out: u64,
}

impl Covered {
    /// Which mail it was about.
    pub fn building(&self) -> Building {
        Building {
            day: self.day,
            range: self.range,
            include: self.include,
        }
    }
}

/// The right to build what one policy domain has to report about one day, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub day: UtcDay,
    pub policy_domain: DomainName,
    /// Where the range begins: what was covered before.
    pub after: i64,
    /// Never given twice: who has an older one can write no more.
    pub(super) fence: i64,
}

/// A policy domain whose day somebody wants to build, and what of it they saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub policy_domain: DomainName,
    /// How far that day is covered; 0: not at all.
    pub after: i64,
    /// How far other days are, which could have counted some of the same messages: none of them may be
    /// under way, or the messages might be counted twice.
    pub beside: Vec<(UtcDay, i64)>,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    Lease(Lease),
    /// Somebody else builds it, or died building it, until then.
    Taken(Timestamp),
    /// Somebody else has covered more of that day than the asker knew.
    Covered,
}

/// A report that is built, its XML spooled but for the last piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    pub head: Head,
    pub format: Format,
    /// Which of the lease's reports: under what its pieces were spooled.
    pub part: u8,
    /// `record` elements.
    pub rows: u64,
    pub messages: u64,
    /// Octets of gzipped XML, the last piece included.
    pub octets: u64,
    /// Pieces spooled before the last.
    pub pieces: u32,
    pub last_piece: Vec<u8>,
}

/// What a lease came to; kept in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub lease: Lease,
    pub up_to: i64,
    pub came_to: CameTo,
    pub include: Include,
    pub messages: u64,
    pub left_out: u64,
    pub reports: Vec<NewReport>,
    /// Each report goes to each of these.
    pub destinations: Vec<Destination>,
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// As published in `rua`.
    pub uri: String,
    /// `local@domain`; `None` for a URI that nothing can be sent to.
    pub address: Option<String>,
    pub standing: Standing,
}

/// Whether a destination may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// DNS did not answer: to be checked at that time.
    ToVerify(Timestamp),
    /// To be sent from that time on.
    Verified(Timestamp),
    Refused(String),
}

/// The number of a kept report, for people too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportNumber(pub i64);

/// A report as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReport {
    pub number: ReportNumber,
    pub head: Head,
    pub format: Format,
    pub range: Range,
    pub rows: u64,
    pub messages: u64,
    /// Octets of gzipped XML.
    pub octets: u64,
    pub built: Timestamp,
}

/// Which kept reports; `default()` is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportFilter {
    pub day: Option<UtcDay>,
    pub policy_domain: Option<DomainName>,
    /// Only those with a number below this: the next page of a listing.
    pub below: Option<ReportNumber>,
    /// At most this many, the newest ones; `None`: 1,000.
    pub limit: Option<u32>,
}

words! {
    /// Where a report stands on its way to one destination.
    OutboxState {
        /// Whether it may be sent there is not known yet.
        ToVerify = "to_verify",
        Queued = "queued",
        Sent = "sent",
        Refused = "refused",
        /// Tried for as long as `delivery.retry_for` allows, here or by a mail server on the way.
        Expired = "expired",
    }
}

impl OutboxState {
    /// Whether something is still to be done.
    pub fn waits(self) -> bool {
        match self {
            Self::ToVerify | Self::Queued => true,
            Self::Sent | Self::Refused | Self::Expired => false,
        }
    }
}

/// One report on its way to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    pub number: i64,
    pub report: ReportNumber,
    pub uri: String,
    pub address: Option<String>,
    pub state: OutboxState,
    /// How often it was taken to be sent or verified.
    pub attempts: u32,
    /// When its report was built, or sent again: the time it has counts from here.
    pub since: Timestamp,
    /// Of the attempts, those since then.
    pub tries: u32,
    /// While it waits.
    pub next_try: Option<Timestamp>,
    pub last_try: Option<Timestamp>,
    /// What the server said last, or why the destination is refused.
    pub last_answer: Option<String>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It may be sent, from that time on, to the address of the URI or to those that the receiver put
    /// in its place. Only after `ToVerify`. Those that the report goes to anyway are left out, and where
    /// none is left it is refused.
    Verified {
        addresses: Vec<String>,
        /// To how many verified addresses a report goes at all: `report.max_destinations`.
        most: usize,
        at: Timestamp,
    },
    Sent {
        answer: String,
    },
    Deferred {
        next_try: Timestamp,
        answer: String,
    },
    Refused {
        answer: String,
    },
    Expired {
        answer: String,
    },
}

/// How many outbox entries stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    pub to_verify: u64,
    pub queued: u64,
    pub refused: u64,
    pub expired: u64,
    /// The earliest next try of those that wait.
    pub next_try: Option<Timestamp>,
}

/// Mails that were tried and wait to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InVain {
    pub mails: u64,
    /// The last try of any of them, and what was said to it.
    pub last_try: Timestamp,
    pub last_answer: String,
    /// When the first of their reports was built.
    pub oldest: Timestamp,
    /// When another mail was last sent; `None`: not lately.
    pub last_sent: Option<Timestamp>,
}

/// Mails that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    pub mails: u64,
    /// The report of the last of them, and what was said to it.
    pub last: ReportNumber,
    pub last_answer: String,
}

/// A destination that the external check did not confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    pub policy_domain: DomainName,
    pub uri: String,
    pub reason: String,
    pub since: Timestamp,
    /// How often it was checked.
    pub checks: u32,
    pub next_check: Timestamp,
}

/// What the external check (RFC 9990 §4) came to, about a URI of a policy domain's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub policy_domain: DomainName,
    pub uri: String,
    pub consent: Consent,
}

/// Whether the receiver agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    Confirmed,
    /// To be checked again at `next_check`.
    Unconfirmed {
        reason: String,
        next_check: Timestamp,
    },
}

/// An address, or a domain, whose mail fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// `local@domain` or `domain`.
    pub who: String,
    /// Permanent failures since it was last suppressed.
    pub failures: u32,
    /// How often it was suppressed.
    pub times: u32,
    /// Of the last failure or suppression.
    pub since: Timestamp,
    /// Nothing is sent there before this; `None`: not suppressed.
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// A permanent failure of mail to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'a> {
    pub address: &'a str,
    /// What its server said.
    pub reason: &'a str,
    /// The outbox entry whose mail came back; `None`: the server refused it to our face.
    pub returned: Option<i64>,
}

/// What failures come to.
pub struct Terms<'a> {
    /// How many suppress.
    pub failures: u32,
    /// Until when the nth time (from 1).
    pub until: &'a dyn Fn(u32) -> Timestamp,
}

/// What a failure came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// The mail that came back had not been sent, or came back before.
    Known,
    /// Nothing is sent there any more, and this mail was sent before: it isn't counted.
    Suppressed,
    /// It is the first.
    Counted,
    /// Nothing is sent there before this.
    Address(Suppression),
    /// Nor to any other address of the domain.
    Domain(Suppression),
}

/// What a pass of retention deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportsExpired {
    pub reports: u64,
}
