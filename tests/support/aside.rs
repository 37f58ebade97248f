//! Debian packages unpacked aside, under `target/aside`, by `contrib/lib/aside`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The tree of package `name`, unpacked now if it isn't there yet.
pub fn tree(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unpacked = Command::new(root.join("contrib/lib/aside"))
        .arg(name)
        .status()
        .expect("contrib/lib/aside can be run");
    assert!(
        unpacked.success(),
        "contrib/lib/aside {name} failed; its words are above"
    );
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    target.join("aside").join(name)
}

/// The directories of a tree where its shared libraries lie, as LD_LIBRARY_PATH wants them.
pub fn libraries(tree: &Path) -> String {
    [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "lib/aarch64-linux-gnu",
        "usr/lib",
    ]
    .map(|folder| tree.join(folder).display().to_string())
    .join(":")
}
