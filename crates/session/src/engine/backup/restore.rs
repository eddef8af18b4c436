//! Out of a backup: a new device of the account, in an empty store.
//!
//! Everything in a backup is under the person's own key, and is checked all the same: who was talked
//! into restoring somebody else's backup must not get a store that can't be read.

use std::collections::{HashMap, HashSet};

use undertone_core::rand_core::CryptoRng;
use undertone_core::{AccountKey, AccountSecret, DeviceKeys, DeviceList, DeviceSecret, ListRecord};
use undertone_wire::RelayAddress;

use super::{contradiction, is_kept};
use crate::backup::{
    AccountRecord, BackupError, ContactRecord, ErasedRecord, Kind, LeftoverRecord, LeftoverWhat,
    LinkRecord, MessageRecord, PendingRecord, Record, RelayRecord,
};
use crate::content::Content;
use crate::engine::chores;
use crate::engine::contacts::{for_each, save_contact};
use crate::engine::history::{add_message, load_message};
use crate::engine::mailboxes::{FORMER_RELAYS, new_mailbox};
use crate::engine::moves::MAX_FORMER_RELAYS;
use crate::engine::outbox::ORDINARY;
use crate::engine::people::MAX_CONTACTS;
use crate::engine::rows::{
    ChoreKind, ContactRow, FormerRelay, HealingRow, LinkRow, LinkState, MessageRow, OutRow,
    OutState, ProfileRow, Purpose, ReactionRow, Secret, SentRow, decode, incoming_key, key1, key2,
    outgoing_key, save, set_next_number,
};
use crate::engine::{Engine, EngineError, PROFILE, SCHEMA, SCHEMA_VERSION, check_name, day};
use crate::event::ResetCause;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::{Link, LinkKind};
use crate::message::{Direction, MessageState};
use crate::store::{Store, StoreError, Table, Transaction};

/// What a backup held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Contacts.
    pub contacts: u64,
    /// Messages of the history.
    pub messages: u64,
    /// Messages and decisions that are not known to have arrived; they go out again.
    pub pending: u64,
    /// When the backup was made, by the clock of the device that made it.
    pub made: UnixMillis,
}

/// Fills an empty store from the records of a backup, in their order. The store has no profile
/// before [`Restorer::finish`]; after an error it is to be thrown away.
pub struct Restorer<S, R> {
    store: S,
    state: State<R>,
}

struct State<R> {
    rng: R,
    now: UnixMillis,
    account: Option<Account>,
    former: Vec<FormerRelay>,
    contacts: HashSet<u64>,
    /// The last numbers that came, since they only grow.
    last_contact: u64,
    last_link: u64,
    last_message: u64,
    /// Reset links that contacts were given and that are yet to come.
    reset_links: HashSet<(u64, u64)>,
    /// Messages that something pending belongs to.
    pending: HashSet<u64>,
    /// What is pending: the place of a contact's content, and the content at a contact's place.
    places: HashMap<(ContactId, MessageId), u64>,
    contents: HashMap<(ContactId, u64), MessageId>,
    last_place: u64,
    messages: u64,
}

/// The account's record, read.
pub(super) struct Account {
    record: Box<AccountRecord>,
    secret: AccountSecret,
    list: DeviceList,
    relay: RelayAddress,
}

impl<S: Store, R: CryptoRng> Restorer<S, R> {
    /// Begins with an empty store.
    #[must_use]
    pub fn new(store: S, rng: R, now: UnixMillis) -> Self {
        let state = State {
            rng,
            now,
            account: None,
            former: Vec::new(),
            contacts: HashSet::new(),
            last_contact: 0,
            last_link: 0,
            last_message: 0,
            reset_links: HashSet::new(),
            pending: HashSet::new(),
            places: HashMap::new(),
            contents: HashMap::new(),
            last_place: 0,
            messages: 0,
        };
        Self { store, state }
    }

    /// Takes records, in one transaction.
    ///
    /// # Errors
    /// [`EngineError::Backup`] with R-1411; [`EngineError::ProfileExists`] if the store is not
    /// empty; those of the store.
    pub fn put(&mut self, records: Vec<Record>) -> Result<(), EngineError> {
        let state = &mut self.state;
        self.store.transaction(|tx| {
            for Record(kind) in records {
                state.put(tx, kind)?;
            }
            Ok(())
        })
    }

    /// All records were taken: makes the new device, signs the account's new device list, and opens
    /// the profile. Every session is begun anew from here.
    ///
    /// # Errors
    /// [`EngineError::Backup`] with R-1411; [`EngineError::Identity`] if the list's counter can't
    /// rise; those of the store.
    pub fn finish(mut self) -> Result<(Engine<S, R>, Restored), EngineError> {
        let (account, restored) = self.whole()?;
        let Self { mut store, mut state } = self;
        store.transaction(|tx| state.conclude(tx, account))?;
        Ok((Engine::open(store, state.rng)?, restored))
    }

    /// Whether nothing is missing.
    pub(super) fn whole(&mut self) -> Result<(Account, Restored), BackupError> {
        let state = &mut self.state;
        let account = state.account.take().ok_or(contradiction("it has no account"))?;
        if !state.reset_links.is_empty() {
            return Err(contradiction("a reset link that was given is not in it"));
        }
        let restored = Restored {
            contacts: u64::try_from(state.contacts.len()).unwrap_or(u64::MAX),
            messages: state.messages,
            pending: u64::try_from(state.places.len()).unwrap_or(u64::MAX),
            made: account.record.made,
        };
        Ok((account, restored))
    }
}

impl<R: CryptoRng> State<R> {
    fn put(&mut self, tx: &mut dyn Transaction, kind: Kind) -> Result<(), EngineError> {
        match kind {
            Kind::Account(record) => self.account(tx, record),
            Kind::Relay(record) => Ok(self.relay(record)?),
            Kind::Contact(record) => self.contact(tx, *record),
            Kind::Link(record) => self.link(tx, record),
            Kind::Leftover(record) => self.leftover(tx, record),
            Kind::Erased(record) => self.erased(tx, &record),
            Kind::Pending(record) => self.pending(tx, record),
            Kind::Message(message) => self.message(tx, *message),
        }
    }

    fn known(&self) -> Result<&Account, BackupError> {
        self.account.as_ref().ok_or(contradiction("it does not begin with an account"))
    }

    fn account(
        &mut self,
        tx: &mut dyn Transaction,
        record: Box<AccountRecord>,
    ) -> Result<(), EngineError> {
        if tx.get(Table::Meta, PROFILE)?.is_some() {
            return Err(EngineError::ProfileExists);
        }
        if self.account.is_some() {
            return Err(contradiction("it has two accounts").into());
        }
        let secret = AccountSecret::from_bytes(&record.secret);
        let list = DeviceList::parse(&record.list)
            .ok()
            .filter(|list| list.account() == secret.public())
            .filter(|list| list.devices().get(usize::from(record.device)).is_some())
            .ok_or(contradiction("its device list is not the account's"))?;
        if check_name(&record.name).is_err() {
            return Err(contradiction("its name can't be shown").into());
        }
        let relay = address(&record.relay)?;
        self.account = Some(Account { record, secret, list, relay });
        Ok(())
    }

    fn relay(&mut self, record: RelayRecord) -> Result<(), BackupError> {
        self.known()?;
        address(&record.relay)?;
        if self.former.len() >= MAX_FORMER_RELAYS {
            return Err(contradiction("it has too many relays"));
        }
        self.former.push(FormerRelay { relay: record.relay, token: Secret::new(&*record.token) });
        Ok(())
    }

    fn contact(
        &mut self,
        tx: &mut dyn Transaction,
        record: ContactRecord,
    ) -> Result<(), EngineError> {
        let number = record.id.get();
        let account = self.known()?;
        let next = account.record.next_contact;
        if number <= self.last_contact || number >= next || self.contacts.len() >= MAX_CONTACTS {
            return Err(contradiction("a contact's number can't be").into());
        }
        check_contact(&record, &account.secret.public())?;
        if tx.get(Table::Accounts, &record.account)?.is_some() {
            return Err(contradiction("two contacts have one account").into());
        }
        // A blocked contact gets a mailbox when they are unblocked.
        let mailbox = match record.blocked {
            true => [0; 32],
            false => {
                let home = account.relay.clone();
                new_mailbox(tx, &mut self.rng, &home, Purpose::Contact(number))?.0
            }
        };
        save(tx, Table::Accounts, &record.account, &number)?;
        save_contact(tx, record.id, &new_row(&record, mailbox))?;
        self.last_contact = number;
        self.contacts.insert(number);
        self.reset_links.extend(record.reset_ours.map(|link| (link, number)));
        Ok(())
    }

    fn link(&mut self, tx: &mut dyn Transaction, record: LinkRecord) -> Result<(), EngineError> {
        let next = self.known()?.record.next_link;
        if record.number <= self.last_link || record.number >= next {
            return Err(contradiction("a link's number can't be").into());
        }
        let fits = match (record.kind, record.contact) {
            // One that another has replaced is held by nobody, and left to expire.
            (LinkKind::Reset, Some(contact)) => {
                self.reset_links.remove(&(record.number, contact))
                    || self.contacts.contains(&contact)
            }
            (LinkKind::Reusable, None) => true,
            _ => false,
        };
        if !fits {
            return Err(contradiction("a link is of a kind that can't be").into());
        }
        if record.label.as_deref().is_some_and(|label| check_name(label).is_err()) {
            return Err(contradiction("a link's label can't be shown").into());
        }
        let relay = address(&record.relay)?;
        let number = record.number;
        let (mailbox, _) = new_mailbox(tx, &mut self.rng, &relay, Purpose::Link(number))?;
        let row = LinkRow {
            kind: record.kind.into(),
            label: record.label,
            secret: Secret::new(&*record.secret),
            depot_seed: Secret::new(&*record.depot_seed),
            mailbox,
            state: LinkState::Active,
            expires: day(self.now).get(),
            filled: 0,
            contact: record.contact,
            // The private halves of what is in the depot are on the old device.
            stale: true,
        };
        save(tx, Table::Links, &key1(number), &row)?;
        self.last_link = number;
        Ok(())
    }

    fn leftover(
        &mut self,
        tx: &mut dyn Transaction,
        record: LeftoverRecord,
    ) -> Result<(), EngineError> {
        self.known()?;
        address(&record.relay)?;
        let what = match record.what {
            LeftoverWhat::Mailbox { seed } => {
                ChoreKind::DeleteMailbox { seed: Secret::new(&*seed) }
            }
            LeftoverWhat::Depot { seed, depot } => {
                ChoreKind::DeleteDepot { seed: Secret::new(&*seed), depot }
            }
        };
        Ok(chores::note(tx, record.relay, what, day(self.now).get())?)
    }

    fn pending(
        &mut self,
        tx: &mut dyn Transaction,
        record: PendingRecord,
    ) -> Result<(), EngineError> {
        let contact = self.of_contact(record.contact)?;
        let content = Content::decode(&record.content).ok().filter(is_kept);
        let content = content.ok_or(contradiction("what is to be sent can't be"))?;
        if record.message.is_some_and(|place| self.is_beyond(place)) {
            return Err(contradiction("a message's place can't be").into());
        }
        let (out, sent) = self.place_of(contact, record.place, &content)?;
        // What was sent while the backup was made stands in it twice: the later counts.
        tx.delete(Table::Outbox, &out)?;
        tx.delete(Table::Unacknowledged, &sent)?;
        let today = day(self.now).get();
        if record.sent {
            // A place in the future would never expire.
            let day = record.day.min(today);
            let row = SentRow {
                content: Secret::new(&record.content),
                message: record.message,
                day,
                place: record.place,
                awaits_consent: false,
            };
            save(tx, Table::Unacknowledged, &sent, &row)?;
        } else {
            let row = OutRow {
                id: *content.id.as_bytes(),
                acknowledged_by_peer: content.body.is_acknowledged(),
                content: Secret::new(&record.content),
                session: None,
                message: record.message,
                state: OutState::Ready,
                hold: None,
            };
            save(tx, Table::Outbox, &out, &row)?;
        }
        self.last_place = self.last_place.max(record.place & !ORDINARY);
        self.pending.extend(record.message);
        Ok(())
    }

    /// The keys of what is to be sent, by its place and by its id: neither is that of another content
    /// for this contact.
    fn place_of(
        &mut self,
        contact: ContactId,
        place: u64,
        content: &Content,
    ) -> Result<(Vec<u8>, Vec<u8>), BackupError> {
        let known = self.places.insert((contact, content.id), place);
        let there = self.contents.insert((contact, place), content.id);
        if known.is_some_and(|known| known != place) || there.is_some_and(|id| id != content.id) {
            return Err(contradiction("something is to be sent twice"));
        }
        let of = key1(contact.get());
        Ok((key2(&of, &key1(place)), key2(&of, content.id.as_bytes())))
    }

    fn erased(
        &mut self,
        tx: &mut dyn Transaction,
        record: &ErasedRecord,
    ) -> Result<(), EngineError> {
        let contact = self.of_contact(record.contact)?;
        let key = key2(&key1(contact.get()), record.id.as_bytes());
        let day = record.day.min(day(self.now).get());
        Ok(save(tx, Table::Gone, &key, &day)?)
    }

    fn message(
        &mut self,
        tx: &mut dyn Transaction,
        record: MessageRecord,
    ) -> Result<(), EngineError> {
        let contact = self.of_contact(record.contact)?;
        if record.place <= self.last_message || self.is_beyond(record.place) {
            return Err(contradiction("a message's place can't be").into());
        }
        self.last_message = record.place;
        let row = self.row_of(record)?;
        let key = match row.direction {
            Direction::Incoming => incoming_key(&row.id, contact),
            Direction::Outgoing => outgoing_key(&row.id),
        };
        if tx.get(Table::MessageIds, &key)?.is_some() {
            return Err(contradiction("a message stands in it twice").into());
        }
        // One whose time has come does not come back.
        if row.erase_at.is_some_and(|at| at <= self.now.get()) {
            return Ok(());
        }
        add_message(tx, &row)?;
        if let Some(at) = row.erase_at {
            tx.put(Table::Erasures, &key2(&key1(at), &key1(row.seq)), &[])?;
        }
        self.messages = self.messages.saturating_add(1);
        Ok(())
    }

    fn row_of(&self, record: MessageRecord) -> Result<MessageRow, BackupError> {
        let incoming = record.direction == Direction::Incoming;
        let fits = match record.state {
            MessageState::Received => incoming,
            MessageState::Read => true,
            _ => !incoming,
        };
        if !fits {
            return Err(contradiction("a message's state can't be"));
        }
        let state = match record.state {
            MessageState::Queued if !self.pending.contains(&record.place) => {
                let reason = "its file was not at the relay when the backup was made".to_owned();
                MessageState::Failed { reason }
            }
            state => state,
        };
        let reactions = record.reactions.into_iter();
        Ok(MessageRow {
            seq: record.place,
            id: record.id,
            contact: record.contact,
            direction: record.direction,
            kind: record.kind,
            sent_at: record.sent_at,
            state,
            hold: None,
            edited_at: record.edited_at,
            reactions: reactions
                .map(|one| ReactionRow { by: one.by, emoji: one.emoji, at: one.at })
                .collect(),
            timer: record.timer,
            erase_at: record.erase_at,
        })
    }

    fn of_contact(&self, contact: ContactId) -> Result<ContactId, BackupError> {
        self.known()?;
        if self.contacts.contains(&contact.get()) {
            Ok(contact)
        } else {
            Err(contradiction("it speaks of a contact that is not in it"))
        }
    }

    fn is_beyond(&self, place: u64) -> bool {
        self.account.as_ref().is_none_or(|account| place >= account.record.next_message)
    }

    fn conclude(&mut self, tx: &mut dyn Transaction, account: Account) -> Result<(), EngineError> {
        settle_pending(tx)?;
        let Account { record, secret, list, relay: _ } = account;
        let device = DeviceSecret::generate(&mut self.rng);
        // All but the one that the backup is of, and the new one.
        let others = (0_usize..).zip(list.devices());
        let mut devices: Vec<DeviceKeys> = others
            .filter(|(at, _)| *at != usize::from(record.device))
            .map(|(_, device)| device.keys())
            .collect();
        devices.push(device.public());
        let list = DeviceList::issue(&secret, Some(&list.record()), self.now.seconds(), &devices)?;
        for (counter, next) in [
            ("contact", record.next_contact),
            ("message", record.next_message),
            ("link", record.next_link),
            ("outgoing", self.last_place.saturating_add(1)),
        ] {
            set_next_number(tx, counter, next)?;
        }
        save(tx, Table::Meta, FORMER_RELAYS, &std::mem::take(&mut self.former))?;
        let profile = ProfileRow {
            name: record.name,
            account_secret: Secret::new(&*record.secret),
            device_secret: Secret::new(&*device.to_bytes()),
            device_list: list.as_bytes().to_vec(),
            relay: record.relay,
            token: Secret::new(&*record.token),
        };
        save(tx, Table::Meta, SCHEMA, &SCHEMA_VERSION)?;
        Ok(save(tx, Table::Meta, PROFILE, &profile)?)
    }
}

/// What was deleted, or arrived, while the backup was made needs not be sent.
fn settle_pending(tx: &mut dyn Transaction) -> Result<(), StoreError> {
    for table in [Table::Outbox, Table::Unacknowledged] {
        let mut all: Vec<(Vec<u8>, u64)> = Vec::new();
        for_each(tx, table, &[], |key, value| {
            let message = match table {
                Table::Outbox => decode::<OutRow>(table, value)?.message,
                _ => decode::<SentRow>(table, value)?.message,
            };
            all.extend(message.map(|place| (key.to_vec(), place)));
            Ok(())
        })?;
        for (key, place) in all {
            let open = load_message(tx, place)?.is_some_and(|message| {
                message.state.rank() < MessageState::Delivered.rank()
                    && message.direction == Direction::Outgoing
            });
            if !open {
                tx.delete(table, &key)?;
            }
        }
    }
    Ok(())
}

fn address(bytes: &[u8]) -> Result<RelayAddress, BackupError> {
    RelayAddress::from_bytes(bytes).map_err(|_| contradiction("a relay's address can't be"))
}

fn check_contact(record: &ContactRecord, own: &AccountKey) -> Result<(), BackupError> {
    let account = AccountKey::from_bytes(&record.account)
        .ok()
        .filter(|account| account != own)
        .ok_or(contradiction("a contact's account can't be"))?;
    let names = [Some(&record.name), record.profile_name.as_ref()];
    if names.into_iter().flatten().any(|name| check_name(name).is_err()) {
        return Err(contradiction("a contact's name can't be shown"));
    }
    let known = match record.list_record.as_slice().try_into() {
        Ok(bytes) => ListRecord::from_bytes(bytes).is_ok_and(|known| known.account() == account),
        Err(_) => record.list_record.is_empty(),
    };
    let link = record.reset_theirs.as_ref().is_none_or(|payload| {
        Link::from_payload(payload).is_ok_and(|link| {
            link.kind() == LinkKind::Reset && link.account() == account.fingerprint().as_bytes()
        })
    });
    if known && link {
        Ok(())
    } else {
        Err(contradiction("what is known of a contact is another's"))
    }
}

/// A contact with whom a session has to be begun.
fn new_row(record: &ContactRecord, mailbox: [u8; 32]) -> ContactRow {
    ContactRow {
        name: record.name.clone(),
        name_is_ours: record.name_is_ours,
        profile_name: record.profile_name.clone(),
        account: record.account,
        list_record: record.list_record.clone(),
        verified: record.verified,
        blocked: record.blocked,
        healing: HealingRow::due(ResetCause::OwnStateLost),
        moved: false,
        mailbox,
        devices: Vec::new(),
        reset_ours: record.reset_ours,
        reset_theirs: record.reset_theirs.as_ref().map(|link| Secret::new(link)),
        reset_take: None,
        came_by: None,
        offered_account: None,
        timer: record.timer,
        timer_at: record.timer_at,
    }
}
