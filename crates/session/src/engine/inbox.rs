//! The inbox. An envelope is opened, its message stored and the ratchet advanced in one
//! transaction, with the mailbox's floor; only then is the relay told that it may forget it.

use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    AccountKey, BundleId, Day, Greeting, HandshakeError, OpenError, PendingAccept, PrekeySecret,
    Session, SessionId,
};
use undertone_wire::frame::Acknowledgement;
use undertone_wire::{Floor, Incarnation, MailboxId, Seq};
use zeroize::Zeroizing;

use super::contacts::{all_contacts, contact_of, load_contact, save_contact};
use super::events::emit;
use super::first_contact::{Peer, add_contact, add_session, greet, known_record, save_session};
use super::handle::handle;
use super::healing::{self, cause_from_byte, suspect};
use super::links::{link_secret, load_link};
use super::mailboxes::{new_mailbox, tell_mailbox};
use super::people::room_for_strangers;
use super::rows::{
    HealingRow, LinkKindRow, LinkRow, LinkState, MailboxRow, ParkedRow, PrekeyRow, Purpose,
    ReplayRow, Secret, SessionRef, SessionRow, corrupt, decode, key1, key2, load, must,
    next_number, save,
};
use super::{Engine, EngineError, day};
use crate::contact::AccountId;
use crate::content::{Body, Content};
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
    /// It may be accepted later; kept like what nothing opens.
    Later,
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
        let (store, mut inbox) = self.inbox(now);
        store.transaction(|tx| {
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
                Outcome::Foreign | Outcome::Later => {
                    park(tx, mailbox, &row, envelope, today)?;
                    received.parked = true;
                }
            }
            // Read anew: what was opened may have been the contact's word about this very mailbox.
            if let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())? {
                scope(&mut row, incarnation);
                row.floor = seq.get();
                save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            }
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

impl<S: Store, R: CryptoRng> Engine<S, R> {
    pub(super) fn inbox(&mut self, now: UnixMillis) -> (&mut S, Inbox<'_, R>) {
        let inbox = Inbox {
            me: &self.me,
            name: &self.name,
            relay: &self.relay,
            rng: &mut self.rng,
            today: day(now),
            now,
        };
        (&mut self.store, inbox)
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
pub(super) struct Inbox<'a, R> {
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
            match self.open_greeting(tx, mailbox, number, envelope)? {
                Outcome::Foreign => {}
                outcome => return Ok(outcome),
            }
        }
        self.try_sessions(tx, mailbox, row, envelope)
    }

    /// Opens an envelope as one that begins with a handshake over this link.
    fn open_greeting(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        number: u64,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        let link = load_link(tx, number)?;
        match Greeting::open(&link_secret(&link)?.hello_key(), envelope) {
            Ok(greeting) => self.greeted(tx, mailbox, (number, &link), greeting),
            Err(HandshakeError::NotSealedForThisLink) => Ok(Outcome::Foreign),
            Err(_) => Ok(Outcome::Dropped),
        }
    }

    /// What could not be accepted when it came is tried once more.
    pub(super) fn retry_greetings(
        &mut self,
        tx: &mut dyn Transaction,
        number: u64,
    ) -> Result<(), EngineError> {
        let mailbox = MailboxId::from_bytes(load_link(tx, number)?.mailbox);
        let rows =
            tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
        for row in rows {
            let parked: ParkedRow = decode(Table::Parked, &row.value)?;
            match self.open_greeting(tx, &mailbox, number, &parked.envelope)? {
                Outcome::Foreign | Outcome::Later => {}
                Outcome::Opened(_) | Outcome::Dropped => tx.delete(Table::Parked, &row.key)?,
            }
        }
        Ok(())
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
                Outcome::Foreign | Outcome::Later => {}
                Outcome::Opened(message) => {
                    if let Purpose::Contact(contact) = row.purpose {
                        has_moved(tx, ContactId::new(contact), mailbox)?;
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
            let outcome = self.open_in(tx, session, &parked.envelope, &mut trials)?;
            if matches!(outcome, Outcome::Opened(_) | Outcome::Dropped) {
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
            Err(error) => return refused(tx, contact, id, error),
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
            // Over a link that was withdrawn nobody is let in, and that is no sign of anything.
            if link.state != LinkState::Revoked {
                let label = link.label.clone();
                emit(tx, EventKind::LinkUsedTwice { label })?;
            }
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
        match self.admit(tx, link, known, &pending)? {
            Admission::Welcome => {}
            Admission::Never => return Ok(Outcome::Dropped),
            Admission::Later => return Ok(Outcome::Later),
        }
        let came_by = prekey.capability.map(|hash| (link.mailbox, hash));
        let one_time = secret.kind() == undertone_core::BundleKind::OneTime;
        let message = self.accept(tx, link, known, pending, came_by.filter(|_| one_time))?;
        // The prekey of a one-time bundle goes in the transaction that accepts its session.
        if one_time {
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
        came_by: Option<([u8; 32], [u8; 32])>,
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
            came_by,
        };
        let contact = match known {
            Some(contact) => contact,
            None => self.welcome(tx, &mut peer)?,
        };
        let content = Zeroizing::new(pending.content().to_vec());
        let id: SessionId = pending.session_id();
        let session = pending.commit(|_| Ok::<(), EngineError>(()))?;
        save_session(tx, contact, &session)?;
        let id = *id.as_bytes();
        let session = SessionRef { id, peer_has: true, first_contact: None, retired: None };
        let notice = match Content::decode(&content) {
            Ok(Content { body: Body::ResetNotice { cause, retired }, .. }) => {
                Some((cause, retired))
            }
            _ => None,
        };
        let reset = notice.is_some() || link.kind == LinkKindRow::Reset;
        if known.is_some() && reset {
            let (cause, gone) = notice.unwrap_or_default();
            let why = (cause_from_byte(cause), gone.as_slice());
            healing::accept(tx, self.rng, contact, (peer, session), why, self.now)?;
        } else {
            add_session(tx, contact, peer, session)?;
            // Before anything else, so that whoever has read a reply of ours writes to where no
            // other contact does.
            tell_mailbox(tx, self.rng, contact, self.now)?;
        }
        if known.is_none() {
            greet(tx, self.rng, contact, self.name, self.now, None)?;
        }
        handle(tx, contact, &content)
    }

    /// Whether somebody whose handshake opened is let in over this link.
    fn admit(
        &mut self,
        tx: &mut dyn Transaction,
        link: &LinkRow,
        known: Option<ContactId>,
        pending: &PendingAccept,
    ) -> Result<Admission, EngineError> {
        // R-1304: not over any link.
        if let Some(known) = known
            && load_contact(tx, known)?.blocked
        {
            return Ok(Admission::Never);
        }
        if link.kind == LinkKindRow::Reset {
            let holder = link.contact.map(ContactId::new);
            return match holder {
                Some(holder) if known == Some(holder) => Ok(Admission::Welcome),
                // R-1303: somebody else has what only they were given.
                Some(holder) => offered(tx, holder, pending.peer().account().as_bytes()),
                None => Ok(Admission::Never),
            };
        }
        if known.is_none() && !room_for_strangers(tx, self.today.get())? {
            return Ok(Admission::Later);
        }
        Ok(Admission::Welcome)
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

/// Whether somebody is let in.
enum Admission {
    Welcome,
    /// When the person has decided, or on another day.
    Later,
    Never,
}

/// Another account calls over the reset link that only this contact holds: a changed account key is
/// for the person to accept. Told once for each account.
fn offered(
    tx: &mut dyn Transaction,
    holder: ContactId,
    account: &[u8; 32],
) -> Result<Admission, EngineError> {
    let mut row = match load_contact(tx, holder) {
        Ok(row) if !row.blocked => row,
        Ok(_) | Err(EngineError::UnknownContact) => return Ok(Admission::Never),
        Err(error) => return Err(error),
    };
    if row.offered_account != Some(*account) {
        row.offered_account = Some(*account);
        save_contact(tx, holder, &row)?;
        let key = AccountKey::from_bytes(account).map_err(|_| corrupt("an account key"))?;
        let account = AccountId::from_bytes(*key.fingerprint().as_bytes());
        emit(tx, EventKind::KeyChanged { contact: holder, account })?;
    }
    Ok(Admission::Later)
}

fn prekey_key(link: u64, bundle: BundleId) -> Vec<u8> {
    key2(&key1(link), bundle.as_bytes())
}

/// Sessions that may write into this mailbox: a contact's into its own and into that of the reset
/// link that they hold; any into another link's, where contacts write until they have heard of their
/// own: those that have not used their own yet come first, the newest of them at the head. Nothing
/// is tried for a blocked contact.
fn candidates(tx: &dyn Transaction, row: &MailboxRow) -> Result<Vec<[u8; 32]>, EngineError> {
    let holder = match row.purpose {
        Purpose::Contact(contact) => Some(contact),
        Purpose::Link(number) => load_link(tx, number)?.contact,
        Purpose::Adding => return Ok(Vec::new()),
    };
    let mut contacts = match holder {
        Some(contact) => match load_contact(tx, ContactId::new(contact)) {
            Ok(contact) => vec![contact],
            Err(EngineError::UnknownContact) => Vec::new(),
            Err(error) => return Err(error),
        },
        None => {
            let mut all: Vec<_> = all_contacts(tx)?.into_iter().map(|(_, row)| row).collect();
            all.reverse();
            all.sort_by_key(|row| row.moved);
            all
        }
    };
    contacts.retain(|contact| !contact.blocked);
    let devices = contacts.iter().flat_map(|contact| &contact.devices);
    let sessions = devices.flat_map(|device| device.sessions.iter().rev());
    Ok(sessions.map(|session| session.id).take(MAX_SESSIONS_TRIED).collect())
}

/// Notes that a contact writes into their own mailbox.
fn has_moved(
    tx: &mut dyn Transaction,
    contact: ContactId,
    mailbox: &MailboxId,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if !row.moved && row.mailbox == *mailbox.as_bytes() {
        row.moved = true;
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}

/// A session did not open an envelope.
fn refused(
    tx: &mut dyn Transaction,
    contact: ContactId,
    session: &[u8; 32],
    error: OpenError,
) -> Result<Outcome, EngineError> {
    let cause = match error {
        OpenError::NotForThisSession => return Ok(Outcome::Foreign),
        OpenError::PeerRolledBack(_) => ResetCause::PeerRolledBack,
        OpenError::GapTooLarge => ResetCause::GapTooLarge,
        // A repeat, nonsense that the peer itself has sealed, or a body that somebody altered: it
        // never becomes more.
        _ => return Ok(Outcome::Dropped),
    };
    suspect(tx, contact, session, cause)?;
    Ok(Outcome::Foreign)
}

/// Notes that the other side has this session, and uses it: it wrote to us in it.
fn peer_has(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &[u8; 32],
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    let mut changed = false;
    for device in &mut row.devices {
        let Some(session) = device.sessions.iter_mut().find(|session| session.id == *id) else {
            continue;
        };
        changed = !session.peer_has || device.spoken != Some(*id);
        session.peer_has = true;
        device.spoken = Some(*id);
    }
    // The answer to a reset.
    let current = row.sessions().any(|session| session.id == *id && session.retired.is_none());
    if current && matches!(row.healing, HealingRow::Started { .. }) {
        row.healing = HealingRow::Sound;
        changed = true;
    }
    if changed {
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}
