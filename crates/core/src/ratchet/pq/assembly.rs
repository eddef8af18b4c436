//! An object that arrives in pieces.

use crate::bounds::PIECE_BLOCK;

use super::piece::{Run, TAG};

/// Blocks of an object of `SIZE` bytes that came in so far. All of one tag:
/// another tag starts it anew, so that pieces of two objects never mix.
#[derive(Clone, Copy)]
pub(crate) struct Assembly<const SIZE: usize> {
    pub(crate) tag: [u8; TAG],
    /// Bit i: block i is here.
    pub(crate) have: u64,
    pub(crate) bytes: [u8; SIZE],
}

impl<const SIZE: usize> Assembly<SIZE> {
    /// All blocks present.
    pub(crate) const FULL: u64 = (1 << (SIZE / PIECE_BLOCK)) - 1;

    pub(crate) const fn new(tag: [u8; TAG]) -> Self {
        Self { tag, have: 0, bytes: [0; SIZE] }
    }

    /// Adds a run to an assembly, which begins with it where there is none of
    /// its tag.
    pub(crate) fn add<'a>(current: &'a mut Option<Self>, run: &Run<'_>) -> &'a Self {
        if current.as_ref().is_some_and(|assembly| assembly.tag != run.tag) {
            *current = None;
        }
        let assembly = current.get_or_insert_with(|| Self::new(run.tag));
        for (index, block) in Self::indexed(run) {
            let start = index * PIECE_BLOCK;
            if let Some(place) = assembly.bytes.get_mut(start..start + PIECE_BLOCK) {
                place.copy_from_slice(block);
                assembly.have |= 1 << index;
            }
        }
        assembly
    }

    /// Whether a run would change it.
    pub(crate) fn lacks(current: Option<&Self>, run: &Run<'_>) -> bool {
        current.filter(|assembly| assembly.tag == run.tag).is_none_or(|assembly| {
            Self::indexed(run).any(|(index, _)| assembly.have & (1 << index) == 0)
        })
    }

    /// Whether it is whole.
    pub(crate) const fn is_full(&self) -> bool {
        self.have == Self::FULL
    }

    fn indexed<'r>(run: &Run<'r>) -> impl Iterator<Item = (usize, &'r [u8])> + use<'r, SIZE> {
        let total = SIZE / PIECE_BLOCK;
        let first = usize::from(run.first);
        run.blocks
            .chunks_exact(PIECE_BLOCK)
            .enumerate()
            .map(move |(i, block)| ((first + i) % total, block))
    }
}
