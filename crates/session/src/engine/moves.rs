//! Mailboxes that move: on a schedule, and to another relay. The old one stays until the contact
//! has written into the new one and it is empty, or as long as a relay may keep an envelope.

use undertone_core::bounds::RETENTION_DAYS;
use undertone_core::rand_core::CryptoRng;
use undertone_wire::frame::MailboxState;
use undertone_wire::{JoinAddress, MailboxId, RelayAddress};

use super::contacts::{all_contacts, for_each, load_contact, save_contact};
use super::mailboxes::{
    FORMER_RELAYS, Subscription, new_mailbox, relay_of, routing, subscription, tell_mailbox,
};
use super::outbox::encode;
use super::rows::{
    ChoreKind, FormerRelay, MailboxRow, OutRow, OutState, ProfileRow, Purpose, Secret, TakeRow,
    corrupt, decode, key1, load, must, save,
};
use super::{Engine, EngineError, PROFILE, chores, day, random};
use crate::content::{Body, Content};
use crate::ids::{ContactId, UnixMillis};
use crate::store::{Store, StoreError, Table, Transaction};

/// A contact gets another mailbox after this many days at the earliest: so a relay can't follow a
/// conversation by its mailbox for longer than some weeks.
const MOVE_DAYS: u32 = 21;

/// And after so many more at the latest, drawn at random for each mailbox, so that those of one
/// profile do not move on the same day.
const MOVE_SPREAD_DAYS: u8 = 14;

/// Relays used before whose tokens are kept: what is left there is renewed or removed.
pub(super) const MAX_FORMER_RELAYS: usize = 8;

/// A contact's mailbox exists at the relay. If they have another one, it takes its place.
pub(super) fn arrived(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    mailbox: &[u8; 32],
    now: UnixMillis,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if row.mailbox == *mailbox {
        return Ok(());
    }
    let arriving: MailboxRow = must(tx, Table::Mailboxes, mailbox)?;
    if arriving.retired.is_some() {
        // Another one has taken its place before the relay had made it; nobody was told of it.
        return Ok(());
    }
    if let Some(mut old) = load::<MailboxRow>(tx, Table::Mailboxes, &row.mailbox)? {
        old.retired = Some(day(now).get());
        save(tx, Table::Mailboxes, &row.mailbox, &old)?;
    }
    row.mailbox = *mailbox;
    row.moved = false;
    save_contact(tx, contact, &row)?;
    tell_mailbox(tx, rng, contact, now)
}

/// A contact's mailbox is not at its relay any more: they get another one.
pub(super) fn replace_lost(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    relay: &RelayAddress,
    contact: ContactId,
    lost: &[u8; 32],
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if row.mailbox == *lost {
        let (mailbox, _) = new_mailbox(tx, rng, relay, Purpose::Contact(contact.get()))?;
        row.mailbox = mailbox;
        row.moved = false;
        save_contact(tx, contact, &row)?;
    }
    Ok(tx.delete(Table::Mailboxes, lost)?)
}

/// Contacts who are being given another mailbox already.
fn moving(tx: &dyn Transaction) -> Result<Vec<u64>, StoreError> {
    let mut moving = Vec::new();
    for_each(tx, Table::Mailboxes, &[], |_, value| {
        let row: MailboxRow = decode(Table::Mailboxes, value)?;
        if let (Purpose::Contact(contact), false) = (row.purpose, row.live) {
            moving.push(contact);
        }
        Ok(())
    })?;
    Ok(moving)
}

/// Mailboxes that no relay has made yet are made at the new home, under another id: the old relay, which
/// may be gone for good, may be making them just now.
fn rehome(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    home: &RelayAddress,
) -> Result<(), EngineError> {
    let mut elsewhere: Vec<(Vec<u8>, MailboxRow)> = Vec::new();
    for_each(tx, Table::Mailboxes, &[], |key, value| {
        let row: MailboxRow = decode(Table::Mailboxes, value)?;
        if !row.live && row.relay != home.to_bytes() {
            elsewhere.push((key.to_vec(), row));
        }
        Ok(())
    })?;
    for (key, old) in elsewhere {
        match old.purpose {
            // Another has taken its place already.
            Purpose::Contact(_) if old.retired.is_some() => tx.delete(Table::Mailboxes, &key)?,
            Purpose::Contact(contact) => {
                let (mailbox, _) = new_mailbox(tx, rng, home, old.purpose)?;
                tx.delete(Table::Mailboxes, &key)?;
                give_instead(tx, ContactId::new(contact), &old, (&key, mailbox))?;
            }
            Purpose::Adding => take_elsewhere(tx, rng, home, &key)?,
            // Whoever has the link looks for it where it is.
            Purpose::Link(_) => {}
        }
    }
    Ok(())
}

/// A contact's mailbox that was never made gives way to another: also in what waits to be told to them.
fn give_instead(
    tx: &mut dyn Transaction,
    contact: ContactId,
    old: &MailboxRow,
    (key, mailbox): (&[u8], [u8; 32]),
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if row.mailbox != *key {
        // One that was to take another's place; nobody was told of it.
        return Ok(());
    }
    row.mailbox = mailbox;
    save_contact(tx, contact, &row)?;
    let told = routing(old)?.to_route();
    let new: MailboxRow = must(tx, Table::Mailboxes, &mailbox)?;
    let new = routing(&new)?;
    let mut waiting: Vec<(Vec<u8>, OutRow)> = Vec::new();
    for_each(tx, Table::Outbox, &key1(contact.get()), |key, value| {
        let out: OutRow = decode(Table::Outbox, value)?;
        if matches!(out.state, OutState::Ready) {
            waiting.push((key.to_vec(), out));
        }
        Ok(())
    })?;
    for (key, mut out) in waiting {
        let mut content =
            Content::decode(out.content.bytes()).map_err(|_| corrupt("a content that waits"))?;
        let Body::MailboxMove(route) = &mut content.body else { continue };
        if route.as_bytes() == told.as_bytes() {
            *route = new.to_route();
            out.content = encode(&content)?;
            save(tx, Table::Outbox, &key, &out)?;
        }
    }
    Ok(())
}

/// The mailbox of a contact who is just being added: the same take goes on with another.
fn take_elsewhere(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    home: &RelayAddress,
    mailbox: &[u8],
) -> Result<(), EngineError> {
    let mut takes: Vec<(Vec<u8>, TakeRow)> = Vec::new();
    for_each(tx, Table::Takes, &[], |key, value| {
        let row: TakeRow = decode(Table::Takes, value)?;
        if row.mailbox == *mailbox {
            takes.push((key.to_vec(), row));
        }
        Ok(())
    })?;
    for (key, mut row) in takes {
        (row.mailbox, _) = new_mailbox(tx, rng, home, Purpose::Adding)?;
        save(tx, Table::Takes, &key, &row)?;
    }
    Ok(tx.delete(Table::Mailboxes, mailbox)?)
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Begins the moves that are due: a contact whose mailbox has served its time, or is at another
    /// relay than this profile's, gets a new one ([`Engine::pending_mailboxes`]).
    ///
    /// # Errors
    /// Those of the store.
    pub fn begin_moves(&mut self, now: UnixMillis) -> Result<(), EngineError> {
        let (rng, home) = (&mut self.rng, &self.relay);
        let today = day(now);
        self.store.transaction(|tx| {
            let moving = moving(tx)?;
            for (contact, row) in all_contacts(tx)? {
                let mailbox: Option<MailboxRow> = load(tx, Table::Mailboxes, &row.mailbox)?;
                let Some(mut mailbox) = mailbox.filter(|mailbox| mailbox.live) else { continue };
                if row.blocked || moving.contains(&contact.get()) {
                    continue;
                }
                if mailbox.move_on == 0 {
                    let [extra] = random::<1>(rng);
                    let days = MOVE_DAYS.saturating_add(u32::from(extra % MOVE_SPREAD_DAYS));
                    mailbox.move_on = today.plus(days).get();
                    save(tx, Table::Mailboxes, &row.mailbox, &mailbox)?;
                }
                if mailbox.move_on <= today.get() || relay_of(&mailbox)? != *home {
                    new_mailbox(tx, rng, home, Purpose::Contact(contact.get()))?;
                }
            }
            Ok(())
        })
    }

    /// Mailboxes that another has replaced and that may be empty by now: ask the relay for their
    /// state, for [`Engine::close_mailbox`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn retired_mailboxes(&mut self, now: UnixMillis) -> Result<Vec<Subscription>, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let mut retired = Vec::new();
            for_each(tx, Table::Mailboxes, &[], |_, value| {
                let row: MailboxRow = decode(Table::Mailboxes, value)?;
                if row.retired.is_some() {
                    retired.push(row);
                }
                Ok(())
            })?;
            let mut left = Vec::new();
            for row in retired {
                if may_close(tx, &row, today)? {
                    left.push(subscription(&row)?);
                }
            }
            Ok(left)
        })
    }

    /// Gives up a mailbox that another has replaced, if nothing is in it that is not stored here, or
    /// if its time is over. `None` as its state is the relay's "unknown". True if it was given up.
    ///
    /// # Errors
    /// Those of the store.
    pub fn close_mailbox(
        &mut self,
        mailbox: &MailboxId,
        state: Option<&MailboxState>,
        now: UnixMillis,
    ) -> Result<bool, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let Some(row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())? else {
                return Ok(true);
            };
            let empty = state.is_none_or(|state| {
                let same = row.incarnation == Some(*state.incarnation.as_bytes());
                state.head.get() <= if same { row.floor } else { 0 }
            });
            if !may_close(tx, &row, today)? || (!empty && !is_over(&row, today)) {
                return Ok(false);
            }
            tx.delete(Table::Mailboxes, mailbox.as_bytes())?;
            if state.is_some() {
                let seed = Secret::new(row.seed.bytes());
                chores::note(tx, row.relay, ChoreKind::DeleteMailbox { seed }, today)?;
            }
            Ok(true)
        })
    }

    /// Gives up a mailbox that another has replaced and whose relay does not answer, if its time is
    /// over: what was put into it last has expired there. True if it was given up.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abandon_mailbox(
        &mut self,
        mailbox: &MailboxId,
        now: UnixMillis,
    ) -> Result<bool, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let row: Option<MailboxRow> = load(tx, Table::Mailboxes, mailbox.as_bytes())?;
            let over = row.is_some_and(|row| is_over(&row, today));
            if over {
                tx.delete(Table::Mailboxes, mailbox.as_bytes())?;
            }
            Ok(over)
        })
    }

    /// From now on this profile is reached at another relay. Contacts move there one by one, each
    /// when they have heard of it, and mailboxes that the old one has not made yet are made here; links
    /// that were handed out stay where they are.
    ///
    /// # Errors
    /// Those of the store.
    pub fn move_home(&mut self, join: &JoinAddress) -> Result<(), EngineError> {
        let (old, old_token) = (self.relay.to_bytes(), self.token.duplicate());
        let rng = &mut self.rng;
        self.store.transaction(|tx| -> Result<_, EngineError> {
            let mut row: ProfileRow = must(tx, Table::Meta, PROFILE)?;
            row.relay = join.relay().to_bytes();
            row.token = Secret::new(join.token().as_bytes());
            save(tx, Table::Meta, PROFILE, &row)?;
            let mut former: Vec<FormerRelay> =
                load(tx, Table::Meta, FORMER_RELAYS)?.unwrap_or_default();
            former.retain(|one| one.relay != row.relay && one.relay != old);
            if old != row.relay {
                let token = Secret::new(old_token.as_bytes());
                former.insert(0, FormerRelay { relay: old, token });
            }
            former.truncate(MAX_FORMER_RELAYS);
            save(tx, Table::Meta, FORMER_RELAYS, &former)?;
            rehome(tx, rng, join.relay())
        })?;
        self.relay = join.relay().clone();
        self.token = join.token().duplicate();
        Ok(())
    }
}

fn is_over(row: &MailboxRow, today: u32) -> bool {
    row.retired.is_some_and(|day| day.saturating_add(RETENTION_DAYS) < today)
}

/// Whether a mailbox that was replaced is of no use any more: the contact has written into another
/// (what they sent before is here already, since each contact sends in order), or its time is over.
fn may_close(tx: &dyn Transaction, row: &MailboxRow, today: u32) -> Result<bool, EngineError> {
    let (Some(_), Purpose::Contact(contact)) = (row.retired, row.purpose) else {
        return Ok(false);
    };
    let moved = match load_contact(tx, ContactId::new(contact)) {
        Ok(contact) => contact.moved,
        Err(EngineError::UnknownContact) => true,
        Err(error) => return Err(error),
    };
    Ok(moved || is_over(row, today))
}
