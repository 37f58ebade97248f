//! The lines of a log file from a place on, through every way of rotation.
//!
//! Owns finding the file again: it is known by the digest of its first octets, whatever it is called by now. Renamed
//! (with a new one made) or copied and truncated, what wasn't read yet is read from where it went first. Of the
//! lines it understands nothing.

use super::place::FilePlace;
use aws_lc_rs::digest::{SHA256, digest};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A log that is followed.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    open: Option<File>,
}

/// What was read in one go.
#[derive(Debug, Default)]
pub struct Read {
    /// Whole lines without their ends, each with the place behind it.
    pub lines: Vec<(String, u64)>,
    /// Everything that there is, was read.
    pub at_end: bool,
}

impl LogFile {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: None,
        }
    }

    /// The next lines behind `place`, which moves only over what is no line, and into the next file. A line is read
    /// again until `done` is told.
    pub fn read(&mut self, place: &mut FilePlace) -> io::Result<Read> {
        // Each file costs one round; who rotates faster than this is read later.
        for _ in 0..MAX_FILES {
            let file = self.at(place)?;
            let chunk = read_at(&file, place.offset, CHUNK)?;
            let mut read = lines(&chunk, place);
            if !read.lines.is_empty() || !read.at_end {
                // Another file may go on.
                read.at_end = false;
                self.open = Some(file);
                return Ok(read);
            }
            match self.after(&file)? {
                // Written to it since, before the new one was.
                Some(_)
                    if file.metadata()?.len() > place.offset.saturating_add(chunk.len() as u64) =>
                {
                    self.open = Some(file);
                }
                Some(next) => {
                    *place = FilePlace::default();
                    self.open = Some(next);
                }
                None => {
                    self.open = Some(file);
                    return Ok(read);
                }
            }
        }
        Ok(Read::default())
    }

    /// Everything before `offset` is done with.
    pub fn done(&self, place: &mut FilePlace, offset: u64) -> io::Result<()> {
        place.offset = offset;
        let known = offset.min(BEGIN);
        if let Some(file) = self.open.as_ref().filter(|_| place.begin_length < known) {
            place.begin = begin(file, known)?;
            place.begin_length = known;
        }
        Ok(())
    }

    /// The file that `place` is in.
    fn at(&mut self, place: &mut FilePlace) -> io::Result<File> {
        if let Some(open) = self.open.take()
            && holds(&open, place)?
        {
            return Ok(open);
        }
        let current = File::open(&self.path)?;
        if holds(&current, place)? {
            if *place == FilePlace::default() {
                start(&current, place)?;
            }
            return Ok(current);
        }
        for (path, _) in self.siblings()? {
            // One that cannot be read isn't the one that was.
            if let Ok(file) = File::open(path)
                && holds(&file, place)?
            {
                return Ok(file);
            }
        }
        *place = FilePlace::default();
        Ok(current)
    }

    /// The file that goes on where `file` ended, once it has ended: a syslog daemon writes to the old one until it
    /// has opened the new one.
    fn after(&self, file: &File) -> io::Result<Option<File>> {
        let old = file.metadata()?;
        let Ok(current) = fs::metadata(&self.path) else {
            return Ok(None);
        };
        if same(&old, &current) || current.len() == 0 {
            return Ok(None);
        }
        // Whatever was rotated between the two comes first.
        for (path, rotated) in self.siblings()? {
            if !same(&rotated, &old) && modified(&rotated) > modified(&old) {
                return File::open(path).map(Some);
            }
        }
        File::open(&self.path).map(Some)
    }

    /// What the file may have been renamed to, the oldest first.
    fn siblings(&self) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let other = entry.file_name();
            let other = other.to_string_lossy();
            let rotated = other.strip_prefix(name.as_ref());
            let plain = !COMPRESSED.iter().any(|end| other.ends_with(end));
            if rotated.is_some_and(|end| end.starts_with(['.', '-'])) && plain {
                let metadata = entry.metadata()?;
                if metadata.is_file() {
                    found.push((entry.path(), metadata));
                }
            }
        }
        found.sort_by_key(|(_, metadata)| modified(metadata));
        let surplus = found.len().saturating_sub(MAX_FILES);
        found.drain(..surplus);
        Ok(found)
    }
}

/// Where a log is begun of which nothing is known.
fn start(file: &File, place: &mut FilePlace) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length > FIRST {
        place.offset = length - FIRST;
        place.skipping = true;
        place.begin_length = BEGIN;
        place.begin = begin(file, BEGIN)?;
    }
    Ok(())
}

/// Whether this is the file that `place` is in.
fn holds(file: &File, place: &FilePlace) -> io::Result<bool> {
    if file.metadata()?.len() < place.offset {
        return Ok(false);
    }
    Ok(place.begin_length == 0 || begin(file, place.begin_length)? == place.begin)
}

/// SHA-256 of the first octets, in hexadecimal.
fn begin(file: &File, length: u64) -> io::Result<String> {
    let octets = read_at(file, 0, length.min(BEGIN))?;
    let digest = digest(&SHA256, &octets);
    Ok(digest.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(length).unwrap_or_default()];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    octets.truncate(filled);
    Ok(octets)
}

/// The lines that end within `chunk`, which begins at the place. What is too long for a line is stepped over.
fn lines(chunk: &[u8], place: &mut FilePlace) -> Read {
    let mut read = Read {
        lines: Vec::new(),
        at_end: (chunk.len() as u64) < CHUNK,
    };
    let begin = place.offset;
    let mut at = 0;
    for line in chunk.split_inclusive(|b| *b == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            if line.len() > MAX_LINE {
                place.skipping = true;
                place.offset = begin.saturating_add(chunk.len() as u64);
                if !read.lines.is_empty() {
                    // The lines before it first; it is met again.
                    place.skipping = false;
                    place.offset = begin;
                }
            }
            break;
        };
        at += line.len() as u64;
        let behind = begin.saturating_add(at);
        if std::mem::take(&mut place.skipping) {
            place.offset = behind;
        } else {
            let text = text.get(..text.len().min(MAX_LINE)).unwrap_or_default();
            read.lines
                .push((String::from_utf8_lossy(text).into_owned(), behind));
        }
    }
    read
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn modified(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Read in one go, in octets.
const CHUNK: u64 = 1 << 20;

/// Longer lines tell nothing, in octets: syslog daemons cut at 8 KiB and less.
const MAX_LINE: usize = 64 << 10;

/// A file is known by so many of its first octets.
const BEGIN: u64 = 1_024;

/// How much is read of a log of which nothing is known, in octets from its end.
const FIRST: u64 = 256 << 20;

/// Rotated files that are looked at.
const MAX_FILES: usize = 50;

const COMPRESSED: [&str; 5] = [".gz", ".xz", ".bz2", ".zst", ".lz4"];
