//! The users and groups of an MTA under test: the host's, and some of its own.

use std::fs;

/// The host's passwd file with these users, each with a group of its own number, instead of any of
/// the same name.
pub fn passwd(ours: &[(&str, u32)]) -> String {
    with("/etc/passwd", ours, |name, id| {
        format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin")
    })
}

/// The host's group file, likewise.
pub fn group(ours: &[(&str, u32)]) -> String {
    with("/etc/group", ours, |name, id| format!("{name}:x:{id}:"))
}

fn with(file: &str, ours: &[(&str, u32)], line: impl Fn(&str, u32) -> String) -> String {
    let host = fs::read_to_string(file).expect("the host's users can be read");
    let is_ours = |line: &str| {
        ours.iter()
            .any(|(name, _)| line.starts_with(&format!("{name}:")))
    };
    let kept = host
        .lines()
        .filter(|line| !is_ours(line))
        .map(str::to_owned);
    let added = ours.iter().map(|&(name, id)| line(name, id));
    kept.chain(added).map(|line| line + "\n").collect()
}
