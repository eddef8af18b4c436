//! Tickets, TLS on TCP, racing, padding: what stands between a client and the relay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use undertone_relay::{Config, Direction, FrameTap, Relay};
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{Carriers, ClientError, Connection, Options, Ticket};
use undertone_wire::frame::*;
use undertone_wire::limits::{MAX_MAILBOXES_PER_TICKET, RECORD};
use undertone_wire::transport::Carrier;
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

fn over(carriers: Carriers) -> Options {
    Options { carriers, ..Options::default() }
}

fn session(seed: u8) -> SessionSecret {
    SessionSecret::from_seed(&[seed; 32])
}

/// Subscribes to three mailboxes with their keys and gets a ticket for them.
async fn ticket_for(
    connection: &Connection,
    secrets: &[&MailboxSecret],
) -> Result<Ticket, ClientError> {
    connection.subscribe(secrets, 64).await?;
    let ids = secrets.iter().map(|secret| secret.mailbox()).collect();
    connection.ticket(session(77), ids).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_subscribes_without_the_keys_even_after_a_restart() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let (alice, bob, carol) = (mailbox(1), mailbox(2), mailbox(3));
    let connection = connect(&address).await;
    for (secret, write) in [(&alice, 10), (&bob, 11), (&carol, 12)] {
        connection.owner(create(secret, &token(&relay), &[write]), &[secret]).await?;
    }
    let ticket = ticket_for(&connection, &[&carol, &alice, &bob]).await?;
    connection.deliver(&capability(10), envelope(1)).await?;
    connection.owner(OwnerOperation::DeleteMailbox { key: bob.public() }, &[&bob]).await?;
    relay.kill().await;

    let relay = restart(directory.path(), &address).await;
    let connection = connect(&address).await;
    let mut pushes = connection.pushes().unwrap();
    let states = connection.resume(&ticket, 8).await?;
    let ids: Vec<_> = states.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [carol.mailbox(), alice.mailbox(), bob.mailbox()], "in the ticket's order");
    assert!(states[2].1.is_none(), "a deleted mailbox dies with its row, ticket or not");
    assert_eq!(next_envelope(&mut pushes, &alice).await, (1, 1));
    let state0 = states[1].1.unwrap();
    connection.acknowledge(ack(&alice, &state0, 1)).await?;
    assert_eq!(state(&connection, &alice).await.unwrap().acknowledged.get(), 1);
    // It does nothing else: no further ticket comes from it, and it owns nothing.
    let again = connection.ticket(session(78), vec![alice.mailbox()]).await;
    refused(again, ErrorCode::NotSubscribed);
    relay.shutdown().await.unwrap();
    Ok(())
}

/// R-1115, R-1116, R-1117, R-1119
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_refused_after_a_day_to_others_and_elsewhere() -> Test {
    let directory = tempfile::tempdir()?;
    let clock = TestClock::now();
    let relay = Relay::start(Config { clock: clock.clone(), ..config(directory.path()) }).await?;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    // Not for what this connection has not proved, nor for one mailbox twice, nor for nothing.
    refused(connection.ticket(session(1), vec![alice.mailbox()]).await, ErrorCode::NotSubscribed);
    let ticket = ticket_for(&connection, &[&alice]).await?;
    let twice = vec![alice.mailbox(); 2];
    refused(connection.ticket(session(1), twice).await, ErrorCode::Malformed);
    refused(connection.ticket(session(1), Vec::new()).await, ErrorCode::Malformed);
    let many = vec![alice.mailbox(); MAX_MAILBOXES_PER_TICKET + 1];
    assert_eq!(connection.ticket(session(1), many).await.unwrap_err(), ClientError::TooLong);
    refused(connection.resume(&ticket, 0).await, ErrorCode::LimitReached);
    connection.resume(&ticket, 1).await?;

    let elsewhere = tempfile::tempdir()?;
    let other = start(elsewhere.path()).await;
    let stranger = connect(other.address()).await;
    refused(stranger.resume(&ticket, 8).await, ErrorCode::TicketRefused);
    other.shutdown().await.unwrap();

    clock.pass_days(1);
    refused(connection.resume(&ticket, 8).await, ErrorCode::TicketRefused);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_frames_run_over_tcp() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let options = over(Carriers::TcpOnly);
    let owner = Connection::connect(relay.address(), &options).await?;
    assert_eq!(owner.carrier(), Carrier::Tcp);
    let sender = connect(relay.address()).await;
    assert_eq!(sender.carrier(), Carrier::Quic);
    let alice = mailbox(1);
    owner.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let mut pushes = owner.pushes().unwrap();
    let state0 = owner.mailboxes(subscribe(&alice, 64), &[&alice]).await?[0].unwrap();
    for number in 0..40 {
        sender.deliver(&capability(10), envelope(number)).await?;
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
    owner.acknowledge(ack(&alice, &state0, 40)).await?;

    // A blob has a connection of its own.
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let read = BlobReadCapability::from_bytes([8; 32]);
    let delete = BlobDeleteCapability::from_bytes([9; 32]);
    let announcement = BlobAnnouncement {
        blob: BlobId::from_bytes([7; 32]),
        token: token(&relay),
        read: read.hash(),
        delete: delete.hash(),
        length: 300_000,
        hash: BlobHash::from_bytes(<sha2::Sha256 as sha2::Digest>::digest(&bytes).into()),
        expires: Day::from_unix_seconds(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs(),
        )
        .plus(1),
    };
    let mut upload = owner.put_blob(announcement).await?;
    for piece in bytes.chunks(50_000) {
        upload.write(piece).await?;
    }
    upload.finish().await?;
    let mut download = owner.get_blob(BlobId::from_bytes([7; 32]), &read, 0).await?;
    let (mut got, mut piece) = (Vec::new(), vec![0; 10_000]);
    loop {
        let count = download.next(&mut piece).await?;
        if count == 0 {
            break;
        }
        got.extend_from_slice(&piece[..count]);
    }
    assert!(got == bytes);
    relay.shutdown().await.unwrap();
    assert_eq!(owner.closed().await, ClientError::Closed);
    Ok(())
}

/// R-1121
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_another_root_is_told_and_nobody_is_unreachable() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (host, port) = (relay.address().host(), relay.address().port());
    let wrong = RelayAddress::new(host, port, RootFingerprint::from_bytes([1; 32]))?;
    for carriers in [Carriers::TcpOnly, Carriers::QuicFirst, Carriers::TcpFirst] {
        let error = Connection::connect(&wrong, &over(carriers)).await.unwrap_err();
        assert_eq!(error, ClientError::PinMismatch, "{carriers:?}");
    }
    let address = relay.address().clone();
    relay.shutdown().await.unwrap();
    let error = Connection::connect(&address, &over(Carriers::TcpOnly)).await.unwrap_err();
    assert_eq!(error, ClientError::Unreachable);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_is_blocked_tcp_is_found_by_itself() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    // Another port, whose UDP nobody answers and whose TCP leads to the relay.
    let silent = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await?;
    let port = silent.local_addr()?.port();
    let forward = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let to = (relay.address().host().to_owned(), relay.address().port());
    let forwarding = tokio::spawn(async move {
        let (mut near, _) = forward.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let address = RelayAddress::new("127.0.0.1", port, *relay.address().root())?;
    let connection = Connection::connect(&address, &Options::default()).await?;
    assert_eq!(connection.carrier(), Carrier::Tcp);
    let alice = mailbox(1);
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    drop(connection);
    relay.shutdown().await.unwrap();
    forwarding.await?;
    Ok(())
}

/// Counts the bytes of messages each way, padding included in what is received.
#[derive(Default)]
struct Sizes(Mutex<Vec<(Direction, usize)>>);

impl FrameTap for Sizes {
    fn frame(&self, direction: Direction, bytes: &[u8]) {
        self.0.lock().unwrap().push((direction, bytes.len() + 4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pads_sends_whole_records() -> Test {
    let directory = tempfile::tempdir()?;
    let sizes = Arc::new(Sizes::default());
    let relay =
        Relay::start(Config { tap: Some(sizes.clone()), ..config(directory.path()) }).await?;
    let alice = mailbox(1);
    let padded = connect(relay.address()).await;
    padded.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    padded.deliver(&capability(10), envelope(1)).await?;
    let received: usize = {
        let sizes = sizes.0.lock().unwrap();
        let received = sizes.iter().filter(|(way, _)| *way == Direction::Received);
        received.map(|(_, size)| size).sum()
    };
    // With the byte that says what the stream is.
    assert_eq!((received + 1) % RECORD, 0, "{received}");
    let plain = Options { padding: false, ..Options::default() };
    let plain = Connection::connect(relay.address(), &plain).await?;
    plain.deliver(&capability(10), envelope(2)).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}

/// R-1116
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_twice_in_a_request_is_refused() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let keys = Bounded::new(vec![alice.public(); 2]).unwrap();
    let twice = OwnerOperation::Subscribe { keys, credit: 1 };
    refused(connection.owner(twice, &[&alice, &alice]).await, ErrorCode::Malformed);
    relay.shutdown().await.unwrap();
    Ok(())
}
