//! Packets of the milter protocol as octets in a stream: where one ends, and what kind it is.
//!
//! Owns the framing (four octets of length, one of kind, the rest) and the kinds that the stream must
//! tell apart. What is in a packet is indymilter's.

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

/// A command that carries the end of the message.
pub const END_OF_MESSAGE: u8 = b'E';

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

const HEADER: usize = 5;

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
    fn finds_every_packet_however_the_stream_is_cut() {
        // A length of 0 is against the protocol; indymilter reads it as 1.
        let stream = b"\0\0\0\x01c\0\0\0\x04hab\0\0\0\0\x01p\0\0\0\0c\0\0\0\x02yz";
        let expected = [(b'c', 5), (b'h', 13), (b'p', 18), (b'c', 23), (b'y', 29)];
        for size in 1..=stream.len() {
            assert_eq!(packets(stream, size), expected, "pieces of {size}");
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
