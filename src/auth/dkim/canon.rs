//! Canonicalization, RFC 6376 §3.4: what may change under way without breaking a signature.
//!
//! Owns both algorithms for header fields and both for bodies. Bodies come in pieces, split anywhere,
//! and go out to a sink in pieces; what is held back between two pieces is two flags and a counter.
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
    /// The last octet was a CR, and the next one says what it means.
    cr: bool,
    /// White space at the end of the last piece, of which the next one says whether it counts (relaxed).
    space: Option<Space>,
}

/// What a piece ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// White space: one space, if something else follows on the line.
    Bare,
    /// White space and a CR, perhaps the first half of a line end.
    BeforeCr,
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
                let length = 1 + unchanged(tail);
                let (run, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                out.extend_from_slice(run);
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
            cr: false,
            space: None,
        }
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        match self.canon {
            Canon::Simple => self.pass(chunk, sink),
            Canon::Relaxed => self.squeeze(chunk, sink),
        }
    }

    /// The body is over.
    pub fn finish(mut self, sink: &mut impl Sink) {
        if self.space == Some(Space::BeforeCr) {
            self.pass(b" \r", sink);
        }
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

    /// §3.4.3, and the last step of §3.4.4: all but the line ends at the end goes through as it is.
    fn pass(&mut self, piece: &[u8], sink: &mut impl Sink) {
        let Some(first) = piece.first() else { return };
        let mut rest = piece;
        if std::mem::take(&mut self.cr) {
            if *first == b'\n' {
                self.line_ends = self.line_ends.saturating_add(1);
                rest = piece.get(1..).unwrap_or_default();
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

    /// §3.4.4: "Ignore all whitespace at the end of lines" and "Reduce all sequences of WSP within a line
    /// to a single SP character". Of each sequence the last octet stays, unless a line end follows: two
    /// octets of context say so, and most blocks need no change.
    fn squeeze(&mut self, chunk: &[u8], sink: &mut impl Sink) {
        let (mut rest, mut clean) = (self.settle_space(chunk, sink), 0);
        while let Some(ahead) = rest.get(clean..)
            && let Some(block) = Block::at(ahead)
        {
            if block.is_clean() {
                clean += BLOCK;
                continue;
            }
            let (unchanged, _) = rest.split_at_checked(clean).unwrap_or((rest, &[]));
            self.pass(unchanged, sink);
            let (squeezed, length) = block.squeezed();
            self.pass(squeezed.get(..length).unwrap_or_default(), sink);
            rest = ahead.get(BLOCK..).unwrap_or_default();
            clean = 0;
        }
        let (unchanged, end) = rest.split_at_checked(clean).unwrap_or((rest, &[]));
        self.pass(unchanged, sink);
        self.squeeze_end(end, sink);
    }

    /// What the last piece ended with, now that the next octets are here; returns those still to be done.
    fn settle_space<'c>(&mut self, chunk: &'c [u8], sink: &mut impl Sink) -> &'c [u8] {
        match (self.space, chunk) {
            (None, _) | (_, []) => return chunk,
            (Some(Space::Bare), [b'\r']) => {
                self.space = Some(Space::BeforeCr);
                return &[];
            }
            (Some(Space::Bare), [b' ' | b'\t', ..] | [b'\r', b'\n', ..]) => {}
            (Some(Space::Bare), _) => self.pass(b" ", sink),
            (Some(Space::BeforeCr), [b'\n', ..]) => self.pass(b"\r", sink),
            (Some(Space::BeforeCr), _) => self.pass(b" \r", sink),
        }
        self.space = None;
        chunk
    }

    /// As blocks, for what is shorter than one with its context.
    fn squeeze_end(&mut self, end: &[u8], sink: &mut impl Sink) {
        let (mut rest, mut squeezed, mut length) = (end, [0; BLOCK + CONTEXT], 0);
        while let Some((&octet, after)) = rest.split_first() {
            let stays = match after {
                _ if !is_space(octet) => true,
                [] | [b'\r'] => {
                    self.space = Some(match after {
                        [] => Space::Bare,
                        _ => Space::BeforeCr,
                    });
                    break;
                }
                [b, ..] if is_space(*b) => false,
                [b'\r', b'\n', ..] => false,
                _ => true,
            };
            if let Some(place) = squeezed.get_mut(length)
                && stays
            {
                *place = without_tab(octet);
                length += 1;
            }
            rest = after;
        }
        self.pass(squeezed.get(..length).unwrap_or_default(), sink);
    }

    /// Something follows: what was held back counts.
    fn release(&mut self, sink: &mut impl Sink) {
        const MOST: u64 = LINE_ENDS as u64;
        while self.line_ends > 0 {
            let ends = self.line_ends.min(MOST);
            sink.push(HELD_BACK.get(..ends as usize * 2).unwrap_or_default());
            self.line_ends -= ends;
        }
    }
}

/// Some octets of a body, and the same shifted by one and by two: each octet's context.
struct Block<'a> {
    octets: &'a [u8; BLOCK],
    next: &'a [u8; BLOCK],
    second: &'a [u8; BLOCK],
}

impl<'a> Block<'a> {
    /// The block that `octets` begin with; `None` when they are too few.
    fn at(octets: &'a [u8]) -> Option<Self> {
        Some(Self {
            octets: octets.first_chunk()?,
            next: octets.get(1..)?.first_chunk()?,
            second: octets.get(2..)?.first_chunk()?,
        })
    }

    /// Whether it stays as it is. Looks at all octets whatever they are, which the compiler does with
    /// vector instructions, as in `squeezed`.
    fn is_clean(&self) -> bool {
        let mut dirty = false;
        for ((a, b), c) in self.octets.iter().zip(self.next).zip(self.second) {
            dirty |= (*a == b'\t') | is_dropped(*a, *b, *c);
        }
        !dirty
    }

    /// What is left of it, and its length.
    fn squeezed(&self) -> ([u8; BLOCK], usize) {
        let mut stays = [0_u8; BLOCK];
        let context = self.octets.iter().zip(self.next).zip(self.second);
        for (stays, ((a, b), c)) in stays.iter_mut().zip(context) {
            *stays = u8::from(!is_dropped(*a, *b, *c));
        }
        let (mut left, mut length) = ([0_u8; BLOCK], 0_usize);
        for (octet, stays) in self.octets.iter().zip(stays) {
            // Never beyond the block: the mask only has the compiler see it. An octet that doesn't stay is
            // overwritten by the next.
            left[length & (BLOCK - 1)] = without_tab(*octet);
            length += usize::from(stays);
        }
        (left, length)
    }
}

/// Whether `a`, followed by `b` and `c`, is white space that counts for nothing. Without branches.
#[inline(always)]
fn is_dropped(a: u8, b: u8, c: u8) -> bool {
    is_space(a) & (is_space(b) | ((b == b'\r') & (c == b'\n')))
}

#[inline(always)]
fn is_space(octet: u8) -> bool {
    (octet == b' ') | (octet == b'\t')
}

#[inline(always)]
fn without_tab(octet: u8) -> u8 {
    if octet == b'\t' { b' ' } else { octet }
}

/// How many octets of a field go through `relaxed` unchanged from the start, whatever follows them, given that
/// the octet before them did. Looks at blocks, which the compiler does with vector instructions: small
/// ones while the end may be near, large ones where it isn't (most of a body is clean), then singly.
fn unchanged(octets: &[u8]) -> usize {
    let mut length = clean_blocks::<SMALL>(octets, 0, LARGE);
    if length >= LARGE {
        length = clean_blocks::<LARGE>(octets, length, usize::MAX);
        length = clean_blocks::<SMALL>(octets, length, usize::MAX);
    }
    let rest = octets.get(length..).unwrap_or_default();
    let is_unchanged = |window: &&[u8]| !matches!(window, [a, b, c] if changes(*a, *b, *c));
    length + rest.windows(3).take_while(is_unchanged).count()
}

/// Goes on from `length` by blocks of `N` octets until one has to change, or `most` is reached.
fn clean_blocks<const N: usize>(octets: &[u8], mut length: usize, most: usize) -> usize {
    while length < most
        && let Some(rest) = octets.get(length..)
        && is_clean::<N>(rest)
    {
        length += N;
    }
    length
}

/// Whether none of the first `N` octets has to change; the two after them only give the context.
fn is_clean<const N: usize>(octets: &[u8]) -> bool {
    let (Some(a), Some(b), Some(c)) = (
        octets.first_chunk::<N>(),
        octets.get(1..).and_then(<[u8]>::first_chunk::<N>),
        octets.get(2..).and_then(<[u8]>::first_chunk::<N>),
    ) else {
        return false;
    };
    let mut dirty = false;
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        dirty |= changes(*a, *b, *c);
    }
    !dirty
}

/// Whether `a`, followed by `b` and `c`, may not simply go through: a tab becomes a space; a space
/// before white space or a line end is dropped; a line end before another, or before white space, is
/// left to the slow path, as is a CR alone. Without branches, so that it can be done many at a time.
#[inline(always)]
fn changes(a: u8, b: u8, c: u8) -> bool {
    (a == b'\t')
        | ((a == b' ') & (is_space(b) | (b == b'\r')))
        | ((a == b'\r') & ((b != b'\n') | is_space(c) | (c == b'\r')))
}

/// Octets of a body looked at together, a power of two, and how many more say what becomes of them.
const BLOCK: usize = 64;
const CONTEXT: usize = 2;
const SMALL: usize = 16;
const LARGE: usize = 64;
const CRLF: &[u8] = b"\r\n";
/// Line ends that go out in one piece.
const LINE_ENDS: usize = 256;
const HELD_BACK: &[u8] = &{
    let mut text = [b'\r'; LINE_ENDS * 2];
    let mut at = 0;
    while at < LINE_ENDS {
        text[at * 2 + 1] = b'\n';
        at += 1;
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

    /// Values of a well-formed field: every CRLF is a fold.
    fn value() -> impl Strategy<Value = String> {
        let long = "x".repeat(70);
        let piece = prop_oneof![
            3 => Just("word".to_owned()),
            2 => Just(" ".to_owned()),
            1 => Just("\t".to_owned()),
            1 => Just("\r\n ".to_owned()),
            1 => Just("\r\n\t".to_owned()),
            1 => Just(long),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn relaxed_fields_are_unfolded_and_squeezed(value in value()) {
            let mut squeezed = value.replace("\r\n", "").replace('\t', " ");
            while squeezed.contains("  ") {
                squeezed = squeezed.replace("  ", " ");
            }
            let mut out = Vec::new();
            Canon::Relaxed.field(b"Name", value.as_bytes(), &mut out);
            prop_assert_eq!(out, format!("name:{}\r\n", squeezed.trim()).into_bytes());
        }

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
