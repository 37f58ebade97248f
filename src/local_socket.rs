//! Unix sockets that this process listens on, and who is at the other end.
//!
//! Owns how such a socket comes into being: with its mode and group from its first moment, in the
//! place of a dead one but never of a living one, and gone with its listener; and how long its path can
//! be. Reads and writes nothing on it.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Uid, User, chown, geteuid};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::net::UnixListener;

/// A listening socket; its file is removed with it.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// Who connected, as the kernel says: unix(7), `SO_PEERCRED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
}

impl LocalListener {
    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours {
            // Best effort: a dead socket is taken over at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Peer {
    pub fn of(stream: &tokio::net::UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(stream, PeerCredentials)?;
        Ok(Self {
            uid: credentials.uid(),
        })
    }

    /// The user this process runs as.
    pub fn ourselves() -> Self {
        Self {
            uid: geteuid().as_raw(),
        }
    }

    /// The user's name, `uid N` for one without.
    pub fn name(self) -> String {
        match User::from_uid(Uid::from_raw(self.uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => format!("uid {}", self.uid),
        }
    }
}

/// Whether a socket of ours can be bound at `path`: neither its name nor the one it is first bound at
/// may be too long.
pub fn fits(path: &Path) -> bool {
    let octets = |path: &Path| path.as_os_str().len();
    let beside = path.with_file_name("x".repeat(LONGEST_BESIDE));
    octets(path).max(octets(&beside)) <= LONGEST_PATH
}

/// Binds beside the final name, sets mode and group, and moves the socket into its place: nobody
/// ever finds one with other rights. `group`: `None` for the one this process has. Err: a sentence for
/// the operator, who names the setting.
pub fn bind(path: &Path, mode: u32, group: Option<Gid>) -> Result<LocalListener, String> {
    make_directory(path)?;
    refuse_if_in_use(path)?;
    let _one_at_a_time = BESIDE.lock().unwrap_or_else(PoisonError::into_inner);
    let beside = beside(path)?;
    let _ = fs::remove_file(&beside);
    let at = |what: &str, error: &dyn fmt::Display| {
        format!("cannot {what} ({error}); alignd runs as {}", whoami())
    };
    let listener =
        UnixListener::bind(&beside).map_err(|error| at("make a socket there", &error))?;
    let finish = || -> Result<u64, String> {
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(&beside, mode).map_err(|error| at("set its mode", &error))?;
        if let Some(group) = group {
            chown(&beside, None, Some(group))
                .map_err(|error| at("give it to its group", &error))?;
        }
        let inode = fs::symlink_metadata(&beside).map_err(|error| at("look at it", &error))?;
        fs::rename(&beside, path).map_err(|error| at("put it in its place", &error))?;
        Ok(inode.ino())
    };
    let inode = finish().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })?;
    Ok(LocalListener {
        listener,
        path: path.to_owned(),
        inode,
    })
}

fn make_directory(path: &Path) -> Result<(), String> {
    let Some(directory) = path.parent() else {
        return Err("not a path of a socket".to_owned());
    };
    match fs::create_dir(directory) {
        Ok(()) => Ok(()),
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(format!(
            "the directory {} cannot be made ({error}); make it, or let alignd ({}) make it",
            directory.display(),
            whoami()
        )),
    }
}

/// A socket file that nobody listens on is a dead one's, and can be taken over.
fn refuse_if_in_use(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err("there is something else than a socket".to_owned())
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err("another process listens there; stop it first".to_owned())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Short, so that a path that is long enough by itself can be bound: `LONGEST_BESIDE` octets at most.
fn beside(path: &Path) -> Result<PathBuf, String> {
    path.file_name().ok_or("not a path of a socket")?;
    Ok(path.with_file_name(format!(".{}", std::process::id())))
}

fn whoami() -> String {
    match Peer::ourselves().name() {
        name if name.starts_with("uid ") => name,
        name => format!("user {name}"),
    }
}

/// Held while a socket is bound: the name beside it is the same for every socket of this process.
static BESIDE: Mutex<()> = Mutex::new(());

/// sockaddr_un holds 108 octets with the final NUL, unix(7).
const LONGEST_PATH: usize = 107;

/// A dot and a process id, which has seven digits at most: proc_sys_kernel(5), `pid_max`.
const LONGEST_BESIDE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[tokio::test]
    async fn every_path_that_fits_can_be_bound() -> Result<(), Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        for name in ["s", "sock", "milter.s", "milter.sock"] {
            for length in 90..=LONGEST_PATH + 1 {
                let path = path_of(home.path(), length, name);
                assert_eq!(path.as_os_str().len(), length);
                let bound = bind(&path, 0o600, None);
                assert!(bound.is_ok() || !fits(&path), "{name}, {length}: {bound:?}");
                let longest = LONGEST_PATH - LONGEST_BESIDE.saturating_sub(name.len());
                assert_eq!(fits(&path), length <= longest, "{name}, {length}");
                drop(bound);
                std::fs::remove_dir_all(path.parent().unwrap_or(&path))?;
            }
        }
        Ok(())
    }

    /// `name` in a directory so deep that the whole path has `length` octets.
    fn path_of(home: &Path, length: usize, name: &str) -> PathBuf {
        let taken = home.as_os_str().len() + 1 + 1 + name.len();
        home.join("d".repeat(length.saturating_sub(taken)))
            .join(name)
    }
}
