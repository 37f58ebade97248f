//! Postfix and Sendmail as a milter sees them: their exact sequences of packets and macros, as both
//! were observed (Postfix 3.7.11, Sendmail 8.17.1.9).

use crate::raw::{Packet, Raw};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mta {
    Postfix,
    Sendmail,
}

/// One SMTP session, as its MTA shows it.
pub struct Session {
    pub raw: Raw,
    mta: Mta,
    options: u32,
    /// The macros asked for, by the number of the stage.
    lists: HashMap<u32, String>,
    /// Stands before each queue id.
    pub prefix: String,
    pub queue_ids: Vec<String>,
    authenticated: bool,
}

/// What a client sends.
#[derive(Debug, Clone)]
pub struct Mail<'a> {
    pub from: &'a str,
    pub to: Vec<&'a str>,
    pub fields: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

/// The answer at the end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Changes of the header, and quarantine; progress left out.
    pub changes: Vec<Packet>,
    pub last: Packet,
}

impl Mta {
    pub const BOTH: [Self; 2] = [Self::Postfix, Self::Sendmail];

    /// Connects, negotiates, sends CONNECT and HELO.
    pub async fn session(self, raw: Raw, name: &str, socket: &str, helo: &str) -> Session {
        let mut session = self.connected(raw, name, socket).await;
        session.helo(helo).await;
        session
    }

    /// Connects without a HELO.
    pub async fn connected(self, mut raw: Raw, name: &str, socket: &str) -> Session {
        let agreed = raw.negotiate().await;
        assert_eq!(agreed.kind, 'O');
        let word = |at: usize| {
            let word: [u8; 4] = agreed.payload[at..at + 4].try_into().unwrap();
            u32::from_be_bytes(word)
        };
        let mut lists = HashMap::new();
        let mut at = 12;
        while at < agreed.payload.len() {
            let text = &agreed.payload[at + 4..];
            let end = text.iter().position(|b| *b == 0).unwrap();
            lists.insert(word(at), String::from_utf8(text[..end].to_vec()).unwrap());
            at += 5 + end;
        }
        let mut session = Session {
            raw,
            mta: self,
            options: word(8),
            lists,
            prefix: String::new(),
            queue_ids: Vec::new(),
            authenticated: false,
        };
        session
            .macros('C', 0, &[("j", "mx.test"), ("{daemon_name}", "mx.test")])
            .await;
        session
            .step('C', &connect_payload(name, socket), NR_CONNECT)
            .await;
        session
    }
}

impl Session {
    pub async fn helo(&mut self, name: &str) {
        self.macros('H', 1, &[]).await;
        self.step('H', &strings(&[name]), NR_HELO).await;
    }

    /// The client logs in.
    pub fn log_in(&mut self) {
        self.authenticated = true;
    }

    /// A whole message, up to the answer and what the MTA says after it.
    pub async fn deliver(&mut self, mail: &Mail<'_>) -> Answer {
        self.begin(mail).await;
        self.content(mail).await;
        self.end().await
    }

    /// The same, where the milter may hang up.
    pub async fn try_deliver(&mut self, mail: &Mail<'_>) -> std::io::Result<Answer> {
        self.begin(mail).await;
        self.content(mail).await;
        self.send_end().await;
        self.try_read_answer().await
    }

    /// MAIL, RCPT and DATA.
    pub async fn begin(&mut self, mail: &Mail<'_>) {
        let number = self.queue_ids.len() + 1;
        let id = match self.mta {
            Mta::Postfix => format!("{}4jXW5m5GBtz1St{number:02}", self.prefix),
            Mta::Sendmail => format!("{}6AMEP3770124{number:02}", self.prefix),
        };
        let mut macros = vec![("{mail_addr}", "x")];
        match self.mta {
            Mta::Postfix => {}
            Mta::Sendmail => macros.push(("i", &id)),
        }
        if self.authenticated {
            macros.push(("{auth_authen}", "user1"));
        }
        self.macros('M', 2, &macros).await;
        self.step('M', &strings(&[mail.from, "SIZE=100"]), NR_MAIL)
            .await;
        for (place, to) in mail.to.iter().enumerate() {
            let macros = [("{rcpt_addr}", "y"), ("i", &id)];
            let known = if self.mta == Mta::Postfix && place > 0 {
                2
            } else {
                1
            };
            self.macros('R', 3, &macros[..known]).await;
            self.step('R', &strings(&[to]), NR_RCPT).await;
        }
        self.macros('T', 4, &[("i", &id)]).await;
        self.step('T', b"", NR_DATA).await;
        self.queue_ids.push(id);
    }

    /// Header and body.
    pub async fn content(&mut self, mail: &Mail<'_>) {
        for (name, value) in &mail.fields {
            self.header(name, value.as_bytes()).await;
        }
        self.end_of_header().await;
        for chunk in mail.body.chunks(65_535) {
            if self.body(chunk).await == Some('s') {
                break;
            }
        }
    }

    pub async fn body(&mut self, chunk: &[u8]) -> Option<char> {
        self.content_macros('B').await;
        self.step('B', chunk, NR_BODY).await
    }

    pub async fn header(&mut self, name: &str, value: &[u8]) {
        self.content_macros('L').await;
        let payload = [name.as_bytes(), b"\0", value, b"\0"].concat();
        self.step('L', &payload, NR_HEADER).await;
    }

    pub async fn end_of_header(&mut self) {
        self.content_macros('N').await;
        self.step('N', b"", NR_EOH).await;
    }

    pub async fn end(&mut self) -> Answer {
        self.send_end().await;
        let answer = self.read_answer().await;
        if self.mta == Mta::Postfix {
            self.raw.send('A', b"").await;
        }
        answer
    }

    pub async fn send_end(&mut self) {
        let id = self.queue_ids.last().unwrap().clone();
        self.macros('E', 5, &[("i", &id)]).await;
        self.raw.send('E', b"").await;
    }

    pub async fn read_answer(&mut self) -> Answer {
        self.try_read_answer().await.unwrap()
    }

    async fn try_read_answer(&mut self) -> std::io::Result<Answer> {
        let mut changes = Vec::new();
        loop {
            let packet = self.raw.try_read().await?;
            match packet.kind {
                'h' | 'i' | 'm' | 'q' => changes.push(packet),
                'p' => {}
                _ => {
                    return Ok(Answer {
                        changes,
                        last: packet,
                    });
                }
            }
        }
    }

    /// RSET after MAIL.
    pub async fn reset(&mut self) {
        self.raw.send('A', b"").await;
    }

    pub async fn quit(mut self) {
        if self.mta == Mta::Postfix {
            self.raw.send('A', b"").await;
        }
        self.raw.send('Q', b"").await;
    }

    /// Postfix sends macros before everything of the content: those of the end of the header, before the
    /// body those of the end of the message.
    async fn content_macros(&mut self, command: char) {
        if self.mta == Mta::Postfix {
            let id = self.queue_ids.last().unwrap().clone();
            let stage = if command == 'B' { 5 } else { 6 };
            self.macros(command, stage, &[("i", &id)]).await;
        }
    }

    /// Those of `defined` that are asked for. Postfix sends even an empty packet.
    async fn macros(&mut self, command: char, stage: u32, defined: &[(&str, &str)]) {
        let asked = self.lists.get(&stage);
        let is_asked =
            |name: &str| asked.is_none_or(|list| list.split(' ').any(|asked| asked == name));
        let mut payload = vec![command as u8];
        for (name, value) in defined.iter().filter(|(name, _)| is_asked(name)) {
            payload.extend(strings(&[name, value]));
        }
        if payload.len() > 1 || self.mta == Mta::Postfix {
            self.raw.send('D', &payload).await;
        }
    }

    /// Sends a command and takes its reply, unless none was agreed on.
    async fn step(&mut self, command: char, payload: &[u8], no_reply: u32) -> Option<char> {
        self.raw.send(command, payload).await;
        if self.options & no_reply != 0 {
            return None;
        }
        let reply = self.raw.read().await.kind;
        assert!(matches!(reply, 'c' | 's'), "{command} {reply}");
        Some(reply)
    }
}

impl<'a> Mail<'a> {
    /// A message as simple as can be.
    pub fn plain(from: &'a str) -> Self {
        Self {
            from,
            to: vec!["<user@receiver.example>"],
            fields: Vec::new(),
            body: b"Hello\r\n",
        }
        .field("Subject", " hello")
    }

    pub fn field(mut self, name: &'a str, value: &'a str) -> Self {
        self.fields.push((name, value));
        self
    }
}

impl Answer {
    /// `i0 Authentication-Results: mx.test;...` and the like, one a line, with the last packet's kind.
    pub fn summary(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.changes.iter().map(summary).collect();
        lines.push(self.last.kind.to_string());
        lines
    }

    /// The one field that was inserted.
    pub fn results(&self) -> String {
        let inserted: Vec<_> = self.changes.iter().filter(|p| p.kind == 'i').collect();
        assert_eq!(inserted.len(), 1, "{:?}", self.summary());
        self.inserted("Authentication-Results").unwrap()
    }

    /// The value of the field of this name that was inserted on top.
    pub fn inserted(&self, name: &str) -> Option<String> {
        self.changes.iter().find_map(|packet| {
            let text = String::from_utf8_lossy(packet.payload.get(4..)?);
            let (found, value) = text.trim_end_matches('\0').split_once('\0')?;
            let on_top = packet.kind == 'i' && packet.payload.starts_with(&[0; 4]);
            (on_top && found == name).then(|| value.to_owned())
        })
    }
}

fn summary(packet: &Packet) -> String {
    if packet.kind == 'q' {
        let reason = packet.payload.strip_suffix(b"\0").unwrap();
        return format!("q {}", String::from_utf8_lossy(reason));
    }
    let (place, text) = packet.payload.split_at(4);
    let place = u32::from_be_bytes(place.try_into().unwrap());
    let text = String::from_utf8_lossy(text);
    let (name, value) = text
        .trim_end_matches('\0')
        .split_once('\0')
        .unwrap_or((&text, ""));
    let (name, value) = (
        name.trim_end_matches('\0'),
        value.split(';').next().unwrap(),
    );
    format!("{}{place} {name}:{value}", packet.kind)
}

fn connect_payload(name: &str, socket: &str) -> Vec<u8> {
    let mut payload = strings(&[name]);
    if socket == "unknown" {
        payload.push(b'U');
        return payload;
    }
    if socket.starts_with("IPv6:") {
        payload.extend(b"6\x04\0");
        payload.extend(strings(&[socket]));
        return payload;
    }
    let socket: std::net::SocketAddr = socket.parse().unwrap();
    payload.push(if socket.is_ipv4() { b'4' } else { b'6' });
    payload.extend(socket.port().to_be_bytes());
    payload.extend(strings(&[&socket.ip().to_string()]));
    payload
}

fn strings(words: &[&str]) -> Vec<u8> {
    words
        .iter()
        .flat_map(|w| [w.as_bytes(), b"\0"].concat())
        .collect()
}

const NR_HEADER: u32 = 0x80;
const NR_CONNECT: u32 = 0x1000;
const NR_HELO: u32 = 0x2000;
const NR_MAIL: u32 = 0x4000;
const NR_RCPT: u32 = 0x8000;
const NR_DATA: u32 = 0x1_0000;
const NR_EOH: u32 = 0x4_0000;
const NR_BODY: u32 = 0x8_0000;
