//! The DMARC policy record, RFC 9989 §4.7 and §4.8: one TXT record to a `Record`.
//!
//! Owns the grammar and its leniency: only a wrong `v` makes a text no record; everything else that
//! is wrong is named, and the default stands in for it. Never asks DNS.

use super::{AlignmentMode, Policy, PsdFlag, Record, uri};
use crate::word::words;

/// Reads a TXT record, its strings joined. `None`: it is no DMARC record.
pub fn parse(txt: &[u8]) -> Option<Record> {
    let mut problems = Problems::default();
    let mut pieces = txt.split(|&b| b == b';');
    read_version(pieces.next()?, &mut problems)?;
    let tags = Tags::read(pieces, &mut problems);
    let requests = Requests {
        p: tags.request(Tag::P, &mut problems),
        sp: tags.request(Tag::Sp, &mut problems),
        np: tags.request(Tag::Np, &mut problems),
    };
    let rua = tags.uris(Tag::Rua, &mut problems);
    let choice = requests.choose(!rua.is_empty(), &mut problems);
    Some(Record {
        text: shorten(txt, MAX_TEXT),
        p: choice.p,
        sp: choice.sp,
        np: choice.np,
        adkim: tags.mode(Tag::Adkim, &mut problems),
        aspf: tags.mode(Tag::Aspf, &mut problems),
        psd: tags.psd(&mut problems),
        testing: tags.testing(&mut problems),
        fo: tags.failure_options(&mut problems),
        ruf: tags.uris(Tag::Ruf, &mut problems),
        rua,
        usable: choice.usable,
        problems: problems.0,
    })
}

/// `dmarc-version = "v" equals %s"DMARC1"`. RFC 9989 §4.7: "If the tag is not the first in the list,
/// the tag is absent, or the value is not "DMARC1", then the entire record MUST be ignored."
fn read_version(piece: &[u8], problems: &mut Problems) -> Option<()> {
    let (name, value) = split_at_equals(piece)?;
    if !trim(name).eq_ignore_ascii_case(b"v") || trim(value) != b"DMARC1" {
        return None;
    }
    if name.starts_with(b" ") || name.starts_with(b"\t") {
        problems.add(|| "white space before v".to_owned());
    }
    Some(())
}

words! {
    /// The tags of the registry that are to be processed (RFC 9989 §9.3), but for `v`.
    Tag {
        Adkim = "adkim", Aspf = "aspf", Fo = "fo", Np = "np", P = "p",
        Psd = "psd", Rua = "rua", Ruf = "ruf", Sp = "sp", T = "t",
    }
}

/// The known tags of one record as written, each once.
struct Tags<'r>(Vec<(Tag, &'r [u8])>);

impl<'r> Tags<'r> {
    /// RFC 9989 §4.8: "Syntax errors in the remainder of the record MUST be discarded in favor of
    /// default values (if any) or ignored outright." Of a tag written twice the first counts.
    fn read(pieces: impl Iterator<Item = &'r [u8]>, problems: &mut Problems) -> Self {
        let mut tags: Vec<(Tag, &[u8])> = Vec::new();
        let mut pieces = pieces.map(trim).peekable();
        while let Some(piece) = pieces.next() {
            let Some((name, value)) = split_at_equals(piece) else {
                if !piece.is_empty() {
                    problems.add(|| format!("{} has no = sign", quote(piece)));
                } else if pieces.peek().is_some() {
                    problems.add(|| "nothing between two semicolons".to_owned());
                }
                continue;
            };
            let (name, value) = (trim(name), trim(value));
            if name.is_empty() || !name.iter().all(u8::is_ascii_alphabetic) {
                problems.add(|| format!("{} is no tag name", quote(name)));
                continue;
            }
            if name.eq_ignore_ascii_case(b"v") {
                problems.add(|| "v is there more than once".to_owned());
                continue;
            }
            // RFC 9989 §4.7: "unknown tags MUST be ignored"; pct, rf and ri are unknown now.
            let Some(tag) = str::from_utf8(name).ok().and_then(Tag::parse) else {
                continue;
            };
            if tags.iter().any(|(known, _)| *known == tag) {
                problems.add(|| format!("{tag} is there more than once, the first one counts"));
                continue;
            }
            tags.push((tag, value));
        }
        Self(tags)
    }

    /// The value; `Some(None)` when it breaks `dmarc-value = %x20-3A / %x3C-7E`, at least one of them.
    fn value(&self, tag: Tag) -> Option<Option<&'r str>> {
        let value = self.raw(tag)?;
        let printing = !value.is_empty() && value.iter().all(|b| (0x20..=0x7e).contains(b));
        Some(printing.then(|| str::from_utf8(value).ok()).flatten())
    }

    /// The value as one of a tag's words, or the default with what was wrong.
    fn word<T>(
        &self,
        tag: Tag,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        let value = self.value(tag)?;
        let word = value.and_then(read);
        if word.is_none() {
            let written = quote(self.raw(tag).unwrap_or_default());
            problems.add(|| format!("{tag}={written} is not {expected}"));
        }
        word
    }

    fn request(&self, tag: Tag, problems: &mut Problems) -> Request {
        if self.value(tag).is_none() {
            return Request::Absent;
        }
        let expected = "none, quarantine or reject";
        match self.word(tag, Policy::parse, expected, problems) {
            Some(policy) => Request::Valid(policy),
            None => Request::Invalid,
        }
    }

    fn mode(&self, tag: Tag, problems: &mut Problems) -> AlignmentMode {
        self.word(tag, AlignmentMode::parse, "r or s", problems)
            .unwrap_or(AlignmentMode::Relaxed)
    }

    fn psd(&self, problems: &mut Problems) -> PsdFlag {
        self.word(Tag::Psd, PsdFlag::parse, "y, n or u", problems)
            .unwrap_or(PsdFlag::Unknown)
    }

    fn testing(&self, problems: &mut Problems) -> bool {
        let read = |word: &str| match word {
            "y" | "Y" => Some(true),
            "n" | "N" => Some(false),
            _ => None,
        };
        self.word(Tag::T, read, "y or n", problems) == Some(true)
    }

    fn failure_options(&self, problems: &mut Problems) -> String {
        let expected = "0 or 1, d, s, each once, with colons between";
        self.word(Tag::Fo, failure_options, expected, problems)
            .unwrap_or_else(|| "0".to_owned())
    }

    fn uris(&self, tag: Tag, problems: &mut Problems) -> Vec<String> {
        let Some(value) = self.raw(tag) else {
            return Vec::new();
        };
        let (uris, refused) = uri::read_list(&String::from_utf8_lossy(value));
        for (uri, problem) in refused {
            problems.add(|| format!("{tag}: {}: {problem}", quote(uri.as_bytes())));
        }
        uris
    }

    fn raw(&self, tag: Tag) -> Option<&'r [u8]> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == tag)?;
        Some(value)
    }
}

/// What one of `p`, `sp` and `np` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Absent,
    Valid(Policy),
    Invalid,
}

struct Requests {
    p: Request,
    sp: Request,
    np: Request,
}

struct Choice {
    p: Policy,
    sp: Option<Policy>,
    np: Option<Policy>,
    usable: bool,
}

impl Requests {
    /// RFC 9989 §4.10.1: "If a retrieved DMARC Policy Record does not contain a valid "p" tag, or
    /// contains an "sp" or "np" tag that is not valid, then: If a "rua" tag is present and contains at
    /// least one syntactically valid reporting URI, the Mail Receiver MUST act as if a record
    /// containing "p=none" was retrieved and continue processing. Otherwise, the Mail Receiver applies
    /// no DMARC processing to this message."
    fn choose(self, reports: bool, problems: &mut Problems) -> Choice {
        use Request::{Absent, Invalid, Valid};
        match (self.p, self.sp, self.np) {
            (Valid(p), Valid(_) | Absent, Valid(_) | Absent) => Choice {
                p,
                sp: self.sp.policy(),
                np: self.np.policy(),
                usable: true,
            },
            (Valid(_) | Absent | Invalid, _, _) if !reports => {
                problems.add(|| match self.p {
                    Absent => "neither p nor a valid rua: nothing can be applied".to_owned(),
                    Valid(_) | Invalid => "no valid rua either: nothing can be applied".to_owned(),
                });
                Choice {
                    p: Policy::None,
                    sp: None,
                    np: None,
                    usable: false,
                }
            }
            // RFC 9989 §4.7 "p": "If this tag is not present in an otherwise syntactically valid DMARC
            // Policy Record, then the record is treated as if it included "p=none"": sp and np stay.
            (Absent, Valid(_) | Absent, Valid(_) | Absent) => {
                problems.add(|| "no p: taken as p=none".to_owned());
                Choice {
                    p: Policy::None,
                    sp: self.sp.policy(),
                    np: self.np.policy(),
                    usable: true,
                }
            }
            (Valid(_) | Absent | Invalid, _, _) => {
                problems.add(|| "taken as p=none, because p, sp or np is invalid".to_owned());
                Choice {
                    p: Policy::None,
                    sp: None,
                    np: None,
                    usable: true,
                }
            }
        }
    }
}

impl Request {
    fn policy(self) -> Option<Policy> {
        match self {
            Self::Valid(policy) => Some(policy),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// `dmarc-fo`: `0` and `1` exclude each other, every value at most once, any order.
fn failure_options(value: &str) -> Option<String> {
    let mut present = [false; FAILURE_OPTIONS.len()];
    for word in value.split(':') {
        let mut options = present.iter_mut().zip(FAILURE_OPTIONS);
        let (seen, _) = options.find(|(_, option)| option.eq_ignore_ascii_case(word))?;
        if std::mem::replace(seen, true) {
            return None;
        }
    }
    if let [true, true, ..] = present {
        return None;
    }
    let words = present.iter().zip(FAILURE_OPTIONS);
    let words: Vec<&str> = words.filter(|(seen, _)| **seen).map(|(_, w)| w).collect();
    Some(words.join(":"))
}

/// What was wrong, in the order found, with a bound.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        match self.0.len() {
            MAX_PROBLEMS.. => {}
            LAST_PROBLEM => self.0.push("more is wrong".to_owned()),
            _ => self.0.push(problem()),
        }
    }
}

fn split_at_equals(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = piece.iter().position(|&b| b == b'=')?;
    let (name, rest) = piece.split_at_checked(at)?;
    Some((name, rest.get(1..)?))
}

/// Takes WSP off both ends: `WSP = SP / HTAB`, RFC 5234 appendix B.1.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A piece of a record for a sentence: short, printable.
fn quote(piece: &[u8]) -> String {
    let text = shorten(piece, MAX_QUOTE);
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .chain((piece.len() > MAX_QUOTE).then_some('…'))
        .collect()
}

/// At most `limit` octets, cut between characters, made valid UTF-8.
fn shorten(text: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(text.get(..limit).unwrap_or(text)).into_owned();
    while text.len() > limit {
        text.pop();
    }
    text
}

const FAILURE_OPTIONS: [&str; 4] = ["0", "1", "d", "s"];
/// Octets of a record that are kept.
const MAX_TEXT: usize = 4096;
/// Octets of a record that a problem quotes.
const MAX_QUOTE: usize = 60;
const MAX_PROBLEMS: usize = 10;
const LAST_PROBLEM: usize = MAX_PROBLEMS - 1;
