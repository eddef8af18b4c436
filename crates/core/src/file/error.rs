//! What can be wrong with a file.

use core::fmt;

/// Why a file was not encrypted or decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileError {
    /// longer than [`MAX_FILE`](crate::bounds::MAX_FILE) bytes.
    TooLong,
    /// the blob's commitment is not to this key.
    KeyMismatch,
    /// a chunk has another length than its place demands.
    ChunkLength,
    /// a chunk was altered, or stands in another place.
    ChunkAltered,
    /// the padding is not zero.
    Padding,
    /// there is no such chunk.
    NoSuchChunk,
    /// the content is longer or shorter than was said.
    ContentLength,
}

impl FileError {
    /// The number of the rule in `protocol-spec/08-attachments.md`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "R-801",
            Self::KeyMismatch => "R-802",
            Self::ChunkLength => "R-803",
            Self::ChunkAltered => "R-804",
            Self::Padding => "R-805",
            Self::NoSuchChunk => "R-806",
            Self::ContentLength => "R-807",
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooLong => "the file is longer than 128 TiB",
            Self::KeyMismatch => "the blob was made with another key",
            Self::ChunkLength => "a chunk of the file is cut or too long",
            Self::ChunkAltered => "a chunk of the file was altered or moved",
            Self::Padding => "the file's padding is not zero",
            Self::NoSuchChunk => "the file has no such chunk",
            Self::ContentLength => "the file's length changed while it was encrypted",
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for FileError {}
