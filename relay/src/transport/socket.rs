//! The UDP socket, with a bound on what is sent in one call.

use std::io::{IoSliceMut, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// Packets that are given to the system in one call (segmentation offload). quinn keeps room for so
/// many packets of 1,452 bytes in every connection for as long as it lives: the ten that it would
/// send are a quarter of what an idle subscriber costs.
const PACKETS_AT_A_TIME: usize = 2;

/// As the socket in it, but for [`PACKETS_AT_A_TIME`].
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<Result<usize>> {
        self.0.poll_recv(context, buffers, metas)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments().min(PACKETS_AT_A_TIME)
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}
