//! The outbox. Queued content is sealed when it can go out; envelope and ratchet state are stored
//! together before the first transmission, and every retry sends the same bytes.

use sha2::{Digest, Sha256};
use undertone_core::Session;
use undertone_core::bounds::MAX_CONTENT;
use undertone_core::rand_core::CryptoRng;
use undertone_wire::{RelayAddress, WriteCapability};

use super::contacts::{all_contacts, load_contact};
use super::events::emit;
use super::history::{add_message, load_message, save_message};
use super::rows::{
    ContactRow, DeviceRow, MailboxRow, MessageRow, OutRow, OutState, SealedRow, Secret, SentRow,
    SessionRef, SessionRow, corrupt, decode, key1, key2, load, must, next_number, number, save,
};
use super::{Engine, EngineError, check_name, day, random, timers};
use crate::content::{Body, Content, MAX_CUSTOM, MAX_TEXT};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, Hold, MessageKind, MessageState};
use crate::routing::Routing;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Places in the outbox have this bit, so that what has to go out before all that waits has places
/// before theirs.
pub(super) const ORDINARY: u64 = 1 << 63;

/// The places of what goes first. (What version 1 queued has such places, too.)
const URGENT: u64 = 0;

/// Which delivery an answer is about: what stands at its place may be another by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliveryId {
    contact: ContactId,
    place: u64,
    /// SHA-256 of the envelope.
    envelope: [u8; 32],
}

impl DeliveryId {
    fn new(contact: ContactId, place: u64, envelope: &[u8]) -> Self {
        Self { contact, place, envelope: Sha256::digest(envelope).into() }
    }

    /// Its row and key in the outbox, and what was sealed, if it is the very envelope of this delivery.
    fn load(&self, tx: &dyn Transaction) -> Result<Option<(Vec<u8>, OutRow)>, StoreError> {
        let key = out_key(self.contact, self.place);
        let Some(row) = load::<OutRow>(tx, Table::Outbox, &key)? else { return Ok(None) };
        let same = matches!(&row.state, OutState::Sealed(sealed)
            if *self == Self::new(self.contact, self.place, &sealed.envelope));
        Ok(same.then_some((key, row)))
    }
}

/// An envelope to be delivered. The answer goes to [`Engine::accepted`] or [`Engine::refused`].
pub struct Delivery {
    /// Which it is.
    pub id: DeliveryId,
    /// To whom.
    pub contact: ContactId,
    /// Where.
    pub relay: RelayAddress,
    /// What lets us write there.
    pub capability: WriteCapability,
    /// The bytes; the same ones in every attempt.
    pub envelope: Vec<u8>,
    /// True for what is in the history, false for acknowledgements and the like.
    pub is_message: bool,
}

/// A message and how it is to be sent.
pub(super) struct NewMessage {
    pub(super) content: Content,
    pub(super) kind: MessageKind,
    pub(super) uploading: bool,
}

/// Refuses what no envelope could hold, while the person can still do something about it.
pub(super) fn encode(content: &Content) -> Result<Secret, EngineError> {
    let bytes = content.encode()?;
    if bytes.len() > MAX_CONTENT {
        return Err(EngineError::TooLong { length: bytes.len(), max: MAX_CONTENT });
    }
    Ok(Secret::new(&bytes))
}

fn enqueue(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: &Content,
    message: Option<u64>,
    state: OutState,
    session: Option<[u8; 32]>,
    urgency: u64,
) -> Result<u64, EngineError> {
    let row = OutRow {
        id: *content.id.as_bytes(),
        acknowledged_by_peer: content.body.is_acknowledged(),
        content: encode(content)?,
        session,
        message,
        state,
        hold: None,
    };
    let place = next_number(tx, "outgoing")? | urgency;
    save(tx, Table::Outbox, &out_key(contact, place), &row)?;
    Ok(place)
}

/// Queues something that is not in the history; `session` where it has to go in a certain one.
pub(super) fn enqueue_control(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: &Content,
    session: Option<[u8; 32]>,
) -> Result<(), EngineError> {
    enqueue(tx, contact, content, None, OutState::Ready, session, ORDINARY).map(drop)
}

/// The same, before all that waits.
pub(super) fn enqueue_urgent(
    tx: &mut dyn Transaction,
    contact: ContactId,
    content: &Content,
    session: Option<[u8; 32]>,
) -> Result<(), EngineError> {
    enqueue(tx, contact, content, None, OutState::Ready, session, URGENT).map(drop)
}

/// The same, sealed at once in this session, also if it is retired; it never goes out in another. False
/// if there is nowhere to send it to.
pub(super) fn enqueue_in(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    content: &Content,
    session: [u8; 32],
) -> Result<bool, EngineError> {
    let row = load_contact(tx, contact)?;
    let mut all =
        row.devices.iter().flat_map(|device| device.sessions.iter().map(move |one| (device, one)));
    let Some((device, of)) = all.find(|(_, one)| one.id == session) else { return Ok(false) };
    let Some(route) = route(device, of) else { return Ok(false) };
    let route = route.bytes();
    let (envelope, greets) = seal(tx, rng, &session, encode(content)?.bytes())?;
    let sealed = SealedRow { envelope, route: Secret::new(route), greets, session: Some(session) };
    let state = OutState::Sealed(sealed);
    enqueue(tx, contact, content, None, state, Some(session), URGENT)?;
    Ok(true)
}

fn out_key(contact: ContactId, place: u64) -> Vec<u8> {
    key2(&key1(contact.get()), &key1(place))
}

/// Puts an outgoing message into history and outbox. Returns its places there.
pub(super) fn enqueue_message(
    tx: &mut dyn Transaction,
    contact: ContactId,
    new: NewMessage,
) -> Result<(u64, u64), EngineError> {
    let to = load_contact(tx, contact)?;
    if to.blocked {
        return Err(EngineError::ContactBlocked);
    }
    let seq = next_number(tx, "message")?;
    let message = MessageRow {
        seq,
        id: new.content.id,
        contact,
        direction: Direction::Outgoing,
        kind: new.kind,
        sent_at: new.content.sent_at,
        state: MessageState::Queued,
        hold: None,
        edited_at: 0,
        reactions: Vec::new(),
        timer: to.timer,
        erase_at: None,
    };
    add_message(tx, &message)?;
    let state = if new.uploading { OutState::Uploading } else { OutState::Ready };
    let place = enqueue(tx, contact, &new.content, Some(seq), state, None, ORDINARY)?;
    Ok((seq, place))
}

/// Brings an outgoing message further, never back, and says so.
pub(super) fn advance(
    tx: &mut dyn Transaction,
    place: Option<u64>,
    state: MessageState,
) -> Result<(), StoreError> {
    let Some(place) = place else { return Ok(()) };
    // Gone if it was erased meanwhile.
    let Some(mut message) = load_message(tx, place)? else { return Ok(()) };
    if message.state.rank() >= state.rank() {
        return Ok(());
    }
    message.state = state.clone();
    message.hold = None;
    save_message(tx, &message)?;
    let (contact, id) = (message.contact, message.id);
    emit(tx, EventKind::MessageStateChanged { contact, id, state })
}

/// The same, of a message that has left this machine: if it is to disappear, its clock runs.
pub(super) fn come_further(
    tx: &mut dyn Transaction,
    place: Option<u64>,
    state: MessageState,
    now: UnixMillis,
) -> Result<(), StoreError> {
    advance(tx, place, state)?;
    let Some(mut message) = place.map(|place| load_message(tx, place)).transpose()?.flatten()
    else {
        return Ok(());
    };
    if message.timer > 0 && message.erase_at.is_none() {
        timers::start(tx, &mut message, now)?;
        save_message(tx, &message)?;
    }
    Ok(())
}

/// Notes why nothing goes out to a contact (or that it does again) with all that waits for them:
/// what is behind the first waits for the same reason.
pub(super) fn set_hold(
    tx: &mut dyn Transaction,
    contact: ContactId,
    hold: Option<Hold>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    super::contacts::for_each(tx, Table::Outbox, &key1(contact.get()), |key, value| {
        let mut row: OutRow = decode(Table::Outbox, value)?;
        if row.hold != hold {
            row.hold = hold;
            changed.push((key.to_vec(), row));
        }
        Ok(())
    })?;
    for (key, row) in changed {
        save(tx, Table::Outbox, &key, &row)?;
        let Some(place) = row.message else { continue };
        let Some(mut message) = load_message(tx, place)? else { continue };
        message.hold = hold;
        save_message(tx, &message)?;
    }
    Ok(())
}

/// The session to send in, of those that no other has replaced: `pinned` if it is there; else the
/// one in which a message of theirs was opened last, so that both come to use the same as soon as
/// messages do not cross; else the newest.
pub(super) fn choose(device: &DeviceRow, pinned: Option<[u8; 32]>) -> Option<&SessionRef> {
    let current = || device.sessions.iter().filter(|session| session.retired.is_none());
    let named = |id: Option<[u8; 32]>| id.and_then(|id| current().find(|one| one.id == id));
    named(pinned)
        .or_else(|| named(device.spoken))
        .or_else(|| current().next_back())
        .or_else(|| device.sessions.last())
}

/// Where to write in a session: what is not confirmed goes where it is started, the rest to the
/// newest address that the contact told. Behind a reset it has told none yet: then to where the newest
/// session is started, also in an older one.
pub(super) fn route<'a>(device: &'a DeviceRow, session: &'a SessionRef) -> Option<&'a Secret> {
    let first_contact = session.first_contact.as_ref();
    let told = device.routes.first();
    let newest = || device.sessions.iter().rev().find_map(|one| one.first_contact.as_ref());
    let route = if session.peer_has { told.or(first_contact) } else { first_contact.or(told) };
    route.or_else(newest)
}

pub(super) fn current_device(row: &ContactRow) -> Result<&DeviceRow, StoreError> {
    row.devices.last().ok_or_else(|| corrupt("a contact's device"))
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Queues a text.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::EmptyText`], [`EngineError::TooLong`].
    pub fn queue_text(
        &mut self,
        contact: ContactId,
        text: &str,
        now: UnixMillis,
    ) -> Result<MessageId, EngineError> {
        if text.is_empty() {
            return Err(EngineError::EmptyText);
        }
        if text.len() > MAX_TEXT {
            return Err(EngineError::TooLong { length: text.len(), max: MAX_TEXT });
        }
        let id = MessageId::from_bytes(random(&mut self.rng));
        let new = NewMessage {
            content: Content { id, sent_at: now, body: Body::Text(text.to_owned()) },
            kind: MessageKind::Text { text: text.to_owned() },
            uploading: false,
        };
        self.store.transaction(|tx| enqueue_message(tx, contact, new))?;
        Ok(id)
    }

    /// Queues a message of a kind of one's own. `name` says which; it should begin with a domain of
    /// its maker, reversed, such as `com.example.poll`.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::NameInvalid`], [`EngineError::TooLong`].
    pub fn queue_custom(
        &mut self,
        contact: ContactId,
        name: &str,
        payload: &[u8],
        now: UnixMillis,
    ) -> Result<MessageId, EngineError> {
        let name = check_name(name)?;
        if payload.len() > MAX_CUSTOM {
            return Err(EngineError::TooLong { length: payload.len(), max: MAX_CUSTOM });
        }
        let id = MessageId::from_bytes(random(&mut self.rng));
        let body = Body::Custom { name: name.clone(), payload: payload.to_vec() };
        let new = NewMessage {
            content: Content { id, sent_at: now, body },
            kind: MessageKind::Custom { name, payload: payload.to_vec() },
            uploading: false,
        };
        self.store.transaction(|tx| enqueue_message(tx, contact, new))?;
        Ok(id)
    }

    /// Contacts for whom something is waiting.
    ///
    /// # Errors
    /// Those of the store.
    pub fn contacts_to_send_to(&mut self) -> Result<Vec<ContactId>, EngineError> {
        self.store.transaction(|tx| {
            let mut waiting = Vec::new();
            for (id, _) in all_contacts(tx)? {
                let first = tx.scan(Table::Outbox, &key1(id.get()), None, Order::Ascending, 1)?;
                if !first.is_empty() {
                    waiting.push(id);
                }
            }
            Ok(waiting)
        })
    }

    /// How many messages (not acknowledgements and the like) are waiting, for all contacts.
    ///
    /// # Errors
    /// Those of the store.
    pub fn queued_messages(&mut self) -> Result<u64, EngineError> {
        self.store.transaction(|tx| {
            let mut count = 0_u64;
            super::contacts::for_each(tx, Table::Outbox, &[], |_, value| {
                let row: OutRow = decode(Table::Outbox, value)?;
                count = count.saturating_add(u64::from(row.message.is_some()));
                Ok(())
            })?;
            Ok(count)
        })
    }

    /// The next envelope for a contact, in the order in which things were queued; `None` if
    /// nothing can go out now. Seals it if that has not been done: when this returns, envelope and
    /// ratchet state are on stable storage.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::Seal`].
    pub fn next_delivery(&mut self, contact: ContactId) -> Result<Option<Delivery>, EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| next_delivery(tx, rng, contact))
    }

    /// The relay to which what waits first for a contact goes; `None` if nothing waits, or there is no
    /// address.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn relay_towards(
        &mut self,
        contact: ContactId,
    ) -> Result<Option<RelayAddress>, EngineError> {
        self.store.transaction(|tx| {
            let row = load_contact(tx, contact)?;
            let rows = tx.scan(Table::Outbox, &key1(contact.get()), None, Order::Ascending, 1)?;
            let Some(first) = rows.first() else { return Ok(None) };
            let first: OutRow = decode(Table::Outbox, &first.value)?;
            let route = match (&first.state, row.devices.last()) {
                (OutState::Sealed(sealed), _) => Some(&sealed.route),
                (OutState::Ready | OutState::Uploading, Some(device)) => {
                    choose(device, first.session).and_then(|session| route(device, session))
                }
                (OutState::Ready | OutState::Uploading, None) => None,
            };
            let read = |route: &Secret| Routing::from_bytes(route.bytes());
            let routing =
                route.map(|route| read(route).ok_or_else(|| corrupt("a contact's address")));
            Ok(routing.transpose()?.map(|routing| routing.relay))
        })
    }

    /// The relay has an envelope on stable storage.
    ///
    /// # Errors
    /// Those of the store.
    pub fn accepted(&mut self, id: DeliveryId, now: UnixMillis) -> Result<(), EngineError> {
        let DeliveryId { contact, place, .. } = id;
        self.store.transaction(|tx| {
            // Gone if the acknowledgement overtook the relay's answer. Another, if the session has
            // started anew meanwhile: what was accepted may never be opened, and goes out again.
            let Some((key, row)) = id.load(tx)? else { return Ok(()) };
            tx.delete(Table::Outbox, &key)?;
            if row.hold.is_some() {
                set_hold(tx, contact, None)?;
            }
            come_further(tx, row.message, MessageState::Accepted, now)?;
            if row.acknowledged_by_peer && !row.content.bytes().is_empty() {
                let sent = SentRow {
                    content: row.content,
                    message: row.message,
                    day: day(now).get(),
                    place,
                    awaits_consent: false,
                };
                let key = key2(&key1(contact.get()), &row.id);
                save(tx, Table::Unacknowledged, &key, &sent)?;
            }
            Ok(())
        })
    }

    /// An envelope could not be delivered: all that waits for its contact stays. True if it now has
    /// another address, so that it may be tried again at once.
    ///
    /// # Errors
    /// Those of the store.
    pub fn refused(&mut self, id: DeliveryId, hold: Hold) -> Result<bool, EngineError> {
        self.store.transaction(|tx| {
            let again = hold == Hold::AddressUnknown && readdress(tx, id)?;
            set_hold(tx, id.contact, (!again).then_some(hold))?;
            Ok(again)
        })
    }

    /// Nothing goes out to a contact now: all that waits for them stays.
    ///
    /// # Errors
    /// Those of the store.
    pub fn hold(&mut self, contact: ContactId, hold: Hold) -> Result<(), EngineError> {
        self.store.transaction(|tx| Ok(set_hold(tx, contact, Some(hold))?))
    }
}

fn next_delivery(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
) -> Result<Option<Delivery>, EngineError> {
    let contact_row = load_contact(tx, contact)?;
    // Not even what was sealed before: this store may be older than what was sent.
    if contact_row.blocked || contact_row.state_is_lost() || contact_row.devices.is_empty() {
        return Ok(None);
    }
    let mailbox: MailboxRow = must(tx, Table::Mailboxes, &contact_row.mailbox)?;
    if !mailbox.live {
        return Ok(None);
    }
    let first = tx.scan(Table::Outbox, &key1(contact.get()), None, Order::Ascending, 1)?;
    let Some(first) = first.first() else {
        return Ok(None);
    };
    let place = number(&first.key, "a place in the outbox")?;
    let mut row: OutRow = decode(Table::Outbox, &first.value)?;
    let sealed = match row.state {
        OutState::Uploading => return Ok(None),
        OutState::Sealed(sealed) => sealed,
        OutState::Ready => {
            let device = current_device(&contact_row)?;
            let session =
                choose(device, row.session).ok_or_else(|| corrupt("a contact's session"))?;
            let route =
                route(device, session).ok_or_else(|| corrupt("a contact's address"))?.bytes();
            let (envelope, greets) = seal(tx, rng, &session.id, row.content.bytes())?;
            let session = Some(session.id);
            let sealed = SealedRow { envelope, route: Secret::new(route), greets, session };
            row.state = OutState::Sealed(sealed);
            save(tx, Table::Outbox, &first.key, &row)?;
            match row.state {
                OutState::Sealed(sealed) => sealed,
                OutState::Ready | OutState::Uploading => return Ok(None),
            }
        }
    };
    let routing =
        Routing::from_bytes(sealed.route.bytes()).ok_or_else(|| corrupt("a contact's address"))?;
    Ok(Some(Delivery {
        id: DeliveryId::new(contact, place, &sealed.envelope),
        contact,
        relay: routing.relay,
        capability: routing.capability,
        envelope: sealed.envelope,
        is_message: row.message.is_some(),
    }))
}

/// The relay does not know the address that something was sealed for. Without a handshake in it,
/// the identical bytes go to the newest address; with one they would be understood nowhere else,
/// so once the session is confirmed (or another one is) the content is sealed anew: the recipient
/// knows repeats by the message's id. True if there is somewhere else to try.
fn readdress(tx: &mut dyn Transaction, id: DeliveryId) -> Result<bool, EngineError> {
    // Taken back meanwhile: what stands there now has not been tried.
    let Some((key, mut row)) = id.load(tx)? else { return Ok(true) };
    let OutState::Sealed(sealed) = row.state else { return Ok(true) };
    let contact_row = load_contact(tx, id.contact)?;
    // Gone if the contact has withdrawn it meanwhile.
    let Some(device) = contact_row.devices.last() else { return Ok(false) };
    let Some(session) = choose(device, None) else { return Ok(false) };
    let newest = route(device, session).filter(|route| route.bytes() != sealed.route.bytes());
    let (Some(newest), true) = (newest, session.peer_has) else { return Ok(false) };
    if sealed.greets && row.content.bytes().is_empty() {
        // Erased since: nothing to be sealed anew.
        tx.delete(Table::Outbox, &key)?;
        return Ok(true);
    }
    if sealed.greets {
        row.session = None;
        row.state = OutState::Ready;
    } else {
        row.state = OutState::Sealed(SealedRow { route: Secret::new(newest.bytes()), ..sealed });
    }
    save(tx, Table::Outbox, &key, &row)?;
    Ok(true)
}

/// Seals in a stored session. The new state is in the same transaction as the envelope. True if a
/// handshake stands in front.
pub(super) fn seal(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    session: &[u8; 32],
    content: &[u8],
) -> Result<(Vec<u8>, bool), EngineError> {
    let mut row: SessionRow = must(tx, Table::Sessions, session)?;
    let mut ratchet =
        Session::from_bytes(row.state.bytes()).map_err(|_| corrupt("a session's state"))?;
    let greets = !ratchet.confirmed();
    let envelope = ratchet.seal(content, rng)?.commit(|state, _| {
        row.state = Secret::new(&state.to_bytes());
        save(tx, Table::Sessions, session, &row)
    })?;
    Ok((envelope, greets))
}
