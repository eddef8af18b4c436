//! Sums over rows, since SQLite keeps none over pages.
//!
//! Tables that hold more than what seals itself have two generated columns: `sum`, stored with the
//! row whenever it is written, and `intact`, computed whenever it is read. A byte that changes on
//! the disk makes a row that is not intact; it is reported and not acted upon. This is a defence
//! against disks, not against who can write to them.

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::Connection;
use rusqlite::functions::{Context as Arguments, FunctionFlags};
use rusqlite::types::ValueRef;

use crate::store::StoreFailure;

/// Gives a connection the function `row_sum`, which the tables' columns call.
pub(super) fn register(connection: &Connection) -> Result<(), StoreFailure> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("row_sum", -1, flags, |arguments| Ok(sum(arguments)))?;
    Ok(())
}

/// The first 8 bytes of SHA-256 over kind, length and bytes of each value.
fn sum(arguments: &Arguments<'_>) -> i64 {
    let mut hash = Context::new(&SHA256);
    let mut add = |kind: u8, bytes: &[u8]| {
        hash.update(&[kind]);
        hash.update(&bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    for index in 0..arguments.len() {
        match arguments.get_raw(index) {
            ValueRef::Null => add(0, &[]),
            ValueRef::Integer(number) => add(1, &number.to_be_bytes()),
            ValueRef::Real(number) => add(2, &number.to_be_bytes()),
            ValueRef::Text(bytes) => add(3, bytes),
            ValueRef::Blob(bytes) => add(4, bytes),
        }
    }
    hash.finish().as_ref().first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
