//! The inbox. An envelope is opened, its message stored and the ratchet advanced in one
//! transaction, with the mailbox's floor; only then is the relay told that it may forget it.

mod greetings;
mod parked;
mod sessions;

use undertone_core::Day;
use undertone_core::rand_core::CryptoRng;
use undertone_wire::frame::Acknowledgement;
use undertone_wire::{Floor, Incarnation, MailboxId, Seq};

use super::attempt::attempt;
use super::handle::{Effect, Here, handle};
use super::rows::{MailboxRow, Purpose, load, save};
use super::{Engine, EngineError, day, health, unopened};
use crate::event::Typing;
use crate::ids::{ContactId, UnixMillis};
use crate::store::{Store, Table, Transaction};
use parked::park;

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// What the relay may be told now.
    pub acknowledgement: Acknowledgement,
    /// True if a message came into the history.
    pub message: bool,
    /// True if nothing opened it, or it could not be taken up, and it was kept.
    pub parked: bool,
    /// Somebody is writing, or has stopped: told here and stored nowhere.
    pub typing: Option<Typing>,
}

/// What became of an envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Opened, with what that brought about beside rows.
    Opened(Effect),
    /// Seen before, or refused for good.
    Dropped,
    /// Nothing opens it.
    Foreign,
    /// It may be accepted later; kept like what nothing opens.
    Later,
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Takes an envelope that the relay pushed. When this returns, all that follows from it is on
    /// stable storage.
    ///
    /// # Errors
    /// Those of the store. Junk is not an error, nor is what the engine fails at for another reason than
    /// the disk's: it is parked. `Ok(None)` for a mailbox that is not ours.
    pub fn receive(
        &mut self,
        mailbox: &MailboxId,
        incarnation: Incarnation,
        seq: Seq,
        envelope: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Received>, EngineError> {
        let today = day(now);
        let (store, mut inbox) = self.inbox(now);
        store.transaction(|tx| {
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(None);
            };
            scope(&mut row, incarnation);
            let mut received = Received {
                acknowledgement: acknowledgement(mailbox, incarnation, row.floor.max(seq.get())),
                message: false,
                parked: false,
                typing: None,
            };
            if seq.get() <= row.floor {
                return Ok(Some(received));
            }
            // What can't be taken up is kept like what nothing opens, and stops nothing behind it.
            let outcome = attempt(tx, |tx| inbox.open(tx, mailbox, &row, envelope))?
                .unwrap_or(Outcome::Foreign);
            if matches!(outcome, Outcome::Opened(_) | Outcome::Foreign) {
                health::count(tx, today.get(), outcome != Outcome::Foreign)?;
            }
            match outcome {
                Outcome::Opened(effect) => {
                    received.message = effect.message;
                    received.typing = effect.typing;
                }
                Outcome::Dropped => {}
                Outcome::Foreign | Outcome::Later => {
                    park(tx, mailbox, &row, envelope, today)?;
                    if let Purpose::Contact(contact) = row.purpose {
                        unopened::note(tx, ContactId::new(contact), today.get())?;
                    }
                    received.parked = true;
                }
            }
            // Read anew: what was opened may have been the contact's word about this very mailbox.
            if let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())? {
                scope(&mut row, incarnation);
                row.floor = seq.get();
                save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            }
            Ok(Some(received))
        })
    }

    /// The relay says that an envelope is damaged in its store: it is passed over.
    ///
    /// # Errors
    /// Those of the store.
    pub fn receive_damaged(
        &mut self,
        mailbox: &MailboxId,
        incarnation: Incarnation,
        seq: Seq,
    ) -> Result<Option<Received>, EngineError> {
        self.store.transaction(|tx| {
            let Some(mut row) = load::<MailboxRow>(tx, Table::Mailboxes, mailbox.as_bytes())?
            else {
                return Ok(None);
            };
            scope(&mut row, incarnation);
            row.floor = row.floor.max(seq.get());
            save(tx, Table::Mailboxes, mailbox.as_bytes(), &row)?;
            Ok(Some(Received {
                acknowledgement: acknowledgement(mailbox, incarnation, row.floor),
                message: false,
                parked: false,
                typing: None,
            }))
        })
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    pub(super) fn inbox(&mut self, now: UnixMillis) -> (&mut S, Inbox<'_, R>) {
        let inbox = Inbox {
            me: &self.me,
            name: &self.name,
            relay: &self.relay,
            rng: &mut self.rng,
            today: day(now),
            now,
        };
        (&mut self.store, inbox)
    }
}

/// Positions count within one incarnation of the relay.
fn scope(row: &mut MailboxRow, incarnation: Incarnation) {
    if row.incarnation != Some(*incarnation.as_bytes()) {
        row.incarnation = Some(*incarnation.as_bytes());
        row.floor = 0;
    }
}

const fn acknowledgement(
    mailbox: &MailboxId,
    incarnation: Incarnation,
    floor: u64,
) -> Acknowledgement {
    Acknowledgement { mailbox: *mailbox, incarnation, floor: Floor::new(floor) }
}

/// What opening needs beside the transaction.
pub(super) struct Inbox<'a, R> {
    me: &'a undertone_core::LocalDevice,
    name: &'a str,
    relay: &'a undertone_wire::RelayAddress,
    rng: &'a mut R,
    today: Day,
    now: UnixMillis,
}

impl<R: CryptoRng> Inbox<'_, R> {
    /// What follows from a content that opened.
    fn handle(
        &mut self,
        tx: &mut dyn Transaction,
        contact: ContactId,
        content: &[u8],
    ) -> Result<Effect, EngineError> {
        let account = *self.me.account().as_bytes();
        let mut here = Here { rng: self.rng, now: self.now, account };
        handle(tx, &mut here, contact, content)
    }

    fn open(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        row: &MailboxRow,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        // In a first-contact mailbox the hello key is tried first.
        if let Purpose::Link(number) = row.purpose {
            match self.open_greeting(tx, mailbox, number, envelope)? {
                Outcome::Foreign => {}
                outcome => return Ok(outcome),
            }
        }
        self.try_sessions(tx, mailbox, row, envelope)
    }
}
