//! One day's queue file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::{Day, EnvelopeHash, MailboxId};

use super::keys::{DayKeys, OVERHEAD};
use super::schema::{self, Database};
use crate::store::rules::Entry;
use crate::store::{StoreFailure, random};

/// The days that have a file, with their keys; shared with readers.
pub(super) type Days = Arc<RwLock<BTreeMap<Day, Arc<DayKeys>>>>;

/// A snapshot of the days that have a file.
pub(super) fn snapshot(days: &Days) -> Vec<(Day, Arc<DayKeys>)> {
    let days = days.read().unwrap_or_else(PoisonError::into_inner);
    days.iter().map(|(day, keys)| (*day, keys.clone())).collect()
}

/// A queue file that is open for writing.
pub(super) struct Queue {
    connection: Connection,
    keys: Arc<DayKeys>,
    batch: schema::Batch,
}

impl Queue {
    /// Opens a day's file; makes it, after its key, if there is none.
    pub(super) fn open(
        directory: &Path,
        key_database: &Connection,
        day: Day,
    ) -> Result<Self, StoreFailure> {
        let exists = directory.join(Database::Queue(day).file_name()).try_exists()?;
        let key = match read_key(key_database, day)? {
            Some(key) => key,
            // A file without its key can't be read, and must not be taken for an empty one.
            None if exists => {
                return Err(StoreFailure::Damaged("the key of a queue file is missing"));
            }
            None => {
                let key = random()?;
                key_database.execute(
                    "INSERT INTO day_key (day, key) VALUES (?1, ?2)",
                    params![day.get(), key],
                )?;
                key
            }
        };
        let connection = schema::open(directory, Database::Queue(day))?;
        Ok(Self {
            connection,
            keys: Arc::new(DayKeys::new(day, &key)?),
            batch: schema::Batch::default(),
        })
    }

    pub(super) fn keys(&self) -> Arc<DayKeys> {
        self.keys.clone()
    }

    /// No longer the newest: what is still written (deletions) may be lost, since floors that are
    /// stored elsewhere repeat it.
    pub(super) fn retire(&self) -> Result<(), StoreFailure> {
        schema::checkpoint(&self.connection)?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StoreFailure> {
        self.batch.begin(&self.connection)
    }

    /// Durable when it returns (unless retired).
    pub(super) fn commit(&mut self) -> Result<(), StoreFailure> {
        self.batch.commit(&self.connection)
    }

    /// Makes the transaction that is open fail when it is committed.
    #[cfg(test)]
    pub(super) fn break_commit(&self) {
        let broken = self.connection.execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO child VALUES (1);",
        );
        assert!(broken.is_ok() && self.batch.is_open());
    }

    pub(super) fn checkpoint(&self) -> Result<(), StoreFailure> {
        schema::checkpoint(&self.connection).map(|_| ())
    }

    pub(super) fn insert(
        &mut self,
        mailbox: MailboxId,
        seq: u64,
        hash: EnvelopeHash,
        envelope: &[u8],
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        let sealed = self.keys.seal(mailbox, seq, envelope)?;
        let mark = self.keys.mark(mailbox, seq, hash);
        self.connection
            .prepare_cached(
                "INSERT INTO envelope (tag, seq, mark, sealed) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.keys.tag(mailbox), integer(seq)?, mark, sealed])?;
        Ok(())
    }

    pub(super) fn set_floor(&mut self, mailbox: MailboxId, floor: u64) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "INSERT INTO floor (tag, acknowledged) VALUES (?1, ?2)
                 ON CONFLICT (tag) DO UPDATE SET acknowledged = excluded.acknowledged",
            )?
            .execute(params![self.keys.tag(mailbox), integer(floor)?])?;
        Ok(())
    }

    /// Drops the bytes of envelopes up to `floor`, and their hashes up to `forgotten`.
    pub(super) fn delete_behind(
        &mut self,
        mailbox: MailboxId,
        floor: u64,
        forgotten: u64,
    ) -> Result<(), StoreFailure> {
        let (tag, floor, forgotten) =
            (self.keys.tag(mailbox), integer(floor)?, integer(forgotten)?);
        let lowest: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(seq) FROM envelope WHERE tag = ?1")?
            .query_row([tag], |row| row.get(0))?;
        // Nothing of this mailbox behind the floor: do not even begin a transaction.
        if lowest.is_none_or(|lowest| lowest > floor) {
            return Ok(());
        }
        self.begin()?;
        self.connection
            .prepare_cached("DELETE FROM envelope WHERE tag = ?1 AND seq <= ?2")?
            .execute(params![tag, forgotten])?;
        self.connection
            .prepare_cached(
                "UPDATE envelope SET sealed = NULL
                 WHERE tag = ?1 AND seq > ?2 AND seq <= ?3 AND sealed IS NOT NULL",
            )?
            .execute(params![tag, forgotten, floor])?;
        Ok(())
    }

    /// Drops all that is about a mailbox.
    pub(super) fn purge(&mut self, mailbox: MailboxId) -> Result<(), StoreFailure> {
        let tag = self.keys.tag(mailbox);
        let present: bool = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM envelope WHERE tag = ?1)
                     OR EXISTS (SELECT 1 FROM floor WHERE tag = ?1)",
            )?
            .query_row([tag], |row| row.get(0))?;
        if present {
            self.begin()?;
            self.connection.execute("DELETE FROM envelope WHERE tag = ?1", [tag])?;
            self.connection.execute("DELETE FROM floor WHERE tag = ?1", [tag])?;
        }
        Ok(())
    }

    /// What the file knows of a mailbox: its floor, and its envelopes in order. An envelope whose
    /// bytes were dropped has size 0.
    pub(super) fn load(&self, mailbox: MailboxId) -> Result<(u64, Vec<Entry>), StoreFailure> {
        let tag = self.keys.tag(mailbox);
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, mark, coalesce(length(sealed), 0) FROM envelope WHERE tag = ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([tag], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
        })?;
        let mut entries = Vec::new();
        for row in rows {
            let (seq, mark, length) = row?;
            let seq = natural(seq)?;
            let overhead = u64::try_from(OVERHEAD).unwrap_or(0);
            let bytes = natural(length)?.saturating_sub(overhead);
            let hash = EnvelopeHash::from_bytes(self.keys.mask(mailbox, seq, mark));
            entries.push(Entry { seq, bytes, hash });
        }
        let floor = self
            .connection
            .prepare_cached("SELECT acknowledged FROM floor WHERE tag = ?1")?
            .query_row([tag], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok((floor.map_or(Ok(0), natural)?, entries))
    }

    /// Largest arrival number that the file ever gave: it only grows.
    pub(super) fn high_water(&self) -> Result<i64, StoreFailure> {
        let seq = self
            .connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'envelope'", [], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(seq.unwrap_or(0))
    }
}

/// The key of a day, if there is one.
pub(super) fn read_key(keys: &Connection, day: Day) -> Result<Option<[u8; 32]>, StoreFailure> {
    Ok(keys
        .query_row("SELECT key FROM day_key WHERE day = ?1", [day.get()], |row| row.get(0))
        .optional()?)
}

/// As SQLite stores a number.
pub(super) fn integer(number: u64) -> Result<i64, StoreFailure> {
    i64::try_from(number).map_err(|_| StoreFailure::Damaged("a number is too large"))
}

/// As it was before.
pub(super) fn natural(number: i64) -> Result<u64, StoreFailure> {
    u64::try_from(number).map_err(|_| StoreFailure::Damaged("a stored number is negative"))
}
