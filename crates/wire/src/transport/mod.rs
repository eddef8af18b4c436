//! How frames travel: a channel of streams, carried by QUIC or by TLS over TCP.
//!
//! Frames, request ids and signatures do not depend on what carries them: whatever implements
//! [`Channel`] can (a channel in memory, for simulations).

mod certificates;
mod message;
mod quic;
mod stream;
mod tcp;
#[cfg(undertone_test_transport)]
mod test_transport;
mod tls;

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ids::Exporter;

pub use certificates::{CertificateFault, check_certificates};
pub use message::{
    HEAD, MessageError, read_bounded_message, read_message, read_stream_kind, write_message,
};
pub use quic::{QuicChannel, QuicLimits, accept_quic, connect_quic, server_config};
pub use stream::StreamChannel;
pub use tcp::{TcpTls, accept_tcp, connect_tcp, keep_alive};
#[cfg(undertone_test_transport)]
pub use test_transport::{TEST_EXPORTER, accept_test, connect_test};
pub use tls::{LEAF_NAME, PinnedRoot, client_tls, crypto_provider, root_fingerprint, server_tls};

/// A future on the heap, so that [`Channel`] can be used as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The half of a stream that is written. Shutting it down finishes the stream.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The half of a stream that is read.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// An authenticated, encrypted connection that carries streams.
pub trait Channel: Send + Sync {
    /// Opens a stream to the peer, who learns of it with its first byte.
    fn open(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>>;
    /// Waits for a stream that the peer opens.
    fn accept(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>>;
    /// 32 bytes bound to this connection (RFC 8446 §7.5).
    ///
    /// # Errors
    /// [`Lost::Protocol`] if the TLS library refuses.
    fn exporter(&self) -> Result<Exporter, Lost>;
    /// What carries it.
    fn carrier(&self) -> Carrier;
    /// The peer's address: for limits in memory, never for storage or logs.
    fn peer(&self) -> SocketAddr;
    /// Whether something large is under way: then a relay keeps more for the peer, so that it fills the
    /// path. Where the system keeps what is under way, as over TCP, nothing changes.
    fn widen(&self, _wide: bool) {}
    /// Closes the connection at once; what was not acknowledged by the peer may be lost.
    fn close(&self, reason: Goodbye);
    /// Waits until the connection is closed, by whichever side.
    fn closed(&self) -> BoxFuture<'_, Lost>;
}

/// What carries a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Carrier {
    /// QUIC, over UDP.
    Quic,
    /// TLS over TCP, where UDP is blocked.
    Tcp,
    /// Something in tests.
    Test,
}

/// Why an end closes a connection; travels as QUIC's application error code
/// (over TCP it does not travel).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Goodbye {
    /// Nothing more to do.
    Done = 0,
    /// The peer broke the protocol.
    ProtocolError = 1,
    /// The relay shuts down; what was accepted is stored.
    ShuttingDown = 2,
    /// The relay serves too many.
    Busy = 3,
}

/// Why a connection is no more, or could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lost {
    /// No answer from that address.
    Unreachable,
    /// The relay proved another root key than the pinned one.
    PinMismatch,
    /// The root key is right, the certificate under it is not: expired, or damaged.
    Certificate,
    /// Nothing was heard for too long.
    TimedOut,
    /// One end closed it in order.
    Closed,
    /// The relay shuts down.
    ShuttingDown,
    /// The relay serves too many.
    Busy,
    /// TLS or QUIC failed, or the peer broke the protocol.
    Protocol,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the relay did not answer",
            Self::PinMismatch => "the relay proved another root key than its address names",
            Self::Certificate => "the relay's certificate is not valid now",
            Self::TimedOut => "the relay was silent for too long",
            Self::Closed => "the connection is closed",
            Self::ShuttingDown => "the relay is shutting down",
            Self::Busy => "the relay serves too many connections",
            Self::Protocol => "the connection failed; the versions may not fit",
        })
    }
}

impl std::error::Error for Lost {}
