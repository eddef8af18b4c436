//! The last received positions, with the tags of their headers.

use crate::bounds::REMEMBERED_POSITIONS;
use crate::primitives::aead::TAG;

/// Bytes kept of a header's tag. Forging one needs the header key; a rolled
/// back peer meets one by chance once in 2^64.
pub(crate) const MARK: usize = 8;

/// A position that was received, and what its header looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) serial: u32,
    pub(crate) number: u32,
    pub(crate) mark: [u8; MARK],
}

/// What is known of a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Received with this very header.
    Same,
    /// Received with another header: the sender was rolled back.
    Other,
    /// Not remembered.
    Unknown,
}

/// A ring of the last [`REMEMBERED_POSITIONS`] positions.
pub(crate) struct Recent {
    ring: [Option<Position>; REMEMBERED_POSITIONS],
    next: usize,
}

impl Position {
    pub(crate) fn new(serial: u32, number: u32, tag: &[u8; TAG]) -> Self {
        let (mark, _) = tag.split_first_chunk().unwrap_or((&[0; MARK], &[]));
        Self { serial, number, mark: *mark }
    }
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { ring: [None; REMEMBERED_POSITIONS], next: 0 }
    }

    pub(crate) fn add(&mut self, position: Position) {
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = Some(position);
        }
        self.next = (self.next + 1) % REMEMBERED_POSITIONS;
    }

    pub(crate) fn look_up(&self, position: &Position) -> Seen {
        self.ring
            .iter()
            .flatten()
            .find(|seen| seen.serial == position.serial && seen.number == position.number)
            .map_or(Seen::Unknown, |seen| {
                if seen.mark == position.mark { Seen::Same } else { Seen::Other }
            })
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Position> {
        let (newer, older) = self.ring.split_at_checked(self.next).unwrap_or_default();
        older.iter().chain(newer).flatten()
    }
}
