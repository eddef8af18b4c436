//! Frames over plain TCP with a known exporter, so that another implementation of the frames can be
//! tried without TLS. Compiled only with `--cfg undertone_test_transport`, and only for loopback.
//!
//! A connection carries one stream, as with TLS on TCP (document 11, appendix).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::stream::StreamChannel;
use super::tcp::dial;
use super::{Carrier, Lost, keep_alive};
use crate::ids::Exporter;

/// In place of what TLS would export. Known to everybody: signatures over it are worth nothing.
pub const TEST_EXPORTER: &[u8; 32] = b"undertone/1 test transport only!";

/// A channel over a connection from this machine.
///
/// # Errors
/// [`Lost::Protocol`] if it comes from elsewhere.
pub fn accept_test(connection: TcpStream, peer: SocketAddr) -> Result<StreamChannel, Lost> {
    if !peer.ip().is_loopback() {
        return Err(Lost::Protocol);
    }
    keep_alive(&connection).map_err(|_| Lost::Closed)?;
    let exporter = Exporter::from_bytes(*TEST_EXPORTER);
    Ok(StreamChannel::new(Carrier::Test, peer, exporter, connection))
}

/// Connects to a relay's test transport on this machine.
///
/// # Errors
/// [`Lost`].
pub async fn connect_test(relay: SocketAddr) -> Result<StreamChannel, Lost> {
    let mut channel = establish(relay).await?;
    channel.dial_with(Box::new(move || Box::pin(establish(relay))));
    Ok(channel)
}

async fn establish(relay: SocketAddr) -> Result<StreamChannel, Lost> {
    if !relay.ip().is_loopback() {
        return Err(Lost::Protocol);
    }
    let connection = dial(relay, None).await?;
    let exporter = Exporter::from_bytes(*TEST_EXPORTER);
    Ok(StreamChannel::new(Carrier::Test, relay, exporter, connection))
}
