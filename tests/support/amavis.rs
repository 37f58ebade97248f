//! Debian's amavis, unpacked aside, as the content filter of an MTA, with the hook of `contrib/amavis`.
//!
//! It looks for neither viruses nor spam: it quarantines `*.exe` and blocks headers that aren't mail. It runs as
//! another user than root, in a mount and process namespace of its own that ends with the value, and with the
//! test process however that ends. Touches nothing of the host's amavis.

use crate::aside;
use crate::wait;
use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Whom it runs as: a user that every Debian has, and that does nothing.
pub const USER: &str = "games";

pub struct Amavis {
    home: tempfile::TempDir,
    process: Child,
}

impl Amavis {
    /// Takes mail at `listen`, gives it back at `back`, and tells alignd behind `control`.
    pub fn start(listen: SocketAddrV4, back: SocketAddrV4, control: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("alignd-amavis-")
            .tempdir()
            .expect("a directory for amavis can be made");
        // It won't run where its user could write its settings.
        let data = home.path().join("data");
        fs::create_dir(&data).expect("our own directory");
        for (path, mode) in [(home.path(), 0o755), (&data, 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own directory");
        }
        fs::write(home.path().join("alignd.conf"), hook(control)).expect("our own directory");
        let settings = settings(home.path(), listen, back);
        fs::write(home.path().join("amavisd.conf"), settings).expect("our own directory");
        let amavis = Self {
            process: spawn(home.path()),
            home,
        };
        wait::until("amavis listens", || TcpStream::connect(listen).ok());
        amavis
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Amavis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("amavis's log:\n{}", self.log());
        }
        drop(self.process.stdin.take());
        // Nothing to do about a failure while dropping; the pipe is closed all the same.
        let _ = self.process.wait();
    }
}

/// As it is shipped, but for the socket, which the admin sets, and for the patience of a busy machine.
fn hook(control: &Path) -> String {
    let shipped = include_str!("../../contrib/amavis/alignd.conf");
    let place = "our $alignd_socket = '/run/alignd/control.sock'";
    let patience = "our $alignd_timeout = 2;";
    assert!(shipped.contains(place) && shipped.contains(patience));
    shipped
        .replace(
            place,
            &format!("our $alignd_socket = '{}'", control.display()),
        )
        .replace(patience, "our $alignd_timeout = 20;")
}

fn settings(home: &Path, listen: SocketAddrV4, back: SocketAddrV4) -> String {
    let home = home.display();
    let (ip, port) = (listen.ip(), listen.port());
    format!(
        r#"use strict;
$daemon_user = $daemon_group = '{USER}';
$MYHOME = $TEMPBASE = $helpers_home = $db_home = '{home}/data';
$QUARANTINEDIR = '{home}/data';
$pid_file = '{home}/data/pid'; $lock_file = '{home}/data/lock';
$max_servers = 1; $enable_db = 0; $enable_global_cache = 0; $enable_zmq = 0;
$mydomain = 'receiver.example'; $myhostname = 'mx.receiver.example';
@local_domains_maps = (1);
@inet_acl = qw(127.0.0.0/8);
$inet_socket_bind = '{ip}'; $inet_socket_port = {port};
$forward_method = $notify_method = 'smtp:[{}]:{}';
@bypass_virus_checks_maps = (1); @bypass_spam_checks_maps = (1);
$enable_dkim_verification = 0;
@decoders = ();
$do_syslog = 0; $log_level = 2;
$banned_filename_re = new_RE(qr'\.exe$'i);
$final_banned_destiny = D_DISCARD; $banned_files_quarantine_method = 'local:banned-%m';
$banned_quarantine_to = 'banned';
$final_bad_header_destiny = D_DISCARD; $bad_header_quarantine_method = undef;
$virus_admin = $banned_admin = $spam_admin = undef; $warnbannedsender = 0;
include_config_files('{home}/alignd.conf');
1;
"#,
        back.ip(),
        back.port()
    )
}

/// Its tree over `/usr`; then it is what it is on a host: a user without rights. `cat` ends when the pipe to the test
/// closes. Whoever changes his user outlives his parent, whatever that one asked for.
const INSIDE: &str = r#"
set -e
tree=$1 home=$2 user=$3
mount -t overlay -o "lowerdir=$tree/usr:/usr" none /usr
cd "$home"
setpriv --reuid "$user" --regid "$user" --clear-groups \
    /usr/sbin/amavisd -c "$home/amavisd.conf" foreground </dev/null >"$home/log" 2>&1 &
cat
kill -9 -1
"#;

fn spawn(home: &Path) -> Child {
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", INSIDE, "sh"])
        .arg(aside::tree("amavisd-new"))
        .arg(home)
        .arg(USER)
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) can be run")
}
