//! First contact, both sides: using somebody's link, and accepting who used ours.

use sha2::{Digest, Sha256};
use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    AccountFingerprint, Bundle, BundleError, DeviceList, LinkSecret, ListRecord,
    Routing as CoreRouting, Session, initiate,
};
use undertone_wire::{FetchCapability, RelayAddress, TakeId};

use super::contacts::{all_contacts, contact_of, load_contact, save_contact};
use super::events::emit;
use super::mailboxes::{new_mailbox, routing};
use super::outbox::enqueue_control;
use super::rows::{
    ContactRow, DeviceRow, HealingRow, MailboxRow, ProfileRow, Purpose, Secret, SessionRef,
    SessionRow, TakeRow, corrupt, load, must, next_number, save,
};
use super::{Engine, EngineError, MailboxPlan, PROFILE, check_name, day, healing, random};
use crate::content::{Body, Content};
use crate::event::{EventKind, ResetCause};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::Link;
use crate::routing::Routing;
use crate::store::{Store, StoreError, Table, Transaction};

/// Routes that are kept for a device: the newest is used; older ones tell what was.
const MAX_ROUTES: usize = 4;

/// Sessions that are kept with a device: the current one, those of a simultaneous start, and a few
/// that were reset. Each costs header trials on every envelope.
const MAX_SESSIONS: usize = 6;

/// What has to be asked of relays to use a link: first the mailbox for the answers, then the
/// bundle. The bundle goes to [`Engine::finish_add`]. Beginning again with the same link gives the
/// same plan, so that a broken attempt does not use the link up.
pub struct AddPlan {
    /// Our mailbox for this contact.
    pub mailbox: MailboxPlan,
    /// The relay that keeps the depot.
    pub relay: RelayAddress,
    /// What lets us take from it.
    pub fetch: FetchCapability,
    /// Which take this is.
    pub take: TakeId,
}

fn take_key(link: &Link) -> [u8; 32] {
    Sha256::digest([b"undertone take", &link.secret()[..]].concat()).into()
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Begins to use somebody's link.
    ///
    /// # Errors
    /// [`EngineError::OwnLink`]; [`EngineError::NameInvalid`], before anything is used up.
    pub fn begin_add(&mut self, link: &Link, name: Option<&str>) -> Result<AddPlan, EngineError> {
        name.map(check_name).transpose()?;
        //
        if self.is_own(link) {
            return Err(EngineError::OwnLink);
        }
        let (rng, relay) = (&mut self.rng, &self.relay);
        let key = take_key(link);
        let (take, mailbox) = self.store.transaction(|tx| -> Result<_, EngineError> {
            let row = match load::<TakeRow>(tx, Table::Takes, &key)? {
                Some(row) => row,
                None => {
                    let (mailbox, _) = new_mailbox(tx, rng, relay, Purpose::Adding)?;
                    let row = TakeRow { take: random(rng), mailbox };
                    save(tx, Table::Takes, &key, &row)?;
                    row
                }
            };
            Ok((row.take, must::<MailboxRow>(tx, Table::Mailboxes, &row.mailbox)?))
        })?;
        let fetch = LinkSecret::from_bytes(link.secret()).fetch_capability();
        Ok(AddPlan {
            mailbox: self.plan(&mailbox)?,
            relay: link.relay().clone(),
            fetch: FetchCapability::from_bytes(*fetch.as_bytes()),
            take: TakeId::from_bytes(take),
        })
    }

    /// Verifies the bundle that the depot gave, starts the session, and queues the greeting. A
    /// contact that is known by its account gets another session, not another entry.
    ///
    /// # Errors
    /// [`EngineError::OwnLink`]; [`EngineError::Bundle`], [`EngineError::Identity`] if the bundle is
    /// not from the link's maker or names an older device list; [`EngineError::NameInvalid`]; [`EngineError::UnknownLink`]
    /// without [`Engine::begin_add`].
    pub fn finish_add(
        &mut self,
        link: &Link,
        name: Option<&str>,
        sealed: &[u8],
        now: UnixMillis,
    ) -> Result<ContactId, EngineError> {
        let name = name.map(check_name).transpose()?;
        if self.is_own(link) {
            return Err(EngineError::OwnLink);
        }
        let (rng, me, profile) = (&mut self.rng, &self.me, self.name.clone());
        let secret = LinkSecret::from_bytes(link.secret());
        let account = AccountFingerprint::from_bytes(*link.account());
        let bundle = Bundle::open(&secret.card_key(), sealed, &account, day(now))?;
        let key = take_key(link);
        self.store.transaction(|tx| {
            let take: TakeRow = load(tx, Table::Takes, &key)?.ok_or(EngineError::UnknownLink)?;
            let known = contact_of(tx, &bundle.list().account())?;
            let record = known_record(tx, known)?;
            let mut peer = Peer {
                list: bundle.list().clone(),
                account: *bundle.list().account().as_bytes(),
                device: bundle.device().to_bytes().to_vec(),
                route: None,
                name,
                by_them: false,
                came_by: None,
            };
            // A hostile inviter's bundle must not stand in the way of all that is sent later.
            if Routing::from_bytes(bundle.reply().as_bytes()).is_none() {
                return Err(EngineError::Bundle(BundleError::Unreadable));
            }
            let first_contact = Secret::new(bundle.reply().as_bytes());
            let checked = bundle.check(record.as_ref())?;
            let contact = match known {
                Some(contact) => contact,
                None => add_contact(tx, &mut peer, take.mailbox)?,
            };
            let row = load_contact(tx, contact)?;
            if row.blocked {
                return Err(EngineError::ContactBlocked);
            }
            let mut mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            let reply = CoreRouting::new(&routing(&mailbox)?.to_bytes())
                .map_err(|_| corrupt("a capability"))?;
            if known.is_none() {
                mailbox.purpose = Purpose::Contact(contact.get());
                mailbox.live = true;
                save(tx, Table::Mailboxes, &row.mailbox, &mailbox)?;
            } else {
                tx.delete(Table::Mailboxes, &take.mailbox)?;
            }
            let session = initiate(me, checked, &secret, &reply, rng)?;
            let id = *session.id().as_bytes();
            save_session(tx, contact, &session)?;
            let reference = SessionRef::new(id, Some(first_contact));
            tx.delete(Table::Takes, &key)?;
            match (known, load_contact(tx, contact)?.healing) {
                (None, _) => add_session(tx, contact, peer, reference)?,
                // Also the way on where no reset can begin.
                (Some(_), HealingRow::Due { cause, .. }) => {
                    healing::start(tx, rng, contact, (peer, reference), cause, now)?;
                }
                // They may have deleted us since: what waits must not stay in sessions, and for
                // addresses, that are theirs no more.
                (Some(_), _) => {
                    let cause = ResetCause::NewLink;
                    healing::start(tx, rng, contact, (peer, reference), cause, now)?;
                }
            }
            // In this session and no other, so that the handshake goes out even where an older
            // session is there.
            greet(tx, rng, contact, &profile, now, Some(id))?;
            Ok(contact)
        })
    }

    /// The link can't be used: nothing of the attempt is kept. (The mailbox that may have been made
    /// for the answers is empty, and the relay removes it when nobody subscribes.)
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_add(&mut self, link: &Link) -> Result<(), EngineError> {
        let key = take_key(link);
        self.store.transaction(|tx| {
            if let Some(row) = load::<TakeRow>(tx, Table::Takes, &key)? {
                tx.delete(Table::Mailboxes, &row.mailbox)?;
                tx.delete(Table::Takes, &key)?;
            }
            Ok(())
        })
    }
}

/// The other side of a new session, as the handshake proved it.
pub(super) struct Peer {
    pub(super) list: DeviceList,
    pub(super) account: [u8; 32],
    pub(super) device: Vec<u8>,
    /// Where they listen, as their handshake said; `None` where we started.
    pub(super) route: Option<Secret>,
    pub(super) name: Option<String>,
    pub(super) by_them: bool,
    /// The capability of the one-time bundle over which they came.
    pub(super) came_by: Option<([u8; 32], [u8; 32])>,
}

/// What is known of a contact's device list.
pub(super) fn known_record(
    tx: &dyn Transaction,
    contact: Option<ContactId>,
) -> Result<Option<ListRecord>, EngineError> {
    let Some(contact) = contact else {
        return Ok(None);
    };
    let row = load_contact(tx, contact)?;
    if row.list_record.is_empty() {
        // Their account is another one since, and has not called yet.
        return Ok(None);
    }
    let bytes: &[u8; ListRecord::LEN] =
        row.list_record.as_slice().try_into().map_err(|_| corrupt("a device list's record"))?;
    let record = ListRecord::from_bytes(bytes).map_err(|_| corrupt("a device list's record"))?;
    Ok(Some(record))
}

/// A new contact; its mailbox exists as a row.
pub(super) fn add_contact(
    tx: &mut dyn Transaction,
    peer: &mut Peer,
    mailbox: [u8; 32],
) -> Result<ContactId, StoreError> {
    let id = ContactId::new(next_number(tx, "contact")?);
    let name = peer.name.take();
    let row = ContactRow {
        name_is_ours: name.is_some(),
        // Until they say how they call themselves.
        name: name.unwrap_or_else(|| format!("contact {id}")),
        profile_name: None,
        account: peer.account,
        list_record: peer.list.record().to_bytes().to_vec(),
        verified: false,
        blocked: false,
        healing: HealingRow::Sound,
        moved: false,
        mailbox,
        devices: Vec::new(),
        reset_ours: None,
        reset_theirs: None,
        reset_take: None,
        came_by: peer.came_by.take(),
        offered_account: None,
        timer: 0,
        timer_at: 0,
    };
    save_contact(tx, id, &row)?;
    save(tx, Table::Accounts, &peer.account, &id.get())?;
    let by_them = peer.by_them;
    emit(tx, EventKind::ContactAdded { contact: id, by_them })?;
    Ok(id)
}

/// Notes a session and the route that came with it; the newest route is first.
pub(super) fn add_session(
    tx: &mut dyn Transaction,
    contact: ContactId,
    peer: Peer,
    session: SessionRef,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    row.list_record = peer.list.record().to_bytes().to_vec();
    close_removed(tx, &mut row, &peer.list)?;
    let at = row.devices.iter().position(|device| device.keys == peer.device);
    let mut device = match at {
        Some(at) => row.devices.remove(at),
        None => {
            DeviceRow { keys: peer.device, routes: Vec::new(), sessions: Vec::new(), spoken: None }
        }
    };
    if let Some(route) = peer.route {
        device.routes.insert(0, route);
        device.routes.truncate(MAX_ROUTES);
    }
    if session.peer_has {
        device.spoken = Some(session.id);
    }
    device.sessions.push(session);
    while device.sessions.len() > MAX_SESSIONS {
        let oldest = device.sessions.remove(0);
        tx.delete(Table::Sessions, &oldest.id)?;
    }
    row.devices.push(device);
    Ok(save_contact(tx, contact, &row)?)
}

/// Sessions of a device that is not on the list any more end at once.
pub(super) fn close_removed(
    tx: &mut dyn Transaction,
    row: &mut ContactRow,
    list: &DeviceList,
) -> Result<(), StoreError> {
    let listed = |device: &DeviceRow| {
        list.devices().iter().any(|listed| listed.keys().to_bytes().as_slice() == device.keys)
    };
    let (kept, removed): (Vec<_>, Vec<_>) = row.devices.drain(..).partition(listed);
    row.devices = kept;
    for session in removed.iter().flat_map(|device| &device.sessions) {
        tx.delete(Table::Sessions, &session.id)?;
    }
    Ok(())
}

/// A route that came inside a session.
pub(super) fn add_route(
    tx: &mut dyn Transaction,
    contact: ContactId,
    route: &[u8],
) -> Result<(), EngineError> {
    if Routing::from_bytes(route).is_none() {
        // nothing that could be written to.
        return Ok(());
    }
    let mut row = load_contact(tx, contact)?;
    if let Some(device) = row.devices.last_mut() {
        device.routes.retain(|known| known.bytes() != route);
        device.routes.insert(0, Secret::new(route));
        device.routes.truncate(MAX_ROUTES);
    }
    Ok(save_contact(tx, contact, &row)?)
}

pub(super) fn save_session(
    tx: &mut dyn Transaction,
    contact: ContactId,
    session: &Session,
) -> Result<(), StoreError> {
    let row = SessionRow {
        contact: contact.get(),
        state: Secret::new(&session.to_bytes()),
        epochs: session.epoch(),
        healed_at: 0,
    };
    save(tx, Table::Sessions, session.id().as_bytes(), &row)
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Calls oneself something else, and tells all contacts who are not blocked.
    ///
    /// # Errors
    /// [`EngineError::NameInvalid`].
    pub fn set_name(&mut self, name: &str, now: UnixMillis) -> Result<(), EngineError> {
        let name = check_name(name)?;
        let rng = &mut self.rng;
        self.store.transaction(|tx| -> Result<(), EngineError> {
            let mut profile: ProfileRow = must(tx, Table::Meta, PROFILE)?;
            profile.name.clone_from(&name);
            save(tx, Table::Meta, PROFILE, &profile)?;
            for (contact, row) in all_contacts(tx)? {
                if !row.blocked {
                    greet(tx, rng, contact, &name, now, None)?;
                }
            }
            Ok(())
        })?;
        self.name = name;
        Ok(())
    }
}

/// Tells a contact how we call ourselves; with it the handshake goes out.
pub(super) fn greet(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    name: &str,
    now: UnixMillis,
    session: Option<[u8; 32]>,
) -> Result<(), EngineError> {
    let content = Content {
        id: MessageId::from_bytes(random(rng)),
        sent_at: now,
        body: Body::Profile { name: name.to_owned() },
    };
    enqueue_control(tx, contact, &content, session)
}
