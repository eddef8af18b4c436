//! SQLite as the relay uses it: the tables, indices and settings of `relay/src/store/sqlite`.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::engine::{Engine, Known, Mailbox, Result, forgotten};

/// SQLite's integers are signed; no number here comes near their end.
fn natural(number: i64) -> u64 {
    number.cast_unsigned()
}

const RECORDS: &str = "CREATE TABLE IF NOT EXISTS mailbox (
    id BLOB PRIMARY KEY, key BLOB NOT NULL, kind INTEGER NOT NULL, expires INTEGER NOT NULL,
    max_envelopes INTEGER NOT NULL, max_bytes INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL, expired INTEGER NOT NULL, sum INTEGER NOT NULL
) WITHOUT ROWID, STRICT;";

const QUEUE: &str = "CREATE TABLE IF NOT EXISTS envelope (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    tag BLOB NOT NULL, seq INTEGER NOT NULL, mark BLOB NOT NULL, sealed BLOB
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS envelope_of_mailbox ON envelope (tag, seq);
CREATE TABLE IF NOT EXISTS known (
    tag BLOB NOT NULL, seq INTEGER NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (tag, seq)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS floor (
    tag BLOB PRIMARY KEY, acknowledged INTEGER NOT NULL, sum INTEGER NOT NULL
) WITHOUT ROWID, STRICT;";

pub(crate) struct Sqlite {
    directory: PathBuf,
    records: Connection,
    queue: Connection,
    open: bool,
}

fn open(path: &Path, tables: &str) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "cache_size", -32 * 1024)?;
    db.pragma_update(None, "wal_autocheckpoint", 4096)?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(tables)?;
    Ok(db)
}

impl Sqlite {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let records = open(&directory.join("relay.db"), RECORDS)?;
        let queue = open(&directory.join("queue.db"), QUEUE)?;
        Ok(Self { directory: directory.to_owned(), records, queue, open: false })
    }

    fn begin(&mut self) -> Result {
        if !self.open {
            self.queue.execute_batch("BEGIN IMMEDIATE")?;
            self.open = true;
        }
        Ok(())
    }
}

impl Engine for Sqlite {
    fn make(&mut self, of: u64) -> Result {
        for from in (0..of).step_by(100_000) {
            let transaction = self.records.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO mailbox VALUES (?1, ?1, 0, 20000, 10000, 67108864, 0, 0, ?2)",
                )?;
                for number in from..(from + 100_000).min(of) {
                    let id = Mailbox { number, of }.id();
                    insert.execute(params![id, number.cast_signed()])?;
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn load(&mut self, mailbox: Mailbox) -> Result<Option<Known>> {
        let stored: Option<i64> = self
            .records
            .prepare_cached("SELECT max(acknowledged, expired) FROM mailbox WHERE id = ?1")?
            .query_row([mailbox.id()], |row| row.get(0))
            .optional()?;
        let Some(stored) = stored else { return Ok(None) };
        let tag = mailbox.tag();
        let here: Option<i64> = self
            .queue
            .prepare_cached("SELECT acknowledged FROM floor WHERE tag = ?1")?
            .query_row([tag], |row| row.get(0))
            .optional()?;
        let mut statement = self.queue.prepare_cached(
            "SELECT seq, mark, length(sealed) FROM envelope WHERE tag = ?1
             UNION ALL SELECT seq, mark, 0 FROM known WHERE tag = ?1",
        )?;
        let mut rows = statement.query([tag])?;
        let floor = natural(stored.max(here.unwrap_or(0)));
        let mut head = floor;
        while let Some(row) = rows.next()? {
            let (_mark, _length): (Vec<u8>, i64) = (row.get(1)?, row.get(2)?);
            head = head.max(natural(row.get(0)?));
        }
        Ok(Some(Known { floor, head }))
    }

    fn append(&mut self, mailbox: Mailbox, seq: u64, mark: &[u8; 24], sealed: &[u8]) -> Result {
        self.begin()?;
        self.queue
            .prepare_cached("INSERT INTO envelope (tag, seq, mark, sealed) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![mailbox.tag(), seq.cast_signed(), mark, sealed])?;
        Ok(())
    }

    fn acknowledge(&mut self, mailbox: Mailbox, before: Known, floor: u64) -> Result {
        self.begin()?;
        let (tag, forgotten) = (mailbox.tag(), forgotten(floor, before.head).cast_signed());
        let floor = floor.cast_signed();
        self.queue
            .prepare_cached(
                "INSERT INTO floor VALUES (?1, ?2, 0)
                 ON CONFLICT (tag) DO UPDATE SET acknowledged = excluded.acknowledged",
            )?
            .execute(params![tag, floor])?;
        self.queue
            .prepare_cached(
                "INSERT OR REPLACE INTO known (tag, seq, mark)
                 SELECT tag, seq, mark FROM envelope WHERE tag = ?1 AND seq > ?2 AND seq <= ?3",
            )?
            .execute(params![tag, forgotten, floor])?;
        self.queue
            .prepare_cached("DELETE FROM envelope WHERE tag = ?1 AND seq <= ?2")?
            .execute(params![tag, floor])?;
        self.queue
            .prepare_cached("DELETE FROM known WHERE tag = ?1 AND seq <= ?2")?
            .execute(params![tag, forgotten])?;
        Ok(())
    }

    fn commit(&mut self) -> Result {
        if std::mem::take(&mut self.open) {
            self.queue.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    fn read(&mut self, mailbox: Mailbox, position: u64, count: usize) -> Result<Vec<(u64, usize)>> {
        let mut statement = self.queue.prepare_cached(
            "SELECT seq, sealed FROM envelope
             WHERE tag = ?1 AND seq > ?2 AND sealed IS NOT NULL ORDER BY seq LIMIT ?3",
        )?;
        let (position, count) = (position.cast_signed(), i64::try_from(count)?);
        let rows = statement.query_map(params![mailbox.tag(), position, count], |row| {
            Ok((natural(row.get(0)?), row.get_ref(1)?.as_bytes()?.to_vec().len()))
        })?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    fn expire(&mut self) -> Result {
        let memory = Connection::open_in_memory()?;
        drop(std::mem::replace(&mut self.queue, memory));
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(self.directory.join(format!("queue.db{suffix}")))?;
        }
        std::fs::File::open(&self.directory)?.sync_all()?;
        self.queue = open(&self.directory.join("queue.db"), QUEUE)?;
        Ok(())
    }
}
