//! That somebody is writing: worth nothing a moment later, and so neither stored nor queued.

use undertone_core::rand_core::CryptoRng;
use undertone_wire::{RelayAddress, WriteCapability};

use super::contacts::load_contact;
use super::outbox::{choose, current_device, route, seal};
use super::rows::{HealingRow, MailboxRow, key1, must};
use super::{Engine, EngineError, random};
use crate::content::{Body, Content};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::routing::Routing;
use crate::store::{Order, Store, Table};

/// An envelope that is transmitted once, now, or never.
pub struct Passing {
    /// Where.
    pub relay: RelayAddress,
    /// What lets us write there.
    pub capability: WriteCapability,
    /// The bytes.
    pub envelope: Vec<u8>,
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Seals word that the person here is writing to a contact, or has stopped. `None` if it can't
    /// go out at once: something else waits, or the session is not settled. Nothing but the ratchet's
    /// new state is stored, so that the key is never used again.
    ///
    /// Each call takes a position of the ratchet, whether or not the envelope arrives: the caller
    /// must not go on while nothing can be transmitted.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::ContactBlocked`], [`EngineError::Seal`].
    pub fn seal_typing(
        &mut self,
        contact: ContactId,
        active: bool,
        now: UnixMillis,
    ) -> Result<Option<Passing>, EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            let row = load_contact(tx, contact)?;
            if row.blocked {
                return Err(EngineError::ContactBlocked);
            }
            let waiting =
                tx.scan(Table::Outbox, &key1(contact.get()), None, Order::Ascending, 1)?;
            if !waiting.is_empty() || row.healing != HealingRow::Sound || row.devices.is_empty() {
                return Ok(None);
            }
            let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            let device = current_device(&row)?;
            let session = choose(device, None).filter(|session| session.peer_has);
            let (Some(session), true) = (session, mailbox.live) else { return Ok(None) };
            let routing = route(device, session).and_then(|to| Routing::from_bytes(to.bytes()));
            let Some(Routing { relay, capability }) = routing else { return Ok(None) };
            let id = MessageId::from_bytes(random(rng));
            let content = Content { id, sent_at: now, body: Body::Typing(active) }.encode()?;
            let (envelope, greets) = seal(tx, rng, &session.id, &content)?;
            Ok((!greets).then_some(Passing { relay, capability, envelope }))
        })
    }
}
