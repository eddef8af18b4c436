//! Connections that a seed holds up, cuts and leaves half open.

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};
use undertone_wire::Exporter;
use undertone_wire::transport::{BoxFuture, Carrier, Channel, Goodbye, Lost, Reader, Writer};

use super::random::Random;

/// Bytes on their way in one direction.
const WINDOW: usize = 64 * 1024;

/// What a connection is going through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weather {
    /// Bytes take a while.
    Fair,
    /// Nothing gets through, and nobody is told: a client that has moved to another network, a
    /// middle box that forgot it. It may clear up.
    Silent,
    /// It has ended, and both ends know.
    Ended,
}

/// Where connections are made.
pub(super) struct Network {
    seed: u64,
    made: AtomicU64,
    arrivals: Mutex<Option<mpsc::UnboundedSender<Arc<dyn Channel>>>>,
    links: Mutex<Vec<watch::Sender<Weather>>>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            made: AtomicU64::new(0),
            arrivals: Mutex::default(),
            links: Mutex::default(),
        })
    }

    /// The relay's end.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<Arc<dyn Channel>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.arrivals.lock().unwrap() = Some(sender);
        receiver
    }

    /// A connection to the relay.
    pub(super) fn connect(&self) -> Arc<dyn Channel> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let weather = watch::Sender::new(Weather::Fair);
        let (near, far) = (tokio::io::duplex(WINDOW), tokio::io::duplex(WINDOW));
        // client writes → near.0 | near.1 → carried → far.0 | far.1 → relay reads; and back.
        let (client, client_wire) = near;
        let (relay, relay_wire) = far;
        let (client_read, client_write) = tokio::io::split(client_wire);
        let (relay_read, relay_write) = tokio::io::split(relay_wire);
        let chance = |way| Random::new(self.seed, 1000 + 2 * number + way);
        tokio::spawn(carry(client_read, relay_write, weather.subscribe(), chance(0)));
        tokio::spawn(carry(relay_read, client_write, weather.subscribe(), chance(1)));
        self.links.lock().unwrap().push(weather.clone());
        let end = |stream: DuplexStream| -> Arc<dyn Channel> {
            let (reader, writer) = tokio::io::split(stream);
            let stream: (Writer, Reader) = (Box::new(writer), Box::new(reader));
            Arc::new(End { number, stream: Mutex::new(Some(stream)), weather: weather.clone() })
        };
        let arrivals = self.arrivals.lock().unwrap().clone().unwrap();
        arrivals.send(end(relay)).unwrap();
        end(client)
    }

    /// Makes trouble, for half an hour of virtual time; then the weather is fair.
    pub(super) async fn trouble(self: Arc<Self>) {
        let mut chance = Random::new(self.seed, 3);
        for _ in 0..200 {
            tokio::time::sleep(chance.millis(18_000)).await;
            let links = self.links.lock().unwrap();
            let alive: Vec<_> =
                links.iter().filter(|link| *link.borrow() != Weather::Ended).collect();
            if alive.is_empty() {
                continue;
            }
            let which = usize::try_from(chance.below(alive.len() as u64)).unwrap();
            let weather = match chance.below(4) {
                0 => Weather::Ended,
                1 | 2 => Weather::Silent,
                _ => Weather::Fair,
            };
            alive[which].send_replace(weather);
        }
        // What was held up comes in now, late as it is.
        for link in self.links.lock().unwrap().iter() {
            link.send_if_modified(|weather| {
                let clears = *weather == Weather::Silent;
                if clears {
                    *weather = Weather::Fair;
                }
                clears
            });
        }
    }
}

/// Carries one direction's bytes, late, until the connection ends.
async fn carry(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
    mut weather: watch::Receiver<Weather>,
    mut chance: Random,
) {
    let mut piece = vec![0; 4096];
    loop {
        let count = tokio::select! {
            biased;
            _ = weather.wait_for(|weather| *weather == Weather::Ended) => return,
            count = from.read(&mut piece) => count.unwrap_or(0),
        };
        // Sometimes a packet was lost and is sent again.
        let delay = if chance.once_in(20) { 1500 } else { 80 };
        tokio::time::sleep(chance.millis(delay)).await;
        if weather.wait_for(|weather| *weather != Weather::Silent).await.is_err()
            || *weather.borrow() == Weather::Ended
        {
            return;
        }
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

/// One end of a connection.
struct End {
    number: u64,
    stream: Mutex<Option<(Writer, Reader)>>,
    weather: watch::Sender<Weather>,
}

impl End {
    fn take(&self) -> Option<(Writer, Reader)> {
        self.stream.lock().unwrap().take()
    }
}

impl Channel for End {
    fn open(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async { self.take().ok_or(Lost::Protocol) })
    }

    fn accept(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async {
            match self.take() {
                Some(stream) => Ok(stream),
                None => Err(self.closed().await),
            }
        })
    }

    fn exporter(&self) -> Result<Exporter, Lost> {
        let mut bytes = [5; 32];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        Ok(Exporter::from_bytes(bytes))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Test
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
    }

    /// A word that does not get through a silent connection: then the other end stays.
    fn close(&self, _: Goodbye) {
        self.weather.send_if_modified(|weather| {
            let heard = *weather == Weather::Fair;
            if heard {
                *weather = Weather::Ended;
            }
            heard
        });
    }

    fn closed(&self) -> BoxFuture<'_, Lost> {
        Box::pin(async {
            let mut weather = self.weather.subscribe();
            let ended = weather.wait_for(|weather| *weather == Weather::Ended);
            // A client that was not heard does not wait for ever either.
            let _ = tokio::time::timeout(Duration::from_secs(60), ended).await;
            Lost::Closed
        })
    }
}
