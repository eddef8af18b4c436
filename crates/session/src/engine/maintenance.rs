//! What goes with time: prekeys, transcripts and envelopes that no relay can still deliver.

use undertone_core::bounds::RETENTION_DAYS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{Day, Session};

use super::chores::CHORE_DAYS;
use super::contacts::{all_contacts, for_each, save_contact};
use super::links::{is_held, load_link, remove_link};
use super::outbox::advance;
use super::rows::{
    ChoreRow, EarlyRow, LinkKindRow, LinkRow, LinkState, ParkedRow, PrekeyRow, ReplayRow, Secret,
    SentRow, SessionRow, corrupt, decode, load, must, number, save,
};
use super::{Engine, EngineError, day, unopened};
use crate::ids::UnixMillis;
use crate::message::MessageState;
use crate::store::{Store, StoreError, Table, Transaction};

/// The day of the last [`Engine::expire`].
const EXPIRED: &[u8] = b"expired-on";

/// Whether something that is done once a day was not done on this one, also where the clock was put
/// back.
pub(super) fn is_due(
    tx: &dyn Transaction,
    what: &[u8],
    now: UnixMillis,
) -> Result<bool, EngineError> {
    let last: Option<u32> = load(tx, Table::Meta, what)?;
    Ok(last != Some(day(now).get()))
}

pub(super) fn note_done(
    tx: &mut dyn Transaction,
    what: &[u8],
    now: UnixMillis,
) -> Result<(), StoreError> {
    save(tx, Table::Meta, what, &day(now).get())
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Removes links that were being made when the program ended: nobody was given them. Called
    /// once, after opening.
    ///
    /// # Errors
    /// Those of the store.
    pub fn recover(&mut self) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let preparing = matching(tx, Table::Links, |value| {
                let row: LinkRow = decode(Table::Links, value)?;
                Ok(row.state == LinkState::Preparing)
            })?;
            remove_links(tx, &preparing)
        })
    }

    /// Tries once more what was parked, with every session that it may be for; tells contacts of whom
    /// something did not open once more where they reach us, by which they see whether this store was
    /// put back; and removes what no relay can still deliver to, or from. That once a day, however often
    /// it is called.
    ///
    /// # Errors
    /// Those of the store.
    pub fn expire(&mut self, now: UnixMillis) -> Result<(), EngineError> {
        if !self.store.transaction(|tx| is_due(tx, EXPIRED, now))? {
            return Ok(());
        }
        let (store, mut inbox) = self.inbox(now);
        store.transaction(|tx| inbox.retry_all(tx))?;
        let (store, rng) = (&mut self.store, &mut self.rng);
        store.transaction(|tx| unopened::answer(tx, rng, now))?;
        let today = day(now).get();
        let past = |day: u32| day.saturating_add(RETENTION_DAYS) < today;
        self.store.transaction(|tx| {
            expire_links(tx, &past)?;
            remove(tx, Table::Chores, |value| {
                let row: ChoreRow = decode(Table::Chores, value)?;
                Ok(row.day.saturating_add(CHORE_DAYS) < today)
            })?;
            expire_retired(tx, &past)?;
            remove(tx, Table::Prekeys, |value| {
                let row: PrekeyRow = decode(Table::Prekeys, value)?;
                Ok(past(row.expiry))
            })?;
            remove(tx, Table::Replay, |value| {
                let row: ReplayRow = decode(Table::Replay, value)?;
                Ok(row.until < today)
            })?;
            remove(tx, Table::Parked, |value| {
                let row: ParkedRow = decode(Table::Parked, value)?;
                Ok(past(row.day))
            })?;
            remove(tx, Table::Early, |value| {
                let row: EarlyRow = decode(Table::Early, value)?;
                Ok(past(row.day))
            })?;
            remove(tx, Table::Gone, |value| Ok(past(decode(Table::Gone, value)?)))?;
            let mut expired = Vec::new();
            remove(tx, Table::Unacknowledged, |value| {
                let row: SentRow = decode(Table::Unacknowledged, value)?;
                let gone = past(row.day);
                if gone {
                    expired.push(row.message);
                }
                Ok(gone)
            })?;
            for message in expired {
                advance(tx, message, MessageState::Expired)?;
            }
            expire_sessions(tx, day(now))?;
            // Last, so that what broke off is done anew.
            Ok(note_done(tx, EXPIRED, now)?)
        })
    }
}

/// Links of which nothing can be used any more. Those that are filled up stay, however long their
/// owner was away: they are filled when the owner is back.
fn expire_links(tx: &mut dyn Transaction, past: &impl Fn(u32) -> bool) -> Result<(), EngineError> {
    let mut over = Vec::new();
    for key in matching(tx, Table::Links, |value| {
        let row: LinkRow = decode(Table::Links, value)?;
        Ok(past(row.expires))
    })? {
        let number = number(&key, "a link's number")?;
        let row = load_link(tx, number)?;
        let single = row.kind == LinkKindRow::SingleUse;
        if single || row.state != LinkState::Active || !is_held(tx, number, &row)? {
            over.push(key);
        }
    }
    remove_links(tx, &over)
}

/// Sessions that others have replaced, once nothing can still arrive in them.
fn expire_retired(
    tx: &mut dyn Transaction,
    past: &impl Fn(u32) -> bool,
) -> Result<(), EngineError> {
    for (contact, mut row) in all_contacts(tx)? {
        let mut over = Vec::new();
        for device in &mut row.devices {
            device.sessions.retain(|session| {
                let keep = !session.retired.is_some_and(past);
                if !keep {
                    over.push(session.id);
                }
                keep
            });
        }
        if !over.is_empty() {
            save_contact(tx, contact, &row)?;
        }
        for id in over {
            tx.delete(Table::Sessions, &id)?;
        }
    }
    Ok(())
}

/// Drops message and header keys that nothing can still arrive for, in sessions that are quiet.
fn expire_sessions(tx: &mut dyn Transaction, today: Day) -> Result<(), EngineError> {
    for id in matching(tx, Table::Sessions, |value| {
        let row: SessionRow = decode(Table::Sessions, value)?;
        let session = Session::from_bytes(row.state.bytes());
        Ok(session.map_err(|_| corrupt("a session's state"))?.has_expired(today))
    })? {
        let mut row: SessionRow = must(tx, Table::Sessions, &id)?;
        let mut session =
            Session::from_bytes(row.state.bytes()).map_err(|_| corrupt("a session's state"))?;
        session.expire(today, |state| {
            row.state = Secret::new(&state.to_bytes());
            save(tx, Table::Sessions, &id, &row)
        })?;
    }
    Ok(())
}

fn matching(
    tx: &dyn Transaction,
    table: Table,
    mut wanted: impl FnMut(&[u8]) -> Result<bool, StoreError>,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    for_each(tx, table, &[], |key, value| {
        if wanted(value)? {
            keys.push(key.to_vec());
        }
        Ok(())
    })?;
    Ok(keys)
}

fn remove(
    tx: &mut dyn Transaction,
    table: Table,
    wanted: impl FnMut(&[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    for key in matching(tx, table, wanted)? {
        tx.delete(table, &key)?;
    }
    Ok(())
}

fn remove_links(tx: &mut dyn Transaction, keys: &[Vec<u8>]) -> Result<(), EngineError> {
    for key in keys {
        let number = number(key, "a link's number")?;
        let row = load_link(tx, number)?;
        remove_link(tx, number, &row)?;
    }
    Ok(())
}
