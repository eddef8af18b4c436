//! Storage as the session layer sees it: ordered tables of bytes, changed in transactions.
//!
//! The SDK implements it over an encrypted SQLite database; [`MemoryStore`] is the model that
//! tests compare with. Everything that one call of the engine changes is in one transaction: it
//! is on stable storage, all of it, before the call returns, or nothing is.

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// What a table holds. The number is stable: it is part of the store's format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// Single values by name: profile, counters.
    Meta = 1,
    /// Contacts by number.
    Contacts = 2,
    /// Contact numbers by account fingerprint.
    Accounts = 3,
    /// Links by number.
    Links = 4,
    /// Private prekeys, and what is left of used ones, by link and bundle id.
    Prekeys = 5,
    /// Accepted transcripts by session id.
    Replay = 6,
    /// Ratchet states by session id.
    Sessions = 7,
    /// Mailboxes by id.
    Mailboxes = 8,
    /// Messages by place in the history.
    Messages = 9,
    /// Places in the history by contact.
    History = 10,
    /// Places in the history by message id: outgoing by id, incoming by contact and id.
    MessageIds = 11,
    /// What is to be sent, by contact and place.
    Outbox = 12,
    /// What was sent and is not yet acknowledged, by contact and message id.
    Unacknowledged = 13,
    /// Acknowledgements that are owed, by contact and message id.
    Acks = 14,
    /// Envelopes that nothing opened, by place.
    Parked = 15,
    /// The event log by place.
    Events = 16,
    /// Cursors into the event log by name.
    Cursors = 17,
    /// Files that go up or come down, by place of the message.
    Transfers = 18,
    /// Uses of links that have begun, by hash of the link.
    Takes = 19,
    /// Requests that relays are yet to answer, by number.
    Chores = 20,
    /// Read receipts that are owed, by contact and message id.
    Receipts = 21,
    /// What refers to a message that has not come yet, by contact and order of arrival.
    Early = 22,
    /// When messages disappear: places in the history by time.
    Erasures = 23,
    /// Received files whose message is gone, by contact and message id.
    Removals = 24,
    /// Incoming messages that were erased, by contact and message id: a repeat is not shown again.
    Gone = 25,
}

impl Table {
    /// Every table.
    pub const ALL: &[Self] = &[
        Self::Meta,
        Self::Contacts,
        Self::Accounts,
        Self::Links,
        Self::Prekeys,
        Self::Replay,
        Self::Sessions,
        Self::Mailboxes,
        Self::Messages,
        Self::History,
        Self::MessageIds,
        Self::Outbox,
        Self::Unacknowledged,
        Self::Acks,
        Self::Parked,
        Self::Events,
        Self::Cursors,
        Self::Transfers,
        Self::Takes,
        Self::Chores,
        Self::Receipts,
        Self::Early,
        Self::Erasures,
        Self::Removals,
        Self::Gone,
    ];

    /// The stable number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Why the store failed. Nothing of the transaction was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// A row is there and can't be read. It is never overwritten.
    Corrupt {
        /// Which, in words for a report.
        what: String,
    },
    /// The disk or the database refused.
    Failed {
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { what } => write!(f, "the store is damaged: {what} can't be read"),
            Self::Failed { reason } => write!(f, "the store can't be read or written: {reason}"),
        }
    }
}

impl core::error::Error for StoreError {}

/// A key and its value.
#[derive(PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value; wiped on drop.
    pub value: Zeroizing<Vec<u8>>,
}

/// Which end a scan starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

impl Order {
    /// Whether a scan in this order that goes on behind `from` gives this key.
    pub(crate) fn is_beyond(self, key: &[u8], from: Option<&[u8]>) -> bool {
        match (from, self) {
            (None, _) => true,
            (Some(from), Self::Ascending) => key > from,
            (Some(from), Self::Descending) => key < from,
        }
    }
}

/// Reads and writes of one transaction.
pub trait Transaction {
    /// The value under this key. Absent is `None`; unreadable is an error.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Sets the value under this key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes the value under this key, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// At most `limit` rows whose keys start with `prefix`, beyond `from` (exclusive, in the
    /// direction of `order`) if that is given.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// A store that runs transactions.
pub trait Store {
    /// Runs `work`; if it succeeds, all that it changed is on stable storage when this returns,
    /// and if it fails, or committing does, nothing is changed.
    ///
    /// # Errors
    /// Those of `work`, and [`StoreError`] of the commit.
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn Transaction) -> Result<T, E>;

    /// Makes sure that what earlier transactions deleted or overwrote is not in the store's files
    /// any more: neither in free space nor in a log. A store without files has nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be cleared is tried again with the next call.
    fn scrub(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store in memory: the model for tests, gone with the process.
#[derive(Default)]
pub struct MemoryStore {
    rows: BTreeMap<(Table, Vec<u8>), Zeroizing<Vec<u8>>>,
    /// What stood where something was changed in the transaction that runs, in order.
    undo: Vec<Undo>,
}

/// A key and what stood there.
type Undo = ((Table, Vec<u8>), Option<Zeroizing<Vec<u8>>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of everything, to put a store back to an earlier state in tests.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { rows: self.rows.clone(), undo: Vec::new() }
    }
}

/// The last key of those that start with `prefix`, exclusive; `None` if there is no such bound.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

impl Transaction for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let key = (table, key.to_vec());
        let before = self.rows.insert(key.clone(), Zeroizing::new(value.to_vec()));
        self.undo.push((key, before));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let key = (table, key.to_vec());
        let before = self.rows.remove(&key);
        self.undo.push((key, before));
        Ok(())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let start = match (from, order) {
            (Some(from), Order::Ascending) if from > prefix => from,
            _ => prefix,
        };
        let rows = self
            .rows
            .range((table, start.to_vec())..)
            .take_while(|((at, key), _)| *at == table && key.starts_with(prefix))
            .filter(|((_, key), _)| order.is_beyond(key, from));
        let row = |((_, key), value): (&(Table, Vec<u8>), &Zeroizing<Vec<u8>>)| Row {
            key: key.clone(),
            value: value.clone(),
        };
        Ok(match order {
            Order::Ascending => rows.map(row).take(limit).collect(),
            Order::Descending => {
                let rows: Vec<_> = rows.collect();
                rows.into_iter().rev().map(row).take(limit).collect()
            }
        })
    }
}

impl Store for MemoryStore {
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn Transaction) -> Result<T, E>,
    {
        self.undo.clear();
        let result = work(self);
        let undo = std::mem::take(&mut self.undo);
        if result.is_err() {
            for (key, before) in undo.into_iter().rev() {
                match before {
                    Some(value) => self.rows.insert(key, value),
                    None => self.rows.remove(&key),
                };
            }
        }
        result
    }
}
