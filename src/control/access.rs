//! Who may ask what: the peer's user, as the kernel names it, against `control.outcome_users`.
//!
//! Owns that judgement. Looks users up in the host's database, which may take time; reads no
//! request.

use super::protocol::Request;
use crate::local_socket::Peer;
use nix::unistd::User;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name, for the history: `alice`, `alice (as root)`.
    pub who: String,
    pub rank: Rank,
}

/// How much a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// root, and the user that alignd runs as: everything.
    Operator,
    /// One of `control.outcome_users`: tell outcomes, nothing else.
    Teller,
}

impl Caller {
    /// The peer as a caller; `None`: it may ask nothing.
    pub fn of(peer: Peer, outcome_users: &[String]) -> Option<Self> {
        let rank = if peer.uid == ROOT || peer == Peer::ourselves() {
            Rank::Operator
        } else if outcome_users.iter().any(|name| is_user(name, peer)) {
            Rank::Teller
        } else {
            return None;
        };
        Some(Self {
            who: peer.name(),
            rank,
        })
    }

    /// The same caller asking for another person; only root's word, and that of alignd's own user, counts for that.
    pub fn on_behalf_of(self, person: Option<&str>) -> Self {
        let person = person.filter(|_| self.rank == Rank::Operator);
        let Some(person) = person.filter(|person| is_user_name(person)) else {
            return self;
        };
        Self {
            who: format!("{person} (as {})", self.who),
            ..self
        }
    }

    pub fn may(&self, request: &Request) -> bool {
        match (self.rank, request) {
            (Rank::Operator, _) | (Rank::Teller, Request::Ping(_) | Request::Outcome(_)) => true,
            (
                Rank::Teller,
                Request::Release(_)
                | Request::Delete(_)
                | Request::Expire(_)
                | Request::AddException(_)
                | Request::RemoveException(_)
                | Request::Held(_),
            ) => false,
        }
    }
}

fn is_user(name: &str, peer: Peer) -> bool {
    matches!(User::from_name(name), Ok(Some(user)) if user.uid.as_raw() == peer.uid)
}

/// useradd(8): at most 32 characters.
fn is_user_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '$' | '@');
    matches!(text.len(), 1..=64) && text.chars().all(fits)
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_ourselves_may_everything_and_others_only_what_they_are_named_for() {
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        let named = ["nobody".to_owned(), "no-such-user".to_owned()];
        for (uid, users, rank) in [
            (0, &[][..], Some(Rank::Operator)),
            (Peer::ourselves().uid, &[], Some(Rank::Operator)),
            (nobody, &[], None),
            (nobody, &named[..], Some(Rank::Teller)),
            (nobody, &named[1..], None),
            (4_000_000_000, &named[..], None),
        ] {
            let caller = Caller::of(Peer { uid }, users);
            assert_eq!(caller.map(|c| c.rank), rank, "{uid} {users:?}");
        }
    }

    #[test]
    fn a_person_behind_sudo_is_named_and_nobody_else_can_be() {
        let caller = |rank| Caller {
            who: "root".to_owned(),
            rank,
        };
        for (rank, person, who) in [
            (Rank::Operator, Some("alice"), "alice (as root)"),
            (Rank::Operator, None, "root"),
            (Rank::Operator, Some("a\nb"), "root"),
            (Rank::Operator, Some(""), "root"),
            (Rank::Teller, Some("alice"), "root"),
        ] {
            assert_eq!(caller(rank).on_behalf_of(person).who, who);
        }
    }
}
