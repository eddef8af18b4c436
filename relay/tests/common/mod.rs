//! A relay on loopback, and a client of it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use undertone_relay::clock::Clock;
use undertone_relay::{Config, Relay, RunningRelay};
use undertone_wire::client::{Connection, Options, Pushes};
use undertone_wire::frame::*;
use undertone_wire::*;

/// A clock that tests move.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn now() -> Arc<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Arc::new(Self(AtomicU64::new(now.as_secs())))
    }

    pub fn pass_days(&self, days: u64) {
        self.0.fetch_add(days * 86_400, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub fn config(directory: &Path) -> Config {
    Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..Config::new(directory.to_owned())
    }
}

pub async fn start(directory: &Path) -> RunningRelay {
    Relay::start(config(directory)).await.unwrap()
}

/// Starts again where a relay was, so that its address stays good.
pub async fn restart(directory: &Path, address: &RelayAddress) -> RunningRelay {
    let listen = SocketAddr::new(address.host().parse().unwrap(), address.port());
    let relay = Relay::start(Config { listen, ..config(directory) }).await.unwrap();
    assert_eq!(relay.address(), address, "the identity survives a restart");
    relay
}

pub async fn connect(address: &RelayAddress) -> Connection {
    Connection::connect(address, &Options::default()).await.unwrap()
}

pub fn token(relay: &RunningRelay) -> AdmissionToken {
    relay.join_address().unwrap().token().duplicate()
}

pub fn mailbox(seed: u8) -> MailboxSecret {
    MailboxSecret::from_seed(&[seed; 32])
}

pub fn capability(seed: u8) -> WriteCapability {
    WriteCapability::from_bytes([seed; 32])
}

pub fn envelope(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub fn create(secret: &MailboxSecret, token: &AdmissionToken, write: &[u8]) -> OwnerOperation {
    let hashes = write.iter().map(|seed| capability(*seed).hash()).collect();
    OwnerOperation::CreateMailbox {
        key: secret.public(),
        token: token.duplicate(),
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: Bounded::new(hashes).unwrap(),
    }
}

pub fn subscribe(secret: &MailboxSecret, credit: u32) -> OwnerOperation {
    OwnerOperation::Subscribe { keys: Bounded::one(secret.public()), credit }
}

pub fn status(secret: &MailboxSecret) -> OwnerOperation {
    OwnerOperation::Status { keys: Bounded::one(secret.public()) }
}

pub async fn state(connection: &Connection, secret: &MailboxSecret) -> Option<MailboxState> {
    connection.mailboxes(status(secret), &[secret]).await.unwrap()[0]
}

pub async fn next(pushes: &mut Pushes) -> Push {
    tokio::time::timeout(Duration::from_secs(20), pushes.next())
        .await
        .expect("a push in time")
        .expect("an open connection")
}

/// The next push, which must be an envelope of this mailbox: its position and number.
pub async fn next_envelope(pushes: &mut Pushes, secret: &MailboxSecret) -> (u64, u32) {
    match next(pushes).await {
        Push::Envelope { mailbox, seq, envelope, .. } => {
            assert_eq!(mailbox, secret.mailbox());
            let first = envelope.as_slice().first_chunk().copied().unwrap();
            (seq.get(), u32::from_be_bytes(first))
        }
        other => panic!("not an envelope: {other:?}"),
    }
}

pub fn ack(secret: &MailboxSecret, state: &MailboxState, floor: u64) -> Vec<Acknowledgement> {
    vec![Acknowledgement {
        mailbox: secret.mailbox(),
        incarnation: state.incarnation,
        floor: Floor::new(floor),
    }]
}

pub fn refused<T: std::fmt::Debug>(result: Result<T, client::ClientError>, code: ErrorCode) {
    assert_eq!(result.unwrap_err(), client::ClientError::Refused(code));
}
