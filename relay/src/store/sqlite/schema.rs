//! The databases: how they are opened, and every table there is.
//!
//! | file | holds | written |
//! |---|---|---|
//! | `relay.db` | mailboxes, capabilities, depots, blob records, tokens, audit log | when one of them is made or changed |
//! | `queue-DAY.db` | envelopes that expire at the end of DAY, hashes of those that were acknowledged, and floors set while it was the newest | each delivery and acknowledgement |
//! | `keys.db` | the key of each day that has a queue file | once a day |

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode as SqliteError, OpenFlags};
use undertone_wire::Day;

use super::queue::natural;
use super::sums;
use crate::store::StoreFailure;

/// Earlier versions could lose a commit when a WAL file was reset (fixed in 3.51.3).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Stored in each file's `user_version`; raised with every change of a table.
const VERSION: i64 = 3;

/// The version before, which is brought up to this one when it is opened.
const BEFORE: i64 = 2;

/// What SQLite keeps of a database's pages in memory, in KiB (negative, as it counts pages otherwise):
/// 32 MiB of those that are in use all the time. What was acknowledged and is deleted 64 envelopes
/// later is then still there, and the disk is not asked for it.
const HOT_CACHE: i64 = -32 * 1024;

/// The same for the file of a day that has passed: 256 KiB.
pub(super) const COLD_CACHE: i64 = -256;

/// Pages in a WAL after which they are moved into the database: 16 MiB. Many of them are written
/// again and again before, and moving them costs two fsyncs.
const CHECKPOINT_PAGES: u32 = 4096;

/// How long one process waits for the other (the daemon, or an operator's command) to finish a write.
const BUSY: Duration = Duration::from_secs(10);

/// Ends a table whose rows carry a sum over the named columns: see `sums`.
macro_rules! summed {
    ($columns:literal) => {
        concat!(
            "    sum INTEGER NOT NULL GENERATED ALWAYS AS (row_sum(",
            $columns,
            ")) STORED,\n",
            "    intact INTEGER GENERATED ALWAYS AS (sum = row_sum(",
            $columns,
            ")) VIRTUAL\n"
        )
    };
}

const RELAY: &str = concat!(
    "CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
",
    summed!("name, value"),
    ") WITHOUT ROWID, STRICT;
CREATE TABLE mailbox (
    id BLOB PRIMARY KEY,
    key BLOB NOT NULL,
    kind INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    max_envelopes INTEGER NOT NULL,
    max_bytes INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    expired INTEGER NOT NULL,
",
    summed!("id, key, kind, expires, max_envelopes, max_bytes, acknowledged, expired"),
    ") WITHOUT ROWID, STRICT;
CREATE TABLE capability (
    hash BLOB PRIMARY KEY,
    mailbox BLOB NOT NULL REFERENCES mailbox (id) ON DELETE CASCADE,
",
    summed!("hash, mailbox"),
    ") WITHOUT ROWID, STRICT;
CREATE INDEX capability_of_mailbox ON capability (mailbox);
CREATE TABLE depot (
    id BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    expires INTEGER NOT NULL,
    last_resort BLOB,
    last_take BLOB,
    last_bundle BLOB,
",
    summed!("id, owner, expires, last_resort, last_take, last_bundle"),
    ") WITHOUT ROWID, STRICT;
CREATE TABLE bundle (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    depot BLOB NOT NULL REFERENCES depot (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
",
    summed!("depot, sealed"),
    ") STRICT;
CREATE INDEX bundle_of_depot ON bundle (depot, position);
CREATE TABLE blob (
    id BLOB PRIMARY KEY,
    read BLOB NOT NULL,
    del BLOB NOT NULL,
    length INTEGER NOT NULL,
    hash BLOB NOT NULL,
    expires INTEGER NOT NULL,
",
    summed!("id, read, del, length, hash, expires"),
    ") WITHOUT ROWID, STRICT;
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verifier BLOB NOT NULL UNIQUE,
    class TEXT NOT NULL,
    day INTEGER NOT NULL,
    mailboxes INTEGER NOT NULL,
    blob_bytes INTEGER NOT NULL,
",
    summed!("verifier, class, day, mailboxes, blob_bytes"),
    ") STRICT;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
"
);

/// An envelope's `mark` tells whether it is what was written, `sealed` is authenticated. What was
/// acknowledged moves to `known` without its bytes, so that the pages that held them are free at once:
/// beside the envelopes, 70 bytes of a mark would keep a third of a page from being used again.
const QUEUE: &str = concat!(
    "CREATE TABLE envelope (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    tag BLOB NOT NULL,
    seq INTEGER NOT NULL,
    mark BLOB NOT NULL,
    sealed BLOB
) STRICT;
CREATE UNIQUE INDEX envelope_of_mailbox ON envelope (tag, seq);
CREATE TABLE known (
    tag BLOB NOT NULL,
    seq INTEGER NOT NULL,
    mark BLOB NOT NULL,
    PRIMARY KEY (tag, seq)
) WITHOUT ROWID, STRICT;
CREATE TABLE floor (
    tag BLOB PRIMARY KEY,
    acknowledged INTEGER NOT NULL,
",
    summed!("tag, acknowledged"),
    ") WITHOUT ROWID, STRICT;
"
);

/// What a queue file of the version before lacks. Acknowledged envelopes in it, which have no bytes
/// any more, go where they belong with the next acknowledgement.
const QUEUE_SINCE: &str = "CREATE TABLE known (
    tag BLOB NOT NULL,
    seq INTEGER NOT NULL,
    mark BLOB NOT NULL,
    PRIMARY KEY (tag, seq)
) WITHOUT ROWID, STRICT;";

const KEYS: &str = concat!(
    "CREATE TABLE day_key (
    day INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
",
    summed!("day, key"),
    ") STRICT;
"
);

/// Which database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Database {
    Relay,
    Keys,
    Queue(Day),
}

impl Database {
    pub(crate) fn file_name(self) -> String {
        match self {
            Self::Relay => "relay.db".into(),
            Self::Keys => "keys.db".into(),
            Self::Queue(day) => format!("queue-{}.db", day.get()),
        }
    }

    const fn tables(self) -> &'static str {
        match self {
            Self::Relay => RELAY,
            Self::Keys => KEYS,
            Self::Queue(_) => QUEUE,
        }
    }
}

/// Refuses a SQLite that can lose commits.
pub(super) fn check_sqlite() -> Result<(), StoreFailure> {
    if rusqlite::version_number() < OLDEST_SQLITE { Err(StoreFailure::OldSqlite) } else { Ok(()) }
}

/// Whether a database of the version before is brought up to this one. Only who holds the
/// directory's lock may do it: the relay that uses it may be of the version before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Upgrading {
    Yes,
    No,
}

impl Upgrading {
    fn upgrade(self, connection: &Connection, database: Database) -> Result<(), StoreFailure> {
        match self {
            Self::Yes => upgrade(connection, database),
            Self::No => Err(StoreFailure::NotUpgraded),
        }
    }
}

/// Opens a database for writing, and makes it if it is not there.
pub(super) fn open(
    directory: &Path,
    database: Database,
    upgrading: Upgrading,
) -> Result<Connection, StoreFailure> {
    let path = directory.join(database.file_name());
    let is_new = !path.try_exists()?;
    if is_new {
        create_private(&path)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(BUSY)?;
    sums::register(&connection)?;
    // Freed pages can be given back to the file system; only before the first page is written.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Closing in order checkpoints explicitly; being dropped is like being killed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous())?;
    connection.pragma_update(None, "cache_size", HOT_CACHE)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten, except in queue files: their key goes, and they go whole.
    let secure = !matches!(database, Database::Queue(_));
    connection.pragma_update(None, "secure_delete", secure)?;
    // A page that does not hold what was written is noticed at the latest when an envelope does not
    // open; cells that cannot be are noticed here.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        // New, or a crash came between making the file and its tables.
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(database.tables())?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            sync_directory(directory)?;
        }
        BEFORE => upgrading.upgrade(&connection, database)?,
        VERSION => {}
        other => return Err(StoreFailure::Version(other)),
    }
    Ok(connection)
}

/// Brings a database of the version before up to this one.
fn upgrade(connection: &Connection, database: Database) -> Result<(), StoreFailure> {
    // Whoever else has opened it may have done it meanwhile.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == BEFORE {
        if let Database::Queue(_) = database {
            connection.execute_batch(QUEUE_SINCE)?;
        }
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// A commit is on stable storage when it returns.
#[cfg(not(test))]
const fn synchronous() -> &'static str {
    "FULL"
}

/// As it ships, except where a test of power loss proves itself by leaving the fsync out.
#[cfg(test)]
fn synchronous() -> &'static str {
    if std::env::var_os("UNDERTONE_TEST_WITHOUT_FSYNC").is_some() { "OFF" } else { "FULL" }
}

/// Opens a database for reading only.
pub(crate) fn open_read_only(
    directory: &Path,
    database: Database,
) -> Result<Connection, StoreFailure> {
    let connection = open_there(directory, database)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a database that is there, for a short while and beside whoever has it open.
pub(super) fn open_there(directory: &Path, database: Database) -> Result<Connection, StoreFailure> {
    let path = directory.join(database.file_name());
    // Reading a WAL needs write access to its index, hence not SQLITE_OPEN_READ_ONLY.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    sums::register(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(16);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => Ok(connection),
        BEFORE => Err(StoreFailure::NotUpgraded),
        other => Err(StoreFailure::Version(other)),
    }
}

/// Moves everything from the WAL into the database file; `false` if somebody hindered that, who looks
/// at an earlier state or is writing. Nobody is waited for: a backup looks for as long as it copies,
/// and SQLite would wait while it keeps others from writing.
pub(super) fn checkpoint(connection: &Connection) -> Result<bool, StoreFailure> {
    checkpoint_in(connection, "TRUNCATE")
}

fn checkpoint_in(connection: &Connection, mode: &str) -> Result<bool, StoreFailure> {
    let wait: u32 = connection.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
    connection.busy_timeout(Duration::ZERO)?;
    let busy: rusqlite::Result<i64> =
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0));
    connection.busy_timeout(Duration::from_millis(wait.into()))?;
    Ok(busy? == 0)
}

/// Makes what was committed durable where commits alone do not (`synchronous=NORMAL`).
pub(super) fn sync_wal(directory: &Path, database: Database) -> Result<(), StoreFailure> {
    std::fs::File::open(wal(directory, database))?.sync_all()?;
    // The commit may have made it.
    sync_directory(directory)
}

fn wal(directory: &Path, database: Database) -> PathBuf {
    directory.join(format!("{}-wal", database.file_name()))
}

/// Bytes at the beginning of a WAL, and of each page in it (<https://sqlite.org/walformat.html>).
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// Moves everything from the WAL into the database, as [`checkpoint`], and overwrites what stood in
/// the WAL before it is cut off: what is cut off goes back to the file system as it is.
pub(super) fn checkpoint_overwriting(
    directory: &Path,
    database: Database,
    connection: &Connection,
) -> Result<bool, StoreFailure> {
    let length = || std::fs::metadata(wal(directory, database)).map_or(0, |wal| wal.len());
    let before = length();
    let page: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    if !checkpoint_in(connection, "RESTART")? {
        return Ok(false);
    }
    // From the beginning again, a frame with the first page at a time, in which is no row.
    let frame = u64::from(page).saturating_add(FRAME_HEADER);
    for _ in 0..before.saturating_sub(WAL_HEADER).div_ceil(frame) {
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    // Somebody looked meanwhile, so that it went on behind instead.
    let overwritten = length() <= before;
    Ok(checkpoint(connection)? && overwritten)
}

/// How often, and after what pause, a checkpoint is tried that should not be left to later: a second.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The same, tried for a while: others write and look in between.
pub(super) fn checkpoint_soon(connection: &Connection) -> Result<bool, StoreFailure> {
    for _ in 1..TRIES {
        if checkpoint(connection)? {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    checkpoint(connection)
}

/// Pages given back to the file system at a time: moving them writes to the WAL, 4 MiB at most.
const GIVE_BACK_PAGES: u32 = 1024;

/// Gives free pages back to the file system; `true` if there are more of them. While somebody keeps the
/// WAL from being moved, nothing is given back: it would make the WAL larger instead.
pub(super) fn give_back(connection: &Connection) -> Result<bool, StoreFailure> {
    let free: u32 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    // Within a transaction of one's own nothing can be moved out of the WAL.
    if free == 0 || !connection.is_autocommit() || !checkpoint(connection)? {
        return Ok(false);
    }
    // Each row that it returns is a page.
    let mut statement =
        connection.prepare(&format!("PRAGMA incremental_vacuum({GIVE_BACK_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    drop(statement);
    Ok(checkpoint(connection)? && free > GIVE_BACK_PAGES)
}

/// Bytes that a database uses: what is in its WAL, and its pages except those that are free.
pub(super) fn used(
    directory: &Path,
    database: Database,
    connection: &Connection,
) -> Result<u64, StoreFailure> {
    let number = |name| {
        let number: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
        natural(number)
    };
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    let pages = pages.saturating_mul(number("page_size")?);
    let wal = std::fs::metadata(wal(directory, database)).map_or(0, |metadata| metadata.len());
    Ok(pages.saturating_add(wal))
}

/// Removes a queue file with what SQLite keeps beside it, durably. They may be gone already.
pub(super) fn remove_queue(directory: &Path, day: Day) -> Result<(), StoreFailure> {
    let name = Database::Queue(day).file_name();
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(directory.join(format!("{name}{suffix}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    sync_directory(directory)
}

/// Makes an empty file that only the owner can read.
pub(super) fn create_private(path: &Path) -> Result<(), StoreFailure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    Ok(())
}

/// Makes the directory's entries durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreFailure> {
    // Windows cannot open a directory as a file, and does not need to.
    #[cfg(unix)]
    std::fs::File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

/// The queue files in a directory, by day.
pub(crate) fn queue_days(directory: &Path) -> Result<Vec<Day>, StoreFailure> {
    let mut days = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let day = name
            .to_str()
            .and_then(|name| name.strip_prefix("queue-")?.strip_suffix(".db"))
            .and_then(|day| day.parse().ok());
        days.extend(day.map(Day::new));
    }
    days.sort_unstable();
    Ok(days)
}

/// The transaction that collects what one group commit makes durable.
#[derive(Default)]
pub(super) struct Batch {
    open: bool,
}

impl Batch {
    /// Opens it, if it is not open. Another process that writes is waited for, however long it takes:
    /// an operator's command that stands still is no reason to end.
    pub(super) fn begin(&mut self, connection: &Connection) -> Result<(), StoreFailure> {
        while !self.open {
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => self.open = true,
                Err(error) if error.sqlite_error_code() == Some(SqliteError::DatabaseBusy) => {
                    tracing::warn!(
                        "another process has been writing to the store for long; waiting"
                    );
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Commits it, if it is open.
    pub(super) fn commit(&mut self, connection: &Connection) -> Result<(), StoreFailure> {
        if self.open {
            connection.execute_batch("COMMIT")?;
            self.open = false;
        }
        Ok(())
    }
}
