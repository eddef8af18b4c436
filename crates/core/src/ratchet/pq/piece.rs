//! Runs of pieces: how blocks of an object stand in a body.

use rand_core::CryptoRng;

use crate::bounds::PIECE_BLOCK;
use crate::codec::Reader;
use crate::primitives::kem::mlkem768;
use crate::ratchet::error::OpenError;

/// Bytes of an object's tag.
pub(crate) const TAG: usize = 8;
/// Bytes in front of a run's blocks: kind 1, epoch 4, first 1, count 1, tag 8.
pub(crate) const RUN_HEADER: usize = 1 + 4 + 1 + 1 + TAG;

/// What a run is a part of. Zero stands for no run: padding follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Ciphertext,
}

/// A run of blocks of one object. Block `first + i` wraps around its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) kind: Kind,
    pub(crate) epoch: u32,
    pub(crate) first: u8,
    pub(crate) tag: [u8; TAG],
    /// A multiple of 32 bytes, at least one block, at most the whole object.
    pub(crate) blocks: &'a [u8],
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Ciphertext => 2,
        }
    }

    /// Blocks of the whole object: 37 or 34.
    pub(crate) const fn blocks(self) -> u8 {
        match self {
            Self::Key => 37,
            Self::Ciphertext => 34,
        }
    }
}

const _: () = assert!(mlkem768::KEY == 37 * PIECE_BLOCK);
const _: () = assert!(mlkem768::CIPHERTEXT == 34 * PIECE_BLOCK);

/// Reads what stands behind the content: a run, if there is one, and the
/// padding behind it.
///
/// # Errors
/// R-601 for a kind that is not defined, a first block or a count that the
/// object has not, and blocks beyond the body.
pub(crate) fn read(room: &[u8]) -> Result<(Option<Run<'_>>, &[u8]), OpenError> {
    let Some((kind, _)) = room.split_first() else {
        return Ok((None, room));
    };
    let kind = match kind {
        0 => return Ok((None, room)),
        1 => Kind::Key,
        2 => Kind::Ciphertext,
        _ => return Err(OpenError::Piece),
    };
    read_run(kind, room).map_err(|_| OpenError::Piece)
}

fn read_run(kind: Kind, room: &[u8]) -> Result<(Option<Run<'_>>, &[u8]), crate::codec::Unreadable> {
    let mut reader = Reader::new(room);
    let _kind = reader.u8()?;
    let epoch = reader.u32()?;
    let first = reader.u8()?;
    let count = reader.u8()?;
    let tag = *reader.array()?;
    if first >= kind.blocks() || count == 0 || count > kind.blocks() {
        return Err(crate::codec::Unreadable);
    }
    let blocks = reader.take(usize::from(count) * PIECE_BLOCK)?;
    Ok((Some(Run { kind, epoch, first, tag, blocks }), reader.rest()))
}

/// What is to be sent: an object, and from where.
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: Kind,
    pub(crate) epoch: u32,
    pub(crate) tag: [u8; TAG],
    pub(crate) object: &'a [u8],
}

impl Outgoing<'_> {
    /// The block with which the next run begins. An object goes out in order
    /// once; from then on each run begins anywhere, so that whoever counts
    /// envelopes can't keep one block away by dropping few of them.
    pub(crate) fn first(&self, cursor: u8, rng: &mut impl CryptoRng) -> u8 {
        let total = self.kind.blocks();
        if cursor < total {
            return cursor;
        }
        let mut draw = [0; 2];
        rng.fill_bytes(&mut draw);
        let [low, ..] = (u16::from_be_bytes(draw) % u16::from(total)).to_le_bytes();
        low
    }

    /// The cursor behind a run of `count` blocks: how many of the object's
    /// blocks have gone out in order.
    pub(crate) fn advance(&self, cursor: u8, count: u8) -> u8 {
        cursor.saturating_add(count).min(self.kind.blocks())
    }

    /// Writes as many blocks as `room` holds, from block `first`, and returns
    /// how many. Leaves `room` alone where none fits.
    pub(crate) fn write(&self, first: u8, room: &mut [u8]) -> u8 {
        let total = self.kind.blocks();
        let fit = room.len().saturating_sub(RUN_HEADER) / PIECE_BLOCK;
        let count = u8::try_from(fit).unwrap_or(u8::MAX).min(total);
        let Some((run, body)) = room.split_first_chunk_mut::<RUN_HEADER>() else {
            return 0;
        };
        if count == 0 {
            return 0;
        }
        let [e0, e1, e2, e3] = self.epoch.to_be_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = self.tag;
        *run = [self.kind.byte(), e0, e1, e2, e3, first, count, t0, t1, t2, t3, t4, t5, t6, t7];
        // From `first` to the object's end, then on from its beginning.
        let start = usize::from(first) * PIECE_BLOCK;
        let (before, after) = self.object.split_at_checked(start).unwrap_or_default();
        let wanted = usize::from(count) * PIECE_BLOCK;
        let (head, tail) = body.split_at_mut(wanted.min(after.len()));
        copy_prefix(head, after);
        copy_prefix(tail.get_mut(..wanted - head.len()).unwrap_or_default(), before);
        count
    }
}

/// Fills `to` with the beginning of `from`.
fn copy_prefix(to: &mut [u8], from: &[u8]) {
    if let Some(from) = from.get(..to.len()) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::testing::TestRng;

    #[test]
    fn runs_wrap_around_and_read_back() {
        let object: alloc::vec::Vec<u8> = (0..37u8).flat_map(|block| [block; 32]).collect();
        let out = Outgoing { kind: Kind::Key, epoch: 3, tag: [9; TAG], object: &object };
        let mut room = [0; RUN_HEADER + 3 * 32 + 31];
        assert_eq!(out.write(36, &mut room), 3);
        let (run, padding) = read(&room).unwrap();
        let run = run.unwrap();
        assert_eq!((run.kind, run.epoch, run.first, run.tag), (Kind::Key, 3, 36, [9; TAG]));
        assert_eq!(run.blocks.len(), 96);
        assert_eq!((run.blocks[0], run.blocks[32], run.blocks[64]), (36, 0, 1));
        assert_eq!(padding, [0; 31]);
    }

    #[test]
    fn a_whole_object_goes_in_one_run() {
        let object = [7; 37 * 32];
        let out = Outgoing { kind: Kind::Key, epoch: 1, tag: [1; TAG], object: &object };
        let mut room = [0; 4000];
        assert_eq!(out.write(0, &mut room), 37);
        assert_eq!(read(&room).unwrap().0.unwrap().blocks.len(), 37 * 32);
    }

    #[test]
    fn in_order_once_and_then_from_anywhere() {
        let object = [7; 37 * 32];
        let out = Outgoing { kind: Kind::Key, epoch: 1, tag: [1; TAG], object: &object };
        let rng = &mut TestRng::new(9);
        let before = rng.clone();
        assert_eq!(out.first(0, rng), 0);
        assert_eq!(out.first(36, rng), 36);
        assert_eq!(*rng, before, "the first pass draws nothing");
        assert_eq!([out.advance(0, 3), out.advance(36, 3), out.advance(37, 3)], [3, 37, 37]);
        let begun: BTreeSet<u8> = (0..1000).map(|_| out.first(37, rng)).collect();
        assert_eq!(begun, (0..37).collect());
    }

    #[test]
    fn too_little_room_stays_zero() {
        let out =
            Outgoing { kind: Kind::Ciphertext, epoch: 1, tag: [1; TAG], object: &[5; 34 * 32] };
        let mut room = [0; RUN_HEADER + 31];
        assert_eq!(out.write(4, &mut room), 0);
        assert_eq!(room, [0; RUN_HEADER + 31]);
    }

    #[test]
    fn r_601_malformed_runs() {
        let mut room = [0; RUN_HEADER + 64];
        room[0] = 3;
        assert_eq!(read(&room).err(), Some(OpenError::Piece));
        for (kind, first, count) in [(1, 37, 1), (2, 34, 1), (1, 0, 0), (1, 0, 38), (1, 0, 3)] {
            (room[0], room[5], room[6]) = (kind, first, count);
            assert_eq!(read(&room).err(), Some(OpenError::Piece), "{kind} {first} {count}");
        }
        assert_eq!(read(&[1, 0]).err(), Some(OpenError::Piece));
        assert!(read(&[]).unwrap().0.is_none());
    }
}
