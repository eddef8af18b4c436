//! Padding: frames that mean nothing and fill the control stream up to whole records.
//!
//! An observer of the network sees how many bytes go which way and when. If a client pads, then
//! each time that it or the relay flushes what it has to say, a frame of zeros fills the bytes
//! since the flush before up to a multiple of [`RECORD`]: an acknowledgement looks
//! like a small envelope, and an answer like a delivery. What remains visible: how many records,
//! when, in which direction, and the transport's own small packets.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::bytes::BoundedBytes;
use crate::codec;
use crate::frame::{ClientFrame, Request, ServerFrame};
use crate::ids::RequestId;
use crate::limits::{MAX_MESSAGE, MAX_PADDING, RECORD};

/// So many zeros. Anything but zeros is refused (R-1108), so that nothing can hide in padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Padding(usize);

impl Padding {
    /// So many zeros, unless they are more than [`MAX_PADDING`].
    #[must_use]
    pub const fn new(zeros: usize) -> Option<Self> {
        if zeros <= MAX_PADDING { Some(Self(zeros)) } else { None }
    }

    /// How many.
    #[must_use]
    pub const fn zeros(self) -> usize {
        self.0
    }
}

/// As many zeros as padding can have.
const ZEROS: [u8; MAX_PADDING] = [0; MAX_PADDING];

impl Serialize for Padding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(ZEROS.get(..self.0).unwrap_or(&ZEROS))
    }
}

impl<'de> Deserialize<'de> for Padding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BoundedBytes::<MAX_PADDING>::deserialize(deserializer)?;
        // R-1108
        if bytes.as_slice().iter().any(|byte| *byte != 0) {
            return Err(D::Error::custom("padding that is not zero"));
        }
        Ok(Self(bytes.as_slice().len()))
    }
}

/// A client's padding, ready to be sent behind `written` bytes of messages; empty if they fill
/// their records already.
#[must_use]
pub fn client_padding(written: usize) -> Vec<u8> {
    fill(written, |padding| {
        let frame = ClientFrame { id: RequestId::new(0), request: Request::Padding(padding) };
        codec::encode_message(&frame, MAX_MESSAGE).ok()
    })
}

/// A relay's padding, ready to be sent behind `written` bytes of messages.
#[must_use]
pub fn server_padding(written: usize) -> Vec<u8> {
    fill(written, |padding| codec::encode_message(&ServerFrame::Padding(padding), MAX_MESSAGE).ok())
}

/// The message that fills up; a record more where no message has exactly the missing length.
fn fill(written: usize, message: impl Fn(Padding) -> Option<Vec<u8>>) -> Vec<u8> {
    let missing = (RECORD - written % RECORD) % RECORD;
    if missing == 0 {
        return Vec::new();
    }
    let around = message(Padding(0)).map_or(0, |message| message.len());
    [missing, missing + RECORD]
        .into_iter()
        // The length of the zeros is a varint of one byte or two.
        .flat_map(|goal| [0, 1].map(|wider| (goal, goal.checked_sub(around + wider))))
        .filter_map(|(goal, zeros)| Some((goal, message(Padding::new(zeros?)?)?)))
        .find_map(|(goal, message)| (message.len() == goal).then_some(message))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::limits::LENGTH_PREFIX;

    #[test]
    fn whatever_was_written_becomes_whole_records() {
        for written in 1..=3 * RECORD {
            for padding in [client_padding(written), server_padding(written)] {
                assert_eq!((written + padding.len()) % RECORD, 0, "{written}");
                assert!(padding.len() < 2 * RECORD);
            }
        }
        assert!(client_padding(2 * RECORD).is_empty());
    }

    /// R-1108
    #[test]
    fn padding_is_a_frame_of_zeros_only() {
        let message = client_padding(100);
        let frame = message.get(LENGTH_PREFIX..).unwrap();
        let decoded: ClientFrame = codec::decode(frame).unwrap();
        assert!(matches!(decoded.request, Request::Padding(_)));
        let mut spoiled = frame.to_vec();
        *spoiled.last_mut().unwrap() = 1;
        assert!(codec::decode::<ClientFrame>(&spoiled).is_err());
    }
}
