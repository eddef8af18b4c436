//! What the store does beside commands: it notices erasures, measures, gives room back, removes what
//! has passed.

use std::sync::PoisonError;

use undertone_wire::Day;

use super::queue::Queue;
use super::schema::{self, Database};
use super::{AUDIT_HEAD, MEASURE_AFTER, SqliteStore};
use crate::store::rules::Entry;
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
        if short {
            self.give_back()?;
            self.room.measure();
        }
        if self.room.has_quota() && (short || self.unmeasured >= MEASURE_AFTER) {
            self.measure_databases()?;
        }
        Ok(())
    }

    /// Says so if the machine's clock is behind the clock of removal, which never goes ahead of it: it
    /// was ahead once, perhaps when the store was made, and what came then stays so much longer.
    pub(crate) fn warn_of_clock(&self, today: Day) {
        let days = today.days_until(self.records.removal);
        if days > 0 {
            tracing::warn!(
                days,
                "this machine's clock is behind the clock of removal; see \"Wrong clock\" in the operator's guide"
            );
        }
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

    /// Gives back the pages that were freed since, as much as can be done in passing; `true` if there
    /// are more.
    pub(super) fn give_back(&self) -> Result<bool, StoreFailure> {
        let queues = self.queues.values().map(Queue::connection);
        for connection in queues.chain([self.records.connection()]) {
            if schema::give_back(connection)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves the floors that a queue file knows to the mailboxes' records, then removes its key and
    /// the file.
    pub(super) fn remove_queue(&mut self, day: Day) -> Result<(), StoreFailure> {
        let Some(queue) = self.queues.remove(&day) else { return Ok(()) };
        for id in self.records.mailbox_ids()? {
            // A floor that is damaged goes with its file; what was behind it shows as expired.
            let (is_damaged, (acknowledged, entries)) = match queue.load(id)? {
                Ok(loaded) => (false, loaded),
                Err(_) => (true, (0, queue.entries(id)?)),
            };
            // R-1206: numbers that are behind it must not be given again.
            let counts = |entry: &&Entry| is_damaged || entry.bytes > 0;
            let last = entries.iter().filter(counts).map(|entry| entry.seq).max();
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

    /// Moves the WAL of the day keys into their file. What was in it is overwritten, so that a key that
    /// is deleted later is not left where it was first written.
    pub(super) fn checkpoint_keys(&self) -> Result<bool, StoreFailure> {
        schema::checkpoint_overwriting(&self.directory, Database::Keys, &self.key_database)
    }

    /// Removes keys and files of the days whose removal has begun. A removal is over when the key
    /// is overwritten in the file of keys; while a reader hinders that, it waits for the next time.
    pub(super) fn finish_removals(&mut self) -> Result<(), StoreFailure> {
        for day in self.records.removals()? {
            // R-1204: the key goes first and for good (`secure_delete`): without it the file is noise.
            self.key_database.execute("DELETE FROM day_key WHERE day = ?1", [day.get()])?;
            schema::remove_queue(&self.directory, day)?;
            if self.checkpoint_keys()? {
                self.records.end_removal(day)?;
            }
        }
        Ok(())
    }
}
