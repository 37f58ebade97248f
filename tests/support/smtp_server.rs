//! An SMTP server that takes mail and misbehaves on demand: refusals, silence, hanging up at any step,
//! nonsense instead of TLS.
//!
//! Use from a test: `#[path = "../support/smtp_server.rs"] mod smtp_server;`. It ends with the value.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where a session stands when the server is to do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Greeting,
    Ehlo,
    StartTls,
    Mail(String),
    Rcpt(String),
    Data,
    /// The whole content has arrived.
    Content(Received),
    /// Any other command.
    Other(String),
}

/// What it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// What a good server says.
    Well,
    Says(&'static str),
    /// Nothing more, the connection left open.
    Hushes,
    HangsUp,
}

/// A mail as it arrived, dots undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    pub content: Vec<u8>,
    /// Which connection, from 1.
    pub connection: usize,
}

pub struct SmtpServer {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

type Manners = dyn Fn(&Step) -> Does + Send + Sync;

impl SmtpServer {
    /// Starts it; `manners` says at each step what to do.
    pub fn start(manners: impl Fn(&Step) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let server = Self {
            address: listener.local_addr().expect("it is bound"),
            received: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
        };
        let (received, connections) = (server.received.clone(), server.connections.clone());
        let ended = server.ended.clone();
        let manners: Arc<Manners> = Arc::new(manners);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let session = Session {
                    connection: connections.fetch_add(1, Ordering::SeqCst) + 1,
                    manners: manners.clone(),
                    received: received.clone(),
                };
                // A client that goes away ends the session; there is nobody to be told.
                thread::spawn(move || _ = session.serve(stream));
            }
        });
        server
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything whose content arrived, whatever was answered.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panics with it").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; should that fail, it ends with the test process.
        _ = TcpStream::connect(self.address);
    }
}

struct Session {
    connection: usize,
    manners: Arc<Manners>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Session {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        self.does(&mut stream, &Step::Greeting, "220 test ESMTP")?;
        let mut mail = self.nothing();
        loop {
            let line = read_line(&mut stream)?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let argument = || line.split_once(':').map_or("", |(_, rest)| rest).to_owned();
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let (step, well) = match verb.as_str() {
                "EHLO" => (Step::Ehlo, "250-test\r\n250 STARTTLS"),
                "STAR" => (Step::StartTls, "220 go on"),
                "MAIL" => {
                    mail = self.nothing();
                    mail.from = argument();
                    (Step::Mail(argument()), "250 ok")
                }
                "RCPT" => {
                    mail.to.push(argument());
                    (Step::Rcpt(argument()), "250 ok")
                }
                "DATA" => (Step::Data, "354 go on"),
                "QUIT" => (Step::Other(line.clone()), "221 bye"),
                _ => (Step::Other(line.clone()), "250 ok"),
            };
            let did_well = self.does(&mut stream, &step, well)?;
            if step == Step::Data && did_well {
                mail.content = content(&mut stream)?;
                let whole = std::mem::replace(&mut mail, self.nothing());
                self.received.lock().ok()?.push(whole.clone());
                self.does(&mut stream, &Step::Content(whole), "250 2.0.0 taken")?;
            }
            if verb == "QUIT" {
                return None;
            }
        }
    }

    /// `None`: the session is over; else whether it did well.
    fn does(&self, stream: &mut BufReader<TcpStream>, step: &Step, well: &str) -> Option<bool> {
        let does = (self.manners)(step);
        let says = match does {
            Does::Well => well,
            Does::Says(says) => says,
            Does::Hushes => {
                // Reads on until the client gives up.
                while read_line(stream).is_some() {}
                return None;
            }
            Does::HangsUp => return None,
        };
        stream
            .get_mut()
            .write_all(format!("{says}\r\n").as_bytes())
            .ok()?;
        Some(does == Does::Well)
    }

    fn nothing(&self) -> Received {
        Received {
            from: String::new(),
            to: Vec::new(),
            content: Vec::new(),
            connection: self.connection,
        }
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = stream.read_until(b'\n', &mut line).ok()?;
    (read > 0).then_some(line)
}

fn content(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line == b".\r\n" {
            return Some(content);
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
