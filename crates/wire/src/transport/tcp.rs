//! TLS 1.3 on TCP, for networks that block UDP: the same frames, the same pin, the same exporter.
//!
//! A connection carries one stream: the client's control stream, or one blob.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::ResolvesServerCert;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stream::StreamChannel;
use super::{Carrier, LEAF_NAME, Lost, client_tls, server_tls};
use crate::ALPN;
use crate::ids::{Exporter, RootFingerprint};
use crate::owner::EXPORTER_LABEL;

/// A silent connection is probed after this long, as often as QUIC's is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Pause between probes that are not answered.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// Probes that may remain unanswered: a dead connection is noticed after a minute, as in QUIC.
const PROBES: u32 = 4;

/// How a relay does TLS on TCP; cheap to clone.
#[derive(Clone)]
pub struct TcpTls(TlsAcceptor);

impl core::fmt::Debug for TcpTls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TcpTls(..)")
    }
}

impl TcpTls {
    /// With the same certificates as QUIC.
    ///
    /// # Errors
    /// [`Lost::Protocol`] if TLS cannot be set up, which does not happen with our provider.
    pub fn new(certificates: Arc<dyn ResolvesServerCert>) -> Result<Self, Lost> {
        let config = server_tls(certificates).map_err(|_| Lost::Protocol)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Finishes the handshake with a client. The caller bounds its time.
///
/// # Errors
/// [`Lost`].
pub async fn accept_tcp(
    tls: &TcpTls,
    connection: TcpStream,
    peer: SocketAddr,
) -> Result<StreamChannel, Lost> {
    keep_alive(&connection).map_err(|_| Lost::Closed)?;
    let stream = tls.0.accept(connection).await.map_err(|_| Lost::Protocol)?;
    let (_, session) = stream.get_ref();
    // R-1126: a client that names no protocol gets this far.
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Lost::Protocol);
    }
    let exporter = session.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]));
    let exporter = Exporter::from_bytes(exporter.map_err(|_| Lost::Protocol)?);
    Ok(StreamChannel::new(Carrier::Tcp, peer, exporter, stream))
}

/// Connects to a relay. Each stream that is opened later makes a further connection.
///
/// # Errors
/// [`Lost`]; [`Lost::PinMismatch`] if another root key answers.
pub async fn connect_tcp(
    relay: SocketAddr,
    root: RootFingerprint,
    bind: Option<IpAddr>,
) -> Result<StreamChannel, Lost> {
    let mut channel = establish(relay, root, bind).await?;
    channel.dial_with(Box::new(move || Box::pin(establish(relay, root, bind))));
    Ok(channel)
}

/// One connection.
async fn establish(
    relay: SocketAddr,
    root: RootFingerprint,
    bind: Option<IpAddr>,
) -> Result<StreamChannel, Lost> {
    let (tls, verifier) = client_tls(root).map_err(|_| Lost::Protocol)?;
    let connection = dial(relay, bind).await?;
    let name = ServerName::try_from(LEAF_NAME).map_err(|_| Lost::Protocol)?;
    let stream = match TlsConnector::from(Arc::new(tls)).connect(name, connection).await {
        Ok(stream) => stream,
        Err(_) if verifier.saw_mismatch() => return Err(Lost::PinMismatch),
        Err(_) if verifier.saw_bad_certificate() => return Err(Lost::Certificate),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(Lost::Protocol);
        }
        // Closed in the middle: a relay that serves too many does that.
        Err(_) => return Err(Lost::Unreachable),
    };
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Lost::Protocol);
    }
    let exporter = session.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]));
    let exporter = Exporter::from_bytes(exporter.map_err(|_| Lost::Protocol)?);
    Ok(StreamChannel::new(Carrier::Tcp, relay, exporter, stream))
}

/// A TCP connection, from a given local address if one is wanted.
pub(super) async fn dial(relay: SocketAddr, bind: Option<IpAddr>) -> Result<TcpStream, Lost> {
    let socket = match relay {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(|_| Lost::Unreachable)?;
    let any = match relay {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    if let Some(from) = bind.filter(|from| *from != any) {
        socket.bind(SocketAddr::new(from, 0)).map_err(|_| Lost::Unreachable)?;
    }
    let connection = socket.connect(relay).await.map_err(|_| Lost::Unreachable)?;
    keep_alive(&connection).map_err(|_| Lost::Unreachable)?;
    Ok(connection)
}

/// Has the kernel notice when the other end is gone, and send small messages without delay.
///
/// # Errors
/// What the system reports.
pub fn keep_alive(connection: &TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let probes =
        TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(PROBE_PAUSE).with_retries(PROBES);
    SockRef::from(connection).set_tcp_keepalive(&probes)
}
