//! A program of a Debian package that is unpacked aside, as on a host: run by a user without rights.
//!
//! It runs in a mount and process namespace of its own that ends with the value, and with the test process however
//! that ends. Touches nothing of the host's.

use crate::aside;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Whom it runs as: a user that every Debian has, and that does nothing.
pub const USER: &str = "games";

pub struct Unprivileged {
    package: &'static str,
    home: tempfile::TempDir,
    process: Child,
}

impl Unprivileged {
    /// Runs `command` in `home`, a shell's words with `$home` among them; its output is the file `log` there.
    pub fn start(package: &'static str, home: tempfile::TempDir, command: &str) -> Self {
        let process = spawn(package, home.path(), command);
        Self {
            package,
            home,
            process,
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("The log of {}:\n{}", self.package, self.log());
        }
        drop(self.process.stdin.take());
        // Nothing to do about a failure while dropping; the pipe is closed all the same.
        let _ = self.process.wait();
    }
}

/// A directory for a program's files.
pub fn home(package: &str) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(&format!("alignd-{package}-"))
        .tempdir()
        .expect("a directory for the program can be made")
}

/// The hook as it is shipped, but for the places that an admin sets: each text must stand in it.
pub fn hook(shipped: &str, set: &[(&str, &str)]) -> String {
    set.iter().fold(shipped.to_owned(), |hook, (place, with)| {
        assert!(hook.contains(place), "{place}");
        hook.replace(place, with)
    })
}

/// Its tree over `/usr`; then it is what it is on a host. `cat` ends when the pipe to the test closes. Whoever changes
/// his user outlives his parent, whatever that one asked for.
const INSIDE: &str = r#"
set -e
tree=$1 home=$2 user=$3
mount -t overlay -o "lowerdir=$tree/usr:/usr" none /usr
cd "$home"
export home
setpriv --reuid "$user" --regid "$user" --clear-groups sh -c "exec $4" </dev/null >"$home/log" 2>&1 &
cat
kill -9 -1
"#;

fn spawn(package: &str, home: &Path, command: &str) -> Child {
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", INSIDE, "sh"])
        .arg(aside::tree(package))
        .arg(home)
        .args([USER, command])
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) can be run")
}
