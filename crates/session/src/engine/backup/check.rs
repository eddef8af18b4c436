//! Whether a backup could be restored, without restoring it.

use undertone_core::rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::restore::{Restored, Restorer};
use crate::backup::Record;
use crate::engine::EngineError;
use crate::ids::UnixMillis;
use crate::store::{MemoryStore, Order, Row, Store, StoreError, Table, Transaction};

/// Takes the records of a backup, in their order, and holds them against each other as a restore would.
/// Keeps of each message little more than its id.
pub struct BackupCheck<R> {
    restorer: Restorer<Outline, R>,
}

impl<R: CryptoRng> BackupCheck<R> {
    /// Begins.
    #[must_use]
    pub fn new(rng: R, now: UnixMillis) -> Self {
        Self { restorer: Restorer::new(Outline::default(), rng, now) }
    }

    /// Takes records.
    ///
    /// # Errors
    /// [`EngineError::Backup`] with R-1411.
    pub fn put(&mut self, records: Vec<Record>) -> Result<(), EngineError> {
        self.restorer.put(records)
    }

    /// All records were taken.
    ///
    /// # Errors
    /// [`EngineError::Backup`] with R-1411.
    pub fn finish(mut self) -> Result<Restored, EngineError> {
        Ok(self.restorer.whole()?.1)
    }
}

/// A store that keeps what the records of a backup are compared with: single values, and of all else
/// which keys there are.
#[derive(Default)]
struct Outline {
    rows: MemoryStore,
}

impl Transaction for Outline {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.rows.get(table, key)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match table {
            Table::Meta => self.rows.put(table, key, value),
            Table::Accounts | Table::MessageIds => self.rows.put(table, key, &[]),
            _ => Ok(()),
        }
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.rows.delete(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(table, prefix, from, order, limit)
    }
}

impl Store for Outline {
    /// Nothing is taken back: after an error nothing is asked any more.
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn Transaction) -> Result<T, E>,
    {
        self.rows.transaction(|_| Ok::<(), StoreError>(()))?;
        work(self)
    }
}
