//! A network in which UDP is blocked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

/// What came to the forwarder, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    Datagram,
    Connection,
}

/// Forwards TCP to the relay; datagrams go nowhere, and nobody is told so.
pub struct Forwarder {
    pub port: u16,
    came: Arc<Mutex<Vec<Came>>>,
    cut: watch::Sender<u64>,
}

impl Forwarder {
    pub async fn to(relay: SocketAddr) -> Self {
        let (listener, swallowing) = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // Somebody else may have the same number for datagrams.
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, socket);
            }
        };
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(Mutex::new(Vec::new()));
        let cut = watch::Sender::new(0);
        let (log, cuts) = (came.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                log.lock().unwrap().push(Came::Connection);
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(relay).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inner, &mut outer) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        let log = came.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while swallowing.recv_from(&mut buffer).await.is_ok() {
                log.lock().unwrap().push(Came::Datagram);
            }
        });
        Self { port, came, cut }
    }

    /// Ends all connections that are open.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// What came first since this was asked last.
    pub fn first(&self) -> Option<Came> {
        std::mem::take(&mut *self.came.lock().unwrap()).first().copied()
    }
}
