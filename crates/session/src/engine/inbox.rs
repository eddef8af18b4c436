//! The inbox. An envelope is opened, its message stored and the ratchet advanced in one
//! transaction, with the mailbox's floor; only then is the relay told that it may forget it.

use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    BundleId, Day, Greeting, HandshakeError, OpenError, PendingAccept, PrekeySecret, Session,
    SessionId,
};
use undertone_wire::frame::Acknowledgement;
use undertone_wire::{Floor, Incarnation, MailboxId, Seq};
use zeroize::Zeroizing;

use super::contacts::{all_contacts, contact_of, load_contact, save_contact};
use super::events::emit;
use super::first_contact::{Peer, add_contact, add_session, greet, known_record, save_session};
use super::handle::handle;
use super::links::{link_secret, load_link};
use super::mailboxes::{new_mailbox, tell_mailbox};
use super::rows::{
    LinkKindRow, LinkRow, MailboxRow, ParkedRow, PrekeyRow, Purpose, ReplayRow, Secret, SessionRef,
    SessionRow, corrupt, decode, key1, key2, load, must, next_number, save,
};
use super::{Engine, EngineError, day};
use crate::event::{EventKind, ResetCause};
use crate::ids::{ContactId, UnixMillis};
use crate::routing::Routing;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Envelopes of one mailbox that are kept although nothing opens them; the oldest goes first.
/// A sender of junk can fill no more than this.
const MAX_PARKED: usize = 256;

/// Sessions that are loaded for one envelope. A session has at most ten header keys and at least
/// one; the bound on the trials themselves is [`MAX_HEADER_TRIALS`].
const MAX_SESSIONS_TRIED: usize = 32;

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// What the relay may be told now.
    pub acknowledgement: Acknowledgement,
    /// True if a message came into the history.
    pub message: bool,
    /// True if nothing opened it and it was kept.
    pub parked: bool,
}

/// What became of an envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Opened; true if a message came into the history.
    Opened(bool),
    /// Seen before, or refused for good.
    Dropped,
    /// Nothing opens it.
    Foreign,
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Takes an envelope that the relay pushed. When this returns, all that follows from it is on
    /// stable storage.
    ///
    /// # Errors
    /// Those of the store; junk is not an error. `Ok(None)` for a mailbox that is not ours.
    pub fn receive(
        &mut self,
        mailbox: &MailboxId,
        incarnation: Incarnation,
        seq: Seq,
        envelope: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Received>, EngineError> {
        let today = day(now);
        let mut inbox = Inbox {
            me: &self.me,
            name: &self.name,
            relay: &self.relay,
            rng: &mut self.rng,
            today,
            now,
        };
        self.store.transaction(|tx| {
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(None);
            };
            scope(&mut row, incarnation);
            let mut received = Received {
                acknowledgement: acknowledgement(mailbox, incarnation, row.floor.max(seq.get())),
                message: false,
                parked: false,
            };
            if seq.get() <= row.floor {
                return Ok(Some(received));
            }
            match inbox.open(tx, mailbox, &row, envelope)? {
                Outcome::Opened(message) => received.message = message,
                Outcome::Dropped => {}
                Outcome::Foreign => {
                    park(tx, mailbox, &row, envelope, today)?;
                    received.parked = true;
                }
            }
            row.floor = seq.get();
            save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            Ok(Some(received))
        })
    }

    /// The relay says that an envelope is damaged in its store: it is passed over.
    ///
    /// # Errors
    /// Those of the store.
    pub fn receive_damaged(
        &mut self,
        mailbox: &MailboxId,
        incarnation: Incarnation,
        seq: Seq,
    ) -> Result<Option<Received>, EngineError> {
        self.store.transaction(|tx| {
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(None);
            };
            scope(&mut row, incarnation);
            row.floor = row.floor.max(seq.get());
            save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            Ok(Some(Received {
                acknowledgement: acknowledgement(mailbox, incarnation, row.floor),
                message: false,
                parked: false,
            }))
        })
    }
}

/// Positions count within one incarnation of the relay.
fn scope(row: &mut MailboxRow, incarnation: Incarnation) {
    if row.incarnation != Some(*incarnation.as_bytes()) {
        row.incarnation = Some(*incarnation.as_bytes());
        row.floor = 0;
    }
}

const fn acknowledgement(
    mailbox: &MailboxId,
    incarnation: Incarnation,
    floor: u64,
) -> Acknowledgement {
    Acknowledgement { mailbox: *mailbox, incarnation, floor: Floor::new(floor) }
}

fn park(
    tx: &mut dyn Transaction,
    mailbox: &MailboxId,
    row: &MailboxRow,
    envelope: &[u8],
    today: Day,
) -> Result<(), StoreError> {
    let parked = tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
    if parked.len() == MAX_PARKED
        && let Some(oldest) = parked.first()
    {
        tx.delete(Table::Parked, &oldest.key)?;
    }
    let place = next_number(tx, "parked")?;
    let key = key2(mailbox.as_bytes(), &key1(place));
    let kept = ParkedRow { envelope: envelope.to_vec(), day: today.get() };
    save(tx, Table::Parked, &key, &kept)?;
    let contact = match row.purpose {
        Purpose::Contact(contact) => Some(contact),
        Purpose::Link(_) | Purpose::Adding => None,
    };
    emit(tx, EventKind::EnvelopeParked { contact })
}

/// What opening needs beside the transaction.
struct Inbox<'a, R> {
    me: &'a undertone_core::LocalDevice,
    name: &'a str,
    relay: &'a undertone_wire::RelayAddress,
    rng: &'a mut R,
    today: Day,
    now: UnixMillis,
}

impl<R: CryptoRng> Inbox<'_, R> {
    fn open(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        row: &MailboxRow,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        // In a first-contact mailbox the hello key is tried first.
        if let Purpose::Link(number) = row.purpose {
            let link = load_link(tx, number)?;
            match Greeting::open(&link_secret(&link)?.hello_key(), envelope) {
                Ok(greeting) => return self.greeted(tx, mailbox, (number, &link), greeting),
                Err(HandshakeError::NotSealedForThisLink) => {}
                Err(_) => return Ok(Outcome::Dropped),
            }
        }
        self.try_sessions(tx, mailbox, row, envelope)
    }

    /// Tries the sessions that write into this mailbox.
    fn try_sessions(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        row: &MailboxRow,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        let mut trials = MAX_HEADER_TRIALS;
        for session in candidates(tx, row)? {
            match self.open_in(tx, &session, envelope, &mut trials)? {
                Outcome::Foreign => {}
                Outcome::Opened(message) => {
                    if let Purpose::Contact(contact) = row.purpose {
                        has_moved(tx, ContactId::new(contact))?;
                    }
                    self.retry_parked(tx, mailbox, &session)?;
                    return Ok(Outcome::Opened(message));
                }
                Outcome::Dropped => return Ok(Outcome::Dropped),
            }
        }
        Ok(Outcome::Foreign)
    }

    /// A session has changed: what was parked in its mailbox may open now.
    fn retry_parked(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        session: &[u8; 32],
    ) -> Result<(), EngineError> {
        let rows =
            tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
        for row in rows {
            let parked: ParkedRow = decode(Table::Parked, &row.value)?;
            let mut trials = MAX_HEADER_TRIALS;
            if self.open_in(tx, session, &parked.envelope, &mut trials)? != Outcome::Foreign {
                tx.delete(Table::Parked, &row.key)?;
            }
        }
        Ok(())
    }

    /// Opens in one session, if it is for it and its header keys are within the `trials` left.
    fn open_in(
        &mut self,
        tx: &mut dyn Transaction,
        id: &[u8; 32],
        envelope: &[u8],
        trials: &mut usize,
    ) -> Result<Outcome, EngineError> {
        if *trials == 0 {
            return Ok(Outcome::Foreign);
        }
        let mut row: SessionRow = must(tx, Table::Sessions, id)?;
        let contact = ContactId::new(row.contact);
        let mut session =
            Session::from_bytes(row.state.bytes()).map_err(|_| corrupt("a session's state"))?;
        match trials.checked_sub(session.header_keys()) {
            Some(left) => *trials = left,
            None => {
                *trials = 0;
                return Ok(Outcome::Foreign);
            }
        }
        let pending = match session.open(envelope, self.today) {
            Ok(pending) => pending,
            Err(error) => return refused(tx, contact, error),
        };
        let content = Zeroizing::new(pending.content().to_vec());
        pending.commit(|state| {
            row.state = Secret::new(&state.to_bytes());
            save(tx, Table::Sessions, id, &row)
        })?;
        peer_has(tx, contact, id)?;
        Ok(Outcome::Opened(handle(tx, contact, &content)?))
    }

    /// A handshake of one of our links stands before the envelope.
    fn greeted(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        (number, link): (u64, &LinkRow),
        greeting: Greeting<'_>,
    ) -> Result<Outcome, EngineError> {
        let key = prekey_key(number, greeting.bundle_id());
        let Some(mut prekey) = load::<PrekeyRow>(tx, Table::Prekeys, &key)? else {
            // A bundle of ours that expired long ago: nothing can be made of it.
            return Ok(Outcome::Dropped);
        };
        let digest = undertone_core::BundleDigest::from_bytes(prekey.digest);
        let id = greeting.session_id(&digest);
        if tx.get(Table::Sessions, id.as_bytes())?.is_some() {
            let mut trials = MAX_HEADER_TRIALS;
            let outcome = self.open_in(tx, id.as_bytes(), greeting.envelope(), &mut trials)?;
            if matches!(outcome, Outcome::Opened(_)) {
                self.retry_parked(tx, mailbox, id.as_bytes())?;
            }
            return Ok(outcome);
        }
        let accepted = tx.get(Table::Replay, id.as_bytes())?.is_some();
        if accepted {
            return Ok(Outcome::Dropped);
        }
        let Some(secret) = prekey.secret.take() else {
            let label = link.label.clone();
            emit(tx, EventKind::LinkUsedTwice { label })?;
            return Ok(Outcome::Dropped);
        };
        let secret = PrekeySecret::from_bytes(secret.bytes()).map_err(|_| corrupt("a prekey"))?;
        let link_secret = link_secret(link)?;
        let replayed = |_: &SessionId| accepted;
        let Ok(introduction) =
            greeting.accept(self.me, &secret, &link_secret, self.today, replayed)
        else {
            return Ok(Outcome::Dropped);
        };
        let known = contact_of(tx, &introduction.account())?;
        let record = known_record(tx, known)?;
        let Ok(pending) = introduction.open(record.as_ref(), self.today) else {
            return Ok(Outcome::Dropped);
        };
        // whoever has the link could name a route that is none, and nothing could ever be
        // sent to them.
        if Routing::from_bytes(pending.reply().as_bytes()).is_none() {
            return Ok(Outcome::Dropped);
        }
        let message = self.accept(tx, link, known, pending)?;
        // The prekey of a one-time bundle goes in the transaction that accepts its session.
        if secret.kind() == undertone_core::BundleKind::OneTime {
            save(tx, Table::Prekeys, &key, &prekey)?;
        }
        let until = Day::new(prekey.expiry).plus(undertone_core::bounds::RETENTION_DAYS);
        save(tx, Table::Replay, id.as_bytes(), &ReplayRow { until: until.get() })?;
        self.retry_parked(tx, mailbox, id.as_bytes())?;
        Ok(Outcome::Opened(message))
    }

    /// Takes up a session that somebody started over a link of ours.
    fn accept(
        &mut self,
        tx: &mut dyn Transaction,
        link: &LinkRow,
        known: Option<ContactId>,
        pending: PendingAccept,
    ) -> Result<bool, EngineError> {
        // A label names the one person that a single-use link was made for.
        let name = (link.kind == LinkKindRow::SingleUse).then(|| link.label.clone());
        let mut peer = Peer {
            list: pending.peer().clone(),
            account: *pending.peer().account().as_bytes(),
            device: pending.peer_device().to_bytes().to_vec(),
            route: Some(Secret::new(pending.reply().as_bytes())),
            name: name.flatten(),
            by_them: true,
        };
        let contact = match known {
            Some(contact) => contact,
            None => self.welcome(tx, &mut peer)?,
        };
        let content = Zeroizing::new(pending.content().to_vec());
        let id: SessionId = pending.session_id();
        let session = pending.commit(|_| Ok::<(), EngineError>(()))?;
        save_session(tx, contact, &session)?;
        let session = SessionRef { id: *id.as_bytes(), peer_has: true, first_contact: None };
        add_session(tx, contact, peer, session)?;
        // Before anything else, so that whoever has read a reply of ours writes to where no other
        // contact does.
        tell_mailbox(tx, self.rng, contact, self.now)?;
        if known.is_none() {
            greet(tx, self.rng, contact, self.name, self.now, None)?;
        }
        handle(tx, contact, &content)
    }

    /// A new contact gets a mailbox of its own.
    fn welcome(
        &mut self,
        tx: &mut dyn Transaction,
        peer: &mut Peer,
    ) -> Result<ContactId, EngineError> {
        let (mailbox, _) = new_mailbox(tx, self.rng, self.relay, Purpose::Adding)?;
        let contact = add_contact(tx, peer, mailbox)?;
        let mut row: MailboxRow = must(tx, Table::Mailboxes, &mailbox)?;
        row.purpose = Purpose::Contact(contact.get());
        save(tx, Table::Mailboxes, &mailbox, &row)?;
        Ok(contact)
    }
}

fn prekey_key(link: u64, bundle: BundleId) -> Vec<u8> {
    key2(&key1(link), bundle.as_bytes())
}

/// Sessions that may write into this mailbox: a contact's into its own, and any into a link's,
/// where contacts write until they have heard of their own; those that have not used their own
/// yet come first, the newest of them at the head.
fn candidates(tx: &dyn Transaction, row: &MailboxRow) -> Result<Vec<[u8; 32]>, EngineError> {
    let contacts = match row.purpose {
        Purpose::Contact(contact) => vec![load_contact(tx, ContactId::new(contact))?],
        Purpose::Link(_) => {
            let mut all: Vec<_> = all_contacts(tx)?.into_iter().map(|(_, row)| row).collect();
            all.reverse();
            all.sort_by_key(|row| row.moved);
            all
        }
        Purpose::Adding => Vec::new(),
    };
    let devices = contacts.iter().flat_map(|contact| &contact.devices);
    let sessions = devices.flat_map(|device| device.sessions.iter().rev());
    Ok(sessions.map(|session| session.id).take(MAX_SESSIONS_TRIED).collect())
}

/// Notes that a contact writes into their own mailbox.
fn has_moved(tx: &mut dyn Transaction, contact: ContactId) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if !row.moved {
        row.moved = true;
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}

/// A session did not open an envelope.
fn refused(
    tx: &mut dyn Transaction,
    contact: ContactId,
    error: OpenError,
) -> Result<Outcome, EngineError> {
    let cause = match error {
        OpenError::NotForThisSession | OpenError::BodyAltered => return Ok(Outcome::Foreign),
        OpenError::PeerRolledBack(_) => ResetCause::PeerRolledBack,
        OpenError::GapTooLarge => ResetCause::GapTooLarge,
        // A repeat, or nonsense that the peer itself has sealed: it never becomes more.
        _ => return Ok(Outcome::Dropped),
    };
    // Said once: the same sign comes with every envelope behind it.
    if !load_contact(tx, contact)?.needs_reset {
        let mut row = load_contact(tx, contact)?;
        row.needs_reset = true;
        save_contact(tx, contact, &row)?;
        emit(tx, EventKind::Reset { contact, cause })?;
    }
    Ok(Outcome::Foreign)
}

/// Notes that the other side has this session: it wrote to us in it.
fn peer_has(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &[u8; 32],
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    let mut sessions = row.devices.iter_mut().flat_map(|device| &mut device.sessions);
    match sessions.find(|session| session.id == *id) {
        Some(session) if !session.peer_has => session.peer_has = true,
        _ => return Ok(()),
    }
    Ok(save_contact(tx, contact, &row)?)
}
