//! Day keys: all that a day's queue file holds is unintelligible without that day's key.
//!
//! From a day key (32 random bytes) come, as `HMAC-SHA-256(day key, label)`, three keys:
//!
//! - `tag`: a mailbox is named in the file by the first 16 bytes of `HMAC(tag key, mailbox id)`;
//! - `mark`: an envelope's 16-byte hash is stored as
//!   `(hash ‖ SHA-256(hash)[..8]) XOR HMAC(mark key, mailbox id ‖ position)[..24]`, so that repeats are
//!   recognised, the file alone tells nothing, and a mark that was damaged is noticed;
//! - `seal`: an envelope is stored as `nonce (12) ‖ AES-256-GCM(seal key, nonce, envelope)` with
//!   `"undertone relay envelope" ‖ mailbox id ‖ position (8) ‖ day (4)` as associated data.

use core::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use undertone_wire::{Day, EnvelopeHash, MailboxId};

use crate::store::{StoreFailure, random};

/// Names a mailbox in one day's file.
pub(super) type Tag = [u8; 16];

/// An envelope's hash and 8 bytes to check it by, under the day's key.
pub(super) type Mark = [u8; 24];

const SEAL_LABEL: &[u8] = b"undertone relay envelope";

/// The keys of one day.
pub(super) struct DayKeys {
    day: Day,
    tag: hmac::Key,
    mark: hmac::Key,
    seal: LessSafeKey,
}

impl fmt::Debug for DayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DayKeys({:?}, ..)", self.day)
    }
}

impl DayKeys {
    pub(super) fn new(day: Day, key: &[u8; 32]) -> Result<Self, StoreFailure> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derive = |label: &[u8]| hmac::sign(&master, label);
        let hmac_key = |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, derive(label).as_ref());
        let seal = UnboundKey::new(&AES_256_GCM, derive(b"undertone relay seal").as_ref())
            .map_err(|_| StoreFailure::Damaged("a day key"))?;
        Ok(Self {
            day,
            tag: hmac_key(b"undertone relay tag"),
            mark: hmac_key(b"undertone relay mark"),
            seal: LessSafeKey::new(seal),
        })
    }

    pub(super) fn tag(&self, mailbox: MailboxId) -> Tag {
        first_16(&hmac::sign(&self.tag, mailbox.as_bytes()))
    }

    fn masked(&self, mailbox: MailboxId, position: u64, value: Mark) -> Mark {
        let input = [mailbox.as_bytes().as_slice(), &position.to_be_bytes()].concat();
        // An HMAC-SHA-256 has 32 bytes.
        let mask = hmac::sign(&self.mark, &input);
        let mut masked: Mark = mask.as_ref().first_chunk().copied().unwrap_or_default();
        for (byte, with) in masked.iter_mut().zip(value) {
            *byte ^= with;
        }
        masked
    }

    /// How the file holds an envelope's hash.
    pub(super) fn mark(&self, mailbox: MailboxId, position: u64, hash: EnvelopeHash) -> Mark {
        self.masked(mailbox, position, checked(*hash.as_bytes()))
    }

    /// The hash in a mark; `None` if it is not what was written for this place.
    pub(super) fn unmark(
        &self,
        mailbox: MailboxId,
        position: u64,
        mark: Mark,
    ) -> Option<EnvelopeHash> {
        let value = self.masked(mailbox, position, mark);
        let hash = value.first_chunk().copied()?;
        (checked(hash) == value).then_some(EnvelopeHash::from_bytes(hash))
    }

    fn associated(&self, mailbox: MailboxId, position: u64) -> Vec<u8> {
        [SEAL_LABEL, mailbox.as_bytes(), &position.to_be_bytes(), &self.day.get().to_be_bytes()]
            .concat()
    }

    pub(super) fn seal(
        &self,
        mailbox: MailboxId,
        position: u64,
        envelope: &[u8],
    ) -> Result<Vec<u8>, StoreFailure> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(envelope.len().saturating_add(OVERHEAD));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(envelope);
        let body = sealed.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag = self
            .seal
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated(mailbox, position)),
                body,
            )
            .map_err(|_| StoreFailure::Random)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// `None` if what is stored is not what was sealed for this place.
    pub(super) fn open(&self, mailbox: MailboxId, position: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let opened = self
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated(mailbox, position)),
                &mut body,
            )
            .ok()?
            .len();
        body.truncate(opened);
        Some(body)
    }
}

/// Bytes that sealing adds: nonce and tag.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

fn first_16(tag: &hmac::Tag) -> [u8; 16] {
    // An HMAC-SHA-256 has 32 bytes.
    tag.as_ref().first_chunk::<16>().copied().unwrap_or_default()
}

/// A hash and what it is checked by.
fn checked(hash: [u8; 16]) -> Mark {
    let check = digest(&SHA256, &hash);
    let mut value = [0; 24];
    for (to, from) in value.iter_mut().zip(hash.iter().chain(check.as_ref())) {
        *to = *from;
    }
    value
}
