//! A stage for tests: a real relay on loopback, real profiles in a fresh directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub
)]

pub mod forwarder;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use undertone::{
    Builder, Client, ContactId, Event, EventKind, JoinAddress, Message, MessageKind, NewProfile,
    RelayAddress, Secret,
};
use undertone_relay::{Config, Relay, RunningRelay};

/// Everything ends by itself: no test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Stage {
    temp: TempDir,
    relay: Option<RunningRelay>,
    listen: SocketAddr,
    join: String,
}

impl Stage {
    pub async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let mut config = Config::new(temp.path().join("relay"));
        config.listen = listen;
        let relay = Relay::start(config).await.unwrap();
        let join = relay.join_address().unwrap();
        let port = join.relay().port();
        let join = join.to_text().to_string();
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self { temp, relay: Some(relay), listen, join }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn join(&self) -> JoinAddress {
        self.join.parse().unwrap()
    }

    pub fn relay_address(&self) -> RelayAddress {
        self.join().relay().clone()
    }

    /// A new profile that is open.
    pub async fn person(&self, name: &str) -> Client {
        self.builder(name)
            .create(NewProfile { name: name.to_owned(), join: self.join() })
            .await
            .unwrap()
    }

    /// A profile of this stage, opened again.
    pub async fn again(&self, name: &str) -> Client {
        self.builder(name).open().await.unwrap()
    }

    pub fn builder(&self, name: &str) -> Builder {
        // Long enough for a busy machine, short enough for the tests that wait for it.
        let timeout = Duration::from_secs(6);
        Client::builder(self.dir(name)).secret(Secret::key([7; 32])).timeout(timeout)
    }

    /// As if the relay's process had been killed: its store is not closed.
    pub async fn kill_relay(&mut self) {
        self.relay.take().unwrap().kill().await;
    }

    pub async fn start_relay(&mut self) {
        let mut config = Config::new(self.temp.path().join("relay"));
        config.listen = self.listen;
        self.relay = Some(Relay::start(config).await.unwrap());
    }

    pub async fn end(mut self) {
        if let Some(relay) = self.relay.take() {
            relay.shutdown().await.unwrap();
        }
    }
}

/// Two people who have met over a single-use link and have nothing left to tell each other.
pub async fn acquainted(stage: &Stage) -> (Client, Client) {
    let (ada, bob) = (stage.person("Ada").await, stage.person("Bob").await);
    let link = bob.invite(undertone::LinkKind::SingleUse, None).await.unwrap().link;
    ada.add(&link, None).await.unwrap();
    for _ in 0..3 {
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
    }
    (ada, bob)
}

/// The text of a message.
pub fn text(message: &Message) -> &str {
    match &message.kind {
        MessageKind::Text { text } => text,
        other => panic!("not a text: {other:?}"),
    }
}

/// The next message that comes, by a cursor of this name.
pub async fn next_message(client: &Client, cursor: &str) -> Message {
    let mut events = client.events(cursor);
    let waiting = async {
        loop {
            let event = events.next_event().await.unwrap();
            events.acknowledge(&event).await.unwrap();
            if let EventKind::MessageReceived { contact, id } = event.kind {
                return client.received_message(contact, id).await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("no message came")
}

/// All events so far.
pub async fn all_events(client: &Client) -> Vec<Event> {
    let mut events = client.events("everything");
    let mut all = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        all.push(event);
    }
    all
}

/// The texts of a conversation.
pub async fn texts(client: &Client, contact: ContactId) -> Vec<String> {
    let history = client.history(contact, None, 10_000).await.unwrap();
    let texts = history.iter().filter(|m| matches!(m.kind, MessageKind::Text { .. }));
    texts.map(|m| text(m).to_owned()).collect()
}

/// The contact of that name.
pub async fn contact(client: &Client, name: &str) -> ContactId {
    client.contact(name).await.unwrap().id
}

/// Passes of both, until there is nothing left to say.
pub async fn settle(people: &[&Client]) {
    for _ in 0..5 {
        for person in people {
            person.sync().await.unwrap();
        }
    }
}

/// Copies a profile that is closed.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["keyslot", "store.db"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
