//! All that a profile must keep from a relay, for searches that look for leaks.

use core::fmt;

use undertone_core::rand_core::CryptoRng;
use undertone_core::{AccountKey, LinkSecret, PrekeySecret, SafetyNumber, Session};
use zeroize::Zeroizing;

use super::contacts::for_each;
use super::rows::{
    ContactRow, LinkRow, MailboxRow, OutRow, PrekeyRow, ProfileRow, SentRow, SessionRow,
    TransferRow, corrupt, decode, must,
};
use super::{Engine, EngineError, PROFILE};
use crate::content::{Body, Content};
use crate::routing::Routing;
use crate::store::{Store, StoreError, Table, Transaction};

/// What something is, which decides where it may turn up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditClass {
    /// A private key or another secret: nowhere but here.
    Secret,
    /// A capability or token: presented to the relay, which keeps its hash.
    Capability,
    /// A public key or fingerprint of an account or a device: never at a relay.
    Identity,
    /// What somebody or something is called.
    Name,
}

/// Something to search for.
pub struct AuditSecret {
    /// What it is, for the report.
    pub label: String,
    /// Where it may be.
    pub class: AuditClass,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AuditSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, class, bytes: _ } = self;
        f.debug_struct("AuditSecret").field("label", label).field("class", class).finish()
    }
}

/// Names shorter than this turn up by chance.
const SHORTEST_NAME: usize = 6;

/// What is being collected.
#[derive(Default)]
struct Found(Vec<AuditSecret>);

impl Found {
    fn add(&mut self, label: impl Into<String>, class: AuditClass, bytes: &[u8]) {
        let bytes = Zeroizing::new(bytes.to_vec());
        self.0.push(AuditSecret { label: label.into(), class, bytes });
    }

    fn name(&mut self, label: &str, name: &str) {
        if name.len() >= SHORTEST_NAME {
            self.add(label, AuditClass::Name, name.as_bytes());
        }
    }

    fn secrets<const N: usize>(&mut self, named: [(&'static str, Zeroizing<Vec<u8>>); N]) {
        for (label, bytes) in named {
            self.add(label, AuditClass::Secret, &bytes);
        }
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Every key, capability, identity and name that this profile holds now.
    ///
    /// Only for tests and demonstrations that search a relay for what must not be there: what this
    /// returns opens everything. Used-up keys are gone and so are not listed; public halves that a
    /// relay stores by design (read keys, owner keys of depots, ids of blobs) are not either.
    ///
    /// # Errors
    /// Those of the store.
    pub fn dangerous_audit_secrets(&mut self) -> Result<Vec<AuditSecret>, EngineError> {
        let mut found = Found::default();
        let device = self.me.keys().to_bytes();
        self.store.transaction(|tx| -> Result<(), StoreError> {
            let account = profile(tx, &device, &mut found)?;
            contacts(tx, &account, &mut found)?;
            links(tx, &mut found)?;
            sessions(tx, &mut found)?;
            mailboxes(tx, &mut found)?;
            transfers(tx, &mut found)
        })?;
        Ok(found.0)
    }
}

fn profile(
    tx: &dyn Transaction,
    device: &[u8; 64],
    found: &mut Found,
) -> Result<AccountKey, StoreError> {
    let row: ProfileRow = must(tx, Table::Meta, PROFILE)?;
    found.name("own name", &row.name);
    found.add("account key, private", AuditClass::Secret, row.account_secret.bytes());
    let secret = row.device_secret.array::<64>("the device's keys")?;
    let (signing, dh) = secret.split_at(32);
    found.add("device signing key, private", AuditClass::Secret, signing);
    found.add("device DH key, private", AuditClass::Secret, dh);
    found.add("admission token", AuditClass::Capability, row.token.bytes());
    let list = undertone_core::DeviceList::parse(&row.device_list)
        .map_err(|_| corrupt("the device list"))?;
    identity(&list.account(), found);
    keys_of_device(device, found);
    Ok(list.account())
}

fn identity(account: &AccountKey, found: &mut Found) {
    found.add("account key", AuditClass::Identity, account.as_bytes());
    found.add("account fingerprint", AuditClass::Identity, account.fingerprint().as_bytes());
}

fn keys_of_device(keys: &[u8], found: &mut Found) {
    for (label, key) in ["device signing key", "device DH key"].into_iter().zip(keys.chunks(32)) {
        found.add(label, AuditClass::Identity, key);
    }
}

fn contacts(tx: &dyn Transaction, own: &AccountKey, found: &mut Found) -> Result<(), StoreError> {
    for_each(tx, Table::Contacts, &[], |_, value| {
        let row: ContactRow = decode(Table::Contacts, value)?;
        found.name("contact's name", &row.name);
        found.name("contact's name for themselves", row.profile_name.as_deref().unwrap_or(""));
        let account =
            AccountKey::from_bytes(&row.account).map_err(|_| corrupt("an account key"))?;
        identity(&account, found);
        let number = SafetyNumber::new(own, &account);
        found.add("safety number", AuditClass::Identity, number.digits().as_bytes());
        if let Some(link) = &row.reset_theirs {
            let link = crate::link::Link::from_payload(link.bytes())
                .map_err(|_| corrupt("a reset link"))?;
            found.secrets(LinkSecret::from_bytes(link.secret()).dangerous_secrets());
        }
        for device in &row.devices {
            keys_of_device(&device.keys, found);
            for route in &device.routes {
                let route = Routing::from_bytes(route.bytes())
                    .ok_or_else(|| corrupt("a contact's route"))?;
                let capability = route.capability.as_bytes();
                found.add("write capability of a contact", AuditClass::Capability, capability);
            }
        }
        Ok(())
    })
}

fn links(tx: &dyn Transaction, found: &mut Found) -> Result<(), StoreError> {
    for_each(tx, Table::Links, &[], |_, value| {
        let row: LinkRow = decode(Table::Links, value)?;
        found.name("link's label", row.label.as_deref().unwrap_or(""));
        let secret = LinkSecret::from_bytes(&*row.secret.array("a link's secret")?);
        found.secrets(secret.dangerous_secrets());
        let capability = secret.fetch_capability();
        found.add("fetch capability", AuditClass::Capability, capability.as_bytes());
        found.add("depot owner's key, private", AuditClass::Secret, row.depot_seed.bytes());
        Ok(())
    })?;
    for_each(tx, Table::Prekeys, &[], |_, value| {
        let row: PrekeyRow = decode(Table::Prekeys, value)?;
        if let Some(secret) = row.secret {
            let secret =
                PrekeySecret::from_bytes(secret.bytes()).map_err(|_| corrupt("a prekey"))?;
            found.secrets(secret.dangerous_secrets());
        }
        Ok(())
    })
}

fn sessions(tx: &dyn Transaction, found: &mut Found) -> Result<(), StoreError> {
    for_each(tx, Table::Sessions, &[], |key, value| {
        found.add("session id", AuditClass::Secret, key);
        let row: SessionRow = decode(Table::Sessions, value)?;
        let session =
            Session::from_bytes(row.state.bytes()).map_err(|_| corrupt("a session's state"))?;
        for (label, bytes) in session.dangerous_secrets() {
            found.add(label, AuditClass::Secret, &bytes);
        }
        Ok(())
    })
}

fn mailboxes(tx: &dyn Transaction, found: &mut Found) -> Result<(), StoreError> {
    for_each(tx, Table::Mailboxes, &[], |_, value| {
        let row: MailboxRow = decode(Table::Mailboxes, value)?;
        found.add("read key, private", AuditClass::Secret, row.seed.bytes());
        if let Some(capability) = row.capability {
            found.add("write capability of ours", AuditClass::Capability, capability.bytes());
        }
        Ok(())
    })
}

fn transfers(tx: &dyn Transaction, found: &mut Found) -> Result<(), StoreError> {
    for_each(tx, Table::Transfers, &[], |_, value| {
        match decode(Table::Transfers, value)? {
            TransferRow::Up { read, delete, .. } => {
                found.add("blob's read capability", AuditClass::Capability, read.bytes());
                found.add("blob's delete capability", AuditClass::Capability, delete.bytes());
            }
            TransferRow::Down { content, .. } => attachment(content.bytes(), found),
        }
        Ok(())
    })?;
    for_each(tx, Table::Outbox, &[], |_, value| {
        let row: OutRow = decode(Table::Outbox, value)?;
        attachment(row.content.bytes(), found);
        Ok(())
    })?;
    for_each(tx, Table::Unacknowledged, &[], |_, value| {
        let row: SentRow = decode(Table::Unacknowledged, value)?;
        attachment(row.content.bytes(), found);
        Ok(())
    })
}

/// The keys of a file, if a content is one.
fn attachment(content: &[u8], found: &mut Found) {
    if let Ok(Content { body: Body::Attachment(file), .. }) = Content::decode(content) {
        found.add("file key", AuditClass::Secret, file.key.as_bytes());
        found.add("blob's read capability", AuditClass::Capability, file.read.as_bytes());
        found.name("file's name", &file.name);
    }
}
