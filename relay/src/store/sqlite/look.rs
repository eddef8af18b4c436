//! Looking at mailboxes without doing anything with them.
//!
//! Owners come back to thousands of mailboxes at once, most of which are empty. So for their state
//! only what is queued is read, not the hashes of what was acknowledged; and nothing is put into the
//! cache, where it would drive out what is in use.

use undertone_wire::frame::MailboxState;
use undertone_wire::{Day, ErrorCode, Floor, MailboxId};

use super::SqliteStore;
use super::records::{Found, MailboxRow};
use crate::store::rules::{RENEW_AFTER_DAYS, idle_expiry};
use crate::store::{Answer, Outcome, StoreFailure};

impl SqliteStore {
    /// Floors and counters.
    pub(super) fn state(&mut self, id: MailboxId) -> Result<Answer, StoreFailure> {
        if let Some(mailbox) = self.cache.get_mut(id) {
            return Ok(Ok(Outcome::Mailbox(mailbox.state(self.incarnation))));
        }
        Ok(match self.look(id)? {
            Ok(Some((_, state))) => Ok(Outcome::Mailbox(state)),
            Ok(None) => Err(ErrorCode::Unknown),
            Err(code) => Err(code),
        })
    }

    /// As [`Self::state`]; the owner has come, so the mailbox lives on.
    pub(super) fn visit(&mut self, today: Day, id: MailboxId) -> Result<Answer, StoreFailure> {
        let renewed = idle_expiry(self.later(today));
        let is_old = |expires: Day| expires.days_until(renewed) >= RENEW_AFTER_DAYS;
        if let Some(mailbox) = self.cache.get_mut(id) {
            if is_old(mailbox.expires) {
                mailbox.expires = renewed;
                self.records.renew(id, renewed)?;
            }
            return self.state(id);
        }
        Ok(match self.look(id)? {
            Ok(Some((row, state))) => {
                if is_old(row.expires) {
                    self.records.renew(id, renewed)?;
                }
                Ok(Outcome::Mailbox(state))
            }
            Ok(None) => Err(ErrorCode::Unknown),
            Err(code) => Err(code),
        })
    }

    /// What is stored of a mailbox that is not in the cache.
    fn look(&self, id: MailboxId) -> Result<Found<(MailboxRow, MailboxState)>, StoreFailure> {
        let row = match self.records.mailbox(id)? {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Ok(None)),
            Err(code) => return Ok(Err(code)),
        };
        let mut acknowledged = row.acknowledged;
        for queue in self.queues.values() {
            match queue.floor(id)? {
                Ok(floor) => acknowledged = acknowledged.max(floor),
                Err(code) => return Ok(Err(code)),
            }
        }
        let floor = acknowledged.max(row.expired);
        let (mut head, mut bytes) = (floor, 0_u64);
        for queue in self.queues.values() {
            for entry in queue.queued(id, floor)? {
                head = head.max(entry.seq);
                bytes = bytes.saturating_add(entry.bytes);
            }
        }
        let state = MailboxState {
            incarnation: self.incarnation,
            acknowledged: Floor::new(acknowledged),
            expired: Floor::new(row.expired),
            head: Floor::new(head),
            bytes,
            limits: row.limits,
        };
        Ok(Ok(Some((row, state))))
    }
}
