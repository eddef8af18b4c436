//! Removal by an operator's command, beside a relay that may be running.

use rusqlite::Connection;
use undertone_wire::{Day, MailboxId};

use super::schema::{self, Database};
use super::{Opener, SqliteStore};
use crate::store::{Command, Store as _, StoreFailure};

impl SqliteStore {
    /// Removes a mailbox with its capabilities and envelopes. `entry` goes into the operator's log
    /// in the same transaction as the record goes.
    ///
    /// The record goes first, together with a count that a running relay looks at before each
    /// batch; the rows go after whatever batch is under way: see `notice_erasures`.
    pub(crate) fn erase_mailbox(
        &mut self,
        today: Day,
        id: MailboxId,
        entry: Command,
    ) -> Result<(), StoreFailure> {
        self.records.count_erasure()?;
        let _ = self.records.delete_mailbox(id)?;
        self.commit(today, &[entry])?;
        self.records.checkpoint()?;
        for day in schema::queue_days(&self.directory)? {
            let Some(opener) = Opener::new(&self.key_database, day)? else { continue };
            self.erase_rows(day, &opener.tag(id))?;
        }
        Ok(())
    }

    fn erase_rows(&self, day: Day, tag: &[u8; 16]) -> Result<(), StoreFailure> {
        let connection = match schema::open_there(&self.directory, Database::Queue(day)) {
            Ok(connection) => connection,
            // Its day has passed meanwhile.
            Err(_) if !self.has_queue(day)? => return Ok(()),
            Err(failure) => return Err(failure),
        };
        connection.pragma_update(None, "secure_delete", true)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute("DELETE FROM envelope WHERE tag = ?1", [tag])?;
        connection.execute("DELETE FROM known WHERE tag = ?1", [tag])?;
        connection.execute("DELETE FROM floor WHERE tag = ?1", [tag])?;
        connection.execute_batch("COMMIT")?;
        // What is left in the WAL goes with the next checkpoint if a reader hinders this one.
        schema::checkpoint_soon(&connection)?;
        Ok(())
    }

    fn has_queue(&self, day: Day) -> Result<bool, StoreFailure> {
        Ok(self.directory.join(Database::Queue(day).file_name()).try_exists()?)
    }

    /// Lets a running relay notice that something was erased.
    pub(crate) fn count_erasure(&mut self) -> Result<(), StoreFailure> {
        self.records.count_erasure()?;
        self.records.commit()
    }

    /// Removes a depot or the record of a blob by its id, with an entry in the operator's log.
    pub(crate) fn erase_record(
        &mut self,
        today: Day,
        table: &'static str,
        id: &[u8; 32],
        entry: Command,
    ) -> Result<(), StoreFailure> {
        self.records.delete_by_id(table, id)?;
        self.commit(today, &[entry])?;
        self.records.checkpoint()
    }
}

/// Removes a row; what refers to it goes with it.
pub(super) fn delete_by_id(
    db: &Connection,
    table: &'static str,
    id: &[u8; 32],
) -> Result<(), StoreFailure> {
    db.execute(&format!("DELETE FROM {table} WHERE id = ?1"), [id])?;
    Ok(())
}
