//! The event log and its cursors.
//!
//! An event stays until every cursor is behind it. A cursor that never comes back does not keep the
//! log for ever: beyond [`MAX_EVENTS`] the oldest go, and a cursor that had not come so far is told
//! which it missed, by an event of its own ([`EventKind::EventsLost`]).

use std::collections::HashSet;

use undertone_core::blob_len;
use undertone_core::rand_core::CryptoRng;

use super::contacts::for_each;
use super::history::{incoming, must_message, outgoing};
use super::rows::{MessageRow, decode, key1, load, next_number, number, outgoing_key, save};
use super::{Engine, EngineError};
use crate::event::{CursorView, Event, EventKind, EventMessage};
use crate::ids::{ContactId, EventSeq, MessageId};
use crate::message::{Direction, MessageKind};
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Events that stay in the log although every cursor is behind them: a new cursor sees the recent
/// past, and the log does not grow for ever.
const KEPT_EVENTS: u64 = 1000;

/// Events that are kept for a cursor that does not come: about ten megabytes, and more than a
/// program misses that runs once in a while.
pub const MAX_EVENTS: u64 = 100_000;

/// The longest name of a cursor, in bytes.
pub const MAX_CURSOR_NAME: usize = 128;

/// Cursors of a profile. Each keeps events for itself.
pub const MAX_CURSORS: usize = 64;

/// Rows removed in one transaction, so that no transaction is long.
const PRUNE_BATCH: usize = 256;

/// The last place that went although a cursor had not come so far.
const LOST: &[u8] = b"events-lost";

pub(super) fn emit(tx: &mut dyn Transaction, kind: EventKind) -> Result<(), StoreError> {
    let seq = next_number(tx, "event")?;
    let event = Event { seq: EventSeq::new(seq), kind, message: None };
    save(tx, Table::Events, &key1(seq), &event)?;
    bound(tx, seq)
}

/// Takes out of the log what it repeats of messages that are erased: the names of their files, reactions.
/// It is read once, however many they are.
pub(super) fn forget(
    tx: &mut dyn Transaction,
    messages: &HashSet<(ContactId, MessageId)>,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut found = Vec::new();
    for_each(tx, Table::Events, &[], |key, value| {
        let event: Event = decode(Table::Events, value)?;
        if let EventKind::FileReceived { contact, id, .. }
        | EventKind::ReactionChanged { contact, id, .. } = event.kind
            && messages.contains(&(contact, id))
        {
            found.push(key.to_vec());
        }
        Ok(())
    })?;
    found.iter().try_for_each(|key| tx.delete(Table::Events, key))
}

/// Keeps the log within its bound: each event that comes takes one or two of the oldest along.
fn bound(tx: &mut dyn Transaction, newest: u64) -> Result<(), StoreError> {
    let Some(last) = newest.checked_sub(MAX_EVENTS) else { return Ok(()) };
    let mut gone = 0;
    for row in tx.scan(Table::Events, &[], None, Order::Ascending, 2)? {
        let place = number(&row.key, "an event's place")?;
        if place <= last {
            tx.delete(Table::Events, &row.key)?;
            gone = place;
        }
    }
    if gone > 0 && slowest(tx)?.is_some_and(|slowest| slowest < gone) {
        save(tx, Table::Meta, LOST, &gone)?;
    }
    Ok(())
}

/// The place of the cursor that is furthest behind.
fn slowest(tx: &dyn Transaction) -> Result<Option<u64>, StoreError> {
    let mut slowest: Option<u64> = None;
    for_each(tx, Table::Cursors, &[], |_, value| {
        let place: u64 = decode(Table::Cursors, value)?;
        slowest = Some(slowest.map_or(place, |slowest| slowest.min(place)));
        Ok(())
    })?;
    Ok(slowest)
}

/// The last event that was made; 0 if there was none.
fn newest(tx: &dyn Transaction) -> Result<u64, StoreError> {
    let next: Option<u64> = load(tx, Table::Meta, b"next-event")?;
    Ok(next.map_or(0, |next| next.saturating_sub(1)))
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// The first event after a place of the log, whatever cursors there are.
    ///
    /// # Errors
    /// Those of the store.
    pub fn event_after(&mut self, place: EventSeq) -> Result<Option<Event>, EngineError> {
        self.store.transaction(|tx| Ok(first_after(tx, place)?))
    }

    /// The first event after a place, for a cursor that has read so far; first of all, what it
    /// missed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn next_event(&mut self, place: EventSeq) -> Result<Option<Event>, EngineError> {
        self.store.transaction(|tx| {
            let lost: u64 = load(tx, Table::Meta, LOST)?.unwrap_or(0);
            if place.get() < lost {
                let first = EventSeq::new(place.get().saturating_add(1));
                let last = EventSeq::new(lost);
                let kind = EventKind::EventsLost { first, last };
                return Ok(Some(Event { seq: last, kind, message: None }));
            }
            Ok(first_after(tx, place)?)
        })
    }

    /// Where a cursor stands. One that is new stands before the oldest event that is kept, and keeps
    /// what comes from then on, until it is dropped by [`Engine::drop_cursor`].
    ///
    /// # Errors
    /// [`EngineError::CursorInvalid`] for a name that is empty or has more than
    /// [`MAX_CURSOR_NAME`] bytes, or beyond [`MAX_CURSORS`].
    pub fn open_cursor(&mut self, name: &str) -> Result<EventSeq, EngineError> {
        self.store.transaction(|tx| Ok(EventSeq::new(open(tx, name)?)))
    }

    /// All cursors, with how many events they are behind.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cursors(&mut self) -> Result<Vec<CursorView>, EngineError> {
        self.store.transaction(|tx| {
            let newest = newest(tx)?;
            let mut cursors = Vec::new();
            for_each(tx, Table::Cursors, &[], |key, value| {
                let place: u64 = decode(Table::Cursors, value)?;
                let name = String::from_utf8_lossy(key).into_owned();
                let behind = newest.saturating_sub(place);
                cursors.push(CursorView { name, place: EventSeq::new(place), behind });
                Ok(())
            })?;
            Ok(cursors)
        })
    }

    /// Forgets a cursor: no event is kept for it any more. False if there was none of this name.
    ///
    /// # Errors
    /// Those of the store.
    pub fn drop_cursor(&mut self, name: &str) -> Result<bool, EngineError> {
        self.store.transaction(|tx| {
            let known = tx.get(Table::Cursors, name.as_bytes())?.is_some();
            tx.delete(Table::Cursors, name.as_bytes())?;
            prune(tx)?;
            Ok(known)
        })
    }

    /// Another program subscribed to this profile's mailboxes, and this one has stopped.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_superseded(&mut self) -> Result<(), EngineError> {
        self.store.transaction(|tx| Ok(emit(tx, EventKind::Superseded)?))
    }

    /// Moves a cursor behind an event, never back, and never behind one that has not been.
    ///
    /// # Errors
    /// As [`Engine::open_cursor`].
    pub fn acknowledge_event(&mut self, name: &str, seq: EventSeq) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let place = open(tx, name)?;
            let seq = seq.get().min(newest(tx)?);
            if seq > place {
                save(tx, Table::Cursors, name.as_bytes(), &seq)?;
                prune(tx)?;
            }
            Ok(())
        })
    }
}

fn first_after(tx: &dyn Transaction, place: EventSeq) -> Result<Option<Event>, StoreError> {
    let from = key1(place.get());
    let rows = tx.scan(Table::Events, &[], Some(&from), Order::Ascending, 1)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut event: Event = decode(Table::Events, &row.value)?;
    let message = match &event.kind {
        EventKind::FileProgress { id, total, .. } => moving(tx, id, *total),
        kind => match kind.message() {
            Some((contact, id, Direction::Incoming)) => incoming(tx, contact, &id),
            Some((contact, id, Direction::Outgoing)) => outgoing(tx, contact, &id),
            None => Ok(None),
        },
    };
    let message = match message {
        // The event is told all the same: no reader stops at it.
        Err(StoreError::Corrupt { .. }) => None,
        other => other?,
    };
    event.message = message.map(|row| EventMessage {
        contact: row.contact,
        direction: row.direction,
        seq: row.seq,
    });
    Ok(Some(event))
}

/// The message whose file is on its way. Progress is stored with the message's id alone, and
/// contacts choose the ids of what they send: if it may be several, it is none.
fn moving(
    tx: &dyn Transaction,
    id: &MessageId,
    total: u64,
) -> Result<Option<MessageRow>, StoreError> {
    let mut places: Vec<u64> = Vec::new();
    for prefix in [outgoing_key(id), [&[1][..], id.as_bytes()].concat()] {
        for_each(tx, Table::MessageIds, &prefix, |_, value| {
            places.push(decode(Table::MessageIds, value)?);
            Ok(())
        })?;
    }
    let mut found = Vec::new();
    for place in places {
        let row = must_message(tx, place)?;
        if matches!(&row.kind, MessageKind::File(file) if blob_len(file.size) == Some(total)) {
            found.push(row);
        }
    }
    let only = found.pop();
    Ok(only.filter(|_| found.is_empty()))
}

fn open(tx: &mut dyn Transaction, name: &str) -> Result<u64, EngineError> {
    if let Some(place) = load(tx, Table::Cursors, name.as_bytes())? {
        return Ok(place);
    }
    if name.is_empty() || name.len() > MAX_CURSOR_NAME {
        let reason = "the name of a cursor has 1 to 128 bytes";
        return Err(EngineError::CursorInvalid { reason });
    }
    if tx.scan(Table::Cursors, &[], None, Order::Ascending, MAX_CURSORS)?.len() == MAX_CURSORS {
        let reason = "there are 64 cursors already: drop those that are not used";
        return Err(EngineError::CursorInvalid { reason });
    }
    // Before the oldest that is there, which is behind all that was lost.
    let oldest = tx.scan(Table::Events, &[], None, Order::Ascending, 1)?;
    let place = match oldest.first() {
        Some(row) => number(&row.key, "an event's place")?.saturating_sub(1),
        None => newest(tx)?,
    };
    save(tx, Table::Cursors, name.as_bytes(), &place)?;
    Ok(place)
}

/// Removes what every cursor is behind, but for the newest [`KEPT_EVENTS`].
fn prune(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    let mut bound = newest(tx)?.saturating_sub(KEPT_EVENTS);
    if let Some(slowest) = slowest(tx)? {
        bound = bound.min(slowest);
    }
    for row in tx.scan(Table::Events, &[], None, Order::Ascending, PRUNE_BATCH)? {
        if number(&row.key, "an event's place")? > bound {
            break;
        }
        tx.delete(Table::Events, &row.key)?;
    }
    Ok(())
}
