//! `Reader`: asks the store, through a read-only connection of its own.
//!
//! Owns the queries for single verdicts and for the store as a whole, its check and its backup;
//! listings and counts are `list`'s. Works while the daemon writes and when it does not run.

use crate::outcome::{Outcome, OutcomeSource, OutcomeState};
use crate::policy::PolicyOverride;
use crate::store::error::{OpenError, ReadError};
use crate::store::shared;
use crate::store::sqlite::rebuild::{self, Trouble, word};
use crate::store::sqlite::{database_path, migrate, open_for_reading};
use crate::store::wire::read_domain;
use crate::store::{CameBack, SkipCount, SkipPair, SkipReason, StoreStats, Stored};
use crate::time::{Timestamp, UtcDay};
use crate::verdict::VerdictId;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Reads the store. Give each thread its own: opening is cheap.
pub struct Reader {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the store in this directory for reading. Creates and migrates nothing.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            connection: open_for_reading(directory)?,
            path: database_path(directory),
        })
    }

    /// What tells this store from every other: made by chance with it, kept by its backups.
    pub fn store_id(&self) -> Result<[u8; 16], ReadError> {
        self.sql(|c| {
            c.prepare_cached("SELECT id FROM store_id")?
                .query_row([], |row| row.get(0))
        })
    }

    /// The verdict with this id, and everything that is known of its outcome.
    pub fn find(&self, id: VerdictId) -> Result<Option<Stored>, ReadError> {
        let sql = format!("{} WHERE v.id = ?1", rebuild::SELECT);
        Ok(self.stored(&sql, &[id.as_bytes()])?.pop())
    }

    /// The verdicts of messages with this queue id, newest first, at most 100: MTAs use their ids
    /// again.
    pub fn find_by_queue_id(&self, queue_id: &str) -> Result<Vec<Stored>, ReadError> {
        let sql = format!(
            "{} WHERE v.queue_id = ?1 ORDER BY v.received DESC, v.number DESC LIMIT 100",
            rebuild::SELECT
        );
        self.stored(&sql, &[&queue_id])
    }

    /// The newest verdict of a message with this queue id: MTAs use their ids again.
    pub fn newest_with_queue_id(&self, queue_id: &str) -> Result<Option<VerdictId>, ReadError> {
        self.sql(|c| {
            c.prepare_cached(
                "SELECT id FROM verdict WHERE queue_id = ?1
                 ORDER BY received DESC, number DESC LIMIT 1",
            )?
            .query_row([queue_id], |row| Ok(VerdictId::from_bytes(row.get(0)?)))
            .optional()
        })
    }

    /// The newest verdict of a message with this queue id and this Message-ID. A message that came
    /// without a Message-ID may have got one since.
    pub fn newest_with_both_ids(
        &self,
        queue_id: &str,
        message_id: &str,
    ) -> Result<Option<VerdictId>, ReadError> {
        self.sql(|c| {
            c.prepare_cached(
                "SELECT v.id FROM verdict v JOIN detail d ON d.verdict = v.number
                 WHERE v.queue_id = ?1
                     AND coalesce(d.document ->> '$.message.message_id', ?2) = ?2
                 ORDER BY v.received DESC, v.number DESC LIMIT 1",
            )?
            .query_row([queue_id, message_id], |row| {
                Ok(VerdictId::from_bytes(row.get(0)?))
            })
            .optional()
        })
    }

    /// The newest verdict of a message with this Message-ID, among the newest 100,000 that were received
    /// at or after `since`. Other filters ask right after a message came, so that it is found at once; to
    /// find nothing takes 0.4 s, of a million stored. An index over all ids would cost every message 10 µs and
    /// 19 octets when it holds digests, 16 µs and 67 octets when it holds the ids.
    pub fn newest_with_message_id(
        &self,
        message_id: &str,
        since: Timestamp,
    ) -> Result<Option<VerdictId>, ReadError> {
        self.sql(|c| {
            c.prepare_cached(
                "SELECT v.id FROM (SELECT number, id FROM verdict WHERE received >= ?2
                     ORDER BY received DESC, number DESC LIMIT 100000) v
                 CROSS JOIN detail d ON d.verdict = v.number
                 WHERE d.document ->> '$.message.message_id' = ?1 LIMIT 1",
            )?
            .query_row(params![message_id, since.micros()], |row| {
                Ok(VerdictId::from_bytes(row.get(0)?))
            })
            .optional()
        })
    }

    /// What became of a message, oldest first; empty when there is no such verdict.
    pub fn outcomes(&self, id: VerdictId) -> Result<Vec<Outcome>, ReadError> {
        let number: Option<i64> = self.sql(|c| {
            c.prepare_cached("SELECT number FROM verdict WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        match number {
            Some(number) => self.translate(outcomes(&self.connection, number)),
            None => Ok(Vec::new()),
        }
    }

    /// When the oldest verdict was received; held mail is kept however old it is.
    pub fn oldest(&self) -> Result<Option<Timestamp>, ReadError> {
        let sql = "SELECT min(received) FROM verdict";
        let oldest: Option<i64> = self.sql(|c| c.query_row(sql, [], |row| row.get(0)))?;
        Ok(oldest.map(Timestamp::from_micros))
    }

    /// The store as a whole. Counts its verdicts: with millions of them that takes a moment.
    pub fn stats(&self) -> Result<StoreStats, ReadError> {
        let size = |path: &Path| path.metadata().map_or(0, |m| m.len());
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let file_bytes = size(&self.path) + size(Path::new(&log));
        self.sql(|c| {
            let number = |sql: &str| c.query_row(sql, [], |row| row.get::<_, i64>(0));
            let time = |sql: &str| -> rusqlite::Result<Option<Timestamp>> {
                let micros: Option<i64> = c.query_row(sql, [], |row| row.get(0))?;
                Ok(micros.map(Timestamp::from_micros))
            };
            let free = number("PRAGMA freelist_count")?.saturating_mul(number("PRAGMA page_size")?);
            Ok(StoreStats {
                file_bytes,
                free_bytes: free.unsigned_abs(),
                schema: migrate::version(c)?,
                verdicts: number("SELECT count(*) FROM verdict")?.unsigned_abs(),
                oldest: time("SELECT min(received) FROM verdict")?,
                newest: time("SELECT max(received) FROM verdict")?,
                answering: number("SELECT count(*) FROM awaiting WHERE state = 'answering'")?
                    .unsigned_abs(),
            })
        })
    }

    /// What was passed over on these days, by day and reason.
    pub fn skips(&self, days: RangeInclusive<UtcDay>) -> Result<Vec<SkipCount>, ReadError> {
        self.rows(
            "SELECT day, reason, messages FROM skip WHERE day BETWEEN ?1 AND ?2
             ORDER BY day, reason",
            params![days.start().number(), days.end().number()],
            |row| {
                Ok(SkipCount {
                    day: UtcDay::from_number(row.get(0)?),
                    reason: word(row, "reason", SkipReason::parse)?,
                    messages: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            },
        )
    }

    /// The mail of authenticated clients on these days, by day, author domain and recipient domain,
    /// the most first within a day. A message to several domains counts once for each.
    pub fn skip_pairs(&self, days: RangeInclusive<UtcDay>) -> Result<Vec<SkipPair>, ReadError> {
        self.rows(
            "SELECT day, author_domain, recipient_domain, messages FROM skip_domain
             WHERE day BETWEEN ?1 AND ?2
             ORDER BY day, messages DESC, author_domain, recipient_domain",
            params![days.start().number(), days.end().number()],
            |row| {
                let author: String = row.get(1)?;
                let recipient: String = row.get(2)?;
                Ok(SkipPair {
                    day: UtcDay::from_number(row.get(0)?),
                    author_domain: match author.as_str() {
                        "" => None,
                        author => Some(read_domain(author)?),
                    },
                    recipient_domain: read_domain(&recipient)?,
                    messages: row.get::<_, i64>(3)?.unsigned_abs(),
                })
            },
        )
    }

    /// Looks for damage: SQLite's own check of the file, then whether every verdict has its pieces.
    /// Empty when all is well; at most 100 lines. Reads the whole file.
    pub fn check(&self) -> Result<Vec<String>, ReadError> {
        let mut found: Vec<String> = self.rows("PRAGMA integrity_check(100)", [], |row| {
            Ok(row.get::<_, String>(0)?)
        })?;
        found.retain(|line| line != "ok");
        for (what, sql) in PIECES {
            let missing: i64 = self.sql(|c| c.query_row(sql, [], |row| row.get(0)))?;
            if missing > 0 {
                found.push(format!("{missing} {what}"));
            }
        }
        let unreadable = self.unreadable_exceptions()?;
        found.extend(
            unreadable
                .iter()
                .map(|(id, why)| format!("exception {id}: {why}")),
        );
        found.truncate(MOST_FOUND);
        Ok(found)
    }

    /// Writes a copy of the store as it is now, compacted, to a new file. The daemon may go on.
    pub fn backup(&self, file: &Path) -> Result<(), BackupError> {
        let at_target = |source| BackupError::Target {
            path: file.to_owned(),
            source,
        };
        // SQLite takes an empty file as good; this one is ours alone and hides nothing older.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .map_err(at_target)?;
        let written = match file.to_str() {
            Some(name) => self
                .sql(|c| c.execute("VACUUM INTO ?1", [name]))
                .map_err(BackupError::Read),
            None => Err(at_target(io::Error::other("not a UTF-8 path"))),
        };
        let synced = written.and_then(|_| {
            File::open(file)
                .and_then(|f| f.sync_all())
                .map_err(at_target)
        });
        if synced.is_err() {
            // Half a copy is worse than none; what went wrong is told in any case.
            _ = std::fs::remove_file(file);
        }
        synced
    }

    fn stored(&self, sql: &str, key: &[&dyn ToSql]) -> Result<Vec<Stored>, ReadError> {
        let c = &self.connection;
        self.rows(sql, key, |row| read_stored(c, row))
    }

    /// All rows of a query, each read by `read`.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> Result<T, Trouble>,
    ) -> Result<Vec<T>, ReadError> {
        self.translate(collect(&self.connection, sql, values, read))
    }

    pub(super) fn sql<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        self.translate(ask(&self.connection).map_err(Trouble::Sqlite))
    }

    pub(super) fn translate<T>(&self, result: Result<T, Trouble>) -> Result<T, ReadError> {
        result.map_err(|trouble| match trouble {
            Trouble::Sqlite(error) => ReadError::database(&self.path, &error),
            Trouble::Read(error) => error,
        })
    }
}

/// Why a backup was not made.
#[derive(Debug)]
pub enum BackupError {
    /// The new file cannot be written, or is there already.
    Target {
        path: PathBuf,
        source: io::Error,
    },
    Read(ReadError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackupError {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// All rows of a query, each read by `read`.
pub(super) fn collect<T>(
    c: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Trouble>,
) -> Result<Vec<T>, Trouble> {
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// A row of `rebuild::SELECT`, with what became of the message.
pub(super) fn read_stored(c: &Connection, row: &Row<'_>) -> Result<Stored, Trouble> {
    let (number, verdict) = rebuild::verdict(c, row)?;
    Ok(Stored {
        verdict,
        outcomes: outcomes(c, number)?,
        came_back: came_back(c, number)?,
    })
}

fn outcomes(c: &Connection, number: i64) -> Result<Vec<Outcome>, Trouble> {
    collect(
        c,
        "SELECT o.state, o.at, o.source, o.detail, o.who, e.reasons FROM outcome o
         LEFT JOIN policy_evaluated e ON e.id = o.evaluated WHERE o.verdict = ?1 ORDER BY o.seq",
        [number],
        |row| {
            Ok(Outcome {
                state: word(row, "state", OutcomeState::parse)?,
                at: Timestamp::from_micros(row.get(1)?),
                source: word(row, "source", OutcomeSource::parse)?,
                detail: row.get(3)?,
                by: row.get(4)?,
                because: because(row.get(5)?)?,
            })
        },
    )
}

fn came_back(c: &Connection, number: i64) -> Result<Option<CameBack>, Trouble> {
    let found = collect(
        c,
        "SELECT at, queue_id FROM returned WHERE verdict = ?1",
        [number],
        |row| {
            Ok(CameBack {
                at: Timestamp::from_micros(row.get(0)?),
                queue_id: row.get(1)?,
            })
        },
    )?;
    Ok(found.into_iter().next())
}

/// The reason that came with a release: the last of those that a report gives.
fn because(reasons: Option<String>) -> Result<Option<PolicyOverride>, Trouble> {
    let reasons = reasons
        .map(|text| shared::read_reasons(&text))
        .transpose()?;
    Ok(reasons.and_then(|mut reasons| reasons.pop()))
}

/// Lines that `check` tells.
const MOST_FOUND: usize = 100;

/// What `check` counts, and how.
const PIECES: [(&str, &str); 9] = [
    (
        "verdicts without their detail",
        "SELECT count(*) FROM verdict WHERE number NOT IN (SELECT verdict FROM detail)",
    ),
    (
        "verdicts without an outcome",
        "SELECT count(*) FROM verdict v
         WHERE NOT EXISTS (SELECT 1 FROM outcome WHERE verdict = v.number)",
    ),
    (
        "outcomes that refer to a policy that is not there",
        "SELECT count(*) FROM outcome WHERE evaluated IS NOT NULL
             AND evaluated NOT IN (SELECT id FROM policy_evaluated)",
    ),
    (
        "held messages that retention would take",
        "SELECT count(*) FROM outcome o WHERE state = 'held'
             AND seq = (SELECT max(seq) FROM outcome WHERE verdict = o.verdict)
             AND verdict NOT IN (SELECT verdict FROM awaiting WHERE state = 'held')",
    ),
    (
        "exceptions without a history",
        "SELECT count(*) FROM exception
             WHERE id NOT IN (SELECT exception FROM exception_event WHERE what = 'added')",
    ),
    (
        "verdicts that refer to a name that is not there",
        "SELECT count(*) FROM verdict WHERE
             (header_from IS NOT NULL AND header_from NOT IN (SELECT id FROM name)) OR
             (envelope_from IS NOT NULL AND envelope_from NOT IN (SELECT id FROM name)) OR
             (reverse_name IS NOT NULL AND reverse_name NOT IN (SELECT id FROM name)) OR
             (list_id IS NOT NULL AND list_id NOT IN (SELECT id FROM name))",
    ),
    (
        "verdicts that refer to a document that is not there",
        "SELECT count(*) FROM verdict v JOIN detail d ON d.verdict = v.number WHERE
             envelope_to NOT IN (SELECT id FROM document) OR
             auth_results NOT IN (SELECT id FROM document) OR
             (discovery IS NOT NULL AND discovery NOT IN (SELECT id FROM document)) OR
             (spf_record IS NOT NULL AND spf_record NOT IN (SELECT id FROM document)) OR
             (helo_record IS NOT NULL AND helo_record NOT IN (SELECT id FROM document))",
    ),
    (
        "verdicts that refer to a policy that is not there",
        "SELECT count(*) FROM verdict WHERE
             policy_evaluated NOT IN (SELECT id FROM policy_evaluated) OR
             (policy_published IS NOT NULL AND
              policy_published NOT IN (SELECT id FROM policy_published))",
    ),
    (
        "policies that refer to a record or name that is not there",
        "SELECT count(*) FROM policy_published WHERE
             record NOT IN (SELECT id FROM dmarc_record) OR domain NOT IN (SELECT id FROM name)",
    ),
];
