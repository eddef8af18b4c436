//! The engine: everything that a profile knows and does, over a [`Store`].
//!
//! Each method is one transaction. Nothing is cached between calls, so that what a method sees is
//! what is on disk, and a crash between two calls loses nothing. Requests to relays are handed out
//! as plain values ([`MailboxPlan`], [`Delivery`], …); their answers come back through the methods
//! named beside them.

mod attempt;
mod audit;
mod backup;
mod changes;
mod chores;
mod contacts;
mod early;
mod error;
mod events;
mod first_contact;
mod handle;
mod healing;
mod health;
mod history;
mod inbox;
mod links;
mod mailboxes;
mod maintenance;
mod migrations;
mod moves;
mod outbox;
mod people;
mod receipts;
mod replaced;
mod resend;
mod reset_links;
mod rows;
mod search;
mod timers;
mod transfers;
mod typing;
mod unopened;

#[cfg(test)]
mod tests;

pub use audit::{AuditClass, AuditSecret};
pub use backup::{BackupCheck, Export, Restored, Restorer};
pub use chores::{Chore, ChoreRequest};
pub use error::EngineError;
pub use events::{MAX_CURSOR_NAME, MAX_CURSORS, MAX_EVENTS};
pub use first_contact::AddPlan;
pub use healing::ResetPlan;
pub use health::{ConversationHealth, Health};
pub use inbox::Received;
pub use links::{LinkPlan, LinkView, RefillPlan};
pub use mailboxes::{FloorVerdict, MailboxPlan, Subscription};
pub use outbox::{Delivery, DeliveryId};
pub use receipts::RECEIPT_DELAY_MILLIS;
pub use search::Found;
pub use transfers::{Download, FetchLimits, OutgoingFile, Upload};
pub use typing::Passing;

use undertone_core::rand_core::CryptoRng;
use undertone_core::{AccountSecret, Day, DeviceList, DeviceSecret, LocalDevice};
use undertone_wire::{AdmissionToken, JoinAddress, RelayAddress};
use zeroize::Zeroizing;

use crate::contact::AccountId;
use crate::content::MAX_NAME;
use crate::ids::UnixMillis;
use crate::store::{Store, Table};
use rows::{ProfileRow, Secret, corrupt, load, save};

/// The version of the rows below; a store of a higher one is refused, of a lower one migrated.
pub const SCHEMA_VERSION: u32 = 2;

const PROFILE: &[u8] = b"profile";
const SCHEMA: &[u8] = b"schema-version";

/// The engine of one profile.
pub struct Engine<S, R> {
    store: S,
    rng: R,
    me: LocalDevice,
    name: String,
    relay: RelayAddress,
    token: AdmissionToken,
}

/// The day of a clock's time.
fn day(now: UnixMillis) -> Day {
    Day::from_unix_seconds(now.seconds())
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Makes a new account with one device in an empty store.
    ///
    /// # Errors
    /// [`EngineError::ProfileExists`] if the store has a profile (it is left as it is),
    /// [`EngineError::NameInvalid`].
    pub fn create(
        mut store: S,
        mut rng: R,
        now: UnixMillis,
        name: &str,
        join: &JoinAddress,
    ) -> Result<Self, EngineError> {
        let name = check_name(name)?;
        let account = AccountSecret::generate(&mut rng);
        let device = DeviceSecret::generate(&mut rng);
        let list = DeviceList::issue(&account, None, now.seconds(), &[device.public()])?;
        let row = ProfileRow {
            name,
            account_secret: Secret::new(&*account.to_bytes()),
            device_secret: Secret::new(&*device.to_bytes()),
            device_list: list.as_bytes().to_vec(),
            relay: join.relay().to_bytes(),
            token: Secret::new(join.token().as_bytes()),
        };
        store.transaction(|tx| {
            if tx.get(Table::Meta, PROFILE)?.is_some() {
                return Err(EngineError::ProfileExists);
            }
            save(tx, Table::Meta, SCHEMA, &SCHEMA_VERSION)?;
            Ok(save(tx, Table::Meta, PROFILE, &row)?)
        })?;
        Self::open(store, rng)
    }

    /// Opens the profile in a store.
    ///
    /// # Errors
    /// [`EngineError::ProfileAbsent`], [`EngineError::SchemaTooNew`], and
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt) if the profile is there and can't be read.
    pub fn open(mut store: S, rng: R) -> Result<Self, EngineError> {
        let row = store.transaction(|tx| -> Result<_, EngineError> {
            let schema: u32 = load(tx, Table::Meta, SCHEMA)?.ok_or(EngineError::ProfileAbsent)?;
            migrations::migrate(tx, schema)?;
            let row: Option<ProfileRow> = load(tx, Table::Meta, PROFILE)?;
            Ok(row.ok_or_else(|| corrupt("the profile"))?)
        })?;
        let device = DeviceSecret::from_bytes(&*row.device_secret.array("the device key")?);
        let list = DeviceList::parse(&row.device_list).map_err(|_| corrupt("the device list"))?;
        Ok(Self {
            store,
            rng,
            me: LocalDevice::new(device, list).map_err(|_| corrupt("the device list"))?,
            name: row.name,
            relay: RelayAddress::from_bytes(&row.relay)
                .map_err(|_| corrupt("the relay's address"))?,
            token: AdmissionToken::from_bytes(*row.token.array("the admission token")?),
        })
    }

    /// What the person calls themselves.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fingerprint of the account key.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId::from_bytes(*self.me.account().fingerprint().as_bytes())
    }

    /// This device's public keys, 64 bytes.
    #[must_use]
    pub fn device_keys(&self) -> [u8; 64] {
        self.me.keys().to_bytes()
    }

    /// The relay where this profile is reached.
    #[must_use]
    pub const fn relay(&self) -> &RelayAddress {
        &self.relay
    }

    /// What admits this profile to its relay.
    #[must_use]
    pub fn token(&self) -> AdmissionToken {
        self.token.duplicate()
    }

    /// Gives the store back, to close it.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}

/// Random bytes.
fn random<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Random bytes that are a secret: wiped when they have been used.
fn random_secret(rng: &mut impl CryptoRng) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    bytes
}

/// A name that can be shown: not empty, not too long, no control characters.
fn check_name(name: &str) -> Result<String, EngineError> {
    let name = name.trim();
    let reason = if name.is_empty() {
        "the name is empty: give one"
    } else if name.len() > MAX_NAME {
        "the name is longer than 128 bytes: give a shorter one"
    } else if name.chars().any(unprintable) {
        "the name has characters that can't be shown: leave them out"
    } else {
        return Ok(name.to_owned());
    };
    Err(EngineError::NameInvalid { reason })
}

/// Control characters, and those that turn the direction of the text around them.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a contact calls themselves, as far as it can be shown.
fn clean_name(name: &str) -> Option<String> {
    let shown: String = name.chars().filter(|c| !unprintable(*c)).collect();
    let shown = shown.trim();
    (!shown.is_empty() && shown.len() <= MAX_NAME).then(|| shown.to_owned())
}
