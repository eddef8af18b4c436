//! The store: an SQLite database encrypted by SQLCipher, one transaction for each call.

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use undertone_session::store::{Order, Row, Store, StoreError, Table, Transaction, prefix_end};
use zeroize::Zeroizing;

/// One table for all: the session layer's tables are a column. `WITHOUT ROWID` keeps rows in the
/// order of their keys, which is how they are scanned.
const LAYOUT: &str = "CREATE TABLE rows (
    tab INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tab, key)
) WITHOUT ROWID, STRICT";

/// Prepared statements kept at hand: there are six.
const STATEMENTS: usize = 16;

/// The encrypted database.
pub(crate) struct SqliteStore {
    connection: Connection,
}

fn store_error(error: &rusqlite::Error) -> StoreError {
    let damaged = error.sqlite_error().is_some_and(|failure| {
        matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            // The general error. Our statements are fixed and right, so that it is SQLCipher's, about
            // a page that does not authenticate.
            || failure.extended_code == rusqlite::ffi::SQLITE_ERROR
    });
    if damaged {
        return StoreError::Corrupt { what: format!("the database ({error})") };
    }
    StoreError::Failed { reason: error.to_string() }
}

impl SqliteStore {
    /// Makes a new database; there must be none.
    pub(crate) fn create(path: &Path, key: &[u8; 32]) -> Result<Self, StoreError> {
        // SQLite would make it readable as far as the umask allows. What it makes besides (the log)
        // gets the permissions of this file.
        crate::profile::private_file().create_new(true).open(path).map_err(|error| {
            StoreError::Failed { reason: format!("{}: {error}", path.display()) }
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Self::connect(path, key, flags)?;
        store.connection.execute_batch(LAYOUT).map_err(|e| store_error(&e))?;
        Ok(store)
    }

    /// Opens a database that must be there; reads it far enough to know that the key fits.
    pub(crate) fn open(path: &Path, key: &[u8; 32]) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Self::connect(path, key, flags)?;
        store
            .connection
            .query_row("SELECT count(*) FROM rows WHERE tab = 1", [], |row| row.get::<_, i64>(0))
            .map_err(|e| store_error(&e))?;
        Ok(store)
    }

    fn connect(path: &Path, key: &[u8; 32], flags: OpenFlags) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, flags).map_err(|e| store_error(&e))?;
        let setup = || -> rusqlite::Result<()> {
            // SQLCipher would write to standard error what is returned as an error anyway.
            connection.execute_batch("PRAGMA cipher_log_level = NONE;")?;
            // The raw key, so that SQLCipher derives nothing from it: the key slot did.
            connection.execute_batch(&key_pragma(key))?;
            // Deleted rows are overwritten, in memory nothing is swapped to temporary files, and a
            // commit is on the disk when it returns.
            connection.execute_batch(
                "PRAGMA secure_delete = ON;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;",
            )?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(())
        };
        setup().map_err(|e| store_error(&e))?;
        Ok(Self { connection })
    }

    /// Folds the write-ahead log back and closes.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.connection.close().map_err(|(_, e)| store_error(&e))
    }
}

fn key_pragma(key: &[u8; 32]) -> Zeroizing<String> {
    let mut pragma = Zeroizing::new(String::with_capacity(96));
    pragma.push_str("PRAGMA key = \"x'");
    for byte in key {
        // Writing to a string does not fail.
        let _ = write!(pragma, "{byte:02x}");
    }
    pragma.push_str("'\"");
    pragma
}

impl Store for SqliteStore {
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn Transaction) -> Result<T, E>,
    {
        let inner = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| store_error(&e))?;
        let mut tx = Tx { inner };
        // Dropping an uncommitted transaction rolls it back.
        let result = work(&mut tx)?;
        tx.inner.commit().map_err(|e| store_error(&e))?;
        Ok(result)
    }

    /// `secure_delete` overwrites what is deleted where it stands, but not the copies that stay in
    /// the unused space of pages which were split before: so all pages are written anew, in memory
    /// (it takes as much as the store has). The log goes, with the pages as they were.
    fn scrub(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("VACUUM").map_err(|e| store_error(&e))?;
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self
            .connection
            .query_row(checkpoint, [], |row| row.get(0))
            .map_err(|e| store_error(&e))?;
        if busy == 0 {
            return Ok(());
        }
        Err(StoreError::Failed { reason: "the store's log is in use".to_owned() })
    }
}

struct Tx<'c> {
    inner: rusqlite::Transaction<'c>,
}

impl Transaction for Tx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let read = || -> rusqlite::Result<Option<Zeroizing<Vec<u8>>>> {
            let mut statement =
                self.inner.prepare_cached("SELECT value FROM rows WHERE tab = ?1 AND key = ?2")?;
            let mut rows = statement.query(params![table.number(), key])?;
            rows.next()?.map(|row| row.get(0).map(Zeroizing::new)).transpose()
        };
        read().map_err(|e| store_error(&e))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let write = || {
            self.inner
                .prepare_cached(
                    "INSERT INTO rows (tab, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![table.number(), key, value])
        };
        write().map(drop).map_err(|e| store_error(&e))
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let write = || {
            self.inner
                .prepare_cached("DELETE FROM rows WHERE tab = ?1 AND key = ?2")?
                .execute(params![table.number(), key])
        };
        write().map(drop).map_err(|e| store_error(&e))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let end = prefix_end(prefix);
        // The range that the prefix allows, cut at `from`; a missing upper end is none.
        let (low, low_in, high) = match (order, from) {
            (Order::Ascending, Some(from)) if from >= prefix => (from, false, end.as_deref()),
            (Order::Descending, Some(from)) if end.as_deref().is_none_or(|end| from < end) => {
                (prefix, true, Some(from))
            }
            _ => (prefix, true, end.as_deref()),
        };
        let sql = match (order, low_in) {
            (Order::Ascending, true) => {
                "SELECT key, value FROM rows WHERE tab = ?1 AND key >= ?2
                 AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT ?4"
            }
            (Order::Ascending, false) => {
                "SELECT key, value FROM rows WHERE tab = ?1 AND key > ?2
                 AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT ?4"
            }
            (Order::Descending, _) => {
                "SELECT key, value FROM rows WHERE tab = ?1 AND key >= ?2
                 AND (?3 IS NULL OR key < ?3) ORDER BY key DESC LIMIT ?4"
            }
        };
        let read = || -> rusqlite::Result<Vec<Row>> {
            let mut statement = self.inner.prepare_cached(sql)?;
            let rows = statement.query_map(params![table.number(), low, high, limit], |row| {
                Ok(Row { key: row.get(0)?, value: Zeroizing::new(row.get(1)?) })
            })?;
            rows.collect()
        };
        read().map_err(|e| store_error(&e))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use undertone_session::store::MemoryStore;

    use super::*;

    type Found = Vec<(Vec<u8>, Vec<u8>)>;

    fn scans(store: &mut impl Store) -> Vec<Found> {
        let froms: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"ab"), Some(b"b\xff"), Some(b"zz")];
        let mut found = Vec::new();
        for prefix in [&b""[..], b"a", b"b", b"b\xff", b"\xff", b"q"] {
            for from in froms {
                for order in [Order::Ascending, Order::Descending] {
                    for limit in [0, 1, 3, 100] {
                        let rows = store
                            .transaction(|tx| tx.scan(Table::Events, prefix, from, order, limit))
                            .unwrap();
                        found.push(rows.into_iter().map(|r| (r.key, r.value.to_vec())).collect());
                    }
                }
            }
        }
        found
    }

    #[test]
    fn it_finds_what_the_model_finds() {
        let dir = tempfile::tempdir().unwrap();
        let mut sqlite = SqliteStore::create(&dir.path().join("s"), &[1; 32]).unwrap();
        let mut memory = MemoryStore::new();
        let keys: [&[u8]; 9] =
            [b"", b"a", b"ab", b"ac", b"b", b"b\xff", b"b\xff\x01", b"\xff", b"\xff\xff"];
        fn fill(store: &mut impl Store, keys: &[&[u8]]) {
            store
                .transaction(|tx| {
                    for key in keys {
                        tx.put(Table::Events, key, b"first")?;
                        tx.put(Table::Events, key, &[key, &b"!"[..]].concat())?;
                        tx.put(Table::Cursors, key, b"other table")?;
                    }
                    tx.delete(Table::Events, b"ac")
                })
                .unwrap();
        }
        fill(&mut sqlite, &keys);
        fill(&mut memory, &keys);
        assert_eq!(scans(&mut sqlite), scans(&mut memory));
    }

    #[test]
    fn a_failed_transaction_leaves_nothing_and_a_committed_one_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut store = SqliteStore::create(&path, &[1; 32]).unwrap();
        store.transaction(|tx| tx.put(Table::Meta, b"kept", b"1")).unwrap();
        let refused: Result<(), StoreError> = store.transaction(|tx| {
            tx.put(Table::Meta, b"lost", b"1")?;
            Err(StoreError::Failed { reason: String::new() })
        });
        refused.unwrap_err();
        drop(store);
        let mut store = SqliteStore::open(&path, &[1; 32]).unwrap();
        let (kept, lost) = store
            .transaction(|tx| -> Result<_, StoreError> {
                Ok((tx.get(Table::Meta, b"kept")?, tx.get(Table::Meta, b"lost")?))
            })
            .unwrap();
        assert_eq!(kept.unwrap().as_slice(), b"1");
        assert!(lost.is_none());
    }

    #[test]
    fn another_key_and_damage_are_corruption_and_the_file_is_ciphertext() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut store = SqliteStore::create(&path, &[1; 32]).unwrap();
        store.transaction(|tx| tx.put(Table::Meta, b"k", b"a canary in plain sight")).unwrap();
        store.close().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"a canary"));
        assert!(!bytes.starts_with(b"SQLite format"));
        assert!(matches!(SqliteStore::open(&path, &[2; 32]), Err(StoreError::Corrupt { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    /// Whichever page it is: the advice is to take a backup, not to look for space on the disk.
    #[test]
    fn damage_in_a_later_page_is_corruption() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut store = SqliteStore::create(&path, &[1; 32]).unwrap();
        for n in 0..100_u8 {
            store.transaction(|tx| tx.put(Table::Messages, &[n], &[n; 3000])).unwrap();
        }
        store.close().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut found = 0;
        for page in 2..whole.len() / 4096 {
            let mut bytes = whole.clone();
            bytes[page * 4096 + 100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let read = SqliteStore::open(&path, &[1; 32]).and_then(|mut store| {
                store.transaction(|tx| {
                    tx.scan(Table::Messages, &[], None, Order::Ascending, 1000).map(drop)
                })
            });
            match read {
                Err(StoreError::Corrupt { .. }) => found += 1,
                // A page that is in no use.
                Ok(()) => {}
                Err(other) => panic!("page {page}: {other}"),
            }
        }
        assert!(found > 50, "{found}");
    }
}
