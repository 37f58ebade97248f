//! The log and the metrics: where they go.
//!
//! Owns the formats of `[log]`, the exporter of `[metrics]` and its buckets, and that a panic is a line
//! in the log. What is logged and counted is each room's own.

use super::StartError;
use crate::config::{LogFormat, LogLevel, LogSettings};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::io::{IsTerminal, stderr};
use std::net::SocketAddr;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

/// Changes `log.level` while the daemon runs.
pub struct LogLevelHandle(reload::Handle<EnvFilter, Registry>);

impl LogLevelHandle {
    pub fn set(&self, level: LogLevel) -> Result<(), String> {
        let changed = self.0.reload(filter(level));
        changed.map_err(|problem| problem.to_string())
    }
}

/// Opens the log: standard error, or the journal.
pub fn start_log(settings: &LogSettings) -> Result<LogLevelHandle, StartError> {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let output = match settings.format {
        LogFormat::Text => fmt::layer()
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(stderr).boxed(),
        LogFormat::Journald => tracing_journald::layer()
            .map_err(|problem| {
                StartError::Telemetry(format!(
                    "log.format: there is no journal here ({problem}); set it to \"text\""
                ))
            })?
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .try_init()
        .map_err(|problem| StartError::Telemetry(format!("the log is open already: {problem}")))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, text, "panic");
    }));
    Ok(LogLevelHandle(handle))
}

/// Serves Prometheus at `address`. Must be called within a tokio runtime.
pub fn start_metrics(address: SocketAddr) -> Result<(), StartError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(seconds, SECONDS)
        .and_then(PrometheusBuilder::install)
        .map_err(|problem| StartError::Telemetry(format!("metrics.listen: {address}: {problem}")))
}

/// Our own lines at `level`; of the libraries only what is wrong.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("error,alignd={level}"))
}

/// From a cached answer to a deadline.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 300.0,
];
