//! Decrypting a file, from any chunk.

use alloc::vec::Vec;

use subtle::ConstantTimeEq;

use super::{COMMITMENT, FileError, FileKey, Layout, StreamKey, nonce};
use crate::bounds::FILE_CHUNK;
use crate::codec::is_zero;
use crate::primitives::aead::{self, TAG};

/// Decrypts the chunks of a blob, in any order.
pub struct FileOpener {
    key: StreamKey,
    layout: Layout,
}

impl FileOpener {
    /// Starts on a blob that begins with `commitment` and holds
    /// `content_len` bytes of content, as the message said.
    ///
    /// # Errors
    /// [`FileError::KeyMismatch`], [`FileError::TooLong`].
    pub fn new(
        key: &FileKey,
        commitment: &[u8; COMMITMENT],
        content_len: u64,
    ) -> Result<Self, FileError> {
        if !bool::from(key.commitment().ct_eq(commitment)) {
            return Err(FileError::KeyMismatch);
        }
        Ok(Self { key: key.stream_key(), layout: Layout::of(content_len)? })
    }

    /// How many chunks the blob has.
    pub fn chunks(&self) -> u32 {
        self.layout.chunks
    }

    /// Where a chunk stands in the blob: offset and length in bytes. `None`
    /// where there is no such chunk.
    pub fn locate(&self, index: u32) -> Option<(u64, usize)> {
        if index >= self.layout.chunks {
            return None;
        }
        let stride = (FILE_CHUNK + TAG) as u64;
        let offset = COMMITMENT as u64 + u64::from(index) * stride;
        Some((offset, self.layout.plain_len(index) + TAG))
    }

    /// Decrypts chunk `index` and returns its content without padding.
    ///
    /// # Errors
    ///
    pub fn open_chunk(&self, index: u32, chunk: &[u8]) -> Result<Vec<u8>, FileError> {
        let (_, len) = self.locate(index).ok_or(FileError::NoSuchChunk)?;
        if chunk.len() != len {
            return Err(FileError::ChunkLength);
        }
        let (body, tag) = chunk.split_last_chunk().ok_or(FileError::ChunkLength)?;
        let mut plain = body.to_vec();
        let nonce = nonce(index, self.layout.is_last(index));
        aead::open(self.key.expose(), &nonce, &[], &mut plain, tag)
            .map_err(|_| FileError::ChunkAltered)?;
        let padding = plain.split_off(self.layout.content_len(index));
        if is_zero(&padding) { Ok(plain) } else { Err(FileError::Padding) }
    }
}

impl core::fmt::Debug for FileOpener {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { key: _, layout } = self;
        f.debug_struct("FileOpener").field("layout", layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileSealer;
    use super::*;
    use crate::testing::TestRng;

    fn sealed(content: &[u8]) -> (FileKey, [u8; 32], Vec<Vec<u8>>) {
        let rng = &mut TestRng::new(5);
        let (mut sealer, key) = FileSealer::new(content.len() as u64, rng).unwrap();
        let mut rest = content;
        let mut chunks = Vec::new();
        while sealer.remaining_chunks() > 0 {
            let (now, later) = rest.split_at(sealer.next_len());
            chunks.push(sealer.seal_next(now).unwrap());
            rest = later;
        }
        assert_eq!(sealer.seal_next(&[]), Err(FileError::NoSuchChunk));
        (key, sealer.commitment(), chunks)
    }

    #[test]
    fn lengths_around_the_boundaries() {
        for len in [0, 1, 1024, 65_535, 65_536, 65_537, 131_072, 200_000] {
            let content: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[1]).collect();
            let (key, commitment, chunks) = sealed(&content);
            let opener = FileOpener::new(&key, &commitment, u64::from(len)).unwrap();
            let total: usize = 32 + chunks.iter().map(Vec::len).sum::<usize>();
            assert_eq!(Some(total as u64), super::super::blob_len(u64::from(len)));
            let opened: Vec<u8> = (0..opener.chunks())
                .flat_map(|i| opener.open_chunk(i, &chunks[i as usize]).unwrap())
                .collect();
            assert_eq!(opened, content);
        }
    }

    #[test]
    fn r_802_another_key() {
        let (_, commitment, _) = sealed(b"content");
        let other = FileKey::from_bytes(&[9; 32]);
        assert_eq!(FileOpener::new(&other, &commitment, 7).err(), Some(FileError::KeyMismatch));
    }

    #[test]
    fn r_803_r_804_r_806_cut_altered_and_moved_chunks() {
        let (key, commitment, mut chunks) = sealed(&[1; 200_000]);
        let opener = FileOpener::new(&key, &commitment, 200_000).unwrap();
        let short = &chunks[0][..chunks[0].len() - 1];
        assert_eq!(opener.open_chunk(0, short), Err(FileError::ChunkLength));
        assert_eq!(opener.open_chunk(1, &chunks[0]), Err(FileError::ChunkAltered));
        assert_eq!(opener.open_chunk(opener.chunks(), &chunks[0]), Err(FileError::NoSuchChunk));
        // Truncated at a chunk's end: the new last chunk lacks the flag.
        let shorter = FileOpener::new(&key, &commitment, 65_536).unwrap();
        assert_eq!(shorter.chunks(), 1);
        assert!(opener.open_chunk(0, &chunks[0]).is_ok());
        assert_eq!(shorter.open_chunk(0, &chunks[0]), Err(FileError::ChunkAltered));
        chunks[0][5] ^= 1;
        assert_eq!(opener.open_chunk(0, &chunks[0]), Err(FileError::ChunkAltered));
    }

    #[test]
    fn r_805_padding() {
        // A longer content that ends where the shorter one's padding stands.
        let (key, commitment, chunks) = sealed(b"longer");
        let opener = FileOpener::new(&key, &commitment, 3).unwrap();
        assert_eq!(opener.open_chunk(0, &chunks[0]), Err(FileError::Padding));
    }

    #[test]
    fn r_807_r_801_lengths() {
        let rng = &mut TestRng::new(6);
        let (mut sealer, _) = FileSealer::new(10, rng).unwrap();
        assert_eq!(sealer.seal_next(&[0; 9]), Err(FileError::ContentLength));
        assert_eq!(sealer.seal_next(&[0; 11]), Err(FileError::ContentLength));
        assert!(sealer.seal_next(&[0; 10]).is_ok());
        assert_eq!(FileSealer::new(u64::MAX, rng).err(), Some(FileError::TooLong));
    }
}
