//! SHA-256 over a label and parts of fixed length.

use sha2::{Digest, Sha256};

/// `SHA-256(label ‖ parts…)`. Where a part's length varies, the caller puts
/// the length in front.
pub(crate) fn sha256(label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The first `N` bytes of a hash.
pub(crate) fn truncate<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    let mut short = [0; N];
    for (to, from) in short.iter_mut().zip(hash) {
        *to = *from;
    }
    short
}
