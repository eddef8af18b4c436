//! Frames of a blob stream: one stream carries one blob, up or down.
//!
//! The client opens a bidirectional stream, writes [`StreamKind::Blob`](crate::frame::StreamKind),
//! then one [`BlobRequest`] as a length-prefixed message of at most
//! [`MAX_BLOB_MESSAGE`](crate::limits::MAX_BLOB_MESSAGE) bytes.
//!
//! - Put: the relay answers [`BlobReply::Ready`] with the offset from which it wants the bytes; the
//!   client writes the bytes from there to the end without any framing and finishes its side; the
//!   relay answers [`BlobReply::Stored`] when all is on stable storage and the hash is right.
//! - Get: the relay answers [`BlobReply::Content`], then the bytes from the offset to the end, and
//!   finishes its side.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::ids::{AdmissionToken, BlobCapabilityHash, BlobHash, BlobId, BlobReadCapability, Day};

/// First message on a blob stream.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlobRequest {
    /// Stores a blob, or goes on storing it: the same announcement resumes where the relay is.
    Put(BlobAnnouncement),
    /// Reads a blob.
    Get {
        /// Which.
        blob: BlobId,
        /// Whoever holds it may read.
        capability: BlobReadCapability,
        /// First byte wanted.
        offset: u64,
    },
}

/// What is about to be stored.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlobAnnouncement {
    /// Random, chosen by the uploader.
    pub blob: BlobId,
    /// What admits the uploader to this relay.
    pub token: AdmissionToken,
    /// Hash of the read capability.
    pub read: BlobCapabilityHash,
    /// Hash of the delete capability.
    pub delete: BlobCapabilityHash,
    /// Length in bytes; at least 1.
    pub length: u64,
    /// SHA-256 of all the bytes.
    pub hash: BlobHash,
    /// The day at whose end the blob goes; at most
    /// [`MAX_RETENTION_DAYS`](crate::limits::MAX_RETENTION_DAYS) ahead.
    pub expires: Day,
}

/// What a relay answers on a blob stream.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlobReply {
    /// Send the bytes from this offset on.
    Ready {
        /// Bytes that the relay has already.
        offset: u64,
    },
    /// All bytes are on stable storage and have the announced hash.
    Stored,
    /// The bytes follow.
    Content {
        /// Length of the whole blob in bytes, not of the rest.
        length: u64,
        /// SHA-256 of the whole blob.
        hash: BlobHash,
    },
    /// Refused; the stream ends.
    Refused(ErrorCode),
}
