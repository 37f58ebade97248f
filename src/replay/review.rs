//! Which mail an operator should look at: held or refused and perhaps wrongly so, or let in and perhaps
//! wrongly so. Ranked by grounds, then by how much of it there is.
//!
//! Owns the grounds and what each weighs. Pure. A rank is no verdict: it says where to look first.

use super::stream::StreamKind;
use super::{Stream, is_forwarded};
use crate::auth::dmarc::Policy;
use crate::domain::DomainName;
use crate::message::author::Author;
use crate::outcome::OutcomeState;
use crate::policy::Action;
use crate::verdict::{Verdict, VerdictId};
use crate::word::words;
use std::collections::{BTreeSet, HashMap, HashSet};

words! {
    /// What may have been wrong.
    Doubt {
        /// It was held or refused, and should perhaps have been accepted.
        Blocked = "blocked",
        /// It was accepted, and should perhaps not have been.
        LetIn = "let_in",
    }
}

words! {
    /// Why it is doubtful. Each weighs as much as `weight` says.
    Grounds {
        /// Such mail was released before.
        Released = "released_before",
        /// It failed as forwarded mail fails.
        Forwarded = "forwarded",
        /// A verified domain vouches for the list it came by.
        List = "verified_list",
        /// A signature or SPF verifies who handed it over.
        Verified = "verified",
        /// The domain's own mail passes elsewhere, so the domain's policy is sound.
        PassesOtherwise = "passes_otherwise",
        /// Nothing in it is verified.
        NothingVerified = "nothing_verified",
        /// The client's name isn't confirmed either.
        NoName = "no_reverse_name",
        /// Its author domain asks for reject.
        AsksReject = "p_reject",
    }
}

impl Grounds {
    /// How much it weighs.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Released => 4,
            Self::Forwarded | Self::NothingVerified => 3,
            Self::List | Self::PassesOtherwise => 2,
            Self::Verified | Self::NoName | Self::AsksReject => 1,
        }
    }
}

/// Mail of one domain and stream that may have been treated wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub doubt: Doubt,
    pub author_domain: DomainName,
    pub stream: Stream,
    pub messages: u64,
    /// Of those: still in the hold queue.
    pub held: u64,
    pub grounds: Vec<Grounds>,
    /// The newest of them, a held one if there is any.
    pub example: VerdictId,
}

/// Gathers candidates from messages in any order.
#[derive(Debug, Default)]
pub struct Review {
    groups: HashMap<(Doubt, DomainName, Stream), Sums>,
}

#[derive(Debug)]
struct Sums {
    messages: u64,
    held: u64,
    grounds: BTreeSet<Grounds>,
    example: (bool, VerdictId),
}

impl Candidate {
    /// What its grounds weigh together.
    pub fn rank(&self) -> u32 {
        self.grounds.iter().map(|grounds| grounds.weight()).sum()
    }
}

impl Review {
    /// One message, and what became of it.
    pub fn add(&mut self, verdict: &Verdict, outcome: OutcomeState) {
        let Author::One(author) = &verdict.message.author else {
            return;
        };
        let Some(doubt) = doubt(verdict, outcome) else {
            return;
        };
        let stream = Stream::of(verdict);
        let grounds = match doubt {
            Doubt::Blocked => blocked(&stream, outcome, is_forwarded(verdict)),
            Doubt::LetIn => let_in(verdict, &stream),
        };
        let key = (doubt, author.clone(), stream);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            return;
        }
        let is_held = outcome == OutcomeState::Held;
        let sums = self.groups.entry(key).or_insert_with(|| Sums {
            messages: 0,
            held: 0,
            grounds: BTreeSet::new(),
            example: (is_held, verdict.id),
        });
        sums.messages += 1;
        sums.held += u64::from(is_held);
        sums.grounds.extend(grounds);
        sums.example = sums.example.max((is_held, verdict.id));
    }

    /// Mail of these author domains passes.
    pub fn pass(&mut self, author_domains: &HashSet<String>) {
        for ((doubt, domain, _), sums) in &mut self.groups {
            let is_doubtful = *doubt == Doubt::LetIn && !sums.grounds.is_empty();
            if is_doubtful && author_domains.contains(domain.as_str()) {
                sums.grounds.insert(Grounds::PassesOtherwise);
            }
        }
    }

    /// The candidates, the most doubtful first; those without any ground are none.
    pub fn candidates(self) -> Vec<Candidate> {
        let groups = self.groups.into_iter();
        let candidates = groups.map(|((doubt, author_domain, stream), sums)| Candidate {
            doubt,
            author_domain,
            stream,
            messages: sums.messages,
            held: sums.held,
            grounds: sums.grounds.into_iter().collect(),
            example: sums.example.1,
        });
        let mut candidates: Vec<Candidate> = candidates.filter(|c| c.rank() > 0).collect();
        candidates.sort_by(|a, b| {
            let order = |c: &Candidate| (c.doubt, u32::MAX - c.rank(), u64::MAX - c.messages);
            (order(a), &a.author_domain, &a.stream).cmp(&(order(b), &b.author_domain, &b.stream))
        });
        candidates
    }
}

/// Only failures can be doubtful, and what was let in only where the domain asks for more.
fn doubt(verdict: &Verdict, outcome: OutcomeState) -> Option<Doubt> {
    let is_failure = super::is_for_rules(verdict.decision.cause());
    let applied = verdict.evaluation.as_ref()?.policy.as_ref()?.applied;
    match (verdict.decision.action(), outcome) {
        _ if !is_failure => None,
        (_, OutcomeState::RefusedLater | OutcomeState::Deleted) => None,
        (Action::Hold | Action::Reject, _) => Some(Doubt::Blocked),
        (Action::Accept, _) if applied != Policy::None => Some(Doubt::LetIn),
        (Action::Accept | Action::Tempfail, _) => None,
    }
}

fn blocked(stream: &Stream, outcome: OutcomeState, is_forwarded: bool) -> Vec<Grounds> {
    let mut grounds = Vec::new();
    if outcome == OutcomeState::Released {
        grounds.push(Grounds::Released);
    }
    if is_forwarded {
        grounds.push(Grounds::Forwarded);
    }
    match stream.kind {
        StreamKind::List => grounds.push(Grounds::List),
        StreamKind::Signer | StreamKind::Spf => grounds.push(Grounds::Verified),
        StreamKind::ReverseName | StreamKind::Network | StreamKind::Unknown => {}
    }
    grounds
}

fn let_in(verdict: &Verdict, stream: &Stream) -> Vec<Grounds> {
    // Whoever is verified as somebody else is a forwarder more often than a forger.
    let unverified = match stream.kind {
        StreamKind::List | StreamKind::Signer | StreamKind::Spf => return Vec::new(),
        StreamKind::ReverseName => vec![Grounds::NothingVerified],
        StreamKind::Network | StreamKind::Unknown => {
            vec![Grounds::NothingVerified, Grounds::NoName]
        }
    };
    let asks_reject = verdict.decision.published() == Some(Policy::Reject);
    let asks_reject = asks_reject.then_some(Grounds::AsksReject);
    unverified.into_iter().chain(asks_reject).collect()
}

/// Groups told apart, and domains remembered; what comes beyond is left out.
const MAX_GROUPS: usize = 100_000;
