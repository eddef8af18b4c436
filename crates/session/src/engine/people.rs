//! What the person decides about contacts: to block and delete them, to accept another account key,
//! to verify; and the bound on those who come by themselves.

use undertone_core::rand_core::CryptoRng;
use undertone_core::{AccountKey, SafetyNumber};

use super::contacts::{all_contacts, contact_of, for_each, load_contact, save_contact, view};
use super::history::{must_message, note_erased, remove_message};
use super::links::{load_link, withdraw};
use super::mailboxes::{new_mailbox, tell_mailbox};
use super::maintenance::{is_due, note_done};
use super::outbox::advance;
use super::rows::{
    ChoreKind, ContactRow, HealingRow, LinkRow, LinkState, MailboxRow, Purpose, Secret, SentRow,
    TransferRow, corrupt, decode, key1, key2, load, number, save,
};
use super::{Engine, EngineError, chores, day};
use crate::contact::{AccountId, Contact};
use crate::event::Event;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::MessageState;
use crate::store::{Store, StoreError, Table, Transaction};

/// Contacts of a profile. Each costs two mailboxes and a depot at the relay, and a connection can
/// subscribe to 10,000 mailboxes.
pub(super) const MAX_CONTACTS: usize = 4_000;

/// Strangers who become contacts by themselves on one day, over all links: more than a busy public
/// link brings, and few enough that a flood fills neither store nor relay. Those beyond it are kept
/// like what nothing opens, and let in on another day.
pub(super) const STRANGERS_PER_DAY: u32 = 200;

const STRANGERS: &[u8] = b"strangers";

/// The day of the last [`Engine::admit_strangers`].
const ADMITTED: &[u8] = b"admitted-on";

/// Tables whose keys begin with a contact's number, and that go with the contact.
const OF_A_CONTACT: [Table; 7] = [
    Table::Outbox,
    Table::Unacknowledged,
    Table::Acks,
    Table::Receipts,
    Table::Early,
    Table::Removals,
    Table::Gone,
];

/// Whether another contact may come by themselves today; counts the one who asks.
pub(super) fn room_for_strangers(
    tx: &mut dyn Transaction,
    today: u32,
) -> Result<bool, EngineError> {
    let (on, count): (u32, u32) = load(tx, Table::Meta, STRANGERS)?.unwrap_or((today, 0));
    let count = if on == today { count } else { 0 };
    // R-1311
    if count >= STRANGERS_PER_DAY || all_contacts(tx)?.len() >= MAX_CONTACTS {
        return Ok(false);
    }
    save(tx, Table::Meta, STRANGERS, &(today, count.saturating_add(1)))?;
    Ok(true)
}

/// Takes away everything by which a contact reaches us: their mailboxes, the reset link that they
/// hold, and the capability of the bundle over which they came.
fn shut_out(
    tx: &mut dyn Transaction,
    contact: ContactId,
    row: &mut ContactRow,
    today: u32,
) -> Result<(), EngineError> {
    let mut mailboxes: Vec<(Vec<u8>, MailboxRow)> = Vec::new();
    for_each(tx, Table::Mailboxes, &[], |key, value| {
        let mailbox: MailboxRow = decode(Table::Mailboxes, value)?;
        if mailbox.purpose == Purpose::Contact(contact.get()) {
            mailboxes.push((key.to_vec(), mailbox));
        }
        Ok(())
    })?;
    for (key, mailbox) in mailboxes {
        give_up_mailbox(tx, &key, mailbox, today)?;
    }
    let mut links: Vec<(u64, LinkRow)> = Vec::new();
    for_each(tx, Table::Links, &[], |key, value| {
        let link: LinkRow = decode(Table::Links, value)?;
        if link.contact == Some(contact.get()) && link.state == LinkState::Active {
            links.push((number(key, "a link's number")?, link));
        }
        Ok(())
    })?;
    for (number, link) in links {
        let mailbox = link.mailbox;
        withdraw(tx, number, link, today)?;
        if let Some(row) = load::<MailboxRow>(tx, Table::Mailboxes, &mailbox)? {
            // The link's row goes with its mailbox: nobody else ever had it.
            let link = load_link(tx, number)?;
            super::links::remove_link(tx, number, &link)?;
            give_up_mailbox(tx, &mailbox, row, today)?;
        }
    }
    row.reset_ours = None;
    if let Some((mailbox, hash)) = row.came_by
        && let Some(link) = load::<MailboxRow>(tx, Table::Mailboxes, &mailbox)?
    {
        let what = ChoreKind::RevokeCapability { seed: Secret::new(link.seed.bytes()), hash };
        chores::note(tx, link.relay, what, today)?;
        row.came_by = None;
    }
    Ok(())
}

fn give_up_mailbox(
    tx: &mut dyn Transaction,
    key: &[u8],
    mailbox: MailboxRow,
    today: u32,
) -> Result<(), EngineError> {
    tx.delete(Table::Mailboxes, key)?;
    drop_all(tx, Table::Parked, key)?;
    if mailbox.live {
        let seed = Secret::new(mailbox.seed.bytes());
        chores::note(tx, mailbox.relay, ChoreKind::DeleteMailbox { seed }, today)?;
    }
    Ok(())
}

/// Deletes all rows of a table whose keys begin so.
pub(super) fn drop_all(
    tx: &mut dyn Transaction,
    table: Table,
    prefix: &[u8],
) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for_each(tx, table, prefix, |key, _| {
        keys.push(key.to_vec());
        Ok(())
    })?;
    for key in keys {
        tx.delete(table, &key)?;
    }
    Ok(())
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Blocks a contact: whatever they send is refused at the relay as something unknown, and
    /// dropped here if it comes all the same. The history stays. What waits for them stays, too, and
    /// goes out if they are unblocked.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn block(&mut self, contact: ContactId, now: UnixMillis) -> Result<Contact, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            if !row.blocked {
                row.blocked = true;
                shut_out(tx, contact, &mut row, today)?;
                drop_all(tx, Table::Acks, &key1(contact.get()))?;
                drop_all(tx, Table::Receipts, &key1(contact.get()))?;
                save_contact(tx, contact, &row)?;
            }
            Ok(view(contact, &row)?)
        })
    }

    /// Unblocks a contact: they get a new mailbox and are told of it. What they sent meanwhile was
    /// refused, and comes when they try again.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn unblock(&mut self, contact: ContactId, now: UnixMillis) -> Result<Contact, EngineError> {
        let (rng, relay) = (&mut self.rng, &self.relay);
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            if row.blocked {
                let (mailbox, _) = new_mailbox(tx, rng, relay, Purpose::Contact(contact.get()))?;
                row.blocked = false;
                row.mailbox = mailbox;
                row.moved = false;
                save_contact(tx, contact, &row)?;
                tell_mailbox(tx, rng, contact, now)?;
            }
            Ok(view(contact, &row)?)
        })
    }

    /// Deletes a contact with everything that is here of them: messages, files on their way,
    /// sessions, mailboxes, events. They can't reach us any more, except over a reusable link.
    /// Returns the messages whose files the caller removes.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn delete_contact(
        &mut self,
        contact: ContactId,
        now: UnixMillis,
    ) -> Result<Vec<MessageId>, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            shut_out(tx, contact, &mut row, today)?;
            let ids = erase_history(tx, contact)?;
            let prefix = key1(contact.get());
            for table in OF_A_CONTACT {
                drop_all(tx, table, &prefix)?;
            }
            for session in row.sessions() {
                tx.delete(Table::Sessions, &session.id)?;
            }
            erase_events(tx, contact)?;
            note_erased(tx)?;
            tx.delete(Table::Accounts, &row.account)?;
            tx.delete(Table::Contacts, &prefix)?;
            Ok(ids)
        })
    }

    /// The person knows, by another way, that the contact has another account: this one, which called
    /// over their reset link. From now on the contact is that account, unverified; what was sent to
    /// the other one is not sent again.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::NothingToDecide`] if this account did not call,
    /// or another has called since, or it is a contact by now.
    pub fn accept_key_change(
        &mut self,
        contact: ContactId,
        offered: AccountId,
        now: UnixMillis,
    ) -> Result<Contact, EngineError> {
        let (store, mut inbox) = self.inbox(now);
        store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            let account = row.offered_account.take().ok_or(EngineError::NothingToDecide)?;
            let key = AccountKey::from_bytes(&account).map_err(|_| corrupt("an account key"))?;
            let same = key.fingerprint().as_bytes() == offered.as_bytes();
            if !same || contact_of(tx, &key)?.is_some() {
                return Err(EngineError::NothingToDecide);
            }
            for session in row.sessions() {
                tx.delete(Table::Sessions, &session.id)?;
            }
            tx.delete(Table::Accounts, &row.account)?;
            row.account = account;
            row.list_record = Vec::new();
            row.verified = false;
            row.devices = Vec::new();
            row.reset_theirs = None;
            row.healing = HealingRow::Sound;
            save(tx, Table::Accounts, &account, &contact.get())?;
            save_contact(tx, contact, &row)?;
            give_up_sent(tx, contact)?;
            if let Some(link) = row.reset_ours {
                inbox.retry_greetings(tx, link)?;
            }
            Ok(view(contact, &load_contact(tx, contact)?)?)
        })
    }

    /// The person does not know of another account: it is not asked about again.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::NothingToDecide`].
    pub fn refuse_key_change(&mut self, contact: ContactId) -> Result<Contact, EngineError> {
        self.store.transaction(|tx| {
            let row = load_contact(tx, contact)?;
            // Kept, so that the same account is not told of again; its envelopes go.
            row.offered_account.ok_or(EngineError::NothingToDecide)?;
            if let Some(number) = row.reset_ours {
                let mailbox = load_link(tx, number)?.mailbox;
                drop_all(tx, Table::Parked, &mailbox)?;
            }
            Ok(view(contact, &row)?)
        })
    }

    /// Compares what was scanned with the contact's safety number; verified if it is the same.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn verify_scanned(
        &mut self,
        contact: ContactId,
        scanned: &[u8],
    ) -> Result<bool, EngineError> {
        let own = self.me.account();
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            let theirs =
                AccountKey::from_bytes(&row.account).map_err(|_| corrupt("an account key"))?;
            let same = SafetyNumber::new(&own, &theirs).matches_qr(scanned);
            if same && !row.verified {
                row.verified = true;
                save_contact(tx, contact, &row)?;
            }
            Ok(same)
        })
    }

    /// Strangers who came when there was no room are tried once more. That once a day, however often it
    /// is called.
    ///
    /// # Errors
    /// Those of the store.
    pub fn admit_strangers(&mut self, now: UnixMillis) -> Result<(), EngineError> {
        let (store, mut inbox) = self.inbox(now);
        store.transaction(|tx| {
            if !is_due(tx, ADMITTED, now)? {
                return Ok(());
            }
            let mut links = Vec::new();
            for_each(tx, Table::Links, &[], |key, value| {
                let link: LinkRow = decode(Table::Links, value)?;
                if link.contact.is_none() && link.state == LinkState::Active {
                    links.push(number(key, "a link's number")?);
                }
                Ok(())
            })?;
            for link in links {
                inbox.retry_greetings(tx, link)?;
            }
            Ok(note_done(tx, ADMITTED, now)?)
        })
    }
}

/// What was sent to another account of a contact, and is not known to have arrived, is not sent to
/// this one.
fn give_up_sent(tx: &mut dyn Transaction, contact: ContactId) -> Result<(), StoreError> {
    let prefix = key1(contact.get());
    let mut given_up = Vec::new();
    for_each(tx, Table::Unacknowledged, &prefix, |_, value| {
        let sent: SentRow = decode(Table::Unacknowledged, value)?;
        given_up.push(sent.message);
        Ok(())
    })?;
    drop_all(tx, Table::Unacknowledged, &prefix)?;
    for message in given_up {
        let reason = "it was sent to an account that the contact has no more".to_owned();
        advance(tx, message, MessageState::Failed { reason })?;
    }
    Ok(())
}

/// Deletes all messages with a contact. Returns their ids.
fn erase_history(
    tx: &mut dyn Transaction,
    contact: ContactId,
) -> Result<Vec<MessageId>, EngineError> {
    let prefix = key1(contact.get());
    let mut places = Vec::new();
    for_each(tx, Table::History, &prefix, |key, _| {
        places.push(number(key, "a place in the history")?);
        Ok(())
    })?;
    let mut ids = Vec::new();
    for place in places {
        let message = must_message(tx, place)?;
        remove_message(tx, &message)?;
        if let Some(at) = message.erase_at {
            tx.delete(Table::Erasures, &key2(&key1(at), &key1(place)))?;
        }
        tx.delete(Table::Transfers, &key1(place))?;
        ids.push(message.id);
    }
    // What is yet to be fetched and has no place any more.
    let mut left = Vec::new();
    for_each(tx, Table::Transfers, &[], |key, value| {
        let of = match decode(Table::Transfers, value)? {
            TransferRow::Up { contact, .. } | TransferRow::Down { contact, .. } => contact,
        };
        if of == contact.get() {
            left.push(key.to_vec());
        }
        Ok(())
    })?;
    for key in left {
        tx.delete(Table::Transfers, &key)?;
    }
    Ok(ids)
}

/// Deletes what the event log tells of a contact.
fn erase_events(tx: &mut dyn Transaction, contact: ContactId) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for_each(tx, Table::Events, &[], |key, value| {
        let event: Event = decode(Table::Events, value)?;
        if event.kind.contact() == Some(contact) {
            keys.push(key.to_vec());
        }
        Ok(())
    })?;
    for key in keys {
        tx.delete(Table::Events, &key)?;
    }
    Ok(())
}
