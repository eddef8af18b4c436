//! How it stands with the relays, as a program is told. With real relays on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{PATIENCE, Stage, acquainted, contact, copy, settle};
use undertone::{
    Carrier, Client, ConnectionState, ConnectionStatus, ConnectionUpdates, Error, JoinAddress,
    LinkKind, NewProfile, RelayAddress,
};
use undertone_wire::{AdmissionToken, RootFingerprint};

/// Listens until it stands so.
async fn until(
    updates: &mut ConnectionUpdates,
    reached: impl Fn(&ConnectionStatus) -> bool,
) -> ConnectionStatus {
    let waiting = async {
        let mut status = updates.now();
        while !reached(&status) {
            status = updates.changed().await.unwrap();
        }
        status
    };
    let reached = tokio::time::timeout(PATIENCE * 2, waiting).await;
    reached.unwrap_or_else(|_| panic!("it stayed at {:?}", updates.now()))
}

const fn is_connected(status: &ConnectionStatus) -> bool {
    matches!(status.state, ConnectionState::Connected { .. })
}

const fn is_waiting(status: &ConnectionStatus) -> bool {
    matches!(status.state, ConnectionState::Waiting { .. })
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Why it waits, and for how long from now on at most.
fn waits(status: ConnectionStatus, within: Duration) -> Error {
    let ConnectionState::Waiting { reason, until } = status.state else { panic!("{status:?}") };
    let within = u64::try_from(within.as_millis()).unwrap();
    assert!(until.get() <= now() + within, "{until:?}");
    reason
}

/// A profile at some relay.
async fn person_at(stage: &Stage, name: &str, join: JoinAddress) -> Client {
    let profile = NewProfile { name: name.to_owned(), join };
    stage.builder(name).create(profile).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_before_the_relay_is_up_a_client_tells_why_and_then_that_it_is_connected() {
    let mut stage = Stage::new().await;
    stage.kill_relay().await;
    // It has no contacts, and no mailbox: the relay is looked for all the same.
    let ada = stage.person("Ada").await;
    let mut updates = ada.connection();
    let authority = stage.relay_address().authority();
    assert_eq!(updates.now().relay, authority);
    assert_eq!(updates.now().state, ConnectionState::NotStarted);
    ada.start().unwrap();
    assert_eq!(updates.changed().await.unwrap().state, ConnectionState::Connecting);
    let status = until(&mut updates, is_waiting).await;
    assert_eq!(waits(status, Duration::from_secs(60)), Error::Unreachable { relay: authority });
    stage.start_relay().await;
    ada.network_changed().await;
    let status = until(&mut updates, is_connected).await;
    assert_eq!(status.state, ConnectionState::Connected { over: Carrier::Quic });
    // It is true: what comes, comes at once.
    let link = ada.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let bob = stage.person("Bob").await;
    let to_ada = bob.add(&link, None).await.unwrap().id;
    bob.send_text(to_ada, "hello").await.unwrap();
    bob.sync().await.unwrap();
    assert_eq!(common::text(&common::next_message(&ada, "test").await), "hello");
    ada.close().await;
    assert_eq!(updates.changed().await, Err(Error::Closed));
    assert_eq!(updates.now().state, ConnectionState::Closed);
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_and_comes_back_shows() {
    let mut stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    ada.start().unwrap();
    let mut updates = ada.connection();
    until(&mut updates, is_connected).await;
    stage.kill_relay().await;
    // It may refuse something while it dies.
    let status = until(&mut updates, |status| match &status.state {
        ConnectionState::Waiting { reason, .. } => reason.code() == "unreachable",
        _ => false,
    });
    waits(status.await, Duration::from_secs(60));
    stage.start_relay().await;
    let back = until(&mut updates, is_connected).await;
    assert!(back.earlier.is_empty() && back.refused.is_none(), "{back:?}");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_relay_at_the_address_is_told() {
    let stage = Stage::new().await;
    let real = stage.relay_address();
    let root = RootFingerprint::from_bytes([1; 32]);
    let address = RelayAddress::new(real.host(), real.port(), root).unwrap();
    let join = JoinAddress::new(address, stage.join().token().duplicate());
    let eve = person_at(&stage, "Eve", join).await;
    let mut updates = eve.connection();
    eve.start().unwrap();
    let status = until(&mut updates, is_waiting).await;
    let reason = waits(status, Duration::from_secs(60));
    assert_eq!(reason, Error::RelayPinMismatch { relay: real.authority() });
    eve.close().await;
    stage.end().await;
}

/// It is connected, and yet gets no mailbox there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_relay_does_not_accept_is_told_beside_the_connection() {
    let (old, new) = (Stage::new().await, Stage::new().await);
    let (ada, bob) = acquainted(&old).await;
    bob.start().unwrap();
    let mut updates = bob.connection();
    assert_eq!(until(&mut updates, is_connected).await.refused, None);
    let token = AdmissionToken::from_bytes([3; 32]);
    bob.move_to(JoinAddress::new(new.relay_address(), token)).await.unwrap();
    let status =
        until(&mut updates, |status| is_connected(status) && status.refused.is_some()).await;
    assert_eq!(status.relay, new.relay_address().authority());
    assert_eq!(status.refused, Some(Error::AdmissionRefused));
    // With a token that is good it is asked anew, and grants it.
    bob.move_to(new.join()).await.unwrap();
    assert_eq!(updates.now().refused, None);
    bob.sync().await.unwrap();
    assert_eq!(until(&mut updates, is_connected).await.refused, None);
    ada.close().await;
    bob.close().await;
    old.end().await;
    new.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_superseded_by_a_copy_is_told_so_and_stays_so() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    bob.close().await;
    copy(&stage.dir("Bob"), &stage.dir("Copy"));
    let bob = stage.again("Bob").await;
    bob.start().unwrap();
    let mut updates = bob.connection();
    until(&mut updates, is_connected).await;
    let survivor = stage.again("Copy").await;
    survivor.sync().await.unwrap();
    let status = until(&mut updates, |status| !is_connected(status)).await;
    assert_eq!(status.state, ConnectionState::Replaced);
    bob.network_changed().await;
    let more = tokio::time::timeout(Duration::from_secs(1), updates.changed()).await;
    assert!(more.is_err(), "{more:?}");
    for client in [ada, bob, survivor] {
        client.close().await;
    }
    stage.end().await;
}

/// After a move both relays are read, and each is told of by name. The one used before is away at
/// first: that holds up nothing, and what waits there comes as soon as it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_move_each_relay_is_told_of_and_the_old_one_is_tried_again() {
    let mut old = Stage::new().await;
    let new = Stage::new().await;
    let (ada, bob) = acquainted(&old).await;
    settle(&[&ada, &bob]).await;
    let to_bob = contact(&ada, "Bob").await;
    ada.send_text(to_bob, "in flight").await.unwrap();
    ada.sync().await.unwrap();
    ada.close().await;
    bob.close().await;
    old.kill_relay().await;

    let bob = old.again("Bob").await;
    bob.start().unwrap();
    let mut updates = bob.connection();
    bob.move_to(new.join()).await.unwrap();
    let away = |status: &ConnectionStatus| {
        let state = status.earlier.first().map(|one| &one.state);
        is_connected(status) && matches!(state, Some(ConnectionState::Waiting { .. }))
    };
    let status = until(&mut updates, away).await;
    assert_eq!(status.relay, new.relay_address().authority());
    assert_eq!(status.earlier[0].relay, old.relay_address().authority());
    old.start_relay().await;
    let both = |status: &ConnectionStatus| {
        let mut earlier = status.earlier.iter().map(|one| &one.state);
        is_connected(status)
            && earlier.all(|state| matches!(state, ConnectionState::Connected { .. }))
    };
    until(&mut updates, both).await;
    assert_eq!(common::text(&common::next_message(&bob, "test").await), "in flight");
    bob.close().await;
    new.end().await;
    old.end().await;
}
