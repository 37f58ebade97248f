//! What a mail host does besides taking mail, started beside the milter: who follows the mail log, and who looks into
//! the hold queue. Mail depends on neither.

use super::SystemClock;
use crate::config::Config;
use crate::host::{Follower, PlaceError, Reconciler, TURN, system_zone};
use crate::milter::Settings;
use crate::mta::Helper;
use crate::store::Store;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

/// Starts both, to end after `stopped`.
pub fn start(
    config: &Config,
    settings: &Settings,
    store: &Store,
    stopped: &watch::Receiver<bool>,
) -> (Option<JoinHandle<()>>, JoinHandle<()>) {
    let follower = follower(config, store);
    let mut reconciler = reconciler(config, store);
    if let Some(log) = &follower {
        reconciler = reconciler.listening_to(log);
    }
    if settings.policy.can_hold() || settings.rules.can_hold() {
        reconciler = reconciler.looking_at_first();
    }
    let reconciling = reconciler.run(config.outcome.pace(), stopped.clone());
    let following = follower.map(|follower| tokio::spawn(follower.run(stopped.clone())));
    (following, tokio::spawn(reconciling))
}

/// Who follows the mail log, where one is named.
fn follower(config: &Config, store: &Store) -> Option<Follower> {
    let source = config.outcome.log.as_ref()?;
    let (directory, zone) = (&config.store.path, system_zone());
    let clock = Arc::new(SystemClock);
    let opened = Follower::open(source, directory, zone, store.clone(), clock, TURN);
    let told = |problem: &PlaceError| {
        error!(%problem, "the mail log is not followed: mend it and restart alignd");
    };
    opened.inspect_err(told).ok()
}

/// Who compares the MTA's hold queue with what the store believes to be held.
fn reconciler(config: &Config, store: &Store) -> Reconciler<Helper> {
    let queue = &config.quarantine.queue;
    Reconciler::new(
        Helper::new(&queue.helper_socket),
        queue.mta,
        store.clone(),
        config.store.path.clone(),
        Arc::new(SystemClock),
        config.outcome.settle,
    )
}
