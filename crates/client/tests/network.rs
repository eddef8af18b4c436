//! Networks as they are: UDP blocked, connections cut, relays restarted. With a real relay on loopback
//! behind a forwarder that lets TCP through and swallows datagrams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use common::forwarder::{Came, Forwarder};
use common::{PATIENCE, next_message, text};
use tempfile::TempDir;
use undertone::{Client, JoinAddress, LinkKind, MessageState, NewProfile, RelayAddress, Secret};
use undertone_relay::{Config, Direction, FrameTap, Relay, RunningRelay};
use undertone_wire::codec;
use undertone_wire::frame::{ClientFrame, Request};

/// Counts how mailboxes are subscribed to.
#[derive(Default)]
struct Counting {
    with_keys: Mutex<usize>,
    with_tickets: Mutex<usize>,
}

impl FrameTap for Counting {
    fn frame(&self, direction: Direction, bytes: &[u8]) {
        if direction != Direction::Received {
            return;
        }
        let Ok(frame) = codec::decode::<ClientFrame>(bytes) else { return };
        match frame.request {
            Request::Resume(_) => *self.with_tickets.lock().unwrap() += 1,
            // The operation's variant is the first byte behind the request's id.
            Request::Owner(signed) if is_subscribe(signed.body.as_slice()) => {
                *self.with_keys.lock().unwrap() += 1;
            }
            _ => {}
        }
    }
}

fn is_subscribe(body: &[u8]) -> bool {
    codec::decode::<undertone_wire::frame::OwnerRequest>(body).is_ok_and(|request| {
        matches!(request.operation, undertone_wire::frame::OwnerOperation::Subscribe { .. })
    })
}

struct World {
    temp: TempDir,
    relay: Option<RunningRelay>,
    forwarder: Forwarder,
    counting: Arc<Counting>,
    join: JoinAddress,
    listen: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let counting = Arc::new(Counting::default());
        let mut config = Config::new(temp.path().join("relay"));
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.tap = Some(counting.clone());
        let relay = Relay::start(config).await.unwrap();
        let join = relay.join_address().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, join.relay().port()));
        let forwarder = Forwarder::to(listen).await;
        let behind = RelayAddress::new("127.0.0.1", forwarder.port, *join.relay().root()).unwrap();
        let join = JoinAddress::new(behind, join.token().duplicate());
        Self { temp, relay: Some(relay), forwarder, counting, join, listen }
    }

    fn builder(&self, name: &str) -> undertone::Builder {
        Client::builder(self.temp.path().join(name)).secret(Secret::key([7; 32]))
    }

    async fn person(&self, name: &str) -> Client {
        let join = self.join.to_text().parse().unwrap();
        let profile = NewProfile { name: name.to_owned(), join };
        self.builder(name).create(profile).await.unwrap()
    }

    async fn acquainted(&self) -> (Client, Client) {
        let (ada, bob) = (self.person("Ada").await, self.person("Bob").await);
        let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
        ada.add(&link, None).await.unwrap();
        for _ in 0..6 {
            ada.sync().await.unwrap();
            bob.sync().await.unwrap();
        }
        (ada, bob)
    }

    async fn restart(&mut self) {
        self.relay.take().unwrap().kill().await;
        let mut config = Config::new(self.temp.path().join("relay"));
        config.listen = self.listen;
        config.tap = Some(self.counting.clone());
        self.relay = Some(Relay::start(config).await.unwrap());
    }

    async fn end(self) {
        self.relay.unwrap().shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_is_blocked_tcp_carries_everything_and_is_tried_first_from_then_on() {
    let world = World::new().await;
    let (ada, bob) = world.acquainted().await;
    assert_eq!(world.forwarder.first(), Some(Came::Datagram), "QUIC is tried first");
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    let there = ada.send_text(to_bob, "over TCP").await.unwrap();
    let source = world.temp.path().join("file");
    std::fs::write(&source, vec![7; 300_000]).unwrap();
    bob.send_file(to_ada, &source).await.unwrap();
    for _ in 0..3 {
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
    }
    assert_eq!(ada.message(there).await.unwrap().state, MessageState::Delivered);
    assert_eq!(ada.history(to_bob, None, 9).await.unwrap().len(), 2);
    // New connections begin with what worked; also with a profile that is opened again.
    world.forwarder.first();
    bob.network_changed().await;
    bob.sync().await.unwrap();
    assert_eq!(world.forwarder.first(), Some(Came::Connection));
    ada.close().await;
    bob.close().await;
    world.forwarder.first();
    let bob = world.builder("Bob").open().await.unwrap();
    bob.sync().await.unwrap();
    assert_eq!(world.forwarder.first(), Some(Came::Connection));
    bob.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_client_comes_back_with_a_ticket_whatever_happens_to_the_connection() {
    let mut world = World::new().await;
    let (ada, bob) = world.acquainted().await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    bob.start().unwrap();
    bob.sync().await.unwrap();
    // One more, so that it is certain that the first subscription is complete.
    ada.send_text(to_bob, "first").await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(text(&next_message(&bob, "test").await), "first");

    let mut resumed = *world.counting.with_tickets.lock().unwrap();
    for round in ["cut", "told", "restarted"] {
        let with_keys = *world.counting.with_keys.lock().unwrap();
        match round {
            "cut" => world.forwarder.cut(),
            "told" => bob.network_changed().await,
            _ => {
                world.restart().await;
                world.forwarder.cut();
            }
        }
        ada.send_text(to_bob, round).await.unwrap();
        ada.start().unwrap();
        assert_eq!(text(&next_message(&bob, "test").await), round);
        let now = *world.counting.with_tickets.lock().unwrap();
        assert!(now > resumed, "{round}: no ticket was used");
        resumed = now;
        // Ada, who runs too, may have subscribed with keys for the first time; Bob did not.
        let again = *world.counting.with_keys.lock().unwrap();
        if round != "cut" {
            assert_eq!(again, with_keys, "{round}");
        }
    }
    let waiting = ada.send_text(to_bob, "last").await.unwrap();
    ada.wait(waiting, MessageState::Delivered, PATIENCE).await.unwrap();
    ada.close().await;
    bob.close().await;
    world.end().await;
}
