//! Padmé: lengths rounded so that they say little, at 12 % and less.

use crate::bounds::{FILE_CHUNK, MAX_FILE, MIN_PADDED_FILE};
use crate::primitives::aead::TAG;

/// The padded length of a file of `len` bytes, or `None` above
/// [`MAX_FILE`](crate::bounds::MAX_FILE).
///
/// Lengths below [`MIN_PADDED_FILE`](crate::bounds::MIN_PADDED_FILE) become
/// that; longer ones keep only as many leading bits as their exponent has
/// (Padmé: Nikitin and others, "Reducing metadata leakage from encrypted
/// files and communication with PURBs", 2019, section 4).
pub fn padded_len(len: u64) -> Option<u64> {
    if len > MAX_FILE {
        return None;
    }
    let len = len.max(MIN_PADDED_FILE);
    let exponent = len.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1u64 << (exponent - kept)) - 1;
    Some((len + mask) & !mask)
}

/// The length of the blob of a file of `len` bytes: commitment, padded
/// content, a tag for each chunk. `None` above
/// [`MAX_FILE`](crate::bounds::MAX_FILE).
pub fn blob_len(len: u64) -> Option<u64> {
    let padded = padded_len(len)?;
    let tags = padded.div_ceil(FILE_CHUNK as u64) * TAG as u64;
    Some(super::COMMITMENT as u64 + padded + tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        assert_eq!(padded_len(0), Some(1024));
        assert_eq!(padded_len(1024), Some(1024));
        // 2^10: exponent 10, 4 bits kept, so steps of 64.
        assert_eq!(padded_len(1025), Some(1088));
        assert_eq!(padded_len(5 << 20), Some(5 << 20));
        assert_eq!(padded_len((5 << 20) + 1), Some((5 << 20) + (1 << 17)));
        assert_eq!(padded_len(MAX_FILE + 1), None);
        assert_eq!(blob_len(0), Some(32 + 1024 + 16));
        assert_eq!(blob_len(65_537), Some(32 + 67_584 + 32));
    }

    #[test]
    fn at_most_12_percent_and_never_shorter() {
        for shift in 10..47 {
            for len in [1u64 << shift, (1 << shift) + 1, (3 << (shift - 1)) + 7] {
                let padded = padded_len(len).unwrap();
                assert!(padded >= len && padded - len <= len * 12 / 100, "{len} {padded}");
            }
        }
    }
}
