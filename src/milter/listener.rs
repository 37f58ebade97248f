//! Listening sockets, Unix and TCP.
//!
//! Owns how a Unix socket comes into being: with its mode and group from its first moment, in the
//! place of a dead one but never of a living one. Accepts single connections; the loop is `accept`'s.

use super::link::Socket;
use super::settings::{MilterSettings, SocketSpec};
use nix::unistd::{Gid, Group, chown};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, UnixListener, lookup_host};

/// A socket that MTAs connect to.
#[derive(Debug)]
pub struct Listener(Bound);

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, Place),
}

/// Where a Unix socket of ours stands; it is removed with the listener.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    inode: u64,
}

/// A socket cannot be made. The operator must act.
#[derive(Debug)]
pub struct BindError {
    spec: String,
    problem: String,
}

/// Makes every socket of `milter.listen`. A host name may stand for several addresses.
pub async fn bind(settings: &MilterSettings) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::new();
    for spec in &settings.listen {
        let fault = |problem: String| BindError {
            spec: spec.to_string(),
            problem,
        };
        match spec {
            SocketSpec::Unix(path) => {
                listeners.push(bind_unix(path, settings).map_err(fault)?);
            }
            SocketSpec::Inet { host, port } => {
                listeners.extend(bind_inet(host, *port).await.map_err(fault)?);
            }
        }
    }
    Ok(listeners)
}

impl Listener {
    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.0 {
            Bound::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are whole when they are written: waiting for more only costs 40 ms.
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Bound::Unix(listener, _) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }

    /// The address of a TCP socket, with the port that was free when 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(..) => None,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "inet:{address}"),
                Err(_) => f.write_str("inet"),
            },
            Bound::Unix(_, place) => write!(f, "unix:{}", place.path.display()),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "milter.listen: {}: {}", self.spec, self.problem)
    }
}

impl std::error::Error for BindError {}

impl Drop for Place {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours {
            // Best effort: a dead socket is taken over at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn bind_inet(host: &str, port: u16) -> Result<Vec<Listener>, String> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|error| format!("the host cannot be found: {error}"))?;
    let mut listeners = Vec::new();
    let mut problem = "the host has no address".to_owned();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(Listener(Bound::Tcp(listener))),
            // A host name may have an address of a family that this host doesn't speak.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                problem = format!("{address} is no address of this host");
            }
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
    if listeners.is_empty() {
        return Err(problem);
    }
    Ok(listeners)
}

/// Binds beside the final name, sets mode and group, and moves the socket into its place: nobody
/// ever finds one with other rights.
fn bind_unix(path: &Path, settings: &MilterSettings) -> Result<Listener, String> {
    let group = group_id(&settings.socket_group)?;
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
        let mode = Permissions::from_mode(settings.socket_mode);
        fs::set_permissions(&beside, mode).map_err(|error| at("set milter.socket_mode", &error))?;
        if let Some(group) = group {
            chown(&beside, None, Some(group))
                .map_err(|error| at("give it milter.socket_group", &error))?;
        }
        let inode = fs::symlink_metadata(&beside).map_err(|error| at("look at it", &error))?;
        fs::rename(&beside, path).map_err(|error| at("put it in its place", &error))?;
        Ok(inode.ino())
    };
    let inode = finish().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })?;
    let place = Place {
        path: path.to_owned(),
        inode,
    };
    Ok(Listener(Bound::Unix(listener, place)))
}

fn group_id(name: &str) -> Result<Option<Gid>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(Some(group.gid)),
        Ok(None) => Err(format!(
            "milter.socket_group: there is no group `{name}` on this host; for Sendmail set \"\""
        )),
        Err(error) => Err(format!("milter.socket_group: `{name}`: {error}")),
    }
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
    let id = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => format!("user {}", user.name),
        Ok(None) | Err(_) => format!("user {id}"),
    }
}
