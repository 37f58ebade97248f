//! Debian's amavis, unpacked aside, as the content filter of an MTA, with the hook of `contrib/amavis`.
//!
//! It looks for neither viruses nor spam: it quarantines `*.exe` and blocks headers that aren't mail.

use crate::unprivileged::{self, USER, Unprivileged};
use crate::wait;
use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Takes mail at `listen`, gives it back at `back`, and tells alignd behind `control`.
pub fn start(listen: SocketAddrV4, back: SocketAddrV4, control: &Path) -> Unprivileged {
    let home = unprivileged::home("amavis");
    // It won't run where its user could write its settings.
    let data = home.path().join("data");
    fs::create_dir(&data).expect("our own directory");
    for (path, mode) in [(home.path(), 0o755), (&data, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own directory");
    }
    fs::write(home.path().join("alignd.conf"), hook(control)).expect("our own directory");
    let settings = settings(home.path(), listen, back);
    fs::write(home.path().join("amavisd.conf"), settings).expect("our own directory");
    let command = "/usr/sbin/amavisd -c \"$home/amavisd.conf\" foreground";
    let amavis = Unprivileged::start("amavisd-new", home, command);
    wait::until("amavis listens", || TcpStream::connect(listen).ok());
    amavis
}

/// As it is shipped, but for the socket, which the admin sets, and for the patience of a busy machine.
fn hook(control: &Path) -> String {
    let socket = format!("our $alignd_socket = '{}'", control.display());
    unprivileged::hook(
        include_str!("../../contrib/amavis/alignd.conf"),
        &[
            ("our $alignd_socket = '/run/alignd/control.sock'", &socket),
            ("our $alignd_timeout = 2;", "our $alignd_timeout = 20;"),
        ],
    )
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
