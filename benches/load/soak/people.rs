//! Who loads the relay.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{Carriers, ClientError, Connection, Options, Pushes, Ticket};
use undertone_wire::frame::{
    Acknowledgement, FillMode, MailboxKind, MailboxState, OwnerOperation, Push,
};
use undertone_wire::ids::BlobHash;
use undertone_wire::transport::{Channel as _, connect_quic};
use undertone_wire::{
    BlobDeleteCapability, BlobId, BlobReadCapability, Bounded, BoundedBytes, DepotSecret,
    ErrorCode, FetchCapability, Floor, MailboxSecret, SessionSecret, TakeId, WriteCapability,
};

use super::{IDLE, TALKERS, VISITORS, World, count};
use crate::throughput::envelope;
use crate::{Error, Result, people};

/// Pauses, so that it is a load and not a bench.
const BETWEEN_DELIVERIES: Duration = Duration::from_millis(100);
const BETWEEN_VISITS: Duration = Duration::from_secs(2);
const BETWEEN_RUDE: Duration = Duration::from_secs(3);

/// Until somebody who found no relay tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// How long somebody tries: a restart takes seconds.
const PATIENCE: u32 = 240;

/// Bytes of a blob: not a multiple of anything.
const BLOB: usize = 300_007;

const CREDIT: u32 = 64;

fn options(number: u32) -> Options {
    // Every fourth over TCP.
    let carriers = if number.is_multiple_of(4) { Carriers::TcpOnly } else { Carriers::QuicOnly };
    Options { carriers, timeout: Duration::from_secs(60), ..Options::default() }
}

/// What a restart may bring, and nothing else may.
fn is_interruption(error: ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable
            | ClientError::Timeout
            | ClientError::Closed
            | ClientError::Refused(ErrorCode::ShuttingDown | ErrorCode::Busy)
    )
}

async fn connect(world: &World, number: u32) -> Result<Connection> {
    for _ in 0..PATIENCE {
        world.relay_is_up().await;
        match Connection::connect(world.address(), &options(number)).await {
            Ok(connection) => {
                count(&world.counts.connections);
                return Ok(connection);
            }
            Err(error) if is_interruption(error) => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err("the relay does not come back".into())
}

/// Does something again, on a new connection, as long as restarts are in the way.
macro_rules! again {
    ($world:expr, $number:expr, $connection:ident, $what:expr) => {
        loop {
            match $what {
                Ok(done) => break done,
                Err(error) if is_interruption(error) => {
                    count(&$world.counts.interrupted);
                    $connection.close();
                    $connection = connect(&$world, $number).await?;
                }
                Err(error) => return Err(Error::from(error)),
            }
        }
    };
}

/// Starts those who keep account of what they send; they end when it is over.
pub(crate) fn talkers(world: &Arc<World>) -> JoinSet<Result> {
    let mut crowd = JoinSet::new();
    for number in 0..TALKERS {
        crowd.spawn(send(world.clone(), number));
        crowd.spawn(receive(world.clone(), number));
    }
    crowd
}

/// Starts everybody; they end when it is over.
pub(super) fn everybody(world: &Arc<World>) -> JoinSet<Result> {
    let mut crowd = talkers(world);
    for number in TALKERS..TALKERS + VISITORS {
        crowd.spawn(visit(world.clone(), number));
    }
    for number in TALKERS + VISITORS..TALKERS + VISITORS + IDLE {
        crowd.spawn(idle(world.clone(), number));
    }
    crowd.spawn(make(world.clone()));
    crowd.spawn(store_blobs(world.clone()));
    crowd.spawn(be_rude(world.clone()));
    crowd
}

/// One of the sizes that there are; most are small.
fn sized(number: u64, world: &World) -> Vec<u8> {
    let mut bytes = envelope(number, world.since);
    let length = match number % 16 {
        0 => 8192,
        1..=3 => 4096,
        4..=7 => 2048,
        _ => 1024,
    };
    bytes.resize(length, 0);
    bytes
}

async fn send(world: Arc<World>, who: u32) -> Result {
    let mut connection = connect(&world, who).await?;
    let mut number = 0;
    while !world.is_over() {
        number += 1;
        let (to, bytes) = (people::writer(who), sized(number, &world));
        // The same bytes until it is answered.
        again!(world, who, connection, connection.deliver(&to, bytes.clone()).await);
        count(&world.counts.delivered);
        tokio::time::sleep(BETWEEN_DELIVERIES).await;
    }
    connection.close();
    Ok(())
}

/// How far somebody has read a mailbox: positions and the numbers in the envelopes both go up by one.
struct Account {
    owner: MailboxSecret,
    read: u64,
}

impl Account {
    /// Whether the envelope is new.
    fn take(&mut self, seq: u64, bytes: &[u8]) -> Result<bool> {
        let number = bytes.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        if number != seq {
            return Err(format!("envelope {number} at position {seq}").into());
        }
        if seq <= self.read {
            return Ok(false);
        }
        if seq != self.read + 1 {
            return Err(format!("position {seq} behind {}", self.read).into());
        }
        self.read = seq;
        Ok(true)
    }
}

async fn receive(world: Arc<World>, who: u32) -> Result {
    let mut account = Account { owner: people::owner(who), read: 0 };
    loop {
        let connection = connect(&world, who).await?;
        let pushes = connection.pushes().ok_or("no pushes")?;
        let subscribed = connection.subscribe(&[&account.owner], CREDIT).await;
        let all = match subscribed {
            Ok(_) => take_all(&world, &connection, pushes, &mut account).await?,
            Err(error) if is_interruption(error) => {
                count(&world.counts.interrupted);
                false
            }
            Err(error) => return Err(error.into()),
        };
        connection.close();
        if all {
            return Ok(());
        }
    }
}

/// Takes what comes until the connection is lost, or it is over and nothing has come for a while: then
/// that was all.
async fn take_all(
    world: &World,
    connection: &Connection,
    mut pushes: Pushes,
    account: &mut Account,
) -> Result<bool> {
    loop {
        let push = match tokio::time::timeout(Duration::from_secs(5), pushes.next()).await {
            Ok(Some(push)) => push,
            Ok(None) => return Ok(false),
            Err(_) if world.is_over() => return Ok(true),
            Err(_) => continue,
        };
        let Push::Envelope { mailbox, incarnation, seq, envelope } = push else {
            return Err(format!("{push:?}").into());
        };
        let fresh = account.take(seq.get(), envelope.as_slice())?;
        count(if fresh { &world.counts.received } else { &world.counts.repeated });
        let floor = Acknowledgement { mailbox, incarnation, floor: Floor::from(seq) };
        match connection.acknowledge(vec![floor]).await {
            Ok(()) => {}
            Err(error) if is_interruption(error) => {
                count(&world.counts.interrupted);
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Envelopes that are in the talkers' mailboxes when all is over; there should be none.
pub(super) async fn left_over(world: &World) -> Result<u64> {
    let connection = connect(world, 1).await?;
    let mut left = 0;
    for who in 0..TALKERS {
        let state = state(&connection, &people::owner(who)).await?;
        left += state.head.get().saturating_sub(state.acknowledged.get());
    }
    connection.close();
    Ok(left)
}

async fn state(connection: &Connection, owner: &MailboxSecret) -> Result<MailboxState> {
    let status = OwnerOperation::Status { keys: Bounded::one(owner.public()) };
    let states = connection.mailboxes(status, &[owner]).await?;
    Ok(states.first().copied().flatten().ok_or("a mailbox is gone")?)
}

/// Comes with a ticket if it has one, writes to itself, takes it, goes.
async fn visit(world: Arc<World>, who: u32) -> Result {
    let (owner, mut ticket, mut round) = (people::owner(who), None::<Ticket>, 0_u64);
    while !world.is_over() {
        round += 1;
        match visit_once(&world, who, &owner, &mut ticket, round).await {
            Ok(()) => {}
            Err(error) if is_interruption(error) => count(&world.counts.interrupted),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(BETWEEN_VISITS).await;
    }
    Ok(())
}

async fn visit_once(
    world: &World,
    who: u32,
    owner: &MailboxSecret,
    ticket: &mut Option<Ticket>,
    round: u64,
) -> std::result::Result<(), ClientError> {
    let (reading, writing) = (reach(world, who).await?, reach(world, who + 1).await?);
    let mut pushes = reading.pushes().ok_or(ClientError::Protocol)?;
    let states = match ticket {
        Some(ticket) => reading.resume(ticket, CREDIT).await?,
        None => {
            let states = reading.subscribe(&[owner], CREDIT).await?;
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&round.to_be_bytes());
            let session = SessionSecret::from_seed(&seed);
            *ticket = Some(reading.ticket(session, vec![owner.mailbox()]).await?);
            states
        }
    };
    // Tickets are renewed now and then.
    if round.is_multiple_of(10) {
        *ticket = None;
    }
    let state = states.first().and_then(|(_, state)| *state).ok_or(ClientError::Protocol)?;
    for n in 0..3 {
        writing.deliver(&people::writer(who), envelope(round << 8 | n, world.since)).await?;
    }
    let mut floor = state.acknowledged.get();
    while floor < state.head.get().saturating_add(3) {
        match pushes.next().await {
            Some(Push::Envelope { seq, .. }) => floor = seq.get(),
            Some(_) => return Err(ClientError::Protocol),
            None => return Err(ClientError::Closed),
        }
    }
    let (mailbox, incarnation) = (owner.mailbox(), state.incarnation);
    let floor = Acknowledgement { mailbox, incarnation, floor: Floor::new(floor) };
    reading.acknowledge(vec![floor]).await?;
    reading.close();
    writing.close();
    Ok(())
}

async fn reach(world: &World, number: u32) -> std::result::Result<Connection, ClientError> {
    world.relay_is_up().await;
    let connection = Connection::connect(world.address(), &options(number)).await?;
    count(&world.counts.connections);
    Ok(connection)
}

/// Is subscribed, and comes again when the relay does.
async fn idle(world: Arc<World>, who: u32) -> Result {
    let owner = people::owner(who);
    while !world.is_over() {
        let connection = connect(&world, who).await?;
        if connection.subscribe(&[&owner], CREDIT).await.is_ok() {
            while !world.is_over() {
                let closed = tokio::time::timeout(Duration::from_secs(1), connection.closed());
                if closed.await.is_ok() {
                    break;
                }
            }
        }
        connection.close();
    }
    Ok(())
}

fn seeded(label: u8, round: u64) -> [u8; 32] {
    let mut seed = [label; 32];
    seed[..8].copy_from_slice(&round.to_be_bytes());
    seed
}

/// Makes mailboxes and depots, uses them, and deletes them.
async fn make(world: Arc<World>) -> Result {
    let mut connection = connect(&world, 1).await?;
    let mut round = 0_u64;
    while !world.is_over() {
        round += 1;
        let owner = MailboxSecret::from_seed(&seeded(1, round));
        let writer = WriteCapability::from_bytes(seeded(2, round));
        let create = || OwnerOperation::CreateMailbox {
            key: owner.public(),
            token: people::token(),
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: Bounded::one(writer.hash()),
        };
        again!(world, 1, connection, connection.owner(create(), &[&owner]).await);
        let bytes = envelope(round, world.since);
        again!(world, 1, connection, connection.deliver(&writer, bytes.clone()).await);
        let fetch = FetchCapability::from_bytes(seeded(3, round));
        let depot = DepotSecret::from_seed(&seeded(4, round));
        let fill = || OwnerOperation::FillDepot {
            key: depot.public(),
            depot: fetch.depot(),
            token: people::token(),
            mode: FillMode::Replace,
            one_time: Bounded::new((0..5).map(bundle).collect()).expect("five"),
            last_resort: Some(bundle(9)),
            expires: people::today().plus(7),
        };
        again!(world, 1, connection, connection.depot(fill(), &depot).await);
        let take = TakeId::from_bytes([7; 16]);
        again!(world, 1, connection, connection.take_prekey(&fetch, take).await);
        // After a restart it may be gone already, and then says so.
        let delete = OwnerOperation::DeleteMailbox { key: owner.public() };
        let _ = connection.owner(delete, &[&owner]).await;
        let delete = OwnerOperation::DeleteDepot { key: depot.public(), depot: fetch.depot() };
        let _ = connection.owner(delete, &[&depot]).await;
        count(&world.counts.made);
        tokio::time::sleep(BETWEEN_VISITS).await;
    }
    connection.close();
    Ok(())
}

fn bundle(n: u8) -> BoundedBytes<4096> {
    BoundedBytes::new(vec![n; 4096]).expect("a bundle's size")
}

/// Uploads, breaking off half-way and resuming, reads back, deletes.
async fn store_blobs(world: Arc<World>) -> Result {
    let mut connection = connect(&world, 1).await?;
    let mut round = 0_u64;
    while !world.is_over() {
        round += 1;
        let bytes: Vec<u8> =
            (0..BLOB as u64).map(|n| n.wrapping_mul(round).to_le_bytes()[0]).collect();
        let read = BlobReadCapability::from_bytes(seeded(5, round));
        let delete = BlobDeleteCapability::from_bytes(seeded(6, round));
        let blob = BlobId::from_bytes(seeded(7, round));
        let announce = || BlobAnnouncement {
            blob,
            token: people::token(),
            read: read.hash(),
            delete: delete.hash(),
            length: BLOB as u64,
            hash: BlobHash::from_bytes(Sha256::digest(&bytes).into()),
            expires: people::today().plus(7),
        };
        let mut half = Some(BLOB / 2);
        again!(world, 1, connection, upload(&connection, announce(), &bytes, &mut half).await);
        let found = again!(world, 1, connection, download(&connection, blob, &read).await);
        if found != bytes {
            return Err("a blob came back otherwise than it was stored".into());
        }
        match connection.delete_blob(blob, &delete).await {
            Err(error) if !is_interruption(error) => return Err(error.into()),
            _ => {}
        }
        count(&world.counts.blobs);
        tokio::time::sleep(BETWEEN_VISITS).await;
    }
    connection.close();
    Ok(())
}

async fn upload(
    connection: &Connection,
    announcement: BlobAnnouncement,
    bytes: &[u8],
    half: &mut Option<usize>,
) -> std::result::Result<(), ClientError> {
    let mut upload = connection.put_blob(announcement).await?;
    let from = usize::try_from(upload.offset()).unwrap_or(usize::MAX);
    if let Some(half) = half.take() {
        upload.write(bytes.get(from..half).unwrap_or_default()).await?;
        drop(upload);
        // As an interruption would.
        return Err(ClientError::Closed);
    }
    upload.write(bytes.get(from..).unwrap_or_default()).await?;
    upload.finish().await
}

async fn download(
    connection: &Connection,
    blob: BlobId,
    read: &BlobReadCapability,
) -> std::result::Result<Vec<u8>, ClientError> {
    let mut download = connection.get_blob(blob, read, 0).await?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match download.next(&mut buffer).await? {
            0 => return Ok(found),
            count => found.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Guesses, sends junk, and leaves without a word.
async fn be_rude(world: Arc<World>) -> Result {
    let to = (world.address().host(), world.address().port());
    let to = tokio::net::lookup_host(to).await?.next().ok_or("no address")?;
    while !world.is_over() {
        tokio::time::sleep(BETWEEN_RUDE).await;
        world.relay_is_up().await;
        let Ok(channel) = connect_quic(to, *world.address().root(), None).await else { continue };
        if let Ok((mut writer, _reader)) = channel.open().await {
            let _ = writer.write_all(&[1, 0, 0, 0, 9, 7, 7, 7, 7, 7, 7, 7, 7, 7]).await;
            let _ = tokio::time::timeout(AGAIN, channel.closed()).await;
        }
        let Ok(guessing) = reach(&world, 1).await else { continue };
        let nobody = WriteCapability::from_bytes([0xee; 32]);
        match guessing.deliver(&nobody, envelope(1, world.since)).await {
            Ok(()) => return Err("a capability that nobody has was accepted".into()),
            Err(_) => count(&world.counts.rude),
        }
        // Dropped without a goodbye.
    }
    Ok(())
}
