//! The history: messages as rows, and as the person sees them.

use undertone_core::rand_core::CryptoRng;

use super::contacts::load_contact;
use super::rows::{
    MessageRow, decode, incoming_key, key1, key2, load, must, number, outgoing_key, save,
};
use super::{Engine, EngineError};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, Message, MessageReaction};
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Something was erased, and may still be in the files of the store: `Meta["scrub"]`.
pub(super) const SCRUB: &[u8] = b"scrub";

/// Notes that the files of the store are to be cleared of what was just erased.
pub(super) fn note_erased(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    save(tx, Table::Meta, SCRUB, &true)
}

/// The message at a place; `None` if it was erased.
pub(super) fn load_message(
    tx: &dyn Transaction,
    place: u64,
) -> Result<Option<MessageRow>, StoreError> {
    load(tx, Table::Messages, &key1(place))
}

/// The message at a place that another row has just named.
pub(super) fn must_message(tx: &dyn Transaction, place: u64) -> Result<MessageRow, StoreError> {
    must(tx, Table::Messages, &key1(place))
}

pub(super) fn save_message(tx: &mut dyn Transaction, row: &MessageRow) -> Result<(), StoreError> {
    save(tx, Table::Messages, &key1(row.seq), row)
}

/// Puts a new message into the history.
pub(super) fn add_message(tx: &mut dyn Transaction, row: &MessageRow) -> Result<(), StoreError> {
    save_message(tx, row)?;
    tx.put(Table::History, &history_key(row), &[])?;
    save(tx, Table::MessageIds, &id_key(row), &row.seq)
}

/// Takes a message out of the history.
pub(super) fn remove_message(tx: &mut dyn Transaction, row: &MessageRow) -> Result<(), StoreError> {
    tx.delete(Table::Messages, &key1(row.seq))?;
    tx.delete(Table::History, &history_key(row))?;
    tx.delete(Table::MessageIds, &id_key(row))
}

fn history_key(row: &MessageRow) -> Vec<u8> {
    key2(&key1(row.contact.get()), &key1(row.seq))
}

fn id_key(row: &MessageRow) -> Vec<u8> {
    match row.direction {
        Direction::Incoming => incoming_key(&row.id, row.contact),
        Direction::Outgoing => outgoing_key(&row.id),
    }
}

/// The message of this id that this contact sent.
pub(super) fn incoming(
    tx: &dyn Transaction,
    contact: ContactId,
    id: &MessageId,
) -> Result<Option<MessageRow>, StoreError> {
    let place: Option<u64> = load(tx, Table::MessageIds, &incoming_key(id, contact))?;
    place.map(|place| must_message(tx, place)).transpose()
}

/// The message of this id that was sent to this contact.
pub(super) fn outgoing(
    tx: &dyn Transaction,
    contact: ContactId,
    id: &MessageId,
) -> Result<Option<MessageRow>, StoreError> {
    let place: Option<u64> = load(tx, Table::MessageIds, &outgoing_key(id))?;
    let row = place.map(|place| must_message(tx, place)).transpose()?;
    Ok(row.filter(|row| row.contact == contact))
}

/// Whether an incoming message is in the history, or was.
pub(super) fn is_known(
    tx: &dyn Transaction,
    id: &MessageId,
    contact: ContactId,
) -> Result<bool, StoreError> {
    Ok(tx.get(Table::MessageIds, &incoming_key(id, contact))?.is_some()
        || is_gone(tx, id, contact)?)
}

/// Whether an incoming message was in the history and has been erased.
pub(super) fn is_gone(
    tx: &dyn Transaction,
    id: &MessageId,
    contact: ContactId,
) -> Result<bool, StoreError> {
    let key = key2(&key1(contact.get()), id.as_bytes());
    Ok(tx.get(Table::Gone, &key)?.is_some())
}

pub(super) fn view(row: MessageRow) -> Message {
    let shown = row.reactions.into_iter().filter(|reaction| !reaction.emoji.is_empty());
    Message {
        seq: row.seq,
        id: row.id,
        contact: row.contact,
        direction: row.direction,
        kind: row.kind,
        sent_at_claimed: row.sent_at,
        state: row.state,
        hold: row.hold,
        edited_at_claimed: (row.edited_at > 0).then(|| UnixMillis::new(row.edited_at)),
        reactions: shown.map(|one| MessageReaction { by: one.by, emoji: one.emoji }).collect(),
        timer_seconds: row.timer,
        disappears_at: row.erase_at.map(UnixMillis::new),
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// A message of the history by its id alone: the one that this profile sent, or else the one
    /// that a contact sent. A contact chooses the ids of what they send, so that theirs may be that
    /// of another message: what an event tells of is found with [`Engine::received_message`].
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`].
    pub fn message(&mut self, id: MessageId) -> Result<Message, EngineError> {
        self.store.transaction(|tx| {
            let place: Option<u64> = load(tx, Table::MessageIds, &outgoing_key(&id))?;
            let place = match place {
                Some(place) => place,
                None => {
                    let prefix = [&[1][..], id.as_bytes()].concat();
                    let rows = tx.scan(Table::MessageIds, &prefix, None, Order::Ascending, 1)?;
                    let row = rows.first().ok_or(EngineError::UnknownMessage)?;
                    decode(Table::MessageIds, &row.value)?
                }
            };
            Ok(view(must_message(tx, place)?))
        })
    }

    /// The message with this id that this contact sent.
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`].
    pub fn received_message(
        &mut self,
        contact: ContactId,
        id: MessageId,
    ) -> Result<Message, EngineError> {
        self.store.transaction(|tx| {
            let place: Option<u64> = load(tx, Table::MessageIds, &incoming_key(&id, contact))?;
            let place = place.ok_or(EngineError::UnknownMessage)?;
            Ok(view(must_message(tx, place)?))
        })
    }

    /// The message at a place of the history ([`Message::seq`]).
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`].
    pub fn message_at(&mut self, place: u64) -> Result<Message, EngineError> {
        self.store
            .transaction(|tx| load_message(tx, place)?.map(view).ok_or(EngineError::UnknownMessage))
    }

    /// The last `limit` messages with a contact, before a place if one is given, oldest first.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn history(
        &mut self,
        contact: ContactId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, EngineError> {
        self.store.transaction(|tx| {
            load_contact(tx, contact)?;
            let prefix = key1(contact.get());
            let from = before.map(|place| [prefix, key1(place)].concat());
            let rows =
                tx.scan(Table::History, &prefix, from.as_deref(), Order::Descending, limit)?;
            let mut messages = Vec::new();
            for row in rows.iter().rev() {
                let place = number(&row.key, "a place in the history")?;
                messages.push(view(must_message(tx, place)?));
            }
            Ok(messages)
        })
    }
}
