//! An MTA that holds all mail, and `alignd mta-helper` beside it, with the rights that its unit gives it.

use crate::aside;
use crate::house::Kind;
use crate::mailbox::Mail;
use crate::mta::Mta;
use crate::postfix::{self, Jail, Postfix};
use crate::sendmail::{self, Sendmail};
use crate::wait;
use crate::world::{CLIENTS, READER, SENDER};
use alignd::mta::{HeldEntry, Helper, HelperError, Part, Place, QueueId, Released};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The user whose store it is.
pub const ALIGND: u32 = 64_104;
pub const NOBODY: u32 = 65_534;

pub struct Keeping {
    // Dropped in this order.
    helper: Child,
    pub mta: Box<dyn Mta>,
    home: tempfile::TempDir,
}

impl Keeping {
    /// With further lines of main.cf.
    pub fn start(kind: Kind, main_cf: &str) -> Self {
        let (mta, home) = prepared(kind, main_cf);
        let helper = helper(kind, home.path(), mta.as_ref());
        let helper = spawned(helper, home.path());
        let keeping = Self { helper, mta, home };
        wait::until("the helper listens", || {
            keeping.socket().exists().then_some(())
        });
        keeping
    }

    /// Started as systemd does, with the socket handed over.
    pub fn activated(kind: Kind) -> Self {
        let (mta, home) = prepared(kind, "");
        let listener =
            UnixListener::bind(home.path().join("helper.sock")).expect("our own directory");
        let inner = helper(kind, home.path(), mta.as_ref());
        let mut helper = Command::new("sh");
        // As file descriptor 3. exec keeps the process id, nsenter --pid would fork.
        helper
            .args([
                "-c",
                "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"",
                "sh",
            ])
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(OwnedFd::from(listener));
        let helper = spawned(helper, home.path());
        Self { helper, mta, home }
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("helper.sock")
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.expect("the clock is right").as_secs();
        i64::try_from(seconds).expect("the clock is right")
    }

    fn ask<T, F: Future<Output = T>>(&self, what: impl FnOnce(Helper) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(what(Helper::new(&self.socket())))
    }

    pub fn list(&self) -> Vec<HeldEntry> {
        let mut held = Vec::new();
        let each = |entry| held.push(entry);
        let more = self.ask(|helper| async move { helper.list(each).await });
        assert_eq!(more, Ok(false));
        held
    }

    pub fn show(&self, id: &QueueId, part: Part) -> String {
        let shown = self.ask(|helper| async move { helper.show(id, part).await });
        let shown = shown.expect("it is held");
        assert!(!shown.cut);
        String::from_utf8(shown.octets).expect("text")
    }

    pub fn release(&self, id: &QueueId) -> Result<Released, HelperError> {
        self.ask(|helper| async move { helper.release(id).await })
    }

    pub fn requeue(&self, id: &QueueId) -> Result<Released, HelperError> {
        self.ask(|helper| async move { helper.requeue(id).await })
    }

    pub fn delete(&self, id: &QueueId) -> Result<(), HelperError> {
        self.ask(|helper| async move { helper.delete(id).await })
    }

    pub fn locate(&self, id: &QueueId) -> Place {
        let place = self.ask(|helper| async move { helper.locate(id).await });
        place.expect("the helper looks")
    }

    pub fn find(&self, ids: &[QueueId]) -> Vec<Place> {
        let places = self.ask(|helper| async move { helper.find(ids).await });
        places.expect("the helper looks")
    }

    /// What this user's process gets for one line; nothing if it can't connect.
    pub fn say_as(&self, uid: u32, line: &str) -> String {
        let mut peer = Command::new("python3")
            .args(["-c", SAY])
            .arg(self.socket())
            .uid(uid)
            .gid(uid)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 can be run");
        let mut input = peer.stdin.take().expect("it is piped");
        input
            .write_all(format!("{line}\n").as_bytes())
            .expect("it reads");
        drop(input);
        let output = peer.wait_with_output().expect("it is our child");
        String::from_utf8(output.stdout).expect("text")
    }

    /// A mail that is held; its id.
    pub fn hold(&self, from: &str, message: &str) -> QueueId {
        let mut session = self.mta.session(&SENDER);
        let id = session.mail(from, &[READER], message.as_bytes()).queue_id();
        session.quit();
        let id = QueueId::parse(&id).expect("the MTA's own id is one");
        if id.is_sendmail() {
            let mut sendmail = self.mta.command();
            sendmail.args(["-Qby hand", &format!("-qI{id}")]);
            let ended = sendmail.status().expect("nsenter (util-linux) can be run");
            assert!(ended.success(), "sendmail -Q: {ended}");
        }
        id
    }

    /// So many held mails.
    pub fn hold_many(&self, count: usize) {
        let first = self.hold("<news@list.example>", "Subject: one\r\n\r\nbody\r\n");
        if first.is_sendmail() {
            // Copies, under ids of other processes.
            let (time, _) = first.as_str().split_at(8);
            for process in 0..count - 1 {
                let copy: QueueId = format!("{time}{:06}", 500_000 + process)
                    .parse()
                    .expect("it is one");
                for (kind, file) in [
                    ("hf", self.control_file(&first)),
                    ("df", self.data_file(&first)),
                ] {
                    let to = file.with_file_name(format!("{kind}{copy}"));
                    fs::copy(file, to).expect("there is room");
                }
            }
            return;
        }
        let mut session = self.mta.session(&SENDER);
        for _ in 0..count - 1 {
            session
                .mail(
                    "<news@list.example>",
                    &[READER],
                    b"Subject: one\r\n\r\nbody\r\n",
                )
                .expect(250);
        }
        session.quit();
    }

    /// Waits until it is delivered and gone, and holds that against the mailbox.
    pub fn delivered_once(&self, id: &QueueId) {
        self.mta.delivered(id.as_str());
        wait::until("it has left the queue", || {
            (self.locate(id) == Place::Gone).then_some(())
        });
        let named = format!(" id {id}");
        let mailbox = self.mta.mailbox();
        let received = |mail: &&Mail| mail.fields("Received").iter().any(|r| r.contains(&named));
        assert_eq!(mailbox.iter().filter(received).count(), 1);
    }

    /// Gives a held mail another id.
    pub fn rename(&self, from: &QueueId, to: &QueueId) {
        let pairs = if from.is_sendmail() {
            vec![
                (self.control_file(from), self.control_file(to)),
                (self.data_file(from), self.data_file(to)),
            ]
        } else {
            vec![(self.control_file(from), self.control_file(to))]
        };
        for (from, to) in pairs {
            fs::rename(from, to).expect("it is held");
        }
    }

    /// The file that says that it is held.
    pub fn control_file(&self, id: &QueueId) -> PathBuf {
        if id.is_sendmail() {
            self.queue().join(format!("hf{id}"))
        } else {
            self.queue().join("hold").join(id.as_str())
        }
    }

    fn data_file(&self, id: &QueueId) -> PathBuf {
        self.queue().join(format!("df{id}"))
    }

    /// How many files of a held mail there are.
    pub fn files_named(&self, id: &QueueId) -> usize {
        let files = [self.control_file(id), self.data_file(id)];
        files.iter().filter(|file| file.exists()).count()
    }

    /// Postfix: `HOME/spool` beside `HOME/spool/alignd`; Sendmail: `HOME/mqueue` beside `HOME/run/alignd`.
    fn queue(&self) -> PathBuf {
        let sockets = self.mta.sockets();
        let spool = sockets.parent().expect("it has one");
        if spool.ends_with("run") {
            spool.with_file_name("mqueue")
        } else {
            spool.to_owned()
        }
    }

    /// Every command that ran, with its arguments.
    pub fn called(&self) -> String {
        fs::read_to_string(self.home.path().join("called")).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
        if std::thread::panicking() {
            eprintln!("the helper's log:\n{}", self.log());
        }
    }
}

/// A directory for a helper: its settings, its log and its socket, `helper.sock`.
pub fn home() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("alignd-keeping-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .expect("a directory for the helper can be made")
}

/// A helper beside an MTA of somebody else's; it listens.
pub fn beside(kind: Kind, home: &Path, mta: &dyn Mta) -> Child {
    lay_out(home, kind, mta);
    again(kind, home, mta)
}

/// The same once more.
pub fn again(kind: Kind, home: &Path, mta: &dyn Mta) -> Child {
    let helper = spawned(helper(kind, home, mta), home);
    wait::until("the helper listens", || {
        UnixStream::connect(home.join("helper.sock")).ok()
    });
    helper
}

fn prepared(kind: Kind, main_cf: &str) -> (Box<dyn Mta>, tempfile::TempDir) {
    let home = home();
    let mta: Box<dyn Mta> = match kind {
        Kind::Postfix => {
            let main_cf = format!("{HOLD_ALL}{main_cf}");
            let setup = postfix::Setup {
                milters: &[],
                jail: Jail::Open,
                main_cf: &main_cf,
            };
            Box::new(Postfix::start(&setup))
        }
        Kind::Sendmail => Box::new(Sendmail::start(&sendmail::Setup {
            milters: &[],
            clients: &CLIENTS,
            mc: "define(`confDELIVERY_MODE', `queueonly')dnl\n",
        })),
    };
    lay_out(home.path(), kind, mta.as_ref());
    (mta, home)
}

fn lay_out(home: &Path, kind: Kind, mta: &dyn Mta) {
    let store = home.join("store");
    let commands = home.join("commands");
    for directory in [&store, &commands] {
        fs::create_dir(directory).expect("our own directory");
    }
    chown(&store, Some(ALIGND), Some(ALIGND)).expect("root may give files away");
    let (names, tree): (&[&str], _) = match kind {
        Kind::Postfix => (
            &["postqueue", "postsuper", "postcat", "postconf", "postkick"],
            "/mnt/usr/sbin",
        ),
        Kind::Sendmail => (&["sendmail"], "/mnt/tree/usr/libexec/sendmail"),
    };
    // They need libraries that lie aside, and write down how they were called.
    let (called, libraries) = (home.join("called"), libraries(kind));
    for name in names {
        let script = format!(
            "#!/bin/sh\necho {name} \"$@\" >>{}\nLD_LIBRARY_PATH={libraries} exec {tree}/{name} \"$@\"\n",
            called.display()
        );
        let file = commands.join(name);
        fs::write(&file, script).expect("our own directory");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("our own file");
    }
    let (name, config) = match kind {
        // Beside `HOME/spool/alignd`.
        Kind::Postfix => (
            "postfix",
            mta.sockets().join("../../etc").display().to_string(),
        ),
        Kind::Sendmail => ("sendmail", String::new()),
    };
    let settings = format!(
        "[quarantine]\nmta = \"{name}\"\nmta_config = \"{config}\"\nhelper_socket = \"{0}/helper.sock\"\n\
         [store]\npath = \"{0}/store\"\n",
        home.display()
    );
    fs::write(home.join("alignd.toml"), settings).expect("our own directory");
}

fn libraries(kind: Kind) -> String {
    match kind {
        Kind::Postfix => {
            let libraries = aside::libraries(Path::new("/mnt"));
            format!("/mnt/usr/lib/postfix:{libraries}")
        }
        Kind::Sendmail => aside::libraries(Path::new("/mnt/tree")),
    }
}

/// In the MTA's namespace; for Postfix with the rights of our unit, which for Sendmail a drop-in lifts.
fn helper(kind: Kind, home: &Path, mta: &dyn Mta) -> Command {
    let mut helper = Command::new("nsenter");
    helper
        .args(["--mount", "--root", "--target"])
        .arg(mta.namespace().to_string());
    if kind == Kind::Postfix {
        let unit = include_str!("../../systemd/alignd-mta-helper.service");
        assert!(unit.contains("\nNoNewPrivileges=yes\n"));
        let rights = unit
            .lines()
            .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let rights = rights.expect("the unit says").to_lowercase();
        let rights: String = rights
            .split(' ')
            .map(|right| format!(",+{}", right.trim_start_matches("cap_")))
            .collect();
        helper.args([
            "setpriv",
            "--no-new-privs",
            "--bounding-set",
            &format!("-all{rights}"),
        ]);
    }
    helper
        .arg(env!("CARGO_BIN_EXE_alignd"))
        .args(["mta-helper", "--config"])
        .arg(home.join("alignd.toml"))
        .arg("--commands")
        .arg(home.join("commands"));
    helper
}

fn spawned(mut helper: Command, home: &Path) -> Child {
    let log = File::create(home.join("log")).expect("our own directory");
    helper
        .stderr(log)
        .spawn()
        .expect("nsenter and setpriv (util-linux) can be run")
}

const HOLD_ALL: &str = "smtpd_client_restrictions = check_client_access static:HOLD\n";
/// A line from standard input into the socket, the answer to standard output.
const SAY: &str = "
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(sys.stdin.buffer.read())
while octets := peer.recv(65536):
    sys.stdout.buffer.write(octets)
";
