//! Envelopes: a few sizes, and what fills them
//! (`protocol-spec/07-envelopes.md`).

use crate::bounds::{MAX_BUCKET, MIN_BUCKET, MIN_FIRST_CONTACT_BUCKET, PIECE_SLACK};
use crate::handshake::{SEALED_HANDSHAKE_LONG, SEALED_HANDSHAKE_SHORT};
use crate::primitives::aead;
use crate::ratchet::SEALED_HEADER;

/// Bytes of an envelope that are neither handshake nor body plaintext: nonce,
/// sealed header, the body's tag.
pub(crate) const OVERHEAD: usize = aead::NONCE + SEALED_HEADER + aead::TAG;

/// Bytes in front of the content that hold its length.
pub(crate) const LENGTH_PREFIX: usize = 2;

/// The size of an envelope: 1, 2, 4, 8, 16, 32 or 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(usize);

impl Bucket {
    /// The bucket of this many bytes, if there is one.
    pub const fn of_len(len: usize) -> Option<Self> {
        if len.is_power_of_two() && len >= MIN_BUCKET && len <= MAX_BUCKET {
            Some(Self(len))
        } else {
            None
        }
    }

    /// Its size in bytes.
    pub const fn len(self) -> usize {
        self.0
    }

    /// Never: the smallest bucket has 1,024 bytes.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// What stands in front of the ratchet's part of an envelope. Its length
/// decides where that part begins, and which bucket is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    None,
    Short,
    Long,
}

impl Preamble {
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Short => SEALED_HANDSHAKE_SHORT,
            Self::Long => SEALED_HANDSHAKE_LONG,
        }
    }

    /// The preamble that makes a ratchet part of `len` bytes a whole bucket.
    pub(crate) fn of_part(len: usize) -> Option<(Self, Bucket)> {
        [Self::None, Self::Short, Self::Long].into_iter().find_map(|preamble| {
            let bucket = Bucket::of_len(len.checked_add(preamble.len())?)?;
            (bucket >= preamble.smallest()).then_some((preamble, bucket))
        })
    }

    const fn smallest(self) -> Bucket {
        match self {
            Self::None => Bucket(MIN_BUCKET),
            Self::Short | Self::Long => Bucket(MIN_FIRST_CONTACT_BUCKET),
        }
    }

    /// The smallest bucket that holds `content` bytes and the slack for
    /// pieces; none above the largest.
    pub(crate) fn bucket_for(self, content: usize) -> Option<Bucket> {
        let fixed = self.len() + OVERHEAD + LENGTH_PREFIX + PIECE_SLACK;
        let needed = content.checked_add(fixed)?.checked_next_power_of_two()?;
        Bucket::of_len(needed.max(self.smallest().0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::MAX_CONTENT;

    #[test]
    fn smallest_bucket_with_slack() {
        let bucket = |content| Preamble::None.bucket_for(content).map(Bucket::len);
        let room = 1024 - OVERHEAD - LENGTH_PREFIX - PIECE_SLACK;
        assert_eq!(bucket(0), Some(1024));
        assert_eq!(bucket(room), Some(1024));
        assert_eq!(bucket(room + 1), Some(2048));
        assert_eq!(bucket(usize::MAX), None);
    }

    #[test]
    fn the_largest_content_fits_beside_every_handshake() {
        for preamble in [Preamble::None, Preamble::Short, Preamble::Long] {
            assert_eq!(preamble.bucket_for(MAX_CONTENT).map(Bucket::len), Some(MAX_BUCKET));
        }
        assert_eq!(Preamble::Long.bucket_for(MAX_CONTENT + 1), None);
    }

    #[test]
    fn a_first_text_of_280_bytes_leaves_room_for_a_whole_key() {
        let body = MIN_FIRST_CONTACT_BUCKET - SEALED_HANDSHAKE_SHORT - OVERHEAD - LENGTH_PREFIX;
        assert!(body >= 280 + 15 + 1184);
        assert_eq!(Preamble::Short.bucket_for(280).map(Bucket::len), Some(4096));
    }

    #[test]
    fn parts_are_told_apart_by_length() {
        for len in 0..=MAX_BUCKET {
            let fits = [Preamble::None, Preamble::Short, Preamble::Long]
                .iter()
                .filter(|preamble| {
                    Bucket::of_len(len + preamble.len()).is_some_and(|b| b >= preamble.smallest())
                })
                .count();
            assert!(fits <= 1, "{len}");
        }
    }
}
