//! What follows from the content of an opened envelope.

use std::collections::HashSet;

use undertone_core::rand_core::CryptoRng;
use undertone_core::{DeviceList, IdentityError};

use super::contacts::{load_contact, save_contact, stands_for_another};
use super::events::emit;
use super::first_contact::{add_route, close_removed, known_record};
use super::history::{add_message, is_known, outgoing};
use super::outbox::come_further;
use super::rows::{
    ContactRow, MessageRow, OutRow, Secret, SentRow, TransferRow, Want, decode, key1, key2, load,
    next_number, save,
};
use super::{EngineError, changes, clean_name, day, receipts, reset_links, timers};
use crate::content::{Body, Content};
use crate::event::{EventKind, Typing};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, FileInfo, MessageKind, MessageState};
use crate::routing::Routing;
use crate::store::{StoreError, Table, Transaction};

/// What is needed here beside the transaction.
pub(super) struct Here<'a, R> {
    pub(super) rng: &'a mut R,
    pub(super) now: UnixMillis,
    /// Our account key.
    pub(super) account: [u8; 32],
}

/// What a content brings about beside rows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Effect {
    /// A message came into the history.
    pub(super) message: bool,
    /// Somebody writes, or has stopped. Not stored anywhere.
    pub(super) typing: Option<Typing>,
}

/// Takes up a content. A content that can't be read is told to the application and never stops what
/// comes behind it.
pub(super) fn handle<R: CryptoRng>(
    tx: &mut dyn Transaction,
    here: &mut Here<'_, R>,
    contact: ContactId,
    bytes: &[u8],
) -> Result<Effect, EngineError> {
    let content = match Content::decode(bytes) {
        Ok(content) => content,
        Err(error) => {
            refuse(tx, contact, error.code())?;
            return Ok(Effect::default());
        }
    };
    if content.body.is_acknowledged() {
        receipts::owe(tx, here.rng, Table::Acks, (contact, &content.id), here.now)?;
    }
    let mut effect = Effect::default();
    match &content.body {
        Body::Text(_) | Body::Attachment(_) | Body::Custom { .. } | Body::Unknown { .. } => {
            effect.message = record(tx, contact, content, bytes)?;
        }
        Body::Reaction(_) | Body::Edit { .. } | Body::Delete(_) => {
            changes::refer(tx, contact, &content, bytes, day(here.now).get())?;
        }
        Body::DeliveryAck(ids) => delivered(tx, contact, ids, here.now)?,
        Body::ReadReceipt(ids) => read(tx, contact, ids, here.now)?,
        Body::Profile { name } => profile(tx, contact, name)?,
        Body::Disappearing { seconds } => {
            timers::told(tx, contact, &here.account, *seconds, content.sent_at)?;
        }
        Body::MailboxMove(route) if Routing::from_bytes(route.as_bytes()).is_some() => {
            add_route(tx, contact, route.as_bytes())?;
        }
        Body::MailboxMove(_) => refuse(tx, contact, "R-306")?,
        Body::DeviceList(list) => device_list(tx, contact, list)?,
        Body::ResetLink(link) => reset_links::received(tx, contact, link.as_bytes())?,
        // R-1306: said when the session began; it has begun.
        Body::ResetNotice { .. } => {}
        Body::Typing(active) => effect.typing = Some(Typing { contact, active: *active }),
    }
    Ok(effect)
}

/// Tells that a contact's content broke a rule, and was not taken up.
fn refuse(tx: &mut dyn Transaction, contact: ContactId, code: &str) -> Result<(), StoreError> {
    emit(tx, EventKind::ContentRefused { contact, code: code.to_owned() })
}

/// Puts an incoming message into the history, once.
fn record(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: Content,
    bytes: &[u8],
) -> Result<bool, EngineError> {
    let Content { id, sent_at, body } = content;
    // R-1312
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
    changes::catch_up(tx, contact, &id)?;
    Ok(true)
}

/// The contact has these on its disk: they need not be kept for resending.
fn delivered(
    tx: &mut dyn Transaction,
    contact: ContactId,
    ids: &[MessageId],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let mut unknown = Vec::new();
    for id in ids {
        let key = key2(&key1(contact.get()), id.as_bytes());
        if let Some(row) = load::<SentRow>(tx, Table::Unacknowledged, &key)? {
            tx.delete(Table::Unacknowledged, &key)?;
            come_further(tx, row.message, MessageState::Delivered, now)?;
        } else {
            unknown.push(*id);
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    overtaken(tx, contact, &mut unknown, now)?;
    for id in unknown {
        // It had expired here when they fetched it after all.
        reached(tx, contact, &id, MessageState::Delivered, now)?;
    }
    Ok(())
}

/// The acknowledgement came before the relay's own answer: the message need not go out again. Takes out
/// of `ids` those of which it was so. The outbox is read once, however many ids there are: a contact
/// can make them up.
fn overtaken(
    tx: &mut dyn Transaction,
    contact: ContactId,
    ids: &mut Vec<MessageId>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let wanted: HashSet<[u8; 16]> = ids.iter().map(|id| *id.as_bytes()).collect();
    let mut found = Vec::new();
    super::contacts::for_each(tx, Table::Outbox, &key1(contact.get()), |key, value| {
        let row: OutRow = decode(Table::Outbox, value)?;
        if wanted.contains(&row.id) {
            found.push((key.to_vec(), row.id, row.message));
        }
        Ok(())
    })?;
    for (key, id, message) in found {
        tx.delete(Table::Outbox, &key)?;
        come_further(tx, message, MessageState::Delivered, now)?;
        ids.retain(|one| *one.as_bytes() != id);
    }
    Ok(())
}

fn read(
    tx: &mut dyn Transaction,
    contact: ContactId,
    ids: &[MessageId],
    now: UnixMillis,
) -> Result<(), StoreError> {
    for id in ids {
        reached(tx, contact, id, MessageState::Read, now)?;
    }
    Ok(())
}

/// Brings a message further that this contact says to have.
fn reached(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &MessageId,
    state: MessageState,
    now: UnixMillis,
) -> Result<(), StoreError> {
    // it counts from the one to whom the message was sent only.
    match outgoing(tx, contact, id)? {
        Some(message) => come_further(tx, Some(message.seq), state, now),
        None => Ok(()),
    }
}

fn profile(tx: &mut dyn Transaction, contact: ContactId, name: &str) -> Result<(), EngineError> {
    // one that stands for another contact, too. They stay what they are called here.
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

/// A contact's devices have changed. The list is held against the one that is known, by the rules of
/// `protocol-spec/02-identity.md`; sessions of devices that are not on it any more end at once.
fn device_list(
    tx: &mut dyn Transaction,
    contact: ContactId,
    list: &[u8],
) -> Result<(), EngineError> {
    let list = match DeviceList::parse(list) {
        Ok(list) => list,
        Err(error) => return Ok(refuse(tx, contact, error.code())?),
    };
    let mut row = load_contact(tx, contact)?;
    // Also where no list of theirs is known.
    if *list.account().as_bytes() != row.account {
        return Ok(refuse(tx, contact, IdentityError::OtherAccount.code())?);
    }
    if let Err(error) = list.follows(known_record(tx, Some(contact))?.as_ref()) {
        return Ok(refuse(tx, contact, error.code())?);
    }
    row.list_record = list.record().to_bytes().to_vec();
    close_removed(tx, &mut row, &list)?;
    Ok(save_contact(tx, contact, &row)?)
}
