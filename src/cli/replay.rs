//! What the commands that go through stored verdicts share: the walk with its progress at a terminal, and the rules that
//! are in force.

use super::{Failure, now};
use crate::config::Config;
use crate::policy::rules::{KeyedRule, RuleSet};
use crate::store::{Decided, Filter, Reader, Stored};
use std::io::{IsTerminal, stderr};

/// Those of the settings and those of the store.
pub fn rules(config: &Config, reader: &Reader) -> Result<RuleSet, Failure> {
    let stored = reader.rules_in_force(now())?.rules.into_iter();
    Ok(config.rules(stored.map(|(key, rule)| KeyedRule { key, rule })))
}

/// Hands over every message that was decided in one of these ways, whole, with progress at a terminal.
pub fn walk(
    reader: &Reader,
    filter: &Filter,
    decided: &[Decided],
    mut visit: impl FnMut(Stored),
) -> Result<(), Failure> {
    let mut walk = Walk::over(decided.iter().map(|decided| decided.messages).sum());
    for some in decided.chunks(MOST_KEYS) {
        let filter = Filter {
            decided: Some(some.iter().map(|decided| decided.key).collect()),
            ..filter.clone()
        };
        for stored in reader.whole_messages(&filter) {
            visit(stored?);
            walk.step();
        }
    }
    Ok(())
}

/// How far a long walk has come, on one line of a terminal.
struct Walk {
    shown: bool,
    done: u64,
    of: u64,
}

impl Walk {
    fn over(messages: u64) -> Self {
        Self {
            shown: stderr().is_terminal() && messages > EVERY,
            done: 0,
            of: messages,
        }
    }

    /// One more message.
    fn step(&mut self) {
        self.done += 1;
        if self.shown && self.done.is_multiple_of(EVERY) {
            eprint!("\r{} of {} messages", self.done, self.of);
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

const EVERY: u64 = 5_000;

/// SQLite takes 32,766 values in a statement.
const MOST_KEYS: usize = 10_000;
