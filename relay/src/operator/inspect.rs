//! Shows everything that is stored, read from the real tables; envelopes unwrapped as far as the
//! relay itself could.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;
use undertone_wire::{Day, MailboxId};

use super::Layout;
use crate::store::StoreFailure;
use crate::store::sqlite::Opener;
use crate::store::sqlite::schema::{Database, open_read_only, queue_days};

/// All that a relay stores.
#[derive(Clone, Debug, Default)]
pub struct StoreDump {
    /// Tables of all databases, and `blobs`, which are files.
    pub tables: Vec<Table>,
}

/// A table with its rows.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file it is in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Its columns, as the table really has them.
    pub columns: Vec<String>,
    /// How many rows it has.
    pub count: usize,
    /// The rows that were asked for.
    pub rows: Vec<Record>,
}

/// A row: fields in the order of the columns, then what could be unwrapped from them.
#[derive(Clone, Debug)]
pub struct Record {
    /// The fields.
    pub fields: Vec<Field>,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Field {
    /// The column, or a name in brackets for what was unwrapped.
    pub name: String,
    /// Its bytes: blobs and text as they are, integers in decimal, NULL as nothing.
    pub bytes: Vec<u8>,
    /// Whether the bytes are text (else they are shown in hexadecimal).
    pub is_text: bool,
}

impl Field {
    fn new(name: &str, value: Value) -> Self {
        let (bytes, is_text) = match value {
            Value::Null => (Vec::new(), true),
            Value::Integer(n) => (n.to_string().into_bytes(), true),
            Value::Real(n) => (n.to_string().into_bytes(), true),
            Value::Text(text) => (text.into_bytes(), true),
            Value::Blob(bytes) => (bytes, false),
        };
        Self { name: name.to_owned(), bytes, is_text }
    }

    /// The value for people.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.is_text {
            String::from_utf8_lossy(&self.bytes).into_owned()
        } else {
            self.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

impl Record {
    fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.shown().parse().ok()
    }
}

/// Reads everything in a relay's directory; the relay may be running.
///
/// # Errors
/// [`StoreFailure`].
pub fn inspect(directory: &Path) -> Result<StoreDump, StoreFailure> {
    let layout = Layout::new(directory);
    let store = layout.store();
    let mut dump = StoreDump::default();
    let relay = open_read_only(&store, Database::Relay)?;
    tables(&relay, Database::Relay, Wanted::Rows, &mut dump)?;
    let mailboxes = mailbox_ids(&relay)?;
    let keys = open_read_only(&store, Database::Keys)?;
    tables(&keys, Database::Keys, Wanted::Rows, &mut dump)?;
    for day in queue_days(&store)? {
        let queue = open_read_only(&store, Database::Queue(day))?;
        let first = dump.tables.len();
        tables(&queue, Database::Queue(day), Wanted::Rows, &mut dump)?;
        let fresh = dump.tables.get_mut(first..).unwrap_or_default();
        unwrap_queue(fresh, &keys, day, &mailboxes)?;
    }
    dump.tables.push(blob_files(&layout)?);
    Ok(dump)
}

/// The tables of all databases without their rows, and the blobs' files.
pub(super) fn columns(directory: &Path) -> Result<StoreDump, StoreFailure> {
    let layout = Layout::new(directory);
    let store = layout.store();
    let mut dump = StoreDump::default();
    for database in [Database::Relay, Database::Keys] {
        tables(&open_read_only(&store, database)?, database, Wanted::Columns, &mut dump)?;
    }
    for day in queue_days(&store)? {
        let database = Database::Queue(day);
        tables(&open_read_only(&store, database)?, database, Wanted::Columns, &mut dump)?;
    }
    dump.tables.push(blob_files(&layout)?);
    Ok(dump)
}

/// What of a table is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Columns,
    Rows,
}

fn tables(
    db: &Connection,
    which: Database,
    wanted: Wanted,
    dump: &mut StoreDump,
) -> Result<(), StoreFailure> {
    let mut statement =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        let filter = if wanted == Wanted::Rows { "1" } else { "0" };
        let mut table = select(db, which, &name, filter, &[])?;
        if wanted == Wanted::Columns {
            // The name comes from this database's own schema.
            let quoted = name.replace('"', "\"\"");
            let count = format!("SELECT count(*) FROM \"{quoted}\"");
            let count: i64 = db.query_row(&count, [], |row| row.get(0))?;
            table.count = usize::try_from(count).unwrap_or(usize::MAX);
        }
        dump.tables.push(table);
    }
    Ok(())
}

/// The rows of a table for which a condition holds.
pub(super) fn select(
    db: &Connection,
    which: Database,
    name: &str,
    condition: &'static str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Table, StoreFailure> {
    // The name comes from this database's own schema.
    let quoted = name.replace('"', "\"\"");
    let mut statement = db.prepare(&format!("SELECT * FROM \"{quoted}\" WHERE {condition}"))?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = Vec::new();
    let mut found = statement.query(parameters)?;
    while let Some(row) = found.next()? {
        let mut fields = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            fields.push(Field::new(column, row.get(index)?));
        }
        rows.push(Record { fields });
    }
    let count = rows.len();
    Ok(Table { file: which.file_name(), name: name.to_owned(), columns, count, rows })
}

fn mailbox_ids(relay: &Connection) -> Result<Vec<MailboxId>, StoreFailure> {
    let mut statement = relay.prepare("SELECT id FROM mailbox")?;
    let rows = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
    Ok(rows.map(|id| id.map(MailboxId::from_bytes)).collect::<Result<_, _>>()?)
}

/// Adds what the day key shows: which mailbox a tag is, the envelope's hash, the envelope.
pub(super) fn unwrap_queue(
    tables: &mut [Table],
    keys: &Connection,
    day: Day,
    mailboxes: &[MailboxId],
) -> Result<(), StoreFailure> {
    let Some(opener) = Opener::new(keys, day)? else { return Ok(()) };
    let by_tag: HashMap<[u8; 16], MailboxId> =
        mailboxes.iter().map(|id| (opener.tag(*id), *id)).collect();
    for row in tables.iter_mut().flat_map(|table| &mut table.rows) {
        let tag = row.get("tag").and_then(|tag| <[u8; 16]>::try_from(tag.bytes.as_slice()).ok());
        let Some(mailbox) = tag.and_then(|tag| by_tag.get(&tag)) else { continue };
        let mut more = vec![Field::new("(mailbox)", Value::Blob(mailbox.as_bytes().to_vec()))];
        if let (Some(seq), Some(mark)) = (row.number("seq"), row.get("mark"))
            && let Ok(mark) = mark.bytes.as_slice().try_into()
        {
            if let Some(hash) = opener.hash(*mailbox, seq, mark) {
                more.push(Field::new("(hash)", Value::Blob(hash.to_vec())));
            }
            let sealed = row.get("sealed").filter(|sealed| !sealed.bytes.is_empty());
            if let Some(envelope) = sealed.and_then(|s| opener.open(*mailbox, seq, &s.bytes)) {
                more.push(Field::new("(envelope)", Value::Blob(envelope)));
            }
        }
        row.fields.append(&mut more);
    }
    Ok(())
}

/// Names and sizes of the blobs' files; their bytes can be read there.
fn blob_files(layout: &Layout) -> Result<Table, StoreFailure> {
    files("blobs", &layout.blobs(), |_| true)
}

/// What is in the relay's directory and is neither a database nor a blob.
pub(super) fn other_files(layout: &Layout) -> Result<Table, StoreFailure> {
    let mut all = files("files", &layout.root, |_| true)?;
    let store = files("files", &layout.store(), |name| !name.contains(".db"))?;
    all.rows.extend(store.rows);
    all.count = all.rows.len();
    Ok(all)
}

pub(super) fn files(
    name: &str,
    directory: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Table, StoreFailure> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() && wanted(&file) => metadata,
            // A directory, or removed meanwhile.
            _ => continue,
        };
        let length = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
        rows.push(Record {
            fields: vec![
                Field::new("file", Value::Text(file)),
                Field::new("bytes", Value::Integer(length)),
            ],
        });
    }
    let columns = vec!["file".to_owned(), "bytes".to_owned()];
    Ok(Table { file: name.into(), name: name.into(), columns, count: rows.len(), rows })
}
