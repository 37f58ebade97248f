//! An MTA's side of the milter protocol, packet by packet, without opinions: it sends what it is
//! told, right or wrong, and shows what comes back.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// A connection to a milter.
pub struct Raw {
    stream: Box<dyn Stream>,
    offer: [u32; 3],
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: char,
    pub payload: Vec<u8>,
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Raw {
    pub async fn unix(path: &Path) -> Self {
        Self::try_unix(path).await.unwrap()
    }

    pub async fn try_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        Ok(Self {
            stream: Box::new(stream),
            offer: EVERYTHING,
        })
    }

    pub async fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: Box::new(stream),
            offer: EVERYTHING,
        }
    }

    /// An MTA that offers this version, these actions, these options.
    pub fn offering(mut self, version: u32, actions: u32, options: u32) -> Self {
        self.offer = [version, actions, options];
        self
    }

    pub async fn negotiate(&mut self) -> Packet {
        let payload: Vec<u8> = self.offer.iter().flat_map(|w| w.to_be_bytes()).collect();
        self.send('O', &payload).await;
        self.read().await
    }

    /// Sends a packet. Who is hung up on learns it from what it reads.
    pub async fn send(&mut self, kind: char, payload: &[u8]) {
        let length = u32::try_from(payload.len() + 1).unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(kind as u8);
        packet.extend_from_slice(payload);
        let _ = self.stream.write_all(&packet).await;
    }

    /// Sends octets that need be no packets.
    pub async fn send_octets(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The same, where the milter may have hung up or no longer reads.
    pub async fn try_send_octets(&mut self, octets: &[u8]) -> io::Result<()> {
        let sent = timeout(Duration::from_secs(60), self.stream.write_all(octets)).await;
        sent.expect("nothing is read in a minute")
    }

    /// The next packet, within a time that only a failure uses up.
    pub async fn read(&mut self) -> Packet {
        self.try_read().await.expect("an answer")
    }

    pub async fn try_read(&mut self) -> io::Result<Packet> {
        let read = timeout(Duration::from_secs(60), self.read_packet()).await;
        read.expect("no answer in a minute")
    }

    async fn read_packet(&mut self) -> io::Result<Packet> {
        let length = self.stream.read_u32().await?;
        let kind = self.stream.read_u8().await?;
        let mut payload = vec![0; length as usize - 1];
        self.stream.read_exact(&mut payload).await?;
        Ok(Packet {
            kind: kind.into(),
            payload,
        })
    }

    /// Sends no more, and may still read.
    pub async fn stop_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Whether nothing has come so far.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(20), self.stream.read_u8())
            .await
            .is_err()
    }

    /// Whether the milter hangs up without a word.
    pub async fn is_hung_up_on(&mut self) -> bool {
        let read = timeout(Duration::from_secs(60), self.stream.read_u8()).await;
        read.expect("still connected after a minute").is_err()
    }
}

/// Version 6 with all that Postfix 3.7 and Sendmail 8.17 offer.
const EVERYTHING: [u32; 3] = [6, 0x1ff, 0x1f_ffff];
