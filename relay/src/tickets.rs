//! Subscription tickets: what the relay seals for itself and has its clients keep.
//!
//! A ticket says which mailboxes a client proved to own, with which session key it will come back,
//! and until when. The relay keeps nothing of it but the key of the day that sealed it:
//!
//! ```text
//! ticket  = day of the key (4, big-endian) ‖ nonce (12) ‖ AES-256-GCM(key of the day, nonce, content)
//! content = version (1) ‖ expiry, Unix seconds (8, big-endian) ‖ session key (32) ‖ mailbox ids (32 each)
//! ```
//!
//! with `"undertone relay ticket" ‖ incarnation (16) ‖ day (4)` as associated data. The file
//! `tickets.key` holds the keys of two days, `day (4) ‖ key (32)` each, the newest first. It is worth
//! nothing to anybody else and need not be backed up: without it clients sign with their read keys.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use undertone_wire::limits::{MAX_MAILBOXES_PER_TICKET, TICKET_SECONDS};
use undertone_wire::{Day, ErrorCode, Incarnation, MailboxId, SessionKey};

use crate::operator::{read_if_there, write_private};
use crate::store::{StoreFailure, random};

const LABEL: &[u8] = b"undertone relay ticket";
const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const DAY_LEN: usize = 4;
const ID_LEN: usize = 32;

/// Days whose keys are kept: a ticket that was issued at the end of one day is good through the next.
const KEPT: usize = 2;

/// What a ticket says, once it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Signs for coming back.
    pub session: SessionKey,
    /// In the order in which they were asked for.
    pub mailboxes: Vec<MailboxId>,
}

/// Issues and opens tickets.
pub struct Tickets {
    path: PathBuf,
    incarnation: Incarnation,
    keys: RwLock<Vec<DayKey>>,
}

struct DayKey {
    day: Day,
    bytes: [u8; KEY_LEN],
    key: LessSafeKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, incarnation, keys: _ } = self;
        write!(f, "Tickets({}, {incarnation}, ..)", path.display())
    }
}

impl DayKey {
    fn new(day: Day, bytes: [u8; KEY_LEN]) -> Result<Self, StoreFailure> {
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| StoreFailure::Damaged("tickets.key"))?;
        Ok(Self { day, bytes, key: LessSafeKey::new(key) })
    }

    /// A fresh one.
    fn random(day: Day) -> Result<Self, StoreFailure> {
        Self::new(day, random()?)
    }
}

impl Tickets {
    /// Reads the keys, or makes them anew: that costs clients signatures and nothing else.
    ///
    /// # Errors
    /// [`StoreFailure`] if they can't be written.
    pub fn open(path: &Path, incarnation: Incarnation, today: Day) -> Result<Self, StoreFailure> {
        let keys = match read_if_there(path)?.map(|bytes| read_keys(&bytes)) {
            Some(Some(keys)) => keys,
            Some(None) => {
                tracing::warn!("tickets.key is damaged and is made anew; clients will sign again");
                Vec::new()
            }
            None => Vec::new(),
        };
        let tickets = Self { path: path.to_owned(), incarnation, keys: RwLock::new(keys) };
        tickets.rotate(today)?;
        Ok(tickets)
    }

    /// Makes a key for the day, if there is none, and forgets those of the days before yesterday.
    ///
    /// # Errors
    /// [`StoreFailure`] if it can't be written; then the old keys are used on.
    pub fn rotate(&self, today: Day) -> Result<(), StoreFailure> {
        let newest = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.first().map(|key| key.day)
        };
        // A clock that was set back over midnight: the newest key serves on. One that was ahead for
        // longer must not keep a key for as long.
        if newest.is_some_and(|newest| newest >= today && newest <= today.plus(1)) {
            return Ok(());
        }
        let fresh = DayKey::random(today)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|key| key.day.plus(1) >= today && key.day <= today.plus(1));
        keys.insert(0, fresh);
        keys.truncate(KEPT);
        let mut bytes = Vec::new();
        for key in keys.iter() {
            bytes.extend_from_slice(&key.day.get().to_be_bytes());
            bytes.extend_from_slice(&key.bytes);
        }
        write_private(&self.path, &bytes)
    }

    /// Seals a ticket that is good for a day from `now`, in Unix seconds.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] if the system's random generator fails.
    pub fn issue(
        &self,
        now: u64,
        session: SessionKey,
        mailboxes: &[MailboxId],
    ) -> Result<Vec<u8>, ErrorCode> {
        let expiry = now.saturating_add(TICKET_SECONDS.into());
        let mut content = vec![VERSION];
        content.extend_from_slice(&expiry.to_be_bytes());
        content.extend_from_slice(session.as_bytes());
        for mailbox in mailboxes {
            content.extend_from_slice(mailbox.as_bytes());
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.first().ok_or(ErrorCode::Internal)?;
        let nonce: [u8; NONCE_LEN] = random().map_err(|_| ErrorCode::Internal)?;
        key.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated(key.day)),
                &mut content,
            )
            .map_err(|_| ErrorCode::Internal)?;
        Ok([&key.day.get().to_be_bytes(), nonce.as_slice(), &content].concat())
    }

    /// Opens a ticket.
    ///
    /// # Errors
    /// [`ErrorCode::TicketRefused`] if it is not one of this relay's, its key is gone, or it is not
    /// good at `now` (R-1117).
    pub fn open_ticket(&self, now: u64, ticket: &[u8]) -> Result<Opened, ErrorCode> {
        let (expiry, opened) = self.unseal(ticket).ok_or(ErrorCode::TicketRefused)?;
        // One that is good for longer than a day was issued by a clock that was wrong.
        let left = expiry.checked_sub(now).filter(|left| *left > 0);
        match left {
            Some(left) if left <= u64::from(TICKET_SECONDS) => Ok(opened),
            _ => Err(ErrorCode::TicketRefused),
        }
    }

    fn unseal(&self, ticket: &[u8]) -> Option<(u64, Opened)> {
        let (day, rest) = ticket.split_first_chunk::<DAY_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let day = Day::new(u32::from_be_bytes(*day));
        let mut content = sealed.to_vec();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.day == day)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let associated = Aad::from(self.associated(day));
        let content = key.key.open_in_place(nonce, associated, &mut content).ok()?;
        read_content(content)
    }

    fn associated(&self, day: Day) -> Vec<u8> {
        [LABEL, self.incarnation.as_bytes(), &day.get().to_be_bytes()].concat()
    }
}

/// The keys in the file, the newest first; `None` if it is not as this module writes it.
fn read_keys(bytes: &[u8]) -> Option<Vec<DayKey>> {
    let (entries, rest) = bytes.as_chunks::<{ DAY_LEN + KEY_LEN }>();
    if !rest.is_empty() || entries.is_empty() || entries.len() > KEPT {
        return None;
    }
    let mut keys: Vec<DayKey> = Vec::new();
    for entry in entries {
        let (day, key) = entry.split_first_chunk::<DAY_LEN>()?;
        let day = Day::new(u32::from_be_bytes(*day));
        if keys.last().is_some_and(|newer| newer.day <= day) {
            return None;
        }
        keys.push(DayKey::new(day, key.try_into().ok()?).ok()?);
    }
    Some(keys)
}

/// Reads what a ticket's seal protects: expiry, session key, mailboxes. Nobody else can have written
/// it, but an earlier version of this program may have.
#[must_use]
pub fn read_content(content: &[u8]) -> Option<(u64, Opened)> {
    let (version, rest) = content.split_first()?;
    let (expiry, rest) = rest.split_first_chunk::<8>()?;
    let (session, rest) = rest.split_first_chunk::<KEY_LEN>()?;
    let (ids, rest) = rest.as_chunks::<ID_LEN>();
    let fits = *version == VERSION && rest.is_empty() && ids.len() <= MAX_MAILBOXES_PER_TICKET;
    fits.then(|| {
        let session = SessionKey::from_bytes(*session);
        let mailboxes = ids.iter().map(|id| MailboxId::from_bytes(*id)).collect();
        (u64::from_be_bytes(*expiry), Opened { session, mailboxes })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const NOW: u64 = 20_000 * 86_400 + 3600;
    const DAY: u64 = 86_400;

    fn at(directory: &Path, incarnation: u8, now: u64) -> Tickets {
        let incarnation = Incarnation::from_bytes([incarnation; 16]);
        let path = directory.join("tickets.key");
        Tickets::open(&path, incarnation, Day::from_unix_seconds(now)).unwrap()
    }

    fn contents() -> (SessionKey, Vec<MailboxId>) {
        (SessionKey::from_bytes([5; 32]), (0..3).map(|i| MailboxId::from_bytes([i; 32])).collect())
    }

    #[test]
    fn a_ticket_is_good_for_a_day_and_through_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (session, mailboxes) = contents();
        let ticket = at(directory.path(), 1, NOW).issue(NOW, session, &mailboxes).unwrap();
        let later = at(directory.path(), 1, NOW + DAY - 1);
        let opened = Opened { session, mailboxes };
        assert_eq!(later.open_ticket(NOW + DAY - 1, &ticket), Ok(opened));
        assert_eq!(later.open_ticket(NOW + DAY, &ticket), Err(ErrorCode::TicketRefused));
        // Issued by a clock that was ahead.
        assert_eq!(later.open_ticket(NOW - 1, &ticket), Err(ErrorCode::TicketRefused));
    }

    #[test]
    fn its_key_goes_the_day_after_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let (session, mailboxes) = contents();
        let tickets = at(directory.path(), 1, NOW);
        let ticket = tickets.issue(NOW, session, &mailboxes).unwrap();
        tickets.rotate(Day::from_unix_seconds(NOW + DAY)).unwrap();
        assert!(tickets.unseal(&ticket).is_some());
        tickets.rotate(Day::from_unix_seconds(NOW + 2 * DAY)).unwrap();
        assert!(tickets.unseal(&ticket).is_none());
        let file = std::fs::read(directory.path().join("tickets.key")).unwrap();
        assert_eq!(file.len(), KEPT * (DAY_LEN + KEY_LEN));
    }

    #[test]
    fn any_change_another_incarnation_and_another_relay_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (session, mailboxes) = contents();
        let tickets = at(directory.path(), 1, NOW);
        let ticket = tickets.issue(NOW, session, &mailboxes).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.open_ticket(NOW, &changed), Err(ErrorCode::TicketRefused));
            assert_eq!(tickets.open_ticket(NOW, &ticket[..at]), Err(ErrorCode::TicketRefused));
        }
        assert!(at(directory.path(), 2, NOW).open_ticket(NOW, &ticket).is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(at(elsewhere.path(), 1, NOW).open_ticket(NOW, &ticket).is_err());
    }

    #[test]
    fn a_key_of_a_clock_that_was_far_ahead_does_not_serve_until_then() {
        let directory = tempfile::tempdir().unwrap();
        let tickets = at(directory.path(), 1, 2_000 * 86_400);
        let newest = || tickets.keys.read().unwrap().first().unwrap().day;
        tickets.rotate(Day::new(1_000)).unwrap();
        assert_eq!(newest(), Day::new(1_000));
        assert_eq!(tickets.keys.read().unwrap().len(), 1);
        // Over midnight and back is no reason.
        tickets.rotate(Day::new(999)).unwrap();
        assert_eq!(newest(), Day::new(1_000));
    }

    #[test]
    fn a_damaged_key_file_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        drop(at(directory.path(), 1, NOW));
        let path = directory.path().join("tickets.key");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(0);
        std::fs::write(&path, &bytes).unwrap();
        drop(at(directory.path(), 1, NOW));
        assert_eq!(std::fs::read(&path).unwrap().len(), DAY_LEN + KEY_LEN);
    }
}
