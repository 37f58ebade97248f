//! Opening: what is refused, and in which words.

use crate::{NOW, filled, number, raw, settings};
use alignd::store::{OpenError, Reader, Reports, Store};
use std::os::unix::fs::{MetadataExt, chown};

fn refused(directory: &std::path::Path) -> String {
    Store::open(&settings(directory), NOW)
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, _) = filled(directory.path(), 1).await;
    let clone = store.clone();
    let words = refused(directory.path());
    let pid = std::process::id();
    let expected = format!("alignd.db: in use by another alignd, process {pid}; stop that one");
    assert!(words.contains(&expected), "{words}");
    drop(store);
    assert!(
        refused(directory.path()).contains("in use"),
        "a clone still holds it"
    );
    clone.close().await;
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    assert_eq!(reader.stats().unwrap().verdicts, 1);
    drop(store);
}

/// A command that root runs before the daemon's first start must not lock the daemon out.
#[tokio::test]
async fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(4711), Some(4712)).expect("run by root, as contrib/test is");
    let reports = Reports::open(&settings(directory.path()), NOW).unwrap();
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let file = file.unwrap();
        let found = file.metadata().unwrap();
        let owner = (found.uid(), found.gid());
        assert_eq!(owner, (4711, 4712), "{}", file.path().display());
    }
    store.close().await;
    drop(reports);
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused() {
    let table: [(&str, &str); 5] = [
        ("CREATE TABLE t (x)", "not a database of alignd"),
        (
            "PRAGMA application_id = 7; CREATE TABLE t (x)",
            "not a database of alignd",
        ),
        ("PRAGMA application_id = 7", "not a database of alignd"),
        (
            "PRAGMA encoding = 'UTF-16'; CREATE VIEW v AS SELECT 1",
            "not a database of alignd",
        ),
        ("", ""),
    ];
    for (sql, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        raw(directory.path()).execute_batch(sql).unwrap();
        match Store::open(&settings(directory.path()), NOW) {
            Ok(_) => assert_eq!(expected, "", "{sql}"),
            Err(error) => assert!(error.to_string().contains(expected) && !expected.is_empty()),
        }
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("alignd.db"),
        "From: somebody\n".repeat(100),
    )
    .unwrap();
    assert!(refused(directory.path()).contains("file is not a database"));
}

#[tokio::test]
async fn a_later_and_an_earlier_schema() {
    let directory = tempfile::tempdir().unwrap();
    let (store, reader, ids) = filled(directory.path(), 4).await;
    store.close().await;
    let known = reader.stats().unwrap().schema;
    let sql = raw(directory.path());
    sql.execute_batch("INSERT INTO migration VALUES (99, 'later', 0)")
        .unwrap();
    let expected = format!("written by a later alignd (schema 99, this one knows {known})");
    assert!(refused(directory.path()).contains(&expected));
    let words = Reader::open(directory.path()).unwrap_err().to_string();
    assert!(words.contains(&expected), "{words}");
    sql.execute_batch(UNDO).unwrap();
    let words = Reader::open(directory.path()).unwrap_err().to_string();
    let expected = format!("written by an earlier alignd (schema 1, this one needs {known})");
    assert!(words.contains(&expected), "{words}");
    let store = Store::open(&settings(directory.path()), NOW).unwrap();
    store.close().await;
    assert_eq!(
        number(directory.path(), "SELECT max(version) FROM migration"),
        i64::from(known)
    );
    let reader = Reader::open(directory.path()).unwrap();
    for id in ids {
        assert!(reader.find(id).unwrap().is_some());
    }
}

/// Takes a store back to schema 1.
const UNDO: &str = "
    ALTER TABLE outcome DROP COLUMN who;
    ALTER TABLE outcome DROP COLUMN evaluated;
    DROP TABLE exception;
    DROP TABLE exception_event;
    DROP TABLE rule_use;
    DROP TABLE returned;
    DROP TABLE intent;
    DROP TABLE skip;
    DROP TABLE skip_domain;
    DROP TABLE digest;
    DROP TABLE store_id;
    ALTER TABLE awaiting DROP COLUMN announced;
    DELETE FROM migration WHERE version > 1";

#[test]
fn paths_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let beside = directory.path().join("no/such");
    for (path, expected) in [
        (&file, "alignd.lock: Not a directory"),
        (&beside, "no/such: No such file or directory"),
    ] {
        let words = refused(path);
        assert!(words.contains(expected), "{words}");
        assert!(
            words.contains("as user root (uid 0)") || words.contains("(uid "),
            "{words}"
        );
        assert!(words.contains("set store.path"), "{words}");
    }
    let new = directory.path().join("new");
    let missing = Reader::open(&new).unwrap_err();
    assert!(matches!(missing, OpenError::Missing(_)));
    assert!(
        missing
            .to_string()
            .contains("new/alignd.db: no such store; nothing has been recorded yet")
    );
    assert!(!new.exists(), "a reader creates nothing");
    Store::open(&settings(&new), NOW).unwrap();
    assert!(Reader::open(&new).is_ok());
}

#[tokio::test]
async fn the_files_are_not_for_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (store, _, _) = filled(&path, 1).await;
    for name in [
        "",
        "alignd.db",
        "alignd.db-wal",
        "alignd.db-shm",
        "alignd.lock",
    ] {
        let mode = path.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{name}: {mode:o}");
    }
    drop(store);
}
