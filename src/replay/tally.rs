//! What would have been different: sums by what was done, what would be, author domain and stream.
//!
//! Owns those sums, bounded whatever the mail. Pure.

use super::{Stream, is_forwarded};
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::policy::Action;
use crate::verdict::{Verdict, VerdictId};
use std::collections::HashMap;

/// The sums of a replay.
#[derive(Debug, Default)]
pub struct Tally {
    /// Replayed, with what changed and what didn't.
    pub messages: u64,
    groups: HashMap<Key, Sums>,
    others: HashMap<(Action, Action), Sums>,
}

/// Mail of one domain and stream that would have been treated otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub was: Action,
    pub would_be: Action,
    /// `None` with a stream: no single author domain.
    pub author_domain: Option<DomainName>,
    /// `None`: of all streams that there was no room for.
    pub stream: Option<Stream>,
    pub messages: u64,
    /// Of those: failed as forwarded mail fails.
    pub forwarded: u64,
    /// The newest of them.
    pub newest: VerdictId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    was: Action,
    would_be: Action,
    author_domain: Option<DomainName>,
    stream: Stream,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    messages: u64,
    forwarded: u64,
    newest: VerdictId,
}

impl Tally {
    /// Messages that are treated as they were.
    pub fn unchanged(&mut self, messages: u64) {
        self.messages = self.messages.saturating_add(messages);
    }

    /// One message, and what would be done with it.
    pub fn add(&mut self, verdict: &Verdict, would_be: Action) {
        self.unchanged(1);
        let was = verdict.decision.action();
        if was == would_be {
            return;
        }
        let key = Key {
            was,
            would_be,
            author_domain: match &verdict.message.author {
                Author::One(domain) => Some(domain.clone()),
                Author::Missing | Author::Several(_) | Author::Unparseable(_) => None,
            },
            stream: Stream::of(verdict),
        };
        let one = Sums {
            messages: 1,
            forwarded: u64::from(is_forwarded(verdict)),
            newest: verdict.id,
        };
        let has_room = self.groups.len() < MAX_GROUPS || self.groups.contains_key(&key);
        let sums = if has_room {
            self.groups.entry(key).and_modify(|sums| sums.add(one))
        } else {
            let others = self.others.entry((was, would_be));
            others.and_modify(|sums| sums.add(one)).or_insert(one);
            return;
        };
        sums.or_insert(one);
    }

    /// What changed, the most messages first.
    pub fn changed(self) -> Vec<Changed> {
        let groups = self.groups.into_iter().map(|(key, sums)| {
            let stream = Some(key.stream);
            sums.changed((key.was, key.would_be), key.author_domain, stream)
        });
        let others = self.others.into_iter();
        let others = others.map(|(moved, sums)| sums.changed(moved, None, None));
        let mut changed: Vec<Changed> = groups.chain(others).collect();
        changed.sort_by(|a, b| {
            let order = |c: &Changed| (c.stream.is_none(), u64::MAX - c.messages);
            let name = |c: &Changed| (c.author_domain.clone(), c.stream.clone());
            (order(a), name(a)).cmp(&(order(b), name(b)))
        });
        changed
    }
}

impl Sums {
    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.forwarded += more.forwarded;
        self.newest = self.newest.max(more.newest);
    }

    fn changed(
        self,
        (was, would_be): (Action, Action),
        author_domain: Option<DomainName>,
        stream: Option<Stream>,
    ) -> Changed {
        Changed {
            was,
            would_be,
            author_domain,
            stream,
            messages: self.messages,
            forwarded: self.forwarded,
            newest: self.newest,
        }
    }
}

/// Groups told apart; beyond them only the sums are kept.
const MAX_GROUPS: usize = 100_000;
