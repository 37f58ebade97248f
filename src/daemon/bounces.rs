//! Who takes the bounces that the milter overhears: wired here, where both meet.

use super::SystemClock;
use crate::config::Config;
use crate::inbox::Inbox;
use crate::key_file;
use crate::send_report::Bounce;
use crate::store::Reports;
use crate::time::Clock;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// Where bounces go; `None`: nowhere.
pub type Taken = Option<mpsc::Sender<Bounce>>;

/// Says so to the milter.
pub type Taker = watch::Sender<Taken>;

/// Whether others than before are to be taken.
pub fn differ(one: &Config, other: &Config) -> bool {
    let by = |config: &Config| {
        let identity = &config.identity;
        (identity.report_domain.clone(), identity.site_key.clone())
    };
    by(one) != by(other)
}

/// Starts it when reports have a domain to come back to; `None`: bounces are no concern of ours, or cannot
/// be taken here, which is logged. Mail doesn't depend on it. Within a runtime.
pub fn start(config: &Config) -> Taken {
    let report_domain = config.identity.report_domain.clone()?;
    let key = key_file::open_or_make(&config.identity.site_key)
        .map_err(|problem| warn!(%problem, "bounces of reports are not noted"))
        .ok()?;
    let reports = Reports::open(&config.store, SystemClock.now())
        .map_err(|problem| warn!(%problem, "bounces of reports are not noted"))
        .ok()?;
    let inbox = Inbox {
        reports,
        report_domain,
        key,
        clock: Arc::new(SystemClock),
    };
    let (bounces, overheard) = mpsc::channel(WAITING);
    tokio::spawn(inbox.take_all(overheard));
    Some(bounces)
}

/// Bounces that wait for their turn, 64 KiB each.
const WAITING: usize = 100;
