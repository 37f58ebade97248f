//! Debian's Rspamd, unpacked aside, as a milter with the hook of `contrib/rspamd` and a few rules of a test's own.
//!
//! Asks no DNS.

use crate::unprivileged::{self, Unprivileged};
use crate::wait;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Listens on this Unix socket, a link to its own, and tells alignd behind `control`. What its `Subject` asks for
/// becomes of a message: `pills` is rejected for its score, `later`, `doubtful` and `nothing` are deferred,
/// quarantined and discarded.
pub fn start(socket: &Path, control: &Path) -> Unprivileged {
    let home = unprivileged::home("rspamd");
    // Its user makes sockets there.
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(home.path(), open).expect("our own directory");
    let own = home.path().join("milter.sock");
    symlink(&own, socket).expect("the MTA's directory is ours");
    // The whole list of public suffixes takes a quarter of a minute to compile.
    fs::write(home.path().join("suffixes"), "com\nexample\n").expect("our own directory");
    fs::write(home.path().join("alignd.lua"), hook(control)).expect("our own directory");
    fs::write(home.path().join("rules.lua"), rules(home.path())).expect("our own directory");
    fs::write(home.path().join("rspamd.conf"), settings(home.path())).expect("our own directory");
    let libraries = "LD_LIBRARY_PATH=/usr/lib:/usr/lib/rspamd";
    let command = format!("env {libraries} /usr/bin/rspamd -f -c \"$home/rspamd.conf\"");
    let rspamd = Unprivileged::start("rspamd", home, &command);
    wait::until("Rspamd listens", || UnixStream::connect(&own).ok());
    rspamd
}

/// As it is shipped, but for the socket, which the admin sets, and for the patience of a busy machine.
fn hook(control: &Path) -> String {
    let socket = format!("local control_socket = '{}'", control.display());
    unprivileged::hook(
        include_str!("../../contrib/rspamd/alignd.lua"),
        &[
            ("local control_socket = '/run/alignd/control.sock'", &socket),
            ("local timeout = 1.0", "local timeout = 20.0"),
        ],
    )
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
