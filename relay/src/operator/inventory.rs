//! What is kept, why and for how long: the record of processing that GDPR Art. 30 asks for, made
//! from the tables that are really there.

use std::path::Path;

use super::{Layout, StoreDump, inspect};
use crate::store::StoreFailure;

/// Everything that is kept.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Tables of the databases, and files.
    pub entries: Vec<InventoryEntry>,
}

/// A table, or a kind of file.
#[derive(Clone, Debug)]
pub struct InventoryEntry {
    /// Where it is.
    pub file: String,
    /// Its name.
    pub table: String,
    /// How many rows or files there are.
    pub rows: usize,
    /// What it is kept for.
    pub purpose: &'static str,
    /// Until when.
    pub kept: &'static str,
    /// Its columns, each with what it is.
    pub fields: Vec<(String, &'static str)>,
}

/// What is said of a table or a column that this version knows nothing about. There is none: a test
/// compares what follows with the real tables.
pub const UNDESCRIBED: &str = "NOT DESCRIBED: report this as a fault";

/// A table: file, name, purpose, how long it is kept.
type About = (&'static str, &'static str, &'static str, &'static str);

const DELETED: &str = "until its owner deletes it, or 180 days after its owner last came";

const TABLES: &[About] = &[
    ("relay.db", "meta", "running the relay", "as long as the relay"),
    ("relay.db", "mailbox", "knowing where envelopes go and who may fetch them", DELETED),
    (
        "relay.db",
        "capability",
        "knowing which mailbox a sender may write to",
        "until revoked, or as long as its mailbox",
    ),
    (
        "relay.db",
        "depot",
        "handing out prekey bundles to holders of a link",
        "until its expiry day (at most 30 days), or until its owner deletes it",
    ),
    (
        "relay.db",
        "bundle",
        "handing out prekey bundles to holders of a link",
        "until handed out, or as long as its depot",
    ),
    (
        "relay.db",
        "blob",
        "storing encrypted files for their recipients",
        "until its expiry day (at most 30 days), or until deleted with its capability",
    ),
    (
        "relay.db",
        "token",
        "admitting those who may create mailboxes, within quotas",
        "until the operator revokes it",
    ),
    ("relay.db", "audit", "showing what operators did", "as long as the relay"),
    ("relay.db", "sqlite_sequence", "SQLite's own bookkeeping", "as long as the relay"),
    (
        "queue.db",
        "envelope",
        "storing envelopes until their recipient has them",
        "until acknowledged; else unreadable when its day's key is destroyed, two days after the expiry day (retention: at most 30 days)",
    ),
    (
        "queue.db",
        "known",
        "recognising an envelope that is delivered again after its recipient has it",
        "until the mailbox has had 64 newer ones; else as its queue file",
    ),
    ("queue.db", "floor", "knowing what a recipient has acknowledged", "as its queue file"),
    ("queue.db", "sqlite_sequence", "SQLite's own bookkeeping", "as its queue file"),
    (
        "keys.db",
        "day_key",
        "making a day's queue file unreadable when the day has passed",
        "until two days after the day",
    ),
    ("blobs", "blobs", "the bytes of encrypted files", "as their rows in the table blob"),
    ("files", "files", "running the relay", "as long as the relay"),
];

/// A column: file, table, name, what it is.
type Column = (&'static str, &'static str, &'static str, &'static str);

const SUM: &str = "a sum over the row, against damage of the disk";
const INTACT: &str = "computed when read: whether the sum fits";

const COLUMNS: &[Column] = &[
    ("relay.db", "meta", "name", "name of a value of the relay's own"),
    (
        "relay.db",
        "meta",
        "value",
        "incarnation, clock of removal, number of erasures, marks of queue files",
    ),
    (
        "relay.db",
        "mailbox",
        "id",
        "hash of the read key: a pseudonym that the owner chose for this mailbox alone",
    ),
    ("relay.db", "mailbox", "key", "public read key"),
    ("relay.db", "mailbox", "kind", "kind of mailbox"),
    ("relay.db", "mailbox", "expires", "day on which it goes unless its owner comes"),
    ("relay.db", "mailbox", "max_envelopes", "limit set by the owner"),
    ("relay.db", "mailbox", "max_bytes", "limit set by the owner"),
    (
        "relay.db",
        "mailbox",
        "acknowledged",
        "number up to which the owner has stored its envelopes",
    ),
    ("relay.db", "mailbox", "expired", "number up to which envelopes have expired"),
    ("relay.db", "capability", "hash", "hash of a secret that lets its holder write"),
    ("relay.db", "capability", "mailbox", "which mailbox it writes to"),
    ("relay.db", "depot", "id", "hash of a secret that a link holds"),
    ("relay.db", "depot", "owner", "public key of the depot's owner"),
    ("relay.db", "depot", "expires", "expiry day"),
    ("relay.db", "depot", "last_resort", "sealed prekey bundle"),
    ("relay.db", "depot", "last_take", "random id of the last take, so that it can be repeated"),
    ("relay.db", "depot", "last_bundle", "sealed prekey bundle that the last take got"),
    ("relay.db", "bundle", "position", "order in which bundles are handed out"),
    ("relay.db", "bundle", "depot", "which depot"),
    ("relay.db", "bundle", "sealed", "sealed prekey bundle"),
    ("relay.db", "blob", "id", "random id"),
    ("relay.db", "blob", "read", "hash of a secret that lets its holder read"),
    ("relay.db", "blob", "del", "hash of a secret that lets its holder delete"),
    ("relay.db", "blob", "length", "length of the encrypted file, padded by the sender"),
    ("relay.db", "blob", "hash", "hash of the encrypted file"),
    ("relay.db", "blob", "expires", "expiry day"),
    ("relay.db", "token", "id", "the operator's number for it"),
    ("relay.db", "token", "verifier", "hash of the token"),
    ("relay.db", "token", "class", "class, which has quotas"),
    ("relay.db", "token", "day", "day that the counters are of"),
    (
        "relay.db",
        "token",
        "mailboxes",
        "how many mailboxes and depots were made with it on that day",
    ),
    (
        "relay.db",
        "token",
        "blob_bytes",
        "how many bytes of blobs were announced with it on that day",
    ),
    ("relay.db", "audit", "number", "number of the entry"),
    ("relay.db", "audit", "day", "day of the entry"),
    ("relay.db", "audit", "action", "what the operator did"),
    ("relay.db", "audit", "detail", "kind of thing it was done with, never which"),
    ("relay.db", "audit", "hash", "hash over the entry and the one before it"),
    ("relay.db", "sqlite_sequence", "name", "name of a table"),
    ("relay.db", "sqlite_sequence", "seq", "largest row number that it ever had"),
    ("queue.db", "envelope", "arrival", "row number"),
    ("queue.db", "envelope", "tag", "which mailbox, readable with the day's key alone"),
    ("queue.db", "envelope", "seq", "number in its mailbox"),
    ("queue.db", "envelope", "mark", "hash of the envelope, readable with the day's key alone"),
    (
        "queue.db",
        "envelope",
        "sealed",
        "the envelope: encrypted by its sender, and again with the day's key",
    ),
    ("queue.db", "known", "tag", "which mailbox, readable with the day's key alone"),
    ("queue.db", "known", "seq", "number in its mailbox"),
    ("queue.db", "known", "mark", "hash of an envelope, readable with the day's key alone"),
    ("queue.db", "floor", "tag", "which mailbox, readable with the day's key alone"),
    ("queue.db", "floor", "acknowledged", "number up to which the owner has stored its envelopes"),
    ("queue.db", "sqlite_sequence", "name", "name of a table"),
    ("queue.db", "sqlite_sequence", "seq", "largest row number that it ever had"),
    ("keys.db", "day_key", "day", "expiry day"),
    ("keys.db", "day_key", "key", "random key of that day's queue file: the relay's own secret"),
    ("blobs", "blobs", "file", "the blob's id"),
    ("blobs", "blobs", "bytes", "length"),
    (
        "files",
        "files",
        "file",
        "root key, keys of tickets and of the transport, address, lock, end of the audit log: nothing about clients",
    ),
    ("files", "files", "bytes", "length"),
];

/// What is in memory only, and gone with the process.
pub const IN_MEMORY: &str = "connections with their addresses, rate counters, subscriptions, how much of a mailbox came with which capability";

/// What is never kept, for whoever asks.
pub const NEVER_KEPT: &str = "addresses of clients; names, account keys and device keys; who wrote what; which token made \
what; times finer than a day; the content of envelopes, bundles and files in readable form";

fn describe(file: &str, table: &str, column: &str) -> &'static str {
    // R-1201: what stands in no table of this file is told as a fault.
    let own = COLUMNS.iter().find(|(f, t, c, _)| (*f, *t, *c) == (file, table, column));
    match (own, column) {
        (Some((_, _, _, what)), _) => what,
        (None, "sum") => SUM,
        (None, "intact") => INTACT,
        // What `inspect` unwraps for people; not stored.
        (None, unwrapped) if unwrapped.starts_with('(') => {
            "not stored: computed from the row with the day's key"
        }
        (None, _) => UNDESCRIBED,
    }
}

/// Makes the inventory of a relay's directory; the relay may be running.
///
/// # Errors
/// [`StoreFailure`].
pub fn inventory(directory: &Path) -> Result<Inventory, StoreFailure> {
    let mut dump = inspect::columns(directory)?;
    dump.tables.push(inspect::other_files(&Layout::new(directory))?);
    Ok(Inventory { entries: entries(&dump) })
}

fn entries(dump: &StoreDump) -> Vec<InventoryEntry> {
    let mut entries: Vec<InventoryEntry> = Vec::new();
    for table in &dump.tables {
        let is_queue = table.file.starts_with("queue-");
        let file = if is_queue { "queue.db" } else { table.file.as_str() };
        // Queue files have the same tables each day: one entry for all.
        if let Some(entry) = entries.iter_mut().find(|e| e.file == file && e.table == table.name) {
            entry.rows = entry.rows.saturating_add(table.count);
            continue;
        }
        let about = TABLES.iter().find(|(f, t, ..)| *f == file && *t == table.name);
        let (purpose, kept) = about.map_or((UNDESCRIBED, UNDESCRIBED), |(_, _, p, k)| (*p, *k));
        let fields =
            table.columns.iter().map(|name| (name.clone(), describe(file, &table.name, name)));
        entries.push(InventoryEntry {
            file: file.to_owned(),
            table: table.name.clone(),
            rows: table.count,
            purpose,
            kept,
            fields: fields.collect(),
        });
    }
    entries
}
