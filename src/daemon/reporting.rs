//! What the clock's entrance needs: its settings out of the configuration, and its loop, started.

use super::{StartError, SystemClock};
use crate::build_report::BuildSettings;
use crate::config::Config;
use crate::resolver::LiveResolver;
use crate::schedule::{Gauges, Opened, Reporting, Resting, Scheduler, Sending, TURN, WayOut};
use crate::store::{Reader, Reports, StoreSettings};
use crate::time::{Clock, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// What building a report needs. Err: the key of `[identity]` that is not set and must be.
pub fn build_settings(config: &Config) -> Result<BuildSettings, &'static str> {
    let report = &config.report;
    Ok(BuildSettings {
        reporter: config.identity.reporter()?,
        format: report.format,
        include: report.include,
        envelope_to: report.envelope_to,
        min_messages: report.min_messages,
        skip_domains: report.skip_domains.clone(),
        only_domains: report.only_domains.clone(),
        spool: config.store.path.clone(),
    })
}

/// What sending needs. Err: the key of `[identity]` that is not set and must be.
pub fn way_out(config: &Config, host_name: &str) -> Result<WayOut, &'static str> {
    Ok(WayOut {
        send: config.sending()?,
        delivery: config.delivery.clone(),
        site_key: config.identity.site_key.clone(),
        host_name: host_name.to_owned(),
    })
}

/// `None`: reports are off, or cannot be sent for want of a sender, which is logged.
pub fn reporting(config: &Config, host_name: &str) -> Option<Arc<Reporting>> {
    if !config.report.enabled {
        return None;
    }
    let both = build_settings(config).and_then(|build| Ok((build, way_out(config, host_name)?)));
    match both {
        Ok((build, way_out)) => Some(Arc::new(Reporting {
            schedule: config.report.schedule.clone(),
            build,
            max_destinations: config.report.max_destinations,
            way_out,
        })),
        Err(missing) => {
            error!("no reports are sent: identity.{missing} is not set");
            None
        }
    }
}

/// Starts the loop, both halves; it ends with `stopped`.
pub fn start(
    config: &Config,
    settings: watch::Receiver<Option<Arc<Reporting>>>,
    resolver: Arc<LiveResolver>,
    stopped: watch::Receiver<bool>,
) -> Result<JoinSet<()>, StartError> {
    let reports = Reports::open(&config.store, SystemClock.now())?;
    let sending = Sending {
        settings: settings.clone(),
        reports: reports.clone(),
        resolver: resolver.clone(),
        clock: Arc::new(SystemClock),
        turn: TURN,
        opened: Opened::default(),
    };
    let gauges = Gauges {
        settings: settings.clone(),
        reports: reports.clone(),
        clock: Arc::new(SystemClock),
    };
    let scheduler = Scheduler {
        settings,
        resolver,
        reports: reports.clone(),
        store: config.store.path.clone(),
        clock: Arc::new(SystemClock),
        turn: TURN,
        resting: Resting::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(scheduler.run(stopped.clone()));
    tasks.spawn(sending.run(stopped.clone()));
    tasks.spawn(gauges.run(stopped.clone()));
    tasks.spawn(expire(reports, config.store.clone(), stopped));
    Ok(tasks)
}

/// Waits for the mail in hand, once they were told to stop: its answer must not be lost.
pub async fn finish(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(FINISH, all).await.is_err() {
        warn!(
            "stopped while a report was sent or built: it is taken up again after the next start"
        );
    }
}

/// Deletes what is older than `store.keep_reports`, now and every hour.
async fn expire(reports: Reports, settings: StoreSettings, mut stopped: watch::Receiver<bool>) {
    let mut hour = tokio::time::interval(Duration::from_secs(3_600));
    loop {
        tokio::select! {
            _ = hour.tick() => {}
            _ = stopped.changed() => return,
        }
        let (reports, settings) = (reports.clone(), settings.clone());
        let work = move || {
            // Without a look at the verdicts nothing is forgotten that could still be asked for.
            let oldest = Reader::open(&settings.path).map(|reader| reader.oldest());
            let oldest = match oldest {
                Ok(Ok(oldest)) => oldest,
                Ok(Err(_)) | Err(_) => Some(Timestamp::from_seconds(0)),
            };
            reports.expire(&settings, SystemClock.now(), oldest)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(deleted)) if deleted.reports == 0 => {}
            Ok(Ok(deleted)) => info!(
                reports = deleted.reports,
                "reports older than store.keep_reports are deleted"
            ),
            Ok(Err(problem)) => warn!(%problem, "old reports cannot be deleted; trying again"),
            Err(problem) => warn!(%problem, "deleting old reports ended by itself"),
        }
    }
}

/// How long a stop waits for the mail in hand.
const FINISH: Duration = Duration::from_secs(10);
