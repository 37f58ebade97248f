//! Unix sockets that this process listens on, and who is at the other end.
//!
//! Owns how such a socket comes into being: with its mode and group from its first moment, in the
//! place of a dead one but never of a living one, and gone with its listener. Reads and writes nothing
//! on it.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Uid, User, chown, geteuid};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
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

/// Binds beside the final name, sets mode and group, and moves the socket into its place: nobody
/// ever finds one with other rights. `group`: `None` for the one this process has. Err: a sentence for
/// the operator, who names the setting.
pub fn bind(path: &Path, mode: u32, group: Option<Gid>) -> Result<LocalListener, String> {
    make_directory(path)?;
    refuse_if_in_use(path)?;
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

fn beside(path: &Path) -> Result<PathBuf, String> {
    let name = path.file_name().ok_or("not a path of a socket")?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn whoami() -> String {
    match Peer::ourselves().name() {
        name if name.starts_with("uid ") => name,
        name => format!("user {name}"),
    }
}
