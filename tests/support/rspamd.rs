//! Debian's Rspamd, unpacked aside, as a milter with the hook of `contrib/rspamd` and a few rules of a test's own.
//!
//! It runs as another user than root, in a mount and process namespace of its own that ends with the value, and
//! with the test process however that ends. Touches nothing of the host's Rspamd. Asks no DNS.

use crate::aside;
use crate::wait;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Whom it runs as: a user that every Debian has, and that does nothing.
pub const USER: &str = "games";

pub struct Rspamd {
    home: tempfile::TempDir,
    process: Child,
}

impl Rspamd {
    /// Listens on this Unix socket, a link to its own, and tells alignd behind `control`. What its `Subject` asks for
    /// becomes of a message: `pills` is rejected for its score, `later`, `doubtful` and `nothing` are deferred,
    /// quarantined and discarded.
    pub fn start(socket: &Path, control: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("alignd-rspamd-")
            .tempdir()
            .expect("a directory for Rspamd can be made");
        // Its user makes sockets there.
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(home.path(), open).expect("our own directory");
        let own = home.path().join("milter.sock");
        symlink(&own, socket).expect("the MTA's directory is ours");
        // The whole list of public suffixes takes a quarter of a minute to compile.
        fs::write(home.path().join("suffixes"), "com\nexample\n").expect("our own directory");
        fs::write(home.path().join("alignd.lua"), hook(control)).expect("our own directory");
        fs::write(home.path().join("rules.lua"), rules(home.path())).expect("our own directory");
        fs::write(home.path().join("rspamd.conf"), settings(home.path()))
            .expect("our own directory");
        let rspamd = Self {
            process: spawn(home.path()),
            home,
        };
        wait::until("Rspamd listens", || UnixStream::connect(&own).ok());
        rspamd
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Rspamd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Rspamd's log:\n{}", self.log());
        }
        drop(self.process.stdin.take());
        // Nothing to do about a failure while dropping; the pipe is closed all the same.
        let _ = self.process.wait();
    }
}

/// As it is shipped, but for the socket, which the admin sets, and for the patience of a busy machine.
fn hook(control: &Path) -> String {
    let shipped = include_str!("../../contrib/rspamd/alignd.lua");
    let place = "local control_socket = '/run/alignd/control.sock'";
    let patience = "local timeout = 1.0";
    assert!(shipped.contains(place) && shipped.contains(patience));
    shipped
        .replace(
            place,
            &format!("local control_socket = '{}'", control.display()),
        )
        .replace(patience, "local timeout = 20.0")
}

fn rules(home: &Path) -> String {
    format!(
        r#"require "global_functions" ()
config['regexp'] = {{}}
rspamd_maps = {{}}
rspamd_config.SELLS_PILLS = {{
  callback = function(task) return (task:get_header('Subject') or ''):find('pills') ~= nil end,
  score = 20.0,
}}
rspamd_config.SELLS_VITAMINS = {{
  callback = function(task) return (task:get_header('Subject') or ''):find('vitamins') ~= nil end,
  score = 5.0,
}}
rspamd_config:register_symbol({{
  name = 'AS_ASKED', type = 'prefilter',
  callback = function(task)
    local actions = {{ later = 'soft reject', doubtful = 'quarantine', nothing = 'discard' }}
    local action = actions[task:get_header('Subject') or '']
    if action then task:set_pre_result(action, 'as asked') end
  end,
}})
dofile('{}/alignd.lua')
"#,
        home.display()
    )
}

fn settings(home: &Path) -> String {
    let home = home.display();
    format!(
        r#"lua = "{home}/rules.lua"
options {{
  pidfile = "{home}/pid"; tempdir = "{home}"; control_socket = "{home}/control mode=0600";
  hs_cache_dir = "{home}"; url_tld = "{home}/suffixes";
  filters = ""; local_addrs = [];
  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; greylist = 4; discard {{ flags = ["no_threshold"]; }} quarantine {{ flags = ["no_threshold"]; }} }}
worker "rspamd_proxy" {{
  bind_socket = "{home}/milter.sock mode=0666"; milter = yes; timeout = 120s; count = 1;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"#
    )
}

/// Its tree over `/usr`; then it is what it is on a host: a user without rights. `cat` ends when the pipe to the test
/// closes. Whoever changes his user outlives his parent, whatever that one asked for.
const INSIDE: &str = r#"
set -e
tree=$1 home=$2 user=$3
mount -t overlay -o "lowerdir=$tree/usr:/usr" none /usr
export LD_LIBRARY_PATH=/usr/lib:/usr/lib/rspamd
setpriv --reuid "$user" --regid "$user" --clear-groups \
    /usr/bin/rspamd -f -c "$home/rspamd.conf" </dev/null >"$home/log" 2>&1 &
cat
kill -9 -1
"#;

fn spawn(home: &Path) -> Child {
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", INSIDE, "sh"])
        .arg(aside::tree("rspamd"))
        .arg(home)
        .arg(USER)
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) can be run")
}
