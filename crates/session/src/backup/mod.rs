//! Backups: account, contacts and history in one encrypted file (`protocol-spec/14-backup.md`).
//!
//! No device key and no ratchet is in them: who restores one is a new device of the same account,
//! and begins every session anew. A backup is written and read as a stream; no more than two chunks
//! and one record are in memory.

mod error;
mod key;
mod reader;
mod record;
mod writer;

#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use key::{RecoveryKey, RecoveryKeyError};
pub use reader::BackupReader;
pub use writer::BackupWriter;

pub use record::Record;
pub(crate) use record::{
    AccountRecord, ContactRecord, ErasedRecord, Kind, LeftoverRecord, LeftoverWhat, LinkRecord,
    MessageRecord, PendingRecord, ReactionRecord, RelayRecord,
};

/// What every backup begins with.
const MAGIC: &[u8; 8] = b"UTBACKUP";

/// The version that is written, and the newest that is read.
pub const BACKUP_VERSION: u16 = 1;

/// Magic, version, salt, commitment, check.
const HEAD: usize = 8 + 2 + 32 + 32 + 8;

/// The longest record: a message of the greatest length with all that belongs to it, twice.
pub(crate) const MAX_RECORD: usize = 128 * 1024;

/// Type and length of a record.
const RECORD_HEAD: usize = 1 + 4;
