//! A real Sendmail: Debian's, unpacked aside, in mount, process and network namespaces of its own, with
//! its own configuration, queue, users, mailbox and log.
//!
//! Touches nothing of the host's mail system. Sendmail has no XCLIENT, so the clients are real: their
//! addresses belong to the namespace's loopback interface, and sessions are connected from within.
//! Needs root. Everything ends with the value, and with the test process however that ends: the first
//! process of the namespace reads a pipe from us, and when the pipe closes it goes, and with it all
//! the others.

use crate::accounts;
use crate::aside;
use crate::mailbox::Mail;
use crate::mta::{ALIGND, Mta};
use crate::smtp::{Client, NO_LOGIN, Session};
use crate::wait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::sched::{CloneFlags, setns};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::net::TcpSocket;

/// What Sendmail is told.
pub struct Setup<'a> {
    /// The socket files of its milters, in order; `ALIGND` stands for our own lines in `contrib/sendmail`.
    pub milters: &'a [&'a str],
    /// Everybody whose address is to exist.
    pub clients: &'a [Client],
    /// Further lines for sendmail.mc.
    pub mc: &'a str,
}

pub struct Sendmail {
    home: tempfile::TempDir,
    log: Arc<Mutex<String>>,
    first_process: Child,
}

impl Sendmail {
    /// Starts it and returns when it listens.
    pub fn start(setup: &Setup) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests start a real Sendmail in namespaces of its own: run them as root"
        );
        let tree = aside::tree("sendmail-bin");
        let home = tempfile::Builder::new()
            .prefix("alignd-sendmail-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory for Sendmail can be made");
        lay_out(home.path(), setup);
        let log = keep_log(&home.path().join("log"));
        let_everybody_log_in(&home.path().join("run/saslauthd"));
        let first_process = enter_namespace(home.path(), &tree, setup.clients);
        let sendmail = Self {
            home,
            log,
            first_process,
        };
        // Before that the namespace may not be there yet.
        wait::until("Sendmail logs that it starts", || {
            sendmail.log().contains("starting daemon").then_some(())
        });
        wait::until("Sendmail listens", || {
            sendmail.connect(Ipv6Addr::LOCALHOST.into()).ok()
        });
        sendmail
    }

    /// What it logged so far.
    fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// A line's kind is its first letter; lines that begin with white space go on with the one before.
    fn envelope_of_held(&self, queue_id: &str) -> Option<String> {
        let file = self
            .home
            .path()
            .join("mqueue")
            .join(format!("hf{queue_id}"));
        Some(String::from_utf8_lossy(&fs::read(file).ok()?).into_owned())
    }

    fn queue_run(&self, arguments: &[&str]) {
        let ended = self.command().args(arguments).status();
        let ended = ended.expect("nsenter (util-linux) can be run");
        assert!(ended.success(), "sendmail {arguments:?}: {ended}");
    }

    /// A connection to it from `client`, which is an address of its namespace.
    fn connect(&self, client: IpAddr) -> io::Result<TcpStream> {
        let namespace = self.network();
        // Namespaces are a thread's own; a socket stays in the one where it was made.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                connect_from(client)
            });
            thread.join().expect("it doesn't panic")
        })
    }
}

impl Mta for Sendmail {
    fn session(&self, client: &Client) -> Session {
        let mut session = Session::over(self.connect(client.address).expect("Sendmail listens"));
        session
            .command(&format!("EHLO {}", client.helo))
            .expect(250);
        if client.login != NO_LOGIN {
            let words = BASE64.encode(format!("\0{}\0password", client.login));
            session.command(&format!("AUTH PLAIN {words}")).expect(235);
        }
        session
    }

    fn smtp(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 25)
    }

    fn command(&self) -> Command {
        let mut sendmail = Command::new("nsenter");
        sendmail
            .args(["--mount", "--net", "--root", "--target"])
            .arg(self.namespace().to_string())
            .arg("/mnt/tree/usr/libexec/sendmail/sendmail")
            .env_clear()
            .env("LD_LIBRARY_PATH", aside::libraries(Path::new("/mnt/tree")));
        sendmail
    }

    fn sockets(&self) -> PathBuf {
        self.home.path().join("run/alignd")
    }

    fn log(&self) -> String {
        Sendmail::log(self)
    }

    fn namespace(&self) -> u32 {
        self.first_process.id()
    }

    fn come_up(&self) {
        let start = "/mnt/tree/usr/libexec/sendmail/sendmail -bD </dev/null >/dev/null 2>&1 &";
        let mut daemon = self.inside();
        daemon
            .args(["--net", "sh", "-c", start])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LD_LIBRARY_PATH", aside::libraries(Path::new("/mnt/tree")));
        let ended = daemon.status().expect("nsenter (util-linux) can be run");
        assert!(ended.success(), "{ended}");
        wait::until("Sendmail listens again", || {
            self.connect(Ipv6Addr::LOCALHOST.into()).ok()
        });
    }

    fn pid_file(&self) -> PathBuf {
        self.home.path().join("sendmail.pid")
    }

    fn held(&self, queue_id: &str) -> Option<Mail> {
        let envelope = self.envelope_of_held(queue_id)?;
        let mut header = String::new();
        let mut in_header = false;
        for line in envelope.lines() {
            if !line.starts_with([' ', '\t']) {
                in_header = line.starts_with('H');
            }
            if in_header {
                // H?FLAGS?Name: value
                let field = line.splitn(3, '?').last().unwrap_or(line);
                header.push_str(if line.starts_with('H') { field } else { line });
                header.push('\n');
            }
        }
        let body = self
            .home
            .path()
            .join("mqueue")
            .join(format!("df{queue_id}"));
        let body = fs::read(body).ok()?;
        Some(Mail::new([header.as_bytes(), b"\n", &body].concat()))
    }

    fn held_because(&self, queue_id: &str) -> Option<String> {
        let envelope = self.envelope_of_held(queue_id)?;
        let reason = envelope.lines().find_map(|line| line.strip_prefix('q'));
        reason.map(str::to_owned)
    }

    fn release(&self, queue_id: &str) {
        self.let_go(queue_id);
        self.queue_run(&[&format!("-qI{queue_id}")]);
    }

    fn let_go(&self, queue_id: &str) {
        self.queue_run(&["-qQ", "-Q", &format!("-qI{queue_id}")]);
    }

    fn put_in_again(&self, queue_id: &str) {
        panic!("Sendmail cannot put {queue_id} in again");
    }

    fn put_on_hold(&self, queue_id: &str) {
        self.queue_run(&["-Qby hand", &format!("-qI{queue_id}")]);
    }

    fn delete(&self, queue_id: &str) {
        for file in ["hf", "df"] {
            let file = self
                .home
                .path()
                .join("mqueue")
                .join(format!("{file}{queue_id}"));
            fs::remove_file(file).expect("it is held");
        }
    }

    fn run_queue(&self) {
        self.queue_run(&["-q"]);
    }

    fn mailbox(&self) -> Vec<Mail> {
        let files = fs::read_dir(self.home.path().join("mail/new")).expect("our own directory");
        files
            .filter_map(|file| fs::read(file.ok()?.path()).ok())
            .map(Mail::new)
            .collect()
    }
}

impl Drop for Sendmail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Sendmail's log:\n{}", self.log());
        }
        drop(self.first_process.stdin.take());
        // Nothing to do about a failure while dropping; the pipe is closed all the same.
        let _ = self.first_process.wait();
    }
}

/// To port 25 of this thread's network namespace, over the family of `client`.
fn connect_from(client: IpAddr) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (socket, server): (_, IpAddr) = match client {
        IpAddr::V4(_) => (TcpSocket::new_v4()?, Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (TcpSocket::new_v6()?, Ipv6Addr::LOCALHOST.into()),
    };
    let stream = runtime.block_on(async {
        socket.bind(SocketAddr::new(client, 0))?;
        socket
            .connect(SocketAddr::new(server, 25))
            .await?
            .into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Listens where syslog(3) writes to in the namespace, for as long as the process lives.
fn keep_log(socket: &Path) -> Arc<Mutex<String>> {
    let socket = UnixDatagram::bind(socket).expect("a socket below our own directory can be made");
    let log = Arc::new(Mutex::new(String::new()));
    let kept = log.clone();
    std::thread::spawn(move || {
        let mut line = [0; 8192];
        while let Ok(length) = socket.recv(&mut line) {
            let text = String::from_utf8_lossy(&line[..length]).into_owned();
            let mut kept = kept.lock().expect("nobody panics with it");
            kept.push_str(text.trim_end_matches(['\n', '\0']));
            kept.push('\n');
        }
    });
    log
}

/// Stands in for saslauthd(8), which has four strings, each after its length in two octets, and answers
/// with one: whoever asks may log in.
fn let_everybody_log_in(socket: &Path) {
    let socket = UnixListener::bind(socket).expect("a socket below our own directory can be made");
    std::thread::spawn(move || {
        for mut asking in socket.incoming().map_while(Result::ok) {
            // Who hangs up has no need of an answer.
            let _ = read_four(&mut asking).and_then(|()| asking.write_all(b"\0\x02OK"));
        }
    });
}

fn read_four(from: &mut impl Read) -> io::Result<()> {
    for _ in 0..4 {
        let mut length = [0; 2];
        from.read_exact(&mut length)?;
        let mut text = vec![0; u16::from_be_bytes(length).into()];
        from.read_exact(&mut text)?;
    }
    Ok(())
}

/// Process 1 of the namespace. `cat` ends when the pipe to the test closes. A tmpfs on /mnt holds what
/// is mounted, so that every path is safe in Sendmail's eyes, as none below /tmp is.
const FIRST_PROCESS: &str = r#"
set -e
home=$1 tree=$2 libraries=$3
shift 3
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/tree /mnt/home /mnt/dev
mount --bind "$tree" /mnt/tree
# Set-group-id programs ignore LD_LIBRARY_PATH.
mount -o remount,bind,nosuid /mnt/tree
mount --bind "$home" /mnt/home
mkdir /mnt/etc
cp -a /etc/. /mnt/etc
rm -rf /mnt/etc/postfix /mnt/etc/mail
mkdir -p /mnt/etc/sasl2 /mnt/etc/mail
cp "$home/sendmail.cf" "$home/submit.cf" /mnt/etc/mail/
for file in passwd group hosts resolv.conf sasl2/Sendmail.conf; do
    rm -f "/mnt/etc/$file"
    cp "$home/${file##*/}" "/mnt/etc/$file"
done
mount --bind /mnt/etc /etc
mount --bind "$home/run" /run
for device in null zero random urandom; do
    touch "/mnt/dev/$device"
    mount --bind "/dev/$device" "/mnt/dev/$device"
done
ln -s /mnt/home/log /mnt/dev/log
mount --rbind /mnt/dev /dev
ip link set lo up
for address; do ip address add "$address" dev lo; done
export LD_LIBRARY_PATH=$libraries
/mnt/tree/usr/libexec/sendmail/sendmail -bD </dev/null >"$home/sendmail.out" 2>&1 &
cat
kill -9 -1
rm -rf "$home"
"#;

fn enter_namespace(home: &Path, tree: &Path, clients: &[Client]) -> Child {
    Command::new("unshare")
        .args(["--mount", "--pid", "--net", "--fork", "--kill-child"])
        .args(["--mount-proc", "sh", "-c", FIRST_PROCESS, "sh"])
        .args([home, tree])
        .arg(aside::libraries(Path::new("/mnt/tree")))
        .args(clients.iter().map(|client| client.address.to_string()))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) can be run")
}

const READER: u32 = 64_102;
const SMMSP: u32 = 64_103;
/// Owns `/run/alignd`, as alignd.service makes it.
pub const ALIGND_USER: u32 = 64_104;

/// Directories, users, names, and configuration.
fn lay_out(home: &Path, setup: &Setup) {
    for directory in [
        "run/alignd",
        "mail/tmp",
        "mail/new",
        "mqueue",
        "clientmqueue",
    ] {
        fs::create_dir_all(home.join(directory)).expect("our own directory");
    }
    let mode = fs::Permissions::from_mode(0o700);
    for queue in ["mqueue", "clientmqueue"] {
        fs::set_permissions(home.join(queue), mode.clone()).expect("our own directory");
    }
    let write = |name: &str, text: &str| {
        fs::write(home.join(name), text).expect("a file below our own directory can be written");
    };
    let ours = [
        ("reader", READER),
        ("smmsp", SMMSP),
        ("alignd", ALIGND_USER),
    ];
    write("passwd", &accounts::passwd(&ours));
    write("group", &accounts::group(&ours));
    for (directory, user) in [("clientmqueue", SMMSP), ("run/alignd", ALIGND_USER)] {
        chown(home.join(directory), Some(user), Some(user)).expect("root may give files away");
    }
    write("Sendmail.conf", SASL);
    write("resolv.conf", "nameserver 127.0.0.1\n");
    let named = |client: &Client| format!("{} {}\n", client.address, client.name);
    let clients: String = setup.clients.iter().map(named).collect();
    write("hosts", &format!("127.0.0.1 localhost\n{clients}"));
    // Nothing is looked up and nothing leaves this host.
    write("service.switch", "hosts files\naliases files\n");
    write("deliver", DELIVER);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.join("deliver"), mode).expect("our own file");
    for (name, mc) in [
        ("sendmail.cf", sendmail_mc(setup)),
        ("submit.cf", SUBMIT_MC.to_owned()),
    ] {
        fs::write(home.join(name), compiled(&mc)).expect("our own directory");
    }
}

/// For AUTH: saslauthd(8) is asked.
const SASL: &str = "pwcheck_method: saslauthd\nsaslauthd_path: /run/saslauthd\n";

/// The local mailer: every mail as it is, whole or not at all.
const DELIVER: &str = r#"#!/bin/sh
set -e
mail=$(mktemp -p /mnt/home/mail/tmp)
cat >"$mail"
mv "$mail" /mnt/home/mail/new/
"#;

fn sendmail_mc(setup: &Setup) -> String {
    let milters = setup.milters.iter().map(|file| match *file {
        ALIGND => include_str!("../../contrib/sendmail/alignd.m4").to_owned(),
        other => {
            let name = other.trim_end_matches(".sock");
            format!("INPUT_MAIL_FILTER(`{name}', `S=local:/run/alignd/{other}, F=T')dnl\n")
        }
    });
    let milters: String = milters.collect();
    format!("{MC}{}\n{milters}{MAILERS}", setup.mc)
}

/// By Debian's m4 files and, where the host has none, Debian's m4.
fn compiled(mc: &str) -> Vec<u8> {
    let tree = aside::tree("sendmail-cf");
    let files = tree.join("usr/share/sendmail/cf");
    let path = format!("/usr/bin:/bin:{}", tree.join("usr/bin").display());
    let mut m4 = Command::new("env")
        .arg("m4")
        .arg(format!("-D_CF_DIR_={}/", files.display()))
        .arg(files.join("m4/cf.m4"))
        .arg("-")
        .env("PATH", path)
        .env("LD_LIBRARY_PATH", aside::libraries(&tree))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("env (coreutils) can be run");
    let mut input = m4.stdin.take().expect("it is piped");
    input
        .write_all(mc.as_bytes())
        .expect("m4 reads it all first");
    drop(input);
    let output = m4.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "m4: {}", output.status);
    output.stdout
}

const MC: &str = r#"divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
define(`MAIL_SETTINGS_DIR', `/mnt/home/')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.receiver.example')dnl
LOCAL_DOMAIN(`receiver.example')dnl
define(`QUEUE_DIR', `/mnt/home/mqueue')dnl
undefine(`ALIAS_FILE')dnl
undefine(`STATUS_FILE')dnl
define(`HELP_FILE', `')dnl
define(`confFORWARD_PATH', `')dnl
define(`confPID_FILE', `/mnt/home/sendmail.pid')dnl
define(`confSERVICE_SWITCH_FILE', `/mnt/home/service.switch')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confTO_IDENT', `0')dnl
define(`confAUTH_MECHANISMS', `PLAIN')dnl
TRUST_AUTH_MECH(`PLAIN')dnl
# However busy the tests keep this machine, mail is taken and delivered at once.
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port=25')dnl
DAEMON_OPTIONS(`Family=inet6, Name=MTA6, Addr=::1, Port=25')dnl
# Without the flags that change mail (9 for MIME, r, m); without $u it would be spoken to by SMTP.
define(`LOCAL_MAILER_PATH', `/mnt/home/deliver')dnl
define(`LOCAL_MAILER_ARGS', `deliver $u')dnl
define(`LOCAL_MAILER_FLAGS', `PSn')dnl
"#;

const MAILERS: &str = "MAILER(`local')dnl\nMAILER(`smtp')dnl\n";

/// For sendmail(1), which hands all mail to the daemon.
const SUBMIT_MC: &str = r#"divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
define(`MAIL_SETTINGS_DIR', `/mnt/home/')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.receiver.example')dnl
define(`MSP_QUEUE_DIR', `/mnt/home/clientmqueue')dnl
define(`confPID_FILE', `/mnt/home/submit.pid')dnl
define(`confSERVICE_SWITCH_FILE', `/mnt/home/service.switch')dnl
define(`confQUEUE_LA', `1000')dnl
FEATURE(`nocanonify')dnl
FEATURE(`msp', `[127.0.0.1]', `25')dnl
"#;
