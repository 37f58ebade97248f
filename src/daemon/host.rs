//! What a mail host does besides taking mail, started beside the milter: who follows the mail log, and who looks into
//! the hold queue. Mail depends on neither.

use super::SystemClock;
use crate::config::Config;
use crate::host::{Follower, Reconciler, TURN, system_zone};
use crate::mta::Helper;
use crate::store::Store;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

/// Follows the mail log, where one is named. Mail must not wait for what it lacks.
pub fn follow(
    config: &Config,
    store: &Store,
    stopped: &watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let source = config.outcome.log.as_ref()?;
    let (directory, zone) = (&config.store.path, system_zone());
    let clock = Arc::new(SystemClock);
    match Follower::open(source, directory, zone, store.clone(), clock, TURN) {
        Ok(follower) => Some(tokio::spawn(follower.run(stopped.clone()))),
        Err(problem) => {
            error!(%problem, "the mail log is not followed: mend it and restart alignd");
            None
        }
    }
}

/// Compares the MTA's hold queue with what the store believes to be held, while anything is.
pub fn reconcile(
    config: &Config,
    store: &Store,
    stopped: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let queue = &config.quarantine.queue;
    let reconciler = Reconciler::new(
        Helper::new(&queue.helper_socket),
        queue.mta,
        store.clone(),
        config.store.path.clone(),
        Arc::new(SystemClock),
        config.outcome.settle,
    );
    tokio::spawn(reconciler.run(config.outcome.pace(), stopped.clone()))
}
