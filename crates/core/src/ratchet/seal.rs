//! One message out.

use alloc::vec::Vec;

use rand_core::CryptoRng;

use crate::bounds::MAX_CONTENT;
use crate::primitives::aead::{self, NONCE, TAG, ZERO_NONCE};

use super::body;
use super::error::SealError;
use super::header::{self, SEALED_HEADER};
use super::keys::Step;
use super::pq::Phase;
use super::session::{Inner, Session};
use super::state::StateView;

/// A sealed message that must be stored before it may be sent.
///
/// The envelope is released by [`commit`](Self::commit) alone. Dropped, it
/// leaves the session as it was.
#[must_use = "nothing is sealed until this is committed"]
pub struct PendingSeal<'s> {
    inner: &'s mut Inner,
    envelope: Vec<u8>,
    pq_changed: bool,
}

impl Session {
    /// Seals `content` in the smallest bucket that holds it and
    /// [`PIECE_SLACK`](crate::bounds::PIECE_SLACK) bytes.
    ///
    /// `rng` must be the system's generator: it makes the ratchet keys, and
    /// the nonces that keep two copies of one state from sharing a key.
    ///
    /// # Errors
    /// [`SealError`]; the session is unchanged.
    pub fn seal(
        &mut self,
        content: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<PendingSeal<'_>, SealError> {
        if content.len() > MAX_CONTENT {
            return Err(SealError::ContentTooLong);
        }
        let inner = &mut *self.inner;
        inner.forget_candidates();
        let pq_changed = match inner.prepare_sending(rng) {
            Ok(changed) => changed,
            Err(error) => {
                inner.forget_candidates();
                return Err(error);
            }
        };
        // From here on a candidate exists; dropping the pending value wipes it.
        let mut pending = PendingSeal { inner, envelope: Vec::new(), pq_changed };
        pending.write(content, rng)?;
        Ok(pending)
    }
}

impl Inner {
    /// The candidate's half-step, if one is due, and the work of the
    /// post-quantum ratchet. Returns whether that has a candidate too.
    fn prepare_sending(&mut self, rng: &mut impl CryptoRng) -> Result<bool, SealError> {
        let (live, next) = self.core.split();
        next.copy_from(live);
        let (pq, next_pq) = self.pq.split();
        let mut changed = false;
        if live.sending_due {
            if let Some(info) = pq.raisable(live.epoch) {
                next.step_sending(&Step::Epoch { secret: &pq.shared, info: &info }, rng)?;
                next.epoch = info.epoch;
                next.tag = info.tag();
                next.cursor = 0;
                next_pq.swap_roles(Phase::Waiting { incoming: None });
                changed = true;
            } else {
                next.step_sending(&Step::Plain, rng)?;
            }
        } else if next.remote.is_none() {
            return Err(SealError::NothingReceived);
        }
        if !changed && pq.has_work(live.epoch) {
            next_pq.copy_from(pq);
            next_pq.work(&mut self.memo, rng);
            next.cursor = 0;
            changed = true;
        }
        Ok(changed)
    }

    /// Wipes whatever was prepared and not committed: at the start of every
    /// message too, since a pending value can be leaked instead of dropped.
    pub(crate) fn forget_candidates(&mut self) {
        self.core.split().1.wipe();
        self.pq.split().1.wipe();
        self.delta.clear();
        self.memo.keep_only(self.pq.live().offered());
    }
}

impl PendingSeal<'_> {
    fn write(&mut self, content: &[u8], rng: &mut impl CryptoRng) -> Result<(), SealError> {
        let inner = &mut *self.inner;
        let bucket = inner.preamble_kind().bucket_for(content.len());
        let bucket = bucket.ok_or(SealError::ContentTooLong)?;
        let pq = if self.pq_changed { inner.pq.next() } else { inner.pq.live() };
        let (_, core) = inner.core.split();
        let header = core.header().to_bytes();
        let key = core.sending.advance()?;

        self.envelope.reserve_exact(bucket.len());
        self.envelope.extend_from_slice(inner.preamble.as_deref().unwrap_or_default());
        let start = self.envelope.len();
        self.envelope.resize(bucket.len(), 0);
        let part = self.envelope.get_mut(start..).unwrap_or_default();
        // The bucket was chosen so that all of this fits; nothing goes out
        // unencrypted if that were ever wrong.
        let too_long = SealError::ContentTooLong;
        let (nonce, part) = part.split_first_chunk_mut::<NONCE>().ok_or(too_long)?;
        let (sealed, part) = part.split_first_chunk_mut::<SEALED_HEADER>().ok_or(too_long)?;
        let (plain, tag) = part.split_last_chunk_mut::<TAG>().ok_or(too_long)?;

        let pieces = pq.outgoing(core.epoch, &mut inner.memo);
        let placed = pieces.as_ref().map(|pieces| (pieces, pieces.first(core.cursor, rng)));
        let count = body::write(plain, content, placed).ok_or(too_long)?;
        if let Some(pieces) = &pieces {
            core.cursor = pieces.advance(core.cursor, count);
        }
        let mut random = [0; NONCE];
        rng.fill_bytes(&mut random);
        let (drawn, key) = key.into_sealing(&random, &header, plain);
        *nonce = drawn;
        *sealed = header::seal(&header, &core.sending.header, &inner.id, nonce);
        let associated = associated(inner.id.as_bytes(), sealed);
        *tag = aead::seal(key.expose(), &ZERO_NONCE, &associated, plain);
        Ok(())
    }

    /// Bytes of the envelope: a bucket's size.
    pub fn envelope_len(&self) -> usize {
        self.envelope.len()
    }

    /// Stores the new state and the envelope in one transaction of the
    /// caller's, and only then releases the envelope.
    ///
    /// # Errors
    /// Whatever `store` returns; the session is then unchanged. Where `store`
    /// can't tell whether its transaction reached the disk, load the session
    /// from the store again before it is used.
    pub fn commit<E>(
        mut self,
        store: impl FnOnce(&StateView<'_>, &[u8]) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        store(&StateView::sealed(self.inner, self.pq_changed), &self.envelope)?;
        self.inner.core.flip();
        if self.pq_changed {
            self.inner.pq.flip();
        }
        Ok(::core::mem::take(&mut self.envelope))
    }
}

impl Drop for PendingSeal<'_> {
    fn drop(&mut self) {
        // After a commit this is what the session has left behind.
        self.inner.forget_candidates();
    }
}

/// Bytes of a body's associated data.
pub(crate) const ASSOCIATED: usize = 32 + SEALED_HEADER;

/// `session id ‖ sealed header`.
pub(crate) fn associated(id: &[u8; 32], header: &[u8; SEALED_HEADER]) -> [u8; ASSOCIATED] {
    let mut data = [0; ASSOCIATED];
    let (head, tail) = data.split_at_mut(32);
    head.copy_from_slice(id);
    tail.copy_from_slice(header);
    data
}
