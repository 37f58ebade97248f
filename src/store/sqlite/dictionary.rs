//! Dictionaries: contents that many verdicts share, each stored once, and the small cache of their
//! numbers in front of them.
//!
//! Owns the look-up, the insertion, and `last_day`, by which retention knows what is in use. The cache
//! forgets; the table decides.

use rusqlite::{Connection, OptionalExtension, ToSql, params};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// One dictionary table, keyed by `K`: a digest, or a name.
pub(super) struct Dictionary<K> {
    find: &'static str,
    touch: &'static str,
    recent: Recent<K>,
}

impl<K: Eq + Hash> Dictionary<K> {
    /// `find` yields `id, last_day` for a key; `touch` sets `last_day` (?2) of an id (?1).
    pub fn new(find: &'static str, touch: &'static str, capacity: usize) -> Self {
        Self {
            find,
            touch,
            recent: Recent::new(capacity),
        }
    }

    /// The id of a content, stored now by `insert` if it is new. `day` is the day it is used on.
    pub fn intern<Q>(
        &mut self,
        connection: &Connection,
        key: &Q,
        day: i32,
        insert: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<i64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ToSql + ?Sized,
    {
        let known = match self.recent.find(key) {
            Some((id, last_day)) if last_day >= day => return Ok(id),
            Some(known) => Some(known),
            None => connection
                .prepare_cached(self.find)?
                .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?,
        };
        let (id, last_day) = match known {
            Some((id, last_day)) if last_day >= day => (id, last_day),
            Some((id, _)) => {
                connection
                    .prepare_cached(self.touch)?
                    .execute(params![id, day])?;
                (id, day)
            }
            None => {
                insert(connection)?;
                (connection.last_insert_rowid(), day)
            }
        };
        self.recent.keep(key.to_owned(), (id, last_day));
        Ok(id)
    }

    /// Forgets the cache: after a rollback, or when rows were deleted.
    pub fn forget(&mut self) {
        self.recent.clear();
    }
}

/// The contents used last: two generations, the older one dropped whole when the younger is full.
struct Recent<K> {
    young: HashMap<K, (i64, i32)>,
    old: HashMap<K, (i64, i32)>,
    half: usize,
}

impl<K: Eq + Hash> Recent<K> {
    fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (capacity / 2).max(1),
        }
    }

    fn find<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<(i64, i32)>
    where
        K: Borrow<Q>,
    {
        if let Some(entry) = self.young.get(key) {
            return Some(*entry);
        }
        let (key, entry) = self.old.remove_entry(key)?;
        self.keep(key, entry);
        Some(entry)
    }

    fn keep(&mut self, key: K, entry: (i64, i32)) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_never_more_than_its_size() {
        let mut recent = Recent::new(8);
        for n in 0..100_i64 {
            recent.keep(n, (n, 0));
            assert_eq!(recent.find(&0), Some((0, 0)));
            assert_eq!(recent.find(&n), Some((n, 0)));
            assert!(recent.young.len() + recent.old.len() <= 8);
        }
        assert_eq!(recent.find(&50), None);
    }

    #[test]
    fn a_content_has_one_number_and_its_newest_day() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT UNIQUE, last_day INTEGER)",
            )
            .unwrap();
        let mut dictionary: Dictionary<String> = Dictionary::new(
            "SELECT id, last_day FROM t WHERE k = ?1",
            "UPDATE t SET last_day = ?2 WHERE id = ?1",
            4,
        );
        for (key, day, id, last_day) in [
            ("a", 5, 1, 5),
            ("b", 5, 2, 5),
            ("a", 4, 1, 5),
            ("a", 6, 1, 6),
            ("c", 6, 3, 6),
            ("b", 7, 2, 7),
        ] {
            for forget in [false, true] {
                if forget {
                    dictionary.forget();
                }
                let found = dictionary
                    .intern(&connection, key, day, |c| {
                        c.execute("INSERT INTO t (k, last_day) VALUES (?1, ?2)", (key, day))
                    })
                    .unwrap();
                assert_eq!(found, id, "{key} on {day}");
                let stored: i32 = connection
                    .query_row("SELECT last_day FROM t WHERE k = ?1", [key], |r| r.get(0))
                    .unwrap();
                assert_eq!(stored, last_day, "{key} on {day}");
            }
        }
    }
}
