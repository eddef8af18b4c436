//! Envelopes that nothing opened: kept, within bounds, and tried again when something has changed.

use std::collections::BTreeSet;

use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{Day, OpenError, Session};
use undertone_wire::MailboxId;

use super::super::EngineError;
use super::super::attempt::attempt;
use super::super::contacts::for_each;
use super::super::events::emit;
use super::super::links::load_link;
use super::super::rows::{
    MailboxRow, ParkedRow, Purpose, SessionRow, decode, key1, key2, load, next_number, save,
};
use super::sessions::{candidates, has_moved};
use super::{Inbox, Outcome};
use crate::event::EventKind;
use crate::ids::ContactId;
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
            let greeting = |tx: &mut dyn Transaction| {
                self.open_greeting(tx, &mailbox, number, &parked.envelope)
            };
            // One that can't be taken up stays, and the others are tried.
            match attempt(tx, greeting)?.unwrap_or(Outcome::Later) {
                Outcome::Foreign | Outcome::Later => {}
                Outcome::Opened(_) | Outcome::Dropped => tx.delete(Table::Parked, &row.key)?,
            }
        }
        Ok(())
    }

    /// Tries all that is parked with every session that writes into its mailbox, those that the
    /// bound on trials leaves out when an envelope arrives included: nobody's envelope is lost for
    /// standing behind the others' keys. Once a day.
    pub(in super::super) fn retry_all(
        &mut self,
        tx: &mut dyn Transaction,
    ) -> Result<(), EngineError> {
        let mut mailboxes = BTreeSet::new();
        for_each(tx, Table::Parked, &[], |key, _| {
            mailboxes.extend(key.first_chunk::<32>().copied());
            Ok(())
        })?;
        for mailbox in mailboxes {
            let Some(row) = load::<MailboxRow>(tx, Table::Mailboxes, &mailbox)? else { continue };
            if let Purpose::Link(number) = row.purpose {
                // What has a handshake in front, that of a reset included.
                self.retry_greetings(tx, number)?;
            }
            let mut parked = Vec::new();
            for one in tx.scan(Table::Parked, &mailbox, None, Order::Ascending, MAX_PARKED)? {
                let row: ParkedRow = decode(Table::Parked, &one.value)?;
                parked.push((one.key, row.envelope));
            }
            for session in candidates(tx, &row)? {
                if parked.is_empty() {
                    break;
                }
                self.retry_session(
                    tx,
                    &MailboxId::from_bytes(mailbox),
                    &row,
                    &session,
                    &mut parked,
                )?;
            }
        }
        Ok(())
    }

    /// Tries what is parked in one session, which is read once for all that is not for it. Takes
    /// out what it opens.
    fn retry_session(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        row: &MailboxRow,
        session: &[u8; 32],
        parked: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), EngineError> {
        // Again from the first after each that opened: what stood before it may open now.
        'again: while let Some(state) = load::<SessionRow>(tx, Table::Sessions, session)? {
            let state = Session::from_bytes(state.state.bytes());
            // One that can't be read does not keep the others from theirs.
            let Ok(mut state) = state else { break };
            for at in 0..parked.len() {
                let Some((key, envelope)) = parked.get(at) else { break };
                if matches!(state.open(envelope, self.today), Err(OpenError::NotForThisSession)) {
                    continue;
                }
                let mut trials = MAX_HEADER_TRIALS;
                let opening =
                    |tx: &mut dyn Transaction| self.open_in(tx, session, envelope, &mut trials);
                let outcome = attempt(tx, opening)?.unwrap_or(Outcome::Later);
                if matches!(outcome, Outcome::Foreign | Outcome::Later) {
                    continue;
                }
                tx.delete(Table::Parked, key)?;
                parked.remove(at);
                if let (Outcome::Opened(_), Purpose::Contact(contact)) = (outcome, row.purpose) {
                    has_moved(tx, ContactId::new(contact), mailbox)?;
                }
                continue 'again;
            }
            break;
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
            if tx.get(Table::Sessions, session)?.is_none() {
                // Ended by what has just been opened in it.
                return Ok(());
            }
            let mut trials = MAX_HEADER_TRIALS;
            let opening =
                |tx: &mut dyn Transaction| self.open_in(tx, session, &parked.envelope, &mut trials);
            let outcome = attempt(tx, opening)?.unwrap_or(Outcome::Later);
            if matches!(outcome, Outcome::Opened(_) | Outcome::Dropped) {
                tx.delete(Table::Parked, &row.key)?;
            }
        }
        Ok(())
    }
}
