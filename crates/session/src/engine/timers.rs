//! Disappearing messages. Each conversation has one timer; either side sets it for both. A message
//! has the timer that the conversation had when it was written (here) or came (from there), and is
//! erased by this machine's clock: so long after the relay accepted it, or after it was read.

use std::collections::HashSet;

use undertone_core::rand_core::CryptoRng;

use super::changes::erase;
use super::contacts::{load_contact, save_contact};
use super::events::{self, emit};
use super::history::{SCRUB, load_message};
use super::outbox::enqueue_control;
use super::rows::{ContactRow, MessageRow, key1, key2, load, number, save};
use super::{Engine, EngineError, day, random};
use crate::content::{Body, Content};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::Direction;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Messages that one transaction erases, so that no transaction is long.
const ERASED_AT_A_TIME: usize = 256;

/// When they were cleared last: `Meta["scrubbed"]`.
const SCRUBBED: &[u8] = b"scrubbed";

/// When the files of the store are to be cleared of what was erased, if they are.
fn scrub_at(tx: &dyn Transaction, now: UnixMillis, pause: u64) -> Result<Option<u64>, StoreError> {
    if load::<bool>(tx, Table::Meta, SCRUB)?.is_none() {
        return Ok(None);
    }
    let last: Option<u64> = load(tx, Table::Meta, SCRUBBED)?;
    let due = last.map_or(0, |last| last.saturating_add(pause));
    // Further ahead than the pause: the clock was put back.
    let put_back = due > now.get().saturating_add(pause);
    Ok(Some(if put_back { now.get() } else { due.max(now.get()) }))
}

/// A message's clock begins to run, if it has a timer and none runs. The caller stores the row.
pub(super) fn start(
    tx: &mut dyn Transaction,
    row: &mut MessageRow,
    now: UnixMillis,
) -> Result<(), StoreError> {
    if row.timer == 0 || row.erase_at.is_some() {
        return Ok(());
    }
    let at = now.get().saturating_add(u64::from(row.timer).saturating_mul(1000));
    row.erase_at = Some(at);
    tx.put(Table::Erasures, &key2(&key1(at), &key1(row.seq)), &[])
}

/// A contact says how long messages are to stay. Of two words the one that claims the later time
/// stands; of two that claim the same, that of the account with the greater key: so both sides come
/// to the same timer when their words cross.
pub(super) fn told(
    tx: &mut dyn Transaction,
    contact: ContactId,
    own_account: &[u8; 32],
    seconds: u32,
    at: UnixMillis,
) -> Result<(), EngineError> {
    let row = load_contact(tx, contact)?;
    let newer = (at.get(), &row.account) > (row.timer_at, own_account);
    if newer { set(tx, contact, row, (seconds, at), Direction::Incoming) } else { Ok(()) }
}

fn set(
    tx: &mut dyn Transaction,
    contact: ContactId,
    mut row: ContactRow,
    (seconds, at): (u32, UnixMillis),
    by: Direction,
) -> Result<(), EngineError> {
    let changed = row.timer != seconds;
    row.timer = seconds;
    row.timer_at = at.get();
    save_contact(tx, contact, &row)?;
    if changed {
        emit(tx, EventKind::TimerChanged { contact, by, seconds })?;
    }
    Ok(())
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Sets after how many seconds new messages of a conversation disappear, on both sides; 0 lets
    /// them stay. Messages that are there already keep their timer.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::ContactBlocked`].
    pub fn set_timer(
        &mut self,
        contact: ContactId,
        seconds: u32,
        now: UnixMillis,
    ) -> Result<(), EngineError> {
        let id = MessageId::from_bytes(random(&mut self.rng));
        self.store.transaction(|tx| {
            let row = load_contact(tx, contact)?;
            if row.blocked {
                return Err(EngineError::ContactBlocked);
            }
            if row.timer == seconds {
                return Ok(());
            }
            let sent_at = UnixMillis::new(now.get().max(row.timer_at.saturating_add(1)));
            set(tx, contact, row, (seconds, sent_at), Direction::Outgoing)?;
            let body = Body::Disappearing { seconds };
            enqueue_control(tx, contact, &Content { id, sent_at, body }, None)
        })
    }

    /// When the next message disappears; absent if there is nothing to do for [`Engine::erase_due`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn next_erasure(&mut self) -> Result<Option<UnixMillis>, EngineError> {
        self.store.transaction(|tx| {
            let first = tx.scan(Table::Erasures, &[], None, Order::Ascending, 1)?;
            let first = first.first().map(|row| time_of(&row.key)).transpose()?;
            Ok(first.map(UnixMillis::new))
        })
    }

    /// When the store's files are to be cleared of what was erased ([`Engine::scrub`]), if they are:
    /// at once, but not within this many milliseconds of the last time.
    ///
    /// # Errors
    /// Those of the store.
    pub fn next_scrub(
        &mut self,
        now: UnixMillis,
        pause: u64,
    ) -> Result<Option<UnixMillis>, EngineError> {
        self.store.transaction(|tx| Ok(scrub_at(tx, now, pause)?.map(UnixMillis::new)))
    }

    /// Makes sure that nothing that was erased, deleted or edited away is left in the store's files.
    /// It may mean to write all of them anew, and take as long. If it fails, it is due again after the
    /// pause.
    ///
    /// # Errors
    /// Those of the store. What is in the store is whole all the same.
    pub fn scrub(&mut self, now: UnixMillis) -> Result<(), EngineError> {
        // First, so that a crash between the two scrubs once more.
        let scrubbed = self.store.scrub();
        let clean = scrubbed.is_ok();
        self.store.transaction(|tx| {
            save(tx, Table::Meta, SCRUBBED, &now.get())?;
            if clean { tx.delete(Table::Meta, SCRUB) } else { Ok(()) }
        })?;
        Ok(scrubbed?)
    }

    /// Erases the messages whose time has come. Returns how many.
    ///
    /// # Errors
    /// Those of the store.
    pub fn erase_due(&mut self, now: UnixMillis) -> Result<u64, EngineError> {
        let today = day(now).get();
        let mut erased = 0_u64;
        loop {
            let batch = self.store.transaction(|tx| -> Result<usize, EngineError> {
                let rows =
                    tx.scan(Table::Erasures, &[], None, Order::Ascending, ERASED_AT_A_TIME)?;
                let mut count = 0_usize;
                let mut repeated = HashSet::new();
                for row in rows {
                    if time_of(&row.key)? > now.get() {
                        break;
                    }
                    tx.delete(Table::Erasures, &row.key)?;
                    let place = number(&row.key, "a place in the history")?;
                    if let Some(message) = load_message(tx, place)? {
                        erase(tx, &message, today, &mut repeated)?;
                    }
                    count = count.saturating_add(1);
                }
                events::forget(tx, &repeated)?;
                Ok(count)
            })?;
            erased = erased.saturating_add(u64::try_from(batch).unwrap_or(u64::MAX));
            if batch < ERASED_AT_A_TIME {
                break;
            }
        }
        Ok(erased)
    }
}

fn time_of(key: &[u8]) -> Result<u64, StoreError> {
    number(key.get(..8).unwrap_or_default(), "when a message disappears")
}
