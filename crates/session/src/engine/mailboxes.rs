//! Mailboxes of ours: made before anybody is told of them, subscribed to, checked for a store
//! that is older than what it has acknowledged.

use std::collections::BTreeMap;

use undertone_core::rand_core::CryptoRng;
use undertone_wire::frame::MailboxState;
use undertone_wire::{
    AdmissionToken, Incarnation, MailboxId, MailboxSecret, RelayAddress, WriteCapability,
    WriteCapabilityHash,
};

use super::contacts::{for_each, load_contact};
use super::healing::{contact_is_lost, store_is_old};
use super::links::load_link;
use super::outbox::enqueue_control;
use super::rows::{
    FormerRelay, LinkKindRow, LinkState, MailboxRow, Purpose, Secret, corrupt, decode, key1, load,
    must, next_number, save,
};
use super::{Engine, EngineError, moves, random, random_secret};
use crate::content::{Body, Content};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::routing::Routing;
use crate::store::{Store, StoreError, Table, Transaction};

/// Where the tokens of relays used before are kept.
pub(super) const FORMER_RELAYS: &[u8] = b"former-relays";

/// Where it is kept which relays were reached over TCP.
const OVER_TCP: &[u8] = b"over-tcp";

/// Relays of which it is remembered: a wrong guess costs half a second.
const MAX_OVER_TCP: usize = 64;

/// A mailbox that is to be made at a relay. The answer goes to [`Engine::mailbox_created`].
pub struct MailboxPlan {
    /// Where.
    pub relay: RelayAddress,
    /// Its owner's key.
    pub secret: MailboxSecret,
    /// What admits us there.
    pub token: AdmissionToken,
    /// Hashes of its first write capabilities.
    pub capabilities: Vec<WriteCapabilityHash>,
}

/// A mailbox to subscribe to.
pub struct Subscription {
    /// Where it is.
    pub relay: RelayAddress,
    /// Its owner's key.
    pub secret: MailboxSecret,
    /// What waits in mailboxes of a lower phase is taken before anything in those of a higher one, so
    /// that the order of each contact is kept: first those of links, then, for each contact, the one
    /// that they were given first, and so on.
    pub phase: u32,
}

/// What comparing a relay's floor with the store says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloorVerdict {
    /// The store knows of everything that the relay has acknowledged.
    Sound,
    /// The relay is ahead of the store: it was restored from an old copy. Recorded; nothing is
    /// sealed for the contacts concerned until the sessions with them have started anew.
    RolledBack,
}

/// Makes the row of a new mailbox with one write capability.
pub(super) fn new_mailbox(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    relay: &RelayAddress,
    purpose: Purpose,
) -> Result<([u8; 32], Routing), StoreError> {
    let secret = MailboxSecret::from_seed(&random_secret(rng));
    let capability = WriteCapability::from_bytes(random(rng));
    let id = *secret.mailbox().as_bytes();
    let row = MailboxRow {
        seed: Secret::new(&*secret.to_seed()),
        relay: relay.to_bytes(),
        purpose,
        live: false,
        capability: Some(Secret::new(capability.as_bytes())),
        incarnation: None,
        floor: 0,
        // Decided when there is a clock at hand.
        move_on: 0,
        retired: None,
        number: next_number(tx, "mailbox")?,
    };
    save(tx, Table::Mailboxes, &id, &row)?;
    let relay = relay.clone();
    Ok((id, Routing { relay, capability }))
}

/// Tells a contact to write into their own mailbox from now on. Nothing goes out to a contact
/// before their mailbox exists.
pub(super) fn tell_mailbox(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    now: UnixMillis,
) -> Result<(), EngineError> {
    let mailbox = load_contact(tx, contact)?.mailbox;
    let row: MailboxRow = must(tx, Table::Mailboxes, &mailbox)?;
    let content = Content {
        id: MessageId::from_bytes(random(rng)),
        sent_at: now,
        body: Body::MailboxMove(routing(&row)?.to_route()),
    };
    enqueue_control(tx, contact, &content, None)
}

/// Where the holder of a mailbox's capability writes to.
pub(super) fn routing(row: &MailboxRow) -> Result<Routing, StoreError> {
    let capability = row.capability.as_ref().ok_or_else(|| corrupt("a capability"))?;
    Ok(Routing {
        relay: relay_of(row)?,
        capability: WriteCapability::from_bytes(*capability.array("a capability")?),
    })
}

pub(super) fn relay_of(row: &MailboxRow) -> Result<RelayAddress, StoreError> {
    RelayAddress::from_bytes(&row.relay).map_err(|_| corrupt("a relay's address"))
}

pub(super) fn secret_of(row: &MailboxRow) -> Result<MailboxSecret, StoreError> {
    Ok(MailboxSecret::from_seed(&*row.seed.array("a mailbox's key")?))
}

pub(super) fn subscription(row: &MailboxRow) -> Result<Subscription, StoreError> {
    Ok(Subscription { relay: relay_of(row)?, secret: secret_of(row)?, phase: 0 })
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    pub(super) fn plan(&mut self, row: &MailboxRow) -> Result<MailboxPlan, EngineError> {
        let relay = relay_of(row)?;
        Ok(MailboxPlan {
            token: self.token_for(&relay)?,
            relay,
            secret: secret_of(row)?,
            capabilities: vec![routing(row)?.capability.hash()],
        })
    }

    /// Relays that were reached over TCP last, since UDP was blocked.
    ///
    /// # Errors
    /// Those of the store.
    pub fn relays_over_tcp(&mut self) -> Result<Vec<RelayAddress>, EngineError> {
        self.store.transaction(|tx| {
            let rows: Vec<Vec<u8>> = load(tx, Table::Meta, OVER_TCP)?.unwrap_or_default();
            let relays = rows.iter().map(|bytes| RelayAddress::from_bytes(bytes));
            Ok(relays.collect::<Result<_, _>>().map_err(|_| corrupt("a relay's address"))?)
        })
    }

    /// Remembers which relays were reached over TCP.
    ///
    /// # Errors
    /// Those of the store.
    pub fn remember_relays_over_tcp(&mut self, relays: &[RelayAddress]) -> Result<(), EngineError> {
        let rows: Vec<_> = relays.iter().take(MAX_OVER_TCP).map(RelayAddress::to_bytes).collect();
        self.store.transaction(|tx| Ok(save(tx, Table::Meta, OVER_TCP, &rows)?))
    }

    /// What admits us to this relay.
    ///
    /// # Errors
    /// Those of the store.
    pub fn token_for(&mut self, relay: &RelayAddress) -> Result<AdmissionToken, EngineError> {
        let home = (&self.relay, &self.token);
        self.store.transaction(|tx| Ok(token_for(tx, home, relay)?))
    }

    /// Mailboxes of contacts that are yet to be made at the relay.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pending_mailboxes(&mut self) -> Result<Vec<MailboxPlan>, EngineError> {
        let rows = self.mailbox_rows()?;
        let pending =
            rows.iter().filter(|row| !row.live && matches!(row.purpose, Purpose::Contact(_)));
        pending.map(|row| self.plan(row)).collect()
    }

    /// The relay has made a mailbox. If it takes the place of another, its contact is told to write
    /// there; what waits for a contact who had none may go out.
    ///
    /// # Errors
    /// Those of the store.
    pub fn mailbox_created(
        &mut self,
        mailbox: &MailboxId,
        now: UnixMillis,
    ) -> Result<(), EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            // Gone if the contact was blocked or deleted meanwhile.
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(());
            };
            row.live = true;
            save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            if let Purpose::Contact(contact) = row.purpose {
                moves::arrived(tx, rng, ContactId::new(contact), mailbox.as_bytes(), now)?;
            }
            Ok(())
        })
    }

    /// All mailboxes that exist, to subscribe to.
    ///
    /// # Errors
    /// Those of the store.
    pub fn subscriptions(&mut self) -> Result<Vec<Subscription>, EngineError> {
        let mut rows = self.mailbox_rows()?;
        rows.retain(|row| row.live);
        rows.sort_by_key(|row| row.number);
        let mut given: BTreeMap<u64, u32> = BTreeMap::new();
        let mut subscriptions = Vec::new();
        for row in &rows {
            let mut one = subscription(row)?;
            if let Purpose::Contact(contact) = row.purpose {
                let before = given.entry(contact).or_default();
                *before = before.saturating_add(1);
                one.phase = *before;
            }
            subscriptions.push(one);
        }
        Ok(subscriptions)
    }

    fn mailbox_rows(&mut self) -> Result<Vec<MailboxRow>, StoreError> {
        self.store.transaction(|tx| {
            let mut rows = Vec::new();
            for_each(tx, Table::Mailboxes, &[], |_, value| {
                rows.push(decode(Table::Mailboxes, value)?);
                Ok(())
            })?;
            Ok(rows)
        })
    }

    /// A contact's own mailbox, to ask the relay for its floor before anything is sealed; `None`
    /// while it is not yet made.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn mailbox_of(&mut self, contact: ContactId) -> Result<Option<Subscription>, EngineError> {
        self.store.transaction(|tx| {
            let contact = load_contact(tx, contact)?;
            // None while the contact is blocked.
            let row: Option<MailboxRow> = load(tx, Table::Mailboxes, &contact.mailbox)?;
            let Some(row) = row.filter(|row| row.live) else {
                return Ok(None);
            };
            Ok(Some(subscription(&row)?))
        })
    }

    /// Compares what the relay says about a mailbox with the store; `None` is the relay's
    /// "unknown". To be asked **before** subscribing, since what is pushed moves the store's floor.
    ///
    /// A floor that is ahead has seen an acknowledgement that this store does not remember, so that
    /// the whole store is an old copy. A contact's mailbox that is gone says so of the sessions with
    /// that contact.
    ///
    /// # Errors
    /// Those of the store.
    pub fn check_floor(
        &mut self,
        mailbox: &MailboxId,
        state: Option<&MailboxState>,
    ) -> Result<FloorVerdict, EngineError> {
        let (rng, relay) = (&mut self.rng, &self.relay);
        self.store.transaction(|tx| {
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(FloorVerdict::Sound);
            };
            match (state, row.purpose) {
                (Some(state), _) if !is_ahead(&row, state) => Ok(FloorVerdict::Sound),
                (Some(state), _) => {
                    // What was acknowledged does not come again.
                    row.incarnation = Some(*state.incarnation.as_bytes());
                    row.floor = state.acknowledged.get();
                    save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
                    store_is_old(tx)?;
                    Ok(FloorVerdict::RolledBack)
                }
                (None, Purpose::Contact(contact)) => {
                    let contact = ContactId::new(contact);
                    contact_is_lost(tx, contact)?;
                    moves::replace_lost(tx, rng, relay, contact, mailbox.as_bytes())?;
                    Ok(FloorVerdict::RolledBack)
                }
                // Made again, and its depot filled anew, with the next filling. It tells nothing
                // about the sessions with anybody.
                (None, Purpose::Link(number)) => {
                    let mut link = load_link(tx, number)?;
                    if link.state == LinkState::Active && link.kind != LinkKindRow::SingleUse {
                        link.stale = true;
                        save(tx, Table::Links, &key1(number), &link)?;
                    }
                    // Its numbers begin again then.
                    (row.live, row.incarnation, row.floor) = (false, None, 0);
                    save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
                    Ok(FloorVerdict::Sound)
                }
                (None, Purpose::Adding) => Ok(FloorVerdict::Sound),
            }
        })
    }
}

/// What admits us to a relay: the home's token, or that of a relay used before.
pub(super) fn token_for(
    tx: &dyn Transaction,
    (home, token): (&RelayAddress, &AdmissionToken),
    relay: &RelayAddress,
) -> Result<AdmissionToken, StoreError> {
    if relay == home {
        return Ok(token.duplicate());
    }
    let former: Vec<FormerRelay> = load(tx, Table::Meta, FORMER_RELAYS)?.unwrap_or_default();
    match former.iter().find(|former| former.relay == relay.to_bytes()) {
        Some(former) => Ok(AdmissionToken::from_bytes(*former.token.array("an admission token")?)),
        None => Ok(token.duplicate()),
    }
}

/// Floors count within one incarnation of the relay; another one starts anew.
fn is_ahead(mailbox: &MailboxRow, state: &MailboxState) -> bool {
    let same =
        mailbox.incarnation.is_none_or(|known| Incarnation::from_bytes(known) == state.incarnation);
    same && state.acknowledged.get() > mailbox.floor
}
