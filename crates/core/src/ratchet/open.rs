//! One message in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::bounds::MAX_SKIP;
use crate::codec::Reader;
use crate::day::Day;
use crate::envelope::{Bucket, LENGTH_PREFIX, Preamble};
use crate::primitives::aead::{self, NONCE, TAG, ZERO_NONCE};
use crate::primitives::dh::{DhPublic, LowOrder};

use super::body;
use super::error::{OpenError, RollbackSign};
use super::header::{Header, SEALED_HEADER, SealedHeader};
use super::keys::{ReceivingMessageKey, Step};
use super::old::{Ended, constants};
use super::pq::Phase;
use super::recent::{Position, Seen};
use super::seal::associated;
use super::session::{Inner, Session};
use super::skipped::{Place, lives};
use super::state::StateView;

/// An opened message that must be stored before it counts.
///
/// Dropped, it leaves the session as it was.
#[must_use = "nothing is received until this is committed"]
pub struct PendingOpen<'s> {
    inner: &'s mut Inner,
    body: Zeroizing<Vec<u8>>,
    content_len: usize,
}

/// What an opened message changes beside the candidates.
pub(crate) struct Delta {
    /// The core has a candidate.
    pub(crate) core: bool,
    /// So has the post-quantum ratchet.
    pub(crate) pq: bool,
    /// The skipped key that was used.
    pub(crate) taken: Option<Place>,
    /// Keys that are skipped by this message.
    pub(crate) added: Vec<(Place, Box<ReceivingMessageKey>)>,
    /// The chain that ends with this message.
    pub(crate) ended: Option<Ended>,
    /// The position of this message.
    pub(crate) position: Option<Position>,
    /// When it was opened.
    pub(crate) today: Day,
}

/// Room for skipped keys that a session keeps from message to message: what is out of order
/// by a few takes no allocation for the list.
const SPARE: usize = 16;

impl Delta {
    /// Forgets what was prepared.
    pub(crate) fn clear(&mut self) {
        self.core = false;
        self.pq = false;
        self.taken = None;
        self.added.clear();
        // A large gap is rare, and its room would stay as long as the session.
        self.added.shrink_to(SPARE);
        self.ended = None;
        self.position = None;
    }

    pub(crate) fn new() -> Self {
        Self {
            core: false,
            pq: false,
            taken: None,
            added: Vec::new(),
            ended: None,
            position: None,
            today: Day::new(0),
        }
    }
}

/// Which header key opened.
enum Chain {
    Current,
    Next,
    /// Serial, constants agree, end.
    Old {
        serial: u32,
        agrees: bool,
        end: u32,
    },
}

/// An envelope, cut into its parts.
struct Parts<'a> {
    preamble: Preamble,
    bucket: Bucket,
    header: SealedHeader<'a>,
    body: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    fn of(envelope: &'a [u8]) -> Result<Self, OpenError> {
        let (preamble, bucket) = Preamble::of_part(envelope.len()).ok_or(OpenError::Size)?;
        let mut reader = Reader::new(envelope);
        let nonce: &[u8; NONCE] = reader.array()?;
        let bytes: &[u8; SEALED_HEADER] = reader.array()?;
        let (body, tag) = reader.rest().split_last_chunk().ok_or(OpenError::Size)?;
        Ok(Self { preamble, bucket, header: SealedHeader { nonce, bytes }, body, tag })
    }
}

impl Session {
    /// Opens an envelope of this session, or the part of a first-contact
    /// envelope behind the handshake
    /// ([`Greeting::envelope`](crate::Greeting::envelope)).
    ///
    /// # Errors
    /// [`OpenError`]; the session is unchanged, to the byte.
    pub fn open(&mut self, envelope: &[u8], today: Day) -> Result<PendingOpen<'_>, OpenError> {
        let inner = &mut *self.inner;
        inner.forget_candidates();
        inner.delta.today = today;
        let mut pending = PendingOpen { inner, body: Zeroizing::new(Vec::new()), content_len: 0 };
        // On an error the drop of the pending value wipes the candidates.
        pending.read(&Parts::of(envelope)?)?;
        Ok(pending)
    }
}

impl PendingOpen<'_> {
    fn read(&mut self, parts: &Parts<'_>) -> Result<(), OpenError> {
        let inner = &mut *self.inner;
        let (chain, header) = inner.find_chain(&parts.header)?;
        let stepped = matches!(chain, Chain::Next);
        let key = match chain {
            Chain::Current => inner.of_current(&header, &parts.header),
            Chain::Next => inner.of_next(&header, &parts.header),
            Chain::Old { serial, agrees, end } => {
                inner.of_old(serial, agrees, end, &header, &parts.header)
            }
        }?;
        let key = key.into_opening(parts.header.nonce);
        let associated = associated(inner.id.as_bytes(), parts.header.bytes);
        self.body.reserve_exact(parts.body.len());
        self.body.extend_from_slice(parts.body);
        aead::open(key.expose(), &ZERO_NONCE, &associated, &mut self.body, parts.tag)
            .map_err(|_| OpenError::BodyAltered)?;
        let (len, run) = body::read(&self.body, parts.preamble, parts.bucket)?;
        self.content_len = len;

        let core = if inner.delta.core { inner.core.next() } else { inner.core.live() };
        // Pieces of another epoch than the next are late or from a copy that
        // was rolled back: they are passed over.
        let run = run.filter(|run| Some(run.epoch) == core.epoch.checked_add(1));
        let (live, next) = inner.pq.split();
        let current = if inner.delta.pq { &*next } else { live };
        if current.is_changed_by(run.as_ref(), stepped) {
            if !inner.delta.pq {
                next.copy_from(live);
                inner.delta.pq = true;
            }
            next.receive(run.as_ref(), stepped, &mut inner.memo)?;
        }
        Ok(())
    }

    /// The message, to be looked at and, in [`commit`](Self::commit)'s
    /// transaction, stored. What is done with it before that may be done again
    /// after a crash, when the same envelope is opened anew.
    pub fn content(&self) -> &[u8] {
        self.body.get(LENGTH_PREFIX..LENGTH_PREFIX + self.content_len).unwrap_or_default()
    }

    /// Stores the new state (and what the caller makes of the content) in one
    /// transaction of the caller's; only then the message counts as received.
    ///
    /// # Errors
    /// Whatever `store` returns; the session is then unchanged. Where `store`
    /// can't tell whether its transaction reached the disk, load the session
    /// from the store again before it is used.
    pub fn commit<E>(
        mut self,
        store: impl FnOnce(&StateView<'_>) -> Result<(), E>,
    ) -> Result<Zeroizing<Vec<u8>>, E> {
        store(&StateView::opened(self.inner))?;
        self.inner.apply();
        let mut content = ::core::mem::take(&mut self.body);
        let end = LENGTH_PREFIX + self.content_len;
        content.copy_within(LENGTH_PREFIX..end, 0);
        content.truncate(self.content_len);
        Ok(content)
    }
}

impl Drop for PendingOpen<'_> {
    fn drop(&mut self) {
        // After a commit these are what the session has left behind.
        self.inner.forget_candidates();
    }
}

impl Inner {
    /// Tries the header keys: the current chain, the next, then the old ones.
    fn find_chain(&self, sealed: &SealedHeader<'_>) -> Result<(Chain, Header), OpenError> {
        let core = self.core.live();
        let current = core
            .receiving
            .exists()
            .then(|| sealed.open(&core.receiving.header, &self.id))
            .flatten();
        if let Some(header) = current {
            return Ok((Chain::Current, header?));
        }
        if let Some(header) = sealed.open(&core.next_receiving, &self.id) {
            return Ok((Chain::Next, header?));
        }
        for old in self.old.newest_first().filter(|old| old.facts.lives(self.delta.today)) {
            if let Some(header) = sealed.open(&old.header, &self.id) {
                let header = header?;
                let Ended { serial, end, .. } = old.facts;
                let agrees = constants(&header) == old.facts.constants;
                return Ok((Chain::Old { serial, agrees, end }, header));
            }
        }
        Err(OpenError::NotForThisSession)
    }

    fn of_current(
        &mut self,
        header: &Header,
        sealed: &SealedHeader<'_>,
    ) -> Result<ReceivingMessageKey, OpenError> {
        let (live, next) = self.core.split();
        if !live.is_current(header) {
            return Err(OpenError::PeerRolledBack(RollbackSign::ChainConstants));
        }
        let serial = live.receiving.serial;
        if header.number < live.receiving.next {
            return self.of_past((serial, header.number), sealed);
        }
        check_gap(live.receiving.next, header.number)?;
        next.copy_from(live);
        self.delta.core = true;
        self.delta.position = Some(Position::new(serial, header.number, sealed.tag()));
        reserve(&mut self.delta.added, live.receiving.next, header.number);
        let added = &mut self.delta.added;
        let skip = |number, key| added.push(((serial, number), key));
        Ok(next.receiving.advance_to(header.number, skip))
    }

    fn of_next(
        &mut self,
        header: &Header,
        sealed: &SealedHeader<'_>,
    ) -> Result<ReceivingMessageKey, OpenError> {
        let remote = DhPublic::from_bytes(&header.key).map_err(|_| OpenError::RatchetKey)?;
        let (live, next) = self.core.split();
        let receiving = &live.receiving;
        if receiving.exists() && live.remote == Some(remote) {
            return Err(OpenError::PeerRolledBack(RollbackSign::RepeatedKey));
        }
        if receiving.serial == u32::MAX {
            // No conversation steps that often; a damaged state may say it did.
            return Err(OpenError::NumberExhausted);
        }
        if header.previous < receiving.next || (!receiving.exists() && header.previous != 0) {
            return Err(OpenError::PeerRolledBack(RollbackSign::PreviousLength));
        }
        check_gap(receiving.next, header.previous)?;
        check_gap(0, header.number)?;
        let (pq, next_pq) = self.pq.split();
        let follow = pq.followable(live.epoch);
        let raised = follow.filter(|info| header.epoch == info.epoch && header.tag == info.tag());
        let same = header.epoch == live.epoch && header.tag == live.tag;
        if !same && raised.is_none() {
            return Err(OpenError::PeerRolledBack(RollbackSign::Epoch));
        }

        next.copy_from(live);
        self.delta.core = true;
        let ended = receiving.serial;
        reserve(&mut self.delta.added, receiving.next, header.previous);
        let added = &mut self.delta.added;
        if receiving.exists() {
            let skip = |number, key| added.push(((ended, number), key));
            next.receiving.close(header.previous, skip);
            self.delta.ended = Ended::of(live, header.previous, self.delta.today);
        }
        let step = match &raised {
            Some(info) => Step::Epoch { secret: &pq.shared, info },
            None => Step::Plain,
        };
        next.step_receiving(remote, header, &step).map_err(|LowOrder| OpenError::RatchetKey)?;
        if let Some(info) = raised {
            next.epoch = info.epoch;
            next.tag = header.tag;
            next.cursor = 0;
            next_pq.swap_roles(Phase::Idle);
            self.delta.pq = true;
        }
        let serial = next.receiving.serial;
        self.delta.position = Some(Position::new(serial, header.number, sealed.tag()));
        reserve(added, 0, header.number);
        let skip = |number, key| added.push(((serial, number), key));
        Ok(next.receiving.advance_to(header.number, skip))
    }

    fn of_old(
        &mut self,
        serial: u32,
        agrees: bool,
        end: u32,
        header: &Header,
        sealed: &SealedHeader<'_>,
    ) -> Result<ReceivingMessageKey, OpenError> {
        if !agrees {
            return Err(OpenError::PeerRolledBack(RollbackSign::ChainConstants));
        }
        if header.number >= end {
            return Err(OpenError::PeerRolledBack(RollbackSign::BeyondEnd));
        }
        self.of_past((serial, header.number), sealed)
    }

    /// A position that the chain has passed: its key was skipped, or used.
    fn of_past(
        &mut self,
        place: Place,
        sealed: &SealedHeader<'_>,
    ) -> Result<ReceivingMessageKey, OpenError> {
        let position = Position::new(place.0, place.1, sealed.tag());
        let waiting = self.skipped.get(&place);
        if let Some((key, _)) = waiting.filter(|(_, day)| lives(*day, self.delta.today)) {
            let key = ReceivingMessageKey::from_array(key.expose());
            self.delta.taken = Some(place);
            self.delta.position = Some(position);
            return Ok(key);
        }
        Err(match self.recent.look_up(&position) {
            Seen::Same => OpenError::Duplicate,
            Seen::Other => OpenError::PeerRolledBack(RollbackSign::Position),
            Seen::Unknown => OpenError::KeyGone,
        })
    }

    /// Makes what was prepared the session's state.
    fn apply(&mut self) {
        self.expire(self.delta.today);
        // The chain that ends is the live one, so before the candidate is.
        let ended = self.delta.ended.take();
        let header = &self.core.live().receiving.header;
        let forgotten = ended.and_then(|facts| self.old.push(facts, header));
        let delta = &mut self.delta;
        if delta.core {
            self.core.flip();
        }
        if delta.pq {
            self.pq.flip();
        }
        if let Some(place) = delta.taken.take() {
            self.skipped.remove(&place);
        }
        if let Some(serial) = forgotten {
            self.skipped.drop_chain(serial);
        }
        for (place, key) in delta.added.drain(..) {
            self.skipped.add(place, key, delta.today);
        }
        if let Some(position) = delta.position.take() {
            self.recent.add(position);
        }
        self.preamble = None;
    }
}

/// for the number that is never sent.
fn check_gap(next: u32, number: u32) -> Result<(), OpenError> {
    if number == u32::MAX {
        return Err(OpenError::NumberExhausted);
    }
    if number.saturating_sub(next) > MAX_SKIP { Err(OpenError::GapTooLarge) } else { Ok(()) }
}

/// Makes room once, so that no key is moved while the list grows.
fn reserve(added: &mut Vec<(Place, Box<ReceivingMessageKey>)>, next: u32, number: u32) {
    let missing = usize::try_from(number.saturating_sub(next)).unwrap_or(0);
    added.reserve(missing);
}
