//! File encryption: a commitment to the key, then chunks of AES-256-GCM in
//! the STREAM construction, the length padded
//! (`protocol-spec/08-attachments.md`).

mod error;
mod opener;
mod padme;
mod sealer;

pub use error::FileError;
pub use opener::FileOpener;
pub use padme::{blob_len, padded_len};
pub use sealer::FileSealer;

use rand_core::CryptoRng;

use crate::bounds::FILE_CHUNK;
use crate::label;
use crate::primitives::aead::NONCE;
use crate::primitives::kdf;

boxed_secret! {
    /// The key of one file: random, used for that file alone.
    pub struct FileKey(FileKeyBytes, 32);
}

boxed_secret! {
    struct StreamKey(StreamKeyBytes, 32);
}

/// Bytes of the commitment with which a blob begins.
const COMMITMENT: usize = 32;

impl FileKey {
    fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::fill(|key| rng.fill_bytes(key))
    }

    /// A key read from a message or from the store.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self::from_array(bytes)
    }

    /// Its bytes, for the message: secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.expose()
    }

    /// `HKDF-Expand(key, "… file commitment", 32)`: AES-GCM alone does not
    /// commit to its key, so one blob could open to two files.
    fn commitment(&self) -> [u8; COMMITMENT] {
        let mut commitment = [0; COMMITMENT];
        kdf::expand(self.expose(), &[label::FILE_COMMITMENT], &mut commitment);
        commitment
    }

    fn stream_key(&self) -> StreamKey {
        StreamKey::fill(|key| kdf::expand(self.expose(), &[label::FILE_STREAM], key))
    }
}

/// Seven zero bytes, the chunk's index, and 1 in the last chunk: neither
/// reordering nor truncation goes unnoticed.
pub(crate) fn nonce(index: u32, last: bool) -> [u8; NONCE] {
    let [a, b, c, d] = index.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)]
}

/// How a file of `content_len` bytes is cut. `None` above
/// [`MAX_FILE`](crate::bounds::MAX_FILE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    content: u64,
    padded: u64,
    chunks: u32,
}

impl Layout {
    fn of(content_len: u64) -> Result<Self, FileError> {
        let padded = padded_len(content_len).ok_or(FileError::TooLong)?;
        let chunks = padded.div_ceil(FILE_CHUNK as u64);
        let chunks = u32::try_from(chunks).map_err(|_| FileError::TooLong)?;
        Ok(Self { content: content_len, padded, chunks })
    }

    fn is_last(&self, index: u32) -> bool {
        index.checked_add(1) == Some(self.chunks)
    }

    /// Bytes of plaintext in a chunk, padding included.
    fn plain_len(&self, index: u32) -> usize {
        clamp(self.padded, index)
    }

    /// Bytes of content in a chunk.
    fn content_len(&self, index: u32) -> usize {
        clamp(self.content, index)
    }
}

/// How many of the first `total` bytes fall into chunk `index`.
fn clamp(total: u64, index: u32) -> usize {
    let start = u64::from(index) * FILE_CHUNK as u64;
    usize::try_from(total.saturating_sub(start)).unwrap_or(FILE_CHUNK).min(FILE_CHUNK)
}
