//! Mailboxes by number: keys and capabilities that can be made again.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use undertone_relay::store::sqlite::SqliteStore;
use undertone_relay::store::{Command, Store as _, TokenClass};
use undertone_wire::frame::MailboxKind;
use undertone_wire::limits::MAX_RETENTION_DAYS;
use undertone_wire::{AdmissionToken, Day, MailboxSecret, ReadKey, WriteCapability};

use crate::Result;
use crate::child::RelayProcess;

fn derive(label: &str, number: u32) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update(number.to_be_bytes()).finalize().into()
}

/// The owner of a mailbox.
pub(crate) fn owner(number: u32) -> MailboxSecret {
    MailboxSecret::from_seed(&derive("owner", number))
}

/// What delivers to it.
pub(crate) fn writer(number: u32) -> WriteCapability {
    WriteCapability::from_bytes(derive("writer", number))
}

/// What admits to a relay that [`populate`] made.
pub(crate) fn token() -> AdmissionToken {
    AdmissionToken::from_bytes(derive("token", 0))
}

/// The key of a mailbox whose owner nobody is.
pub(crate) fn nobody(number: u32) -> ReadKey {
    ReadKey::from_bytes(derive("nobody", number))
}

/// A number from 0 to 1 that looks random, always the same for the same two.
pub(crate) fn spread(number: u32, turn: u32) -> f64 {
    let first = derive("spread", number.wrapping_mul(64).wrapping_add(turn)).first_chunk().copied();
    f64::from(u32::from_be_bytes(first.unwrap_or_default())) / f64::from(u32::MAX)
}

/// The day.
pub(crate) fn today() -> Day {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Day::from_unix_seconds(now.map_or(0, |now| now.as_secs()))
}

/// Makes mailboxes in a store that no relay uses yet: 0 to `owned` with keys that sign, the others
/// with keys that nobody has, which are quicker to make.
pub(crate) async fn populate(directory: &Path, owned: u32, all: u32) -> Result {
    // A relay's first run makes its keys and its store.
    RelayProcess::start(directory, 0).await?.stop().await?;
    let layout = undertone_relay::operator::Layout::new(directory);
    let mut store = SqliteStore::open(&layout.store(), MAX_RETENTION_DAYS)?;
    let token = token().verifier();
    let (today, mut batch) = (today(), vec![Command::AddToken(token, TokenClass::Unlimited)]);
    for number in 0..all.max(owned) {
        let key = if number < owned { owner(number).public() } else { nobody(number) };
        batch.push(Command::CreateMailbox {
            key,
            token,
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: vec![writer(number).hash()],
        });
        if batch.len() >= 4096 {
            store.commit(today, &batch)?;
            batch.clear();
        }
    }
    store.commit(today, &batch)?;
    Box::new(store).close()?;
    Ok(())
}
