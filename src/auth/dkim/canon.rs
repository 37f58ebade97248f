//! Canonicalization, RFC 6376 §3.4: what may change under way without breaking a signature.
//!
//! Owns both algorithms for header fields and both for bodies. Bodies come in pieces, split anywhere,
//! and go out to a sink in pieces; what is held back between two pieces is three flags and a counter.
//!
//! Lines end with CRLF and with nothing else: RFC 6376 §3.4 "assumes that the message is already in
//! 'network normal' format". A CR or LF alone is an octet like any other. Guessing (LF counts as
//! CRLF) would make signatures pass that their signer never made, and there is nothing to win:
//! Postfix turns both into network-normal form before a milter sees them, Sendmail refuses bare LF.

/// `simple` or `relaxed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canon {
    Simple,
    Relaxed,
}

/// Takes the canonical octets of a body.
pub trait Sink {
    fn push(&mut self, octets: &[u8]);
    /// Octets taken so far.
    fn count(&self) -> u64;
}

/// A body on its way through one algorithm.
#[derive(Debug, Clone)]
pub struct BodyCanon {
    canon: Canon,
    /// Line ends held back: they count only if something follows.
    line_ends: u64,
    /// White space held back: one space if something follows on the line (relaxed).
    space: bool,
    /// The last octet was a CR, and the next one says what it means.
    cr: bool,
}

impl Canon {
    /// One header field with its CRLF.
    pub fn field(self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Simple => {
                // §3.4.1: "exactly as they are in the message".
                out.extend_from_slice(name);
                out.push(b':');
                out.extend_from_slice(value);
            }
            Self::Relaxed => {
                let name = name.trim_ascii_end();
                out.extend(name.iter().map(u8::to_ascii_lowercase));
                out.push(b':');
                relax_value(value, out);
            }
        }
        out.extend_from_slice(CRLF);
    }
}

/// §3.4.2: unfolds, reduces white space to one space, drops it at both ends.
fn relax_value(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    let mut space = false;
    let mut first = true;
    loop {
        match rest {
            [] | [b'\r', b'\n'] => return,
            [b' ' | b'\t', tail @ ..] | [b'\r', b'\n', b' ' | b'\t', tail @ ..] => {
                space = true;
                rest = tail;
            }
            [_, tail @ ..] => {
                if space && !first {
                    out.push(b' ');
                }
                (space, first) = (false, false);
                let is_end = |b: &u8| matches!(b, b' ' | b'\t' | b'\r');
                let length = 1 + tail.iter().position(is_end).unwrap_or(tail.len());
                let (word, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                out.extend_from_slice(word);
                rest = tail;
            }
        }
    }
}

impl BodyCanon {
    pub fn new(canon: Canon) -> Self {
        Self {
            canon,
            line_ends: 0,
            space: false,
            cr: false,
        }
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        match self.canon {
            Canon::Simple => self.update_simple(chunk, sink),
            Canon::Relaxed => self.update_relaxed(chunk, sink),
        }
    }

    /// The body is over.
    pub fn finish(mut self, sink: &mut impl Sink) {
        if self.cr {
            self.release(sink);
            sink.push(b"\r");
        }
        match self.canon {
            // §3.4.3: "If there is no body or no trailing CRLF on the message body, a CRLF is added."
            Canon::Simple => sink.push(CRLF),
            // §3.4.4: "If the body is non-empty but does not end with a CRLF, a CRLF is added."
            Canon::Relaxed if sink.count() > 0 => sink.push(CRLF),
            Canon::Relaxed => {}
        }
    }

    /// §3.4.3: all but the line ends at the end of a piece goes through as it is.
    fn update_simple(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        let Some(first) = chunk.first() else { return };
        let mut rest = chunk;
        if std::mem::take(&mut self.cr) {
            if *first == b'\n' {
                self.line_ends = self.line_ends.saturating_add(1);
                rest = chunk.get(1..).unwrap_or_default();
            } else {
                self.release(sink);
                sink.push(b"\r");
            }
        }
        if let [head @ .., b'\r'] = rest {
            self.cr = true;
            rest = head;
        }
        let mut trailing = 0;
        while let [head @ .., b'\r', b'\n'] = rest {
            trailing += 1;
            rest = head;
        }
        if !rest.is_empty() {
            self.release(sink);
            sink.push(rest);
        }
        self.line_ends = self.line_ends.saturating_add(trailing);
    }

    fn update_relaxed(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        let mut rest = chunk;
        while let Some((byte, tail)) = rest.split_first() {
            if std::mem::take(&mut self.cr) {
                if *byte == b'\n' {
                    // "Ignore all whitespace at the end of lines."
                    self.space = false;
                    self.line_ends = self.line_ends.saturating_add(1);
                    rest = tail;
                    continue;
                }
                self.release(sink);
                sink.push(b"\r");
            }
            match byte {
                b'\r' => self.cr = true,
                b' ' | b'\t' => self.space = true,
                _ => {
                    self.release(sink);
                    let length = 1 + unchanged(tail);
                    let (run, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    sink.push(run);
                    rest = tail;
                    continue;
                }
            }
            rest = tail;
        }
    }

    /// Something follows: what was held back counts.
    fn release(&mut self, sink: &mut impl Sink) {
        while self.line_ends > 0 {
            let now = self.line_ends.min(LINE_ENDS.len() as u64 / 2);
            sink.push(LINE_ENDS.get(..now as usize * 2).unwrap_or_default());
            self.line_ends -= now;
        }
        if std::mem::take(&mut self.space) {
            sink.push(b" ");
        }
    }
}

/// How many octets from the start go through `relaxed` unchanged, whatever follows them, given that
/// the octet before them did. Looks at whole blocks first: the compiler turns that loop into vector
/// instructions, and most of a body is clean.
fn unchanged(octets: &[u8]) -> usize {
    let mut length = 0;
    while let Some(block) = octets.get(length..length + BLOCK + 2) {
        if !is_clean(block) {
            break;
        }
        length += BLOCK;
    }
    let rest = octets.get(length..).unwrap_or_default();
    let clean = rest
        .windows(3)
        .take_while(|window| !matches!(window, [a, b, c] if changes(*a, *b, *c)))
        .count();
    length + clean
}

/// Whether no octet of a block, of which the last two only give the context, has to change.
fn is_clean(block: &[u8]) -> bool {
    let (Some(b), Some(c)) = (block.get(1..), block.get(2..)) else {
        return false;
    };
    let mut dirty = false;
    for ((a, b), c) in block.iter().zip(b).zip(c) {
        dirty |= changes(*a, *b, *c);
    }
    !dirty
}

/// Whether `a`, followed by `b` and `c`, may not simply go through: a tab becomes a space; a space
/// before white space or a line end is dropped; a line end before another, or before white space, is
/// left to the slow path, as is a CR alone. Without branches, so that it can be done many at a time.
#[inline(always)]
fn changes(a: u8, b: u8, c: u8) -> bool {
    let is_space = |x: u8| (x == b' ') | (x == b'\t');
    (a == b'\t')
        | ((a == b' ') & (is_space(b) | (b == b'\r')))
        | ((a == b'\r') & ((b != b'\n') | is_space(c) | (c == b'\r')))
}

const BLOCK: usize = 64;
const CRLF: &[u8] = b"\r\n";
const LINE_ENDS: &[u8] = &{
    let mut text = [b'\r'; 512];
    let mut at = 1;
    while at < text.len() {
        text[at] = b'\n';
        at += 2;
    }
    text
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Sink for Vec<u8> {
        fn push(&mut self, octets: &[u8]) {
            self.extend_from_slice(octets);
        }

        fn count(&self) -> u64 {
            self.len() as u64
        }
    }

    fn canonical<'a>(canon: Canon, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut body = BodyCanon::new(canon);
        for piece in pieces {
            body.update(piece, &mut out);
        }
        body.finish(&mut out);
        out
    }

    /// RFC 6376 §3.4.3 and §3.4.4, sentence by sentence, on a whole body.
    fn naive(canon: Canon, body: &[u8]) -> Vec<u8> {
        let text: String = body.iter().map(|b| char::from(*b)).collect();
        let relax = |line: &str| {
            let mut squeezed = line.replace('\t', " ");
            while squeezed.contains("  ") {
                squeezed = squeezed.replace("  ", " ");
            }
            squeezed.trim_end_matches(' ').to_owned()
        };
        let lines = text.split("\r\n");
        let mut text = match canon {
            Canon::Simple => text.clone(),
            Canon::Relaxed => lines.map(relax).collect::<Vec<_>>().join("\r\n"),
        };
        while text.ends_with("\r\n") {
            text.truncate(text.len() - 2);
        }
        if canon == Canon::Simple || !text.is_empty() {
            text.push_str("\r\n");
        }
        text.chars().map(|c| c as u8).collect()
    }

    #[test]
    fn bodies() {
        for (body, simple, relaxed) in [
            ("", "\r\n", ""),
            ("\r\n", "\r\n", ""),
            ("\r\n\r\n", "\r\n", ""),
            ("  ", "  \r\n", ""),
            (" \r\n\t\r\n", " \r\n\t\r\n", ""),
            ("a", "a\r\n", "a\r\n"),
            ("a \t\r\n\r\n \r\n", "a \t\r\n\r\n \r\n", "a\r\n"),
            ("\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"),
            (" a\t b\r\n", " a\t b\r\n", " a b\r\n"),
            // A CR or LF alone ends no line.
            ("a \rb \n", "a \rb \n\r\n", "a \rb \n\r\n"),
            ("a\r\r\n", "a\r\r\n", "a\r\r\n"),
            ("a\r", "a\r\r\n", "a\r\r\n"),
            ("a\n\n", "a\n\n\r\n", "a\n\n\r\n"),
        ] {
            for (canon, expected) in [(Canon::Simple, simple), (Canon::Relaxed, relaxed)] {
                let whole = canonical(canon, [body.as_bytes()]);
                assert_eq!(whole, expected.as_bytes(), "{canon:?} {body:?}");
                let octets = canonical(canon, body.as_bytes().chunks(1));
                assert_eq!(octets, expected.as_bytes(), "{canon:?} {body:?} by octet");
            }
        }
    }

    #[test]
    fn fields() {
        for (name, value, relaxed) in [
            ("SUBJect", " AbC", "subject:AbC\r\n"),
            ("B ", " Y\t\r\n\tZ  ", "b:Y Z\r\n"),
            ("X", "", "x:\r\n"),
            ("X", " \r\n \t", "x:\r\n"),
            ("X", "a\r\n\r\n b", "x:a\r\n b\r\n"),
            ("X", "a\rb \n", "x:a\rb \n\r\n"),
        ] {
            let mut out = Vec::new();
            Canon::Relaxed.field(name.as_bytes(), value.as_bytes(), &mut out);
            assert_eq!(out, relaxed.as_bytes(), "{value:?}");
            out.clear();
            Canon::Simple.field(name.as_bytes(), value.as_bytes(), &mut out);
            assert_eq!(out, format!("{name}:{value}\r\n").as_bytes());
        }
    }

    /// Bodies of what matters, long enough to fill several blocks.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(&b"word"[..]),
            2 => Just(&b" "[..]),
            2 => Just(&b"\r\n"[..]),
            1 => Just(&b"\t"[..]),
            1 => Just(&b"\r"[..]),
            1 => Just(&b"\n"[..]),
            1 => Just(&b"\xff"[..]),
            1 => Just(&[b'x'; 200][..]),
        ];
        prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_equals_the_whole(body in body(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            for canon in [Canon::Simple, Canon::Relaxed] {
                let pieces = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]);
                prop_assert_eq!(canonical(canon, pieces), naive(canon, &body));
            }
        }
    }
}
