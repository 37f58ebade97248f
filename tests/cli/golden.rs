//! Output held against files in `tests/golden`. `ALIGND_GOLDEN=write cargo test --test cli` writes
//! them anew; the change is then read in the diff.

use std::path::Path;

/// Holds `found` against the golden file `name`.
pub fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("ALIGND_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, found).expect("the golden file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} differs.\n--- expected\n{expected}\n--- found\n{found}"
    );
}
