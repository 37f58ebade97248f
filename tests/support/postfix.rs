//! A real Postfix: Debian's, unpacked aside, in a mount and process namespace of its own, with its
//! own configuration, queue, users and mailbox, on a loopback address of its own.
//!
//! Touches nothing of the host's mail system. Needs root for the namespaces and for the users that
//! Postfix drops to. Everything ends with the value, and with the test process however that ends:
//! the first process of the namespace reads a pipe from us, and when the pipe closes it goes, and
//! with it all the others.

use crate::accounts;
use crate::aside;
use crate::loopback;
use crate::mailbox::Mail;
use crate::mta::Mta;
use crate::smtp::{Client, Session};
use crate::wait;
use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// What Postfix is told about its milters.
pub struct Setup<'a> {
    /// The socket files of its milters, in order.
    pub milters: &'a [&'a str],
    pub jail: Jail,
    /// Further lines for main.cf.
    pub main_cf: &'a str,
}

/// The chroot column of master.cf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Jail {
    /// `n`: as Postfix comes.
    Open,
    /// `y` for what Debian's master.cf puts into the queue directory.
    AsDebian,
}

pub struct Postfix {
    address: SocketAddrV4,
    home: tempfile::TempDir,
    first_process: Child,
}

impl Postfix {
    /// Starts it and returns when it listens.
    pub fn start(setup: &Setup) -> Self {
        Self::start_with(setup, "")
    }

    /// Starts it with further services, lines of master.cf.
    pub fn start_with(setup: &Setup, services: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests start a real Postfix in a namespace of its own: run them as root"
        );
        let tree = aside::tree("postfix");
        let address = loopback::free_address();
        let home = tempfile::Builder::new()
            .prefix("alignd-postfix-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory for Postfix can be made");
        lay_out(home.path(), setup, services, address);
        let first_process = enter_namespace(home.path(), &tree);
        let postfix = Self {
            address,
            home,
            first_process,
        };
        wait::until("Postfix logs that it runs", || {
            postfix.log().contains("daemon started").then_some(())
        });
        postfix
    }

    /// Where smtpd listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// One of Postfix's commands on its host, which is to succeed; what it prints.
    fn tool(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("nsenter")
            .args(["--mount", "--pid", "--root", "--target"])
            .arg(self.namespace().to_string())
            .arg(format!("/mnt/usr/sbin/{name}"))
            .args(arguments)
            .env_clear()
            .env("MAIL_CONFIG", self.home.path().join("etc"))
            .env("LD_LIBRARY_PATH", library_path())
            .output()
            .expect("nsenter (util-linux) can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {said}");
        output.stdout
    }

    /// The mail log so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.path().join("maillog")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Mta for Postfix {
    /// Postfix takes the client's name and address by XCLIENT.
    fn session(&self, client: &Client) -> Session {
        let stream = TcpStream::connect(self.address).expect("Postfix listens");
        let mut session = Session::over(stream);
        session.pose_as(client);
        session
    }

    fn smtp(&self) -> SocketAddrV4 {
        self.address
    }

    fn command(&self) -> Command {
        let mut sendmail = Command::new("nsenter");
        sendmail
            .args(["--mount", "--root", "--target"])
            .arg(self.namespace().to_string())
            .arg("/mnt/usr/sbin/sendmail")
            .env_clear()
            .env("MAIL_CONFIG", self.home.path().join("etc"))
            .env("LD_LIBRARY_PATH", library_path());
        sendmail
    }

    /// Within the queue directory, where a jailed smtpd can reach them.
    fn sockets(&self) -> PathBuf {
        self.home.path().join("spool/alignd")
    }

    fn log(&self) -> String {
        Postfix::log(self)
    }

    fn namespace(&self) -> u32 {
        self.first_process.id()
    }

    fn come_up(&self) {
        let before = self.log().matches("daemon started").count();
        let start = "ulimit -n 4096; exec /mnt/usr/lib/postfix/sbin/master -c \"$1\" -d </dev/null >/dev/null 2>&1 &";
        let mut master = self.inside();
        master
            .args(["sh", "-c", start, "sh"])
            .arg(self.home.path().join("etc"))
            .env("LD_LIBRARY_PATH", library_path());
        let ended = master.status().expect("nsenter (util-linux) can be run");
        assert!(ended.success(), "{ended}");
        wait::until("Postfix runs again", || {
            let started = self.log().matches("daemon started").count();
            (started > before).then_some(())
        });
    }

    fn pid_file(&self) -> PathBuf {
        self.home.path().join("spool/pid/master.pid")
    }

    fn held(&self, queue_id: &str) -> Option<Mail> {
        let file = self.home.path().join("spool/hold").join(queue_id);
        file.exists()
            .then(|| Mail::new(self.tool("postcat", &["-bhq", queue_id])))
    }

    fn held_because(&self, _: &str) -> Option<String> {
        None
    }

    fn release(&self, queue_id: &str) {
        self.let_go(queue_id);
        self.run_queue();
    }

    fn let_go(&self, queue_id: &str) {
        self.tool("postsuper", &["-H", queue_id]);
    }

    fn put_in_again(&self, queue_id: &str) {
        self.tool("postsuper", &["-r", queue_id]);
    }

    fn put_on_hold(&self, queue_id: &str) {
        self.tool("postsuper", &["-h", queue_id]);
    }

    fn delete(&self, queue_id: &str) {
        self.tool("postsuper", &["-d", queue_id, "hold"]);
    }

    fn run_queue(&self) {
        self.tool("postqueue", &["-f"]);
    }

    fn mailbox(&self) -> Vec<Mail> {
        let Ok(files) = fs::read_dir(self.home.path().join("mail/inbox/new")) else {
            return Vec::new();
        };
        files
            .filter_map(|file| fs::read(file.ok()?.path()).ok())
            .map(Mail::new)
            .collect()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the mail log of {}:\n{}", self.address, self.log());
        }
        drop(self.first_process.stdin.take());
        // Nothing to do about a failure while dropping; the pipe is closed all the same.
        let _ = self.first_process.wait();
    }
}

/// Process 1 of the namespace. `cat` ends when the pipe to the test closes.
const FIRST_PROCESS: &str = r#"
set -e
home=$1 tree=$2
mount --bind "$tree" /mnt
for file in passwd group resolv.conf; do
    mount --bind "$home/$file" "$(readlink -f "/etc/$file")"
done
# master(8) closes every descriptor there might be, one by one, when it starts.
ulimit -n 4096
export LD_LIBRARY_PATH=$3
/mnt/usr/lib/postfix/sbin/master -c "$home/etc" -d </dev/null >"$home/master.out" 2>&1 &
cat
kill -9 -1
rm -rf "$home"
"#;

fn enter_namespace(home: &Path, tree: &Path) -> Child {
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", FIRST_PROCESS, "sh"])
        .args([home, tree])
        .arg(library_path())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) can be run")
}

/// Postfix's own libraries and those that the host lacks, where the tree is bound.
fn library_path() -> String {
    let libraries = aside::libraries(Path::new("/mnt"));
    format!("/mnt/usr/lib/postfix:{libraries}")
}

const POSTFIX: u32 = 64_100;
const POSTDROP: u32 = 64_101;
/// The user whose mailbox it is.
pub const READER: u32 = 64_102;

/// Directories, users, and configuration.
fn lay_out(home: &Path, setup: &Setup, services: &str, address: SocketAddrV4) {
    let directory = |name: &str, owner: u32, group: u32, mode: u32| {
        let path = home.join(name);
        fs::create_dir_all(&path).expect("a directory below our own can be made");
        chown(&path, Some(owner), Some(group)).expect("root may give files away");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    directory("etc", 0, 0, 0o755);
    directory("data", POSTFIX, 0, 0o700);
    directory("mail", READER, READER, 0o755);
    directory("spool", 0, 0, 0o755);
    directory("spool/pid", 0, 0, 0o755);
    directory("spool/public", POSTFIX, POSTDROP, 0o710);
    directory("spool/maildrop", POSTFIX, POSTDROP, 0o1730);
    for queue in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
        "saved", "trace",
    ] {
        directory(&format!("spool/{queue}"), POSTFIX, 0, 0o700);
    }
    directory("spool/alignd", 0, POSTFIX, 0o755);
    let write = |name: &str, text: String| {
        let path = home.join(name);
        fs::write(&path, text).expect("a file below our own directory can be written");
        // Postfix won't read a file before it has been left alone for two seconds.
        let file = fs::File::options().write(true).open(&path);
        let old = SystemTime::now() - Duration::from_secs(60);
        file.and_then(|file| file.set_modified(old))
            .expect("our own file can be dated back");
    };
    let ours = [
        ("postfix", POSTFIX),
        ("postdrop", POSTDROP),
        ("reader", READER),
    ];
    write("passwd", accounts::passwd(&ours));
    write("group", accounts::group(&ours));
    write("resolv.conf", "nameserver 127.0.0.1\n".to_owned());
    write("etc/main.cf", main_cf(home, setup));
    write("etc/master.cf", master_cf(setup.jail, address) + services);
}

fn main_cf(home: &Path, setup: &Setup) -> String {
    let home = home.display();
    // Relative to the queue directory, in and out of the jail.
    let milters = setup
        .milters
        .iter()
        .map(|file| format!("unix:alignd/{file} "));
    let milters: String = milters.collect();
    let more = setup.main_cf;
    format!(
        "compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /mnt/usr/sbin
daemon_directory = /mnt/usr/lib/postfix/sbin
meta_directory = /mnt/etc/postfix
shlib_directory = /mnt/usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG LANG=C LD_LIBRARY_PATH
export_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {home}/maillog
maillog_file_prefixes = {home}
enable_long_queue_ids = yes
# Else the first message waits a second for the queue manager.
in_flow_delay = 0
myhostname = mx.receiver.example
inet_interfaces = 127.0.0.1
inet_protocols = all
mynetworks =
# Nothing is looked up and nothing leaves this host.
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
default_transport = discard:
relay_transport = discard:
local_transport = discard:
mydestination =
alias_maps =
# Every recipient at receiver.example has the same mailbox.
virtual_mailbox_domains = receiver.example
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{READER}
virtual_gid_maps = static:{READER}
virtual_mailbox_limit = 0
message_size_limit = 50000000
smtpd_relay_restrictions = reject_unauth_destination
# Tests are clients from anywhere; their mail is not to be treated as our own.
smtpd_authorized_xclient_hosts = 127.0.0.0/8
local_header_rewrite_clients =
milter_default_action = tempfail
smtpd_milters = {milters}
{more}
"
    )
}

fn master_cf(jail: Jail, address: SocketAddrV4) -> String {
    let jailed = match jail {
        Jail::Open => "n",
        Jail::AsDebian => "y",
    };
    format!(
        "{address} inet n - {jailed} - - smtpd
pickup   unix n - {jailed} 60 1 pickup
cleanup  unix n - {jailed} - 0 cleanup
qmgr     unix n - n - 1 qmgr
rewrite  unix - - {jailed} - - trivial-rewrite
bounce   unix - - {jailed} - 0 bounce
defer    unix - - {jailed} - 0 bounce
trace    unix - - {jailed} - 0 bounce
verify   unix - - {jailed} - 1 verify
flush    unix n - {jailed} 1000? 0 flush
proxymap unix - - n - - proxymap
error    unix - - {jailed} - - error
retry    unix - - {jailed} - - error
discard  unix - - {jailed} - - discard
anvil    unix - - {jailed} - 1 anvil
showq    unix n - {jailed} - - showq
virtual  unix - n n - - virtual
postlog  unix-dgram n - n - 1 postlogd
"
    )
}
