//! Accepts connections and ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use undertone_wire::transport::{Goodbye, accept_quic};

use super::connection::{Services, serve};
use crate::mailboxes::ConnectionId;

/// Handshakes under way at a time. From the first half on, addresses must be confirmed by a retry
/// (RFC 9000 §8.1.2), so that forged ones cost the relay nothing.
const HANDSHAKES: usize = 256;

/// Connections at a time, unless configured otherwise.
pub(crate) const CONNECTIONS: usize = 20_000;

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long clients get, when the relay stops, to read what was answered.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long the sockets get to say goodbye.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// Accepts connections until told to stop.
pub(crate) struct Server {
    endpoint: Endpoint,
    accepting: tokio::task::JoinHandle<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) fn start(endpoint: Endpoint, services: Services, connections: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(endpoint.clone(), services, connections, stopped));
        Self { endpoint, accepting, stop }
    }

    /// Takes nothing new, answers what was asked, then closes the connections.
    pub(crate) async fn drain(self) {
        let _ = self.stop.send(true);
        if let Ok(mut connections) = self.accepting.await {
            let drained = async { while connections.join_next().await.is_some() {} };
            if tokio::time::timeout(DRAIN_TIME, drained).await.is_err() {
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
    endpoint: Endpoint,
    services: Services,
    most: usize,
    mut stopped: watch::Receiver<bool>,
) -> JoinSet<()> {
    let next_id = AtomicU64::new(1);
    let handshakes = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            // Finished connections are forgotten as they finish.
            Some(_) = connections.join_next() => continue,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some(incoming) = incoming else { return connections };
        let Some(incoming) =
            admit(incoming, handshakes.load(Ordering::Relaxed), connections.len(), most)
        else {
            continue;
        };
        let id = ConnectionId(next_id.fetch_add(1, Ordering::Relaxed));
        let under_way = UnderWay::new(&handshakes);
        let (services, stopped) = (services.clone(), stopped.clone());
        connections.spawn(async move {
            let channel = tokio::time::timeout(HANDSHAKE_TIME, accept_quic(incoming)).await;
            drop(under_way);
            if let Ok(Ok(channel)) = channel {
                serve(id, Arc::new(channel), services, stopped).await;
            }
        });
    }
}

/// Decides about a connection before anything is computed for it.
fn admit(
    incoming: Incoming,
    handshakes: usize,
    connections: usize,
    most: usize,
) -> Option<Incoming> {
    if handshakes >= HANDSHAKES || connections >= most {
        incoming.refuse();
        return None;
    }
    if handshakes >= HANDSHAKES / 2 && !incoming.remote_address_validated() {
        // Fails only if a retry came before, in which case the address is validated.
        let _ = incoming.retry();
        return None;
    }
    Some(incoming)
}

/// Counts a handshake for as long as it lives.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
