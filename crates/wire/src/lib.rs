//! What an Undertone client and an Undertone relay say to each other.
//!
//! Normative text: `protocol-spec/11-relay-protocol.md`; the rule numbers `R-11xx` in the
//! comments are the ones of that document.
//!
//! - [`address`]: where a relay is and how it is recognised;
//! - [`ids`]: keys, capabilities, identifiers and counters, each a type of its own;
//! - [`frame`]: requests, replies and pushes; [`blob`]: the frames of a blob stream;
//! - [`owner`]: how the owner of a mailbox or depot signs a request; [`ticket`]: how one signature
//!   stands for many; [`padding`]: how frames are filled up to records;
//! - [`codec`]: strict, bounded encoding of frames as length-prefixed messages;
//! - [`error`]: stable error codes; [`limits`]: every bound, with its reason.
//!
//! The crate is sans-IO unless the feature `quic` adds the transport, and `client` a
//! connection that sends requests and hands out pushes. It knows nothing of what envelopes hold.
#![forbid(unsafe_code)]

pub mod address;
pub mod blob;
mod bytes;
#[cfg(feature = "client")]
pub mod client;
pub mod codec;
pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod owner;
pub mod padding;
pub mod ticket;
#[cfg(feature = "quic")]
pub mod transport;

pub use address::{AddressError, JoinAddress, RelayAddress};
pub use bytes::{Bounded, BoundedBytes};
pub use error::ErrorCode;
pub use ids::{
    AdmissionToken, BlobDeleteCapability, BlobHash, BlobId, BlobReadCapability, Day, DepotId,
    DepotKey, EnvelopeHash, Exporter, FetchCapability, Floor, Incarnation, MailboxId, ReadKey,
    RequestId, RootFingerprint, Seq, SessionKey, TakeId, WriteCapability, WriteCapabilityHash,
};
pub use owner::{DepotSecret, MailboxSecret, OwnerSecret};
pub use ticket::SessionSecret;

/// Names the protocol and its version to TLS (ALPN, RFC 7301); the only version negotiation there is.
pub const ALPN: &[u8] = b"undertone/1";
