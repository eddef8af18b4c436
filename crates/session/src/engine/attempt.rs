//! Work that may fail within a transaction: of what fails nothing is kept, and the transaction goes
//! on. So one envelope that the engine can't take up does not stand in the way of those behind it.

use core::cell::Cell;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::EngineError;
use crate::store::{Order, Row, StoreError, Table, Transaction};

/// What is written; `None` for what is deleted.
type Written = BTreeMap<(Table, Vec<u8>), Option<Zeroizing<Vec<u8>>>>;

/// A transaction within a transaction: reads what it has written itself, and writes it through at the
/// end or never.
struct Attempt<'a> {
    inner: &'a dyn Transaction,
    written: Written,
    /// The store itself has failed, or is damaged: no fault of what is attempted.
    broken: Cell<bool>,
}

impl Attempt<'_> {
    fn of_the_store<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.broken.set(self.broken.get() || result.is_err());
        result
    }
}

impl Transaction for Attempt<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match self.written.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.of_the_store(self.inner.get(table, key)),
        }
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.written.insert((table, key.to_vec()), Some(Zeroizing::new(value.to_vec())));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.written.insert((table, key.to_vec()), None);
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
        let written: Vec<_> = self
            .written
            .range((table, prefix.to_vec())..)
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .filter(|((_, key), _)| order.is_beyond(key, from))
            .collect();
        // As many more as may be deleted here.
        let enough = limit.saturating_add(written.len());
        let rows = self.of_the_store(self.inner.scan(table, prefix, from, order, enough))?;
        let mut merged: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>> =
            rows.into_iter().map(|row| (row.key, row.value)).collect();
        for ((_, key), value) in written {
            match value {
                Some(value) => drop(merged.insert(key.clone(), value.clone())),
                None => drop(merged.remove(key)),
            }
        }
        let rows = merged.into_iter().map(|(key, value)| Row { key, value });
        Ok(match order {
            Order::Ascending => rows.take(limit).collect(),
            Order::Descending => rows.rev().take(limit).collect(),
        })
    }
}

/// Does this, or nothing of it. An error is given back within `Ok`, but for one of the store itself, be
/// it the disk's or damage: nothing that comes after it could be kept either.
pub(super) fn attempt<T>(
    tx: &mut dyn Transaction,
    work: impl FnOnce(&mut dyn Transaction) -> Result<T, EngineError>,
) -> Result<Result<T, EngineError>, EngineError> {
    let mut attempt = Attempt { inner: &*tx, written: Written::new(), broken: Cell::new(false) };
    let result = work(&mut attempt);
    let Attempt { written, broken, .. } = attempt;
    match result {
        Ok(value) => {
            for ((table, key), value) in written {
                match value {
                    Some(value) => tx.put(table, &key, &value)?,
                    None => tx.delete(table, &key)?,
                }
            }
            Ok(Ok(value))
        }
        Err(error) if broken.get() => Err(error),
        Err(error @ EngineError::Store(StoreError::Failed { .. })) => Err(error),
        Err(error) => Ok(Err(error)),
    }
}
