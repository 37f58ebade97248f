//! The MTA's side of the milter protocol, light, and as Postfix 3.7 does it: packets gather in a buffer
//! of 4 KiB (of two segments for TCP) that goes out when it is full or a reply is needed; at the end
//! of a message each milter has its answer before the next one gets header and body.

use crate::corpus::Message;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a milter listens.
#[derive(Debug, Clone)]
pub enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A connection to each milter of a chain.
pub struct Chain(Vec<Connection>);

/// How long one message took.
pub struct Took {
    /// From the command that ends the message to the final reply, at all milters together.
    pub end: Duration,
    pub whole: Duration,
}

struct Connection {
    input: BufReader<Box<dyn Read + Send>>,
    output: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    capacity: usize,
    options: u32,
}

enum Change {
    Insert(usize, Vec<u8>, Vec<u8>),
    Add(Vec<u8>, Vec<u8>),
}

impl Chain {
    /// Connects a client of this number to every milter.
    pub fn open(places: &[Place], client: usize) -> io::Result<Self> {
        let open = |place| Connection::open(place, client);
        places.iter().map(open).collect::<io::Result<_>>().map(Self)
    }

    /// One message, from MAIL to the last reply.
    pub fn deliver(&mut self, message: &Message, nth: usize) -> io::Result<Took> {
        let began = Instant::now();
        let id = format!("4NB{nth:08X}");
        for connection in &mut self.0 {
            connection.envelope(message, &id)?;
        }
        let mut end = Duration::ZERO;
        let mut fields = message.fields.clone();
        for connection in &mut self.0 {
            let (changes, took) = connection.content(&fields, &message.body, &id)?;
            end += took;
            for change in changes {
                match change {
                    Change::Insert(place, name, value) => {
                        fields.insert(place.min(fields.len()), (name, value));
                    }
                    Change::Add(name, value) => fields.push((name, value)),
                }
            }
        }
        let whole = began.elapsed();
        for connection in &mut self.0 {
            // Postfix says so after every message, with the next one's first command.
            connection.send(b'A', b"")?;
        }
        Ok(Took { end, whole })
    }
}

impl Connection {
    fn open(place: &Place, client: usize) -> io::Result<Self> {
        let (input, output, capacity): (Box<dyn Read + Send>, Box<dyn Write + Send>, _) =
            match place {
                Place::Unix(path) => {
                    let stream = UnixStream::connect(path)?;
                    (Box::new(stream.try_clone()?), Box::new(stream), 4_096)
                }
                Place::Tcp(address) => {
                    let stream = TcpStream::connect(address)?;
                    (Box::new(stream.try_clone()?), Box::new(stream), 2 * 65_483)
                }
            };
        let mut connection = Self {
            input: BufReader::with_capacity(4_096, input),
            output,
            buffer: Vec::new(),
            capacity,
            options: 0,
        };
        connection.negotiate()?;
        let address = format!("192.0.2.{}", client % 250 + 1);
        let connect = format!("mx.provider.example\x004\x0b\x38{address}\0");
        connection.send(
            b'D',
            b"Cj\0mx.receiver.example\0{daemon_name}\0mx.receiver.example\0v\0Postfix 3.7\0",
        )?;
        connection.step(b'C', connect.as_bytes(), NR_CONNECT)?;
        connection.step(b'H', b"mx.provider.example\0", NR_HELO)?;
        connection.flush()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> io::Result<()> {
        let offer = [6_u32, 0x1ff, 0x1f_ffff].map(u32::to_be_bytes).concat();
        self.send(b'O', &offer)?;
        let (kind, answer) = self.read()?;
        let options = answer.get(8..12).and_then(|o| o.try_into().ok());
        match (kind, options) {
            (b'O', Some(options)) => self.options = u32::from_be_bytes(options),
            _ => return Err(io::Error::other("no milter")),
        }
        Ok(())
    }

    fn envelope(&mut self, message: &Message, id: &str) -> io::Result<()> {
        self.step(b'M', format!("{}\0", message.mail_from).as_bytes(), NR_MAIL)?;
        self.step(b'R', b"<reader@receiver.example>\0", NR_RCPT)?;
        if self.options & NO_DATA == 0 {
            self.send(b'D', format!("Ti\0{id}\0").as_bytes())?;
            self.step(b'T', b"", NR_DATA)?;
        }
        // smtpd hands the connection to cleanup.
        self.flush()
    }

    fn content(
        &mut self,
        fields: &[(Vec<u8>, Vec<u8>)],
        body: &[u8],
        id: &str,
    ) -> io::Result<(Vec<Change>, Duration)> {
        for (name, value) in fields {
            let keeps_space = self.options & LEADING_SPACE != 0;
            let value = match value.strip_prefix(b" ") {
                Some(rest) if !keeps_space => rest,
                _ => value,
            };
            self.step(b'L', &[name, &b"\0"[..], value, b"\0"].concat(), NR_HEADER)?;
        }
        if self.options & NO_EOH == 0 {
            self.step(b'N', b"", NR_EOH)?;
        }
        if self.options & NO_BODY == 0 {
            for chunk in body.chunks(65_535) {
                if self.step(b'B', chunk, NR_BODY)? == b's' {
                    break;
                }
            }
        }
        self.send(b'D', format!("Ei\0{id}\0").as_bytes())?;
        let began = Instant::now();
        self.send(b'E', b"")?;
        let mut changes = Vec::new();
        loop {
            let (kind, payload) = self.read()?;
            match kind {
                b'i' => {
                    let (place, rest) = payload.split_at_checked(4).unwrap_or_default();
                    let place = place.try_into().map_or(0, u32::from_be_bytes);
                    let (name, value) = self.field(rest);
                    // To Postfix 0 is the top, and 1 the place below its own Received field.
                    changes.push(Change::Insert(
                        place.saturating_sub(1) as usize,
                        name,
                        value,
                    ));
                }
                b'h' => {
                    let (name, value) = self.field(&payload);
                    changes.push(Change::Add(name, value));
                }
                b'a' | b'c' => return Ok((changes, began.elapsed())),
                b'r' | b't' | b'd' | b'y' => {
                    return Err(io::Error::other(format!("refused: {}", kind as char)));
                }
                _ => {}
            }
        }
    }

    fn field(&self, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut parts = payload.split(|octet| *octet == 0);
        let name = parts.next().unwrap_or_default().to_vec();
        let value = parts.next().unwrap_or_default();
        let value = match value.first() {
            Some(b' ') => value.to_vec(),
            _ => [b" ", value].concat(),
        };
        (name, value)
    }

    fn step(&mut self, command: u8, payload: &[u8], no_reply: u32) -> io::Result<u8> {
        self.send(command, payload)?;
        if self.options & no_reply == 0 {
            Ok(self.read()?.0)
        } else {
            Ok(b'c')
        }
    }

    fn send(&mut self, command: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len() + 1).map_err(io::Error::other)?;
        self.put(&length.to_be_bytes())?;
        self.put(&[command])?;
        self.put(payload)
    }

    fn put(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            if self.buffer.len() == self.capacity {
                self.flush()?;
            }
            let room = (self.capacity - self.buffer.len()).min(octets.len());
            let (now, later) = octets.split_at(room);
            self.buffer.extend_from_slice(now);
            octets = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        self.flush()?;
        let mut head = [0; 5];
        self.input.read_exact(&mut head)?;
        let [a, b, c, d, kind] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let mut payload = vec![0; length.saturating_sub(1)];
        self.input.read_exact(&mut payload)?;
        Ok((kind, payload))
    }
}

const NO_BODY: u32 = 0x10;
const NO_EOH: u32 = 0x40;
const NR_HEADER: u32 = 0x80;
const NO_DATA: u32 = 0x200;
const NR_CONNECT: u32 = 0x1000;
const NR_HELO: u32 = 0x2000;
const NR_MAIL: u32 = 0x4000;
const NR_RCPT: u32 = 0x8000;
const NR_DATA: u32 = 0x1_0000;
const NR_EOH: u32 = 0x4_0000;
const NR_BODY: u32 = 0x8_0000;
const LEADING_SPACE: u32 = 0x10_0000;
