//! A Python with pinned packages for the tests' differential peers, in a virtual environment of its
//! own under `target/peers`. Made once, whoever comes first; a file lock keeps others waiting.
//!
//! Use from a test: `#[path = "support/python.rs"] mod python;`. Needs `python3` with `venv`, and
//! for the first run the Python package index.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of the environment `name` that has exactly `packages` (`name==version`) asked
/// for. Panics with pip's words when it cannot be made.
pub fn interpreter(name: &str, packages: &[&str]) -> PathBuf {
    let peers = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's temporary directory lies in target/")
        .join("peers");
    fs::create_dir_all(&peers).expect("target/ is writable");
    let lock = File::create(peers.join(format!("{name}.lock"))).expect("target/ is writable");
    lock.lock().expect("file locks work in target/");
    let environment = peers.join(name);
    let python = environment.join("bin/python");
    let marker = environment.join("packages");
    let wanted = packages.join("\n");
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return python;
    }
    if environment.exists() {
        fs::remove_dir_all(&environment).expect("target/ is writable");
    }
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .arg("--disable-pip-version-check")
        .args(packages));
    fs::write(marker, wanted).expect("target/ is writable");
    python
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tests need python3");
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
