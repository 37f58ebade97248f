//! Sendmail's queue directories, as sendmail.cf names them, and the names of the files in them.

use crate::mta::QueueId;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One queue directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    directory: PathBuf,
    /// Where qf and hf files are.
    pub control: PathBuf,
    /// Where df files are.
    data: PathBuf,
}

impl Queue {
    /// With `qf` and `df` below it, control and data files are there: "Sendmail Installation and Operation Guide" §5.7,
    /// "If the subdirectories qf, xf, and df exist".
    fn at(directory: PathBuf) -> Self {
        let below = |name: &str| {
            let below = directory.join(name);
            if below.is_dir() {
                below
            } else {
                directory.clone()
            }
        };
        Self {
            control: below("qf"),
            data: below("df"),
            directory,
        }
    }

    pub fn name(&self) -> String {
        self.directory.display().to_string()
    }

    pub fn held_file(&self, id: &QueueId) -> PathBuf {
        self.control.join(format!("hf{id}"))
    }

    pub fn queued_file(&self, id: &QueueId) -> PathBuf {
        self.control.join(format!("qf{id}"))
    }

    pub fn data_file(&self, id: &QueueId) -> PathBuf {
        self.data.join(format!("df{id}"))
    }

    /// The ids of the held mails in it, sorted.
    pub fn held(&self) -> io::Result<Vec<QueueId>> {
        let mut held = Vec::new();
        for entry in fs::read_dir(&self.control)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix("hf"));
            held.extend(id.and_then(QueueId::parse).filter(QueueId::is_sendmail));
        }
        held.sort();
        Ok(held)
    }
}

/// Those of `O QueueDirectory=` and of the queue groups (`Qname, P=DIR, …`) that are there.
pub fn named_in(sendmail_cf: &str) -> Vec<Queue> {
    let mut directories = Vec::new();
    for line in sendmail_cf.lines() {
        let named = match line.strip_prefix("O QueueDirectory=") {
            Some(path) => Some(path),
            None => line.strip_prefix("OQ/").and(line.strip_prefix("OQ")),
        };
        let named = named.map(str::trim).or_else(|| group_path(line));
        directories.extend(named.map(matching).unwrap_or_default());
    }
    directories.sort();
    directories.dedup();
    directories.into_iter().map(Queue::at).collect()
}

fn group_path(line: &str) -> Option<&str> {
    let fields = line.strip_prefix('Q')?.split(',').skip(1).map(str::trim);
    let mut paths = fields.filter_map(|field| {
        field
            .split_once('=')
            .filter(|(key, _)| key.starts_with('P'))
    });
    paths.next().map(|(_, path)| path.trim())
}

/// A `*` at the end stands for every directory that begins so.
fn matching(path: &str) -> Vec<PathBuf> {
    let path = Path::new(path);
    if !path.is_absolute() {
        return Vec::new();
    }
    let start = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix('*'));
    let (Some(start), Some(parent)) = (start, path.parent()) else {
        return Some(path.to_owned())
            .filter(|path| path.is_dir())
            .into_iter()
            .collect();
    };
    let entries = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let begun = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    begun
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_that_sendmail_cf_names() {
        let home = tempfile::tempdir().expect("a directory can be made");
        for directory in [
            "mqueue",
            "many/q1",
            "many/q2/qf",
            "many/q2/df",
            "many/other",
            "slow",
        ] {
            fs::create_dir_all(home.path().join(directory)).expect("our own directory");
        }
        let check = |cf: &str, expected: &[(&str, &str)]| {
            let cf = cf.replace("HOME", &home.path().display().to_string());
            let found = named_in(&cf);
            let expected: Vec<_> = expected
                .iter()
                .map(|(control, data)| (home.path().join(control), home.path().join(data)))
                .collect();
            let found: Vec<_> = found
                .into_iter()
                .map(|queue| (queue.control, queue.data))
                .collect();
            assert_eq!(found, expected, "{cf}");
        };
        check("O QueueDirectory=HOME/mqueue\n", &[("mqueue", "mqueue")]);
        check("OQHOME/mqueue\nO QueueLA=8\n", &[("mqueue", "mqueue")]);
        check("#O QueueDirectory=HOME/mqueue\n", &[]);
        check(
            "O QueueDirectory=HOME/nowhere\nO QueueDirectory=mqueue\n",
            &[],
        );
        let many = [("many/q1", "many/q1"), ("many/q2/qf", "many/q2/df")];
        check("O QueueDirectory=HOME/many/q*\n", &many);
        let groups = "O QueueDirectory=HOME/mqueue\nQslow, P=HOME/slow, F=f, I=1h\nQnone, I=1h\n";
        check(groups, &[("mqueue", "mqueue"), ("slow", "slow")]);
    }
}
