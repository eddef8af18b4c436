//! What is sent again after a reset: everything that is not known to be delivered, in its order,
//! under its ids. Towards a verified contact the person here agrees first: who calls may have come
//! into possession of the contact's device.

use super::EngineError;
use super::contacts::{for_each, load_contact};
use super::events::emit;
use super::history::{load_message, save_message};
use super::outbox::advance;
use super::rows::{
    ContactRow, OutRow, OutState, Secret, SentRow, corrupt, decode, key1, key2, number, save,
};
use crate::content::{Body, Content};
use crate::event::EventKind;
use crate::ids::ContactId;
use crate::message::{Hold, MessageState};
use crate::store::{StoreError, Table, Transaction};

/// What becomes of a content after a reset.
enum Again {
    /// Something newer has been sent in its place.
    Superseded,
    /// It says nothing that the person has not told everybody.
    Freely,
    /// It is the person's word.
    WithConsent,
}

fn again(content: &Secret) -> Result<Again, StoreError> {
    if content.bytes().is_empty() {
        // Erased since.
        return Ok(Again::Superseded);
    }
    let content =
        Content::decode(content.bytes()).map_err(|_| corrupt("a content that was sent"))?;
    Ok(match content.body {
        Body::MailboxMove(_) | Body::ResetLink(_) | Body::ResetNotice { .. } => Again::Superseded,
        Body::DeliveryAck(_)
        | Body::ReadReceipt(_)
        | Body::Profile { .. }
        | Body::Delete(_)
        | Body::Disappearing { .. }
        | Body::DeviceList(_)
        | Body::Typing(_) => Again::Freely,
        _ => Again::WithConsent,
    })
}

/// After sessions have been retired: what was sealed in them is taken back into the outbox, and
/// what was sent and not acknowledged goes there again.
pub(super) fn requeue(
    tx: &mut dyn Transaction,
    contact: ContactId,
    today: u32,
) -> Result<(), EngineError> {
    let row = load_contact(tx, contact)?;
    take_back(tx, contact, &row, today)?;
    let prefix = key1(contact.get());
    let mut sent: Vec<(Vec<u8>, SentRow)> = Vec::new();
    for_each(tx, Table::Unacknowledged, &prefix, |key, value| {
        sent.push((key.to_vec(), decode(Table::Unacknowledged, value)?));
        Ok(())
    })?;
    let mut waiting = 0_u64;
    for (key, mut one) in sent {
        match again(&one.content)? {
            Again::Superseded => tx.delete(Table::Unacknowledged, &key)?,
            Again::WithConsent if row.verified => {
                waiting = waiting.saturating_add(u64::from(one.message.is_some()));
                if !one.awaits_consent {
                    one.awaits_consent = true;
                    // Counted from today: it must not expire before the person was asked.
                    one.day = today;
                    hold(tx, one.message, Some(Hold::ConsentNeeded))?;
                    save(tx, Table::Unacknowledged, &key, &one)?;
                }
            }
            Again::Freely | Again::WithConsent => put_back(tx, contact, &key, one)?,
        }
    }
    if waiting > 0 {
        emit(tx, EventKind::ResendNeedsConsent { contact, count: waiting })?;
    }
    Ok(())
}

/// Takes out of the outbox what says where to write to and how to start anew: the present is about to
/// be said, and what waits behind it would undo that. (A store that was put back may have such words
/// waiting about mailboxes that are gone.)
pub(super) fn drop_addresses(
    tx: &mut dyn Transaction,
    contact: ContactId,
) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    for_each(tx, Table::Outbox, &key1(contact.get()), |key, value| {
        let out: OutRow = decode(Table::Outbox, value)?;
        if out.content.bytes().is_empty() {
            // Erased since it was sealed.
            return Ok(());
        }
        let content =
            Content::decode(out.content.bytes()).map_err(|_| corrupt("a content that waits"))?;
        if matches!(content.body, Body::MailboxMove(_) | Body::ResetLink(_)) {
            gone.push(key.to_vec());
        }
        Ok(())
    })?;
    for key in gone {
        tx.delete(Table::Outbox, &key)?;
    }
    Ok(())
}

/// Sealed in a session that is retired, and not known to be accepted: it may have arrived.
fn take_back(
    tx: &mut dyn Transaction,
    contact: ContactId,
    row: &ContactRow,
    today: u32,
) -> Result<(), EngineError> {
    let current = |id: &[u8; 32]| row.sessions().any(|one| one.id == *id && one.retired.is_none());
    let prefix = key1(contact.get());
    let mut back: Vec<(Vec<u8>, OutRow)> = Vec::new();
    for_each(tx, Table::Outbox, &prefix, |key, value| {
        let out: OutRow = decode(Table::Outbox, value)?;
        if let OutState::Sealed(sealed) = &out.state
            && !sealed.session.as_ref().is_some_and(current)
        {
            back.push((key.to_vec(), out));
        }
        Ok(())
    })?;
    for (key, mut out) in back {
        match again(&out.content)? {
            Again::Superseded => tx.delete(Table::Outbox, &key)?,
            Again::WithConsent if row.verified => {
                tx.delete(Table::Outbox, &key)?;
                let sent = SentRow {
                    content: out.content,
                    message: out.message,
                    day: today,
                    place: number(&key, "a place in the outbox")?,
                    awaits_consent: false,
                };
                save(tx, Table::Unacknowledged, &key2(&prefix, &out.id), &sent)?;
            }
            Again::Freely | Again::WithConsent => {
                out.state = OutState::Ready;
                out.session = None;
                save(tx, Table::Outbox, &key, &out)?;
            }
        }
    }
    Ok(())
}

/// Into the outbox again, where it stood.
fn put_back(
    tx: &mut dyn Transaction,
    contact: ContactId,
    key: &[u8],
    sent: SentRow,
) -> Result<(), StoreError> {
    tx.delete(Table::Unacknowledged, key)?;
    hold(tx, sent.message, None)?;
    let out = OutRow {
        id: *key.last_chunk().ok_or_else(|| corrupt("a message id"))?,
        content: sent.content,
        acknowledged_by_peer: true,
        session: None,
        message: sent.message,
        state: OutState::Ready,
        hold: None,
    };
    save(tx, Table::Outbox, &key2(&key1(contact.get()), &key1(sent.place)), &out)
}

fn hold(
    tx: &mut dyn Transaction,
    place: Option<u64>,
    hold: Option<Hold>,
) -> Result<(), StoreError> {
    let Some(place) = place else { return Ok(()) };
    // Gone if the person deleted it meanwhile.
    let Some(mut message) = load_message(tx, place)? else {
        return Ok(());
    };
    message.hold = hold;
    save_message(tx, &message)
}

/// The person has decided about what waits for their consent.
pub(super) fn decide(
    tx: &mut dyn Transaction,
    contact: ContactId,
    again: bool,
) -> Result<u64, EngineError> {
    let mut waiting: Vec<(Vec<u8>, SentRow)> = Vec::new();
    for_each(tx, Table::Unacknowledged, &key1(contact.get()), |key, value| {
        let sent: SentRow = decode(Table::Unacknowledged, value)?;
        if sent.awaits_consent {
            waiting.push((key.to_vec(), sent));
        }
        Ok(())
    })?;
    let mut count = 0_u64;
    for (key, sent) in waiting {
        count = count.saturating_add(u64::from(sent.message.is_some()));
        if again {
            put_back(tx, contact, &key, sent)?;
        } else {
            tx.delete(Table::Unacknowledged, &key)?;
            let reason = "it was not sent again after the session had started anew".to_owned();
            advance(tx, sent.message, MessageState::Failed { reason })?;
        }
    }
    Ok(count)
}
