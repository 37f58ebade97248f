//! The milters that are compared, each with its own files, as processes that end with the value.
//!
//! alignd as `alignd run` runs it; Debian's OpenDKIM, OpenDMARC and Rspamd from their trees under
//! `target/aside`, each in a mount namespace of its own where its tree lies over `/usr` and
//! `/etc/resolv.conf` names our DNS server. None of them logs to syslog, which is in their favour.

use crate::aside;
use crate::figures::Processes;
use crate::mta::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Milters that a message passes, one after the other.
pub struct Milters {
    pub name: &'static str,
    pub places: Vec<Place>,
    processes: Vec<Child>,
    _home: tempfile::TempDir,
}

/// What can be measured.
pub const ALL: [(&str, Start); 3] = [
    ("alignd", alignd),
    ("opendkim+opendmarc", opendkim_and_opendmarc),
    ("rspamd", rspamd),
];

pub type Start = fn(SocketAddrV4) -> Milters;

impl Milters {
    /// The processes that were started; they may have made others.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }
}

impl Drop for Milters {
    fn drop(&mut self) {
        // Rspamd's workers would outlive their parent. Any of them may have ended already.
        for id in Processes(self.processes()).all() {
            let id = i32::try_from(id).expect("Linux's process ids fit");
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

/// On a Unix socket, and on TCP beside it.
pub fn alignd(dns: SocketAddrV4) -> Milters {
    let home = home();
    let port = crate::loopback::free_address();
    let (path, store) = (home.path().join("milter.sock"), home.path().join("store"));
    let file = home.path().join("alignd.toml");
    let settings = format!(
        "identity.authserv_id = \"mx.receiver.example\"\n\
         milter.listen = [\"unix:{}\", \"inet:{port}\"]\nmilter.socket_group = \"\"\n\
         milter.max_connections = 2000\n\
         dns.servers = [\"{dns}\"]\nstore.path = \"{}\"\n",
        path.display(),
        store.display()
    );
    fs::write(&file, settings).expect("our own directory");
    let built = env!("CARGO_BIN_EXE_alignd");
    let mut command = dying_with_us(&std::env::var("ALIGND").unwrap_or(built.to_owned()));
    command.args(["run", "--config"]).arg(file);
    Milters {
        name: "alignd",
        processes: vec![spawn(command, home.path(), &path)],
        places: vec![Place::Unix(path), Place::Tcp(port.into())],
        _home: home,
    }
}

/// OpenDKIM verifies; OpenDMARC believes its field, finds SPF out itself and keeps its history.
fn opendkim_and_opendmarc(dns: SocketAddrV4) -> Milters {
    let home = home();
    let at = home.path().display();
    let [dkim, dmarc] = ["opendkim", "opendmarc"].map(|n| home.path().join(format!("{n}.sock")));
    let opendkim = format!(
        "Mode v\nSocket local:{at}/opendkim.sock\nBackground no\nSyslog no\n\
         AuthservID mx.receiver.example\nAlwaysAddARHeader yes\nNameservers {}\n",
        dns.ip()
    );
    let opendmarc = format!(
        "Socket local:{at}/opendmarc.sock\nBackground false\nSyslog false\n\
         AuthservID mx.receiver.example\nTrustedAuthservIDs mx.receiver.example\nIgnoreHosts {at}/nobody\n\
         SPFIgnoreResults true\nSPFSelfValidate true\nHistoryFile {at}/history\nPidFile {at}/pid\n"
    );
    fs::write(home.path().join("opendkim.conf"), opendkim).expect("our own directory");
    fs::write(home.path().join("opendmarc.conf"), opendmarc).expect("our own directory");
    fs::write(home.path().join("nobody"), "").expect("our own directory");
    let start = |name: &str, flag: &str, socket: &Path| {
        let mut command = inside(home.path(), name, dns);
        command.arg(format!("/usr/sbin/{name}")).args(["-f", flag]);
        command.arg(home.path().join(format!("{name}.conf")));
        spawn(command, home.path(), socket)
    };
    Milters {
        name: "opendkim+opendmarc",
        processes: vec![
            start("opendkim", "-x", &dkim),
            start("opendmarc", "-c", &dmarc),
        ],
        places: vec![Place::Unix(dkim), Place::Unix(dmarc)],
        _home: home,
    }
}

/// With its modules for SPF, DKIM and DMARC alone, scanning in the process that speaks to the MTA.
fn rspamd(dns: SocketAddrV4) -> Milters {
    let home = home();
    let at = home.path().display();
    let socket = home.path().join("rspamd.sock");
    // Its patterns take a quarter of a minute to compile, the first time.
    let patterns = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rspamd-patterns");
    fs::create_dir_all(&patterns).expect("our own directory");
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let lua = "require \"global_functions\" ()\nconfig['regexp'] = {}\nrspamd_maps = {}\n";
    fs::write(home.path().join("rspamd.lua"), lua).expect("our own directory");
    let config = format!(
        r#"lua = "{at}/rspamd.lua"
options {{
  pidfile = "{at}/pid"; tempdir = "{at}"; control_socket = "{at}/control mode=0600";
  hs_cache_dir = "{}";
  filters = "dkim"; local_addrs = [];
  dns {{ nameserver = ["{dns}"]; timeout = 2s; retransmits = 2; }}
}}
logging {{ type = "console"; level = "error"; }}
modules {{
  path = "/usr/share/rspamd/plugins/spf.lua";
  path = "/usr/share/rspamd/plugins/dmarc.lua";
}}
spf {{}}
dkim {{}}
dmarc {{}}
metric {{ name = "default"; actions {{ reject = 1000; add_header = 999; greylist = 998; }} }}
worker "rspamd_proxy" {{
  bind_socket = "{} mode=0600"; milter = yes; timeout = 120s; count = {workers};
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"#,
        patterns.display(),
        socket.display()
    );
    fs::write(home.path().join("rspamd.conf"), config).expect("our own directory");
    let mut command = inside(home.path(), "rspamd", dns);
    command.args(["/usr/bin/rspamd", "-f", "-i", "-c"]);
    command.arg(home.path().join("rspamd.conf"));
    Milters {
        name: "rspamd",
        processes: vec![spawn(command, home.path(), &socket)],
        places: vec![Place::Unix(socket)],
        _home: home,
    }
}

/// On the disk where the build is, since stores and histories are written there.
fn home() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("chain-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory can be made")
}

/// What a command runs in: its tree over `/usr`, our resolv.conf.
const INSIDE: &str = r#"
set -e
tree=$1 home=$2
shift 2
mount --bind "$home/resolv.conf" "$(readlink -f /etc/resolv.conf)"
mount -t overlay -o "lowerdir=$tree/usr:/usr" none /usr
export LD_LIBRARY_PATH=/usr/lib:/usr/lib/rspamd
ulimit -n 16384
exec "$@"
"#;

fn inside(home: &Path, package: &str, dns: SocketAddrV4) -> Command {
    let resolv = format!("nameserver {}\n", dns.ip());
    fs::write(home.join("resolv.conf"), resolv).expect("our own directory");
    let mut command = dying_with_us("unshare");
    command.args(["--mount", "sh", "-c", INSIDE, "sh"]);
    command.arg(aside::tree(package)).arg(home);
    command
}

fn dying_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Starts it and waits until it listens.
fn spawn(mut command: Command, home: &Path, socket: &Path) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(home.join("log"))
        .expect("our own directory");
    let mut process = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be shared"))
        .stderr(log)
        .spawn()
        .expect("setpriv (util-linux) can be run");
    let began = Instant::now();
    while UnixStream::connect(socket).is_err() {
        let ended = process.try_wait().expect("it is our child");
        if ended.is_some() || began.elapsed() > PATIENCE {
            let log = fs::read_to_string(home.join("log")).unwrap_or_default();
            panic!("{command:?} does not listen ({ended:?}):\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

const PATIENCE: Duration = Duration::from_secs(300);
