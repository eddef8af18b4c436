//! Reactions, edits and deletions: contents that refer to a message. Each is checked against who
//! wrote the message, and applied once: of two by the same person about the same message, the one
//! that claims the later time stands, in whichever order they come.

use std::collections::HashSet;

use undertone_core::rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::contacts::{for_each, load_contact};
use super::events::{self, emit};
use super::history::{
    incoming, is_gone, load_message, note_erased, outgoing, remove_message, save_message,
};
use super::outbox::enqueue_control;
use super::rows::{
    MessageRow, OutRow, OutState, ReactionRow, Secret, decode, key1, key2, number, save,
};
use super::{Engine, EngineError, early, random};
use crate::content::{Body, Content, MAX_REACTION, MAX_TEXT, Reaction};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, MessageKind, MessageState};
use crate::store::{Store, StoreError, Table, Transaction};

/// What became of a content that refers to a message.
enum Applied {
    /// It is done, or was superseded, or the message is gone.
    Settled,
    /// The rule that it breaks.
    Refused(&'static str),
    /// The message has not come (yet).
    Unknown,
}

/// The message that a content refers to, if it is of a kind that refers to one.
pub(super) const fn target_of(body: &Body) -> Option<MessageId> {
    match body {
        Body::Reaction(Reaction { target, .. })
        | Body::Edit { target, .. }
        | Body::Delete(target) => Some(*target),
        _ => None,
    }
}

/// Takes up a content of a contact that refers to a message. If the message is not here, it is kept
/// until the message comes.
pub(super) fn refer(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: &Content,
    bytes: &[u8],
    today: u32,
) -> Result<(), EngineError> {
    match apply(tx, contact, content)? {
        Applied::Settled => Ok(()),
        Applied::Refused(code) => {
            Ok(emit(tx, EventKind::ContentRefused { contact, code: code.to_owned() })?)
        }
        Applied::Unknown => match target_of(&content.body) {
            Some(target) => Ok(early::keep(tx, contact, &target, bytes, today)?),
            None => Ok(()),
        },
    }
}

fn apply(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: &Content,
) -> Result<Applied, StoreError> {
    let at = content.sent_at.get().max(1);
    match &content.body {
        // a reaction says something, or takes back.
        Body::Reaction(Reaction { removed: false, emoji, .. }) if emoji.is_empty() => {
            Ok(Applied::Refused("R-910"))
        }
        Body::Reaction(Reaction { target, emoji, removed }) => {
            let row = match outgoing(tx, contact, target)? {
                Some(row) => Some(row),
                None => incoming(tx, contact, target)?,
            };
            let Some(row) = row else { return missing(tx, contact, target) };
            let emoji = if *removed { "" } else { emoji.as_str() };
            react(tx, row, Direction::Incoming, emoji, at)?;
            Ok(Applied::Settled)
        }
        Body::Edit { target, text } => match theirs(tx, contact, target)? {
            Theirs::Message(row) => edit(tx, *row, text, at),
            Theirs::Not(applied) => Ok(applied),
        },
        Body::Delete(target) => match theirs(tx, contact, target)? {
            Theirs::Message(row) => {
                delete(tx, *row)?;
                Ok(Applied::Settled)
            }
            Theirs::Not(applied) => Ok(applied),
        },
        _ => Ok(Applied::Settled),
    }
}

enum Theirs {
    Message(Box<MessageRow>),
    Not(Applied),
}

/// The message that this contact wrote, for them to change. R-908: nobody else may.
fn theirs(
    tx: &dyn Transaction,
    contact: ContactId,
    target: &MessageId,
) -> Result<Theirs, StoreError> {
    if let Some(row) = incoming(tx, contact, target)? {
        return Ok(Theirs::Message(Box::new(row)));
    }
    if outgoing(tx, contact, target)?.is_some() {
        return Ok(Theirs::Not(Applied::Refused("R-908")));
    }
    missing(tx, contact, target).map(Theirs::Not)
}

fn missing(
    tx: &dyn Transaction,
    contact: ContactId,
    target: &MessageId,
) -> Result<Applied, StoreError> {
    Ok(if is_gone(tx, target, contact)? { Applied::Settled } else { Applied::Unknown })
}

/// Sets the one reaction of a side; an empty one takes it back.
fn react(
    tx: &mut dyn Transaction,
    mut row: MessageRow,
    by: Direction,
    emoji: &str,
    at: u64,
) -> Result<(), StoreError> {
    if row.kind == MessageKind::Deleted {
        return Ok(());
    }
    let before = row.reactions.iter().position(|one| one.by == by);
    let before = before.map(|at| row.reactions.swap_remove(at));
    if before.as_ref().is_some_and(|before| before.at >= at) {
        return Ok(());
    }
    let shown = before.map(|before| before.emoji).unwrap_or_default();
    row.reactions.push(ReactionRow { by, emoji: emoji.to_owned(), at });
    save_message(tx, &row)?;
    if shown == emoji {
        return Ok(());
    }
    let MessageRow { contact, id, direction, .. } = row;
    let emoji = (!emoji.is_empty()).then(|| emoji.to_owned());
    emit(tx, EventKind::ReactionChanged { contact, id, direction, by, emoji })
}

fn edit(
    tx: &mut dyn Transaction,
    mut row: MessageRow,
    text: &str,
    at: u64,
) -> Result<Applied, StoreError> {
    match &mut row.kind {
        MessageKind::Deleted => return Ok(Applied::Settled),
        _ if row.edited_at >= at => return Ok(Applied::Settled),
        MessageKind::Text { text: old } => text.clone_into(old),
        MessageKind::File(file) => text.clone_into(&mut file.caption),
        // there is no text to change.
        MessageKind::Custom { .. } | MessageKind::Unknown { .. } => {
            return Ok(Applied::Refused("R-909"));
        }
    }
    row.edited_at = at;
    save_message(tx, &row)?;
    note_erased(tx)?;
    let MessageRow { contact, id, direction, .. } = row;
    emit(tx, EventKind::MessageEdited { contact, id, direction })?;
    Ok(Applied::Settled)
}

/// Leaves of a message only that there was one.
fn delete(tx: &mut dyn Transaction, mut row: MessageRow) -> Result<(), StoreError> {
    if row.kind == MessageKind::Deleted {
        return Ok(());
    }
    let mut repeated = HashSet::new();
    drop_attached(tx, &row, &mut repeated)?;
    events::forget(tx, &repeated)?;
    row.kind = MessageKind::Deleted;
    row.reactions.clear();
    row.edited_at = 0;
    save_message(tx, &row)?;
    note_erased(tx)?;
    let MessageRow { contact, id, direction, .. } = row;
    emit(tx, EventKind::MessageDeleted { contact, id, direction })
}

/// What belongs to a message that goes: the log is to repeat nothing of it (noted in `repeated`, for
/// [`events::forget`]); a file is not fetched any more, and what was fetched is to be removed.
fn drop_attached(
    tx: &mut dyn Transaction,
    row: &MessageRow,
    repeated: &mut HashSet<(ContactId, MessageId)>,
) -> Result<(), StoreError> {
    let has_path = matches!(&row.kind, MessageKind::File(file) if file.path.is_some());
    if has_path || !row.reactions.is_empty() {
        repeated.insert((row.contact, row.id));
    }
    if !matches!(row.kind, MessageKind::File(_)) {
        return Ok(());
    }
    tx.delete(Table::Transfers, &key1(row.seq))?;
    if row.direction == Direction::Incoming {
        let key = key2(&key1(row.contact.get()), row.id.as_bytes());
        tx.put(Table::Removals, &key, &[])?;
    }
    Ok(())
}

/// Takes a message away altogether, here. What came is remembered by its id, so that a repeat is
/// not shown; what was to go out, and has not been sealed, does not. What the log repeats of it is noted
/// in `repeated`, for [`events::forget`].
pub(super) fn erase(
    tx: &mut dyn Transaction,
    row: &MessageRow,
    today: u32,
    repeated: &mut HashSet<(ContactId, MessageId)>,
) -> Result<(), StoreError> {
    drop_attached(tx, row, repeated)?;
    remove_message(tx, row)?;
    if let Some(at) = row.erase_at {
        tx.delete(Table::Erasures, &key2(&key1(at), &key1(row.seq)))?;
    }
    match row.direction {
        Direction::Outgoing => forget_content(tx, row.contact, &row.id)?,
        Direction::Incoming => {
            let key = key2(&key1(row.contact.get()), row.id.as_bytes());
            save(tx, Table::Gone, &key, &today)?;
        }
    }
    note_erased(tx)?;
    let MessageRow { contact, id, direction, .. } = *row;
    emit(tx, EventKind::MessageErased { contact, id, direction })
}

/// What was sent, or waits to be, is not kept for sending again. Sealed bytes still go out, since
/// what is behind them counts on it; without their content they are never sealed anew.
fn forget_content(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &MessageId,
) -> Result<(), StoreError> {
    let prefix = key1(contact.get());
    tx.delete(Table::Unacknowledged, &key2(&prefix, id.as_bytes()))?;
    let mut found = Vec::new();
    for_each(tx, Table::Outbox, &prefix, |key, value| {
        let row: OutRow = decode(Table::Outbox, value)?;
        if row.id == *id.as_bytes() {
            found.push((key.to_vec(), row));
        }
        Ok(())
    })?;
    for (key, mut row) in found {
        if matches!(row.state, OutState::Sealed(_)) {
            row.content = Secret::new(&[]);
            save(tx, Table::Outbox, &key, &row)?;
            continue;
        }
        tx.delete(Table::Outbox, &key)?;
        if let Some(place) = row.message {
            tx.delete(Table::Transfers, &key1(place))?;
        }
    }
    Ok(())
}

/// A time for what is said about a message: now, but later than what was said before.
fn later(now: UnixMillis, before: u64) -> UnixMillis {
    UnixMillis::new(now.get().max(before.saturating_add(1)))
}

/// The message at this place, which the person here wants to say something about.
fn addressed(tx: &dyn Transaction, place: u64) -> Result<MessageRow, EngineError> {
    let row = load_message(tx, place)?.ok_or(EngineError::UnknownMessage)?;
    if load_contact(tx, row.contact)?.blocked {
        return Err(EngineError::ContactBlocked);
    }
    Ok(row)
}

/// The same, of a message of one's own.
fn own(tx: &dyn Transaction, place: u64) -> Result<MessageRow, EngineError> {
    let row = addressed(tx, place)?;
    match row.direction {
        Direction::Outgoing => Ok(row),
        Direction::Incoming => Err(EngineError::NotYours),
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Reacts to the message at a place ([`Message::seq`](crate::message::Message::seq)), in the
    /// place of an earlier reaction; `None` takes it back.
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`]; [`EngineError::NotChangeable`] if the message is deleted;
    /// [`EngineError::EmptyText`], [`EngineError::TooLong`] beyond 64 bytes;
    /// [`EngineError::ContactBlocked`].
    pub fn react(
        &mut self,
        place: u64,
        emoji: Option<&str>,
        now: UnixMillis,
    ) -> Result<(), EngineError> {
        match emoji {
            Some("") => return Err(EngineError::EmptyText),
            Some(emoji) if emoji.len() > MAX_REACTION => {
                return Err(EngineError::TooLong { length: emoji.len(), max: MAX_REACTION });
            }
            _ => {}
        }
        let id = MessageId::from_bytes(random(&mut self.rng));
        self.store.transaction(|tx| {
            let row = addressed(tx, place)?;
            if row.kind == MessageKind::Deleted {
                return Err(EngineError::NotChangeable { reason: DELETED });
            }
            let before = row.reactions.iter().find(|one| one.by == Direction::Outgoing);
            let (shown, at) = before.map_or(("", 0), |one| (one.emoji.as_str(), one.at));
            if shown == emoji.unwrap_or_default() {
                return Ok(());
            }
            let (sent_at, contact) = (later(now, at), row.contact);
            let body = Body::Reaction(Reaction {
                target: row.id,
                emoji: emoji.unwrap_or(shown).to_owned(),
                removed: emoji.is_none(),
            });
            react(tx, row, Direction::Outgoing, emoji.unwrap_or_default(), sent_at.get())?;
            enqueue_control(tx, contact, &Content { id, sent_at, body }, None)
        })
    }

    /// Gives a message of one's own another text (a file: another caption). What it said before is
    /// not kept.
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`], [`EngineError::NotYours`], [`EngineError::NotChangeable`],
    /// [`EngineError::EmptyText`], [`EngineError::TooLong`], [`EngineError::ContactBlocked`].
    pub fn edit(&mut self, place: u64, text: &str, now: UnixMillis) -> Result<(), EngineError> {
        if text.len() > MAX_TEXT {
            return Err(EngineError::TooLong { length: text.len(), max: MAX_TEXT });
        }
        let id = MessageId::from_bytes(random(&mut self.rng));
        self.store.transaction(|tx| {
            let row = own(tx, place)?;
            let reason = match (&row.kind, &row.state) {
                (MessageKind::Deleted, _) => Some(DELETED),
                (_, MessageState::Failed { .. }) => Some("it was never sent"),
                (MessageKind::Text { .. }, _) if text.is_empty() => {
                    return Err(EngineError::EmptyText);
                }
                (MessageKind::Text { .. } | MessageKind::File(_), _) => None,
                _ => Some("it has no text"),
            };
            if let Some(reason) = reason {
                return Err(EngineError::NotChangeable { reason });
            }
            let (sent_at, contact) = (later(now, row.edited_at), row.contact);
            let body = Body::Edit { target: row.id, text: text.to_owned() };
            edit(tx, row, text, sent_at.get())?;
            enqueue_control(tx, contact, &Content { id, sent_at, body }, None)
        })
    }

    /// Takes a message of one's own back, here and at the contact. That there was one remains.
    /// Whoever has read it has read it.
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`], [`EngineError::NotYours`], [`EngineError::ContactBlocked`].
    pub fn delete_message(&mut self, place: u64, now: UnixMillis) -> Result<(), EngineError> {
        let id = MessageId::from_bytes(random(&mut self.rng));
        self.store.transaction(|tx| {
            let row = own(tx, place)?;
            if row.kind == MessageKind::Deleted {
                return Ok(());
            }
            let (contact, target) = (row.contact, row.id);
            let failed = matches!(row.state, MessageState::Failed { .. });
            forget_content(tx, contact, &target)?;
            delete(tx, row)?;
            if failed {
                return Ok(());
            }
            let content = Content { id, sent_at: now, body: Body::Delete(target) };
            enqueue_control(tx, contact, &content, None)
        })
    }

    /// Takes a message away here, whoever wrote it; the contact keeps theirs. One of one's own that
    /// has not gone out yet does not go out any more.
    ///
    /// # Errors
    /// [`EngineError::UnknownMessage`].
    pub fn erase_message(&mut self, place: u64, now: UnixMillis) -> Result<(), EngineError> {
        let today = super::day(now).get();
        self.store.transaction(|tx| {
            let row = load_message(tx, place)?.ok_or(EngineError::UnknownMessage)?;
            let mut repeated = HashSet::new();
            erase(tx, &row, today, &mut repeated)?;
            Ok(events::forget(tx, &repeated)?)
        })
    }

    /// Received files whose message is gone, for the caller to remove; each is told by
    /// [`Engine::file_removed`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn files_to_remove(&mut self) -> Result<Vec<(ContactId, MessageId)>, EngineError> {
        self.store.transaction(|tx| {
            let mut files = Vec::new();
            for_each(tx, Table::Removals, &[], |key, _| {
                let broken = || super::rows::corrupt("a file to be removed");
                let (contact, id) = key.split_at_checked(8).ok_or_else(broken)?;
                let contact = ContactId::new(number(contact, "a contact's number")?);
                let id = id.try_into().map_err(|_| broken())?;
                files.push((contact, MessageId::from_bytes(id)));
                Ok(())
            })?;
            Ok(files)
        })
    }

    /// A received file whose message is gone has been removed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn file_removed(&mut self, contact: ContactId, id: MessageId) -> Result<(), EngineError> {
        let key = key2(&key1(contact.get()), id.as_bytes());
        self.store.transaction(|tx| Ok(tx.delete(Table::Removals, &key)?))
    }
}

const DELETED: &str = "it was deleted";

/// A message has come: what came before it and refers to it is taken up.
pub(super) fn catch_up(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &MessageId,
) -> Result<(), EngineError> {
    for bytes in early::take(tx, contact, id)? {
        let bytes: Zeroizing<Vec<u8>> = bytes;
        let content = Content::decode(&bytes).map_err(|_| super::rows::corrupt("a content"))?;
        if let Applied::Refused(code) = apply(tx, contact, &content)? {
            emit(tx, EventKind::ContentRefused { contact, code: code.to_owned() })?;
        }
    }
    Ok(())
}
