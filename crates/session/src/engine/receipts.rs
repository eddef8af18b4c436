//! Delivery acknowledgements and read receipts: owed, batched, and told after a random time, so that
//! their moment is no measure of anything. A contact who sends something to see when the answer
//! comes learns no more than that this device was connected some time within the interval.

use undertone_core::rand_core::CryptoRng;

use super::contacts::load_contact;
use super::history::{load_message, save_message};
use super::outbox::enqueue_control;
use super::rows::{corrupt, decode, key1, key2, load, number, save};
use super::{Engine, EngineError, random, timers};
use crate::content::{Body, Content, MAX_IDS};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, MessageState};
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// The bounds of the random time, in milliseconds, both included. The shortest is above the round
/// trips of most networks, so that the answer does not tell how far away a device is; nobody waits
/// for a tick longer than the longest. What comes meanwhile is told with it.
pub const RECEIPT_DELAY_MILLIS: (u64, u64) = (200, 1500);

const READ_RECEIPTS: &[u8] = b"read-receipts";

/// Both are owed and told alike.
const OWED: [Table; 2] = [Table::Acks, Table::Receipts];

/// Notes that a contact is owed word of a message. The first that is owed decides when it is told.
pub(super) fn owe(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    table: Table,
    (contact, id): (ContactId, &MessageId),
    now: UnixMillis,
) -> Result<(), StoreError> {
    let prefix = key1(contact.get());
    let due: u64 = match tx.scan(table, &prefix, None, Order::Ascending, 1)?.first() {
        Some(row) => decode(table, &row.value)?,
        None => now.get().saturating_add(draw(rng)),
    };
    save(tx, table, &key2(&prefix, id.as_bytes()), &due)
}

/// A random time within the bounds.
fn draw(rng: &mut impl CryptoRng) -> u64 {
    let (low, high) = RECEIPT_DELAY_MILLIS;
    let span = high.saturating_sub(low).saturating_add(1);
    // The span is so small against 2^64 that the rest makes no difference.
    let roll = u64::from_le_bytes(random(rng)).checked_rem(span).unwrap_or(0);
    low.saturating_add(roll)
}

/// A time that lies further ahead than any that is drawn comes of a clock that was put back.
const fn is_due(due: u64, now: UnixMillis) -> bool {
    due <= now.get() || due > now.get().saturating_add(RECEIPT_DELAY_MILLIS.1)
}

/// The contacts who are owed something, with when it is due.
fn owed(tx: &dyn Transaction, table: Table) -> Result<Vec<(ContactId, u64)>, StoreError> {
    let mut owed = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let rows = tx.scan(table, &[], from.as_deref(), Order::Ascending, 1)?;
        let Some(row) = rows.first() else { return Ok(owed) };
        let prefix = row.key.get(..8).ok_or_else(|| corrupt("what a contact is owed"))?;
        owed.push((
            ContactId::new(number(prefix, "a contact's number")?),
            decode(table, &row.value)?,
        ));
        from = Some(key2(prefix, &[0xff; MessageId::LEN]));
    }
}

/// Queues all that is owed to a contact.
fn tell(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    table: Table,
    contact: ContactId,
    now: UnixMillis,
) -> Result<(), EngineError> {
    loop {
        let rows = tx.scan(table, &key1(contact.get()), None, Order::Ascending, MAX_IDS)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut ids = Vec::new();
        for row in &rows {
            tx.delete(table, &row.key)?;
            let id = row.key.last_chunk().ok_or_else(|| corrupt("a message id"))?;
            ids.push(MessageId::from_bytes(*id));
        }
        let body = match table {
            Table::Receipts => Body::ReadReceipt(ids),
            _ => Body::DeliveryAck(ids),
        };
        let id = MessageId::from_bytes(random(rng));
        enqueue_control(tx, contact, &Content { id, sent_at: now, body }, None)?;
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// When the next acknowledgements or receipts are due; absent if none are owed. They are queued
    /// by [`Engine::flush_due`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn acknowledgements_due(
        &mut self,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, EngineError> {
        self.store.transaction(|tx| {
            let mut next: Option<u64> = None;
            for table in OWED {
                for (_, due) in owed(tx, table)? {
                    let due = if is_due(due, now) { now.get() } else { due };
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
            Ok(next.map(UnixMillis::new))
        })
    }

    /// Queues the acknowledgements and receipts whose time has come, batched for each contact. True
    /// if there were any.
    ///
    /// # Errors
    /// Those of the store.
    pub fn flush_due(&mut self, now: UnixMillis) -> Result<bool, EngineError> {
        self.flush(now, is_due)
    }

    /// Queues all that are owed, for a program that disconnects and would not be there when their
    /// time comes. True if there were any.
    ///
    /// # Errors
    /// Those of the store.
    pub fn flush_acknowledgements(&mut self, now: UnixMillis) -> Result<bool, EngineError> {
        self.flush(now, |_, _| true)
    }

    fn flush(
        &mut self,
        now: UnixMillis,
        wanted: impl Fn(u64, UnixMillis) -> bool,
    ) -> Result<bool, EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            let mut any = false;
            for table in OWED {
                for (contact, due) in owed(tx, table)? {
                    if wanted(due, now) {
                        tell(tx, rng, table, contact, now)?;
                        any = true;
                    }
                }
            }
            Ok(any)
        })
    }

    /// Whether contacts are told what was read here. At first they are not.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read_receipts(&mut self) -> Result<bool, EngineError> {
        self.store.transaction(|tx| Ok(load(tx, Table::Meta, READ_RECEIPTS)?.unwrap_or(false)))
    }

    /// Whether contacts are to be told what is read here from now on. What is owed when it is turned
    /// off is not told.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_read_receipts(&mut self, on: bool) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            save(tx, Table::Meta, READ_RECEIPTS, &on)?;
            if !on {
                super::people::drop_all(tx, Table::Receipts, &[])?;
            }
            Ok(())
        })
    }

    /// Notes that the person here has seen what a contact wrote, up to a place in the history (all
    /// of it if none is given). Disappearing messages begin to disappear, and the contact is told
    /// if read receipts are on. Returns how many messages were new.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn mark_read(
        &mut self,
        contact: ContactId,
        up_to: Option<u64>,
        now: UnixMillis,
    ) -> Result<u64, EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            let told = load(tx, Table::Meta, READ_RECEIPTS)?.unwrap_or(false)
                && !load_contact(tx, contact)?.blocked;
            let mut count = 0_u64;
            for place in unread(tx, contact, up_to)? {
                let Some(mut row) = load_message(tx, place)? else { continue };
                row.state = MessageState::Read;
                timers::start(tx, &mut row, now)?;
                save_message(tx, &row)?;
                if told {
                    owe(tx, rng, Table::Receipts, (contact, &row.id), now)?;
                }
                count = count.saturating_add(1);
            }
            Ok(count)
        })
    }

    /// How many messages of a contact have not been marked as read.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn unread(&mut self, contact: ContactId) -> Result<u64, EngineError> {
        self.store.transaction(|tx| {
            load_contact(tx, contact)?;
            Ok(u64::try_from(unread(tx, contact, None)?.len()).unwrap_or(u64::MAX))
        })
    }
}

/// Places of a contact's messages that are not read, newest first. What was read was read up to a
/// place, so that the search ends at the first one.
fn unread(
    tx: &dyn Transaction,
    contact: ContactId,
    up_to: Option<u64>,
) -> Result<Vec<u64>, EngineError> {
    /// Places that are looked at with one scan.
    const PAGE: usize = 64;
    load_contact(tx, contact)?;
    let prefix = key1(contact.get());
    let mut from = up_to.map(|place| key2(&prefix, &key1(place.saturating_add(1))));
    let mut places = Vec::new();
    loop {
        let rows = tx.scan(Table::History, &prefix, from.as_deref(), Order::Descending, PAGE)?;
        for row in &rows {
            let place = number(&row.key, "a place in the history")?;
            let Some(message) = load_message(tx, place)? else { continue };
            match (message.direction, message.state) {
                (Direction::Incoming, MessageState::Received) => places.push(place),
                (Direction::Incoming, _) => return Ok(places),
                (Direction::Outgoing, _) => {}
            }
        }
        match rows.last() {
            Some(last) if rows.len() == PAGE => from = Some(last.key.clone()),
            _ => return Ok(places),
        }
    }
}
