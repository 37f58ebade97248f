//! Where a mail's file is in Postfix's queue.
//!
//! postcat(1) finds it too, but where there is none it takes a second to say so. Looks at names alone, opens
//! and changes nothing. Knows hashed queues (`hash_queue_names`) by their directories: their names are the
//! digits of the queue id, hexadecimal and in capitals. What can't be looked at is no answer.

use crate::mta::QueueId;
use std::io;
use std::path::Path;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    In(&'static str),
    Nowhere,
    /// Only Postfix itself knows: rights are missing, there is no queue, or it is deeper than we go.
    Unknown,
}

/// Looks once: a mail that moves meanwhile may be missed.
pub fn find(queue: &Path, id: &QueueId) -> Found {
    let mut is_sure = true;
    for name in QUEUES {
        let directory = queue.join(name);
        match within(&directory, id, DEPTH) {
            Ok(true) => return Found::In(name),
            Ok(false) => is_sure &= directory.is_dir(),
            Err(_) => is_sure = false,
        }
    }
    match is_sure {
        true => Found::Nowhere,
        false => Found::Unknown,
    }
}

/// Whether the file is in this directory or below it.
fn within(directory: &Path, id: &QueueId, depth: u32) -> io::Result<bool> {
    if is_there(&directory.join(id.as_str()))? {
        return Ok(true);
    }
    for digit in DIGITS {
        let below = directory.join(digit);
        if !is_there(&below)? {
            continue;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if within(&below, id, depth)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_there(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Those that postcat(1) looks into, in the order of a mail's way, so that one that moves on isn't missed. Postfix
/// makes them at its first start.
const QUEUES: [&str; 5] = ["hold", "maildrop", "incoming", "active", "deferred"];
const DIGITS: [&str; 16] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C", "D", "E", "F",
];
/// Of `hash_queue_depth`, which is 1 out of the box: 65,536 look-ups for each hashed queue.
const DEPTH: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "4jXW5m5GBtz1StgL";

    /// The files and directories there are, and what is found.
    #[test]
    fn a_mail_is_found_in_whichever_queue_it_is() {
        for (made, expected) in [
            (&[][..], Found::Nowhere),
            (&["hold/4jXW5m5GBtz1StgL"], Found::In("hold")),
            (&["active/4jXW5m5GBtz1StgL"], Found::In("active")),
            (&["deferred/5/4jXW5m5GBtz1StgL"], Found::In("deferred")),
            (&["deferred/A/0/F/4jXW5m5GBtz1StgL"], Found::In("deferred")),
            (&["hold/D/4jXW5m5GBtz1StgL"], Found::In("hold")),
            (&["corrupt/4jXW5m5GBtz1StgL"], Found::Nowhere),
            // Records of bounces bear the same names.
            (
                &["defer/4jXW5m5GBtz1StgL", "trace/4jXW5m5GBtz1StgL"],
                Found::Nowhere,
            ),
            (&["hold/4jXW5m5GBtz1StgM", "deferred/4/x"], Found::Nowhere),
            (&["deferred/A/0/F/1/x"], Found::Unknown),
            (
                &["deferred/A/0/F/1/x", "hold/4jXW5m5GBtz1StgL"],
                Found::In("hold"),
            ),
        ] {
            let queue = tempfile::tempdir().unwrap();
            for name in QUEUES {
                fs::create_dir(queue.path().join(name)).unwrap();
            }
            for file in made {
                let file = queue.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            let id = ID.parse().unwrap();
            assert_eq!(find(queue.path(), &id), expected, "{made:?}");
        }
    }

    #[test]
    fn without_a_queue_nothing_is_known() {
        let queue = tempfile::tempdir().unwrap();
        let id = ID.parse().unwrap();
        assert_eq!(find(queue.path(), &id), Found::Unknown);
        fs::write(queue.path().join("hold"), "").unwrap();
        assert_eq!(find(queue.path(), &id), Found::Unknown);
    }
}
