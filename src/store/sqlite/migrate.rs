//! The schema and its versions.
//!
//! Owns the list of migrations, the table `migration` that says which were applied, and the refusal
//! of files that are not ours or not of this version. Each migration is one transaction; a later one
//! first adds, and only a version later takes away, so that the version before can still read.

use crate::store::error::OpenError;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;

/// Name and SQL of each migration; the first is version 1.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "verdicts",
        include_str!("../migrations/sqlite/0001_verdicts.sql"),
    ),
    ("skips", include_str!("../migrations/sqlite/0002_skips.sql")),
];

/// `algn`: says in the file's header whose it is.
const APPLICATION_ID: u32 = 0x616c_676e;

/// The version this program knows.
pub(super) fn known() -> u32 {
    MIGRATIONS.len() as u32
}

/// Refuses a database of somebody else.
pub(super) fn check_ours(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let error = |e| OpenError::database(path, &e);
    let id: u32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(error)?;
    let objects: u32 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(error)?;
    if id == APPLICATION_ID || (id == 0 && objects == 0) {
        Ok(())
    } else {
        Err(OpenError::Foreign(path.to_owned()))
    }
}

/// Refuses another version's schema, for readers.
pub(super) fn check_current(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(connection).map_err(|e| OpenError::database(path, &e))?;
    let (path, known) = (path.to_owned(), known());
    match found {
        // Created, and not yet migrated: as good as not there.
        0 => Err(OpenError::Missing(path)),
        _ if found < known => Err(OpenError::Older { path, found, known }),
        _ if found > known => Err(OpenError::Newer { path, found, known }),
        _ => Ok(()),
    }
}

/// Applies what is missing, up to `target`.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    target: u32,
    now: Timestamp,
) -> Result<(), OpenError> {
    let found = version(connection).map_err(|e| OpenError::database(path, &e))?;
    if found > known() {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: known(),
        });
    }
    for version in found + 1..=target {
        apply(connection, version, now).map_err(|e| OpenError::database(path, &e))?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, version: u32, now: Timestamp) -> rusqlite::Result<()> {
    let Some((name, sql)) = MIGRATIONS.get(version as usize - 1) else {
        return Ok(());
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version == 1 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(
            "CREATE TABLE migration (
                 version INTEGER PRIMARY KEY,
                 name    TEXT    NOT NULL,
                 applied INTEGER NOT NULL
             ) STRICT;",
        )?;
    }
    transaction.execute_batch(sql)?;
    transaction.execute(
        "INSERT INTO migration (version, name, applied) VALUES (?1, ?2, ?3)",
        (version, name, now.micros()),
    )?;
    transaction.commit()
}

/// The version of the schema as found; 0 for an empty file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    let table: Option<u32> = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    if table.is_none() {
        return Ok(0);
    }
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM migration",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn migrated(steps: &[u32]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        for target in steps {
            let now = Timestamp::from_seconds(i64::from(*target));
            migrate(&mut connection, Path::new("x"), *target, now).unwrap();
            assert_eq!(version(&connection).unwrap(), *target);
        }
        connection
    }

    #[test]
    fn every_version_leads_to_the_same_schema() {
        let expected = schema(&migrated(&[known()]));
        assert!(expected.len() > 10);
        for first in 1..=known() {
            assert_eq!(schema(&migrated(&[first, known(), known()])), expected);
        }
    }

    #[test]
    fn a_migration_is_applied_whole_or_not_at_all() {
        let mut connection = migrated(&[1]);
        connection
            .execute_batch("CREATE TABLE skip_domain (x)")
            .unwrap();
        let failed = migrate(
            &mut connection,
            Path::new("x"),
            2,
            Timestamp::from_seconds(2),
        );
        assert!(matches!(failed, Err(OpenError::Database { .. })));
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(
            !schema(&connection)
                .iter()
                .any(|sql| sql.contains("TABLE skip ("))
        );
    }

    #[test]
    fn a_later_schema_and_a_foreign_file_are_refused() {
        let mut connection = migrated(&[known()]);
        connection
            .execute(
                "INSERT INTO migration VALUES (?1, 'later', 0)",
                [known() + 1],
            )
            .unwrap();
        let path = Path::new("x");
        let now = Timestamp::from_seconds(0);
        for refused in [
            migrate(&mut connection, path, known(), now),
            check_current(&connection, path),
        ] {
            assert!(
                matches!(refused, Err(OpenError::Newer { .. })),
                "{refused:?}"
            );
        }
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(
            check_ours(&foreign, path),
            Err(OpenError::Foreign(_))
        ));
    }
}
