//! Starting a session anew (`protocol-spec/13-session.md`): when it is due, how it is begun, what
//! it retires and what is sent again.
//!
//! A reset is an ordinary handshake over the private link that the contact gave inside a session.
//! Only knowledge starts one: that this store is old, or a sign in a header that opened. An envelope
//! that does not open never does.

use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    AccountFingerprint, Bundle, BundleError, LinkSecret, Routing as CoreRouting, initiate,
};
use undertone_wire::{FetchCapability, RelayAddress, TakeId};

use super::contacts::{all_contacts, for_each, load_contact, save_contact};
use super::events::emit;
use super::first_contact::{Peer, add_session, known_record, save_session};
use super::mailboxes::routing;
use super::outbox::{enqueue_urgent, set_hold};
use super::resend::{decide, drop_addresses, requeue};
use super::rows::{
    ContactRow, HealingRow, LinkKindRow, LinkRow, LinkState, MailboxRow, Secret, SessionRef,
    TakeRow, corrupt, decode, load, must, save,
};
use super::{Engine, EngineError, day, random, reset_links};
use crate::content::{Body, Content};
use crate::event::{EventKind, ResetCause};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::Link;
use crate::message::Hold;
use crate::routing::Routing;
use crate::store::{Store, StoreError, Table, Transaction};

/// Days after which a reset that nobody answered is begun again, with another bundle: the first may
/// have been lost with the store of the one who made it.
const RETRY_DAYS: u32 = 7;

/// What has to be asked of a relay to start a session anew. The bundle goes to
/// [`Engine::finish_reset`]; that there is none to [`Engine::reset_refused`].
pub struct ResetPlan {
    /// With whom.
    pub contact: ContactId,
    /// The relay that keeps the depot.
    pub relay: RelayAddress,
    /// What lets us take from it.
    pub fetch: FetchCapability,
    /// Which take this is: the same one until the reset has begun.
    pub take: TakeId,
}

/// How a cause is told to the other side.
pub(super) const fn cause_to_byte(cause: ResetCause) -> u8 {
    match cause {
        ResetCause::OwnStateLost => 1,
        ResetCause::PeerRolledBack => 2,
        ResetCause::GapTooLarge => 3,
        _ => 0,
    }
}

/// What the other side's cause means here.
pub(super) const fn cause_from_byte(byte: u8) -> ResetCause {
    match byte {
        1 => ResetCause::TheirStateLost,
        2 => ResetCause::TheySawUsRolledBack,
        3 => ResetCause::TheyMissTooMany,
        // Of a later version, or none.
        _ => ResetCause::ByContact,
    }
}

/// A header that opened shows that the sessions with a contact can't go on. Noted once: the same
/// sign comes with every envelope behind it, and in sessions that another has replaced.
pub(super) fn suspect(
    tx: &mut dyn Transaction,
    contact: ContactId,
    session: &[u8; 32],
    cause: ResetCause,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    let current = row.sessions().any(|one| one.id == *session && one.retired.is_none());
    // R-1305
    if current && row.healing == HealingRow::Sound {
        row.healing = HealingRow::due(cause);
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}

/// The store is older than what it has acknowledged, in one mailbox and therefore as a whole: no
/// session can go on, and bundles may lie in our depots that are not known here.
pub(super) fn store_is_old(tx: &mut dyn Transaction) -> Result<(), EngineError> {
    for (contact, _) in all_contacts(tx)? {
        contact_is_lost(tx, contact)?;
    }
    let mut takes = Vec::new();
    for_each(tx, Table::Takes, &[], |key, value| {
        let row: TakeRow = decode(Table::Takes, value)?;
        takes.push((key.to_vec(), row.mailbox));
        Ok(())
    })?;
    // What was begun may have been ended meanwhile: the same take would get a bundle that is used.
    for (key, mailbox) in takes {
        tx.delete(Table::Takes, &key)?;
        tx.delete(Table::Mailboxes, &mailbox)?;
    }
    let mut links: Vec<(Vec<u8>, LinkRow)> = Vec::new();
    for_each(tx, Table::Links, &[], |key, value| {
        let row: LinkRow = decode(Table::Links, value)?;
        if row.state == LinkState::Active && row.kind != LinkKindRow::SingleUse {
            links.push((key.to_vec(), row));
        }
        Ok(())
    })?;
    for (key, mut row) in links {
        row.stale = true;
        save(tx, Table::Links, &key, &row)?;
    }
    Ok(())
}

/// The sessions with this contact may be older than what was sent and received in them.
pub(super) fn contact_is_lost(
    tx: &mut dyn Transaction,
    contact: ContactId,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if row.state_is_lost() {
        return Ok(());
    }
    row.healing = HealingRow::due(ResetCause::OwnStateLost);
    row.reset_take = None;
    save_contact(tx, contact, &row)?;
    emit(tx, EventKind::StoreRolledBack { contact })?;
    Ok(set_hold(tx, contact, Some(Hold::StoreRolledBack))?)
}

/// From now on nothing is sent in the sessions that there are; what still comes in them is opened.
fn retire_all(row: &mut ContactRow, today: u32) {
    for session in row.devices.iter_mut().flat_map(|device| &mut device.sessions) {
        session.retired.get_or_insert(today);
        // What was told of those that were retired before is not true any more.
        session.told = false;
    }
}

/// A new session with a contact has taken the place of others: says so in it, gives again what the
/// contact needs to reach us, and sends again what is not known to have arrived.
pub(super) fn take_over(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    session: [u8; 32],
    cause: u8,
    now: UnixMillis,
) -> Result<(), EngineError> {
    let body = Body::ResetNotice { cause, sessions: Vec::new() };
    let notice = Content { id: MessageId::from_bytes(random(rng)), sent_at: now, body };
    enqueue_urgent(tx, contact, &notice, Some(session))?;
    tell_where(tx, rng, contact, session, now)?;
    requeue(tx, contact, day(now).get())?;
    Ok(set_hold(tx, contact, None)?)
}

/// Tells the contact, in this session, where they reach us and how they may start anew.
pub(super) fn tell_where(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    session: [u8; 32],
    now: UnixMillis,
) -> Result<(), EngineError> {
    drop_addresses(tx, contact)?;
    let mut content = |body| Content { id: MessageId::from_bytes(random(rng)), sent_at: now, body };
    let row = load_contact(tx, contact)?;
    let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
    let route = content(Body::MailboxMove(routing(&mailbox)?.to_route()));
    enqueue_urgent(tx, contact, &route, Some(session))?;
    match reset_links::given_to(tx, &row)? {
        Some(link) => enqueue_urgent(tx, contact, &content(Body::ResetLink(link)), Some(session)),
        None => Ok(()),
    }
}

/// One of both stores is old, so that what is known here of where the contact reads may be older than
/// where it reads. It may still be accepted there, and deleted unread. So everything goes to the
/// mailbox of the reset link until the contact has told its present one, which it does with its first
/// words.
fn forget_routes(tx: &mut dyn Transaction, contact: ContactId) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    row.devices.iter_mut().for_each(|device| device.routes.clear());
    Ok(save_contact(tx, contact, &row)?)
}

/// A session that we have initiated takes the place of all others with this contact.
pub(super) fn start(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    (peer, session): (Peer, SessionRef),
    cause: ResetCause,
    now: UnixMillis,
) -> Result<(), EngineError> {
    let today = day(now).get();
    let mut row = load_contact(tx, contact)?;
    retire_all(&mut row, today);
    row.healing = HealingRow::Started { cause, day: today };
    row.reset_take = None;
    save_contact(tx, contact, &row)?;
    let id = session.id;
    add_session(tx, contact, peer, session)?;
    take_over(tx, rng, contact, id, cause_to_byte(cause), now)?;
    Ok(emit(tx, EventKind::Reset { contact, cause })?)
}

/// A session that the contact has initiated takes the place of all others, also of one that we have
/// initiated and that they have not answered: whether they have that one, or have lost it again, can't
/// be known. If they write in it, [`super::replaced`] brings
/// both sides together.
pub(super) fn accept(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    (peer, session): (Peer, SessionRef),
    cause: ResetCause,
    now: UnixMillis,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    retire_all(&mut row, day(now).get());
    // Where our own state is lost, a newer store may have accepted this very session, and received
    // and sent in it: only a session that begins now can go on.
    let lost = row.state_is_lost();
    if !lost {
        row.healing = HealingRow::Sound;
        row.reset_take = None;
    }
    save_contact(tx, contact, &row)?;
    let id = session.id;
    add_session(tx, contact, peer, session)?;
    if !lost {
        take_over(tx, rng, contact, id, 0, now)?;
    }
    Ok(emit(tx, EventKind::Reset { contact, cause })?)
}

impl ContactRow {
    pub(super) fn sessions(&self) -> impl Iterator<Item = &SessionRef> {
        self.devices.iter().flat_map(|device| &device.sessions)
    }

    /// Nothing may be sealed: every position that is known here may have been used.
    pub(super) const fn state_is_lost(&self) -> bool {
        matches!(self.healing, HealingRow::Due { cause: ResetCause::OwnStateLost, .. })
    }

    /// Why a session has to be started anew, if one has to be started now.
    fn reset_due(&self, today: u32) -> Option<(ResetCause, bool)> {
        match self.healing {
            HealingRow::Due { cause, stalled } => Some((cause, stalled)),
            HealingRow::Started { cause, day } if day.saturating_add(RETRY_DAYS) <= today => {
                Some((cause, false))
            }
            HealingRow::Started { .. } | HealingRow::Sound => None,
        }
    }

    fn reset_link(&self) -> Result<Option<Link>, StoreError> {
        let Some(payload) = &self.reset_theirs else { return Ok(None) };
        Link::from_payload(payload.bytes()).map(Some).map_err(|_| corrupt("a reset link"))
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Contacts with whom a session has to be started anew and can be: they gave a reset link, and
    /// our mailbox for them exists. Those who gave none are told of once.
    ///
    /// # Errors
    /// Those of the store.
    pub fn due_resets(&mut self, now: UnixMillis) -> Result<Vec<ResetPlan>, EngineError> {
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            let mut plans = Vec::new();
            for (contact, mut row) in all_contacts(tx)? {
                let due = row.reset_due(day(now).get()).filter(|_| !row.blocked);
                let Some((_, stalled)) = due else { continue };
                let Some(link) = row.reset_link()? else {
                    if !stalled {
                        stall(tx, contact)?;
                    }
                    continue;
                };
                let mailbox: Option<MailboxRow> = load(tx, Table::Mailboxes, &row.mailbox)?;
                if !mailbox.is_some_and(|mailbox| mailbox.live) {
                    continue;
                }
                let take = match row.reset_take {
                    Some(take) => take,
                    None => {
                        let take = random(rng);
                        row.reset_take = Some(take);
                        save_contact(tx, contact, &row)?;
                        take
                    }
                };
                let fetch = LinkSecret::from_bytes(link.secret()).fetch_capability();
                plans.push(ResetPlan {
                    contact,
                    relay: link.relay().clone(),
                    fetch: FetchCapability::from_bytes(*fetch.as_bytes()),
                    take: TakeId::from_bytes(take),
                });
            }
            Ok(plans)
        })
    }

    /// Starts the session anew with the bundle that the depot gave. False if that is not due any
    /// more: the contact was faster.
    ///
    /// # Errors
    /// [`EngineError::Bundle`], [`EngineError::Identity`] if the bundle is not the contact's.
    pub fn finish_reset(
        &mut self,
        contact: ContactId,
        sealed: &[u8],
        now: UnixMillis,
    ) -> Result<bool, EngineError> {
        let (rng, me) = (&mut self.rng, &self.me);
        let today = day(now);
        self.store.transaction(|tx| {
            let row = load_contact(tx, contact)?;
            let due = row.reset_due(today.get()).filter(|_| !row.blocked);
            let (Some((cause, _)), Some(link)) = (due, row.reset_link()?) else {
                return Ok(false);
            };
            let secret = LinkSecret::from_bytes(link.secret());
            let account = AccountFingerprint::from_bytes(*link.account());
            let bundle = Bundle::open(&secret.card_key(), sealed, &account, today)?;
            if Routing::from_bytes(bundle.reply().as_bytes()).is_none() {
                return Err(EngineError::Bundle(BundleError::Unreadable));
            }
            let peer = Peer {
                list: bundle.list().clone(),
                account: *bundle.list().account().as_bytes(),
                device: bundle.device().to_bytes().to_vec(),
                route: None,
                name: None,
                by_them: false,
                came_by: None,
            };
            let first_contact = Secret::new(bundle.reply().as_bytes());
            let checked = bundle.check(known_record(tx, Some(contact))?.as_ref())?;
            let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            let reply = CoreRouting::new(&routing(&mailbox)?.to_bytes())
                .map_err(|_| corrupt("a capability"))?;
            let session = initiate(me, checked, &secret, &reply, rng)?;
            let id = *session.id().as_bytes();
            save_session(tx, contact, &session)?;
            forget_routes(tx, contact)?;
            let reference = SessionRef::new(id, Some(first_contact));
            start(tx, rng, contact, (peer, reference), cause, now)?;
            Ok(true)
        })
    }

    /// What is behind the contact's reset link can't be had or is of no use. It is tried again with
    /// the next pass; the person is told once.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn reset_refused(&mut self, contact: ContactId) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            // Another take: the bundle of this one was of no use.
            row.reset_take = None;
            save_contact(tx, contact, &row)?;
            stall(tx, contact)
        })
    }

    /// After a reset: sends again what was on its way to a verified contact, or gives it up.
    /// Returns how many messages that concerned.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn consent_to_resend(
        &mut self,
        contact: ContactId,
        again: bool,
    ) -> Result<u64, EngineError> {
        self.store.transaction(|tx| {
            load_contact(tx, contact)?;
            decide(tx, contact, again)
        })
    }
}

/// Tells the person, once, that a reset is due and can't begin.
fn stall(tx: &mut dyn Transaction, contact: ContactId) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if let HealingRow::Due { cause, stalled: false } = row.healing {
        row.healing = HealingRow::Due { cause, stalled: true };
        save_contact(tx, contact, &row)?;
        emit(tx, EventKind::ResetStalled { contact, cause })?;
    }
    Ok(())
}
