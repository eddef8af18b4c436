//! Strict, bounded encoding of frames as length-prefixed messages.
//!
//! A message is `length (4 bytes, big-endian) ‖ frame`, the frame in postcard. Decoding accepts
//! exactly what encoding produces: bytes that are left over, an overlong varint or any other second
//! spelling of the same frame is refused (R-1102, R-1103), so that a frame has one form only.

use core::fmt;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{LENGTH_PREFIX, MAX_MESSAGE};

/// Why a message was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The length prefix says more than the protocol allows (R-1101).
    TooLong,
    /// Not a frame, a frame with something behind it, or not its only form (R-1102, R-1103).
    Malformed,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a message is longer than the protocol allows",
            Self::Malformed => "a message is not a frame of this protocol",
        })
    }
}

impl std::error::Error for CodecError {}

/// The frame alone, without a length.
///
/// # Errors
/// [`CodecError::TooLong`] if it would be longer than `max` bytes.
pub fn encode<T: Serialize>(frame: &T, max: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = postcard::to_allocvec(frame).map_err(|_| CodecError::Malformed)?;
    if bytes.len() > max {
        return Err(CodecError::TooLong);
    }
    Ok(bytes)
}

/// A frame with its length before it, ready to be sent.
///
/// # Errors
/// [`CodecError::TooLong`] if the frame is longer than `max` bytes (at most [`MAX_MESSAGE`]).
pub fn encode_message<T: Serialize>(frame: &T, max: usize) -> Result<Vec<u8>, CodecError> {
    // Room for the length first, so that the frame is written once.
    let mut bytes =
        postcard::to_extend(frame, vec![0; LENGTH_PREFIX]).map_err(|_| CodecError::Malformed)?;
    let length = bytes.len().saturating_sub(LENGTH_PREFIX);
    if length > max.min(MAX_MESSAGE) {
        return Err(CodecError::TooLong);
    }
    let prefix = u32::try_from(length).map_err(|_| CodecError::TooLong)?;
    for (to, from) in bytes.iter_mut().zip(prefix.to_be_bytes()) {
        *to = from;
    }
    Ok(bytes)
}

/// Reads a length prefix and checks it (R-1101) before anything is read or allocated for it.
///
/// # Errors
/// [`CodecError::TooLong`] if it says more than `max`; [`CodecError::Malformed`] if it says zero,
/// which no frame is.
pub fn message_length(prefix: [u8; LENGTH_PREFIX], max: usize) -> Result<usize, CodecError> {
    let length = usize::try_from(u32::from_be_bytes(prefix)).map_err(|_| CodecError::TooLong)?;
    match length {
        0 => Err(CodecError::Malformed),
        n if n > max => Err(CodecError::TooLong),
        n => Ok(n),
    }
}

/// Reads a frame from the bytes of one message.
///
/// # Errors
/// [`CodecError::Malformed`] unless the bytes are exactly what [`encode`] gives for the frame (R-1102,
/// R-1103).
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CodecError> {
    let (frame, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|_| CodecError::Malformed)?;
    if !rest.is_empty() {
        return Err(CodecError::Malformed);
    }
    // Postcard reads some values in more than one spelling; compare with the one that we would write.
    match postcard::serialize_with_flavor(&frame, Compare { expected: bytes }) {
        Ok(true) => Ok(frame),
        _ => Err(CodecError::Malformed),
    }
}

/// Writes nothing: checks that what would be written is what stands there.
struct Compare<'a> {
    expected: &'a [u8],
}

impl Flavor for Compare<'_> {
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.expected =
            self.expected.strip_prefix(data).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.expected.is_empty())
    }
}
