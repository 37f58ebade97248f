//! The control socket's place in the daemon: made beside the milter, with its store. And what a crash
//! left half done in the hold queue is finished here.

use super::SystemClock;
use crate::config::Config;
use crate::control::{self, ControlSettings, Desk};
use crate::mta::Helper;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// Where everything that is asked is done.
pub fn desk(config: &Config, store: &Store) -> Desk<Helper> {
    let queue = Helper::new(&config.quarantine.queue.helper_socket);
    let directory = config.store.path.clone();
    let mut desk = Desk::new(queue, store.clone(), directory, Arc::new(SystemClock));
    desk.site_key = Some(config.identity.site_key.clone());
    desk
}

/// Starts it. Mail doesn't depend on it: what is wrong is logged. It ends after `stopped`, with what is
/// in hand. Within a runtime.
pub fn start(
    config: &Config,
    settings: watch::Receiver<Arc<ControlSettings>>,
    desk: Arc<Desk<Helper>>,
    stopped: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let socket = config.control.socket.as_deref();
    let listener = socket.and_then(|socket| {
        control::bind(socket)
            .map_err(|problem| error!(problem, "no commands are taken: mend it and restart alignd"))
            .ok()
    });
    let stopped = stopped.clone();
    tokio::spawn(async move {
        let finishing = finish_interrupted(Arc::clone(&desk), stopped.clone());
        match listener {
            Some(listener) => {
                let serving = control::serve(listener, settings, desk, stopped);
                tokio::join!(serving, finishing);
            }
            None => finishing.await,
        }
    })
}

/// At the start, and once a minute: the MTA's helper may have been away.
async fn finish_interrupted(desk: Arc<Desk<Helper>>, mut stopped: watch::Receiver<bool>) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            _ = minute.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        // The helper may be silent for long; what is interrupted once more is finished after the next start.
        let resumed = tokio::select! {
            resumed = desk.quarantine.resume() => resumed,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        if let Err(problem) = resumed {
            warn!(%problem, "what was interrupted in the hold queue can't be looked for");
        }
    }
}
