//! What stands inside an envelope once it is open (`protocol-spec/09-content.md`).
//!
//! ```text
//! content = kind (varint) ‖ message id (16) ‖ sent at (8, milliseconds, big-endian) ‖ payload
//! ```
//!
//! A kind that is not known reaches the application as [`Body::Unknown`] and is never an error;
//! a known kind whose payload breaks its layout is one.

mod body;
pub(crate) mod codec;

#[cfg(test)]
mod tests;

pub(crate) use body::MAX_NAMED_SESSIONS;
pub use body::{Attachment, BlobKeyBytes, Body, Reaction, Route};
pub use codec::ContentError;

use zeroize::Zeroizing;

use crate::ids::{MessageId, UnixMillis};
use codec::{Reader, Writer};

/// The longest text, in bytes of UTF-8. Whatever is longer is sent as a file: an envelope is at
/// most 64 KiB and has to leave room for the handshake that may stand beside it.
pub const MAX_TEXT: usize = 48 * 1024;

/// The longest name of a person, in bytes of UTF-8: one line on a narrow screen.
pub const MAX_NAME: usize = 128;

/// The longest name of a file, in bytes of UTF-8: what common file systems take.
pub const MAX_FILE_NAME: usize = 255;

/// The longest media type, in bytes (RFC 6838 allows 127 for each half).
pub const MAX_MEDIA_TYPE: usize = 255;

/// The longest reaction, in bytes of UTF-8: one emoji with all its joiners and tones.
pub const MAX_REACTION: usize = 64;

/// Message ids in one acknowledgement or receipt: 256 ids take 4 KiB, one bucket.
pub const MAX_IDS: usize = 256;

/// The longest payload of a custom or unknown kind, in bytes: that of a text.
pub const MAX_CUSTOM: usize = MAX_TEXT;

/// Whether a blob is the one that a message describes (R-907): its SHA-256, and the commitment that
/// are its first 32 bytes. Compared before a chunk is opened; of a blob that is another, nothing is
/// given to anybody.
#[must_use]
pub fn is_described(
    (sha256, commitment): (&[u8; 32], &[u8; 32]),
    (blob_sha256, blob_commitment): (&[u8; 32], &[u8; 32]),
) -> bool {
    sha256 == blob_sha256 && commitment == blob_commitment
}

/// One message as it travels inside the ratchet.
#[derive(PartialEq, Eq, Debug)]
pub struct Content {
    /// Random id, by which a resend is recognised.
    pub id: MessageId,
    /// When the sender says that it was written.
    pub sent_at: UnixMillis,
    /// What it says.
    pub body: Body,
}

impl Content {
    /// The bytes that are sealed.
    ///
    /// # Errors
    /// [`ContentError::TooLong`] if a part is over its bound; nothing is cut off in silence.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ContentError> {
        let mut w = Writer::new();
        w.varint(self.body.kind());
        w.bytes(self.id.as_bytes());
        w.u64(self.sent_at.get());
        self.body.encode(&mut w)?;
        Ok(w.finish())
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// A [`ContentError`] if the layout of a known kind is broken. Nothing is allocated by a
    /// claimed length, and everything is bounded by the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let mut r = Reader::new(bytes);
        let kind = r.varint()?;
        let id = MessageId::from_bytes(r.array()?);
        let sent_at = UnixMillis::new(r.u64()?);
        let body = Body::decode(kind, &mut r)?;
        r.end()?;
        Ok(Self { id, sent_at, body })
    }
}
