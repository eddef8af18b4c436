//! QUIC version 1 (RFC 9000) by quinn.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::server::ResolvesServerCert;
use quinn::{
    ConnectionError, Endpoint, IdleTimeout, Incoming, SendStream, ServerConfig, TransportConfig,
    VarInt,
};
use tokio::io::AsyncWrite;

use super::{
    BoxFuture, Carrier, Channel, Goodbye, LEAF_NAME, Lost, Reader, Writer, client_tls, server_tls,
};
use crate::ids::{Exporter, RootFingerprint};
use crate::owner::EXPORTER_LABEL;

/// A connection on which nothing is heard for this long is lost: longer than a NAT usually keeps
/// a silent binding, several times [`KEEP_ALIVE`].
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(60_000);

/// How often a client says that it is there: below the 30 s after which some NATs forget UDP.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes that are kept of whoever waits for a handshake to begin: the second packet of a first message,
/// and both of them three times more, which a client sends after 1, 3 and 7 seconds. Whether the last
/// arrived decides how long it takes the way to be: what is lost later is sent again after a multiple
/// of that.
const INCOMING: u64 = 9 * 1024;

/// The same for all of them: as many as a relay lets wait, so that the repetitions of some do not take the
/// place of what others say first.
const INCOMING_TOTAL: u64 = 8192 * INCOMING;

/// Codes that TLS alerts have in QUIC (RFC 9001 §4.8): 0x100 and the alert.
const CRYPTO_ERRORS: core::ops::Range<u64> = 0x100..0x200;

/// What a relay grants to one connection.
#[derive(Clone, Copy, Debug)]
pub struct QuicLimits {
    /// Streams that a client may have open: one for control, the others for blobs.
    pub streams: u32,
    /// Bytes that a client may send on a stream before the relay has read them.
    pub stream_window: u32,
}

/// Bytes that a client may send on all streams before the relay has read them, and bytes that the relay
/// keeps for a client that does not acknowledge them, while nothing large is under way: one of the
/// largest messages, ten of them a second on a path of 100 ms. It is what any client can make the relay
/// hold for it by reading nothing, or by sending faster than it may.
const NARROW_WINDOW: u32 = 80 * 1024;

/// The former while a blob is transferred: see [`Channel::widen`].
const WIDE_RECEIVE_WINDOW: u32 = 1024 * 1024;

/// The latter, which then fills a path of 40 Mbit/s and 100 ms.
const WIDE_SEND_WINDOW: u32 = 512 * 1024;

impl Default for QuicLimits {
    /// 8 streams; a window that fills a path of 40 Mbit/s and 100 ms.
    fn default() -> Self {
        Self { streams: 8, stream_window: 512 * 1024 }
    }
}

fn base_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE_TIMEOUT)))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // One bit that would tell every observer the round-trip time.
        .allow_spin(false)
        // Frames are padded instead (`crate::padding`). quinn-proto 0.11.19 pads packets that only
        // acknowledge as well and then counts them as in flight, although nothing acknowledges them
        // (the hazard of RFC 9002 §7): ten of them fill the first congestion window, nothing more
        // may be sent, and without an ack-eliciting packet no timer ends that. Under load a
        // connection then stood still for ever.
        .pad_to_mtu(false);
    transport
}

/// quinn's configuration of a relay.
///
/// # Errors
/// [`Lost::Protocol`] if TLS cannot be set up, which does not happen with our provider.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    limits: QuicLimits,
) -> Result<ServerConfig, Lost> {
    let tls = server_tls(certificates).map_err(|_| Lost::Protocol)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| Lost::Protocol)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = base_transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams))
        .stream_receive_window(VarInt::from_u32(limits.stream_window))
        .receive_window(VarInt::from_u32(NARROW_WINDOW))
        .send_window(NARROW_WINDOW.into());
    config
        .transport_config(Arc::new(transport))
        .migration(true)
        .incoming_buffer_size(INCOMING)
        .incoming_buffer_size_total(INCOMING_TOTAL);
    Ok(config)
}

/// Finishes the handshake with a client. The caller decides on retry and refusal before.
///
/// # Errors
/// [`Lost`].
pub async fn accept_quic(incoming: Incoming) -> Result<QuicChannel, Lost> {
    let connecting = incoming.accept().map_err(|error| lost(&error))?;
    let connection = connecting.await.map_err(|error| lost(&error))?;
    Ok(QuicChannel { connection, _endpoint: None })
}

/// Connects to a relay from a socket of its own, which closes with the channel.
///
/// # Errors
/// [`Lost`]; [`Lost::PinMismatch`] if another root key answers.
pub async fn connect_quic(
    relay: SocketAddr,
    root: RootFingerprint,
    bind: Option<IpAddr>,
) -> Result<QuicChannel, Lost> {
    let (tls, verifier) = client_tls(root).map_err(|_| Lost::Protocol)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| Lost::Protocol)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = base_transport();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.transport_config(Arc::new(transport));
    let any = match relay {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let from = SocketAddr::new(bind.unwrap_or(any), 0);
    let endpoint = Endpoint::client(from).map_err(|_| Lost::Unreachable)?;
    let connecting =
        endpoint.connect_with(config, relay, LEAF_NAME).map_err(|_| Lost::Unreachable)?;
    match connecting.await {
        Ok(connection) => Ok(QuicChannel { connection, _endpoint: Some(endpoint) }),
        Err(_) if verifier.saw_mismatch() => Err(Lost::PinMismatch),
        Err(_) if verifier.saw_bad_certificate() => Err(Lost::Certificate),
        Err(ConnectionError::TimedOut | ConnectionError::Reset) => Err(Lost::Unreachable),
        Err(ConnectionError::ConnectionClosed(close))
            if u64::from(close.error_code) == CONNECTION_REFUSED =>
        {
            Err(Lost::Busy)
        }
        Err(error) => Err(lost(&error)),
    }
}

/// A server that does not accept a connection says so with this code (RFC 9000 §20.1).
const CONNECTION_REFUSED: u64 = 0x02;

/// A QUIC connection.
#[derive(Debug)]
pub struct QuicChannel {
    connection: quinn::Connection,
    /// Keeps a client's socket open as long as the channel.
    _endpoint: Option<Endpoint>,
}

fn lost(error: &ConnectionError) -> Lost {
    match error {
        ConnectionError::TimedOut => Lost::TimedOut,
        ConnectionError::Reset | ConnectionError::LocallyClosed => Lost::Closed,
        ConnectionError::ApplicationClosed(close) => match close.error_code.into_inner() {
            0 => Lost::Closed,
            2 => Lost::ShuttingDown,
            3 => Lost::Busy,
            _ => Lost::Protocol,
        },
        ConnectionError::TransportError(error) if CRYPTO_ERRORS.contains(&error.code.into()) => {
            Lost::Protocol
        }
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0 => {
            Lost::Closed
        }
        _ => Lost::Protocol,
    }
}

/// A relay's half of a stream: shutting it down waits until the client has all of it.
///
/// Without that a relay that stops can't know when to close: closing loses what is under way, and the
/// client's own goodbye need not come. quinn-proto 0.11.19 sends CONNECTION_CLOSE only if data, too,
/// might be sent, and a client whose congestion window is full at that moment never says it, since
/// nothing that arrives afterwards empties the window of a closed connection.
struct ToTheEnd {
    stream: SendStream,
    ended: Option<BoxFuture<'static, ()>>,
}

impl ToTheEnd {
    const fn new(stream: SendStream) -> Self {
        Self { stream, ended: None }
    }
}

impl AsyncWrite for ToTheEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let Self { stream, ended } = &mut *self;
        let ended = ended.get_or_insert_with(|| {
            // Fails if the client wants no more of it, which is an end as well.
            let _ = stream.finish();
            let all = stream.stopped();
            Box::pin(async move {
                let _ = all.await;
            })
        });
        ended.as_mut().poll(cx).map(Ok)
    }
}

impl Channel for QuicChannel {
    fn open(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async {
            let (send, recv) = self.connection.open_bi().await.map_err(|error| lost(&error))?;
            Ok((Box::new(send) as Writer, Box::new(recv) as Reader))
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async {
            let (send, recv) = self.connection.accept_bi().await.map_err(|error| lost(&error))?;
            Ok((Box::new(ToTheEnd::new(send)) as Writer, Box::new(recv) as Reader))
        })
    }

    fn exporter(&self) -> Result<Exporter, Lost> {
        let mut bytes = [0; 32];
        self.connection
            .export_keying_material(&mut bytes, EXPORTER_LABEL, &[])
            .map_err(|_| Lost::Protocol)?;
        Ok(Exporter::from_bytes(bytes))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Quic
    }

    fn peer(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn close(&self, reason: Goodbye) {
        self.connection.close(VarInt::from_u32(reason as u32), &[]);
    }

    fn widen(&self, wide: bool) {
        let (receive, send) = if wide {
            (WIDE_RECEIVE_WINDOW, WIDE_SEND_WINDOW)
        } else {
            (NARROW_WINDOW, NARROW_WINDOW)
        };
        self.connection.set_receive_window(VarInt::from_u32(receive));
        self.connection.set_send_window(send.into());
    }

    fn closed(&self) -> BoxFuture<'_, Lost> {
        Box::pin(async { lost(&self.connection.closed().await) })
    }
}
