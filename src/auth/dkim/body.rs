//! `BodyHasher`: the body, canonicalized and hashed as it passes, once per canonicalization whatever
//! the number of signatures. Nothing of the body is kept but the last few hundred octets on their way
//! into the hash.
//!
//! A signature with `l=` needs the hash of a prefix. All prefixes of one canonical body share one
//! running hash: where a prefix ends, the state is copied and finished.
//!
//! RFC 6376 §3.7 and §3.5 (`l=`). SHA-256 only: nothing else may pass (RFC 8301 §3.1).

use super::canon::{BodyCanon, Canon, Sink};
use super::problem::Problem;
use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256.
pub type Sha256 = [u8; 32];

/// What a signature wants to know about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRequest {
    pub canon: Canon,
    /// `l=`: hash only so many canonical octets.
    pub limit: Option<u64>,
}

impl BodyRequest {
    /// The whole body in the form that survives most of what mail servers do to white space.
    pub const RELAXED: Self = Self {
        canon: Canon::Relaxed,
        limit: None,
    };
}

/// Takes the body in pieces of any size.
pub struct BodyHasher {
    streams: Vec<Stream>,
}

/// What `BodyHasher` found.
#[derive(Debug, Clone, Default)]
pub struct BodyHashes {
    found: Vec<(BodyRequest, BodyHash)>,
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyHash {
    Hashed {
        digest: Sha256,
        /// Canonical octets beyond `l=`.
        unsigned: u64,
    },
    /// The canonical body has fewer octets than `l=` says.
    TooShort,
}

/// One canonicalization of the body.
struct Stream {
    kind: Canon,
    canon: BodyCanon,
    hash: PrefixHash,
}

/// A running hash with the places at which its value is wanted.
struct PrefixHash {
    context: Context,
    /// Small pieces are gathered here: a call into the hash costs more than a copy.
    gathered: Vec<u8>,
    /// Octets hashed, or passed over after the last place.
    done: u64,
    /// The prefixes wanted, shortest first, each once.
    marks: Vec<(u64, Option<Sha256>)>,
    /// The hash of everything is wanted too.
    whole: bool,
}

impl BodyHasher {
    pub fn new(requests: impl IntoIterator<Item = BodyRequest>) -> Self {
        let mut streams: Vec<Stream> = Vec::new();
        for request in requests {
            let at = streams.iter().position(|s| s.kind == request.canon);
            let stream = match at.and_then(|at| streams.get_mut(at)) {
                Some(stream) => stream,
                None => streams.push_mut(Stream::new(request.canon)),
            };
            stream.hash.want(request.limit);
        }
        Self { streams }
    }

    /// Takes the next piece of the body, with CRLF line ends; it may end anywhere.
    pub fn update(&mut self, chunk: &[u8]) {
        for stream in &mut self.streams {
            stream.canon.update(chunk, &mut stream.hash);
        }
    }

    /// Nothing in the rest of the body can matter: no signature is left that wants it. With `l=` the
    /// rest still matters: how much of it is unsigned decides alignment and stands in the grounds.
    pub fn is_done(&self) -> bool {
        self.streams.is_empty()
    }

    pub fn finish(self) -> BodyHashes {
        let mut found = Vec::new();
        for mut stream in self.streams {
            stream.canon.finish(&mut stream.hash);
            let canon = stream.kind;
            let hashes = stream.hash.finish().into_iter();
            found.extend(hashes.map(|(limit, hash)| (BodyRequest { canon, limit }, hash)));
        }
        BodyHashes { found }
    }
}

impl BodyHashes {
    /// `None` when this was never asked for.
    pub fn find(&self, request: BodyRequest) -> Option<BodyHash> {
        let mut found = self.found.iter();
        found.find(|(r, _)| *r == request).map(|(_, hash)| *hash)
    }

    /// The digest asked for by a request without a limit.
    pub fn whole(&self, request: BodyRequest) -> Option<Sha256> {
        match self.find(request)? {
            BodyHash::Hashed { digest, .. } => Some(digest),
            BodyHash::TooShort => None,
        }
    }

    /// The canonical octets beyond `l=`, and whether the hash is the one a signature claims.
    pub fn check(&self, request: BodyRequest, claimed: &[u8]) -> (u64, Result<(), Problem>) {
        match self.find(request) {
            Some(BodyHash::Hashed { digest, unsigned }) => {
                let verified = if claimed == digest {
                    Ok(())
                } else {
                    Err(Problem::BodyHash)
                };
                (unsigned, verified)
            }
            // RFC 6376 §3.5: "This value MUST NOT be larger than the actual number of octets in the
            // canonicalized message body."
            Some(BodyHash::TooShort) => (0, Err(Problem::BodyTooShort)),
            None => (0, Err(Problem::NotEvaluated)),
        }
    }
}

impl Stream {
    fn new(kind: Canon) -> Self {
        Self {
            kind,
            canon: BodyCanon::new(kind),
            hash: PrefixHash::new(),
        }
    }
}

impl PrefixHash {
    fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHER),
            done: 0,
            marks: Vec::new(),
            whole: false,
        }
    }

    fn want(&mut self, limit: Option<u64>) {
        let Some(limit) = limit else {
            self.whole = true;
            return;
        };
        if let Err(at) = self.marks.binary_search_by_key(&limit, |(at, _)| *at) {
            self.marks.insert(at, (limit, None));
        }
    }

    /// Hashes octets, stopping at each place that is wanted.
    fn absorb(&mut self, mut octets: &[u8]) {
        loop {
            let next = self.marks.iter_mut().find(|(_, digest)| digest.is_none());
            let Some((at, digest)) = next else { break };
            let missing = usize::try_from(at.saturating_sub(self.done)).unwrap_or(usize::MAX);
            let Some((prefix, rest)) = octets.split_at_checked(missing) else {
                break;
            };
            self.context.update(prefix);
            self.done = self.done.saturating_add(prefix.len() as u64);
            *digest = Some(sha256(self.context.clone()));
            octets = rest;
        }
        if self.whole || self.marks.iter().any(|(_, digest)| digest.is_none()) {
            self.context.update(octets);
        }
        self.done = self.done.saturating_add(octets.len() as u64);
    }

    fn flush(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.absorb(&gathered);
        gathered.clear();
        self.gathered = gathered;
    }

    fn finish(mut self) -> Vec<(Option<u64>, BodyHash)> {
        self.flush();
        let total = self.done;
        let mut hashes: Vec<_> = self
            .marks
            .iter()
            .map(|(limit, digest)| {
                let hash = digest.map_or(BodyHash::TooShort, |digest| BodyHash::Hashed {
                    digest,
                    unsigned: total.saturating_sub(*limit),
                });
                (Some(*limit), hash)
            })
            .collect();
        if self.whole {
            let digest = sha256(self.context);
            hashes.push((
                None,
                BodyHash::Hashed {
                    digest,
                    unsigned: 0,
                },
            ));
        }
        hashes
    }
}

impl Sink for PrefixHash {
    fn push(&mut self, octets: &[u8]) {
        if self.gathered.len().saturating_add(octets.len()) > GATHER {
            self.flush();
        }
        if octets.len() >= DIRECT {
            self.flush();
            self.absorb(octets);
        } else {
            self.gathered.extend_from_slice(octets);
        }
    }

    fn count(&self) -> u64 {
        self.done.saturating_add(self.gathered.len() as u64)
    }
}

/// The value of a hash, as an array.
pub fn sha256(context: Context) -> Sha256 {
    let mut value = [0; 32];
    for (to, from) in value.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    value
}

const GATHER: usize = 2048;
/// Pieces from this size on go into the hash without being copied.
const DIRECT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;
    use proptest::prelude::*;

    fn hashes(body: &[u8], step: usize, requests: &[BodyRequest]) -> BodyHashes {
        let mut hasher = BodyHasher::new(requests.iter().copied());
        for piece in body.chunks(step) {
            hasher.update(piece);
        }
        hasher.finish()
    }

    proptest! {
        #[test]
        fn prefixes_share_one_hash(
            body in "[a-z ]{0,60}(\r\n[a-z ]{0,60}){0,90}",
            limits in prop::collection::vec(0_u64..6000, 0..6),
            step in 1_usize..700,
        ) {
            let canon = Canon::Simple;
            let canonical = format!("{}\r\n", body.trim_end_matches("\r\n"));
            let limits = limits.into_iter().map(Some).chain([None]);
            let requests: Vec<_> = limits.map(|limit| BodyRequest { canon, limit }).collect();
            let found = hashes(body.as_bytes(), step, &requests);
            for request in requests {
                let length = request.limit.map_or(canonical.len(), |limit| limit as usize);
                let expected = match canonical.as_bytes().get(..length) {
                    None => BodyHash::TooShort,
                    Some(prefix) => BodyHash::Hashed {
                        digest: digest(&SHA256, prefix).as_ref().try_into().unwrap(),
                        unsigned: (canonical.len() - length) as u64,
                    },
                };
                prop_assert_eq!(found.find(request), Some(expected));
            }
        }
    }

    #[test]
    fn nothing_wanted_is_done_at_once() {
        assert!(BodyHasher::new([]).is_done());
        let request = BodyRequest {
            canon: Canon::Relaxed,
            limit: Some(0),
        };
        assert!(!BodyHasher::new([request]).is_done());
        assert_eq!(hashes(b"x", 1, &[]).find(request), None);
    }
}
