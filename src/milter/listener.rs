//! Listening sockets, Unix and TCP.
//!
//! Owns what the settings mean for a socket: its mode and group, a host's addresses. Accepts single
//! connections; the loop is `accept`'s.

use super::link::Socket;
use super::settings::{MilterSettings, SocketSpec};
use crate::local_socket::{self, LocalListener};
use nix::unistd::{Gid, Group};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::{TcpListener, lookup_host};

/// A socket that MTAs connect to.
#[derive(Debug)]
pub struct Listener(Bound);

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(LocalListener),
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
            Bound::Unix(listener) => Ok(Socket::Unix(listener.accept().await?)),
        }
    }

    /// The address of a TCP socket, with the port that was free when 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
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
            Bound::Unix(listener) => write!(f, "unix:{}", listener.path().display()),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "milter.listen: {}: {}", self.spec, self.problem)
    }
}

impl std::error::Error for BindError {}

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

/// The socket with the mode and the group of the settings.
fn bind_unix(path: &Path, settings: &MilterSettings) -> Result<Listener, String> {
    let group = group_id(&settings.socket_group)?;
    let listener = local_socket::bind(path, settings.socket_mode, group)?;
    Ok(Listener(Bound::Unix(listener)))
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
