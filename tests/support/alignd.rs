//! The real `alignd`, as a process with a configuration and a store of its own.

use crate::signal;
use crate::wait;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

pub struct Alignd {
    place: Place,
    home: tempfile::TempDir,
    process: Child,
}

/// Where it runs.
pub struct Place {
    pub binary: PathBuf,
    /// Any process in the namespaces of the MTA: there, users, groups and addresses are the MTA's.
    pub namespace: u32,
    /// Its milter socket.
    pub socket: PathBuf,
    /// That as it is called in the namespace.
    pub listen: PathBuf,
    /// The group of that.
    pub group: &'static str,
    /// Whom it runs as, instead of root.
    pub user: Option<u32>,
}

impl Alignd {
    /// Starts it with this DNS server and further settings as (`section.key`, TOML value), which
    /// replace those written here. Returns when it listens.
    pub fn start(mut place: Place, dns: SocketAddrV4, more: &[(&str, &str)]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("alignd-home-")
            .tempdir()
            .expect("a directory for alignd can be made");
        let settings = settings(home.path(), &place, dns, more);
        fs::write(home.path().join("alignd.toml"), settings).expect("our own directory");
        if let Some(user) = place.user {
            let own = home.path().join("alignd");
            fs::copy(&place.binary, &own).expect("there is room for a copy that others may read");
            place.binary = own;
            for file in [home.path().to_owned(), home.path().join("store")] {
                chown(file, Some(user), Some(user)).expect("root may give files away");
            }
        }
        let process = spawn(&place, home.path());
        let mut alignd = Self {
            place,
            home,
            process,
        };
        alignd.wait_until_it_listens();
        alignd
    }

    /// Everything `alignd messages` tells with these further arguments, newest first.
    pub fn messages(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["messages", "--format", "json"];
        all.extend(arguments);
        self.run(&all)
            .lines()
            .map(|line| serde_json::from_str(line).expect("one object a line"))
            .collect()
    }

    /// What a command prints that is to succeed, or to say no (exit code 1) or that DNS failed (3).
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output();
        let output = output.expect("nsenter (util-linux) can be run");
        let words = String::from_utf8_lossy(&output.stderr);
        let answered = matches!(output.status.code(), Some(0 | 1 | 3));
        assert!(answered, "alignd {arguments:?}: {} {words}", output.status);
        String::from_utf8(output.stdout).expect("alignd prints UTF-8")
    }

    /// A command that goes on while the test does, with its words piped.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("nsenter (util-linux) can be run")
    }

    /// In the network where its DNS server is. nsenter becomes the command: it is one process.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--target", &self.place.namespace.to_string()])
            .arg(&self.place.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.home.path().join("alignd.toml"));
        command
    }

    /// What `alignd config check` says on the MTA's host.
    pub fn config_check(&self) -> String {
        let output = Command::new("nsenter")
            .args(["--mount", "--root", "--target"])
            .arg(self.place.namespace.to_string())
            .arg(&self.place.binary)
            .args(["config", "check", "--config"])
            .arg(self.home.path().join("alignd.toml"))
            .output()
            .expect("nsenter (util-linux) can be run");
        String::from_utf8(output.stdout).expect("alignd prints UTF-8")
    }

    /// The directory of its store.
    pub fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        signal::send(&self.process, Signal::SIGTERM).expect("it runs");
        self.process.wait().expect("it is our child")
    }

    /// SIGKILL.
    pub fn kill(&self) {
        signal::send(&self.process, Signal::SIGKILL).expect("it runs");
    }

    /// Runs again after it was stopped or killed.
    pub fn start_again(&mut self) {
        self.process.wait().expect("it is our child");
        self.process = spawn(&self.place, self.home.path());
        self.wait_until_it_listens();
    }

    /// SIGHUP.
    pub fn reload(&self) {
        signal::send(&self.process, Signal::SIGHUP).expect("it runs");
    }

    /// Sets one setting of the file anew; `reload` makes it hold.
    pub fn set(&self, key: &str, value: &str) {
        let file = self.home.path().join("alignd.toml");
        let old = fs::read_to_string(&file).expect("our own file");
        let kept = old
            .lines()
            .filter(|line| line.split(" = ").next() != Some(key));
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        fs::write(file, format!("{kept}{key} = {value}\n")).expect("our own file");
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn wait_until_it_listens(&mut self) {
        wait::until("alignd listens", || {
            if let Some(ended) = self.process.try_wait().expect("it is our child") {
                panic!("alignd ended, {ended}:\n{}", self.log());
            }
            UnixStream::connect(&self.place.socket).ok()
        });
    }
}

impl Drop for Alignd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whether it had ended by then, and by what signal.
            let ended = self.process.try_wait();
            eprintln!("alignd ended: {ended:?}; its log:\n{}", self.log());
        }
        // It may have ended already; there is nothing more to be done.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(place: &Place, home: &Path) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(home.join("log"))
        .expect("our own directory");
    // It ends with the thread that started it, should that not come to drop it.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(["nsenter", "--mount", "--net", "--root", "--target"])
        .arg(place.namespace.to_string())
        .args(place.user.iter().flat_map(|id| {
            let options = ["--setgid", "--setuid"];
            options.map(|option| format!("{option}={id}"))
        }))
        .arg(&place.binary)
        .args(["run", "--config"])
        .arg(home.join("alignd.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be shared"))
        .stderr(log)
        .spawn()
        .expect("setpriv and nsenter (util-linux) can be run")
}

/// Observing, as it comes, but for the names of this host and for `trust.networks`: the default,
/// loopback, would skip the tests' mail.
fn settings(home: &Path, place: &Place, dns: SocketAddrV4, more: &[(&str, &str)]) -> String {
    let listen = format!("[\"unix:{}\"]", place.listen.display());
    let group = format!("\"{}\"", place.group);
    let servers = format!("[\"{dns}\"]");
    let path = format!("\"{}\"", home.join("store").display());
    let key = format!("\"{}\"", home.join("site.key").display());
    let control = format!("\"{}\"", home.join("control.sock").display());
    fs::create_dir_all(home.join("store")).expect("our own directory");
    let mut all = BTreeMap::from([
        ("identity.authserv_id", "\"mx.receiver.example\""),
        ("identity.site_key", key.as_str()),
        ("control.socket", control.as_str()),
        ("milter.listen", listen.as_str()),
        ("milter.socket_group", group.as_str()),
        ("trust.networks", "[]"),
        ("dns.servers", servers.as_str()),
        ("store.path", path.as_str()),
        ("log.level", "\"debug\""),
    ]);
    all.extend(more.iter().copied());
    all.into_iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}
