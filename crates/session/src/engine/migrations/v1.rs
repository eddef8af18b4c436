//! Version 1, and the step to version 2: healing, blocked contacts, mailboxes that move, consent
//! before something is sent again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use undertone_core::Session;

use super::super::EngineError;
use super::super::contacts::for_each;
use super::super::rows::{self, HealingRow, Secret, decode, key1, number, save};
use crate::event::ResetCause;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::MessageKind as Kind;
use crate::message::{Direction, FileInfo, Hold, MessageState};
use crate::store::{Order, StoreError, Table, Transaction};

#[derive(Serialize, Deserialize)]
struct ContactRow {
    name: String,
    name_is_ours: bool,
    profile_name: Option<String>,
    account: [u8; 32],
    list_record: Vec<u8>,
    verified: bool,
    rolled_back: bool,
    needs_reset: bool,
    moved: bool,
    mailbox: [u8; 32],
    devices: Vec<DeviceRow>,
}

#[derive(Serialize, Deserialize)]
struct DeviceRow {
    keys: Vec<u8>,
    routes: Vec<Secret>,
    sessions: Vec<SessionRef>,
}

#[derive(Serialize, Deserialize)]
struct SessionRef {
    id: [u8; 32],
    peer_has: bool,
    first_contact: Option<Secret>,
}

#[derive(Serialize, Deserialize)]
enum LinkKind {
    SingleUse,
    Reusable,
    Reset,
}

#[derive(Serialize, Deserialize)]
enum LinkState {
    Preparing,
    Active,
}

#[derive(Serialize, Deserialize)]
struct LinkRow {
    kind: LinkKind,
    label: Option<String>,
    secret: Secret,
    depot_seed: Secret,
    mailbox: [u8; 32],
    state: LinkState,
    expires: u32,
    filled: u32,
}

#[derive(Serialize, Deserialize)]
struct PrekeyRow {
    secret: Option<Secret>,
    digest: [u8; 32],
    expiry: u32,
}

#[derive(Serialize, Deserialize)]
enum Purpose {
    Link(u64),
    Contact(u64),
    Adding,
}

#[derive(Serialize, Deserialize)]
enum TransferRow {
    Up {
        contact: u64,
        out: u64,
        blob: [u8; 32],
        read: Secret,
        delete: Secret,
        length: u64,
        sha256: [u8; 32],
        expires: u32,
    },
    Down {
        contact: u64,
        content: Secret,
    },
}

#[derive(Serialize, Deserialize)]
struct SessionRow {
    contact: u64,
    state: Secret,
}

#[derive(Serialize, Deserialize)]
struct MailboxRow {
    seed: Secret,
    relay: Vec<u8>,
    purpose: Purpose,
    live: bool,
    capability: Option<Secret>,
    incarnation: Option<[u8; 16]>,
    floor: u64,
}

#[derive(Serialize, Deserialize)]
enum OutState {
    Uploading,
    Ready,
    Sealed(SealedRow),
}

#[derive(Serialize, Deserialize)]
struct SealedRow {
    envelope: Vec<u8>,
    route: Secret,
    greets: bool,
}

#[derive(Serialize, Deserialize)]
struct OutRow {
    id: [u8; 16],
    content: Secret,
    acknowledged_by_peer: bool,
    session: Option<[u8; 32]>,
    message: Option<u64>,
    state: OutState,
    hold: Option<Hold>,
}

#[derive(Serialize, Deserialize)]
struct SentRow {
    content: Secret,
    message: Option<u64>,
    day: u32,
}

#[derive(Serialize, Deserialize)]
struct FileRow {
    name: String,
    size: u64,
    media_type: String,
    path: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
enum MessageKind {
    Text { text: String },
    File(FileRow),
    Custom { name: String, payload: Vec<u8> },
    Unknown { kind: u32, payload: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
struct MessageRow {
    seq: u64,
    #[serde(with = "crate::codec::message_id")]
    id: MessageId,
    #[serde(with = "crate::codec::contact_id")]
    contact: ContactId,
    direction: Direction,
    kind: MessageKind,
    #[serde(with = "crate::codec::unix_millis")]
    sent_at_claimed: UnixMillis,
    state: MessageState,
    hold: Option<Hold>,
}

/// The event that somebody is writing: its number in the log of version 1. Nothing durable is made
/// of it any more.
const TYPING_EVENT: u32 = 12;

/// Writes every row of a table anew.
fn rewrite<Old, New>(
    tx: &mut dyn Transaction,
    table: Table,
    mut convert: impl FnMut(&[u8], Old) -> Result<New, StoreError>,
) -> Result<(), StoreError>
where
    Old: serde::de::DeserializeOwned,
    New: Serialize,
{
    let mut changed = Vec::new();
    for_each(tx, table, &[], |key, value| {
        changed.push((key.to_vec(), convert(key, decode(table, value)?)?));
        Ok(())
    })?;
    for (key, row) in changed {
        save(tx, table, &key, &row)?;
    }
    Ok(())
}

pub(super) fn to_2(tx: &mut dyn Transaction) -> Result<(), EngineError> {
    rewrite(tx, Table::Contacts, |_, old| Ok(contact(old)))?;
    rewrite(tx, Table::Links, |_, old| Ok(link(old)))?;
    rewrite(tx, Table::Prekeys, |_, old: PrekeyRow| {
        let PrekeyRow { secret, digest, expiry } = old;
        Ok(rows::PrekeyRow { secret, digest, expiry, capability: None, reused: false })
    })?;
    rewrite(tx, Table::Transfers, |_, old| Ok(transfer(old)))?;
    rewrite(tx, Table::Sessions, |_, old: SessionRow| {
        let SessionRow { contact, state } = old;
        let session = Session::from_bytes(state.bytes());
        let session = session.map_err(|_| rows::corrupt("a session's state"))?;
        // When it healed was not kept.
        Ok(rows::SessionRow { contact, state, epochs: session.epoch(), healed_at: 0 })
    })?;
    rewrite(tx, Table::Mailboxes, |_, old| Ok(mailbox(old)))?;
    rewrite(tx, Table::Outbox, |_, old| Ok(out(old)))?;
    rewrite(tx, Table::Messages, |_, old| Ok(message(old)))?;
    sent(tx)?;
    owed(tx)?;
    drop_typing(tx)?;
    Ok(())
}

fn contact(old: ContactRow) -> rows::ContactRow {
    rows::ContactRow {
        name: old.name,
        name_is_ours: old.name_is_ours,
        profile_name: old.profile_name,
        account: old.account,
        list_record: old.list_record,
        verified: old.verified,
        blocked: false,
        healing: match (old.rolled_back, old.needs_reset) {
            (true, _) => HealingRow::due(ResetCause::OwnStateLost),
            // Version 1 did not keep which of the two signs it was.
            (false, true) => HealingRow::due(ResetCause::PeerRolledBack),
            (false, false) => HealingRow::Sound,
        },
        moved: old.moved,
        mailbox: old.mailbox,
        devices: old.devices.into_iter().map(device).collect(),
        reset_ours: None,
        reset_theirs: None,
        reset_take: None,
        came_by: None,
        offered_account: None,
        timer: 0,
        timer_at: 0,
    }
}

fn device(old: DeviceRow) -> rows::DeviceRow {
    let DeviceRow { keys, routes, sessions } = old;
    let session = |old: SessionRef| {
        let SessionRef { id, peer_has, first_contact } = old;
        rows::SessionRef { id, peer_has, first_contact, retired: None, told: false }
    };
    // What version 1 sent in.
    let known = sessions.iter().filter(|session| session.peer_has);
    let spoken = known.map(|session| session.id).min();
    rows::DeviceRow { keys, routes, sessions: sessions.into_iter().map(session).collect(), spoken }
}

fn link(old: LinkRow) -> rows::LinkRow {
    rows::LinkRow {
        kind: match old.kind {
            LinkKind::SingleUse => rows::LinkKindRow::SingleUse,
            LinkKind::Reusable => rows::LinkKindRow::Reusable,
            LinkKind::Reset => rows::LinkKindRow::Reset,
        },
        label: old.label,
        secret: old.secret,
        depot_seed: old.depot_seed,
        mailbox: old.mailbox,
        state: match old.state {
            LinkState::Preparing => rows::LinkState::Preparing,
            LinkState::Active => rows::LinkState::Active,
        },
        expires: old.expires,
        filled: old.filled,
        contact: None,
        stale: false,
    }
}

fn transfer(old: TransferRow) -> rows::TransferRow {
    match old {
        TransferRow::Up { contact, out, blob, read, delete, length, sha256, expires } => {
            rows::TransferRow::Up { contact, out, blob, read, delete, length, sha256, expires }
        }
        // Version 1 fetched everything.
        TransferRow::Down { contact, content } => {
            rows::TransferRow::Down { contact, content, want: rows::Want::Asked }
        }
    }
}

fn mailbox(old: MailboxRow) -> rows::MailboxRow {
    rows::MailboxRow {
        seed: old.seed,
        relay: old.relay,
        purpose: match old.purpose {
            Purpose::Link(number) => rows::Purpose::Link(number),
            Purpose::Contact(number) => rows::Purpose::Contact(number),
            Purpose::Adding => rows::Purpose::Adding,
        },
        live: old.live,
        capability: old.capability,
        incarnation: old.incarnation,
        floor: old.floor,
        move_on: 0,
        retired: None,
        number: 0,
    }
}

fn out(old: OutRow) -> rows::OutRow {
    rows::OutRow {
        id: old.id,
        content: old.content,
        acknowledged_by_peer: old.acknowledged_by_peer,
        session: old.session,
        message: old.message,
        state: match old.state {
            OutState::Uploading => rows::OutState::Uploading,
            OutState::Ready => rows::OutState::Ready,
            OutState::Sealed(SealedRow { envelope, route, greets }) => {
                rows::OutState::Sealed(rows::SealedRow { envelope, route, greets, session: None })
            }
        },
        hold: old.hold,
    }
}

fn message(old: MessageRow) -> rows::MessageRow {
    let kind = match old.kind {
        MessageKind::Text { text } => Kind::Text { text },
        MessageKind::File(FileRow { name, size, media_type, path }) => {
            Kind::File(FileInfo { name, size, media_type, path, caption: String::new() })
        }
        MessageKind::Custom { name, payload } => Kind::Custom { name, payload },
        MessageKind::Unknown { kind, payload } => Kind::Unknown { kind, payload },
    };
    let state = match old.state {
        // Version 1 did not know what was read: nothing of it counts as new.
        MessageState::Received => MessageState::Read,
        other => other,
    };
    rows::MessageRow {
        seq: old.seq,
        id: old.id,
        contact: old.contact,
        direction: old.direction,
        kind,
        sent_at: old.sent_at_claimed,
        state,
        hold: old.hold,
        edited_at: 0,
        reactions: Vec::new(),
        timer: 0,
        erase_at: None,
    }
}

/// Acknowledgements that were owed are due.
fn owed(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for_each(tx, Table::Acks, &[], |key, _| {
        keys.push(key.to_vec());
        Ok(())
    })?;
    keys.iter().try_for_each(|key| save(tx, Table::Acks, key, &0_u64))
}

fn drop_typing(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for_each(tx, Table::Events, &[], |key, value| {
        let (_place, kind): (u64, u32) = postcard::take_from_bytes(value)
            .map(|(start, _)| start)
            .map_err(|_| rows::corrupt("an event"))?;
        if kind == TYPING_EVENT {
            keys.push(key.to_vec());
        }
        Ok(())
    })?;
    keys.iter().try_for_each(|key| tx.delete(Table::Events, key))
}

/// Places for what was sent, in the order of the history, before all that waits: as many places as
/// there are rows were given out before.
fn sent(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    let mut all: Vec<(Vec<u8>, SentRow)> = Vec::new();
    for_each(tx, Table::Unacknowledged, &[], |key, value| {
        all.push((key.to_vec(), decode(Table::Unacknowledged, value)?));
        Ok(())
    })?;
    all.sort_by_key(|(key, row)| (contact_of(key), row.message));
    let next: u64 = rows::load(tx, Table::Meta, b"next-outgoing")?.unwrap_or(1);
    // From the last to the first, each contact from the place before what waits for it.
    let mut at: Option<([u8; 8], u64)> = None;
    for (key, row) in all.into_iter().rev() {
        let contact = contact_of(&key);
        let end = match at {
            Some((of, place)) if of == contact => place,
            _ => {
                let first = tx.scan(Table::Outbox, &contact, None, Order::Ascending, 1)?;
                first.first().map_or(Ok(next), |row| number(&row.key, "a place"))?
            }
        };
        let place = end.saturating_sub(1);
        at = Some((contact, place));
        let SentRow { content, message, day } = row;
        let new = rows::SentRow { content, message, day, place, awaits_consent: false };
        save(tx, Table::Unacknowledged, &key, &new)?;
    }
    Ok(())
}

fn contact_of(key: &[u8]) -> [u8; 8] {
    key.first_chunk().copied().unwrap_or_else(|| key1(0))
}
