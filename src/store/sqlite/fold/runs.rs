//! Sorting more entries than fit into memory: sorted runs in a file without a name, then merged.
//!
//! Owns that file. It has no name from the moment it is open, so that whatever ends the process, nothing
//! of it is left. Equal keys come out as one entry with the sum of their counts.

use super::{Address, Key};
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Counts by key, kept in memory up to a bound.
pub(super) struct Sorter {
    counts: HashMap<Key, u64>,
    most: usize,
    directory: PathBuf,
    file: Option<File>,
    /// Where each run begins and ends in the file, in entries.
    runs: Vec<(u64, u64)>,
}

/// Entries in the order of their keys, each key once.
pub(super) struct Sorted {
    file: Option<File>,
    runs: Vec<Run>,
    /// The first entry of each run that has one, and its run.
    heads: BinaryHeap<Reverse<(Key, u64, usize)>>,
}

/// One sorted run, read in pieces.
struct Run {
    read: VecDeque<(Key, u64)>,
    /// What is left of it in the file, in entries.
    next: u64,
    end: u64,
}

impl Sorter {
    /// `most`: entries in memory, at some 200 octets each.
    pub fn new(directory: &Path, most: usize) -> Self {
        Self {
            counts: HashMap::new(),
            most: most.max(1),
            directory: directory.to_owned(),
            file: None,
            runs: Vec::new(),
        }
    }

    /// Counts one more of this key.
    pub fn add(&mut self, key: Key) -> io::Result<()> {
        let is_full = self.counts.len() >= self.most;
        match self.counts.entry(key) {
            Entry::Occupied(mut known) => {
                let count = known.get_mut();
                *count = count.saturating_add(1);
                return Ok(());
            }
            Entry::Vacant(place) if !is_full => {
                place.insert(1);
                return Ok(());
            }
            Entry::Vacant(_) => {}
        }
        self.spill()?;
        self.counts.insert(key, 1);
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<Sorted> {
        let mut runs: Vec<Run> = Vec::with_capacity(self.runs.len() + 1);
        for (next, end) in &self.runs {
            runs.push(Run {
                read: VecDeque::new(),
                next: *next,
                end: *end,
            });
        }
        runs.push(Run {
            read: sorted(&mut self.counts).into(),
            next: 0,
            end: 0,
        });
        let mut sorted = Sorted {
            file: self.file,
            runs,
            heads: BinaryHeap::new(),
        };
        for index in 0..sorted.runs.len() {
            sorted.advance(index)?;
        }
        Ok(sorted)
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        let entries = sorted(&mut self.counts);
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(nameless(&self.directory)?),
        };
        let begin = self.runs.last().map_or(0, |(_, end)| *end);
        let mut octets = Vec::with_capacity(ENTRY * PIECE);
        let mut at = begin;
        for piece in entries.chunks(PIECE) {
            octets.clear();
            for (key, count) in piece {
                write_entry(&mut octets, key, *count);
            }
            file.write_all_at(&octets, at * ENTRY as u64)?;
            at += piece.len() as u64;
        }
        self.runs.push((begin, at));
        Ok(())
    }
}

impl Sorted {
    /// The next entry; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<(Key, u64)>> {
        let Some(Reverse((key, mut count, index))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(index)?;
        while let Some(Reverse((other, more, index))) = self.heads.peek().copied() {
            if other != key {
                break;
            }
            self.heads.pop();
            count = count.saturating_add(more);
            self.advance(index)?;
        }
        Ok(Some((key, count)))
    }

    /// Takes the next entry of a run into the heap.
    fn advance(&mut self, index: usize) -> io::Result<()> {
        let Some(run) = self.runs.get_mut(index) else {
            return Ok(());
        };
        if run.read.is_empty()
            && run.next < run.end
            && let Some(file) = &self.file
        {
            run.fill(file)?;
        }
        if let Some((key, count)) = run.read.pop_front() {
            self.heads.push(Reverse((key, count, index)));
        }
        Ok(())
    }
}

impl Run {
    fn fill(&mut self, file: &File) -> io::Result<()> {
        let count = (self.end - self.next).min(PIECE as u64);
        let mut octets = vec![0; count as usize * ENTRY];
        file.read_exact_at(&mut octets, self.next * ENTRY as u64)?;
        self.read
            .extend(octets.chunks(ENTRY).filter_map(read_entry));
        self.next += count;
        Ok(())
    }
}

/// Empties the map.
fn sorted(counts: &mut HashMap<Key, u64>) -> Vec<(Key, u64)> {
    let mut entries: Vec<(Key, u64)> = counts.drain().collect();
    entries.sort_unstable();
    entries
}

fn write_entry(octets: &mut Vec<u8>, key: &Key, count: u64) {
    let Key {
        domain,
        policy,
        source_ip,
        header_from,
        evaluated,
        envelope_from,
        envelope_to,
        auth_results,
    } = key;
    octets.push(*policy);
    octets.push(source_ip.length);
    octets.extend(source_ip.octets);
    octets.extend(domain.to_ne_bytes());
    for number in [
        header_from,
        evaluated,
        envelope_from,
        envelope_to,
        auth_results,
    ] {
        octets.extend(number.to_ne_bytes());
    }
    octets.extend(count.to_ne_bytes());
}

fn read_entry(octets: &[u8]) -> Option<(Key, u64)> {
    let (&[policy, length], rest) = octets.split_first_chunk()?;
    let (&octets, rest) = rest.split_first_chunk()?;
    let (&domain, rest) = rest.split_first_chunk()?;
    let mut numbers = rest
        .chunks_exact(8)
        .map(|n| n.try_into().map(i64::from_ne_bytes));
    let mut number = || numbers.next()?.ok();
    let key = Key {
        domain: u32::from_ne_bytes(domain),
        policy,
        source_ip: Address { length, octets },
        header_from: number()?,
        evaluated: number()?,
        envelope_from: number()?,
        envelope_to: number()?,
        auth_results: number()?,
    };
    Some((key, number()?.unsigned_abs()))
}

/// A file in this directory that nobody else can open and that is gone with its last handle.
fn nameless(directory: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_TMPFILE.bits())
        .open(directory)
}

/// Octets of an entry in the file.
const ENTRY: usize = 2 + 16 + 4 + 6 * 8;

/// Entries read or written at a time.
const PIECE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key(n: u64) -> Key {
        let octets = u128::from(n).to_be_bytes();
        Key {
            domain: (n % 7) as u32,
            policy: (n % 3) as u8,
            source_ip: Address { length: 16, octets },
            header_from: 1,
            evaluated: -2,
            envelope_from: i64::MAX,
            envelope_to: 0,
            auth_results: n as i64,
        }
    }

    #[test]
    fn entries_come_out_sorted_and_summed_whatever_fits_into_memory() {
        let directory = tempfile::tempdir().unwrap();
        for (most, entries) in [(1, 50), (10, 5_000), (700, 20_000), (100_000, 5_000)] {
            let mut sorter = Sorter::new(directory.path(), most);
            let mut expected: BTreeMap<Key, u64> = BTreeMap::new();
            for n in 0..entries {
                let key = key(n * 7_919 % (entries / 3));
                sorter.add(key).unwrap();
                *expected.entry(key).or_default() += 1;
            }
            let mut sorted = sorter.finish().unwrap();
            let mut found = Vec::new();
            while let Some(entry) = sorted.next().unwrap() {
                found.push(entry);
            }
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{most}");
            let names = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(names, 0, "files that were left");
        }
    }
}
