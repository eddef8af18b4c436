//! What follows from the content of an opened envelope.

use super::contacts::{load_contact, save_contact, stands_for_another};
use super::events::emit;
use super::first_contact::add_route;
use super::history::{add_message, is_known, outgoing};
use super::outbox::advance;
use super::rows::{
    ContactRow, MessageRow, OutRow, Secret, SentRow, TransferRow, Want, decode, key1, key2, load,
    next_number, save,
};
use super::{EngineError, clean_name, reset_links};
use crate::content::{Body, Content};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId};
use crate::message::{Direction, FileInfo, MessageKind, MessageState};
use crate::routing::Routing;
use crate::store::{StoreError, Table, Transaction};

/// Takes up a content. True if a message came into the history. A content that can't be read is
/// told to the application and never stops what comes behind it.
pub(super) fn handle(
    tx: &mut dyn Transaction,
    contact: ContactId,
    bytes: &[u8],
) -> Result<bool, EngineError> {
    let content = match Content::decode(bytes) {
        Ok(content) => content,
        Err(error) => {
            let code = error.code().to_owned();
            emit(tx, EventKind::ContentRefused { contact, code })?;
            return Ok(false);
        }
    };
    if content.body.is_acknowledged() {
        let key = key2(&key1(contact.get()), content.id.as_bytes());
        save(tx, Table::Acks, &key, &0_u64)?;
    }
    match &content.body {
        Body::Text(_) | Body::Attachment(_) | Body::Custom { .. } | Body::Unknown { .. } => {
            return record(tx, contact, content, bytes);
        }
        Body::DeliveryAck(ids) => delivered(tx, contact, ids)?,
        Body::ReadReceipt(ids) => read(tx, contact, ids)?,
        Body::Profile { name } => profile(tx, contact, name)?,
        Body::MailboxMove(route) if Routing::from_bytes(route.as_bytes()).is_some() => {
            add_route(tx, contact, route.as_bytes())?;
        }
        Body::MailboxMove(_) => {
            let code = "R-306".to_owned();
            emit(tx, EventKind::ContentRefused { contact, code })?;
        }
        Body::ResetLink(link) => reset_links::received(tx, contact, link.as_bytes())?,
        // Said when the session began; it has begun.
        Body::ResetNotice { .. } => {}
        Body::Typing(active) => {
            let active = *active;
            emit(tx, EventKind::Typing { contact, active })?;
        }
        other => {
            let (kind, content) = (other.kind(), bytes.to_vec());
            emit(tx, EventKind::Other { contact, kind, content })?;
        }
    }
    Ok(false)
}

/// Puts an incoming message into the history, once.
fn record(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: Content,
    bytes: &[u8],
) -> Result<bool, EngineError> {
    let Content { id, sent_at, body } = content;
    if is_known(tx, &id, contact)? {
        return Ok(false);
    }
    let seq = next_number(tx, "message")?;
    let file = matches!(body, Body::Attachment(_));
    let kind = match body {
        Body::Text(text) => MessageKind::Text { text },
        Body::Attachment(attachment) => MessageKind::File(FileInfo {
            name: attachment.name,
            size: attachment.size,
            media_type: attachment.media_type,
            path: None,
            caption: attachment.caption,
        }),
        Body::Custom { name, payload } => MessageKind::Custom { name, payload },
        Body::Unknown { kind, payload } => MessageKind::Unknown { kind, payload },
        _ => return Ok(false),
    };
    let message = MessageRow {
        seq,
        id,
        contact,
        direction: Direction::Incoming,
        kind,
        sent_at,
        state: MessageState::Received,
        hold: None,
        edited_at: 0,
        reactions: Vec::new(),
        timer: load_contact(tx, contact)?.timer,
        erase_at: None,
    };
    add_message(tx, &message)?;
    if file {
        let row = TransferRow::Down {
            contact: contact.get(),
            content: Secret::new(bytes),
            want: Want::Undecided,
        };
        save(tx, Table::Transfers, &key1(seq), &row)?;
    }
    emit(tx, EventKind::MessageReceived { contact, id })?;
    Ok(true)
}

/// The contact has these on its disk: they need not be kept for resending.
fn delivered(
    tx: &mut dyn Transaction,
    contact: ContactId,
    ids: &[MessageId],
) -> Result<(), StoreError> {
    for id in ids {
        let key = key2(&key1(contact.get()), id.as_bytes());
        if let Some(row) = load::<SentRow>(tx, Table::Unacknowledged, &key)? {
            tx.delete(Table::Unacknowledged, &key)?;
            advance(tx, row.message, MessageState::Delivered)?;
        } else if !overtaken(tx, contact, id)? {
            // It had expired here when they fetched it after all.
            reached(tx, contact, id, MessageState::Delivered)?;
        }
    }
    Ok(())
}

/// The acknowledgement came before the relay's own answer: the message need not go out again.
/// True if it was so.
fn overtaken(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &MessageId,
) -> Result<bool, StoreError> {
    let mut found = None;
    super::contacts::for_each(tx, Table::Outbox, &key1(contact.get()), |key, value| {
        let row: OutRow = decode(Table::Outbox, value)?;
        if row.id == *id.as_bytes() {
            found = Some((key.to_vec(), row.message));
        }
        Ok(())
    })?;
    let Some((key, message)) = found else {
        return Ok(false);
    };
    tx.delete(Table::Outbox, &key)?;
    advance(tx, message, MessageState::Delivered)?;
    Ok(true)
}

fn read(tx: &mut dyn Transaction, contact: ContactId, ids: &[MessageId]) -> Result<(), StoreError> {
    for id in ids {
        reached(tx, contact, id, MessageState::Read)?;
    }
    Ok(())
}

/// Brings a message further that this contact says to have.
fn reached(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &MessageId,
    state: MessageState,
) -> Result<(), StoreError> {
    // it counts from the one to whom the message was sent only.
    match outgoing(tx, contact, id)? {
        Some(message) => advance(tx, Some(message.seq), state),
        None => Ok(()),
    }
}

fn profile(tx: &mut dyn Transaction, contact: ContactId, name: &str) -> Result<(), EngineError> {
    // A name that stands for another contact is not taken up: they stay what they are called here.
    let Some(name) = clean_name(name).filter(|name| !stands_for_another(name)) else {
        return Ok(());
    };
    let mut row: ContactRow = load_contact(tx, contact)?;
    if row.profile_name.as_deref() == Some(&name) {
        return Ok(());
    }
    row.profile_name = Some(name.clone());
    if !row.name_is_ours {
        row.name = name.clone();
    }
    save_contact(tx, contact, &row)?;
    Ok(emit(tx, EventKind::ContactRenamed { contact, name })?)
}
