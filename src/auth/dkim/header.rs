//! The header's part in a signature: which fields `h=` means, and the hash over them (RFC 6376 §3.7,
//! §5.4.2). Fields are indexed by name once per message, so that many signatures with long `h=`
//! lists over many fields stay cheap.

use super::canon::Canon;
use super::problem::Problem;
use super::signature::Signature;
use crate::message::HeaderField;
use aws_lc_rs::digest::{Context, Digest, SHA256};
use std::cmp::Ordering;
use std::ops::Range;

/// The fields of one message, by name.
pub struct FieldIndex<'a> {
    fields: &'a [HeaderField],
    /// Places of fields, sorted by name without regard to case, then by place.
    order: Vec<usize>,
    /// Ranges of `order` that have the same name.
    groups: Vec<Range<usize>>,
}

impl<'a> FieldIndex<'a> {
    pub fn new(fields: &'a [HeaderField]) -> Self {
        let name = |place: &usize| fields.get(*place).map_or(&[][..], name_of);
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(|a, b| compare(name(a), name(b)).then(a.cmp(b)));
        let mut groups = Vec::new();
        let mut start = 0;
        for group in order.chunk_by(|a, b| compare(name(a), name(b)).is_eq()) {
            groups.push(start..start + group.len());
            start += group.len();
        }
        Self {
            fields,
            order,
            groups,
        }
    }

    /// How many fields have this name.
    pub fn count(&self, name: &str) -> usize {
        self.group(name).map_or(0, |(_, places)| places.len())
    }

    /// The number of a name and the places of its fields, from top to bottom.
    fn group(&self, name: &str) -> Option<(usize, &[usize])> {
        let number = self
            .groups
            .binary_search_by(|group| {
                let first = self.order.get(group.start);
                let field = first.and_then(|place| self.fields.get(*place));
                field.map_or(Ordering::Less, |f| compare(name_of(f), name.as_bytes()))
            })
            .ok()?;
        let places = self.order.get(self.groups.get(number)?.clone())?;
        Some((number, places))
    }

    /// The hash of the header for one signature, the field at `own`: RFC 6376 §3.7, hash step 2.
    pub fn hash(&self, signature: &Signature<'_>, own: usize) -> Result<Digest, Problem> {
        let mut hash = HeaderHash::new(signature.header_canon);
        let mut taken = vec![0_usize; self.groups.len()];
        for name in &signature.signed {
            let Some(field) = self.next(name, own, &mut taken) else {
                // "nonexistent header fields do not contribute to the signature computation"
                continue;
            };
            hash.add(&field.name, &field.value)?;
        }
        let own = self.fields.get(own).ok_or(Problem::NotEvaluated)?;
        let before = own.value.get(..signature.b_place.start);
        let after = own.value.get(signature.b_place.end..);
        let value = [before.unwrap_or_default(), after.unwrap_or_default()].concat();
        hash.finish(&own.name, &value)
    }

    /// RFC 6376 §5.4.2: "Signers choosing to sign an existing header field that occurs more than once
    /// in the message ... MUST sign the physically last instance of that header field in the header
    /// block." and so on upwards. The signature's own field is none of them: "The field MUST NOT
    /// include the DKIM-Signature header field that is being created or verified but may include
    /// others."
    fn next(&self, name: &str, own: usize, taken: &mut [usize]) -> Option<&'a HeaderField> {
        let (number, places) = self.group(name)?;
        let taken = taken.get_mut(number)?;
        loop {
            *taken += 1;
            let place = places.get(places.len().checked_sub(*taken)?)?;
            if *place != own {
                return self.fields.get(*place);
            }
        }
    }
}

/// Canonical header fields on their way into the hash.
struct HeaderHash {
    canon: Canon,
    context: Context,
    gathered: Vec<u8>,
    octets: usize,
}

impl HeaderHash {
    fn new(canon: Canon) -> Self {
        Self {
            canon,
            context: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHER),
            octets: 0,
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Problem> {
        self.octets = self.octets.saturating_add(name.len() + value.len());
        if self.octets > MAX_HEADER {
            return Err(Problem::HeaderTooLarge);
        }
        self.canon.field(name, value, &mut self.gathered);
        if self.gathered.len() >= GATHER {
            self.context.update(&self.gathered);
            self.gathered.clear();
        }
        Ok(())
    }

    /// The signature's own field comes last, "without a trailing CRLF".
    fn finish(mut self, name: &[u8], value: &[u8]) -> Result<Digest, Problem> {
        self.canon.field(name, value, &mut self.gathered);
        let text = self.gathered.strip_suffix(b"\r\n");
        self.context.update(text.unwrap_or(&self.gathered));
        Ok(self.context.finish())
    }
}

fn name_of(field: &HeaderField) -> &[u8] {
    field.name.trim_ascii_end()
}

/// Field names without regard to case.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    a.iter().map(lower).cmp(b.iter().map(lower))
}

const GATHER: usize = 8 * 1024;
/// Octets of header fields that one signature may make us hash.
const MAX_HEADER: usize = 4 * 1024 * 1024;
