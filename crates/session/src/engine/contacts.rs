//! Contacts, as the person sees them.

use undertone_core::rand_core::CryptoRng;
use undertone_core::{AccountKey, SafetyNumber};

use super::rows::{ContactRow, HealingRow, corrupt, decode, key1, load, number, save};
use super::{Engine, EngineError, check_name};
use crate::contact::{AccountId, Contact, ContactState, SafetyNumberView};
use crate::ids::ContactId;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Rows that one scan reads: bounds memory, not results.
const PAGE: usize = 256;

/// Shortest beginning of an account fingerprint that names a contact: fewer digits fit by chance.
const MIN_FINGERPRINT_DIGITS: usize = 4;

/// Whether a contact is meant; told as well whether the person here gave it its name.
type Way<'a> = &'a dyn Fn(&Contact, bool) -> bool;

pub(super) fn load_contact(
    tx: &dyn Transaction,
    contact: ContactId,
) -> Result<ContactRow, EngineError> {
    load(tx, Table::Contacts, &key1(contact.get()))?.ok_or(EngineError::UnknownContact)
}

pub(super) fn save_contact(
    tx: &mut dyn Transaction,
    contact: ContactId,
    row: &ContactRow,
) -> Result<(), StoreError> {
    save(tx, Table::Contacts, &key1(contact.get()), row)
}

/// The contact with this account, if there is one.
pub(super) fn contact_of(
    tx: &dyn Transaction,
    account: &AccountKey,
) -> Result<Option<ContactId>, StoreError> {
    let number: Option<u64> = load(tx, Table::Accounts, account.as_bytes())?;
    Ok(number.map(ContactId::new))
}

/// Rows of a table in pages, each given to `visit`.
pub(super) fn for_each(
    tx: &dyn Transaction,
    table: Table,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from: Option<Vec<u8>> = None;
    loop {
        let rows = tx.scan(table, prefix, from.as_deref(), Order::Ascending, PAGE)?;
        let full = rows.len() == PAGE;
        for row in rows {
            visit(&row.key, &row.value)?;
            from = Some(row.key);
        }
        if !full {
            return Ok(());
        }
    }
}

pub(super) fn view(id: ContactId, row: &ContactRow) -> Result<Contact, StoreError> {
    let account = AccountKey::from_bytes(&row.account).map_err(|_| corrupt("an account key"))?;
    let confirmed =
        row.devices.iter().any(|device| device.sessions.iter().any(|session| session.peer_has));
    Ok(Contact {
        id,
        name: row.name.clone(),
        profile_name: row.profile_name.clone(),
        account: AccountId::from_bytes(*account.fingerprint().as_bytes()),
        verified: row.verified,
        state: match row.healing {
            _ if row.blocked => ContactState::Blocked,
            _ if row.state_is_lost() => ContactState::RolledBack,
            HealingRow::Started { .. } => ContactState::Resetting,
            _ if confirmed => ContactState::Active,
            _ => ContactState::Pending,
        },
        timer_seconds: row.timer,
    })
}

pub(super) fn all_contacts(
    tx: &dyn Transaction,
) -> Result<Vec<(ContactId, ContactRow)>, StoreError> {
    let mut contacts = Vec::new();
    for_each(tx, Table::Contacts, &[], |key, value| {
        let id = ContactId::new(number(key, "a contact's number")?);
        contacts.push((id, decode(Table::Contacts, value)?));
        Ok(())
    })?;
    Ok(contacts)
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// All contacts, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the store.
    pub fn contacts(&mut self) -> Result<Vec<Contact>, EngineError> {
        self.store.transaction(|tx| {
            let mut contacts = Vec::new();
            for (id, row) in all_contacts(tx)? {
                contacts.push(view(id, &row)?);
            }
            Ok(contacts)
        })
    }

    /// The contact with this number.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn contact(&mut self, contact: ContactId) -> Result<Contact, EngineError> {
        self.store.transaction(|tx| Ok(view(contact, &load_contact(tx, contact)?)?))
    }

    /// The contact that a person means. Digits alone are a number first, then a name that the
    /// person here gave. Anything else is a name that the person here gave, then a name that a
    /// contact gave themselves or the beginning of an account fingerprint: what a contact calls
    /// themselves never stands before what the person here knows them by.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::AmbiguousContact`].
    pub fn find_contact(&mut self, query: &str) -> Result<Contact, EngineError> {
        let query = query.trim();
        let name = query.to_lowercase();
        let number = !query.is_empty() && query.bytes().all(|b| b.is_ascii_digit());
        let digits =
            query.len() >= MIN_FINGERPRINT_DIGITS && query.bytes().all(|b| b.is_ascii_hexdigit());
        let contacts: Vec<(Contact, bool)> = self.store.transaction(|tx| {
            all_contacts(tx)?
                .iter()
                .map(|(id, row)| Ok((view(*id, row)?, row.name_is_ours)))
                .collect::<Result<_, StoreError>>()
        })?;
        let by_number = |c: &Contact, _: bool| number && c.id.to_string() == query;
        let by_our_name = |c: &Contact, ours: bool| ours && c.name.to_lowercase() == name;
        let by_their_word = |c: &Contact, ours: bool| {
            (!number && !ours && c.name.to_lowercase() == name)
                || (digits && c.account.to_string().starts_with(&name))
        };
        let ways: [Way<'_>; 3] = [&by_number, &by_our_name, &by_their_word];
        for way in ways {
            let found = contacts.iter().filter(|(c, ours)| way(c, *ours));
            let mut found: Vec<Contact> = found.map(|(c, _)| c.clone()).collect();
            if found.len() > 1 {
                return Err(EngineError::AmbiguousContact(
                    found.into_iter().map(|c| (c.id, c.name)).collect(),
                ));
            }
            if let Some(contact) = found.pop() {
                return Ok(contact);
            }
        }
        Err(EngineError::UnknownContact)
    }

    /// Calls a contact something else, here only.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::NameInvalid`].
    pub fn rename(&mut self, contact: ContactId, name: &str) -> Result<Contact, EngineError> {
        let name = check_name(name)?;
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            row.name = name;
            row.name_is_ours = true;
            save_contact(tx, contact, &row)?;
            Ok(view(contact, &row)?)
        })
    }

    /// Records that the safety numbers were compared.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn mark_verified(&mut self, contact: ContactId) -> Result<Contact, EngineError> {
        self.store.transaction(|tx| {
            let mut row = load_contact(tx, contact)?;
            row.verified = true;
            save_contact(tx, contact, &row)?;
            Ok(view(contact, &row)?)
        })
    }

    /// What to compare with a contact.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn safety_number(&mut self, contact: ContactId) -> Result<SafetyNumberView, EngineError> {
        let row = self.store.transaction(|tx| load_contact(tx, contact))?;
        let theirs = AccountKey::from_bytes(&row.account).map_err(|_| corrupt("an account key"))?;
        let number = SafetyNumber::new(&self.me.account(), &theirs);
        Ok(SafetyNumberView { digits: number.to_string(), qr: number.qr_bytes().to_vec() })
    }
}

/// Whether a name reads as something else that stands for a contact: a number, the beginning of a
/// fingerprint, or the name of a contact who has none. A contact who called themselves so could be
/// taken for another.
pub(super) fn stands_for_another(name: &str) -> bool {
    let number = |text: &str| {
        text.chars().any(char::is_numeric)
            && text.chars().all(|c| c.is_numeric() || c.is_whitespace() || c == '#')
    };
    let fingerprint = name.len() >= MIN_FINGERPRINT_DIGITS
        && name.bytes().all(|b| b.is_ascii_hexdigit())
        // Names such as Abed are names; one that is a fingerprint's beginning, too, is ambiguous.
        && name.bytes().any(|b| b.is_ascii_digit());
    let unnamed = name.to_lowercase().strip_prefix("contact").is_some_and(number);
    number(name) || fingerprint || unnamed
}
