//! Envelopes in sessions that exist: which are tried, and what follows when one opens or does not.

use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{Day, OpenError, Session};
use undertone_wire::MailboxId;
use zeroize::Zeroizing;

use super::super::EngineError;
use super::super::attempt::attempt;
use super::super::contacts::{all_contacts, load_contact, save_contact};
use super::super::handle::Effect;
use super::super::healing::suspect;
use super::super::links::load_link;
use super::super::replaced;
use super::super::rows::{
    HealingRow, MailboxRow, Purpose, Secret, SessionRow, corrupt, load, save,
};
use super::super::unopened;
use super::{Inbox, Outcome};
use crate::event::ResetCause;
use crate::ids::ContactId;
use crate::store::{Table, Transaction};

/// Sessions that are loaded for an envelope as it arrives; what is behind them is tried once a day
/// (`Engine::expire`), so that nothing is lost for it. A session has at most ten header keys and at
/// least one; the bound on the trials themselves is [`MAX_HEADER_TRIALS`].
const MAX_SESSIONS_TRIED: usize = 32;

impl<R: CryptoRng> Inbox<'_, R> {
    /// Tries the sessions that write into this mailbox.
    pub(super) fn try_sessions(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        row: &MailboxRow,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        let mut trials = MAX_HEADER_TRIALS;
        for session in candidates(tx, row)?.into_iter().take(MAX_SESSIONS_TRIED) {
            let opening =
                |tx: &mut dyn Transaction| self.open_in(tx, &session, envelope, &mut trials);
            // One that can't be read, or can't take it up, does not keep it from the right one.
            match attempt(tx, opening)?.unwrap_or(Outcome::Foreign) {
                Outcome::Foreign | Outcome::Later => {}
                Outcome::Opened(message) => {
                    if let Purpose::Contact(contact) = row.purpose {
                        has_moved(tx, ContactId::new(contact), mailbox)?;
                    }
                    self.retry_parked(tx, mailbox, &session)?;
                    return Ok(Outcome::Opened(message));
                }
                Outcome::Dropped => return Ok(Outcome::Dropped),
            }
        }
        Ok(Outcome::Foreign)
    }

    /// Opens in one session, if it is for it and its header keys are within the `trials` left.
    pub(super) fn open_in(
        &mut self,
        tx: &mut dyn Transaction,
        id: &[u8; 32],
        envelope: &[u8],
        trials: &mut usize,
    ) -> Result<Outcome, EngineError> {
        if *trials == 0 {
            return Ok(Outcome::Foreign);
        }
        // Gone with its device, by what was opened just before.
        let Some(mut row) = load::<SessionRow>(tx, Table::Sessions, id)? else {
            return Ok(Outcome::Foreign);
        };
        let contact = ContactId::new(row.contact);
        let mut session =
            Session::from_bytes(row.state.bytes()).map_err(|_| corrupt("a session's state"))?;
        match trials.checked_sub(session.header_keys()) {
            Some(left) => *trials = left,
            None => {
                *trials = 0;
                return Ok(Outcome::Foreign);
            }
        }
        let pending = match session.open(envelope, self.today) {
            Ok(pending) => pending,
            Err(error) => return refused(tx, contact, id, error, self.today),
        };
        let content = Zeroizing::new(pending.content().to_vec());
        pending.commit(|state| {
            row.state = Secret::new(&state.to_bytes());
            save(tx, Table::Sessions, id, &row)
        })?;
        if session.epoch() > row.epochs {
            row.epochs = session.epoch();
            row.healed_at = self.now.get();
            save(tx, Table::Sessions, id, &row)?;
        }
        peer_has(tx, contact, id)?;
        if !replaced::heard(tx, self.rng, contact, id, &content, self.now)? {
            return Ok(Outcome::Opened(Effect::default()));
        }
        Ok(Outcome::Opened(self.handle(tx, contact, &content)?))
    }
}

/// All sessions that may write into this mailbox: a contact's into its own and into that of the reset
/// link that they hold; any into another link's, where contacts write until they have heard of their
/// own: those that have not used their own yet come first, the newest of them at the head. Nothing
/// is tried for a blocked contact.
pub(super) fn candidates(
    tx: &dyn Transaction,
    row: &MailboxRow,
) -> Result<Vec<[u8; 32]>, EngineError> {
    let holder = match row.purpose {
        Purpose::Contact(contact) => Some(contact),
        Purpose::Link(number) => load_link(tx, number)?.contact,
        Purpose::Adding => return Ok(Vec::new()),
    };
    let mut contacts = match holder {
        Some(contact) => match load_contact(tx, ContactId::new(contact)) {
            Ok(contact) => vec![contact],
            Err(EngineError::UnknownContact) => Vec::new(),
            Err(error) => return Err(error),
        },
        None => {
            let mut all: Vec<_> = all_contacts(tx)?.into_iter().map(|(_, row)| row).collect();
            all.reverse();
            all.sort_by_key(|row| row.moved);
            all
        }
    };
    // R-1310
    contacts.retain(|contact| !contact.blocked);
    let devices = contacts.iter().flat_map(|contact| &contact.devices);
    let sessions = devices.flat_map(|device| device.sessions.iter().rev());
    Ok(sessions.map(|session| session.id).collect())
}

/// Notes that a contact writes into their own mailbox.
pub(super) fn has_moved(
    tx: &mut dyn Transaction,
    contact: ContactId,
    mailbox: &MailboxId,
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    if !row.moved && row.mailbox == *mailbox.as_bytes() {
        row.moved = true;
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}

/// A session did not open an envelope.
fn refused(
    tx: &mut dyn Transaction,
    contact: ContactId,
    session: &[u8; 32],
    error: OpenError,
    today: Day,
) -> Result<Outcome, EngineError> {
    let cause = match error {
        OpenError::NotForThisSession => return Ok(Outcome::Foreign),
        OpenError::PeerRolledBack(_) => ResetCause::PeerRolledBack,
        OpenError::GapTooLarge => ResetCause::GapTooLarge,
        // Somebody altered it; or this store is an old copy, and has begun a chain again.
        OpenError::BodyAltered => {
            unopened::note(tx, contact, today.get())?;
            return Ok(Outcome::Dropped);
        }
        // A repeat, or nonsense that the peer itself has sealed: it never becomes more.
        _ => return Ok(Outcome::Dropped),
    };
    suspect(tx, contact, session, cause)?;
    Ok(Outcome::Foreign)
}

/// Notes that the other side has this session, and uses it: it wrote to us in it.
fn peer_has(
    tx: &mut dyn Transaction,
    contact: ContactId,
    id: &[u8; 32],
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    let mut changed = false;
    for device in &mut row.devices {
        let Some(session) = device.sessions.iter_mut().find(|session| session.id == *id) else {
            continue;
        };
        changed = !session.peer_has || device.spoken != Some(*id);
        session.peer_has = true;
        device.spoken = Some(*id);
    }
    // The answer to a reset.
    let current = row.sessions().any(|session| session.id == *id && session.retired.is_none());
    if current && matches!(row.healing, HealingRow::Started { .. }) {
        row.healing = HealingRow::Sound;
        changed = true;
    }
    if changed {
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}
