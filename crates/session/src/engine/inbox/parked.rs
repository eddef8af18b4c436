//! Envelopes that nothing opened: kept, within bounds, and tried again when something has changed.

use undertone_core::Day;
use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_wire::MailboxId;

use super::super::EngineError;
use super::super::events::emit;
use super::super::links::load_link;
use super::super::rows::{MailboxRow, ParkedRow, Purpose, decode, key1, key2, next_number, save};
use super::{Inbox, Outcome};
use crate::event::EventKind;
use crate::store::{Order, StoreError, Table, Transaction};

/// Envelopes of one mailbox that are kept although nothing opens them; the oldest goes first.
/// A sender of junk can fill no more than this.
const MAX_PARKED: usize = 256;

pub(super) fn park(
    tx: &mut dyn Transaction,
    mailbox: &MailboxId,
    row: &MailboxRow,
    envelope: &[u8],
    today: Day,
) -> Result<(), StoreError> {
    let parked = tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
    if parked.len() == MAX_PARKED
        && let Some(oldest) = parked.first()
    {
        tx.delete(Table::Parked, &oldest.key)?;
    }
    let place = next_number(tx, "parked")?;
    let key = key2(mailbox.as_bytes(), &key1(place));
    let kept = ParkedRow { envelope: envelope.to_vec(), day: today.get() };
    save(tx, Table::Parked, &key, &kept)?;
    let contact = match row.purpose {
        Purpose::Contact(contact) => Some(contact),
        Purpose::Link(_) | Purpose::Adding => None,
    };
    emit(tx, EventKind::EnvelopeParked { contact })
}

impl<R: CryptoRng> Inbox<'_, R> {
    /// What could not be accepted when it came is tried once more.
    pub(in super::super) fn retry_greetings(
        &mut self,
        tx: &mut dyn Transaction,
        number: u64,
    ) -> Result<(), EngineError> {
        let mailbox = MailboxId::from_bytes(load_link(tx, number)?.mailbox);
        let rows =
            tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
        for row in rows {
            let parked: ParkedRow = decode(Table::Parked, &row.value)?;
            match self.open_greeting(tx, &mailbox, number, &parked.envelope)? {
                Outcome::Foreign | Outcome::Later => {}
                Outcome::Opened(_) | Outcome::Dropped => tx.delete(Table::Parked, &row.key)?,
            }
        }
        Ok(())
    }

    /// A session has changed: what was parked in its mailbox may open now.
    pub(super) fn retry_parked(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        session: &[u8; 32],
    ) -> Result<(), EngineError> {
        let rows =
            tx.scan(Table::Parked, mailbox.as_bytes(), None, Order::Ascending, MAX_PARKED)?;
        for row in rows {
            let parked: ParkedRow = decode(Table::Parked, &row.value)?;
            let mut trials = MAX_HEADER_TRIALS;
            let outcome = self.open_in(tx, session, &parked.envelope, &mut trials)?;
            if matches!(outcome, Outcome::Opened(_) | Outcome::Dropped) {
                tx.delete(Table::Parked, &row.key)?;
            }
        }
        Ok(())
    }
}
