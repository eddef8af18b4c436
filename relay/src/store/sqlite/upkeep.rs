//! What the store does beside commands: it notices erasures, measures, gives room back, removes what
//! has passed.

use std::sync::PoisonError;

use undertone_wire::Day;

use super::schema::{self, Database};
use super::{AUDIT_HEAD, MEASURE_AFTER, SqliteStore};
use crate::store::{Command, StoreFailure};

impl SqliteStore {
    /// Before a batch that queues or acknowledges: notices what another process erased.
    ///
    /// The newest file's transaction is opened first. Whoever erases removes the record, and then
    /// waits for this transaction before it removes the rows; so either the record's removal is
    /// seen here, or the rows of this batch are seen there.
    pub(super) fn notice_erasures(
        &mut self,
        today: Day,
        batch: &[Command],
    ) -> Result<(), StoreFailure> {
        let writes = |command: &Command| {
            matches!(command, Command::Deliver { .. } | Command::Acknowledge(_))
        };
        if batch.iter().any(writes) {
            self.current(today)?.begin()?;
        }
        let erasures = self.records.erasures()?;
        if erasures != self.erasures {
            self.erasures = erasures;
            self.erased_elsewhere = true;
            self.cache.clear();
        }
        Ok(())
    }

    /// How much is free and how much is used; gives free pages back while there is no room.
    pub(super) fn measure(&mut self) -> Result<(), StoreFailure> {
        self.room.measure();
        let short = self.room.check(0).is_err();
        if short && let Some(newest) = self.newest.and_then(|day| self.queues.get(&day)) {
            schema::give_back(newest.connection())?;
        }
        if self.room.has_quota() && (short || self.unmeasured >= MEASURE_AFTER) {
            self.measure_databases()?;
        }
        Ok(())
    }

    pub(super) fn measure_databases(&mut self) -> Result<(), StoreFailure> {
        let directory = &self.directory;
        let mut used = schema::used(directory, Database::Relay, self.records.connection())?;
        for (day, queue) in &self.queues {
            let more = schema::used(directory, Database::Queue(*day), queue.connection())?;
            used = used.saturating_add(more);
        }
        self.room.set_databases(used);
        self.unmeasured = 0;
        Ok(())
    }

    /// Notes the last entry of the audit log where it shows if the log's end is missing. Under the
    /// database's lock, since another process may be doing the same.
    pub(super) fn write_audit_head(&mut self) -> Result<(), StoreFailure> {
        if let Some(last) = self.records.last_audit()? {
            let (path, anchor) = (self.directory.join(AUDIT_HEAD), last.anchor().to_string());
            crate::operator::write_private(&path, anchor.as_bytes())?;
        }
        self.records.commit()
    }

    /// Gives back the pages that were freed since, as much as can be done in passing.
    pub(super) fn shrink(&self) -> Result<(), StoreFailure> {
        for queue in self.queues.values() {
            schema::give_back(queue.connection())?;
        }
        schema::give_back(self.records.connection())?;
        Ok(())
    }

    /// Moves the floors that a queue file knows to the mailboxes' records, then removes its key and
    /// the file.
    pub(super) fn remove_queue(&mut self, day: Day) -> Result<(), StoreFailure> {
        let Some(queue) = self.queues.remove(&day) else { return Ok(()) };
        for id in self.records.mailbox_ids()? {
            // A floor that is damaged goes with its file; what was behind it shows as expired.
            let (acknowledged, entries) = match queue.load(id)? {
                Ok(loaded) => loaded,
                Err(_) => (0, queue.entries(id)?),
            };
            let last = entries.iter().filter(|entry| entry.bytes > 0).map(|entry| entry.seq).max();
            if acknowledged > 0 || last.is_some() {
                self.records.raise_floors(id, acknowledged, last.unwrap_or(0))?;
            }
        }
        self.records.begin_removal(day)?;
        self.records.commit()?;
        self.days.write().unwrap_or_else(PoisonError::into_inner).remove(&day);
        drop(queue);
        if self.newest == Some(day) {
            self.newest = None;
        }
        self.cache.clear();
        self.finish_removals()
    }

    /// Removes keys and files of the days whose removal has begun. A removal is over when the key
    /// is overwritten in the file of keys; while a reader hinders that, it waits for the next time.
    pub(super) fn finish_removals(&mut self) -> Result<(), StoreFailure> {
        for day in self.records.removals()? {
            // R-1204: the key goes first and for good (`secure_delete`): without it the file is noise.
            self.key_database.execute("DELETE FROM day_key WHERE day = ?1", [day.get()])?;
            schema::remove_queue(&self.directory, day)?;
            if schema::checkpoint(&self.key_database)? {
                self.records.end_removal(day)?;
            }
        }
        Ok(())
    }
}
