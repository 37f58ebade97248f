//! `alignd mta-helper`: its socket and what it knows of the host, from the settings.

use super::{Signals, StartError, SystemClock, telemetry};
use crate::config::{Config, load};
use crate::local_socket;
use crate::mta::{Commands, Queue};
use crate::mta_helper::{Entrance, Keeper};
use listenfd::ListenFd;
use nix::unistd::chown;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// Serves the hold queue until it is told to stop, or nobody asks any more. `commands`: where the MTA's commands
/// are; empty for the usual places.
pub fn run_helper(
    file: Option<&Path>,
    host_name: &str,
    commands: &[PathBuf],
) -> Result<(), StartError> {
    let config = load(file, host_name)?.config;
    telemetry::start_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(serve(&config, commands))
}

async fn serve(config: &Config, commands: &[PathBuf]) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let entrance = entrance(config)?;
    let usual = || USUAL.iter().map(PathBuf::from).collect();
    let directories = if commands.is_empty() {
        usual()
    } else {
        commands.to_vec()
    };
    let queue = Queue::new(&config.quarantine.queue, Commands::within(directories));
    let keeper = Keeper::new(queue, config.store.path.clone(), Arc::new(SystemClock));
    info!(mta = %config.quarantine.queue.mta, "keeping the hold queue");
    tokio::select! {
        () = keeper.serve(entrance) => {}
        () = signals.stop() => {}
    }
    Ok(())
}

/// The socket that systemd hands over, or else one of our own at `quarantine.helper_socket`, which only root and
/// the owner of `store.path` can open.
fn entrance(config: &Config) -> Result<Entrance, StartError> {
    let path = &config.quarantine.queue.helper_socket;
    let fault = |problem: String| {
        StartError::Helper(format!(
            "quarantine.helper_socket: {}: {problem}",
            path.display()
        ))
    };
    let handed = ListenFd::from_env().take_unix_listener(0);
    let handed =
        handed.map_err(|error| fault(format!("systemd handed over something else: {error}")))?;
    if let Some(listener) = handed {
        return Entrance::inherited(listener, IDLE).map_err(StartError::Runtime);
    }
    let listener = local_socket::bind(path, 0o600, None).map_err(fault)?;
    match std::fs::metadata(&config.store.path) {
        Ok(store) => chown(path, Some(store.uid().into()), None).map_err(|error| {
            fault(format!(
                "cannot be given to the owner of store.path: {error}"
            ))
        })?,
        // The daemon hasn't run yet: root alone is served until we start again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(format!("store.path cannot be looked at: {error}"))),
    }
    Ok(Entrance::Own(listener))
}

/// After that systemd listens for us again.
const IDLE: Duration = Duration::from_secs(60);
/// Where distributions have postqueue, postsuper, postcat and postconf; and sendmail, which on Debian lies aside
/// while another MTA's command bears the name.
const USUAL: [&str; 5] = [
    "/usr/libexec/sendmail",
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/bin",
    "/usr/lib/sm.bin",
];
