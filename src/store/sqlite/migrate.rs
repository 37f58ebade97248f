//! The schemas and their versions.
//!
//! Owns the lists of migrations, the table `migration` that says which were applied, and the refusal
//! of files that are not ours or not of this version. Each migration is one transaction; a later one
//! first adds, and only a version later takes away, so that the version before can still read.

use crate::store::error::OpenError;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;

/// What a file of ours holds.
pub(super) struct Schema {
    /// Name and SQL of each migration; the first is version 1.
    migrations: &'static [(&'static str, &'static str)],
    /// Says in the file's header whose it is.
    application_id: u32,
}

/// `alignd.db`; `algn`.
pub(super) const VERDICTS: Schema = Schema {
    migrations: &[
        (
            "verdicts",
            include_str!("../migrations/sqlite/0001_verdicts.sql"),
        ),
        ("skips", include_str!("../migrations/sqlite/0002_skips.sql")),
        ("held", include_str!("../migrations/sqlite/0003_held.sql")),
        (
            "exceptions",
            include_str!("../migrations/sqlite/0004_exceptions.sql"),
        ),
        (
            "returned",
            include_str!("../migrations/sqlite/0005_returned.sql"),
        ),
        (
            "intents",
            include_str!("../migrations/sqlite/0006_intents.sql"),
        ),
        (
            "digest",
            include_str!("../migrations/sqlite/0007_digest.sql"),
        ),
        (
            "store_id",
            include_str!("../migrations/sqlite/0008_store_id.sql"),
        ),
    ],
    application_id: 0x616c_676e,
};

/// `reports.db`; `algr`.
pub(super) const REPORTS: Schema = Schema {
    migrations: &[
        (
            "reports",
            include_str!("../migrations/sqlite-reports/0001_reports.sql"),
        ),
        (
            "waiting",
            include_str!("../migrations/sqlite-reports/0002_waiting.sql"),
        ),
        (
            "verified",
            include_str!("../migrations/sqlite-reports/0003_verified.sql"),
        ),
    ],
    application_id: 0x616c_6772,
};

impl Schema {
    /// The version this program knows.
    pub fn known(&self) -> u32 {
        self.migrations.len() as u32
    }

    /// Refuses a database of somebody else.
    pub fn check_ours(&self, connection: &Connection, path: &Path) -> Result<(), OpenError> {
        let error = |e| OpenError::database(path, &e);
        let id: u32 = connection
            .pragma_query_value(None, "application_id", |row| row.get(0))
            .map_err(error)?;
        let objects: u32 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(error)?;
        if id == self.application_id || (id == 0 && objects == 0) {
            Ok(())
        } else {
            Err(OpenError::Foreign(path.to_owned()))
        }
    }

    /// Refuses another version's schema, for readers.
    pub fn check_current(&self, connection: &Connection, path: &Path) -> Result<(), OpenError> {
        let found = version(connection).map_err(|e| OpenError::database(path, &e))?;
        let (path, known) = (path.to_owned(), self.known());
        match found {
            // Created, and not yet migrated: as good as not there.
            0 => Err(OpenError::Missing(path)),
            _ if found < known => Err(OpenError::Older { path, found, known }),
            _ if found > known => Err(OpenError::Newer { path, found, known }),
            _ => Ok(()),
        }
    }

    /// Applies what is missing, up to `target`.
    pub fn migrate(
        &self,
        connection: &mut Connection,
        path: &Path,
        target: u32,
        now: Timestamp,
    ) -> Result<(), OpenError> {
        let found = version(connection).map_err(|e| OpenError::database(path, &e))?;
        if found > self.known() {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: self.known(),
            });
        }
        for version in found + 1..=target {
            self.apply(connection, version, now)
                .map_err(|e| OpenError::database(path, &e))?;
        }
        Ok(())
    }

    fn apply(
        &self,
        connection: &mut Connection,
        target: u32,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let Some((name, sql)) = self.migrations.get(target as usize - 1) else {
            return Ok(());
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&transaction)? >= target {
            // Another process was faster.
            return Ok(());
        }
        if target == 1 {
            transaction.pragma_update(None, "application_id", self.application_id)?;
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
            (target, name, now.micros()),
        )?;
        transaction.commit()
    }
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
    use rusqlite::params;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn migrated(of: &Schema, steps: &[u32]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        for target in steps {
            let now = Timestamp::from_seconds(i64::from(*target));
            of.migrate(&mut connection, Path::new("x"), *target, now)
                .unwrap();
            assert_eq!(version(&connection).unwrap(), *target);
        }
        connection
    }

    #[test]
    fn every_version_leads_to_the_same_schema() {
        for of in [&VERDICTS, &REPORTS] {
            let known = of.known();
            let expected = schema(&migrated(of, &[known]));
            assert!(expected.len() > 10);
            for first in 1..=known {
                assert_eq!(schema(&migrated(of, &[first, known, known])), expected);
            }
        }
    }

    #[test]
    fn a_migration_is_applied_whole_or_not_at_all() {
        let mut connection = migrated(&VERDICTS, &[1]);
        connection
            .execute_batch("CREATE TABLE skip_domain (x)")
            .unwrap();
        let failed = VERDICTS.migrate(
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
        let mut connection = migrated(&VERDICTS, &[VERDICTS.known()]);
        connection
            .execute(
                "INSERT INTO migration VALUES (?1, 'later', 0)",
                [VERDICTS.known() + 1],
            )
            .unwrap();
        let path = Path::new("x");
        let now = Timestamp::from_seconds(0);
        for refused in [
            VERDICTS.migrate(&mut connection, path, VERDICTS.known(), now),
            VERDICTS.check_current(&connection, path),
        ] {
            assert!(
                matches!(refused, Err(OpenError::Newer { .. })),
                "{refused:?}"
            );
        }
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE t (x)").unwrap();
        let reports = migrated(&REPORTS, &[REPORTS.known()]);
        for (of, file) in [
            (&VERDICTS, &foreign),
            (&VERDICTS, &reports),
            (&REPORTS, &connection),
        ] {
            assert!(matches!(
                of.check_ours(file, path),
                Err(OpenError::Foreign(_))
            ));
        }
    }

    #[test]
    fn what_was_not_confirmed_for_sure_is_asked_again() {
        let mut connection = migrated(&REPORTS, &[2]);
        for (number, (host, state, attempts, answer, _)) in OUTBOX.iter().enumerate() {
            let address = format!("d@{host}");
            let address = if host.is_empty() { "" } else { &address };
            let sql = "INSERT INTO outbox (report, position, uri, address, host, state, attempts,
                 next_try, last_answer) VALUES (1, ?1, '', ?2, ?3, ?4, ?5, 0, ?6)";
            let row = params![number as i64, address, host, state, attempts, answer];
            connection.execute(sql, row).unwrap();
        }
        let now = Timestamp::from_seconds(0);
        REPORTS
            .migrate(&mut connection, Path::new("x"), REPORTS.known(), now)
            .unwrap();
        for (number, (.., expected)) in OUTBOX.iter().enumerate() {
            let sql = "SELECT state || ' ' || verified FROM outbox WHERE position = ?1";
            let found: String = connection
                .query_row(sql, [number as i64], |row| row.get(0))
                .unwrap();
            assert_eq!(found, *expected, "{number}");
        }
    }

    /// Host, state, attempts, last answer; state and whether it counts as verified afterwards.
    const OUTBOX: &[(&str, &str, u32, &str, &str)] = &[
        ("a.example", "queued", 0, "", "queued 1"),
        ("a.example", "queued", 3, "451", "to_verify 0"),
        ("a.example", "sent", 1, "250", "sent 1"),
        ("a.example", "refused", 1, "bounced: 550", "refused 1"),
        ("a.example", "refused", 1, "doesn't agree", "refused 0"),
        ("a.example", "expired", 9, "timeout", "expired 0"),
        ("a.example", "to_verify", 1, "timeout", "to_verify 0"),
        ("", "to_verify", 0, "", "refused 0"),
        ("", "refused", 0, "https", "refused 0"),
    ];
}
