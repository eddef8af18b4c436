//! Reading and writing length-prefixed messages on a stream.

use core::fmt;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::codec;
use crate::frame::StreamKind;
use crate::limits::LENGTH_PREFIX;

/// What of a frame tells its kind: a request id (a varint of at most 10 bytes) and an index.
pub const HEAD: usize = 11;

/// Room that is made at once for the rest of a message: the smallest envelope fits with all around it,
/// so that most messages are read in one go. More is made only for what has come.
const ROOM: usize = 1280;

/// Why no message could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MessageError {
    /// The stream ended or broke inside a message, or could not be written.
    Broken,
    /// The length prefix says zero or more than is allowed (R-1101, R-1107).
    Length,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the stream broke inside a message",
            Self::Length => "a message has a length that the protocol does not allow",
        })
    }
}

impl std::error::Error for MessageError {}

/// Reads one message of at most `max` bytes; `None` if the stream ends before it begins.
///
/// Memory grows with what arrives, not with what the prefix claims (but for 1,280 bytes).
///
/// # Errors
/// [`MessageError`].
pub async fn read_message(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    max: usize,
) -> Result<Option<Vec<u8>>, MessageError> {
    read_bounded_message(reader, max, |_| max).await
}

/// As [`read_message`], with a bound of its own for each kind of frame: `bound` is shown the first
/// bytes of the frame, at most [`HEAD`], before any others are read.
///
/// # Errors
/// [`MessageError`].
pub async fn read_bounded_message(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    max: usize,
    bound: impl FnOnce(&[u8]) -> usize,
) -> Result<Option<Vec<u8>>, MessageError> {
    let mut prefix = [0; LENGTH_PREFIX];
    let (first, rest) = prefix.split_at_mut(1);
    if reader.read(first).await.map_err(|_| MessageError::Broken)? == 0 {
        return Ok(None);
    }
    reader.read_exact(rest).await.map_err(|_| MessageError::Broken)?;
    let length = codec::message_length(prefix, max).map_err(|_| MessageError::Length)?;
    let mut message = vec![0; length.min(HEAD)];
    reader.read_exact(&mut message).await.map_err(|_| MessageError::Broken)?;
    // R-1107
    if length > bound(&message) {
        return Err(MessageError::Length);
    }
    let rest = length.saturating_sub(HEAD);
    message.reserve_exact(rest.min(ROOM));
    let rest = u64::try_from(rest).map_err(|_| MessageError::Length)?;
    reader.take(rest).read_to_end(&mut message).await.map_err(|_| MessageError::Broken)?;
    if message.len() != length {
        return Err(MessageError::Broken);
    }
    Ok(Some(message))
}

/// Writes a message that [`codec::encode_message`] made.
///
/// # Errors
/// [`MessageError::Broken`].
pub async fn write_message(
    writer: &mut (impl AsyncWrite + Unpin + ?Sized),
    message: &[u8],
) -> Result<(), MessageError> {
    writer.write_all(message).await.map_err(|_| MessageError::Broken)?;
    writer.flush().await.map_err(|_| MessageError::Broken)
}

/// Reads the first byte of a stream; `None` if it stands for no kind of stream (R-1104).
///
/// # Errors
/// [`MessageError::Broken`].
pub async fn read_stream_kind(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
) -> Result<Option<StreamKind>, MessageError> {
    let byte = reader.read_u8().await.map_err(|_| MessageError::Broken)?;
    Ok(StreamKind::from_byte(byte))
}
