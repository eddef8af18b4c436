//! What goes wrong with one contact, file, mailbox or relay stops nothing else. With real relays on
//! loopback, and with profiles whose files and rows are tampered with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use undertone_core::HandshakeError;
use undertone_relay::{Config, Relay, RunningRelay};
use undertone_session::engine::EngineError;
use undertone_session::event::EventKind;
use undertone_session::ids::{ContactId, UnixMillis};
use undertone_session::link::LinkKind;
use undertone_session::message::{MessageKind, MessageState};
use undertone_session::store::{Store, StoreError, Table};
use undertone_wire::JoinAddress;

use crate::builder::{Builder, NewProfile, Secret};
use crate::client::{Client, SyncReport};
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::keyslot;
use crate::store::SqliteStore;

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: u64 = 86_400_000;

struct World {
    temp: TempDir,
    relay: Option<RunningRelay>,
    listen: SocketAddr,
    join: String,
}

impl World {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut config = Config::new(temp.path().join("relay"));
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let relay = Relay::start(config).await.unwrap();
        let join = relay.join_address().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, join.relay().port()));
        let join = join.to_text().to_string();
        Self { temp, relay: Some(relay), listen, join }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn join(&self) -> JoinAddress {
        self.join.parse().unwrap()
    }

    fn builder(&self, name: &str) -> Builder {
        let builder = Client::builder(self.at(name)).secret(Secret::key([7; 32]));
        builder.timeout(Duration::from_secs(4))
    }

    async fn person(&self, name: &str) -> Client {
        let profile = NewProfile { name: name.to_owned(), join: self.join() };
        self.builder(name).create(profile).await.unwrap()
    }

    async fn stop(&mut self) {
        self.relay.take().unwrap().kill().await;
    }

    async fn start(&mut self) {
        let mut config = Config::new(self.at("relay"));
        config.listen = self.listen;
        self.relay = Some(Relay::start(config).await.unwrap());
    }

    /// The store of a profile, beside the client that has it open.
    fn store(&self, name: &str) -> SqliteStore {
        let dir = self.at(name);
        let slot = keyslot::read(&dir.join("keyslot")).unwrap().unwrap();
        let key = keyslot::open(&slot, &Secret::key([7; 32])).unwrap();
        SqliteStore::open(&dir.join("store.db"), &key).unwrap()
    }
}

/// These two meet; each says which contact the other is.
async fn meet(ada: &Client, bob: &Client) -> (ContactId, ContactId) {
    let before = bob.contacts().await.unwrap().len();
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    settle(&[ada, bob]).await;
    (to_bob, bob.contacts().await.unwrap()[before].id)
}

async fn settle(people: &[&Client]) {
    for _ in 0..4 {
        for person in people {
            person.sync().await.unwrap();
        }
    }
}

async fn texts(client: &Client, contact: ContactId) -> Vec<String> {
    let history = client.history(contact, None, 999).await.unwrap();
    let text = |kind| match kind {
        MessageKind::Text { text } => Some(text),
        _ => None,
    };
    history.into_iter().filter_map(|message| text(message.kind)).collect()
}

async fn events(client: &Client) -> Vec<EventKind> {
    let (mut events, mut all) = (client.events("everything"), Vec::new());
    while let Some(event) = events.try_next().await.unwrap() {
        all.push(event.kind);
    }
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Else a bundle of a contact's, or of a stranger's link, would be called a fault of this program.
#[test]
fn a_bundle_that_no_handshake_can_be_made_with_is_a_forged_link() {
    for error in [HandshakeError::LowOrder, HandshakeError::Oneself] {
        assert_eq!(Error::from(EngineError::Handshake(error)).code(), "link-forged");
    }
    let ours = Error::from(EngineError::Handshake(HandshakeError::TooLong));
    assert_eq!(ours.code(), "internal");
}

/// The store was put back, so that sessions start anew with both contacts; with one of them that
/// fails here, for something that can't be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_fails_with_one_contact_does_not_stop_those_with_others() {
    let world = World::new().await;
    let (ada, bob, carol) =
        (world.person("Ada").await, world.person("Bob").await, world.person("Carol").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    let (carol_to_bob, to_carol) = meet(&carol, &bob).await;
    assert!(to_ada < to_carol);
    settle(&[&ada, &bob, &carol]).await;
    bob.close().await;
    let old = fs::read(world.at("Bob/store.db")).unwrap();
    let bob = world.builder("Bob").open().await.unwrap();
    ada.send_text(to_bob, "seen by the newer store").await.unwrap();
    settle(&[&ada, &bob]).await;
    bob.close().await;
    fs::write(world.at("Bob/store.db"), old).unwrap();

    let bob = world.builder("Bob").open().await.unwrap();
    bob.send_text(to_carol, "how are you?").await.unwrap();
    let mut report = SyncReport::default();
    bob.shared.catch_up(&bob.shared.receiver, &mut report).await.unwrap();
    let place = [to_ada.get().to_be_bytes(), 999_u64.to_be_bytes()].concat();
    let mut store = world.store("Bob");
    let tamper = |tx: &mut dyn undertone_session::store::Transaction| -> Result<(), StoreError> {
        tx.put(Table::Outbox, &place, b"not a row")
    };
    store.transaction(tamper).unwrap();
    store.close().unwrap();
    // The fault is told, after all that can be done was done.
    assert_eq!(bob.shared.send_all(&mut report).await.unwrap_err().code(), "store-corrupt");
    let reset = |kind| match kind {
        EventKind::Reset { contact, .. } => Some(contact),
        _ => None,
    };
    let resets: Vec<_> = events(&bob).await.into_iter().filter_map(reset).collect();
    assert_eq!(resets, [to_carol]);
    carol.sync().await.unwrap();
    assert_eq!(texts(&carol, carol_to_bob).await, ["how are you?"]);
    for client in [ada, bob, carol] {
        client.close().await;
    }
}

/// The relay has died while a mailbox was yet to be made there; the profile moves to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_was_to_be_made_at_a_dead_relay_does_not_stop_the_move() {
    let (mut world, other) = (World::new().await, World::new().await);
    let (ada, bob) = (other.person("Ada").await, world.person("Bob").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    let today = SystemClock.now().get();
    for days in [0, 40] {
        let then = UnixMillis::new(today + days * DAY);
        bob.shared.core.change(move |e| e.begin_moves(then)).await.unwrap();
    }
    let pending = bob.shared.core.ask(|e| e.pending_mailboxes()).await.unwrap();
    assert_eq!(pending.len(), 1);
    world.stop().await;
    bob.move_to(other.join()).await.unwrap();
    bob.send_text(to_ada, "at another relay").await.unwrap();
    bob.sync().await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(texts(&ada, to_bob).await, ["at another relay"]);
    ada.close().await;
    bob.close().await;
}

/// Of two files the first can't be read; a third thing is yet to be fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_stored_holds_up_no_other() {
    let world = World::new().await;
    let (ada, bob, carol) =
        (world.person("Ada").await, world.person("Bob").await, world.person("Carol").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    let (_, to_carol) = meet(&carol, &bob).await;
    let source = world.at("plan.txt");
    fs::write(&source, "the plan").unwrap();
    bob.send_file(to_ada, &source).await.unwrap();
    let blob = fs::read_dir(world.at("Bob/blobs")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&blob).unwrap();
    fs::create_dir(&blob).unwrap();
    bob.send_file(to_carol, &source).await.unwrap();
    ada.send_file(to_bob, &source).await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(bob.sync().await.unwrap_err().code(), "store-failed");
    assert_eq!(carol.sync().await.unwrap().files, 1);
    let received = |kind: &EventKind| matches!(kind, EventKind::FileReceived { .. });
    assert!(events(&bob).await.iter().any(received), "nothing was fetched");
    for client in [ada, bob, carol] {
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_that_nothing_refers_to_goes_when_the_profile_is_opened() {
    let world = World::new().await;
    let (ada, bob) = (world.person("Ada").await, world.person("Bob").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    let source = world.at("plan.txt");
    fs::write(&source, "the plan").unwrap();
    let id = ada.send_file(to_bob, &source).await.unwrap();
    settle(&[&ada, &bob]).await;
    bob.close().await;
    // As if it had been killed while it decrypted; and before it removed the files of a contact who
    // was deleted, or of a message that was erased.
    let files = world.at("Bob/files");
    let open = files.join(format!(".{to_ada}-{id}.open"));
    let other = id.to_string().replace(|digit: char| digit != '0', "1");
    let left = [format!("99-{other}"), format!("{to_ada}-{other}")];
    let part = files.join(format!(".{to_ada}-{other}.part"));
    let tamper = || {
        for name in &left {
            fs::create_dir(files.join(name)).unwrap();
            fs::write(files.join(name).join("plan.txt"), "the plan").unwrap();
        }
        fs::write(&open, "the pl").unwrap();
        fs::write(&part, "ciphertext").unwrap();
    };
    tamper();
    fs::write(files.join("notes.txt"), "not ours").unwrap();
    let bob = world.builder("Bob").open().await.unwrap();
    let kept = files.join(format!("{to_ada}-{id}"));
    assert_eq!(fs::read_to_string(kept.join("plan.txt")).unwrap(), "the plan");
    assert_eq!(fs::read_dir(&files).unwrap().count(), 2, "what is not ours stays");

    // What is being decrypted goes with its message.
    fs::write(&open, "the pl").unwrap();
    let seq = bob.received_message(to_ada, id).await.unwrap().seq;
    bob.erase_message(seq).await.unwrap();
    assert!(!open.exists() && !kept.exists());
    ada.close().await;
    bob.close().await;
}

/// A file that has just been encrypted is not queued yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_contact_takes_away_their_files_and_no_others() {
    let world = World::new().await;
    let (ada, bob) = (world.person("Ada").await, world.person("Bob").await);
    let (_, to_ada) = meet(&ada, &bob).await;
    let (source, blobs) = (world.at("plan.txt"), world.at("Bob/blobs"));
    fs::write(&source, "the plan").unwrap();
    bob.send_file(to_ada, &source).await.unwrap();
    let another = blobs.join("11".repeat(32));
    fs::write(&another, "ciphertext").unwrap();
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 2);
    bob.delete_contact(to_ada).await.unwrap();
    assert!(another.exists());
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 1);
    ada.close().await;
    bob.close().await;
}

/// The relay is put back to an earlier state while a client stays open: it gets other mailboxes, and
/// the conversation goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_put_back_is_noticed_by_a_client_that_stays_open() {
    let mut world = World::new().await;
    let (ada, bob) = (world.person("Ada").await, world.person("Bob").await);
    let (relay, before) = (world.at("relay"), world.at("before"));
    world.stop().await;
    copy(&relay, &before);
    world.start().await;
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    world.stop().await;
    fs::remove_dir_all(&relay).unwrap();
    copy(&before, &relay);
    world.start().await;
    ada.send_text(to_bob, "is anybody there?").await.unwrap();
    bob.send_text(to_ada, "yes").await.unwrap();
    for _ in 0..8 {
        for person in [&ada, &bob] {
            // The connections are broken, and the relay knows nobody.
            let _ = person.sync().await;
        }
    }
    let told = |kind: &EventKind| matches!(kind, EventKind::StoreRolledBack { .. });
    assert!(events(&bob).await.iter().any(told), "the lost mailbox was not noticed");
    let subscribed = bob.shared.core.ask(|e| e.subscriptions()).await.unwrap();
    assert!(!subscribed.is_empty());
    // They meet again, since the links of both are lost with the relay; over one of their mailboxes.
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    ada.add(&link, None).await.unwrap();
    settle(&[&ada, &bob]).await;
    assert!(texts(&bob, to_ada).await.contains(&"is anybody there?".to_owned()));
    assert!(texts(&ada, to_bob).await.contains(&"yes".to_owned()));
    ada.close().await;
    bob.close().await;
}

/// The files of the store can't be cleared while somebody reads them: that, and nothing else, waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_cleared_can_be_opened_read_and_sent_from() {
    let world = World::new().await;
    let (ada, bob) = (world.person("Ada").await, world.person("Bob").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    let id = ada.send_text(to_bob, "with a tpyo").await.unwrap();
    settle(&[&ada, &bob]).await;
    let reader = reader(&world.at("Bob"));
    let seq = ada.message(id).await.unwrap().seq;
    ada.edit(seq, "without one").await.unwrap();
    ada.sync().await.unwrap();
    let sent = bob.send_text(to_ada, "I have seen it").await.unwrap();
    bob.sync().await.unwrap();
    assert_eq!(bob.message(sent).await.unwrap().state, MessageState::Accepted);
    assert_eq!(texts(&bob, to_ada).await, ["without one", "I have seen it"]);
    assert_eq!(bob.search(None, "without", 9).await.unwrap().len(), 1);
    let (now, hour) = (SystemClock.now(), 3_600_000);
    let due = bob.shared.core.ask(move |e| e.next_scrub(now, hour)).await.unwrap();
    assert!(due.is_some_and(|due| due > now), "not again before the pause is over");
    let far = UnixMillis::new(SystemClock.now().get() + DAY);
    let due = bob.shared.core.ask(move |e| e.next_scrub(far, 60_000)).await.unwrap();
    assert!(due.is_some(), "it is still to be done");
    bob.close().await;
    let bob = world.builder("Bob").open().await.unwrap();
    assert_eq!(texts(&bob, to_ada).await.len(), 2);
    drop(reader);
    bob.shared.core.ask(move |e| e.scrub(far)).await.unwrap();
    let due = bob.shared.core.ask(move |e| e.next_scrub(far, 60_000)).await.unwrap();
    assert_eq!(due, None);
    ada.close().await;
    bob.close().await;
}

/// Somebody who reads the store, and goes on reading.
fn reader(dir: &Path) -> rusqlite::Connection {
    let slot = keyslot::read(&dir.join("keyslot")).unwrap().unwrap();
    let key = keyslot::open(&slot, &Secret::key([7; 32])).unwrap();
    let digits = data_encoding::HEXLOWER.encode(key.as_slice());
    let connection = rusqlite::Connection::open(dir.join("store.db")).unwrap();
    let begin = format!("PRAGMA key = \"x'{digits}'\"; BEGIN; SELECT count(*) FROM rows;");
    connection.execute_batch(&begin).unwrap();
    connection
}

/// A clock that is put forward by hand.
#[derive(Clone)]
struct HandClock(Arc<AtomicU64>);

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

/// Whoever looks at a conversation erases what is due there; others hear of it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_by_looking_wakes_who_waits_for_events() {
    let world = World::new().await;
    let clock = HandClock(Arc::new(AtomicU64::new(SystemClock.now().get())));
    let profile = NewProfile { name: "Bob".to_owned(), join: world.join() };
    let bob = world.builder("Bob").clock(Arc::new(clock.clone()));
    let bob = bob.create(profile).await.unwrap();
    let ada = world.person("Ada").await;
    let (_, to_ada) = meet(&ada, &bob).await;
    bob.set_timer(to_ada, 60).await.unwrap();
    bob.send_text(to_ada, "for a minute").await.unwrap();
    bob.sync().await.unwrap();
    let mut waiting = bob.events("waiting");
    while let Some(event) = waiting.try_next().await.unwrap() {
        waiting.acknowledge(&event).await.unwrap();
    }
    let told = tokio::spawn(async move { waiting.next_event().await.unwrap().kind });
    tokio::time::sleep(Duration::from_millis(200)).await;
    clock.0.fetch_add(61_000, Ordering::SeqCst);
    assert!(texts(&bob, to_ada).await.is_empty());
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("nobody was told");
    assert!(matches!(told.unwrap(), EventKind::MessageErased { .. }));
    ada.close().await;
    bob.close().await;
}

/// No message waits, but a relay that was away is yet to be asked for something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_is_tried_again_too() {
    let (mut world, other) = (World::new().await, World::new().await);
    let bob = world.person("Bob").await;
    bob.invite(LinkKind::Reusable, None).await.unwrap();
    bob.move_to(other.join()).await.unwrap();
    bob.sync().await.unwrap();
    world.stop().await;
    bob.start().unwrap();
    bob.sync().await.unwrap();
    bob.revoke_link(bob.links().await.unwrap()[0].number).await.unwrap();
    let chores = || async { bob.shared.core.ask(|e| e.chores()).await.unwrap().len() };
    assert!(chores().await > 0);
    // The attempt that the withdrawal brought about is over.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(chores().await > 0);
    world.start().await;
    let done = async {
        while chores().await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("the relay was not asked again");
    bob.close().await;
}

/// What waits at two relays comes in the order in which it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_at_two_relays_comes_in_its_order() {
    let (world, other) = (World::new().await, World::new().await);
    let (ada, bob) = (other.person("Ada").await, world.person("Bob").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    bob.move_to(other.join()).await.unwrap();
    bob.sync().await.unwrap();
    // Ada has not heard of it yet.
    let mut sent: Vec<String> = (0..60).map(|n| format!("{n}, to the old relay")).collect();
    for text in &sent {
        ada.send_text(to_bob, text).await.unwrap();
    }
    let mut report = SyncReport::default();
    ada.shared.send_all(&mut report).await.unwrap();
    assert_eq!(report.accepted, 60);
    ada.sync().await.unwrap();
    sent.push("to the new one".to_owned());
    ada.send_text(to_bob, "to the new one").await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(bob.sync().await.unwrap().received, 61);
    assert_eq!(texts(&bob, to_ada).await, sent);
    ada.close().await;
    bob.close().await;
}

/// The relay used before is away when a client connects to its present one, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_used_before_is_asked_again_when_it_comes_back() {
    let (mut world, other) = (World::new().await, World::new().await);
    let (ada, bob) = (other.person("Ada").await, world.person("Bob").await);
    let (to_bob, to_ada) = meet(&ada, &bob).await;
    bob.move_to(other.join()).await.unwrap();
    bob.sync().await.unwrap();
    // Ada writes there once more, since she has not heard of it yet.
    ada.send_text(to_bob, "to the old relay").await.unwrap();
    ada.shared.send_all(&mut SyncReport::default()).await.unwrap();
    world.stop().await;
    bob.start().unwrap();
    bob.sync().await.unwrap();
    assert!(texts(&bob, to_ada).await.is_empty());
    world.start().await;
    let come = async {
        while texts(&bob, to_ada).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.expect("it was not asked again");
    ada.close().await;
    bob.close().await;
}

/// A closed profile may be opened by another process at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_what_is_being_encrypted() {
    let world = World::new().await;
    let (ada, bob) = (world.person("Ada").await, world.person("Bob").await);
    let (to_bob, _) = meet(&ada, &bob).await;
    let (source, blobs) = (world.at("large"), world.at("Ada/blobs"));
    let large = fs::File::create(&source).unwrap();
    large.set_len(64 << 20).unwrap();
    let sender = ada.clone();
    let sending = tokio::spawn(async move { sender.send_file(to_bob, source).await });
    while fs::read_dir(&blobs).unwrap().count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ada.close().await;
    let part = |path: &Path| path.extension().is_some_and(|extension| extension == "part");
    let mut left = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    assert!(!left.any(|path| part(&path)), "it goes on behind the lock");
    let _ = sending.await.unwrap();
    bob.close().await;
}
