//! The rules of the house: which module may import which, and what the pure layers never name.
//!
//! A module imports only from lower layers or from its own room; rooms of the same layer import each
//! other only in layers 0 to 3 and 7, and never in a ring.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every room and its layer. A new room must be entered here.
const ROOMS: &[(&str, u8)] = &[
    ("address", 0),
    ("domain", 0),
    ("time", 0),
    ("word", 0),
    ("dns", 1),
    ("message", 1),
    ("site_key", 1),
    ("auth", 2),
    ("policy", 2),
    ("digest", 3),
    ("outcome", 3),
    ("replay", 3),
    ("report", 3),
    ("verdict", 3),
    ("deliver", 4),
    ("key_file", 4),
    ("local_socket", 4),
    ("mta", 4),
    ("resolver", 4),
    ("store", 4),
    ("build_report", 5),
    ("send_report", 5),
    ("quarantine", 5),
    ("tell_outcome", 5),
    ("control", 6),
    ("host", 6),
    ("inbox", 6),
    ("milter", 6),
    ("mta_helper", 6),
    ("schedule", 6),
    ("cli", 7),
    ("config", 7),
    ("daemon", 7),
    ("main", 7),
];

/// What the pure layers (0 to 3) never name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "SystemTime",
    "Instant::now",
    "tokio::",
    "rusqlite",
    "hickory",
    "indymilter",
    "tracing::",
    "metrics::",
    "println!",
    "eprintln!",
];

struct Source {
    path: PathBuf,
    room: String,
    /// The code before its `mod tests`, line comments removed.
    code: String,
    opening: String,
}

#[test]
fn modules_import_downwards() {
    let mut same_layer: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let layer = layer_of(&source.room);
        for other in imports(&source.code) {
            if other == source.room {
                continue;
            }
            let below = layer_of(&other);
            let (place, room) = (source.path.display(), &source.room);
            assert!(
                below <= layer,
                "{place}: {room} (layer {layer}) imports {other} ({below})"
            );
            if below == layer {
                assert!(
                    matches!(layer, 0..=3 | 7),
                    "{place}: {other} is in layer {layer} too"
                );
                same_layer
                    .entry(source.room.clone())
                    .or_default()
                    .insert(other);
            }
        }
    }
    for room in same_layer.keys() {
        assert!(
            !reaches(room, room, &same_layer, 0),
            "{room} imports itself through others"
        );
    }
}

#[test]
fn pure_layers_name_nothing_impure() {
    for source in sources().iter().filter(|s| layer_of(&s.room) <= 3) {
        for word in IMPURE {
            assert!(
                !source.code.contains(word),
                "{}: names {word}",
                source.path.display()
            );
        }
    }
}

#[test]
fn rooms_keep_their_own() {
    let libraries = [
        ("rusqlite::", "store"),
        ("indymilter::", "milter"),
        ("hickory_resolver::", "resolver"),
        ("lettre::", "deliver"),
        ("mail_auth::", "deliver"),
    ];
    for source in sources() {
        let place = source.path.display();
        for (word, room) in libraries {
            let fine = source.room == room || !source.code.contains(word);
            assert!(fine, "{place}: {word} belongs to {room}");
        }
        let sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "CREATE TABLE"];
        let speaks_sql = sql.iter().any(|word| source.code.contains(word));
        assert!(
            source.room == "store" || !speaks_sql,
            "{place}: SQL belongs to store"
        );
        let sees_config = imports(&source.code).contains("config");
        let may = matches!(source.room.as_str(), "config" | "daemon" | "cli");
        assert!(may || !sees_config, "{place}: config is for daemon and cli");
    }
}

#[test]
fn every_file_says_what_it_owns() {
    for source in sources() {
        let place = source.path.display();
        assert!(
            source.opening.starts_with("//!"),
            "{place}: opens without //!"
        );
    }
}

/// The rooms that `crate::room::..` paths name.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = &list[..list.find('}').unwrap_or(list.len())];
                found.extend(list.split(',').map(first_word).filter(|w| !w.is_empty()));
            }
            None => _ = found.insert(first_word(rest)),
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

type Edges = BTreeMap<String, BTreeSet<String>>;

fn reaches(from: &str, goal: &str, edges: &Edges, depth: usize) -> bool {
    let Some(next) = edges.get(from) else {
        return false;
    };
    depth < ROOMS.len()
        && next
            .iter()
            .any(|n| n == goal || reaches(n, goal, edges, depth + 1))
}

fn layer_of(room: &str) -> u8 {
    let found = ROOMS.iter().find(|(name, _)| *name == room);
    found
        .unwrap_or_else(|| panic!("{room} has no layer: enter it in tests/layers.rs"))
        .1
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("src/lib.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let inside = path.strip_prefix(root).unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy();
            found.push(Source {
                room: first.trim_end_matches(".rs").to_owned(),
                code: without_comments_and_tests(&text),
                opening: text.lines().next().unwrap_or_default().to_owned(),
                path,
            });
        }
    }
}

fn without_comments_and_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}
