//! What the commands that go through stored verdicts share: progress at a terminal, and the rules that
//! are in force.

use super::{Failure, now};
use crate::config::Config;
use crate::policy::rules::{KeyedRule, RuleSet};
use crate::store::Reader;
use std::io::{IsTerminal, stderr};

/// Those of the settings and those of the store.
pub fn rules(config: &Config, reader: &Reader) -> Result<RuleSet, Failure> {
    let stored = reader.rules_in_force(now())?.rules.into_iter();
    Ok(config.rules(stored.map(|(key, rule)| KeyedRule { key, rule })))
}

/// How far a long walk has come, on one line of a terminal.
pub struct Walk {
    shown: bool,
    done: u64,
    of: u64,
}

impl Walk {
    pub fn over(messages: u64) -> Self {
        Self {
            shown: stderr().is_terminal() && messages > EVERY,
            done: 0,
            of: messages,
        }
    }

    /// One more message.
    pub fn step(&mut self) {
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
