//! What is stored of one mailbox, depot or blob, and its removal: for whoever proves to the operator
//! that it is theirs (GDPR Art. 15 and 17). What a secret or a key belongs to is all that the relay
//! can know; that the person asking is its holder is for the operator to judge.

use core::fmt;
use std::path::Path;

use rusqlite::{OptionalExtension as _, params};
use undertone_wire::ids::BlobReadCapability;
use undertone_wire::{
    BlobDeleteCapability, BlobId, Day, DepotId, FetchCapability, MailboxId, ReadKey,
    WriteCapability,
};

use super::{Layout, StoreDump, hex, inspect};
use crate::store::audit::{Action, Thing};
use crate::store::sqlite::schema::{Database, open_read_only, queue_days};
use crate::store::sqlite::{Opener, SqliteStore};
use crate::store::{Command, Store as _, StoreFailure};

/// By what something is named. Secrets in it are wiped when it is dropped.
pub enum Claim {
    /// A write capability (of a mailbox), a fetch capability (of a depot), or a read or delete
    /// capability (of a blob): whichever it is.
    Capability(WriteCapability),
    /// The public read key of a mailbox, or the public key of a depot's owner.
    Key(ReadKey),
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capability(_) => "Capability(..)",
            Self::Key(_) => "Key(..)",
        })
    }
}

impl Claim {
    /// A capability from 64 hexadecimal digits; `None` if it is something else.
    #[must_use]
    pub fn capability(text: &str) -> Option<Self> {
        Some(Self::Capability(WriteCapability::from_bytes(hex(text.trim())?)))
    }

    /// A key from 64 hexadecimal digits; `None` if it is something else.
    #[must_use]
    pub fn key(text: &str) -> Option<Self> {
        Some(Self::Key(ReadKey::from_bytes(hex(text.trim())?)))
    }
}

/// What a claim names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Mailbox(MailboxId),
    Depot(DepotId),
    Blob(BlobId),
}

impl Subject {
    const fn thing(subject: Option<Self>) -> Thing {
        match subject {
            Some(Self::Mailbox(_)) => Thing::Mailbox,
            Some(Self::Depot(_)) => Thing::Depot,
            Some(Self::Blob(_)) => Thing::Blob,
            None => Thing::Nothing,
        }
    }
}

fn find(store: &Path, claim: &Claim) -> Result<Option<Subject>, StoreFailure> {
    let db = open_read_only(store, Database::Relay)?;
    let one = |sql: &str, value: [u8; 32]| {
        db.query_row(sql, [value], |row| row.get::<_, [u8; 32]>(0)).optional()
    };
    let (mailbox, depot, blob) = match claim {
        Claim::Capability(secret) => {
            let bytes = *secret.as_bytes();
            let depot = FetchCapability::from_bytes(bytes).depot();
            let read = BlobReadCapability::from_bytes(bytes).hash();
            let delete = BlobDeleteCapability::from_bytes(bytes).hash();
            let blob = db
                .query_row(
                    "SELECT id FROM blob WHERE read = ?1 OR del = ?2",
                    params![read.as_bytes(), delete.as_bytes()],
                    |row| row.get::<_, [u8; 32]>(0),
                )
                .optional()?;
            let sql = "SELECT mailbox FROM capability WHERE hash = ?1";
            let mailbox = one(sql, *secret.hash().as_bytes())?;
            (mailbox, one("SELECT id FROM depot WHERE id = ?1", *depot.as_bytes())?, blob)
        }
        Claim::Key(key) => (
            one("SELECT id FROM mailbox WHERE id = ?1", *key.mailbox().as_bytes())?,
            one("SELECT id FROM depot WHERE owner = ?1", *key.as_bytes())?,
            None,
        ),
    };
    Ok(mailbox
        .map(|id| Subject::Mailbox(MailboxId::from_bytes(id)))
        .or_else(|| depot.map(|id| Subject::Depot(DepotId::from_bytes(id))))
        .or_else(|| blob.map(|id| Subject::Blob(BlobId::from_bytes(id)))))
}

/// Everything that is stored of what a claim names; the relay may be running. The operator's log
/// says that it was asked for.
///
/// # Errors
/// [`StoreFailure`].
pub fn export(
    directory: &Path,
    today: Day,
    claim: &Claim,
) -> Result<(Thing, StoreDump), StoreFailure> {
    let layout = Layout::new(directory);
    let store = layout.store();
    let subject = find(&store, claim)?;
    let thing = Subject::thing(subject);
    super::record(directory, today, Action::Exported(thing))?;
    let mut dump = StoreDump::default();
    match subject {
        Some(Subject::Mailbox(id)) => mailbox(&store, id, &mut dump)?,
        Some(Subject::Depot(id)) => {
            let db = open_read_only(&store, Database::Relay)?;
            for (table, condition) in [("depot", "id = ?1"), ("bundle", "depot = ?1")] {
                let rows =
                    inspect::select(&db, Database::Relay, table, condition, &[id.as_bytes()])?;
                dump.tables.push(rows);
            }
        }
        Some(Subject::Blob(id)) => {
            let db = open_read_only(&store, Database::Relay)?;
            let rows = inspect::select(&db, Database::Relay, "blob", "id = ?1", &[id.as_bytes()])?;
            dump.tables.push(rows);
            let name = id.to_string();
            let files = inspect::files("blobs", &layout.blobs(), |file| file.starts_with(&name))?;
            dump.tables.push(files);
        }
        None => {}
    }
    Ok((thing, dump))
}

fn mailbox(store: &Path, id: MailboxId, dump: &mut StoreDump) -> Result<(), StoreFailure> {
    let db = open_read_only(store, Database::Relay)?;
    for (table, condition) in [("mailbox", "id = ?1"), ("capability", "mailbox = ?1")] {
        let rows = inspect::select(&db, Database::Relay, table, condition, &[id.as_bytes()])?;
        dump.tables.push(rows);
    }
    let keys = open_read_only(store, Database::Keys)?;
    for day in queue_days(store)? {
        let Some(opener) = Opener::new(&keys, day)? else { continue };
        let (which, tag) = (Database::Queue(day), opener.tag(id));
        let queue = open_read_only(store, which)?;
        for table in ["envelope", "known", "floor"] {
            let mut rows = [inspect::select(&queue, which, table, "tag = ?1", &[&tag])?];
            inspect::unwrap_queue(&mut rows, &keys, day, &[id])?;
            dump.tables.extend(rows.into_iter().filter(|table| table.count > 0));
        }
    }
    Ok(())
}

/// Removes what a claim names; the relay may be running. The operator's log says that something of
/// that kind was removed, and not what.
///
/// What is deleted is overwritten: records at once, envelopes in their files too, as far as no
/// reader holds an earlier state; at the latest they are unreadable when their day's key goes.
/// Backups keep what they hold.
///
/// # Errors
/// [`StoreFailure`].
pub fn erase(directory: &Path, today: Day, claim: &Claim) -> Result<Thing, StoreFailure> {
    let layout = Layout::new(directory);
    let subject = find(&layout.store(), claim)?;
    let thing = Subject::thing(subject);
    let mut store = SqliteStore::open_records_only(&layout.store())?;
    let erased = Command::Audit(Action::Erased(thing));
    match subject {
        Some(Subject::Mailbox(id)) => store.erase_mailbox(today, id, erased)?,
        Some(Subject::Depot(id)) => store.erase_record(today, "depot", id.as_bytes(), erased)?,
        Some(Subject::Blob(id)) => {
            store.erase_record(today, "blob", id.as_bytes(), erased)?;
            for name in [id.to_string(), format!("{id}.part")] {
                match std::fs::remove_file(layout.blobs().join(name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
            crate::store::sqlite::schema::sync_directory(&layout.blobs())?;
            // Not before they are gone: a running relay counts what is left.
            store.count_erasure()?;
        }
        None => {
            store.commit(today, &[erased])?;
        }
    }
    Ok(thing)
}
