//! Accepts connections and ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use undertone_wire::transport::{Goodbye, accept_quic};

use super::connection::{Services, serve};
use crate::limits::{Arrival, Gate, Handshake};
use crate::mailboxes::ConnectionId;
use crate::metrics::Counter;

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
    pub(crate) fn start(endpoint: Endpoint, services: Services, gate: Arc<Gate>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(endpoint.clone(), services, gate, stopped));
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
    gate: Arc<Gate>,
    mut stopped: watch::Receiver<bool>,
) -> JoinSet<()> {
    let next_id = AtomicU64::new(1);
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            // Finished connections are forgotten as they finish.
            Some(_) = connections.join_next() => continue,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some(incoming) = incoming else { return connections };
        let Some((incoming, handshake)) = admit(&gate, incoming) else { continue };
        let id = ConnectionId(next_id.fetch_add(1, Ordering::Relaxed));
        let (services, stopped) = (services.clone(), stopped.clone());
        connections.spawn(async move {
            let channel = tokio::time::timeout(HANDSHAKE_TIME, accept_quic(incoming)).await;
            if let Ok(Ok(channel)) = channel {
                let admission = Arc::new(handshake.established());
                admission.metrics().count(Counter::ConnectionsQuic);
                serve(id, Arc::new(channel), admission, services, stopped).await;
            }
        });
    }
}

/// Decides about a connection before anything is computed for it.
fn admit(gate: &Arc<Gate>, incoming: Incoming) -> Option<(Incoming, Handshake)> {
    match gate.arrive(incoming.remote_address(), incoming.remote_address_validated()) {
        Arrival::Accept(handshake) => return Some((incoming, handshake)),
        // Fails only if a retry came before, in which case the address is confirmed.
        Arrival::Retry => drop(incoming.retry()),
        Arrival::Refuse => incoming.refuse(),
        Arrival::Ignore => incoming.ignore(),
    }
    None
}
