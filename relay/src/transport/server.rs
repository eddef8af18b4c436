//! Accepts connections and ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming, VarInt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use undertone_wire::transport::{Carrier, Channel, Goodbye, TcpTls, accept_quic, accept_tcp};

use super::connection::{Services, serve};
use super::waiting::WaitingRoom;
use crate::limits::{Arrival, Gate, Handshake};
use crate::mailboxes::ConnectionId;
use crate::metrics::Counter;

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long the sockets get to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// Pause after a connection could not be taken from the system, which happens when it has no file
/// descriptors left: some may be free then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where clients come in.
pub(crate) struct Doors {
    pub(crate) quic: Endpoint,
    pub(crate) tcp: TcpListener,
    pub(crate) tls: TcpTls,
    /// Without any protection; present only if it was asked for.
    #[cfg(undertone_test_transport)]
    pub(crate) test: Option<TcpListener>,
}

/// Accepts connections until told to stop.
pub(crate) struct Server {
    endpoint: Endpoint,
    accepting: tokio::task::JoinHandle<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) fn start(doors: Doors, services: Services, gate: Arc<Gate>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let endpoint = doors.quic.clone();
        let accepting = tokio::spawn(accept(doors, services, gate, stopped));
        Self { endpoint, accepting, stop }
    }

    /// Another configuration for connections that begin from now on.
    pub(crate) fn reconfigure(&self, quic: quinn::ServerConfig) {
        self.endpoint.set_server_config(Some(quic));
    }

    /// Takes nothing new, answers what was asked, then closes the connections. Clients get so long
    /// to read the answers.
    pub(crate) async fn drain(self, time: Duration) {
        let _ = self.stop.send(true);
        if let Ok(mut connections) = self.accepting.await {
            let drained = async { while connections.join_next().await.is_some() {} };
            if tokio::time::timeout(time, drained).await.is_err() {
                connections.shutdown().await;
            }
        }
        self.endpoint.close(VarInt::from_u32(Goodbye::ShuttingDown as u32), &[]);
        let _ = tokio::time::timeout(GOODBYE_TIME, self.endpoint.wait_idle()).await;
    }

    /// Ends everything at once.
    pub(crate) async fn kill(self) {
        // Closed first, so that no task can answer anything more.
        self.endpoint.close(VarInt::from_u32(Goodbye::Done as u32), &[]);
        let _ = self.stop.send(true);
        if let Ok(mut connections) = self.accepting.await {
            connections.shutdown().await;
        }
        let _ = tokio::time::timeout(GOODBYE_TIME, self.endpoint.wait_idle()).await;
    }
}

async fn accept(
    doors: Doors,
    services: Services,
    gate: Arc<Gate>,
    mut stopped: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut resting = Resting::default();
    let next_id = AtomicU64::new(1);
    let mut connections = JoinSet::new();
    let mut waiting = WaitingRoom::new(gate.clone());
    loop {
        let arrival = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return connections,
            // Finished connections are forgotten as they finish.
            Some(_) = connections.join_next() => continue,
            incoming = doors.quic.accept() => match incoming {
                Some(incoming) => waiting.admit(incoming).map(quic),
                None => return connections,
            },
            () = waiting.stirs() => waiting.next().map(quic),
            (connection, peer) = resting.next(|| doors.tcp.accept()) => {
                admit_tcp(&gate, peer, Arrived::Tcp(connection, peer))
            }
            arrived = unprotected(&doors) => admit_tcp(&gate, arrived.1, arrived.0),
        };
        let Some((arrived, handshake)) = arrival else { continue };
        let id = ConnectionId(next_id.fetch_add(1, Ordering::Relaxed));
        let (services, tls, stopped) = (services.clone(), doors.tls.clone(), stopped.clone());
        connections.spawn(async move {
            // Apart, so that the handshake's room goes with it.
            let greeting = Box::pin(arrived.greet(tls));
            let channel = tokio::time::timeout(HANDSHAKE_TIME, greeting).await;
            if let Ok(Some(channel)) = channel {
                let admission = Arc::new(handshake.established());
                admission.metrics().count(match channel.carrier() {
                    Carrier::Quic => Counter::ConnectionsQuic,
                    _ => Counter::ConnectionsTcp,
                });
                serve(id, channel, admission, services, stopped).await;
            }
        });
    }
}

/// Takes connections from the system, with a pause where that fails. The pause is kept here and not in
/// the waiting: that is given up whenever anything else happens, and the system would be asked again
/// at once, as often as anything else happens.
#[derive(Default)]
struct Resting {
    until: Option<Instant>,
}

impl Resting {
    /// The next connection. Can be given up and begun again without harm.
    async fn next<T, F>(&mut self, mut accept: impl FnMut() -> F) -> T
    where
        F: Future<Output = std::io::Result<T>>,
    {
        loop {
            if let Some(until) = self.until {
                tokio::time::sleep_until(until).await;
                self.until = None;
            }
            match accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "a TCP connection could not be accepted");
                    self.until = Some(Instant::now() + ACCEPT_PAUSE);
                }
            }
        }
    }
}

/// Somebody at one of the doors.
enum Arrived {
    Quic(Box<Incoming>),
    Tcp(TcpStream, SocketAddr),
    #[cfg(undertone_test_transport)]
    Test(TcpStream, SocketAddr),
}

/// The next connection of the test transport.
#[cfg(undertone_test_transport)]
async fn unprotected(doors: &Doors) -> (Arrived, SocketAddr) {
    match &doors.test {
        Some(listener) => {
            let (connection, peer) = Resting::default().next(|| listener.accept()).await;
            (Arrived::Test(connection, peer), peer)
        }
        None => std::future::pending().await,
    }
}

/// There is no test transport in this build.
#[cfg(not(undertone_test_transport))]
async fn unprotected(_: &Doors) -> (Arrived, SocketAddr) {
    std::future::pending().await
}

impl Arrived {
    /// The handshake.
    async fn greet(self, tls: TcpTls) -> Option<Arc<dyn Channel>> {
        Some(match self {
            Self::Quic(incoming) => Arc::new(accept_quic(*incoming).await.ok()?),
            Self::Tcp(connection, peer) => Arc::new(accept_tcp(&tls, connection, peer).await.ok()?),
            #[cfg(undertone_test_transport)]
            Self::Test(connection, peer) => {
                Arc::new(undertone_wire::transport::accept_test(connection, peer).ok()?)
            }
        })
    }
}

/// TCP has confirmed the address; who is turned away finds the connection closed.
fn admit_tcp(gate: &Arc<Gate>, peer: SocketAddr, arrived: Arrived) -> Option<(Arrived, Handshake)> {
    match gate.arrive(peer, true) {
        Arrival::Accept(handshake) => Some((arrived, handshake)),
        Arrival::Wait => {
            gate.metrics().count(Counter::TurnedAwayHandshakes);
            None
        }
        Arrival::Retry | Arrival::Refuse | Arrival::Ignore => None,
    }
}

fn quic((incoming, handshake): (Incoming, Handshake)) -> (Arrived, Handshake) {
    (Arrived::Quic(Box::new(incoming)), handshake)
}
