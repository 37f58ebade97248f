//! What is held, put together for the daily digest: counted, grouped, and what it announces to be deleted.
//!
//! Owns that gathering. Reads the store page by page, asks no MTA, sends nothing.

use super::QuarantineError;
use super::expire::{ends, is_announced_by};
use crate::address::ReversePath;
use crate::digest::{Digest, Example, Expiry, GROUPS, Group, NOTICE, Purpose, RECIPIENTS, Rest};
use crate::domain::DomainName;
use crate::policy::Cause;
use crate::store::{DigestMark, HeldFilter, HeldIn, HeldMessage, Reader};
use crate::time::Timestamp;
use crate::verdict::suggest::suggestions;
use crate::verdict::{VerdictId, grounds};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What of the settings a digest is made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestTerms {
    /// `identity.authserv_id`
    pub host: String,
    /// This host's time zone.
    pub zone: Tz,
    /// `quarantine.expire_after`; `None`: never.
    pub expire_after: Option<Duration>,
}

/// A digest, and what its announcement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    pub digest: Digest,
    /// To be written down as announced, once the mail server took it.
    pub announced: Vec<VerdictId>,
    /// Announced by an earlier digest, and not to be deleted now that the settings are others.
    pub withdrawn: Vec<VerdictId>,
}

/// Puts together what is held at `now`; `last` is how far the digests are.
pub fn gather(
    reader: &Reader,
    terms: &DigestTerms,
    purpose: Purpose,
    last: Option<DigestMark>,
    now: Timestamp,
) -> Result<Gathered, QuarantineError> {
    let counts = reader.held_counts().map_err(QuarantineError::Read)?;
    let sent = last.and_then(|mark| mark.sent);
    let mut tally = Tally::new(sent, terms.expire_after, now);
    let mut page = HeldFilter {
        place: HeldIn::Queue,
        ..HeldFilter::default()
    };
    while tally.messages < MOST {
        let found = reader.held(&page).map_err(QuarantineError::Read)?;
        let Some(last) = found.last() else { break };
        page.beyond = Some(last.id);
        found.iter().for_each(|message| tally.count(message));
    }
    let expiry = terms.expire_after.map(|after| Expiry {
        after,
        from: now.plus_micros(NOTICE),
        messages: tally.going,
        earlier: tally.earlier,
    });
    let (groups, rest) = groups(reader, tally.groups, counts.messages)?;
    Ok(Gathered {
        digest: Digest {
            host: terms.host.clone(),
            at: now,
            zone: terms.zone,
            purpose,
            held: counts.messages,
            oldest: counts.since,
            last: tally.sent,
            new: tally.new,
            groups,
            rest,
            expiry,
        },
        announced: tally.announced,
        withdrawn: tally.withdrawn,
    })
}

/// What was counted so far.
struct Tally {
    /// When the last digest was sent.
    sent: Option<Timestamp>,
    expire_after: Option<Duration>,
    now: Timestamp,
    messages: u64,
    new: u64,
    going: u64,
    earlier: u64,
    groups: HashMap<Option<DomainName>, Gathering>,
    announced: Vec<VerdictId>,
    withdrawn: Vec<VerdictId>,
}

/// A group while it is counted.
struct Gathering {
    messages: u64,
    new: u64,
    going: u64,
    oldest: Timestamp,
    newest: (Timestamp, VerdictId),
    causes: BTreeMap<&'static str, (Cause, u64)>,
    recipients: BTreeSet<DomainName>,
}

impl Tally {
    fn new(sent: Option<Timestamp>, expire_after: Option<Duration>, now: Timestamp) -> Self {
        Self {
            sent,
            expire_after,
            now,
            messages: 0,
            new: 0,
            going: 0,
            earlier: 0,
            groups: HashMap::new(),
            announced: Vec::new(),
            withdrawn: Vec::new(),
        }
    }

    fn count(&mut self, message: &HeldMessage) {
        self.messages += 1;
        let is_new = self.sent.is_none_or(|sent| message.since > sent);
        let is_going = self.announce(message);
        self.new += u64::from(is_new);
        self.going += u64::from(is_going);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&message.author_domain) {
            return;
        }
        let group = self
            .groups
            .entry(message.author_domain.clone())
            .or_insert_with(|| Gathering::of(message));
        group.messages += 1;
        group.new += u64::from(is_new);
        group.going += u64::from(is_going);
        group.oldest = group.oldest.min(message.since);
        group.newest = group.newest.max((message.since, message.id));
        let cause = group.causes.entry(message.cause.as_str());
        cause.or_insert((message.cause, 0)).1 += 1;
        for domain in &message.recipient_domains {
            if group.recipients.len() < MAX_RECIPIENTS {
                group.recipients.insert(domain.clone());
            }
        }
    }

    /// Whether this digest announces its deletion.
    fn announce(&mut self, message: &HeldMessage) -> bool {
        let after = self.expire_after;
        let is_due = message.by_us
            && after.is_some_and(|after| is_announced_by(ends(message.since, after), self.now));
        match (is_due, message.announced) {
            (true, Some(at)) if at <= self.now => self.earlier += 1,
            (true, Some(_) | None) if self.announced.len() < MAX_ANNOUNCED => {
                self.announced.push(message.id);
            }
            // The next digest has room for it.
            (true, Some(_) | None) => return false,
            (false, Some(_)) => self.withdrawn.push(message.id),
            (false, None) => {}
        }
        is_due
    }
}

impl Gathering {
    fn of(message: &HeldMessage) -> Self {
        Self {
            messages: 0,
            new: 0,
            going: 0,
            oldest: message.since,
            newest: (message.since, message.id),
            causes: BTreeMap::new(),
            recipients: BTreeSet::new(),
        }
    }
}

/// The largest, and what they leave of all that are held.
fn groups(
    reader: &Reader,
    gathered: HashMap<Option<DomainName>, Gathering>,
    held: u64,
) -> Result<(Vec<Group>, Rest), QuarantineError> {
    let domains = gathered.len() as u64;
    let mut gathered: Vec<_> = gathered.into_iter().collect();
    gathered.sort_by(|(one, a), (other, b)| {
        let keeps = |gathering: &Gathering| gathering.going == 0;
        let first = keeps(a).cmp(&keeps(b));
        first.then(b.messages.cmp(&a.messages)).then(one.cmp(other))
    });
    gathered.truncate(GROUPS);
    let groups: Vec<Group> = gathered
        .into_iter()
        .map(|(author, gathering)| group(reader, author, gathering))
        .collect::<Result<_, _>>()?;
    let shown: u64 = groups.iter().map(|group| group.messages).sum();
    let rest = Rest {
        domains: domains.saturating_sub(groups.len() as u64),
        messages: held.saturating_sub(shown),
    };
    Ok((groups, rest))
}

fn group(
    reader: &Reader,
    author: Option<DomainName>,
    gathering: Gathering,
) -> Result<Group, QuarantineError> {
    let mut causes: Vec<(Cause, u64)> = gathering.causes.into_values().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let known = gathering.recipients.len();
    let recipients: Vec<DomainName> = gathering.recipients.into_iter().take(RECIPIENTS).collect();
    Ok(Group {
        author,
        messages: gathering.messages,
        new: gathering.new,
        oldest: gathering.oldest,
        going: gathering.going,
        causes,
        more_recipients: known.saturating_sub(recipients.len()) as u64,
        recipients,
        example: example(reader, gathering.newest.1)?,
    })
}

/// `None`: it isn't held any more.
fn example(reader: &Reader, id: VerdictId) -> Result<Option<Example>, QuarantineError> {
    let Some(stored) = reader.find(id).map_err(QuarantineError::Read)? else {
        return Ok(None);
    };
    let verdict = &stored.verdict;
    let envelope = &verdict.envelope;
    // What is handed to a shell by copying is letters and digits, or else the verdict's id.
    let is_plain = |id: &&String| {
        (1..=MAX_QUEUE_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let queue_id = envelope.queue_id.as_ref().filter(is_plain);
    Ok(Some(Example {
        id: queue_id.map_or_else(|| verdict.id.to_string(), String::clone),
        envelope_from: match &envelope.mail_from {
            ReversePath::Null => Some(String::new()),
            ReversePath::Mailbox(mailbox) => Some(mailbox.domain.to_string()),
            ReversePath::Unparseable(_) => None,
        },
        grounds: grounds::in_short(verdict),
        suggestion: suggestions(verdict)
            .first()
            .map(|suggestion| suggestion.rule.to_string()),
    }))
}

/// Messages that one digest looks at, the first ones; the numbers are of all.
const MOST: u64 = 100_000;
/// Domains that are counted one by one.
const MAX_GROUPS: usize = 10_000;
/// Recipients' domains of a group that are counted one by one.
const MAX_RECIPIENTS: usize = 100;
/// Messages whose deletion one digest announces.
const MAX_ANNOUNCED: usize = 10_000;
const MAX_QUEUE_ID: usize = 64;
