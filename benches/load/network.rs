//! Bad networks without a kernel's help: between the clients and the relay stands a proxy on loopback
//! that delays, loses, repeats and reorders datagrams. TCP, which is repaired below what a proxy sees,
//! is delayed only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use undertone_wire::RelayAddress;

use crate::child::RelayProcess;
use crate::soak::{TALKERS, World, people};
use crate::system::directory;
use crate::{Result, people as numbered};

/// What a network does to what is sent over it, each way.
#[derive(Clone, Copy)]
struct Network {
    name: &'static str,
    delay: Duration,
    /// More or less than that by up to so much.
    jitter: Duration,
    /// Percent of the datagrams that are lost, that come twice, and that overtake the others.
    loss: u64,
    duplicate: u64,
    reorder: u64,
}

const fn network(
    name: &'static str,
    delay: [u64; 2],
    [loss, duplicate, reorder]: [u64; 3],
) -> Network {
    let [delay, jitter] = [Duration::from_millis(delay[0]), Duration::from_millis(delay[1])];
    Network { name, delay, jitter, loss, duplicate, reorder }
}

/// The same as in `relay/tests/netem.sh`.
const NETWORKS: [Network; 6] = [
    network("delay 1 ms", [1, 0], [0, 0, 0]),
    network("delay 40 ms, jitter 10 ms", [40, 10], [0, 0, 0]),
    network("loss 5 %", [0, 0], [5, 0, 0]),
    network("delay 20 ms, 25 % reordered", [20, 0], [0, 0, 25]),
    network("5 % twice", [0, 0], [0, 5, 0]),
    network("delay 30 ms, jitter 5 ms, loss 2 %, 1 % twice, 10 % reordered", [30, 5], [2, 1, 10]),
];

/// How long what is under way gets to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(on: Option<PathBuf>, time: Duration) -> Result {
    let directory = directory(on)?;
    for (number, network) in NETWORKS.into_iter().enumerate() {
        let store = directory.path().join(number.to_string());
        numbered::populate(&store, TALKERS, TALKERS).await?;
        let relay = RelayProcess::start(&store, 0).await?;
        let proxy = Arc::new(Proxy::new(network, relay.address.port()));
        let (address, _proxy) = proxy.clone().start(&relay.address).await?;
        let world = Arc::new(World::new(address));
        let mut talking = people::talkers(&world);
        let until = tokio::time::sleep(time);
        tokio::select! {
            () = until => {}
            // Nobody ends before it is over but for a fault.
            Some(ended) = talking.join_next() => ended??,
        }
        world.finish();
        let ending = async {
            while let Some(ended) = talking.join_next().await {
                ended??;
            }
            Ok::<_, crate::Error>(())
        };
        tokio::time::timeout(PATIENCE, ending).await.map_err(|_| "somebody waits for ever")??;
        let counts = &world.counts;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{}: {} delivered, {} received in order and once; {} datagrams, {} lost, {} twice",
            network.name,
            of(&counts.delivered),
            of(&counts.received),
            of(&proxy.seen),
            of(&proxy.lost),
            of(&proxy.twice)
        );
        if of(&counts.delivered) == 0 || of(&counts.delivered) != of(&counts.received) {
            return Err("something that was accepted did not arrive".into());
        }
        relay.stop().await?;
    }
    println!("every message arrived on every network");
    Ok(())
}

/// Stands between clients and a relay.
struct Proxy {
    network: Network,
    relay: SocketAddr,
    /// Chances, the same in each run for datagrams in the same order.
    state: AtomicU64,
    seen: AtomicU64,
    lost: AtomicU64,
    twice: AtomicU64,
}

impl Proxy {
    fn new(network: Network, port: u16) -> Self {
        let relay = (Ipv4Addr::LOCALHOST, port).into();
        let (state, seen) = (AtomicU64::new(1), AtomicU64::new(0));
        Self { network, relay, state, seen, lost: AtomicU64::new(0), twice: AtomicU64::new(0) }
    }

    /// A number below `bound`, by chance.
    fn chance(&self, bound: u64) -> u64 {
        let mut x = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound.max(1)
    }

    fn delay(&self) -> Duration {
        let jitter = self.network.jitter;
        let more = self.chance(u64::try_from(jitter.as_micros()).unwrap_or(0) * 2 + 1);
        (self.network.delay + Duration::from_micros(more)).saturating_sub(jitter)
    }

    /// Begins; gives the address at which clients find the relay behind it.
    async fn start(self: Arc<Self>, relay: &RelayAddress) -> Result<(RelayAddress, JoinSet<()>)> {
        let udp = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let port = udp.local_addr()?.port();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().datagrams(udp));
        tasks.spawn(self.connections(tcp));
        Ok((RelayAddress::new(relay.host(), port, *relay.root())?, tasks))
    }

    /// Sends one on as the network would.
    fn pass(self: &Arc<Self>, bytes: &[u8], from: &Arc<UdpSocket>, to: SocketAddr) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        if self.chance(100) < self.network.loss {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let twice = self.chance(100) < self.network.duplicate;
        if twice {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..=u8::from(twice) {
            let overtakes = self.chance(100) < self.network.reorder;
            let delay = if overtakes { Duration::ZERO } else { self.delay() };
            let (bytes, from) = (bytes.to_vec(), from.clone());
            tokio::spawn(async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                // Lost, where it can't be sent.
                let _ = from.send_to(&bytes, to).await;
            });
        }
    }

    async fn datagrams(self: Arc<Self>, front: Arc<UdpSocket>) {
        let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut answers = JoinSet::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((count, client)) = front.recv_from(&mut buffer).await else { continue };
            let back = match clients.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let to_relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
                    let Ok(to_relay) = to_relay.map(Arc::new) else { continue };
                    answers.spawn(self.clone().answers(to_relay.clone(), front.clone(), client));
                    new.insert(to_relay)
                }
            };
            self.pass(buffer.get(..count).unwrap_or_default(), back, self.relay);
        }
    }

    async fn answers(
        self: Arc<Self>,
        back: Arc<UdpSocket>,
        front: Arc<UdpSocket>,
        client: SocketAddr,
    ) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((count, _)) = back.recv_from(&mut buffer).await else { continue };
            self.pass(buffer.get(..count).unwrap_or_default(), &front, client);
        }
    }

    async fn connections(self: Arc<Self>, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            let proxy = self.clone();
            open.spawn(async move {
                let Ok(relay) = TcpStream::connect(proxy.relay).await else { return };
                let (from_client, to_client) = client.into_split();
                let (from_relay, to_relay) = relay.into_split();
                tokio::join!(
                    proxy.carry(from_client, to_relay),
                    proxy.carry(from_relay, to_client)
                );
            });
        }
    }

    /// Delays what goes one way, in order.
    async fn carry(
        &self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
    ) {
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            tokio::time::sleep(self.network.delay).await;
            if to.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    }
}
