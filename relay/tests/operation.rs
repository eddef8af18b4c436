//! What operators do with a running relay: limits, deny lists, reload, rotation, watching, stopping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use undertone_relay::admission::OPEN_TOKEN;
use undertone_relay::limits::{Id, Rate};
use undertone_relay::operator::{self, Layout, monitor, root};
use undertone_relay::{Config, Relay, RunningRelay, StartError};
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{Carriers, ClientError, Connection, Options};
use undertone_wire::frame::OwnerOperation;
use undertone_wire::transport::{Channel as _, connect_quic};
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

/// How a client learns that it was turned away.
const BUSY: Option<ClientError> = Some(ClientError::Refused(ErrorCode::Busy));

/// As [`config`], with limits for loopback as well.
fn strict(directory: &std::path::Path) -> Config {
    let mut config = config(directory);
    config.limits.exempt.clear();
    config
}

/// Clients of the machine's own networks 127.0.1.0/24, 127.0.2.0/24 and so on.
async fn from(relay: &RunningRelay, network: u8) -> Result<Connection, ClientError> {
    let bind = Some(IpAddr::V4(Ipv4Addr::new(127, 0, network, 1)));
    let options = Options { bind, carriers: Carriers::QuicOnly, ..Options::default() };
    Connection::connect(relay.address(), &options).await
}

fn socket(relay: &RunningRelay) -> SocketAddr {
    SocketAddr::new(relay.address().host().parse().unwrap(), relay.address().port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_hold_all_handshakes() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    config.limits.handshakes = 16;
    config.limits.prefix.handshakes = 4;
    let relay = Relay::start(config).await?;
    // Connections that never say anything, as many as the relay lets one network have and more.
    let mut silent = Vec::new();
    for _ in 0..64 {
        let from = tokio::net::TcpSocket::new_v4()?;
        from.bind("127.0.1.1:0".parse()?)?;
        silent.push(from.connect(socket(&relay)).await?);
    }
    // The last was turned away: the relay has closed it.
    let last = silent.last_mut().unwrap();
    let mut end = [0];
    let turned_away = tokio::time::timeout(Duration::from_secs(5), last.read(&mut end)).await?;
    assert!(!matches!(turned_away, Ok(1..)), "closed or reset");
    // Another network comes in beside them.
    let honest = from(&relay, 2).await?;
    // An answer: the handshake is over on the relay's side as well.
    refused(honest.deliver(&capability(1), envelope(1)).await, ErrorCode::Unknown);
    let metrics = ask(&relay, "/metrics").await?;
    assert_eq!(metric(&metrics, "undertone_relay_handshakes"), 4);
    assert_eq!(
        metric(&metrics, "undertone_relay_turned_away_total{limit=\"prefix.handshakes\"}"),
        60
    );
    drop(silent);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_handshakes_are_short_addresses_are_confirmed_first() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    config.limits.handshakes = 4;
    let relay = Relay::start(config).await?;
    let retries = "undertone_relay_retries_total";
    from(&relay, 2).await?;
    assert_eq!(metric(&ask(&relay, "/metrics").await?, retries), 0);
    // Half of them are held by connections that never say anything.
    let held = silent(&relay, &[1, 3]).await?;
    until(&relay, "undertone_relay_handshakes", 2).await?;
    // QUIC's client does as it is told, and is let in.
    let honest = from(&relay, 2).await?;
    refused(honest.deliver(&capability(1), envelope(1)).await, ErrorCode::Unknown);
    assert_eq!(metric(&ask(&relay, "/metrics").await?, retries), 1);
    drop(held);
    relay.shutdown().await.unwrap();
    Ok(())
}

/// Connections that never say anything and hold a handshake each, from networks of their own.
async fn silent(relay: &RunningRelay, networks: &[u8]) -> std::io::Result<Vec<TcpStream>> {
    let mut silent = Vec::new();
    for network in networks {
        let from = tokio::net::TcpSocket::new_v4()?;
        from.bind(SocketAddr::from(([127, 0, *network, 1], 0)))?;
        silent.push(from.connect(socket(relay)).await?);
    }
    Ok(silent)
}

/// Waits until a metric is at least so much.
async fn until(relay: &RunningRelay, name: &str, at_least: u64) -> Test {
    while metric(&ask(relay, "/metrics").await?, name) < at_least {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_all_handshakes_are_held_waits_and_is_let_in() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    config.limits.handshakes = 4;
    let relay = Arc::new(Relay::start(config).await?);
    let held = silent(&relay, &[201, 202, 203, 204]).await?;
    until(&relay, "undertone_relay_handshakes", 4).await?;
    let come = |network| {
        let relay = relay.clone();
        tokio::spawn(async move { from(&relay, network).await })
    };
    let leaving: Vec<_> = (1..=8).map(come).collect();
    // Each of them is told to confirm its address, and then waits.
    until(&relay, "undertone_relay_retries_total", 8).await?;
    let staying: Vec<_> = (11..=40).map(come).collect();
    until(&relay, "undertone_relay_retries_total", 38).await?;
    // Some give up. They stand before the others, and must not keep their places.
    leaving.iter().for_each(tokio::task::JoinHandle::abort);
    let begun = tokio::time::Instant::now();
    drop(held);
    for client in staying {
        let connection = client.await??;
        refused(connection.deliver(&capability(1), envelope(1)).await, ErrorCode::Unknown);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody holds a place for ten seconds");
    let metrics = ask(&relay, "/metrics").await?;
    assert_eq!(metric(&metrics, "undertone_relay_turned_away_total{limit=\"handshakes\"}"), 0);
    Arc::into_inner(relay).unwrap().shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_shown_nothing_is_counted_and_an_office_is_not_punished() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.prefix.connections = 2;
    let relay = Relay::start(config).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let first = from(&relay, 1).await?;
    let second = from(&relay, 1).await?;
    assert_eq!(from(&relay, 1).await.err(), BUSY);
    from(&relay, 2).await?;
    // A token that is good, and then a mailbox's key.
    first.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    let third = from(&relay, 1).await?;
    assert_eq!(from(&relay, 1).await.err(), BUSY);
    second.mailboxes(subscribe(&alice, 8), &[&alice]).await?;
    from(&relay, 1).await?;
    third.deliver(&capability(10), envelope(1)).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_ends_and_neighbours_are_left_alone() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.prefix.failures = Rate { per_minute: 1, burst: 3 };
    let relay = Relay::start(config).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let honest = from(&relay, 2).await?;
    honest.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    let guesser = from(&relay, 1).await?;
    for guess in 20..23 {
        refused(guesser.deliver(&capability(guess), envelope(1)).await, ErrorCode::Unknown);
    }
    // One too many: the connection ends, and its answer may be lost with it.
    assert!(guesser.deliver(&capability(23), envelope(1)).await.is_err());
    guesser.closed().await;
    assert_eq!(from(&relay, 1).await.err(), BUSY);
    honest.deliver(&capability(10), envelope(1)).await?;
    from(&relay, 2).await?.deliver(&capability(10), envelope(2)).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}

/// An announcement of a blob of one byte.
fn announcement(number: u8, token: &AdmissionToken) -> BlobAnnouncement {
    BlobAnnouncement {
        blob: BlobId::from_bytes([number; 32]),
        token: token.duplicate(),
        read: BlobReadCapability::from_bytes([1; 32]).hash(),
        delete: BlobDeleteCapability::from_bytes([2; 32]).hash(),
        length: 1,
        hash: BlobHash::from_bytes([0; 32]),
        expires: undertone_relay::clock::Clock::today(&undertone_relay::clock::SystemClock),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_stand_still_neither_take_all_transfers_nor_last() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    config.limits.transfers = 3;
    config.limits.prefix.transfers = 2;
    config.limits.patience = 3;
    let relay = Relay::start(config).await?;
    let token = token(&relay);
    let (idle, other) = (from(&relay, 1).await?, from(&relay, 1).await?);
    let _first = idle.put_blob(announcement(1, &token)).await?;
    let _second = idle.put_blob(announcement(2, &token)).await?;
    let busy = other.put_blob(announcement(3, &token)).await.map(|_| ());
    refused(busy, ErrorCode::Busy);
    let elsewhere = from(&relay, 2).await?;
    let _third = elsewhere.put_blob(announcement(4, &token)).await?;
    // Nothing comes, so that they end.
    let again = async {
        while other.put_blob(announcement(3, &token)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await?;
    let stalled = "undertone_relay_stalled_total{what=\"upload\"}";
    assert!(metric(&ask(&relay, "/metrics").await?, stalled) > 0);
    relay.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_at_blobs_or_shows_keys_of_nothing_is_sent_away() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.prefix.failures = Rate { per_minute: 1, burst: 3 };
    let relay = Relay::start(config).await?;
    let read = BlobReadCapability::from_bytes([1; 32]);
    let guesser = from(&relay, 1).await?;
    for number in 0..4 {
        assert!(guesser.get_blob(BlobId::from_bytes([number; 32]), &read, 0).await.is_err());
    }
    tokio::time::timeout(Duration::from_secs(20), guesser.closed()).await?;
    assert_eq!(from(&relay, 1).await.err(), BUSY);
    // Keys that nobody has a mailbox for are answered, and guesses nevertheless.
    let stranger = from(&relay, 2).await?;
    for seed in 0..3 {
        assert!(state(&stranger, &mailbox(seed)).await.is_none());
    }
    let one_more = mailbox(9);
    let _ = stranger.mailboxes(subscribe(&one_more, 1), &[&one_more]).await;
    tokio::time::timeout(Duration::from_secs(20), stranger.closed()).await?;
    assert_eq!(from(&relay, 2).await.err(), BUSY);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_a_connection_counts_keys_and_blobs() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.connection.requests = Rate { per_minute: 60, burst: 3 };
    let relay = Relay::start(config).await?;
    let soon = Duration::from_millis(1500);
    let many: Vec<_> = (0..100).map(mailbox).collect();
    let keys = Bounded::new(many.iter().map(MailboxSecret::public).collect()).unwrap();
    let connection = from(&relay, 1).await?;
    let all: Vec<&dyn owner::OwnerSecret> = many.iter().map(|m| m as _).collect();
    connection.mailboxes(OwnerOperation::Status { keys }, &all).await?;
    let next = tokio::time::timeout(soon, state(&connection, &many[0])).await;
    assert!(next.is_err(), "a hundred keys are a hundred requests");
    let connection = from(&relay, 1).await?;
    let read = BlobReadCapability::from_bytes([1; 32]);
    let started = std::time::Instant::now();
    for number in 0..5 {
        assert!(connection.get_blob(BlobId::from_bytes([number; 32]), &read, 0).await.is_err());
    }
    assert!(started.elapsed() >= soon, "{:?}", started.elapsed());
    relay.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_has_a_rate_and_a_connection_too() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.capability = Rate { per_minute: 1, burst: 3 };
    let relay = Relay::start(config.clone()).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let connection = from(&relay, 1).await?;
    connection.owner(create(&alice, &token, &[10, 11]), &[&alice]).await?;
    for number in 0..3 {
        connection.deliver(&capability(10), envelope(number)).await?;
    }
    refused(connection.deliver(&capability(10), envelope(3)).await, ErrorCode::Busy);
    connection.deliver(&capability(11), envelope(3)).await?;
    // A connection above its rate is not refused, it waits: 60 requests a second after the first.
    config.limits.capability = Rate { per_minute: 0, burst: 1 };
    config.limits.connection.requests = Rate { per_minute: 3600, burst: 1 };
    relay.reload(&config).await;
    let started = std::time::Instant::now();
    for number in 0..31 {
        connection.deliver(&capability(10), envelope(100 + number)).await?;
    }
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());
    relay.shutdown().await.unwrap();
    Ok(())
}

fn id(bytes: &[u8; 32]) -> Id {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_is_as_if_it_were_not_there() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    let relay = Relay::start(config.clone()).await?;
    let (token, alice, bob) = (token(&relay), mailbox(1), mailbox(2));
    let connection = from(&relay, 1).await?;
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    connection.owner(create(&bob, &token, &[11, 12]), &[&bob]).await?;
    config.deny.capabilities = vec![id(capability(11).hash().as_bytes())];
    config.deny.mailboxes = vec![id(alice.mailbox().as_bytes())];
    config.deny.prefixes = vec!["127.0.3.0/24".parse().unwrap()];
    config.deny.depots = vec![id(FetchCapability::from_bytes([5; 32]).depot().as_bytes())];
    config.deny.blobs = vec![id(&[7; 32])];
    relay.reload(&config).await;
    refused(connection.deliver(&capability(11), envelope(1)).await, ErrorCode::Unknown);
    connection.deliver(&capability(12), envelope(1)).await?;
    assert!(state(&connection, &alice).await.is_none());
    assert!(state(&connection, &bob).await.is_some());
    let both =
        OwnerOperation::Status { keys: Bounded::new(vec![alice.public(), bob.public()]).unwrap() };
    let states = connection.mailboxes(both, &[&alice, &bob]).await?;
    assert!(states[0].is_none() && states[1].is_some());
    refused(connection.owner(create(&alice, &token, &[]), &[&alice]).await, ErrorCode::Unknown);
    let (fetch, take) = (FetchCapability::from_bytes([5; 32]), TakeId::from_bytes([1; 16]));
    refused(connection.take_prekey(&fetch, take).await, ErrorCode::Unknown);
    let denied = connection.put_blob(announcement(7, &token)).await.map(|_| ());
    refused(denied, ErrorCode::Unknown);
    let short = Options {
        bind: Some("127.0.3.1".parse()?),
        timeout: Duration::from_millis(500),
        ..Options::default()
    };
    let turned_away = Connection::connect(relay.address(), &short).await.err();
    assert_eq!(turned_away, Some(ClientError::Unreachable));
    from(&relay, 4).await?;
    // Taken back, all is as before.
    config.deny = undertone_relay::limits::Deny::default();
    relay.reload(&config).await;
    assert!(state(&connection, &alice).await.is_some());
    connection.deliver(&capability(11), envelope(2)).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_there_when_denied_is_sent_away_at_the_reload() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    let relay = Relay::start(config.clone()).await?;
    let (token, alice, bob) = (token(&relay), mailbox(1), mailbox(2));
    let owner = from(&relay, 1).await?;
    let flood = from(&relay, 3).await?;
    let mut pushes = owner.pushes().unwrap();
    for secret in [&alice, &bob] {
        owner.owner(create(secret, &token, &[]), &[secret]).await?;
        owner.mailboxes(subscribe(secret, 8), &[secret]).await?;
    }
    config.deny.mailboxes = vec![id(alice.mailbox().as_bytes())];
    config.deny.prefixes = vec!["127.0.3.0/24".parse().unwrap()];
    relay.reload(&config).await;
    tokio::time::timeout(Duration::from_secs(20), flood.closed()).await?;
    let ended = frame::Push::Ended { mailbox: alice.mailbox(), reason: frame::EndReason::Deleted };
    assert_eq!(next(&mut pushes).await, ended);
    assert!(state(&owner, &bob).await.is_some());
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_can_be_opened_and_closed_again() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = strict(directory.path());
    config.limits.prefix.made = 2;
    let relay = Relay::start(config.clone()).await?;
    let nobody = AdmissionToken::from_bytes(OPEN_TOKEN);
    let connection = from(&relay, 1).await?;
    let make = |n| (mailbox(n), create(&mailbox(n), &nobody, &[n]));
    let (one, operation) = make(1);
    refused(connection.owner(operation, &[&one]).await, ErrorCode::NotAdmitted);
    assert!(relay.open_join_address().is_none());
    config.open = true;
    relay.reload(&config).await;
    relay.reload(&config).await;
    assert_eq!(relay.open_join_address().unwrap().token(), &nobody);
    for n in 1..=2 {
        // What is there already is not counted again.
        for _ in 0..3 {
            let (owner, operation) = make(n);
            connection.owner(operation, &[&owner]).await?;
        }
    }
    let (three, operation) = make(3);
    refused(connection.owner(operation, &[&three]).await, ErrorCode::QuotaExceeded);
    let elsewhere = from(&relay, 2).await?;
    let (three, operation) = make(3);
    elsewhere.owner(operation, &[&three]).await?;
    // All together have a quota as well, whose counter is on the disk.
    config.quotas.open.mailboxes = 3;
    relay.reload(&config).await;
    let (four, operation) = make(4);
    refused(from(&relay, 4).await?.owner(operation, &[&four]).await, ErrorCode::QuotaExceeded);
    config.open = false;
    relay.reload(&config).await;
    let (five, operation) = make(5);
    refused(elsewhere.owner(operation, &[&five]).await, ErrorCode::NotAdmitted);
    assert!(state(&elsewhere, &three).await.is_some(), "what was made stays");
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_and_limits_change_with_a_reload() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    let relay = Relay::start(config.clone()).await?;
    let token = token(&relay);
    let connection = connect(relay.address()).await;
    config.quotas.standard.mailboxes = 1;
    config.limits.connections = 1;
    config.limits.connection.subscriptions = 1;
    relay.reload(&config).await;
    let (one, two) = (mailbox(1), mailbox(2));
    connection.owner(create(&one, &token, &[]), &[&one]).await?;
    let again = connection.owner(create(&two, &token, &[]), &[&two]).await;
    refused(again, ErrorCode::QuotaExceeded);
    let busy = from(&relay, 1).await.err();
    assert_eq!(busy, BUSY);
    config.quotas.standard.mailboxes = 2;
    relay.reload(&config).await;
    connection.owner(create(&two, &token, &[]), &[&two]).await?;
    connection.mailboxes(subscribe(&one, 8), &[&one]).await?;
    let more = connection.mailboxes(subscribe(&two, 8), &[&two]).await;
    refused(more, ErrorCode::LimitReached);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_share_of_a_capability() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    config.limits.share = 50;
    let relay = Relay::start(config.clone()).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token, &[10, 11]), &[&alice]).await?;
    let limits = frame::MailboxLimits { envelopes: 4, bytes: 1 << 20 };
    let limits = OwnerOperation::SetLimits { key: alice.public(), limits };
    connection.owner(limits, &[&alice]).await?;
    // R-1127: one of two senders has half of the mailbox, and the other the rest.
    connection.deliver(&capability(10), envelope(1)).await?;
    connection.deliver(&capability(10), envelope(2)).await?;
    refused(connection.deliver(&capability(10), envelope(3)).await, ErrorCode::MailboxFull);
    connection.deliver(&capability(11), envelope(4)).await?;
    config.limits.share = 100;
    relay.reload(&config).await;
    connection.deliver(&capability(10), envelope(3)).await?;
    refused(connection.deliver(&capability(11), envelope(5)).await, ErrorCode::MailboxFull);
    let metrics = ask(&relay, "/metrics").await?;
    assert_eq!(metric(&metrics, "undertone_relay_shares_reached_total"), 1);
    assert_eq!(metric(&metrics, "undertone_relay_refusals_total{code=\"mailbox-full\"}"), 2);
    relay.shutdown().await.unwrap();
    Ok(())
}

/// How many streams a new connection can open at once.
async fn streams(relay: &RunningRelay) -> usize {
    let channel = connect_quic(socket(relay), *relay.address().root(), None).await.unwrap();
    let mut open = Vec::new();
    // Whether there is room for another one is known since the handshake.
    while let Ok(stream) = tokio::time::timeout(Duration::ZERO, channel.open()).await {
        open.push(stream.unwrap());
    }
    open.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_streams_changes_for_new_connections() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    let relay = Relay::start(config.clone()).await?;
    assert_eq!(streams(&relay).await, 8);
    config.limits.streams = 3;
    relay.reload(&config).await;
    assert_eq!(streams(&relay).await, 3);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_connections_that_go_on() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let alice = mailbox(1);
    let connection = connect(&address).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    relay.maintain().await;
    connection.deliver(&capability(10), envelope(1)).await?;
    connect(&address).await.deliver(&capability(10), envelope(2)).await?;
    relay.shutdown().await.unwrap();
    // The root key goes elsewhere; the address stays, and so do the links.
    let elsewhere = tempfile::tempdir()?;
    let file = elsewhere.path().join("root.key");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    root::export(directory.path(), &file, Some(30), now)?;
    let relay = restart(directory.path(), &address).await;
    let connection = connect(&address).await;
    connection.deliver(&capability(10), envelope(3)).await?;
    let request = root::request(directory.path())?;
    let (_, certificates) = root::sign(&file, &request, 60, now)?;
    root::install(directory.path(), &certificates, now)?;
    relay.reload(&config(directory.path())).await;
    connection.deliver(&capability(10), envelope(4)).await?;
    connect(&address).await.deliver(&capability(10), envelope(5)).await?;
    relay.shutdown().await.unwrap();
    // Without either file it is no relay any more, and says so.
    std::fs::remove_file(Layout::new(directory.path()).leaf())?;
    let error = Relay::start(config(directory.path())).await.err().unwrap().to_string();
    assert!(error.contains("root.key is missing"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_root_key_breaks_no_link_until_the_old_one_is_retired() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let mut addresses = vec![relay.address().clone()];
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let listen = socket(&relay);
    relay.shutdown().await.unwrap();
    let again = || Config { listen, ..config(directory.path()) };
    for number in 0..3 {
        root::rotate(directory.path(), None)?;
        let relay = Relay::start(again()).await?;
        assert!(!addresses.contains(relay.address()), "a new address names the new root");
        addresses.push(relay.address().clone());
        for carriers in [Carriers::QuicOnly, Carriers::TcpOnly] {
            for (n, address) in (0..).zip(&addresses) {
                let options = Options { carriers, ..Options::default() };
                let connection = Connection::connect(address, &options).await?;
                let number = envelope(number * 100 + carriers as u32 * 10 + n);
                connection.deliver(&capability(10), number).await?;
            }
        }
        relay.shutdown().await.unwrap();
    }
    // A backup has all of them.
    let (to, fresh) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (to, fresh) = (to.path().join("backup"), fresh.path().join("relay"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let today = Day::from_unix_seconds(now);
    operator::backup(directory.path(), &to, today)?;
    operator::restore(&operator::Source::whole(&to), &fresh, today)?;
    let relay = Relay::start(Config { listen, ..config(&fresh) }).await?;
    connect(&addresses[0]).await;
    // While it runs the oldest is retired: that takes effect with the next reload.
    assert_eq!(root::retire(&fresh)?, Some(*addresses[0].root()));
    connect(&addresses[0]).await;
    relay.reload(&Config { listen, ..config(&fresh) }).await;
    let refused = Connection::connect(&addresses[0], &Options::default()).await.err();
    assert_eq!(refused, Some(ClientError::PinMismatch));
    for address in &addresses[1..] {
        connect(address).await;
    }
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_answers_tells_subscribers_and_has_a_bound() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    config.drain = Duration::from_secs(20);
    let relay = Relay::start(config).await?;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    connection.mailboxes(subscribe(&alice, 8), &[&alice]).await?;
    let deliveries: Vec<_> = (0..50)
        .map(|number| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.deliver(&capability(10), envelope(number)).await })
        })
        .collect();
    let closed = connection.clone();
    let closed = tokio::spawn(async move { closed.closed().await });
    let started = std::time::Instant::now();
    relay.shutdown().await.unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "nobody waits for a subscriber: {took:?}");
    closed.await?;
    let mut stored = 0;
    for delivery in deliveries {
        match delivery.await? {
            Ok(()) => stored += 1,
            Err(ClientError::Closed | ClientError::Refused(ErrorCode::ShuttingDown)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    // What was answered is there; what was not may be.
    let relay = start(directory.path()).await;
    let head = state(&connect(relay.address()).await, &alice).await.unwrap().head.get();
    assert!(head >= stored, "{head} of {stored} answered");
    relay.shutdown().await.unwrap();
    Ok(())
}

async fn ask(relay: &RunningRelay, path: &str) -> std::io::Result<String> {
    raw(relay, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

async fn raw(relay: &RunningRelay, request: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(relay.monitoring().unwrap()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_health_say_what_happens_and_nothing_of_anybody() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    config.monitoring = Some("127.0.0.1:0".parse()?);
    let relay = Relay::start(config.clone()).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let connection = from(&relay, 77).await?;
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    connection.deliver(&capability(10), envelope(1)).await?;
    refused(connection.deliver(&capability(11), envelope(1)).await, ErrorCode::Unknown);
    let mut pushes = connection.pushes().unwrap();
    connection.mailboxes(subscribe(&alice, 8), &[&alice]).await?;
    next_envelope(&mut pushes, &alice).await;
    let text = ask(&relay, "/metrics").await?;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    for (name, value) in [
        ("undertone_relay_connections", 1),
        ("undertone_relay_subscriptions", 1),
        ("undertone_relay_handshakes", 0),
        ("undertone_relay_ready", 1),
        ("undertone_relay_connections_total{transport=\"quic\"}", 1),
        ("undertone_relay_requests_total{operation=\"deliver\"}", 2),
        ("undertone_relay_requests_total{operation=\"create_mailbox\"}", 1),
        ("undertone_relay_requests_total{operation=\"subscribe\"}", 1),
        ("undertone_relay_refusals_total{code=\"unknown\"}", 1),
        ("undertone_relay_pushed_envelopes_total", 1),
    ] {
        assert_eq!(metric(&text, name), value, "{name}");
    }
    assert!(metric(&text, "undertone_relay_commit_seconds_count") >= 4);
    // Every metric that is written is in the list, and the other way round.
    let written: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let listed: std::collections::BTreeSet<_> =
        monitor::metrics().iter().map(|metric| metric.name).collect();
    assert_eq!(written, listed);
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    for secret in [
        "127.0.77".into(),
        hex(alice.mailbox().as_bytes()),
        hex(&capability(10).hash().as_bytes()[..8]),
    ] {
        assert!(!text.contains(&secret), "{secret}");
    }
    assert!(ask(&relay, "/healthz").await?.ends_with("\r\n\r\nok\n"));
    assert!(ask(&relay, "/readyz?x=1").await?.ends_with("\r\n\r\nok\n"));
    assert!(ask(&relay, "/").await?.starts_with("HTTP/1.1 404"));
    assert!(raw(&relay, "POST /metrics HTTP/1.1\r\n\r\n").await?.starts_with("HTTP/1.1 405"));
    let head = raw(&relay, "HEAD /healthz HTTP/1.0\r\n\r\n").await?;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
    // A request without an end is cut off, whatever it claims.
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(10_000));
    assert!(raw(&relay, &long).await.map_or(true, |answer| answer.is_empty()));
    relay.shutdown().await.unwrap();
    // A port that is taken is said before the first token is made, which is shown only once.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let fresh = tempfile::tempdir()?;
    config.directory = fresh.path().to_owned();
    config.monitoring = Some(taken.local_addr()?);
    assert!(matches!(Relay::start(config.clone()).await.err(), Some(StartError::Monitoring(..))));
    config.monitoring = None;
    let relay = Relay::start(config.clone()).await?;
    assert!(relay.join_address().is_some());
    relay.shutdown().await.unwrap();
    // It can't be reached from elsewhere, however it is asked for.
    config.monitoring = Some("0.0.0.0:0".parse()?);
    let refusal = Relay::start(config).await.err();
    assert!(matches!(refusal, Some(StartError::Monitoring(..))), "{refusal:?}");
    Ok(())
}
