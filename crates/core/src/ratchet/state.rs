//! The stored form of a session (`protocol-spec/10-state.md`).

use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::bounds::{MAX_OLD_CHAINS, MAX_SKIPPED_KEYS, PIECE_BLOCK, REMEMBERED_POSITIONS};
use crate::codec::Reader;
use crate::day::Day;
use crate::envelope::Preamble;
use crate::primitives::dh::DhPublic;

use super::core::{Core, Receiving, Sending};
use super::error::StateError;
use super::keys::{ReceivingHeaderKey, ReceivingMessageKey};
use super::old::Ended;
use super::open::Delta;
use super::pq::{Assembly, EpochTag, Phase, Pq, RemoteKey, answering, keyed};
use super::recent::Position;
use super::session::{Inner, Role, Session, SessionId};

/// The version of the layout.
const VERSION: u16 = 1;

/// Bytes of everything that a session without skipped keys and preamble can
/// have, rounded up: room made once, so that no secret is moved.
const USUAL: usize = 4096;

/// A state that is about to become the session's: what a transaction stores.
pub struct StateView<'a> {
    inner: &'a Inner,
    core: &'a Core,
    pq: &'a Pq,
    opened: Option<&'a Delta>,
    /// Without what may not be kept on this day.
    today: Option<Day>,
}

impl<'a> StateView<'a> {
    pub(crate) fn live(inner: &'a Inner) -> Self {
        Self { inner, core: inner.core.live(), pq: inner.pq.live(), opened: None, today: None }
    }

    pub(crate) fn sealed(inner: &'a Inner, pq_changed: bool) -> Self {
        let pq = if pq_changed { inner.pq.next() } else { inner.pq.live() };
        Self { inner, core: inner.core.next(), pq, opened: None, today: None }
    }

    /// The live state without what has expired on the delta's day.
    pub(crate) fn expired(inner: &'a Inner) -> Self {
        Self { today: Some(inner.delta.today), ..Self::live(inner) }
    }

    pub(crate) fn opened(inner: &'a Inner) -> Self {
        let delta = &inner.delta;
        Self {
            inner,
            core: if delta.core { inner.core.next() } else { inner.core.live() },
            pq: if delta.pq { inner.pq.next() } else { inner.pq.live() },
            opened: Some(delta),
            today: Some(delta.today),
        }
    }

    /// The stored form: secret, and to be written with whatever the message
    /// brought in one transaction.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.capacity()));
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.push(match self.inner.role {
            Role::Initiator => 0,
            Role::Responder => 1,
        });
        out.extend_from_slice(self.inner.id.as_bytes());
        self.put_preamble(&mut out);
        put_core(&mut out, self.core);
        put_pq(&mut out, self.pq);
        self.put_old(&mut out);
        self.put_recent(&mut out);
        self.put_skipped(&mut out);
        out
    }

    fn capacity(&self) -> usize {
        let added = self.opened.map_or(0, |delta| delta.added.len());
        let preamble = self.inner.preamble.as_ref().map_or(0, Vec::len);
        USUAL + preamble + (self.inner.skipped.len() + added) * SKIPPED
    }

    fn put_preamble(&self, out: &mut Vec<u8>) {
        let preamble = self.inner.preamble.as_deref().filter(|_| self.opened.is_none());
        let kind = if preamble.is_none() { Preamble::None } else { self.inner.preamble_kind() };
        out.push(match kind {
            Preamble::None => 0,
            Preamble::Short => 1,
            Preamble::Long => 2,
        });
        out.extend_from_slice(preamble.unwrap_or_default());
    }

    /// The chains that are kept, oldest first, before the bound is applied.
    fn old(&self) -> impl Iterator<Item = (Ended, &'a ReceivingHeaderKey)> + use<'a> {
        let today = self.today;
        let inner = self.inner;
        let ended = self.opened.and_then(|delta| delta.ended);
        let ended = ended.map(|facts| (facts, &inner.core.live().receiving.header));
        let all = inner.old.iter().map(|chain| (chain.facts, &chain.header));
        all.filter(move |(facts, _)| today.is_none_or(|today| facts.lives(today))).chain(ended)
    }

    /// The chain that the one that ends pushes out.
    fn forgotten(&self) -> Option<u32> {
        let over = self.old().count() > MAX_OLD_CHAINS;
        self.old().next().filter(|_| over).map(|(facts, _)| facts.serial)
    }

    fn put_old(&self, out: &mut Vec<u8>) {
        let over = self.old().count().saturating_sub(MAX_OLD_CHAINS);
        put_count(out, self.old().count() - over);
        for (Ended { serial, constants, end, day }, header) in self.old().skip(over) {
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(header.expose());
            out.extend_from_slice(&constants);
            out.extend_from_slice(&end.to_be_bytes());
            out.extend_from_slice(&day.get().to_be_bytes());
        }
    }

    fn put_recent(&self, out: &mut Vec<u8>) {
        let added = self.opened.and_then(|delta| delta.position.as_ref());
        let all = || self.inner.recent.iter().chain(added);
        let over = all().count().saturating_sub(REMEMBERED_POSITIONS);
        put_count(out, all().skip(over).count());
        for Position { serial, number, mark } in all().skip(over) {
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(mark);
        }
    }

    fn put_skipped(&self, out: &mut Vec<u8>) {
        let taken = self.opened.and_then(|delta| delta.taken);
        let forgotten = self.forgotten();
        let (added, today) =
            self.opened.map_or((&[][..], Day::new(0)), |delta| (&delta.added, delta.today));
        let lives = |day| self.today.is_none_or(|today| super::skipped::lives(day, today));
        let kept = || {
            self.inner.skipped.iter().filter(|(place, _, day)| {
                lives(*day) && Some(*place) != taken && Some(place.0) != forgotten
            })
        };
        let all = || kept().chain(added.iter().map(|(place, key)| (*place, &**key, today)));
        let total = if self.today.is_none() { self.inner.skipped.len() } else { all().count() };
        let over = total.saturating_sub(MAX_SKIPPED_KEYS);
        put_count(out, total - over);
        for ((serial, number), key, day) in all().skip(over) {
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&day.get().to_be_bytes());
            out.extend_from_slice(key.expose());
        }
    }
}

impl Session {
    /// The stored form of the session as it is: secret. At most 3,000 bytes
    /// without skipped keys once the session is confirmed and while the peer
    /// is in step; 3,723 at the very most.
    ///
    /// A session has one stored form that counts, the newest. Two sessions read
    /// from one form, or one read from an older form than the last that was
    /// committed, are two histories of one side: no key and nonce encrypts two
    /// contents even then, but the peer refuses what the second of them sends
    /// ("peer rolled back"), and what one has received the other can't tell
    /// from new. Keep these bytes where the session is, and out of backups
    /// (`protocol-spec/05-double-ratchet.md`, section 9).
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.view().to_bytes()
    }

    /// Reads the stored form: the newest that was committed, and once, since
    /// there is no other copy of a session than one made here
    /// ([`to_bytes`](Self::to_bytes)).
    ///
    /// # Errors
    /// R-1001 to R-1004.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let role = if reader.flag()? { Role::Responder } else { Role::Initiator };
        let id = SessionId::from_bytes(*reader.array()?);
        let mut inner = Inner::blank(id, role);
        inner.preamble = read_preamble(&mut reader)?;
        read_core(&mut reader, inner.core.live_mut())?;
        read_pq(&mut reader, inner.pq.live_mut())?;
        read_old(&mut reader, &mut inner)?;
        read_recent(&mut reader, &mut inner)?;
        read_skipped(&mut reader, &mut inner)?;
        reader.finish()?;
        if !serials_agree(&inner) {
            return Err(StateError::Unreadable);
        }
        Ok(Self { inner })
    }
}

/// Whether the chains' serial numbers fit together: old chains rise and lie before the current
/// one, and no key or position belongs to what has not been reached. A state that breaks this
/// would store two keys at one place some messages later.
fn serials_agree(inner: &Inner) -> bool {
    let Receiving { serial, next, .. } = inner.core.live().receiving;
    let reached =
        |at: u32, number: u32| at != 0 && (at < serial || (at == serial && number < next));
    let old: Vec<u32> = inner.old.iter().map(|chain| chain.facts.serial).collect();
    old.iter().all(|old| *old != 0 && *old < serial)
        && old.is_sorted_by(|one, next| one < next)
        && inner.skipped.iter().all(|((at, number), _, _)| reached(at, number))
        && inner.recent.iter().all(|position| reached(position.serial, position.number))
}

/// Bytes of a skipped key: serial 4, number 4, day 4, key 32.
const SKIPPED: usize = 44;

/// A count in two bytes; every count is bounded far below 65,536.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
}

fn read_count(reader: &mut Reader<'_>, bound: usize) -> Result<usize, StateError> {
    let count = usize::from(reader.u16()?);
    if count > bound { Err(StateError::Bound) } else { Ok(count) }
}

fn read_preamble(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, StateError> {
    let kind = match reader.u8()? {
        0 => return Ok(None),
        1 => Preamble::Short,
        2 => Preamble::Long,
        _ => return Err(StateError::Unreadable),
    };
    Ok(Some(reader.take(kind.len())?.to_vec()))
}

fn put_core(out: &mut Vec<u8>, core: &Core) {
    let Core {
        root,
        epoch,
        tag,
        own,
        remote,
        next_sending,
        next_receiving,
        sending_due,
        sending,
        receiving,
        cursor,
    } = core;
    out.extend_from_slice(root.expose());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(own.expose());
    out.push(u8::from(remote.is_some()));
    out.extend_from_slice(remote.as_ref().map_or(&[0; 32][..], |remote| remote.as_bytes()));
    out.extend_from_slice(next_sending.expose());
    out.extend_from_slice(next_receiving.expose());
    out.push(u8::from(*sending_due));
    let Sending { header, chain, public, previous, next } = sending;
    out.extend_from_slice(header.expose());
    out.extend_from_slice(chain.expose());
    out.extend_from_slice(public);
    out.extend_from_slice(&previous.to_be_bytes());
    out.extend_from_slice(&next.to_be_bytes());
    let Receiving { serial, header, chain, previous, next, epoch, tag } = receiving;
    out.extend_from_slice(&serial.to_be_bytes());
    out.extend_from_slice(header.expose());
    out.extend_from_slice(chain.expose());
    out.extend_from_slice(&previous.to_be_bytes());
    out.extend_from_slice(&next.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(tag.as_bytes());
    out.push(*cursor);
}

fn read_core(reader: &mut Reader<'_>, core: &mut Core) -> Result<(), StateError> {
    core.root.expose_mut().copy_from_slice(reader.take(32)?);
    core.epoch = reader.u32()?;
    core.tag = EpochTag::from_bytes(*reader.array()?);
    core.own.expose_mut().copy_from_slice(reader.take(32)?);
    let has_remote = reader.flag()?;
    let remote = DhPublic::from_bytes(reader.array()?).map_err(|_| StateError::Key)?;
    if !has_remote && *remote.as_bytes() != [0; 32] {
        return Err(StateError::Unreadable);
    }
    core.remote = has_remote.then_some(remote);
    core.next_sending.expose_mut().copy_from_slice(reader.take(32)?);
    core.next_receiving.expose_mut().copy_from_slice(reader.take(32)?);
    core.sending_due = reader.flag()?;
    let sending = &mut core.sending;
    sending.header.expose_mut().copy_from_slice(reader.take(32)?);
    sending.chain.expose_mut().copy_from_slice(reader.take(32)?);
    sending.public = *reader.array()?;
    sending.previous = reader.u32()?;
    sending.next = reader.u32()?;
    // Whoever knows the other's key has a sending chain or begins one with the next
    // message. Without either, that message would go out under keys of zeros.
    if has_remote && !core.sending_due && sending.public == [0; 32] {
        return Err(StateError::Unreadable);
    }
    let receiving = &mut core.receiving;
    receiving.serial = reader.u32()?;
    receiving.header.expose_mut().copy_from_slice(reader.take(32)?);
    receiving.chain.expose_mut().copy_from_slice(reader.take(32)?);
    receiving.previous = reader.u32()?;
    receiving.next = reader.u32()?;
    receiving.epoch = reader.u32()?;
    receiving.tag = EpochTag::from_bytes(*reader.array()?);
    core.cursor = reader.u8()?;
    Ok(())
}

fn put_pq(out: &mut Vec<u8>, pq: &Pq) {
    let Pq { phase, seed, shared } = pq;
    match phase {
        Phase::Idle => out.push(0),
        // The key itself is computed from the seed again when it goes out.
        Phase::Offering { key_hash, peer_has_key, incoming } => {
            out.push(1);
            out.extend_from_slice(seed.expose());
            out.extend_from_slice(key_hash);
            out.push(u8::from(*peer_has_key));
            put_assembly(out, incoming.as_ref());
        }
        Phase::Secret { key_hash, ciphertext_hash } => {
            out.push(2);
            out.extend_from_slice(shared.expose());
            out.extend_from_slice(key_hash);
            out.extend_from_slice(ciphertext_hash);
        }
        Phase::Waiting { incoming } => {
            out.push(3);
            put_assembly(out, incoming.as_ref());
        }
        Phase::Keyed(RemoteKey { bytes, hash: _ }) => {
            out.push(4);
            out.extend_from_slice(bytes);
        }
        Phase::Answering { ciphertext, key_hash, ciphertext_hash: _, incoming } => {
            out.push(5);
            out.extend_from_slice(shared.expose());
            out.extend_from_slice(key_hash);
            out.extend_from_slice(ciphertext);
            put_assembly(out, incoming.as_ref());
        }
    }
}

fn read_pq(reader: &mut Reader<'_>, pq: &mut Pq) -> Result<(), StateError> {
    pq.phase = match reader.u8()? {
        0 => Phase::Idle,
        1 => {
            pq.seed.expose_mut().copy_from_slice(reader.take(64)?);
            let key_hash = *reader.array()?;
            let peer_has_key = reader.flag()?;
            Phase::Offering { key_hash, peer_has_key, incoming: read_assembly(reader)? }
        }
        2 => {
            pq.shared.expose_mut().copy_from_slice(reader.take(32)?);
            Phase::Secret { key_hash: *reader.array()?, ciphertext_hash: *reader.array()? }
        }
        3 => Phase::Waiting { incoming: read_assembly(reader)? },
        4 => Phase::Keyed(keyed(reader.array()?).map_err(|_| StateError::Key)?),
        5 => {
            pq.shared.expose_mut().copy_from_slice(reader.take(32)?);
            let key_hash = *reader.array()?;
            let ciphertext = *reader.array()?;
            answering(ciphertext, key_hash, read_assembly(reader)?)
        }
        _ => return Err(StateError::Unreadable),
    };
    Ok(())
}

/// Flag 1, tag 8, bitmap 8, then the blocks that are here.
fn put_assembly<const SIZE: usize>(out: &mut Vec<u8>, assembly: Option<&Assembly<SIZE>>) {
    out.push(u8::from(assembly.is_some()));
    let Some(Assembly { tag, have, bytes }) = assembly else {
        return;
    };
    out.extend_from_slice(tag);
    out.extend_from_slice(&have.to_be_bytes());
    for (index, block) in bytes.chunks_exact(PIECE_BLOCK).enumerate() {
        if have & (1 << index) != 0 {
            out.extend_from_slice(block);
        }
    }
}

fn read_assembly<const SIZE: usize>(
    reader: &mut Reader<'_>,
) -> Result<Option<Assembly<SIZE>>, StateError> {
    if !reader.flag()? {
        return Ok(None);
    }
    let mut assembly = Assembly::new(*reader.array()?);
    assembly.have = reader.u64()?;
    // A whole object is never stored: it would have left the assembly.
    if assembly.have & !Assembly::<SIZE>::FULL != 0 || assembly.is_full() {
        return Err(StateError::Unreadable);
    }
    for (index, block) in assembly.bytes.chunks_exact_mut(PIECE_BLOCK).enumerate() {
        if assembly.have & (1 << index) != 0 {
            block.copy_from_slice(reader.take(PIECE_BLOCK)?);
        }
    }
    Ok(Some(assembly))
}

fn read_old(reader: &mut Reader<'_>, inner: &mut Inner) -> Result<(), StateError> {
    for _ in 0..read_count(reader, MAX_OLD_CHAINS)? {
        let serial = reader.u32()?;
        let header = ReceivingHeaderKey::from_array(reader.array()?);
        let constants = *reader.array()?;
        let (end, day) = (reader.u32()?, Day::new(reader.u32()?));
        inner.old.push(Ended { serial, constants, end, day }, &header);
    }
    Ok(())
}

fn read_recent(reader: &mut Reader<'_>, inner: &mut Inner) -> Result<(), StateError> {
    for _ in 0..read_count(reader, REMEMBERED_POSITIONS)? {
        inner.recent.add(Position {
            serial: reader.u32()?,
            number: reader.u32()?,
            mark: *reader.array()?,
        });
    }
    Ok(())
}

fn read_skipped(reader: &mut Reader<'_>, inner: &mut Inner) -> Result<(), StateError> {
    for _ in 0..read_count(reader, MAX_SKIPPED_KEYS)? {
        let place = (reader.u32()?, reader.u32()?);
        let day = Day::new(reader.u32()?);
        let bytes: &[u8; 32] = reader.array()?;
        let key = ReceivingMessageKey::boxed(|key| key.copy_from_slice(bytes));
        if inner.skipped.get(&place).is_some() {
            return Err(StateError::Unreadable);
        }
        inner.skipped.add(place, key, day);
    }
    Ok(())
}
