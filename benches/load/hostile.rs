//! Honest clients alone, and beside hostile ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use undertone_wire::client::{Carriers, Connection, Options};
use undertone_wire::limits::MAX_CREDIT;
use undertone_wire::transport::{Channel as _, connect_quic};

use crate::child::RelayProcess;
use crate::latency::Latencies;
use crate::system::{busy, directory};
use crate::throughput::envelope;
use crate::{Result, people};

/// Honest mailboxes, and one delivery each that is under way at a time.
const HONEST: u32 = 8;

/// Pause between an honest client's deliveries: they are people, not a bench.
const PAUSE: Duration = Duration::from_millis(10);

/// The mailbox that is filled.
const VICTIM: u32 = HONEST;

pub(crate) async fn run(on: Option<PathBuf>, time: Duration) -> Result {
    let directory = directory(on)?;
    people::populate(directory.path(), HONEST + 1, HONEST + 1).await?;
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let options = Options {
        carriers: Carriers::QuicOnly,
        timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let mut quiet = honest(&relay, &options, time, 1).await?;
    println!("load of the machine {}", busy());
    println!("honest clients alone: p50 {:?}, p99 {:?}", quiet.permille(500), quiet.permille(990));
    for (what, kind) in KINDS {
        let hostile = attack(kind, &relay, &options).await?;
        let round = u64::from(kind as u8) + 2;
        let mut beside = honest(&relay, &options, time, round).await?;
        drop(hostile);
        let factor =
            beside.permille(990).as_secs_f64() / quiet.permille(990).as_secs_f64().max(1e-6);
        println!(
            "beside {what}: p50 {:?}, p99 {:?} ({factor:.1} times quiet)",
            beside.permille(500),
            beside.permille(990)
        );
    }
    println!("resident memory of the relay: {} KiB", relay.resident_kib()?);
    relay.stop().await
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Datagrams,
    Frames,
    Streams,
    SlowReaders,
    Filling,
}

const KINDS: [(&str, Kind); 5] = [
    ("junk datagrams (20,000/s)", Kind::Datagrams),
    ("connections that send junk frames (20/s)", Kind::Frames),
    ("100 connections with 8 streams that claim the largest messages", Kind::Streams),
    ("a subscriber that does not read, whose mailbox is being filled", Kind::SlowReaders),
    ("one sender who fills a mailbox, 64 deliveries in flight", Kind::Filling),
];

/// Latencies of whole deliveries.
async fn honest(
    relay: &RelayProcess,
    options: &Options,
    time: Duration,
    round: u64,
) -> Result<Latencies> {
    let mut connections = Vec::new();
    for _ in 0..HONEST {
        connections.push(Connection::connect(&relay.address, options).await?);
    }
    // Whoever attacks may delay who comes; what is measured is who is there.
    let since = Instant::now();
    let mut running = JoinSet::new();
    for (client, connection) in (0..HONEST).zip(connections) {
        running.spawn(async move {
            let mut latencies = Latencies::default();
            let mut number = (round << 48) | (u64::from(client) << 32);
            while since.elapsed() < time {
                number += 1;
                let begun = Instant::now();
                let target = people::writer(client);
                let sent = connection.deliver(&target, envelope(number, since)).await;
                match sent {
                    Err(undertone_wire::client::ClientError::Refused(
                        undertone_wire::ErrorCode::MailboxFull,
                    )) => {}
                    sent => {
                        sent?;
                        latencies.add(begun.elapsed());
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, crate::Error>(latencies)
        });
    }
    let mut all = Latencies::default();
    while let Some(one) = running.join_next().await {
        all.extend(one??);
    }
    Ok(all)
}

/// Begins an attack, which ends when what this gives is dropped.
async fn attack(kind: Kind, relay: &RelayProcess, options: &Options) -> Result<JoinSet<Result>> {
    let mut attack = JoinSet::new();
    let address = relay.address.clone();
    let to = tokio::net::lookup_host((address.host(), address.port())).await?.next();
    let (to, root) = (to.ok_or("no address")?, *address.root());
    match kind {
        Kind::Datagrams => {
            attack.spawn(async move {
                let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
                let mut tick = tokio::time::interval(Duration::from_millis(1));
                loop {
                    tick.tick().await;
                    for number in 0..20_u8 {
                        let mut junk = [number; 1200];
                        junk[0] = 0xc0 | number;
                        // A relay that does not read them is what is being tried.
                        let _ = socket.try_send_to(&junk, to);
                    }
                }
            });
        }
        Kind::Frames => {
            attack.spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_millis(50));
                loop {
                    tick.tick().await;
                    let Ok(channel) = connect_quic(to, root, None).await else { continue };
                    let (mut writer, _reader) = channel.open().await?;
                    let _ = writer.write_all(&[1, 0, 0, 0, 9, 7, 7, 7, 7, 7, 7, 7, 7, 7]).await;
                    channel.closed().await;
                }
            });
        }
        Kind::Streams => {
            let mut held = Vec::new();
            for _ in 0..100 {
                let channel = Arc::new(connect_quic(to, root, None).await?);
                for stream in 0..8 {
                    let (mut writer, reader) = channel.open().await?;
                    let claim: &[u8] =
                        if stream == 0 { &[1, 0, 4, 0, 0, 5, 0] } else { &[2, 0, 0, 4, 0] };
                    writer.write_all(claim).await?;
                    held.push((channel.clone(), writer, reader));
                }
            }
            attack.spawn(async move {
                let _held = held;
                std::future::pending().await
            });
        }
        Kind::SlowReaders => {
            let subscriber = Connection::connect(&address, options).await?;
            // Pushes are taken by nobody: what the connection holds is full soon.
            subscriber.subscribe(&[&people::owner(VICTIM)], MAX_CREDIT).await?;
            let sender = Connection::connect(&address, options).await?;
            attack.spawn(async move {
                let _subscriber = subscriber;
                fill(sender, 1).await
            });
        }
        Kind::Filling => {
            let sender = Connection::connect(&address, options).await?;
            attack.spawn(async move { fill(sender, 2).await });
        }
    }
    Ok(attack)
}

/// 64 at a time, for ever; a full mailbox refuses and is tried on.
async fn fill(sender: Connection, round: u64) -> Result {
    let since = Instant::now();
    let mut running = JoinSet::new();
    let mut number = (round + 100) << 48;
    loop {
        while running.len() < 64 {
            number += 1;
            let sender = sender.clone();
            running.spawn(async move {
                let bytes = envelope(number, since);
                sender.deliver(&people::writer(VICTIM), bytes).await
            });
        }
        let _ = running.join_next().await;
    }
}
