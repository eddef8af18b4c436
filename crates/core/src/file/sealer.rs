//! Encrypting a file, chunk by chunk.

use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::{FileError, FileKey, Layout, StreamKey, nonce};
use crate::primitives::aead::{self, TAG};

/// Encrypts a file as it is read.
///
/// The blob is [`commitment`](Self::commitment), then every chunk that
/// [`seal_next`](Self::seal_next) returns, until
/// [`remaining_chunks`](Self::remaining_chunks) is zero.
pub struct FileSealer {
    key: StreamKey,
    commitment: [u8; 32],
    layout: Layout,
    next: u32,
}

impl FileSealer {
    /// Starts a blob for exactly `content_len` bytes, under a fresh key. There
    /// is no other way: the nonces are counters, so a key that sealed a second
    /// content would give both away. What was interrupted is begun anew.
    ///
    /// # Errors
    /// [`FileError::TooLong`].
    pub fn new(content_len: u64, rng: &mut impl CryptoRng) -> Result<(Self, FileKey), FileError> {
        let layout = Layout::of(content_len)?;
        let key = FileKey::generate(rng);
        let (stream, commitment) = (key.stream_key(), key.commitment());
        Ok((Self { key: stream, commitment, layout, next: 0 }, key))
    }

    /// The first 32 bytes of the blob.
    pub fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// Chunks that are still to be sealed, those of padding alone included.
    pub fn remaining_chunks(&self) -> u32 {
        self.layout.chunks.saturating_sub(self.next)
    }

    /// Bytes of content that the next chunk takes: 65,536, less in the last
    /// one, zero in chunks of padding alone.
    pub fn next_len(&self) -> usize {
        self.layout.content_len(self.next)
    }

    /// Seals the next chunk.
    ///
    /// # Errors
    /// [`FileError::ContentLength`] for other than
    /// [`next_len`](Self::next_len) bytes; [`FileError::NoSuchChunk`]
    /// behind the last.
    pub fn seal_next(&mut self, content: &[u8]) -> Result<Vec<u8>, FileError> {
        let index = self.next;
        if index >= self.layout.chunks {
            return Err(FileError::NoSuchChunk);
        }
        if content.len() != self.layout.content_len(index) {
            return Err(FileError::ContentLength);
        }
        let plain_len = self.layout.plain_len(index);
        let mut chunk = Vec::with_capacity(plain_len + TAG);
        chunk.extend_from_slice(content);
        chunk.resize(plain_len, 0);
        let nonce = nonce(index, self.layout.is_last(index));
        let tag = aead::seal(self.key.expose(), &nonce, &[], &mut chunk);
        chunk.extend_from_slice(&tag);
        self.next = index.saturating_add(1);
        Ok(chunk)
    }
}

impl core::fmt::Debug for FileSealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { key: _, commitment: _, layout, next } = self;
        f.debug_struct("FileSealer").field("layout", layout).field("next", next).finish()
    }
}
