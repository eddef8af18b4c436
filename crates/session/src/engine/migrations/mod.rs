//! From the rows of earlier versions to those of this one.
//!
//! The store says which version wrote it. Opening an older one runs every step up to the present
//! version in **one** transaction: afterwards all rows are of this version, or nothing has changed.
//! A newer store is refused. How the rows of a version looked is kept beside its step, apart from
//! the rows of today, so that a change of those never changes what an old store is read as.

mod v1;

use super::rows::save;
use super::{EngineError, SCHEMA, SCHEMA_VERSION};
use crate::store::{Table, Transaction};

/// Brings the rows of one version to the next.
type Step = fn(&mut dyn Transaction) -> Result<(), EngineError>;

/// The step at index 0 leads from version 1 to version 2, and so on: one fewer than versions.
const STEPS: [Step; SCHEMA_VERSION as usize - 1] = [v1::to_2];

/// Brings a store of version `found` to [`SCHEMA_VERSION`]; nothing is done if it is there.
///
/// # Errors
/// [`EngineError::SchemaTooNew`]; `Corrupt` if a row can't be read as one of its version.
pub(super) fn migrate(tx: &mut dyn Transaction, found: u32) -> Result<(), EngineError> {
    let too_new = EngineError::SchemaTooNew { found, known: SCHEMA_VERSION };
    if found > SCHEMA_VERSION {
        return Err(too_new);
    }
    // Version 0 was never written.
    let done = found.checked_sub(1).ok_or_else(|| super::rows::corrupt("the store's version"))?;
    let steps = STEPS.get(usize::try_from(done).unwrap_or(usize::MAX)..).ok_or(too_new)?;
    if steps.is_empty() {
        return Ok(());
    }
    for step in steps {
        step(tx)?;
    }
    Ok(save(tx, Table::Meta, SCHEMA, &SCHEMA_VERSION)?)
}
