//! The sockets that a relay listens on: UDP for QUIC and TCP for TLS, on one port number.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// A relay that has just stopped may hold its port for a moment longer.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of packets that wait to be read: the first messages of a thousand clients who come back in the
/// same moment. What does not fit is lost, and sent again after a second or more.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Both sockets.
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// Binds both; port 0 is a port that is free for both.
pub(crate) async fn listen(address: SocketAddr) -> Result<Sockets> {
    let mut tries = 0;
    loop {
        match bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// "All addresses" means IPv4 only where the machine has no IPv6.
fn bind(listen: SocketAddr) -> Result<Sockets> {
    match bind_both(listen) {
        Err(error)
            if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && error.kind() != ErrorKind::AddrInUse =>
        {
            bind_both(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), listen.port()))
        }
        result => result,
    }
}

fn bind_both(listen: SocketAddr) -> Result<Sockets> {
    let udp = UdpSocket::bind(listen)?;
    // As much as the system allows; less only costs retransmissions.
    let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(RECEIVE_BUFFER);
    // Of a free UDP port the TCP port of the same number may be taken: then it is tried again.
    let tcp = TcpListener::bind(udp.local_addr()?)
        .map_err(|error| Error::new(error.kind(), format!("TCP: {error}")))?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets { udp, tcp })
}

/// The test transport, if the environment asks for it.
#[cfg(undertone_test_transport)]
pub(crate) async fn listen_unprotected() -> Result<Option<tokio::net::TcpListener>> {
    let Some(address) = std::env::var_os("UNDERTONE_TEST_TRANSPORT") else { return Ok(None) };
    let address = address.to_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let Some(address) = address.filter(|address| address.ip().is_loopback()) else {
        let what = "UNDERTONE_TEST_TRANSPORT is no loopback address with a port";
        return Err(Error::new(ErrorKind::InvalidInput, what));
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    // On its own line, for programs to read, whatever the log's format and level.
    eprintln!("test transport on {address}");
    eprintln!("WARNING: IT PROTECTS NOTHING. This build of the relay is for tests alone.");
    Ok(Some(listener))
}
