//! Packets of the milter protocol as octets in a stream: where one ends, and what kind it is.
//!
//! Owns the framing (four octets of length, one of kind, the rest), the kinds that the stream must tell
//! apart, which packets are plain header fields or body octets, and the mending of packets that MTAs send and indymilter doesn't take. What else is in a
//! packet is indymilter's.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Follows one direction of a connection, packet by packet.
#[derive(Debug, Default)]
pub struct Framer {
    header: [u8; HEADER],
    have: usize,
    left: usize,
}

impl Framer {
    /// Takes as many of `octets` as belong to the current packet, or to the next when the last one
    /// is complete; says how many.
    pub fn take(&mut self, octets: &[u8]) -> usize {
        if self.is_complete() {
            self.have = 0;
        }
        let mut taken = 0;
        for (place, octet) in self.header.iter_mut().skip(self.have).zip(octets) {
            *place = *octet;
            taken += 1;
        }
        if self.have < HEADER && self.have + taken == HEADER {
            let [a, b, c, d, _] = self.header;
            self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(1);
        }
        self.have += taken;
        if self.have == HEADER {
            let payload = self.left.min(octets.len() - taken);
            self.left -= payload;
            taken += payload;
        }
        taken
    }

    /// The last packet has been taken whole, and the next has not begun; or there was none yet.
    pub fn is_complete(&self) -> bool {
        self.have == 0 || (self.have == HEADER && self.left == 0)
    }

    /// The kind of the current packet, once it is known.
    pub fn kind(&self) -> Option<u8> {
        let [.., kind] = self.header;
        (self.have == HEADER).then_some(kind)
    }

    /// Octets of the current packet that are still to come, as far as known.
    pub fn left(&self) -> usize {
        match self.have {
            HEADER => self.left,
            _ => 0,
        }
    }
}

/// What is to be done with the packet at the front of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Front {
    /// More of it is needed to tell.
    Unknown,
    Fine,
    /// Body octets, none of them. indymilter ends the session over it.
    EmptyBody,
    /// So many octets that say nothing: macros before each header field and body packet, of which
    /// indymilter knows nothing and we know all already.
    Idle(usize),
    /// This one instead of its first octets.
    Mended {
        instead_of: usize,
        packet: Vec<u8>,
    },
    /// Longer than any packet of the protocol: something else speaks.
    TooLong(usize),
}

/// Looks at the packet that `octets` begin with.
pub fn front(octets: &[u8]) -> Front {
    let Some(([a, b, c, d, kind], rest)) = octets.split_first_chunk::<HEADER>() else {
        return Front::Unknown;
    };
    let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(1);
    let whole = HEADER.saturating_add(length);
    match kind {
        _ if length > max_payload(*kind) => Front::TooLong(length),
        b'D' if length <= MAX_MACROS => match rest.get(..length) {
            None => Front::Unknown,
            Some([] | [b'L' | b'B', ..]) => Front::Idle(whole),
            // indymilter passes over a packet without macros, and the ones of the last message hold on.
            Some([stage]) => Front::Mended {
                instead_of: whole,
                packet: packet(b'D', &[*stage, b'-', 0, 0]),
            },
            Some(_) => Front::Fine,
        },
        b'B' if length == 0 => Front::EmptyBody,
        b'C' if length <= MAX_CONNECT => match rest.get(..length) {
            None => Front::Unknown,
            Some(payload) => match mended_connect(payload) {
                None => Front::Fine,
                Some(mended) => Front::Mended {
                    instead_of: whole,
                    packet: packet(b'C', &mended),
                },
            },
        },
        _ => Front::Fine,
    }
}

/// A packet with a header field, at the front of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum FieldFront<'p> {
    /// More of it is needed.
    Unknown,
    /// Its payload: name and value, a NUL behind each.
    Field(&'p [u8]),
    /// Something else, a field of unusual size, or nothing that is one: indymilter's.
    Other,
}

/// Whether `octets` begin with a header field as MTAs send them.
pub fn field_front(octets: &[u8]) -> FieldFront<'_> {
    let Some(([a, b, c, d, b'L'], rest)) = octets.split_first_chunk::<HEADER>() else {
        return FieldFront::Other;
    };
    let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(1);
    if length > MAX_FIELD {
        return FieldFront::Other;
    }
    let Some(payload) = rest.get(..length) else {
        return FieldFront::Unknown;
    };
    let mut texts = payload.split(|octet| *octet == 0);
    match [texts.next(), texts.next(), texts.next(), texts.next()] {
        [Some([_, ..]), Some(_), Some([]), None] => FieldFront::Field(payload),
        _ => FieldFront::Other,
    }
}

/// How long the payload of the body packet is that `octets` begin with; `None`: it begins with another one, or
/// with one that `front` has to look at.
pub fn body_front(octets: &[u8]) -> Option<usize> {
    let ([a, b, c, d, b'B'], _) = octets.split_first_chunk::<HEADER>()? else {
        return None;
    };
    let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(1);
    (1..=MAX_CONTENT).contains(&length).then_some(length)
}

/// Octets of the longest packet of this kind, its kind left out.
fn max_payload(kind: u8) -> usize {
    match kind {
        b'L' | b'B' | END_OF_MESSAGE => MAX_CONTENT,
        _ => MAX_COMMAND,
    }
}

/// CONNECT with an address that can be read. Sendmail puts `IPv6:` before those, and link-local ones may name
/// their interface (RFC 4007 §11). Where it can't be read at all, the unspecified one stands for it, which is
/// better than no session; and better than no address, as mail of a local command has none.
fn mended_connect(payload: &[u8]) -> Option<Vec<u8>> {
    let end = payload.iter().position(|octet| *octet == 0)?;
    let (name, rest) = payload.split_at_checked(end.checked_add(1)?)?;
    let ([family, port @ ..], address) = rest.split_first_chunk::<3>()?;
    let ended = address.strip_suffix(b"\0").unwrap_or_default();
    let address = std::str::from_utf8(ended).unwrap_or_default();
    let readable = match family {
        b'4' => address.parse::<Ipv4Addr>().is_ok(),
        b'6' => address.parse::<Ipv6Addr>().is_ok(),
        b'L' => return None,
        _ => false,
    };
    if readable {
        return None;
    }
    let v6 = untagged(address).split('%').next();
    let v6 = v6.and_then(|address| address.parse::<Ipv6Addr>().ok());
    Some(match v6 {
        Some(v6) => [name, b"6", port, v6.to_string().as_bytes(), b"\0"].concat(),
        None => [name, b"4", port, b"0.0.0.0\0"].concat(),
    })
}

/// An IPv6 address without Sendmail's prefix.
pub fn untagged(address: &str) -> &str {
    match address.split_at_checked(SENDMAIL_PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(SENDMAIL_PREFIX) => rest,
        Some(_) | None => address,
    }
}

/// A packet of this kind. Its payload is shorter than 4 GiB.
pub fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len().saturating_add(1)).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

/// A command that carries the end of the message.
pub const END_OF_MESSAGE: u8 = b'E';

/// Macros for the command that follows.
pub const MACROS: u8 = b'D';

/// The reply that nothing is to be said.
pub const CONTINUE: u8 = b'c';

/// Replies that may precede the final one at the end of a message, and mean nothing without it:
/// add, insert and change header, quarantine, and the other changes of a message.
pub fn is_change(kind: u8) -> bool {
    matches!(
        kind,
        b'h' | b'i' | b'm' | b'q' | b'e' | b'b' | b'+' | b'-' | b'2'
    )
}

/// Replies that decide what becomes of a message at its end.
pub fn is_final(kind: u8) -> bool {
    matches!(kind, b'a' | b'c' | b'd' | b'r' | b't' | b'y')
}

/// Length and kind of every packet.
pub const HEADER: usize = 5;

/// A header field, a chunk of the body: indymilter takes no more; Postfix and Sendmail send 64 KiB at most.
const MAX_CONTENT: usize = 1024 * 1024 - 1;

/// Everything else: a line of SMTP, 2 KiB for both MTAs, or some macros. indymilter makes a string of its
/// own of each NUL in it.
const MAX_COMMAND: usize = 16 * 1024;

/// Those we ask for, and those that are sent unasked, take far less.
const MAX_MACROS: usize = 4 * 1024;

/// A field of usual size; they are read in one piece.
const MAX_FIELD: usize = 4 * 1024;

/// A host name and an address.
const MAX_CONNECT: usize = 2 * 1024;

const SENDMAIL_PREFIX: &str = "IPv6:";

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `octets` in pieces of `size` and lists kind and end of every packet.
    fn packets(octets: &[u8], size: usize) -> Vec<(u8, usize)> {
        let (mut framer, mut found, mut at) = (Framer::default(), Vec::new(), 0);
        for piece in octets.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let taken = framer.take(rest);
                assert!(taken > 0);
                rest = &rest[taken..];
                at += taken;
                if framer.is_complete() {
                    found.push((framer.kind().unwrap(), at));
                }
            }
        }
        found
    }

    #[test]
    fn plain_fields_are_told_from_what_indymilter_must_see() {
        let long = [b"X\0", &vec![b'x'; 5_000][..], b"\0"].concat();
        for (payload, expected) in [
            (&b"From\0 a@b.example\0"[..], true),
            (b"From\0\0", true),
            (b"", false),
            (b"\0x\0", false),
            (b"From\0x", false),
            (b"From\0", false),
            (b"From\0x\0y\0", false),
            (&long, false),
        ] {
            let whole = packet(b'L', payload);
            let found = field_front(&whole);
            let expected = match expected {
                true => FieldFront::Field(payload),
                false => FieldFront::Other,
            };
            assert_eq!(found, expected, "{payload:?}");
        }
        for (octets, expected) in [
            (&b"\0\0"[..], FieldFront::Other),
            (b"\0\0\0\x05L", FieldFront::Unknown),
            (b"\0\0\0\x05LA\0B", FieldFront::Unknown),
            (b"\0\0\0\x05LA\0B\0rest", FieldFront::Field(b"A\0B\0")),
            (b"\0\0\0\x05BA\0B\0", FieldFront::Other),
        ] {
            assert_eq!(field_front(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn finds_every_packet_however_the_stream_is_cut() {
        // A length of 0 is against the protocol; indymilter reads it as 1.
        let stream = b"\0\0\0\x01c\0\0\0\x04hab\0\0\0\0\x01p\0\0\0\0c\0\0\0\x02yz";
        let expected = [(b'c', 5), (b'h', 13), (b'p', 18), (b'c', 23), (b'y', 29)];
        for size in 1..=stream.len() {
            assert_eq!(packets(stream, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn mends_what_indymilter_would_not_take() {
        let unknown = Some(&b"mx\x004\0\x190.0.0.0\0"[..]);
        for (payload, expected) in [
            (&b"mx\x004\0\x19192.0.2.9\0"[..], None),
            (b"mx\x006\0\x192001:db8::1\0", None),
            (b"mx\0L\0\0/run/x\0", None),
            (b"mx\0U", None),
            (
                b"mx\x006\0\x19IPv6:2001:DB8::1\0",
                Some(&b"mx\x006\0\x192001:db8::1\0"[..]),
            ),
            (
                b"mx\x006\0\x19fe80::1%eth0\0",
                Some(b"mx\x006\0\x19fe80::1\0"),
            ),
            (b"mx\x006\0\x19nonsense\0", unknown),
            (b"mx\x004\0\x19999.0.2.9\0", unknown),
            (b"mx\x004\0\x19192.0.2.9", unknown),
            (b"mx\0X\0\x19\0", unknown),
        ] {
            let whole = packet(b'C', payload);
            let expected = match expected {
                None => Front::Fine,
                Some(mended) => Front::Mended {
                    instead_of: whole.len(),
                    packet: packet(b'C', mended),
                },
            };
            assert_eq!(
                front(&whole),
                expected,
                "{:?}",
                String::from_utf8_lossy(payload)
            );
            for cut in 0..whole.len() {
                assert_eq!(front(&whole[..cut]), Front::Unknown);
            }
        }
        for (payload, expected) in [
            (&b"Li\x004jXW\0"[..], Front::Idle(13)),
            (b"L", Front::Idle(6)),
            (b"Mi\x004jXW\0", Front::Fine),
            (b"", Front::Idle(5)),
            (
                b"M",
                Front::Mended {
                    instead_of: 6,
                    packet: packet(b'D', b"M-\0\0"),
                },
            ),
        ] {
            assert_eq!(front(&packet(b'D', payload)), expected);
        }
        assert_eq!(front(&packet(b'B', b"")), Front::EmptyBody);
        assert_eq!(front(b"\0\0\0\0B"), Front::EmptyBody);
        assert_eq!(front(&packet(b'B', b"x")), Front::Fine);
        assert_eq!(front(b"GET / HTTP/1.1"), Front::TooLong(0x4745_541f));
        for (kind, most) in [
            (b'L', MAX_CONTENT),
            (b'M', MAX_COMMAND),
            (b'D', MAX_COMMAND),
        ] {
            let begins = |length: usize| {
                let length = u32::try_from(length + 1).unwrap();
                [&length.to_be_bytes()[..], &[kind]].concat()
            };
            assert_eq!(front(&begins(most)), Front::Fine);
            assert_eq!(front(&begins(most + 1)), Front::TooLong(most + 1));
        }
    }

    #[test]
    fn knows_what_is_left() {
        let mut framer = Framer::default();
        assert!(framer.is_complete());
        assert_eq!((framer.take(b"\xff\xff"), framer.left()), (2, 0));
        assert_eq!(
            (framer.take(b"\xff\xffBx"), framer.left()),
            (4, 0xffff_fffd)
        );
        assert!(!framer.is_complete());
    }
}
