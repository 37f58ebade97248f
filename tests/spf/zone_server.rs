//! A DNS server on loopback for zone data that can be swapped: just enough of RFC 1035 for stub
//! resolvers over UDP. Names that time out fail at once instead, so that nobody waits.

use crate::zone_data::{Entry, ZoneData};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

pub struct ZoneServer {
    address: SocketAddr,
    zone: Arc<Mutex<ZoneData>>,
    task: JoinHandle<()>,
}

impl ZoneServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let zone = Arc::new(Mutex::new(ZoneData::default()));
        Self {
            address: socket.local_addr().expect("a bound socket has an address"),
            task: tokio::spawn(serve(socket, zone.clone())),
            zone,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn load(&self, zone: &ZoneData) {
        *self.zone.lock().expect("nobody panics with the zone") = zone.clone();
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<ZoneData>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let zone = zone.lock().expect("nobody panics with the zone").clone();
        if let Some(answer) = answer(&buffer[..length], &zone) {
            // A client that has gone asks no more.
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

fn answer(query: &[u8], zone: &ZoneData) -> Option<Vec<u8>> {
    let (name, end) = question_name(query)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let (code, records) = look_up(zone, &name, kind);
    let mut answer = query.get(..end + 4)?.to_vec();
    // RFC 1035 §4.1.1: a response, authoritative, recursion available.
    answer[2] = 0x84 | (query[2] & 1);
    answer[3] = 0x80 | code;
    let count = u16::try_from(records.len()).ok()?;
    answer[4..12].copy_from_slice(&[
        0,
        1,
        count.to_be_bytes()[0],
        count.to_be_bytes()[1],
        0,
        0,
        0,
        0,
    ]);
    for data in records {
        // The name asked, class IN, an hour to live.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 14, 16]);
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// The name in lower case, and where it ends.
fn question_name(query: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            let name = labels.join(".").to_ascii_lowercase();
            return Some((name, at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}

/// The answer's code and the data of its records; CNAMEs are followed here.
fn look_up(zone: &ZoneData, name: &str, kind: u16) -> (u8, Vec<Vec<u8>>) {
    let mut name = name.to_owned();
    for _ in 0..8 {
        let Some(entries) = zone.0.get(&name) else {
            return (NAME_ERROR, Vec::new());
        };
        let records: Vec<_> = entries
            .iter()
            .filter_map(|entry| data(entry, kind))
            .collect();
        if !records.is_empty() {
            return (NO_ERROR, records);
        }
        if entries.contains(&Entry::Timeout) {
            return (SERVER_FAILURE, Vec::new());
        }
        let alias = entries.iter().find_map(|entry| match entry {
            Entry::Cname(target) => Some(target.trim_end_matches('.').to_ascii_lowercase()),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => return (NO_ERROR, Vec::new()),
        }
    }
    (SERVER_FAILURE, Vec::new())
}

/// RFC 1035 §3.2.2 and RFC 3596 §2.1.
fn data(entry: &Entry, kind: u16) -> Option<Vec<u8>> {
    match (entry, kind) {
        (Entry::A(address), 1) => Some(address.octets().into()),
        (Entry::Aaaa(address), 28) => Some(address.octets().into()),
        (Entry::Ptr(name), 12) => Some(wire_name(name)),
        (Entry::Mx(preference, name), 15) => {
            Some([preference.to_be_bytes().to_vec(), wire_name(name)].concat())
        }
        (Entry::Txt(strings), 16) => Some(strings.iter().flat_map(|s| wire_string(s)).collect()),
        _ => None,
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> = labels
        .flat_map(|label| wire_string(label.as_bytes()))
        .collect();
    wire.push(0);
    wire
}

/// `<character-string>`s of at most 255 octets.
fn wire_string(string: &[u8]) -> Vec<u8> {
    let part = |part: &[u8]| [&[u8::try_from(part.len()).unwrap_or(255)], part].concat();
    string.chunks(255).flat_map(part).collect()
}
