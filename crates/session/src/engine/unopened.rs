//! Envelopes in contacts' mailboxes that do not open (`protocol-spec/13-session.md` §4).
//!
//! A store that was put back behind what it had sent, and has received nothing since, looks sound: no
//! floor is ahead of it. Its contact answers in a chain whose key is lost, and none of that opens. Only
//! what it sends shows the contact, in a header that opens, that it was put back; and a person may say
//! nothing for long. So something is said for them, once a day at most: anybody may have put junk there.

use undertone_core::rand_core::CryptoRng;

use super::EngineError;
use super::contacts::{for_each, load_contact};
use super::day;
use super::mailboxes::tell_mailbox;
use super::rows::{HealingRow, MailboxRow, decode, key1, key2, load, number, save};
use crate::ids::{ContactId, UnixMillis};
use crate::store::{Order, StoreError, Table, Transaction};

/// The day of the first since something was said: `Meta["unopened", contact]`.
const UNOPENED: &[u8] = b"unopened";

fn row_key(contact: ContactId) -> Vec<u8> {
    key2(UNOPENED, &key1(contact.get()))
}

/// Something that may be this contact's came and did not open.
pub(super) fn note(
    tx: &mut dyn Transaction,
    contact: ContactId,
    today: u32,
) -> Result<(), StoreError> {
    let key = row_key(contact);
    match tx.get(Table::Meta, &key)? {
        Some(_) => Ok(()),
        None => save(tx, Table::Meta, &key, &today),
    }
}

/// Tells contacts of whom something came on an earlier day and did not open once more where they reach
/// us. That says nothing new: it is the header that counts.
pub(super) fn answer(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    now: UnixMillis,
) -> Result<(), EngineError> {
    let today = day(now).get();
    let mut due = Vec::new();
    for_each(tx, Table::Meta, UNOPENED, |key, value| {
        let on: u32 = decode(Table::Meta, value)?;
        if on < today {
            due.push((key.to_vec(), ContactId::new(number(key, "a contact's number")?)));
        }
        Ok(())
    })?;
    for (key, contact) in due {
        tx.delete(Table::Meta, &key)?;
        let row = match load_contact(tx, contact) {
            Ok(row) => row,
            Err(EngineError::UnknownContact) => continue,
            Err(error) => return Err(error),
        };
        // A reset that is due or under way says more, and so does what goes out anyway.
        if row.blocked || row.devices.is_empty() || row.healing != HealingRow::Sound {
            continue;
        }
        let mailbox: Option<MailboxRow> = load(tx, Table::Mailboxes, &row.mailbox)?;
        let waits = tx.scan(Table::Outbox, &key1(contact.get()), None, Order::Ascending, 1)?;
        if mailbox.is_some_and(|mailbox| mailbox.live) && waits.is_empty() {
            tell_mailbox(tx, rng, contact, now)?;
        }
    }
    Ok(())
}
