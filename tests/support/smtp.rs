//! A small SMTP client that does what it is told and nothing else: no waiting for leave, no
//! repairing of messages, hanging up at any point.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

/// Who the client says it is.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub address: IpAddr,
    /// The name the MTA would have found for the address.
    pub name: &'static str,
    pub helo: &'static str,
    /// Its user name, when it logged in.
    pub login: &'static str,
}

/// The login of a client that didn't.
pub const NO_LOGIN: &str = "[UNAVAILABLE]";

/// One answer, its lines joined by LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub String);

/// A limit for broken tests only; the slowest answers waited for take seconds.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(120));

pub struct Session {
    stream: BufReader<Box<dyn Stream>>,
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Session {
    /// Reads the greeting over a fresh connection.
    pub fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(PATIENCE)
            .expect("a limit can be set");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self::greeted(Box::new(stream))
    }

    /// Reads the greeting of a program that speaks SMTP on its standard input and output.
    pub fn with(program: &mut Command) -> Self {
        let (ours, its) = UnixStream::pair().expect("a pair of sockets can be made");
        ours.set_read_timeout(PATIENCE).expect("a limit can be set");
        let output = its.try_clone().expect("a socket can be shared");
        let program = program
            .stdin(OwnedFd::from(its))
            .stdout(OwnedFd::from(output))
            .spawn();
        let mut program = program.expect("the program can be run");
        // It ends with the session; only that nobody waited for it would be left of it.
        std::thread::spawn(move || program.wait());
        Self::greeted(Box::new(ours))
    }

    fn greeted(stream: Box<dyn Stream>) -> Self {
        let mut session = Self {
            stream: BufReader::new(stream),
        };
        session.reply().expect(220);
        session
    }

    /// Takes the client's name and address, and greets with its HELO name.
    pub fn pose_as(&mut self, client: &Client) {
        self.command("EHLO tester.invalid").expect(250);
        let address = match client.address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("IPV6:{v6}"),
        };
        let (name, login) = (client.name, client.login);
        self.command(&format!("XCLIENT NAME={name} ADDR={address} LOGIN={login}"))
            .expect(220);
        self.command(&format!("EHLO {}", client.helo)).expect(250);
    }

    /// Sends one line and reads its answer.
    pub fn command(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// A whole message, from MAIL to the answer to the final dot. Stops at the first refusal.
    /// `from` and `to` are arguments as they stand after the colon, such as `<a@b.example> SMTPUTF8`.
    pub fn mail(&mut self, from: &str, to: &[&str], message: &[u8]) -> Reply {
        let answer = self.envelope(from, to);
        if answer.code() != 354 {
            return answer;
        }
        self.send(&dotted(message));
        self.reply()
    }

    /// MAIL, RCPT and DATA; the answer to DATA or to what was refused before it.
    pub fn envelope(&mut self, from: &str, to: &[&str]) -> Reply {
        let mut lines = vec![format!("MAIL FROM:{from}")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:{to}")));
        for line in lines {
            let answer = self.command(&line);
            if answer.code() != 250 {
                return answer;
            }
        }
        self.command("DATA")
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).expect("the MTA reads");
    }

    /// Reads one answer.
    pub fn reply(&mut self) -> Reply {
        let mut text = String::new();
        loop {
            let start = text.len();
            let read = self.stream.read_line(&mut text).expect("the MTA answers");
            assert!(read > 0, "the MTA hung up after: {text:?}");
            if text.as_bytes().get(start + 3) != Some(&b'-') {
                break;
            }
        }
        Reply(text.trim_end().replace("\r\n", "\n"))
    }

    /// Says QUIT and waits for the MTA to close.
    pub fn quit(mut self) {
        self.command("QUIT").expect(221);
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the MTA closes");
        assert!(rest.is_empty(), "after QUIT: {rest:?}");
    }
}

impl Reply {
    pub fn code(&self) -> u16 {
        self.0
            .get(..3)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    /// Fails the test with the whole answer unless the code is this one.
    #[track_caller]
    pub fn expect(&self, code: u16) {
        assert_eq!(self.code(), code, "{}", self.0);
    }

    /// The queue id in the answer to an accepted message: `250 2.0.0 Ok: queued as ID` or
    /// `250 2.0.0 ID Message accepted for delivery`.
    #[track_caller]
    pub fn queue_id(&self) -> String {
        self.expect(250);
        let words = self.0.strip_suffix(" Message accepted for delivery");
        let (_, id) = words.unwrap_or(&self.0).rsplit_once(' ').expect("words");
        id.to_owned()
    }
}

/// The message with dots doubled and the final dot.
pub fn dotted(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    let mut at_start = true;
    for &byte in message {
        if at_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        at_start = byte == b'\n';
    }
    if !at_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
