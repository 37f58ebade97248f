//! What held mail needs besides the milter: its settings out of the configuration, the daily digest and the deletion
//! of what that announced, started. In the process that has the store, and the way to the MTA's helper.

use super::SystemClock;
use crate::config::Config;
use crate::control::Desk;
use crate::host::system_zone;
use crate::mta::Helper;
use crate::quarantine::DigestTerms;
use crate::schedule::{Course, DigestSettings, Digests, Expiring, ExpiryPause, Holding, TURN};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, warn};

/// What they need. That nobody can be told is logged.
pub fn holding(config: &Config, host_name: &str) -> Holding {
    let Some(to) = config.quarantine.notify.clone() else {
        return Holding { digest: None };
    };
    let Some(from) = config.digest_from() else {
        error!("no digest of held mail is sent, for want of a sender: set delivery.from");
        return Holding { digest: None };
    };
    Holding {
        digest: Some(DigestSettings {
            to,
            from,
            at: config.quarantine.notify_at,
            terms: digest_terms(config),
            delivery: config.delivery.clone(),
            signed_by: config.identity.report_domain.clone(),
            host_name: host_name.to_owned(),
        }),
    }
}

/// What a digest is made by.
pub fn digest_terms(config: &Config) -> DigestTerms {
    DigestTerms {
        host: config.identity.authserv_id.clone(),
        zone: system_zone(),
        expire_after: config.quarantine.expire_after,
    }
}

/// Starts both; they end with `stopped`. Mail doesn't depend on them. Within a runtime.
pub fn start(
    settings: watch::Receiver<Arc<Holding>>,
    desk: &Arc<Desk<Helper>>,
    stopped: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let digests = Digests {
        settings: settings.clone(),
        store: desk.store.clone(),
        directory: desk.directory.clone(),
        clock: Arc::new(SystemClock),
        turn: TURN,
        course: Course::default(),
    };
    let expiring = Expiring {
        settings,
        quarantine: Arc::clone(&desk.quarantine),
        clock: Arc::new(SystemClock),
        turn: TURN,
        pause: ExpiryPause::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(digests.run(stopped.clone()));
    tasks.spawn(expiring.run(stopped.clone()));
    tasks
}

/// Waits for the mail in hand, once they were told to stop: its answer must not be lost.
pub async fn finish(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(FINISH, all).await.is_err() {
        warn!("stopped while a digest was sent: it is sent again after the next start");
    }
}

/// How long a stop waits for the mail in hand.
const FINISH: Duration = Duration::from_secs(10);
