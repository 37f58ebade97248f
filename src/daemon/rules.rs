//! The rules that the milter decides by: those of the settings and those of the store, exchanged whole
//! whenever either changes.

use super::SystemClock;
use crate::config::Config;
use crate::policy::rules::{KeyedRule, RuleSet};
use crate::store::Reader;
use crate::time::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{error, warn};

/// Those of the store, as they were read last.
#[derive(Debug, Default)]
pub struct StoredRules {
    /// The directory of the store.
    directory: PathBuf,
    rules: Vec<KeyedRule>,
}

impl StoredRules {
    /// Reads them for the first time.
    pub fn read(directory: PathBuf) -> Self {
        let mut rules = Self {
            directory,
            rules: Vec::new(),
        };
        rules.read_again();
        rules
    }

    /// Where they cannot be read, they stay as they were.
    pub fn read_again(&mut self) {
        let now = SystemClock.now();
        let read = Reader::open(&self.directory)
            .map_err(|problem| problem.to_string())
            .and_then(|reader| {
                reader
                    .rules_in_force(now)
                    .map_err(|problem| problem.to_string())
            });
        match read {
            Ok(in_force) => {
                for id in in_force.unreadable {
                    warn!(%id, "an exception of the store can't be read and does nothing: a later alignd wrote it");
                }
                let rules = in_force.rules.into_iter();
                self.rules = rules.map(|(key, rule)| KeyedRule { key, rule }).collect();
            }
            Err(problem) => {
                error!(
                    problem,
                    "the exceptions of the store can't be read; those read before hold"
                );
            }
        }
    }

    /// All that hold under these settings.
    pub fn with(&self, config: &Config) -> Arc<RuleSet> {
        Arc::new(config.rules(self.rules.iter().cloned()))
    }
}
