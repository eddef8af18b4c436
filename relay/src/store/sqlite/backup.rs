//! Copies of a store, taken beside a relay that may be running; and a store made from one.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode as SqliteError};
use undertone_wire::{BlobId, Day, Incarnation};

use super::queue::read_key;
use super::schema::{self, Database, Upgrading};
use super::{SqliteStore, sums};
use crate::store::audit::Action;
use crate::store::{Command, Store as _, StoreFailure};

/// How often, and after what pause, the moment between two batches is looked for. A relay under
/// load has one every few milliseconds; after ten seconds something else holds the lock.
const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(10);

/// The key of a day.
pub(crate) type DayKey = (Day, [u8; 32]);

/// A state of all databases that was the state of all of them at one moment.
pub(crate) struct Snapshot {
    relay: Connection,
    queues: Vec<(Day, Connection)>,
    keys: Vec<DayKey>,
}

/// What a store's lock says.
enum Locked {
    Yes,
    Busy,
}

fn try_lock(connection: &Connection) -> Result<Locked, StoreFailure> {
    match connection.execute_batch("BEGIN IMMEDIATE") {
        Ok(()) => Ok(Locked::Yes),
        Err(error) if error.sqlite_error_code() == Some(SqliteError::DatabaseBusy) => {
            Ok(Locked::Busy)
        }
        Err(error) => Err(error.into()),
    }
}

/// A connection that sees the present state for as long as it lives.
fn look(directory: &Path, database: Database) -> Result<Connection, StoreFailure> {
    let connection = schema::open_read_only(directory, database)?;
    connection.execute_batch("BEGIN")?;
    // The state is taken with the first read.
    let _: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(connection)
}

impl Snapshot {
    /// Takes a snapshot. The relay's writer waits for some milliseconds.
    ///
    /// All files that a batch may write to are locked, without waiting for one while another is
    /// held, since the writer may hold them in another order. Between two batches all files are of one
    /// state. Which queue file is in use can't be told from their days: after a shorter retention, or
    /// a clock that jumped ahead and back, it is not the last.
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreFailure> {
        schema::check_sqlite()?;
        let records = schema::open_there(directory, Database::Relay)?;
        records.busy_timeout(Duration::ZERO)?;
        for _ in 0..TRIES {
            if let Locked::Yes = try_lock(&records)? {
                let taken = Self::under_lock(directory);
                records.execute_batch("ROLLBACK")?;
                if let Some(snapshot) = taken? {
                    return Ok(snapshot);
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err(StoreFailure::InUse)
    }

    /// `None` if a queue file is being written to.
    pub(super) fn under_lock(directory: &Path) -> Result<Option<Self>, StoreFailure> {
        let days = schema::queue_days(directory)?;
        // Being dropped, a connection ends its transaction.
        let mut locks = Vec::new();
        for day in &days {
            let queue = match schema::open_there(directory, Database::Queue(*day)) {
                // It is just being made: a new day has begun.
                Err(StoreFailure::Version(0)) => return Ok(None),
                other => other?,
            };
            queue.busy_timeout(Duration::ZERO)?;
            if let Locked::Busy = try_lock(&queue)? {
                return Ok(None);
            }
            locks.push(queue);
        }
        let relay = look(directory, Database::Relay)?;
        let mut queues = Vec::new();
        for day in days {
            queues.push((day, look(directory, Database::Queue(day))?));
        }
        let database = schema::open_read_only(directory, Database::Keys)?;
        let mut keys = Vec::new();
        for (day, _) in &queues {
            // None: the day has passed, and its file is about to go.
            keys.extend(read_key(&database, *day)?.map(|key| (*day, key)));
        }
        queues.retain(|(day, _)| keys.iter().any(|(live, _)| live == day));
        drop(locks);
        Ok(Some(Self { relay, queues, keys }))
    }

    /// The keys of the days that it has files of.
    pub(crate) fn keys(&self) -> &[DayKey] {
        &self.keys
    }

    /// The blobs that are announced in it.
    pub(crate) fn blobs(&self) -> Result<Vec<BlobId>, StoreFailure> {
        let mut statement = self.relay.prepare("SELECT id FROM blob ORDER BY id")?;
        let rows = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
        Ok(rows.map(|id| id.map(BlobId::from_bytes)).collect::<Result<_, _>>()?)
    }

    /// Writes its databases, except the keys, into a directory; names the files. Each is let go as
    /// soon as it is copied: as long as somebody looks at a file, its WAL grows.
    pub(crate) fn write(self, directory: &Path) -> Result<Vec<String>, StoreFailure> {
        let queues = self.queues.into_iter().map(|(day, queue)| (Database::Queue(day), queue));
        let all = std::iter::once((Database::Relay, self.relay)).chain(queues);
        let mut names = Vec::new();
        for (database, source) in all {
            let path = directory.join(database.file_name());
            schema::create_private(&path)?;
            let mut target = Connection::open(&path)?;
            // The source's transaction is what is copied, whatever was written since.
            if Backup::new(&source, &mut target)?.step(-1)? != StepResult::Done {
                return Err(StoreFailure::InUse);
            }
            drop(source);
            // One file, without a WAL beside it, durable.
            target.pragma_update(None, "journal_mode", "DELETE")?;
            target.close().map_err(|(_, error)| error)?;
            std::fs::File::open(&path)?.sync_all()?;
            names.push(database.file_name());
        }
        schema::sync_directory(directory)?;
        Ok(names)
    }
}

/// What became of a store that was restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revived {
    pub(crate) incarnation: Incarnation,
    /// Queue files that there is a key for, and others, which were left out.
    pub(crate) readable: usize,
    pub(crate) unreadable: usize,
    pub(crate) depots: usize,
}

impl SqliteStore {
    /// Makes a store of the databases that [`Snapshot::write`] wrote, in place: with these keys, a
    /// new incarnation, and empty depots. Queue files without a key are removed.
    pub(crate) fn revive(
        directory: &Path,
        today: Day,
        keys: &[DayKey],
    ) -> Result<Revived, StoreFailure> {
        let database = schema::open(directory, Database::Keys, Upgrading::Yes)?;
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for day in schema::queue_days(directory)? {
            match keys.iter().find(|(with, _)| *with == day) {
                Some((_, key)) => {
                    database.execute(
                        "INSERT INTO day_key (day, key) VALUES (?1, ?2)",
                        rusqlite::params![day.get(), key],
                    )?;
                    readable.push(day);
                }
                None => {
                    schema::remove_queue(directory, day)?;
                    unreadable.push(day);
                }
            }
        }
        schema::checkpoint_overwriting(directory, Database::Keys, &database)?;
        drop(database);
        let mut store = Self::open_with(directory, Upgrading::Yes)?;
        for day in store.records.high_water_days()? {
            store.records.forget_high_water(day)?;
        }
        for day in store.records.removals()? {
            store.records.end_removal(day)?;
        }
        let depots = store.records.empty_depots()?;
        for day in &readable {
            store.open_queue(*day)?;
        }
        let incarnation = store.records.new_incarnation()?;
        store.incarnation = incarnation;
        store.commit(today, &[Command::Audit(Action::Restored)])?;
        // Notes the marks of the queue files.
        Box::new(store).close()?;
        let (readable, unreadable) = (readable.len(), unreadable.len());
        Ok(Revived { incarnation, readable, unreadable, depots })
    }
}

/// A database that a backup holds, opened to see whether it is one.
pub(crate) fn is_whole(path: &Path) -> Result<bool, StoreFailure> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags)?;
    sums::register(&connection)?;
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(answer == "ok")
}
