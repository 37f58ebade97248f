//! DNS that misbehaves: a relay in front of a real server, with faults for some names.

use crate::loopback;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;

pub struct FaultyDns {
    address: SocketAddrV4,
    runtime: Option<Runtime>,
}

/// What happens to questions for a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SERVFAIL.
    Failing,
    /// The answer takes five seconds.
    Slow,
    /// No answer, unless there are records of the type asked for.
    Silent,
    /// Over UDP nothing but "ask over TCP".
    Truncated,
}

impl Fault {
    /// The fault that a label of the name asks for, such as in `_dmarc.slow.example`.
    pub fn named_in(name: &str) -> Option<Self> {
        name.split('.').find_map(|label| match label {
            "servfail" => Some(Self::Failing),
            "slow" => Some(Self::Slow),
            "dead" => Some(Self::Silent),
            "truncated" => Some(Self::Truncated),
            _ => None,
        })
    }
}

type Faults = dyn Fn(&str) -> Option<Fault> + Send + Sync;

#[derive(Clone)]
struct Relay {
    server: SocketAddrV4,
    faults: Arc<Faults>,
}

#[derive(Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
}

impl FaultyDns {
    /// Listens in front of `server`, in this network namespace if there is one to name; `faults` is asked
    /// for every question, with its name in lower case.
    pub fn before(
        server: SocketAddrV4,
        namespace: Option<&File>,
        faults: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let address = loopback::free_address();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        // Namespaces are a thread's own, and a socket stays in the one where it was made.
        let bound = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Some(namespace) = namespace {
                    setns(namespace, CloneFlags::CLONE_NEWNET)?;
                }
                runtime.block_on(bind(address))
            });
            thread.join().expect("it doesn't panic")
        });
        let (udp, tcp) = bound.expect("a free address");
        let relay = Relay {
            server,
            faults: Arc::new(faults),
        };
        runtime.spawn(serve_udp(udp, relay.clone()));
        runtime.spawn(serve_tcp(tcp, relay));
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for FaultyDns {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn bind(address: SocketAddrV4) -> io::Result<(Arc<UdpSocket>, TcpListener)> {
    let udp = UdpSocket::bind(address).await?;
    Ok((Arc::new(udp), TcpListener::bind(address).await?))
}

async fn serve_udp(socket: Arc<UdpSocket>, relay: Relay) {
    let mut buffer = [0; 4096];
    loop {
        // An error here is a client that has gone.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let query = buffer[..length].to_vec();
        let (socket, relay) = (socket.clone(), relay.clone());
        tokio::spawn(async move {
            if let Ok(Some(answer)) = relay.answer(&query, Transport::Udp).await {
                let _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, relay: Relay) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let relay = relay.clone();
        tokio::spawn(async move {
            while let Ok(query) = read_message(&mut stream).await {
                match relay.answer(&query, Transport::Tcp).await {
                    Ok(Some(answer)) => write_message(&mut stream, &answer).await?,
                    Ok(None) => {}
                    Err(error) => return Err(error),
                }
            }
            io::Result::Ok(())
        });
    }
}

impl Relay {
    /// What to send back, if anything.
    async fn answer(&self, query: &[u8], transport: Transport) -> io::Result<Option<Vec<u8>>> {
        let name = labels(query).join(&b'.').to_ascii_lowercase();
        let fault = (self.faults)(&String::from_utf8_lossy(&name));
        match (fault, transport) {
            (Some(Fault::Failing), _) => return Ok(Some(without_records(query, &[0x80, 0x82]))),
            (Some(Fault::Truncated), Transport::Udp) => {
                return Ok(Some(without_records(query, &[0x82, 0x80])));
            }
            (Some(Fault::Slow), _) => tokio::time::sleep(Duration::from_secs(5)).await,
            (Some(Fault::Truncated | Fault::Silent) | None, _) => {}
        }
        let answer = match transport {
            Transport::Udp => self.ask_over_udp(query).await?,
            Transport::Tcp => {
                let mut upstream = TcpStream::connect(self.server).await?;
                write_message(&mut upstream, query).await?;
                read_message(&mut upstream).await?
            }
        };
        let empty = answer.get(6..8) == Some(&[0, 0]);
        Ok((fault != Some(Fault::Silent) || !empty).then_some(answer))
    }

    async fn ask_over_udp(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let upstream = UdpSocket::bind(("127.0.0.1", 0)).await?;
        upstream.connect(self.server).await?;
        upstream.send(query).await?;
        let mut answer = vec![0; 65_535];
        let length = upstream.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// The labels of the name asked (RFC 1035 §4.1.2).
fn labels(query: &[u8]) -> Vec<&[u8]> {
    let mut rest = query.get(12..).unwrap_or_default();
    let mut labels = Vec::new();
    while let Some((&length, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(length.into()) else {
            break;
        };
        if label.is_empty() {
            break;
        }
        labels.push(label);
        rest = after;
    }
    labels
}

/// An answer to `query` with these flags and no record: its header and its question, RFC 1035 §4.1.1.
fn without_records(query: &[u8], flags: &[u8; 2]) -> Vec<u8> {
    let question = 12 + labels(query).iter().map(|l| l.len() + 1).sum::<usize>() + 1 + 4;
    let mut answer = query[..question].to_vec();
    answer[2] = flags[0] | (query[2] & 1);
    answer[3] = flags[1];
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    answer
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).expect("an answer fits into 64 KiB");
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(message).await
}
