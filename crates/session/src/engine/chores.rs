//! What relays are to be asked some time: deletions and revocations. Each is noted in the
//! transaction that makes it necessary and asked again until it is answered, so that neither a crash
//! nor a relay that is away leaves anything behind.

use undertone_core::rand_core::CryptoRng;
use undertone_wire::{DepotId, DepotSecret, MailboxSecret, RelayAddress, WriteCapabilityHash};

use super::contacts::for_each;
use super::rows::{ChoreKind, ChoreRow, corrupt, decode, key1, next_number, number, save};
use super::{Engine, EngineError};
use crate::store::{Store, StoreError, Table, Transaction};

/// Days after which a relay that never answered is not asked any more. Whatever it keeps has expired
/// by then, and nothing refers to it.
pub(super) const CHORE_DAYS: u32 = 60;

/// Something that a relay is to be asked. Its answer, "unknown" included, goes to
/// [`Engine::chore_done`].
pub struct Chore {
    /// Its number.
    pub number: u64,
    /// Where.
    pub relay: RelayAddress,
    /// What.
    pub what: ChoreRequest,
}

/// What a relay is to be asked.
pub enum ChoreRequest {
    /// Delete a mailbox with all it holds and all its capabilities.
    DeleteMailbox(MailboxSecret),
    /// Delete a depot.
    DeleteDepot(DepotSecret, DepotId),
    /// Revoke one write capability of a mailbox.
    Revoke(MailboxSecret, WriteCapabilityHash),
}

/// Notes something to be asked of the relay with this (binary) address.
pub(super) fn note(
    tx: &mut dyn Transaction,
    relay: Vec<u8>,
    what: ChoreKind,
    day: u32,
) -> Result<(), StoreError> {
    let number = next_number(tx, "chore")?;
    save(tx, Table::Chores, &key1(number), &ChoreRow { relay, what, day })
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// All that relays are yet to be asked, oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn chores(&mut self) -> Result<Vec<Chore>, EngineError> {
        self.store.transaction(|tx| {
            let mut chores = Vec::new();
            for_each(tx, Table::Chores, &[], |key, value| {
                let row: ChoreRow = decode(Table::Chores, value)?;
                chores.push(Chore {
                    number: number(key, "a chore's number")?,
                    relay: RelayAddress::from_bytes(&row.relay)
                        .map_err(|_| corrupt("a relay's address"))?,
                    what: request(&row.what)?,
                });
                Ok(())
            })?;
            Ok(chores)
        })
    }

    /// A relay has done it, or knows nothing (any more) of what it was about.
    ///
    /// # Errors
    /// Those of the store.
    pub fn chore_done(&mut self, number: u64) -> Result<(), EngineError> {
        self.store.transaction(|tx| Ok(tx.delete(Table::Chores, &key1(number))?))
    }
}

fn request(what: &ChoreKind) -> Result<ChoreRequest, StoreError> {
    Ok(match what {
        ChoreKind::DeleteMailbox { seed } => {
            ChoreRequest::DeleteMailbox(MailboxSecret::from_seed(&*seed.array("a mailbox's key")?))
        }
        ChoreKind::DeleteDepot { seed, depot } => ChoreRequest::DeleteDepot(
            DepotSecret::from_seed(&*seed.array("a depot's key")?),
            DepotId::from_bytes(*depot),
        ),
        ChoreKind::RevokeCapability { seed, hash } => ChoreRequest::Revoke(
            MailboxSecret::from_seed(&*seed.array("a mailbox's key")?),
            WriteCapabilityHash::from_bytes(*hash),
        ),
    })
}
