//! A search of a whole store for damage.

use std::path::Path;

use rusqlite::Connection;
use undertone_wire::{Day, EnvelopeHash, MailboxId};

use super::queue::{natural, read_key};
use super::schema::{self, Database};
use crate::store::StoreFailure;

/// Faults that are named for one file; more are alike.
const FAULTS: usize = 100;

/// Searches all databases: their pages, the sums of their rows, every envelope. Beside a relay that
/// may be running. Each fault is a sentence, and says nothing about a client.
///
/// # Errors
/// [`StoreFailure`] if a database cannot be read at all.
pub(crate) fn check(directory: &Path) -> Result<Vec<String>, StoreFailure> {
    let mut faults = Vec::new();
    let mailboxes = database(directory, Database::Relay, &mut faults, mailbox_ids)?;
    let mailboxes = mailboxes.unwrap_or_default();
    let keys = schema::open_read_only(directory, Database::Keys)?;
    database(directory, Database::Keys, &mut faults, |_| Ok(()))?;
    for day in schema::queue_days(directory)? {
        let name = Database::Queue(day).file_name();
        match read_key(&keys, day) {
            Ok(Some(key)) => {
                let found = database(directory, Database::Queue(day), &mut faults, |queue| {
                    envelopes(queue, day, &key, &mailboxes)
                })?;
                faults.extend(found.into_iter().flatten().map(|fault| format!("{name}: {fault}")));
            }
            Ok(None) => faults.push(format!("{name}: there is no key for it")),
            Err(_) => faults.push(format!("{name}: its key is damaged")),
        }
    }
    Ok(faults)
}

/// Searches one database, and then does something with it; `None` if that found it unreadable.
fn database<T>(
    directory: &Path,
    database: Database,
    faults: &mut Vec<String>,
    then: impl FnOnce(&Connection) -> Result<T, StoreFailure>,
) -> Result<Option<T>, StoreFailure> {
    let name = database.file_name();
    let connection = match schema::open_read_only(directory, database) {
        Ok(connection) => connection,
        Err(failure) => {
            faults.push(format!("{name}: {failure}"));
            return Ok(None);
        }
    };
    let result = pages(&connection).and_then(|mut found| {
        found.extend(rows(&connection)?);
        Ok((found, then(&connection)?))
    });
    match result {
        Ok((found, value)) => {
            faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
            Ok(Some(value))
        }
        Err(failure) => {
            faults.push(format!("{name}: {failure}"));
            Ok(None)
        }
    }
}

/// What SQLite itself finds: pages, the order of keys, indexes against their tables.
fn pages(connection: &Connection) -> Result<Vec<String>, StoreFailure> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FAULTS})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut faults: Vec<String> = rows.collect::<Result<_, _>>()?;
    faults.retain(|fault| fault != "ok");
    Ok(faults)
}

/// Rows whose sums do not fit.
fn rows(connection: &Connection) -> Result<Vec<String>, StoreFailure> {
    let mut statement = connection.prepare(
        "SELECT m.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c
         WHERE m.type = 'table' AND c.name = 'intact' ORDER BY m.name",
    )?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut faults = Vec::new();
    for table in tables {
        let table = table?;
        // The name comes from this database's own schema.
        let quoted = table.replace('"', "\"\"");
        let sql = format!("SELECT count(*) FROM \"{quoted}\" WHERE intact IS NOT 1");
        let damaged: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        if damaged > 0 {
            faults.push(format!("{damaged} damaged rows in the table {table}"));
        }
    }
    Ok(faults)
}

fn mailbox_ids(relay: &Connection) -> Result<Vec<MailboxId>, StoreFailure> {
    let mut statement = relay.prepare("SELECT id FROM mailbox")?;
    let rows = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
    Ok(rows.map(|id| id.map(MailboxId::from_bytes)).collect::<Result<_, _>>()?)
}

/// Opens every envelope, and compares it with its mark.
fn envelopes(
    queue: &Connection,
    day: Day,
    key: &[u8; 32],
    mailboxes: &[MailboxId],
) -> Result<Vec<String>, StoreFailure> {
    let keys = super::keys::DayKeys::new(day, key)?;
    let (mut marks, mut bytes) = (0_u64, 0_u64);
    for mailbox in mailboxes {
        let mut statement = queue.prepare_cached(
            "SELECT seq, mark, sealed FROM envelope WHERE tag = ?1
                             UNION ALL SELECT seq, mark, NULL FROM known WHERE tag = ?1",
        )?;
        let mut rows = statement.query([keys.tag(*mailbox)])?;
        while let Some(row) = rows.next()? {
            let seq = natural(row.get(0)?)?;
            let mark = row.get_ref(1)?.as_bytes().ok().and_then(|mark| mark.try_into().ok());
            let hash = mark.and_then(|mark| keys.unmark(*mailbox, seq, mark));
            if hash.is_none() {
                marks = marks.saturating_add(1);
            }
            let Ok(Some(sealed)) = row.get_ref(2)?.as_blob_or_null() else { continue };
            let envelope = keys.open(*mailbox, seq, sealed);
            if envelope.is_none_or(|e| hash.is_some_and(|hash| hash != EnvelopeHash::of(&e))) {
                bytes = bytes.saturating_add(1);
            }
        }
    }
    let mut faults = Vec::new();
    if marks > 0 {
        faults.push(format!("{marks} envelopes whose marks are damaged"));
    }
    if bytes > 0 {
        faults.push(format!("{bytes} damaged envelopes"));
    }
    Ok(faults)
}

/// Id, length and hash of every blob that is announced.
pub(crate) fn blob_records(
    directory: &Path,
) -> Result<Vec<(undertone_wire::BlobId, u64, [u8; 32])>, StoreFailure> {
    let relay = schema::open_read_only(directory, Database::Relay)?;
    let mut statement = relay.prepare("SELECT id, length, hash FROM blob")?;
    let rows = statement.query_map([], |row| {
        Ok((undertone_wire::BlobId::from_bytes(row.get(0)?), row.get::<_, i64>(1)?, row.get(2)?))
    })?;
    rows.map(|row| row.map_err(StoreFailure::from).and_then(|(id, n, h)| Ok((id, natural(n)?, h))))
        .collect()
}
