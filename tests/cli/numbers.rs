//! The README's page of numbers and the source name the same metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_page_names_every_metric_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut counted = BTreeSet::new();
    collect(&root.join("src"), &mut counted);
    let page = fs::read_to_string(root.join("README.md")).expect("the README");
    let told: BTreeSet<String> = page.lines().filter_map(row).collect();
    assert!(counted.len() > 10, "{counted:?}");
    assert_eq!(counted, told);
}

/// ``| `alignd_x` … |``
fn row(line: &str) -> Option<String> {
    let name = line.strip_prefix("| `alignd_")?;
    let end = name.find(['`', '{'])?;
    Some(format!("alignd_{}", &name[..end]))
}

/// What stands in `metrics::counter!("alignd_x"` and the like, wherever the line is broken.
fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("our own directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        for call in [
            "metrics::counter!(",
            "metrics::gauge!(",
            "metrics::histogram!(",
        ] {
            let uses = text.split(call).skip(1);
            let names =
                uses.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            found.extend(names.map(str::to_owned));
        }
    }
}
