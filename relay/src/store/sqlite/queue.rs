//! One day's queue file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::{Day, EnvelopeHash, ErrorCode, MailboxId};

use super::keys::{DayKeys, OVERHEAD, Tag};
use super::schema::{self, Database, Upgrading};
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
    day: Day,
    connection: Connection,
    keys: Arc<DayKeys>,
    batch: schema::Batch,
    directory: PathBuf,
    retired: bool,
    /// What is left of a mailbox that is gone is removed in the open transaction.
    purges: bool,
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
        let connection = schema::open(directory, Database::Queue(day), Upgrading::Yes)?;
        Ok(Self {
            day,
            connection,
            keys: Arc::new(DayKeys::new(day, &key)?),
            batch: schema::Batch::default(),
            directory: directory.to_owned(),
            retired: false,
            purges: false,
        })
    }

    /// At whose end its envelopes expire.
    pub(super) const fn day(&self) -> Day {
        self.day
    }

    pub(super) fn keys(&self) -> Arc<DayKeys> {
        self.keys.clone()
    }

    /// No longer the newest: what is deleted behind a floor may come back after a power failure, since
    /// the floor is stored elsewhere. A mailbox that is purged may not: see [`Self::commit`].
    pub(super) fn retire(&mut self) -> Result<(), StoreFailure> {
        self.retired = true;
        schema::checkpoint(&self.connection)?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        // There may be many such files, and none is asked often.
        self.connection.pragma_update(None, "cache_size", schema::COLD_CACHE)?;
        Ok(())
    }

    /// Opens the transaction that the next commit ends; until then no other process writes here.
    pub(super) fn begin(&mut self) -> Result<(), StoreFailure> {
        self.batch.begin(&self.connection)
    }

    /// The connection, for who measures the file.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Durable when it returns; of a file that is retired only what is purged is. Nothing repeats
    /// that: rows of a mailbox that was deleted would be the next one's with its key.
    pub(super) fn commit(&mut self) -> Result<(), StoreFailure> {
        self.batch.commit(&self.connection)?;
        if std::mem::take(&mut self.purges) && self.retired {
            schema::sync_wal(&self.directory, Database::Queue(self.day))?;
        }
        Ok(())
    }

    /// Whether a mailbox was purged since the last commit.
    pub(super) const fn purges(&self) -> bool {
        self.purges
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

    /// Drops envelopes up to `floor`, of which the hashes are kept, and hashes up to `forgotten`.
    pub(super) fn delete_behind(
        &mut self,
        mailbox: MailboxId,
        floor: u64,
        forgotten: u64,
    ) -> Result<(), StoreFailure> {
        let (tag, floor, forgotten) =
            (self.keys.tag(mailbox), integer(floor)?, integer(forgotten)?);
        self.begin()?;
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO known (tag, seq, mark)
                 SELECT tag, seq, mark FROM envelope WHERE tag = ?1 AND seq > ?2 AND seq <= ?3",
            )?
            .execute(params![tag, forgotten, floor])?;
        self.connection
            .prepare_cached("DELETE FROM envelope WHERE tag = ?1 AND seq <= ?2")?
            .execute(params![tag, floor])?;
        self.connection
            .prepare_cached("DELETE FROM known WHERE tag = ?1 AND seq <= ?2")?
            .execute(params![tag, forgotten])?;
        Ok(())
    }

    /// Drops all that is about a mailbox.
    pub(super) fn purge(&mut self, mailbox: MailboxId) -> Result<(), StoreFailure> {
        let tag = self.keys.tag(mailbox);
        let present: bool = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM envelope WHERE tag = ?1)
                     OR EXISTS (SELECT 1 FROM known WHERE tag = ?1)
                     OR EXISTS (SELECT 1 FROM floor WHERE tag = ?1)",
            )?
            .query_row([tag], |row| row.get(0))?;
        if present {
            self.begin()?;
            self.purges = true;
            self.connection.execute("DELETE FROM envelope WHERE tag = ?1", [tag])?;
            self.connection.execute("DELETE FROM known WHERE tag = ?1", [tag])?;
            self.connection.execute("DELETE FROM floor WHERE tag = ?1", [tag])?;
        }
        Ok(())
    }

    /// What the file knows of a mailbox: its floor, and its envelopes in any order. One of which only
    /// the hash is left has size 0. [`ErrorCode::Damaged`] if the floor is not what was written.
    pub(super) fn load(&self, mailbox: MailboxId) -> Result<Loaded, StoreFailure> {
        let floor = floor_of(&self.connection, self.keys.tag(mailbox))?;
        match floor {
            Ok(floor) => Ok(Ok((floor, self.entries(mailbox)?))),
            Err(code) => Ok(Err(code)),
        }
    }

    /// Its floor alone.
    pub(super) fn floor(&self, mailbox: MailboxId) -> Result<Result<u64, ErrorCode>, StoreFailure> {
        floor_of(&self.connection, self.keys.tag(mailbox))
    }

    /// Its envelopes alone.
    pub(super) fn entries(&self, mailbox: MailboxId) -> Result<Vec<Entry>, StoreFailure> {
        let mut entries = self.queued(mailbox, 0)?;
        let mut statement =
            self.connection.prepare_cached("SELECT seq, mark FROM known WHERE tag = ?1")?;
        let mut rows = statement.query([self.keys.tag(mailbox)])?;
        while let Some(row) = rows.next()? {
            let (seq, mark) = (natural(row.get(0)?)?, row.get_ref(1)?.as_bytes().ok());
            let mark = mark.and_then(|mark| mark.try_into().ok());
            // One that is damaged recognises nothing any more.
            if let Some(hash) = mark.and_then(|mark| self.keys.unmark(mailbox, seq, mark)) {
                entries.push(Entry { seq, day: self.day, bytes: 0, hash });
            }
        }
        Ok(entries)
    }

    /// Those that are behind a position and were not dropped.
    pub(super) fn queued(
        &self,
        mailbox: MailboxId,
        position: u64,
    ) -> Result<Vec<Entry>, StoreFailure> {
        let tag = self.keys.tag(mailbox);
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, mark, coalesce(length(sealed), 0), arrival FROM envelope
             WHERE tag = ?1 AND seq > ?2",
        )?;
        let rows = statement.query_map(params![tag, integer(position)?], |row| {
            let mark: Vec<u8> = row.get(1)?;
            Ok((row.get::<_, i64>(0)?, mark, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        })?;
        let mut entries = Vec::new();
        for row in rows {
            let (seq, mark, length, arrival) = row?;
            let seq = natural(seq)?;
            let overhead = u64::try_from(OVERHEAD).unwrap_or(0);
            let bytes = natural(length)?.saturating_sub(overhead);
            let mark = mark.try_into().ok().and_then(|mark| self.keys.unmark(mailbox, seq, mark));
            let hash = match mark {
                Some(hash) => Some(hash),
                None => self.hash_of(mailbox, seq, arrival)?,
            };
            // Neither hash nor bytes are of this place: so the place is what is damaged.
            let Some(hash) = hash else { continue };
            entries.push(Entry { seq, day: self.day, bytes, hash });
        }
        Ok(entries)
    }

    /// The hash of an envelope whose mark is damaged, if its bytes are not.
    fn hash_of(
        &self,
        mailbox: MailboxId,
        seq: u64,
        arrival: i64,
    ) -> Result<Option<EnvelopeHash>, StoreFailure> {
        tracing::error!("the mark of an envelope is damaged");
        let sealed: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT sealed FROM envelope WHERE arrival = ?1")?
            .query_row([arrival], |row| row.get(0))
            .optional()?
            .flatten();
        let envelope = sealed.and_then(|sealed| self.keys.open(mailbox, seq, &sealed));
        Ok(envelope.map(|envelope| EnvelopeHash::of(&envelope)))
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

/// Floor and envelopes of a mailbox in a file.
pub(super) type Loaded = Result<(u64, Vec<Entry>), ErrorCode>;

/// The floor that a file holds for a mailbox; 0 if none.
pub(super) fn floor_of(
    queue: &Connection,
    tag: Tag,
) -> Result<Result<u64, ErrorCode>, StoreFailure> {
    let row = queue
        .prepare_cached("SELECT intact, acknowledged FROM floor WHERE tag = ?1")?
        .query_row([tag], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    match row {
        Some((true, floor)) => Ok(Ok(natural(floor)?)),
        Some((false, _)) => {
            tracing::error!(table = "floor", "a row is damaged");
            Ok(Err(ErrorCode::Damaged))
        }
        None => Ok(Ok(0)),
    }
}

/// The key of a day, if there is one.
pub(super) fn read_key(keys: &Connection, day: Day) -> Result<Option<[u8; 32]>, StoreFailure> {
    let row = keys
        .query_row("SELECT intact, key FROM day_key WHERE day = ?1", [day.get()], |row| {
            Ok((row.get::<_, bool>(0)?, row.get(1)?))
        })
        .optional()?;
    match row {
        Some((true, key)) => Ok(Some(key)),
        Some((false, _)) => Err(StoreFailure::Damaged("a day key")),
        None => Ok(None),
    }
}

/// As SQLite stores a number.
pub(super) fn integer(number: u64) -> Result<i64, StoreFailure> {
    i64::try_from(number).map_err(|_| StoreFailure::Damaged("a number is too large"))
}

/// As it was before.
pub(super) fn natural(number: i64) -> Result<u64, StoreFailure> {
    u64::try_from(number).map_err(|_| StoreFailure::Damaged("a stored number is negative"))
}
