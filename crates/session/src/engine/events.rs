//! The event log and its cursors.

use undertone_core::rand_core::CryptoRng;

use super::rows::{decode, key1, load, next_number, number, save};
use super::{Engine, EngineError};
use crate::event::{Event, EventKind};
use crate::ids::EventSeq;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Events that stay in the log although every cursor is behind them: a new cursor sees the recent
/// past, and the log does not grow for ever.
const KEPT_EVENTS: u64 = 1000;

/// Rows removed in one transaction, so that no transaction is long.
const PRUNE_BATCH: usize = 256;

pub(super) fn emit(tx: &mut dyn Transaction, kind: EventKind) -> Result<(), StoreError> {
    let seq = next_number(tx, "event")?;
    let event = Event { seq: EventSeq::new(seq), kind };
    save(tx, Table::Events, &key1(seq), &event)
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// The first event after a place.
    ///
    /// # Errors
    /// Those of the store.
    pub fn event_after(&mut self, place: EventSeq) -> Result<Option<Event>, EngineError> {
        self.store.transaction(|tx| {
            let from = key1(place.get());
            let rows = tx.scan(Table::Events, &[], Some(&from), Order::Ascending, 1)?;
            let event = rows.first().map(|row| decode(Table::Events, &row.value));
            Ok(event.transpose()?)
        })
    }

    /// Where a cursor stands; [`EventSeq::START`] if it is new.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cursor(&mut self, name: &str) -> Result<EventSeq, EngineError> {
        self.store.transaction(|tx| {
            let place: Option<u64> = load(tx, Table::Cursors, name.as_bytes())?;
            Ok(place.map_or(EventSeq::START, EventSeq::new))
        })
    }

    /// Another program subscribed to this profile's mailboxes, and this one has stopped.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note_superseded(&mut self) -> Result<(), EngineError> {
        self.store.transaction(|tx| Ok(emit(tx, EventKind::Superseded)?))
    }

    /// Moves a cursor behind an event, never back.
    ///
    /// # Errors
    /// Those of the store.
    pub fn acknowledge_event(&mut self, name: &str, seq: EventSeq) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let place: u64 = load(tx, Table::Cursors, name.as_bytes())?.unwrap_or(0);
            if seq.get() > place {
                save(tx, Table::Cursors, name.as_bytes(), &seq.get())?;
                prune(tx)?;
            }
            Ok(())
        })
    }
}

/// Removes what every cursor is behind, but for the newest [`KEPT_EVENTS`].
fn prune(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    let newest = tx.scan(Table::Events, &[], None, Order::Descending, 1)?;
    let Some(newest) = newest.first() else {
        return Ok(());
    };
    let mut bound = number(&newest.key, "an event's place")?.saturating_sub(KEPT_EVENTS);
    super::contacts::for_each(tx, Table::Cursors, &[], |_, value| {
        bound = bound.min(decode(Table::Cursors, value)?);
        Ok(())
    })?;
    for row in tx.scan(Table::Events, &[], None, Order::Ascending, PRUNE_BATCH)? {
        if number(&row.key, "an event's place")? > bound {
            break;
        }
        tx.delete(Table::Events, &row.key)?;
    }
    Ok(())
}
