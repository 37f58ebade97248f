//! `alignd mta-helper`: the privileged helper, in the foreground.

use super::{Exit, Failure, Outcome, host_name};
use crate::daemon;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// Look for the MTA's commands here and nowhere else; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    commands: Vec<PathBuf>,
}

const HELP: &str = "\
Root alone can touch the MTA's queue; alignd isn't root, and asks this helper on
quarantine.helper_socket to list, show, release or delete held mail. It serves root and the owner of
store.path, and runs nothing but the MTA's own commands with a queue id.

systemd/alignd-mta-helper.socket starts it when it is needed, and it leaves when nobody has asked for
a minute. Started by hand, it makes its socket itself and stays until SIGTERM.

Examples:
  systemctl enable --now alignd-mta-helper.socket       the usual way
  alignd mta-helper --config /etc/alignd/alignd.toml    as root, where there is no systemd";

/// Serves until it is told to stop, or nobody asks any more.
pub fn run(arguments: &Arguments, file: Option<&Path>) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        let text = "mta-helper: only root can touch the MTA's queue: start it as root, best by \
                    systemd/alignd-mta-helper.socket";
        return Err(Failure::Usage(text.to_owned()));
    }
    daemon::run_helper(file, &host_name(), &arguments.commands)?;
    Ok(Exit::Ok)
}
